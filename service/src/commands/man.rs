//! `goahead man`: the manual, from the same definitions that parse the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{CommandResult, Failure, print};

/// Arguments of `goahead man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  goahead man | man -l -\n  goahead man --directory /usr/local/share/man/man1")]
pub struct Args {
    /// Write goahead.1 and one page per command into this existing directory instead of printing goahead.1
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Renders `command`.
pub fn run(args: &Args, command: clap::Command) -> CommandResult {
    match &args.directory {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            print(&String::from_utf8_lossy(&page))?;
        }
        Some(directory) => clap_mangen::generate_to(command, directory)
            .map_err(|error| Failure::new(format!("cannot write manual pages to {}: {error}", directory.display())))?,
    }
    Ok(ExitCode::SUCCESS)
}
