//! What somebody did to our lines, for the operator to see; the mend is always the same, to write the block again.

use super::desired::{Desired, State};
use super::scan::{Piece, What, for_people};

/// Where the two marker lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markers {
    /// One of each, and the first is the first line of the file.
    Whole,
    /// There is none.
    Missing,
    /// They are not at the top, one is gone, or there are more.
    Moved,
}

/// A foreign line between the markers. It will stand below the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// The line, the first of the file being 1.
    pub line: usize,
    /// What it says.
    pub text: String,
}

/// How a file differs from what it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Where the markers are.
    pub markers: Markers,
    /// Rules that have no line.
    pub missing: Vec<String>,
    /// Rules with a line that is not between the markers, while they are there.
    pub moved: Vec<String>,
    /// Rules whose line was changed.
    pub edited: Vec<String>,
    /// Rules that are open and are to be closed, or the other way round.
    pub state: Vec<String>,
    /// Rules with more than one line.
    pub repeated: Vec<String>,
    /// Names on lines that are tagged and that no rule has.
    pub unknown: Vec<String>,
    /// Foreign lines between the markers.
    pub foreign: Vec<Misplaced>,
    /// The lines are in another order than the rules.
    pub reordered: bool,
    /// Writing the block would change the file; every other difference implies it.
    pub differs: bool,
    /// How many rules have a line.
    found: usize,
}

impl Drift {
    pub(super) fn new(pieces: &[Piece<'_>], rules: &[Desired], state: State, major: u32, differs: bool) -> Self {
        let position = |wanted| {
            let mut found = pieces.iter().enumerate().filter(move |(_, piece)| piece.what == wanted);
            (found.next().map(|(index, _)| index), found.next().is_none())
        };
        let ((begin, one_begin), (end, one_end)) = (position(What::Begin), position(What::End));
        let markers = match (begin, end) {
            (None, None) => Markers::Missing,
            (Some(0), Some(_)) if one_begin && one_end => Markers::Whole,
            _ => Markers::Moved,
        };
        let block = begin.zip(end).filter(|(begin, end)| begin < end);
        let mut drift = Self {
            markers,
            missing: Vec::new(),
            moved: Vec::new(),
            edited: Vec::new(),
            state: Vec::new(),
            repeated: Vec::new(),
            unknown: Vec::new(),
            foreign: Vec::new(),
            reordered: false,
            differs,
            found: 0,
        };
        let mut seen: Vec<&str> = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let inside = block.is_some_and(|(begin, end)| (begin..end).contains(&index));
            match &piece.what {
                What::Foreign { .. } if inside => {
                    drift.foreign.push(Misplaced { line: piece.first + 1, text: for_people(piece.bytes) });
                }
                What::Ours(ours) => {
                    let name = &ours.tag.name;
                    let Some(rule) = rules.iter().find(|rule| rule.name() == name) else {
                        note(&mut drift.unknown, name);
                        continue;
                    };
                    if seen.contains(&rule.name()) {
                        note(&mut drift.repeated, name);
                        continue;
                    }
                    seen.push(rule.name());
                    if block.is_some() && !inside {
                        note(&mut drift.moved, name);
                    }
                    let open = state.opens(rule.applies());
                    if ours.text == rule.line(!open, major).as_bytes() && ours.text != rule.line(open, major).as_bytes()
                    {
                        note(&mut drift.state, name);
                    } else if ours.text != rule.line(open, major).as_bytes() {
                        note(&mut drift.edited, name);
                    }
                }
                _ => {}
            }
        }
        drift.found = seen.len();
        let wanted: Vec<&str> = rules.iter().map(Desired::name).collect();
        drift.missing = wanted.iter().filter(|name| !seen.contains(name)).map(|name| (*name).to_owned()).collect();
        drift.reordered = !seen.iter().eq(wanted.iter().filter(|name| seen.contains(name)));
        drift
    }

    /// Whether there is none: writing the block would change nothing.
    #[must_use]
    pub fn none(&self) -> bool {
        !self.differs
    }

    /// Whether somebody else changed what is ours; a rule that is merely to be opened or closed is not that, and neither
    /// is one that was never written.
    #[must_use]
    pub fn tampered(&self) -> bool {
        let lists = [&self.moved, &self.edited, &self.repeated];
        self.markers == Markers::Moved
            || self.markers == Markers::Missing && self.found > 0
            || !self.foreign.is_empty()
            || self.reordered
            || lists.iter().any(|names| !names.is_empty())
    }

    /// What there is to say, one sentence for each kind of difference, without full stops.
    #[must_use]
    pub fn describe(&self) -> Vec<String> {
        let mut said = Vec::new();
        if !self.differs {
            return said;
        }
        match self.markers {
            Markers::Whole => {}
            Markers::Missing => said.push("the marker lines of the managed block are missing".to_owned()),
            Markers::Moved => {
                said.push("the marker lines of the managed block were moved, removed or repeated".to_owned())
            }
        }
        for (names, what) in [
            (&self.missing, "missing"),
            (&self.moved, "outside of the markers"),
            (&self.edited, "edited"),
            (&self.state, "open instead of closed, or closed instead of open"),
            (&self.repeated, "there more than once"),
            (&self.unknown, "tagged as ours and belong to no rule"),
        ] {
            if !names.is_empty() {
                said.push(format!("lines {what}: {}", names.join(", ")));
            }
        }
        for line in &self.foreign {
            said.push(format!("line {} stands in the managed block and is not ours: {}", line.line, line.text));
        }
        if self.reordered {
            said.push("the lines are in another order than the rules".to_owned());
        }
        if said.is_empty() {
            said.push("line ends, or what surrounds the lines, were changed".to_owned());
        }
        said
    }
}

fn note(names: &mut Vec<String>, name: &str) {
    if !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}
