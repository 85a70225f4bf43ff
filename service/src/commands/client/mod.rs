//! `goahead client`: asks the service whether this machine may restart, and restarts it; in place of goahead_client.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use goahead_rules::duration;

use super::{CommandResult, Failure, small_runtime};
use crate::http_client::Client;
use crate::http_client::trust::{self, Trust, TrustError};
use crate::logging;
use signals::Signals;

mod config;
mod conversation;
mod hooks;
mod http;
mod log;
mod signals;

use log::{Log, Stop};

const EXPLANATION: &str = "\
What happens:
  The restart_condition_script of the config file runs. If it exits with the configured code, its output is the reason
  with which the service is asked; otherwise the service is asked whether it knows a reason. The service answers with a
  time to wait and is asked again after it; with its go-ahead, every file of os_restart_hooks_dir runs, in the order
  of their names, until one fails. Hooks find GOAHEAD_FQDN, GOAHEAD_CLUSTER and GOAHEAD_REASON in their environment.

The config file (YAML), goahead_client's:
  service_url                   required: https://goahead.example.org/
  service_url_ca_file           certificates trusted beside the system's
  requesting_fqdn               the name to ask for; the host's name where it is missing
  ssl_certificate_file, ssl_private_key, ssl_require_and_verify_client_cert
                                the client certificate, and whether to insist on having one
  token_file                    a file that holds the token to call with; make one by `goahead token create host`
  restart_condition_script      required: a program, and after a blank its arguments
  restart_condition_script_exit_code_for_reboot
                                the exit code that is a reason to restart; 0 where it is missing
  os_restart_hooks_dir          required: a directory of programs
  os_restart_hooks_allow_fail   whether the next hook runs after one has failed
  timeout                       how long connecting to the service may take: 5s, 1m30s; a bare number below 1000 is
                                seconds, a larger one nanoseconds as in goahead_client; 5s where it is missing

Exit codes: 0 the restart was carried out, was denied, or is not needed; 1 anything else.";

/// Arguments of `goahead client`.
#[derive(Debug, clap::Args)]
#[command(version, after_long_help = EXPLANATION, after_help = "`--help` explains what happens and the config file.")]
pub struct Args {
    /// Which config file to use
    #[arg(long, value_name = "FILE", default_value = "/etc/goahead/client.yml", env = "GOAHEAD_CLIENT_CONFIG")]
    config: PathBuf,
    /// File to check if the run should be skipped; its text is the reason
    #[arg(long, value_name = "FILE", default_value = "/etc/goahead/disabled", env = "GOAHEAD_CLIENT_DISABLED")]
    disabled: PathBuf,
    /// Ask nothing that could be granted and run no hook: say what would happen
    #[arg(long)]
    dry_run: bool,
    /// How long one request may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time, env = "GOAHEAD_CLIENT_HTTP_TIMEOUT")]
    http_timeout: Duration,
    /// How often a request is tried while the service cannot be reached, within half a minute
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100), env = "GOAHEAD_CLIENT_TRIES")]
    tries: u32,
    /// How long the condition script may run; a longer run is an error, never a reason to restart
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time, env = "GOAHEAD_CLIENT_CONDITION_TIMEOUT")]
    condition_timeout: Duration,
    /// How long each hook may run; without it, as long as it takes
    #[arg(long, value_name = "TIME", value_parser = time, env = "GOAHEAD_CLIENT_HOOK_TIMEOUT")]
    hook_timeout: Option<Duration>,
    /// Log lines in goahead_client's form on standard output
    #[arg(long, hide = true)]
    legacy_output: bool,
}

fn time(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    match u64::try_from(time.0) {
        Ok(nanoseconds) if nanoseconds > 0 => Ok(Duration::from_nanos(nanoseconds)),
        _ => Err("a time above zero is wanted, such as 30s or 1m30s".to_owned()),
    }
}

/// Runs the client once.
///
/// # Errors
/// When `logging` cannot be read, or the operating system refuses what every program needs. Everything else is told
/// and ends in an exit code.
pub fn run(args: &Args, logging: &logging::Options) -> CommandResult {
    let log = Log { legacy: args.legacy_output, debug: logging.debug };
    if !log.legacy {
        logging::init(logging, "info").map_err(Failure::new)?;
    }
    let runtime = small_runtime()?;
    let outcome = runtime.block_on(async {
        let signals = Signals::listen().map_err(Failure::from)?;
        Ok::<_, Failure>(checked_run(args, &signals, log).await)
    })?;
    // A name lookup may still hang in its thread; nobody waits for it any more.
    runtime.shutdown_background();
    Ok(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            log.stop(&stop);
            ExitCode::from(1)
        }
    })
}

/// A disabled client still judges its config file, so that a fault in it shows before the day it is needed.
async fn checked_run(args: &Args, signals: &Signals, log: Log) -> Result<(), Stop> {
    log.debug("main", &format!("Using as config file: {}", args.config.display()));
    let config = config::read(&args.config, log)?;
    let client = client(&config, log)?;
    if let Some(reason) = disabled(args)? {
        log.notice(&format!("Notice: Skipping run of goahead client; administratively disabled (Reason: '{reason}')"));
        return Ok(());
    }
    let service =
        http::Service { url: config.service_url.clone(), client, timeout: args.http_timeout, tries: args.tries, log };
    conversation::hold(&config, args, &service, signals, log).await
}

/// Who speaks to the service of `config`. It says little and seldom, so it keeps no connection.
fn client(config: &config::Config, log: Log) -> Result<Client, Stop> {
    let certificate = config.client_certificate.as_ref().map(|(certificate, key)| (&**certificate, &**key));
    let trust = Trust { ca_file: config.ca_file.as_deref(), client_certificate: certificate };
    let tls = trust::connector(trust, |text| log.debug("setupHttpClient", text)).map_err(|error| {
        Stop::fatal(match error {
            TrustError::Setup(why) => format!("Failed to set up TLS Error: {why}"),
            TrustError::Authorities(file, why) => {
                format!("Failed to append {} to RootCAs Error: {why}", file.display())
            }
            TrustError::Certificate(file, why) => unreadable("ssl_certificate_file", &file, &why),
            TrustError::Key(file, why) => unreadable("ssl_private_key", &file, &why),
        })
    })?;
    let token = config.token_file.as_deref();
    let authorization = token
        .map(|file| trust::bearer(file).map_err(|why| Stop::fatal(unreadable("token_file", file, &why))))
        .transpose()?;
    Ok(Client::new(&config.service_url)
        .map_err(Stop::fatal)?
        .tls(tls)
        .authorization(authorization)
        .user_agent(concat!("goahead_client/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(config.timeout)
        .keep_nothing())
}

fn unreadable(key: &str, file: &Path, why: &str) -> String {
    format!("Failed to read {key} {} Error: {why}", file.display())
}

/// The reason why this client is not to run, or none.
fn disabled(args: &Args) -> Result<Option<String>, Stop> {
    let file = &args.disabled;
    if matches!(file.try_exists(), Ok(false)) {
        return Ok(None);
    }
    let text = std::fs::read(file).map_err(|error| {
        Stop::fatal(format!("There was an error parsing the file to disabled goahead{}: {error}", file.display()))
    })?;
    let reason = String::from_utf8_lossy(&text).replace('\n', "");
    Ok(Some(if reason.trim().is_empty() { "reason not specified".to_owned() } else { reason }))
}
