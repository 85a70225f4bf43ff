//! Words for HAProxy's agent-check (configuration.txt, `agent-check`).

/// Which pool the agent speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pool {
    /// Writes.
    ReadWrite,
    /// Reads.
    ReadOnly,
}

/// The line for HAProxy, newline included. `why` is the first reason while closed; `maintenance` an operator's close.
pub fn agent_check(open: bool, maintenance: bool, why: &str) -> String {
    let _ = (open, maintenance, why);
    "down\n".to_owned()
}
