//! `goahead signal`: marks a rendezvous key.

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::Instant;

use super::rendezvous::{self, RendezvousArgs};
use super::{CommandResult, Failure, small_runtime};
use crate::yaml;

const EXAMPLES: &str = "\
Examples:
  goahead signal migrations-done
  goahead signal leader-elected --payload '{\"address\": \"10.0.0.7\"}' --ttl 5m
  hostname | goahead signal leader-elected --payload -
  goahead signal migrations-done --reset

Whoever waits for the key, by `goahead wait KEY` or GET /KEY, goes on at once. While the service cannot be reached it \
is tried again, for as long as --timeout says.

Exit codes: 0 the key is marked (with --reset: is not marked any more), 1 it is not or nobody knows, 2 wrong usage.";

/// The largest payload, in bytes.
const PAYLOAD: usize = 64 << 10;

/// Arguments of `goahead signal`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The key, with or without a slash before it
    #[arg(value_parser = key)]
    key: String,
    /// What those who wait are given: JSON, or text, which becomes a JSON string; `-` reads it from standard input
    #[arg(long, value_name = "JSON", conflicts_with = "reset")]
    payload: Option<String>,
    /// How long the key stays marked; without it, until it is reset
    #[arg(long, value_name = "TIME", value_parser = yaml::time, conflicts_with = "reset")]
    ttl: Option<Duration>,
    /// Take the mark back: whoever comes now waits
    #[arg(long)]
    reset: bool,
    /// How long to try while the service cannot be reached
    #[arg(long, short = 't', value_name = "TIME", default_value = "30s", value_parser = yaml::time)]
    timeout: Duration,
    #[command(flatten)]
    rendezvous: RendezvousArgs,
}

fn key(text: &str) -> Result<String, String> {
    rendezvous::key(text).map(ToOwned::to_owned)
}

/// Runs it.
///
/// # Errors
/// Why the key is not marked, or why that is unknown.
pub fn run(args: &Args) -> CommandResult {
    let payload = match args.payload.as_deref() {
        Some("-") => Some(read(std::io::stdin().lock())?),
        given => given.map(ToOwned::to_owned),
    };
    if payload.as_ref().is_some_and(|payload| payload.len() > PAYLOAD) {
        return Err(too_large());
    }
    let client = args.rendezvous.client()?;
    let runtime = small_runtime()?;
    let done = runtime.block_on(async {
        let deadline = Instant::now() + args.timeout;
        if args.reset {
            client.reset(&args.key, deadline).await
        } else {
            client.signal(&args.key, payload.as_deref(), args.ttl, deadline).await
        }
    });
    runtime.shutdown_background();
    done.map_err(|miss| Failure::new(format!("key {}: {miss}", args.key)))?;
    Ok(ExitCode::SUCCESS)
}

/// A payload from standard input, without the line's end that most programs write.
fn read(input: impl Read) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    input.take(PAYLOAD as u64 + 2).read_to_end(&mut bytes)?;
    let mut text = String::from_utf8(bytes).map_err(|_| Failure::new("the payload is not UTF-8"))?;
    if text.ends_with('\n') {
        text.pop();
    }
    if text.len() > PAYLOAD { Err(too_large()) } else { Ok(text) }
}

fn too_large() -> Failure {
    Failure::new(format!("the payload is longer than {} KiB", PAYLOAD >> 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_from_standard_input_has_its_bounds() {
        assert_eq!(read(&b"{\"a\":1}\n"[..]).unwrap(), "{\"a\":1}");
        assert_eq!(read(&b""[..]).unwrap(), "");
        let full = vec![b'x'; PAYLOAD];
        assert_eq!(read(&full[..]).unwrap().len(), PAYLOAD);
        let with_end = [full.clone(), b"\n".to_vec()].concat();
        assert_eq!(read(&with_end[..]).unwrap().len(), PAYLOAD);
        for wrong in [[full.clone(), b"x".to_vec()].concat(), [full, b"\nx".to_vec()].concat(), vec![0xff]] {
            read(&wrong[..]).unwrap_err();
        }
    }
}
