//! Orders of operators to a gate that runs.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::super::{CommandResult, Failure, print, small_runtime};
use crate::gate::snapshot::Order;
use crate::gate::{clock, control};
use crate::yaml;

/// Arguments of `goahead gate open` and `close`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long the order lasts, such as 10m or 2h; at most 168h, which is a week
    #[arg(long = "for", value_name = "TIME", value_parser = yaml::time)]
    time: Duration,
    /// Why: for the audit, and for whoever asks why the node is open or closed
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// About read-write traffic [default for open]
    #[arg(long)]
    rw: bool,
    /// About read-only traffic [default for close: both]
    #[arg(long)]
    ro: bool,
}

/// Gives an order.
///
/// # Errors
/// Why the gate refuses it, or that none answers.
pub fn give(state_dir: &Path, open: bool, args: &Args) -> CommandResult {
    let (rw, ro) = match (args.rw, args.ro) {
        (false, false) => (true, !open),
        chosen => chosen,
    };
    let given_us = clock::wall();
    let order = Order {
        open,
        rw,
        ro,
        reason: args.reason.clone(),
        actor: actor(),
        given_us,
        until_us: given_us.saturating_add(clock::micros(args.time)),
    };
    small_runtime()?.block_on(async {
        control::order(state_dir, &order).await.map_err(Failure::new)?;
        let snapshot = control::status(state_dir).await.map_err(Failure::new)?;
        print(&super::status::text(&snapshot))?;
        // An order to open cannot make a node fit to open.
        let done = !open || (!rw || snapshot.rw_open()) && (!ro || snapshot.ro_open());
        Ok(if done { ExitCode::SUCCESS } else { ExitCode::from(1) })
    })
}

/// Forgets the order.
///
/// # Errors
/// When there is none, or no gate answers.
pub fn clear(state_dir: &Path) -> CommandResult {
    small_runtime()?.block_on(async {
        control::clear(state_dir, &actor()).await.map_err(Failure::new)?;
        let snapshot = control::status(state_dir).await.map_err(Failure::new)?;
        print(&super::status::text(&snapshot))?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Who gives orders: the person behind sudo, else the user. For the audit; the socket is what decides who may.
fn actor() -> String {
    let variable = |name| std::env::var(name).ok().filter(|name: &String| !name.is_empty());
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::current()).ok().flatten().map(|user| user.name);
    variable("SUDO_USER").or(user).unwrap_or_else(|| format!("uid {}", nix::unistd::Uid::current()))
}
