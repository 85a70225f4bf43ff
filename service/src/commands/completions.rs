//! `goahead completions`: a completion script for a shell, from the same definitions that parse the command line.

use std::process::ExitCode;

use clap_complete::Shell;

use super::{CommandResult, print};

/// Arguments of `goahead completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  goahead completions bash > /etc/bash_completion.d/goahead")]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Writes the script for `command` to standard output.
pub fn run(args: &Args, mut command: clap::Command) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "goahead", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
