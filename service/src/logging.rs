//! Structured logs on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

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

/// Libraries that tell as news what is told here already, or what nobody needs: later directives win.
const QUIET: &str = "deadpool=error,tokio_postgres=warn";

/// Starts logging; the first call wins. `default_filter` counts where the user gave none.
///
/// # Errors
/// When the user's filter cannot be read; says which part.
pub fn init(options: &Options, default_filter: &str) -> Result<(), String> {
    let wanted = match (&options.filter, options.debug) {
        (Some(filter), _) => filter.as_str(),
        // The libraries below speak of every packet at this level; what the user wants to see is this program.
        (None, true) => "info,goahead=debug",
        (None, false) => default_filter,
    };
    let filter = EnvFilter::try_new(format!("{QUIET},{wanted}")).map_err(|error| format!("--log {wanted}: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second start (a command run inside a test) keeps the first.
    let _ = match options.format.unwrap_or(Format::Text) {
        Format::Text => builder.with_target(false).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
