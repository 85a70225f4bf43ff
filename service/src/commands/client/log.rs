//! What the client says: lines in goahead_client's form under the old name, the service's structured log otherwise.

use std::io::Write;

/// Why the client ended before it was done. Every reason is exit code 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The service's answer ends the run: the function that says so in the log, and the message
    Warning(&'static str, String),
    /// Nothing can be done
    Fatal(String),
}

impl Stop {
    /// A fatal error that is told as `text`.
    pub fn fatal(text: impl Into<String>) -> Self {
        Self::Fatal(text.into())
    }
}

/// Where log lines go.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// Lines as Go's package `log` writes them, on standard output
    pub legacy: bool,
    /// Debug lines too; the structured log has its own filter
    pub debug: bool,
}

impl Log {
    /// What everybody wants to know.
    pub fn info(self, text: &str) {
        if self.legacy {
            self.line(text);
        } else {
            tracing::info!("{text}");
        }
    }

    /// A line on standard output without its time, whatever the form of the log.
    pub fn notice(self, text: &str) {
        // Nobody reads it any more, and nothing else is left to do.
        let _ = writeln!(std::io::stdout().lock(), "{}", one_line(text));
    }

    /// What helps to find a fault; `function` is the name that goahead_client's debug lines carry.
    pub fn debug(self, function: &str, text: &str) {
        if !self.legacy {
            tracing::debug!("{text}");
        } else if self.debug {
            self.line(&format!("Debug {function}(): {text}"));
        }
    }

    /// As `info`, but only together with debug lines, as goahead_client's verbose lines.
    pub fn verbose(self, text: &str) {
        if !self.legacy {
            tracing::debug!("{text}");
        } else if self.debug {
            self.line(text);
        }
    }

    /// Tells why the run ends.
    pub fn stop(self, stop: &Stop) {
        match stop {
            Stop::Warning(function, text) if self.legacy => {
                self.line(&format!("WARN {function}(): {text}"));
            }
            Stop::Warning(_, text) => tracing::warn!("{text}"),
            // A fatal error is for whoever started the client, with nothing around it.
            Stop::Fatal(text) => eprintln!("{text}"),
        }
    }

    fn line(self, text: &str) {
        let now = jiff::Zoned::now().strftime("%Y/%m/%d %H:%M:%S");
        let mut out = std::io::stdout().lock();
        // A restart goes on although nobody reads the log any more.
        let _ = writeln!(out, "{now} {}", one_line(text)).and_then(|()| out.flush());
    }
}

/// Makes one log line of a text that came from outside: no control character of it reaches a terminal.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        if c.is_control() && c != '\t' {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_text_from_outside_stays_one_line() {
        assert_eq!(one_line("a\nb\u{1b}[2J\tä\n"), "a\\nb\\u{1b}[2J\tä");
    }
}
