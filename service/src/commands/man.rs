//! `goahead man`: the manual, from the same definitions that parse the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{CommandResult, Failure, print};

/// Arguments of `goahead man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  goahead man | man -l -\n  goahead man gate open | man -l -\n  goahead man --directory /usr/local/share/man/man1")]
pub struct Args {
    /// The command that the page is about, such as `gate` or `gate open` [default: goahead itself]
    command: Vec<String>,
    /// Write goahead.1 and one page per command into this existing directory instead of printing goahead.1
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    directory: Option<PathBuf>,
}

/// Renders `command`.
///
/// # Errors
/// When it has no such command below it, or the pages cannot be written.
pub fn run(args: &Args, mut command: clap::Command) -> CommandResult {
    match &args.directory {
        None => {
            command.build();
            for name in &args.command {
                let below = command.find_subcommand(name).cloned();
                command = below.ok_or_else(|| Failure::new(format!("there is no command {name}; see goahead --help")))?;
            }
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            print(&String::from_utf8_lossy(&page))?;
        }
        Some(directory) => clap_mangen::generate_to(command, directory)
            .map_err(|error| Failure::new(format!("cannot write manual pages to {}: {error}", directory.display())))?,
    }
    Ok(ExitCode::SUCCESS)
}
