//! The managed block: our rules at the top of the file, where the first match wins and no line above can swallow them.
//!
//! What is not ours keeps every byte and its order, here as in the server's eyes: when a line of ours is taken out from
//! below a line that ends in a backslash, an empty line is left in its place, lest the next foreign rule be swallowed.

use std::path::Path;

use super::desired::{Desired, State};
use super::dialect::{Dialect, NoFiles};
use super::file;
use super::lex::without_end;
use super::scan::{self, BEGIN, END, Ours, Piece, What, end_of};
use super::tag::Keeper;
use super::{Applies, Drift};

/// The text with our rules, in the order given, in a block at its top, each open or closed as the state says. Whatever
/// was ours anywhere else is gone. Without rules there is no block.
#[must_use]
pub fn install(text: &[u8], rules: &[Desired], state: State, major: u32) -> Vec<u8> {
    block(&written(rules, state, major), &remove(text))
}

/// The text with the rules of one keeper as given, and those of the other as they are in the text, except that what the
/// state closes is closed: only its keeper can open a line. A line that would not load is left out; its keeper writes it
/// again. The gate's come first, so that no row takes a health check away from them.
#[must_use]
pub fn install_part(text: &[u8], keeper: Keeper, rules: &[Desired], state: State, major: u32) -> Vec<u8> {
    let others: Vec<Vec<u8>> = ours(text)
        .filter(|ours| ours.tag.keeper != keeper && loads_alone(&ours.text, major))
        .map(|ours| if state.opens(ours.tag.applies) { ours.text } else { ours.closed() })
        .collect();
    let mine = written(rules, state, major);
    let lines = match keeper {
        Keeper::Gate => [mine, others].concat(),
        Keeper::Rows => [others, mine].concat(),
    };
    block(&lines, &remove(text))
}

/// The text with all rules of ours as they are, over what is not ours in another text.
#[must_use]
pub fn replace_foreign(text: &[u8], other: &[u8]) -> Vec<u8> {
    block(&ours(text).map(|ours| ours.text).collect::<Vec<_>>(), &remove(other))
}

/// Whether there is a rule of this keeper.
#[must_use]
pub fn has_part(text: &[u8], keeper: Keeper) -> bool {
    ours(text).any(|ours| ours.tag.keeper == keeper)
}

fn ours(text: &[u8]) -> impl Iterator<Item = Ours> {
    scan::scan(text).into_iter().filter_map(|piece| match piece.what {
        What::Ours(ours) => Some(ours),
        _ => None,
    })
}

fn written(rules: &[Desired], state: State, major: u32) -> Vec<Vec<u8>> {
    rules.iter().map(|rule| rule.line(state.opens(rule.applies()), major).into_bytes()).collect()
}

fn loads_alone(line: &[u8], major: u32) -> bool {
    let entries = file::parse(line, Path::new("pg_hba.conf"), &Dialect::packaged(major), &NoFiles);
    entries.iter().all(|entry| entry.verdict.is_ok())
}

/// Lines in a block above foreign text, each once; without lines there is no block.
fn block(lines: &[Vec<u8>], foreign: &[u8]) -> Vec<u8> {
    if lines.is_empty() {
        return foreign.to_vec();
    }
    let end = line_end(foreign);
    let mut block = Vec::with_capacity(foreign.len() + 256 * lines.len());
    let once =
        lines.iter().enumerate().filter(|(index, line)| !lines[..*index].contains(line)).map(|(_, line)| &line[..]);
    for line in std::iter::once(BEGIN.as_bytes()).chain(once).chain([END.as_bytes()]) {
        block.extend_from_slice(line);
        block.extend_from_slice(end);
    }
    block.extend_from_slice(foreign);
    block
}

/// The text without anything of ours.
#[must_use]
pub fn remove(text: &[u8]) -> Vec<u8> {
    let mut foreign = Vec::with_capacity(text.len());
    let mut continued: Option<&[u8]> = None;
    for Piece { what, bytes, .. } in scan::scan(text) {
        match what {
            What::Foreign { continued: on } => {
                foreign.extend_from_slice(bytes);
                continued = on.then(|| end_of(bytes));
            }
            _ => foreign.extend_from_slice(continued.take().unwrap_or_default()),
        }
    }
    foreign
}

/// The text with every open rule of ours that applies to a primary or a standby closed, as its tag says. Nothing else is
/// touched, and the markers are not needed.
#[must_use]
pub fn close(text: &[u8]) -> Vec<u8> {
    let mut closed = Vec::with_capacity(text.len());
    for Piece { what, bytes, .. } in scan::scan(text) {
        match what {
            What::Ours(ours) if ours.tag.applies != Applies::Any && ours.is_open() => {
                closed.extend_from_slice(&ours.closed());
                // A backslash goes on joining what it joined.
                if without_end(bytes).ends_with(b"\\") {
                    closed.push(b'\\');
                }
                closed.extend_from_slice(end_of(bytes));
            }
            _ => closed.extend_from_slice(bytes),
        }
    }
    closed
}

/// The names of our rules that apply to a primary or a standby and are open, in order, each once.
#[must_use]
pub fn open_gated(text: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    for piece in scan::scan(text) {
        if let What::Ours(ours) = piece.what
            && ours.tag.applies != Applies::Any
            && ours.is_open()
            && !names.contains(&ours.tag.name)
        {
            names.push(ours.tag.name);
        }
    }
    names
}

/// How a text differs from what [`install`] makes of it.
#[must_use]
pub fn inspect(text: &[u8], rules: &[Desired], state: State, major: u32) -> Drift {
    let differs = install(text, rules, state, major) != text;
    Drift::new(&scan::scan(text), rules, state, major, differs)
}

/// The line end of a file's first line; a line feed if it has none.
fn line_end(text: &[u8]) -> &'static [u8] {
    let first = text.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    if first.ends_with(b"\r\n") { b"\r\n" } else { b"\n" }
}
