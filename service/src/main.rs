//! The goahead binary.
fn main() {}
