//! Writing tokens and records.

use super::lex::Token;

/// A token that reads back as the same one: quoted where needed, for a literal name of a server of this major.
#[must_use]
pub fn quoted(name: &str, major: u32) -> String {
    let _ = (name, major);
    unimplemented!()
}

/// Fields as one line that reads back as the same fields.
#[must_use]
pub fn render(fields: &[Vec<Token>]) -> Vec<u8> {
    let _ = fields;
    unimplemented!()
}
