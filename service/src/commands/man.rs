//! `goahead man`: the manual, from the same definitions that parse the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{CommandResult, Failure, print};

/// Arguments of `goahead man`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  goahead man | man -l -\n  goahead man gate open | man -l -\n  goahead man --directory /usr/local/share/man/man1"
)]
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
pub fn run(args: &Args, command: clap::Command) -> CommandResult {
    match &args.directory {
        None => print(&page(command, &args.command)?)?,
        Some(directory) => clap_mangen::generate_to(command, directory)
            .map_err(|error| Failure::new(format!("cannot write manual pages to {}: {error}", directory.display())))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn page(mut command: clap::Command, names: &[String]) -> Result<String, Failure> {
    // Gives each command below its full name.
    command.build();
    for name in names {
        let below = command.find_subcommand(name).cloned();
        command = below.ok_or_else(|| Failure::new(format!("there is no command {name}; see goahead --help")))?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_page_is_about_the_command_that_is_named() {
        let below = clap::Command::new("gate").subcommand(clap::Command::new("open").about("Lets traffic in"));
        let all = || clap::Command::new("goahead").subcommand(below.clone());
        let page = |names: &[&str]| super::page(all(), &names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(page(&[]).is_ok_and(|page| page.contains(".TH goahead 1")));
        assert!(page(&["gate", "open"]).is_ok_and(|page| page.contains("Lets traffic in") && page.contains("gate")));
        assert!(page(&["gates"]).is_err());
    }
}
