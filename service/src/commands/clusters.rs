//! `goahead clusters import`: writes the clusters of files to the database.

use std::path::PathBuf;
use std::process::ExitCode;

use super::database::DatabaseArgs;
use super::{CommandResult, Failure, print, small_runtime};
use crate::cluster_files;

const EXAMPLES: &str = "\
Examples:
  goahead clusters import /etc/goahead/conf.d/*.yml
  goahead clusters import --force web.yml

A file holds clusters as the original goahead has them, a name and its settings indented below. A cluster is \
written when its text has changed since its last import; none is ever dropped. One that was changed by SQL or \
HTTP since is left alone and reported, unless --force is given.";

/// Arguments of `goahead clusters`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Write the clusters of files to the database
    Import(Import),
}

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Import {
    /// Cluster files (YAML)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write clusters too that were changed by SQL or HTTP since their last import
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Runs it.
pub fn run(args: &Args) -> CommandResult {
    let Action::Import(import) = &args.action;
    let clusters = cluster_files::read(&import.files).map_err(Failure::new)?;
    let report = small_runtime()?.block_on(async {
        let db = import.database.open().await?;
        Ok::<_, Failure>(cluster_files::import(&db, &clusters, import.force).await?)
    })?;
    print(&report.lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    Ok(if report.complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
