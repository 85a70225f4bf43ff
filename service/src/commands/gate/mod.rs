//! `goahead gate`: lets traffic into this node while a majority agrees that it may, and the orders of operators.

mod listeners;
mod order;
mod run;
mod running;
mod status;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{CommandResult, Failure};
use crate::gate::config::{self, Loaded, Overrides};
use crate::gate::settings::Mode;
use crate::{gate, logging};

const EXAMPLES: &str = "\
Examples:
  goahead gate -f /etc/goahead/gate.yml
      beside each database node, as the user that its server runs as
  goahead gate -f /etc/harepd/conf.yml
      with harepd's own file, in its place
  goahead gate -f gate.yml --server-only
      a witness; or, with a --client-only beside it, the half that votes and answers
  goahead gate status
      what the gate of this node says, and why
  goahead gate close --for 30m --reason 'kernel update'
      keeps this node out, whatever the others say
  goahead gate open --for 10m --reason 'node2 is lost, INC-7'
      lets read-write traffic in without a majority: only when every other node is certainly closed

Each round it asks its own database and, at the same time, all other gates; a node is open for read-write traffic only \
while it is a primary that a majority acks, and for read-only traffic only while it follows that primary. The verdict \
is a lease: a gate that is stopped, killed or cut off closes by itself. SIGTERM closes the lines and ends it.";

/// Arguments of `goahead gate`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = false, subcommand_negates_reqs = true)]
pub struct Args {
    /// Settings: gate.yml, or harepd's conf.yml
    #[arg(
        short = 'f',
        long = "config",
        value_name = "FILE",
        env = "GOAHEAD_GATE_CONFIG",
        default_value = "/etc/goahead/gate.yml",
        global = true
    )]
    config: PathBuf,
    /// Only vote, answer the other gates, and show the verdict that a --client-only of this machine hands over
    #[arg(long, conflicts_with = "client_only", help_heading = "Halves")]
    server_only: bool,
    /// Only decide and write, and vote and be seen through the --server-only of this machine; without one it closes
    #[arg(long, help_heading = "Halves")]
    client_only: bool,
    /// Where Patroni's paths, /gate and /metrics are; `off` opens none [default: of the file, else 127.0.0.1:8008]
    #[arg(long, value_name = "ADDRESS", value_parser = address_or_off, env = "GOAHEAD_GATE_LISTEN", help_heading = "Listeners")]
    gate_listen: Option<Where>,
    /// Where the other gates ask [default: of the file]
    #[arg(long, value_name = "ADDRESS", value_parser = address, env = "GOAHEAD_GATE_PEER_LISTEN", help_heading = "Listeners")]
    peer_listen: Option<SocketAddr>,
    /// Where HAProxy's agent-check asks; `off` opens none [default: of the file, else off]
    #[arg(long, value_name = "ADDRESS", value_parser = address_or_off, env = "GOAHEAD_GATE_AGENT_CHECK_LISTEN", help_heading = "Listeners")]
    agent_check_listen: Option<Where>,
    #[command(subcommand)]
    command: Option<Beside>,
}

/// What is asked of a gate that runs.
#[derive(Debug, Subcommand)]
enum Beside {
    /// Let traffic in until the order ends, without a majority and past hold-down; never into a standby, never while
    /// another node says that it is open
    Open(order::Args),
    /// Keep traffic out until the order ends
    Close(order::Args),
    /// Forget the order: the gate decides again
    Clear,
    /// Show what the gate says, and why
    Status(status::Args),
    /// Close when the gate cannot (started by it)
    #[command(hide = true)]
    Watch {
        /// The gate's process
        #[arg(long)]
        gate: u32,
    },
}

/// An address, or nowhere.
#[derive(Debug, Clone, Copy)]
struct Where(Option<SocketAddr>);

fn address_or_off(text: &str) -> Result<Where, String> {
    if text == "off" {
        return Ok(Where(None));
    }
    address(text).map(|address| Where(Some(address))).map_err(|why| format!("{why}, or off"))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text} is no ADDRESS:PORT, such as 10.0.0.11:8009 or [::1]:8009"))
}

/// Runs the gate, or asks one that runs.
///
/// # Errors
/// What cannot work, and what to do.
pub fn run(args: &Args, logging: &logging::Options) -> CommandResult {
    match &args.command {
        None => run::run(args.load()?, &args.config, logging),
        Some(Beside::Watch { gate }) => {
            logging::init(logging, "info").map_err(Failure::new)?;
            gate::watchdog::run(*gate)?;
            Ok(std::process::ExitCode::SUCCESS)
        }
        Some(beside) => {
            logging::init(logging, "warn").map_err(Failure::new)?;
            let state_dir = running::find(&args.load()?)?;
            match beside {
                Beside::Open(order) => order::give(&state_dir, true, order),
                Beside::Close(order) => order::give(&state_dir, false, order),
                Beside::Clear => order::clear(&state_dir),
                Beside::Status(how) => status::show(&state_dir, how),
                Beside::Watch { .. } => unreachable!("it is handled above"),
            }
        }
    }
}

impl Args {
    fn load(&self) -> Result<Loaded, Failure> {
        let mode = match (self.server_only, self.client_only) {
            (true, _) => Mode::ServerOnly,
            (_, true) => Mode::ClientOnly,
            _ => Mode::Dual,
        };
        let overrides = Overrides {
            mode,
            listen: self.gate_listen.map(|at| at.0),
            peer_listen: self.peer_listen,
            agent_check_listen: self.agent_check_listen.map(|at| at.0),
        };
        config::read(Path::new(&self.config), &overrides).map_err(|error| Failure::new(error.to_string()))
    }
}
