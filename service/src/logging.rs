//! Structured logs on standard error.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::log_file::LogFile;

/// Flags that every command shares.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Logging")]
pub struct Options {
    /// What is logged: a level (error, warn, info, debug, trace) or a filter such as `info,goahead::db=debug`
    #[arg(long = "log", global = true, value_name = "FILTER", env = "GOAHEAD_LOG")]
    pub filter: Option<String>,
    /// How a log line looks
    #[arg(long = "log-format", global = true, value_name = "FORMAT", value_enum, env = "GOAHEAD_LOG_FORMAT")]
    pub format: Option<Format>,
    /// The same as --log debug
    #[arg(long, global = true)]
    pub debug: bool,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One readable line
    Text,
    /// One JSON object per line
    Json,
}

/// Libraries that tell as news what is told here already, what nobody needs, or a line for whatever a stranger sends: later
/// directives win.
const QUIET: &str = "deadpool=error,tokio_postgres=warn,h2=error";

/// Starts logging; the first call wins. `default_filter` counts where the user gave none.
///
/// # Errors
/// When the user's filter cannot be read; says which part.
pub fn init(options: &Options, default_filter: &str) -> Result<(), String> {
    init_with(options, default_filter, None)
}

/// The same, and into `file` what goes to standard error: one JSON object per line.
///
/// # Errors
/// As [`init`].
pub fn init_with(options: &Options, default_filter: &str, file: Option<LogFile>) -> Result<(), String> {
    let wanted = match (&options.filter, options.debug) {
        (Some(filter), _) => filter.as_str(),
        // The libraries below speak of every packet at this level; what the user wants to see is this program.
        (None, true) => "info,goahead=debug",
        (None, false) => default_filter,
    };
    let filter = EnvFilter::try_new(format!("{QUIET},{wanted}")).map_err(|error| format!("--log {wanted}: {error}"))?;
    let screen =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let screen = match options.format.unwrap_or(Format::Text) {
        Format::Text => screen.with_target(false).boxed(),
        Format::Json => screen.json().flatten_event(true).boxed(),
    };
    let file = file.map(|file| tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(file));
    // A second start (a command run inside a test) keeps the first.
    let _ = tracing_subscriber::registry().with(filter).with(screen).with(file).try_init();
    Ok(())
}
