//! One binary that carries HTTP to the `goahead` functions of a PostgreSQL database, and runs what a database must not run.
//!
//! The floors, from the top: `main` > `commands` > `api` > `gate`, `rendezvous`, `checks` > `probe` > `db`,
//! `http_client`, `program`, `listener`. Nothing imports upward.

mod api;
mod checks;
mod cli;
#[cfg(test)]
mod closed_port;
mod cluster_files;
mod commands;
mod db;
mod gate;
mod http_client;
mod legacy;
mod listener;
mod log_file;
mod logging;
mod metrics;
mod peer;
mod probe;
mod program;
mod rendezvous;
mod yaml;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match legacy::translate(std::env::args_os()) {
        legacy::Translation::Run(arguments) => arguments,
        legacy::Translation::Print(text) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        legacy::Translation::Misuse(text) => {
            eprint!("{text}");
            return ExitCode::from(2);
        }
    };
    cli::run(arguments)
}
