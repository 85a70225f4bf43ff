//! Lines for people: with colour on a terminal, without anywhere else.

use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Where the demo prints.
pub struct Screen {
    colour: bool,
}

impl Screen {
    /// Standard output; colour only on a terminal, and not with NO_COLOR set (no-color.org).
    pub fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colour: wanted && std::io::stdout().is_terminal() }
    }

    /// A new part of the demo.
    pub fn step(&self, text: &str) {
        self.line(&format!("\n{}", self.paint("1", &format!("==> {text}"))));
    }

    /// A line beside.
    pub fn note(&self, text: &str) {
        self.line(&format!("    {text}"));
    }

    /// Something that changed, so long after the part began.
    pub fn event(&self, after: Duration, what: &str, words: &str, open: bool) {
        let words = self.paint(if open { "32" } else { "31" }, words);
        self.line(&format!("    +{:5.2} s  {what:14} {words}", after.as_secs_f64()));
    }

    /// What a gate says of one kind of traffic.
    pub fn verdict(&self, node: &str, traffic: &str, open: bool, why: &str) {
        let state = if open { self.paint("1;32", "OPEN  ") } else { self.paint("31", "closed") };
        self.line(&format!("    {node:8} {traffic:6} {state}  {why}"));
    }

    /// A command that is run.
    pub fn command(&self, text: &str) {
        self.line(&format!("    {}", self.paint("36", &format!("$ {text}"))));
    }

    /// A line that a command printed.
    pub fn output(&self, text: &str) {
        self.line(&format!("      {text}"));
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn line(&self, text: &str) {
        // A reader that has gone away is no failure of the demo.
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}
