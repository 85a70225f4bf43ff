//! What a terminal shows meanwhile: one line that changes, and a line for each target that is there.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use tokio::time::{Instant, Interval, interval_at};

use super::target::Wanted;

/// Between two looks of the line; a wait that is over sooner shows none.
const LOOK: Duration = Duration::from_millis(500);
/// The longest line, in characters: a longer one would wrap, and could not be taken back.
const WIDTH: usize = 78;

/// The line, where standard error is a terminal.
pub struct Progress {
    shown: Option<Interval>,
    begun: Instant,
    drawn: bool,
}

impl Progress {
    /// Begins now.
    pub fn new(quiet: bool) -> Self {
        let begun = Instant::now();
        let shown = (!quiet && std::io::stderr().is_terminal()).then(|| interval_at(begun + LOOK, LOOK));
        Self { shown, begun, drawn: false }
    }

    /// Until the line is to be drawn again; never where there is none.
    pub async fn due(&mut self) {
        match &mut self.shown {
            Some(interval) => {
                interval.tick().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Draws what is still waited for.
    pub fn draw<'a>(&mut self, awaited: impl Iterator<Item = &'a Wanted>) {
        let line = line(awaited, self.begun.elapsed());
        let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        self.drawn = true;
    }

    /// Says that a target is there.
    pub fn there(&mut self, target: &Wanted) {
        if self.shown.is_some() {
            self.clear();
            let seconds = self.begun.elapsed().as_secs_f64();
            let _ = writeln!(std::io::stderr(), "{target} is there after {seconds:.1} s");
        }
    }

    /// Takes the line back.
    pub fn clear(&mut self) {
        if self.drawn {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
            self.drawn = false;
        }
    }
}

fn line<'a>(awaited: impl Iterator<Item = &'a Wanted>, elapsed: Duration) -> String {
    let names: Vec<String> = awaited.map(ToString::to_string).collect();
    let time = format!(", {} s", elapsed.as_secs());
    let text = format!("waiting for {}", names.join(", "));
    let room = WIDTH - time.len();
    if text.chars().count() <= room {
        return text + &time;
    }
    let cut: String = text.chars().take(room - 1).collect();
    format!("{cut}…{time}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_a_terminal() {
        let awaited: Vec<Wanted> = ["db:5432", "ready"].iter().map(|word| Wanted::parse(word).unwrap()).collect();
        let short = line(awaited.iter(), Duration::from_millis(2999));
        assert_eq!(short, "waiting for tcp://db:5432, key ready, 2 s");
        let many: Vec<Wanted> = (0..20).map(|n| Wanted::parse(&format!("schlüssel-{n}")).unwrap()).collect();
        let long = line(many.iter(), Duration::from_secs(100));
        assert!(long.starts_with("waiting for key schlüssel-0") && long.ends_with("…, 100 s"), "{long}");
        assert_eq!(long.chars().count(), WIDTH);
    }
}
