//! Lines for people: with colour on a terminal, without anywhere else.

use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Columns of the narrowest terminal that people use.
const WIDTH: usize = 80;

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
        self.line("");
        for (number, line) in wrapped(text, WIDTH - 4).iter().enumerate() {
            self.line(&self.paint("1", &format!("{}{line}", if number == 0 { "==> " } else { "    " })));
        }
    }

    /// A line beside.
    pub fn note(&self, text: &str) {
        wrapped(text, WIDTH - 4).iter().for_each(|line| self.line(&format!("    {line}")));
    }

    /// Something that changed, so long after the part began.
    pub fn event(&self, after: Duration, what: &str, words: &str, open: bool) {
        let words = self.paint(if open { "32" } else { "31" }, words);
        self.line(&format!("    +{:5.2} s  {what:14} {words}", after.as_secs_f64()));
    }

    /// What a gate says of one kind of traffic.
    pub fn verdict(&self, node: &str, traffic: &str, open: bool, why: &str) {
        let state = if open { self.paint("1;32", "OPEN  ") } else { self.paint("31", "closed") };
        let mut lines = wrapped(why, WIDTH - 28).into_iter();
        self.line(&format!("    {node:8} {traffic:6} {state}  {}", lines.next().unwrap_or_default()));
        lines.for_each(|line| self.line(&format!("{:28}{line}", "")));
    }

    /// What a gate's voter says.
    pub fn vote(&self, node: &str, words: &str) {
        self.line(&format!("    {node:8} vote           {words}"));
    }

    /// A command that is run.
    pub fn command(&self, text: &str) {
        let lines = wrapped(&format!("$ {text}"), WIDTH - 8);
        for (number, line) in lines.iter().enumerate() {
            let indent = if number == 0 { "    " } else { "        " };
            let end = if number + 1 < lines.len() { " \\" } else { "" };
            self.line(&format!("{indent}{}", self.paint("36", &format!("{line}{end}"))));
        }
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

/// The words of a text in lines of at most `width` characters; a longer word has a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
