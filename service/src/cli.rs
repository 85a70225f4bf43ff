//! The command line: parses the arguments and calls exactly one command.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{self, Failure};
use crate::logging;

const EXAMPLES: &str = "\
Examples:
  goahead serve                                  a service with its own private PostgreSQL
  goahead serve --database-url postgres://db/ops a service over a database of yours
  goahead clusters import /etc/goahead/conf.d/*.yml
  goahead status --watch
  goahead rollout web --reason 'new kernel'
  goahead lock etl --wait 1m -- ./nightly-load   one at a time in the whole fleet
  goahead gate -f /etc/goahead/gate.yml          beside each node of a PostgreSQL cluster
  goahead wait tcp://db:5432 migrations-done -- ./app

Exit codes: 0 success, 1 refusal or failure, 2 wrong usage; `lock --help` and `wait --help` have some of their own.
`goahead COMMAND --help` explains a command, `goahead man` prints the manual.";

/// Who may restart now: a fleet coordinates itself in PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "goahead", version, after_help = EXAMPLES, max_term_width = 120, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    logging: logging::Options,
    #[command(subcommand)]
    command: Command,
}

/// What a user can run.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(Box<commands::serve::Args>),
    /// Ask whether this machine may restart, and restart it: in place of goahead_client
    Client(commands::client::Args),
    /// Run a command while holding a lock
    Lock(Box<Lock>),
    /// Let traffic into a database node while a majority agrees that it may: in place of harepd
    Gate(Box<commands::gate::Args>),
    /// Write clusters from files to the database
    Clusters(commands::clusters::Args),
    /// Show who restarts now
    Status(commands::status::Args),
    /// Restart a whole cluster, within its limits
    Rollout(commands::rollout::Args),
    /// Wait until others are ready: keys, ports, pages, databases, files; then become a command
    Wait(commands::wait::Args),
    /// Mark a rendezvous key, for whoever waits for it
    Signal(commands::signal::Args),
    /// Make, list and revoke tokens of the HTTP API
    Token(commands::token::Args),
    /// Print a completion script for a shell
    Completions(commands::completions::Args),
    /// Print the manual page, or write one page per command to a directory
    Man(commands::man::Args),
}

/// `goahead lock NAME -- CMD`, or what is done with locks otherwise.
#[derive(Debug)]
enum Lock {
    Run(commands::lock::Args),
    Operate(commands::operate::Args),
}

/// Subcommands beside the name of a lock.
#[derive(Debug, Subcommand)]
enum BesideLock {
    /// Do what a unit is to do under locks, such as restarts of services; or request it
    Operate(Box<commands::operate::Args>),
}

// By hand, because what a lock's name needs must not be asked of its subcommands.
impl FromArgMatches for Lock {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand() {
            Some(_) => BesideLock::from_arg_matches(matches).map(|BesideLock::Operate(args)| Self::Operate(*args)),
            None => commands::lock::Args::from_arg_matches(matches).map(Self::Run),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Lock {
    fn augment_args(command: clap::Command) -> clap::Command {
        // A lock's own arguments say that a subcommand stands alone.
        let command = commands::lock::Args::augment_args(command);
        BesideLock::augment_subcommands(command).subcommand_required(false).arg_required_else_help(false)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

/// Runs the command named by `arguments` (the program's name first) and gives the exit code of the process.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to tell the user when even this cannot be printed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let logging = &cli.logging;
    let quietly = || logging::init(logging, "warn").map_err(Failure::new);
    let outcome = match &cli.command {
        // These log in their own way, once they have read their settings.
        Command::Serve(args) => commands::serve::run(args, logging),
        Command::Client(args) => commands::client::run(args, logging),
        Command::Lock(lock) => match &**lock {
            Lock::Run(args) => commands::lock::run(args, logging),
            Lock::Operate(args) => commands::operate::run(args, logging),
        },
        Command::Gate(args) => commands::gate::run(args, logging),
        Command::Clusters(args) => quietly().and_then(|()| commands::clusters::run(args)),
        Command::Status(args) => quietly().and_then(|()| commands::status::run(args)),
        Command::Rollout(args) => quietly().and_then(|()| commands::rollout::run(args)),
        Command::Wait(args) => quietly().and_then(|()| commands::wait::run(args)),
        Command::Signal(args) => quietly().and_then(|()| commands::signal::run(args)),
        Command::Token(args) => quietly().and_then(|()| commands::token::run(args)),
        Command::Completions(args) => commands::completions::run(args, Cli::command()),
        Command::Man(args) => commands::man::run(args, Cli::command()),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("goahead: {failure}");
        ExitCode::from(1)
    })
}
