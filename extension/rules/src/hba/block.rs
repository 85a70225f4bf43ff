//! The managed block
use super::{Desired, State};

/// Where the two marker lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markers {
    /// One of each, the first line and the last of the block.
    Whole,
    /// There is none.
    Missing,
    /// They are not at the top, not in order or not alone.
    Moved,
}

/// A foreign line between the markers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misplaced {
    pub line: usize,
    pub text: String,
}

/// How a file differs from what `install` would make of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    pub markers: Markers,
    /// Names of desired rules without a line
    pub missing: Vec<String>,
    /// outside of the markers
    pub moved: Vec<String>,
    /// line differs from both open and closed form
    pub edited: Vec<String>,
    /// open although to be closed or the other way round
    pub state: Vec<String>,
    /// tagged lines of no desired rule
    pub unknown: Vec<String>,
    /// more than one line
    pub repeated: Vec<String>,
    pub foreign: Vec<Misplaced>,
}
impl Drift {
    pub fn none(&self) -> bool {
        unimplemented!()
    }
    pub fn describe(&self) -> Vec<String> {
        unimplemented!()
    }
}

/// The text with the block at its top
pub fn install(text: &[u8], rules: &[Desired], state: State, major: u32) -> Vec<u8> {
    unimplemented!()
}
pub fn remove(text: &[u8]) -> Vec<u8> {
    unimplemented!()
}
pub fn close(text: &[u8]) -> Vec<u8> {
    unimplemented!()
}
/// Names of gated rules that are open, in order, each once
pub fn open_gated(text: &[u8]) -> Vec<String> {
    unimplemented!()
}
pub fn inspect(text: &[u8], rules: &[Desired], state: State, major: u32) -> Drift {
    unimplemented!()
}
