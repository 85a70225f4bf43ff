//! Writing what reads back as the same, on the major version that it is written for.

use super::lex::{Token, is_blank};

/// What the server's regular expressions do not take as it stands.
const SPECIAL: &[u8] = b"\\^$.|?*+()[]{}";

/// Bytes in quotes, the quotes inside doubled.
fn in_quotes(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// A name to be taken literally, on a server of this major: in quotes, and with a leading `/` on 16+, where quotes do not
/// keep that from meaning a regular expression, as an expression that matches just the name.
///
/// The name must not contain NUL, CR or LF: nothing in this file can write those.
#[must_use]
pub fn quoted(name: &str, major: u32) -> String {
    let mut out = Vec::new();
    in_quotes(&expressed(name.as_bytes(), major), &mut out);
    // Only whole ASCII characters were added.
    String::from_utf8_lossy(&out).into_owned()
}

/// The token that stands for a name on a server of this major.
pub(super) fn expressed(name: &[u8], major: u32) -> Vec<u8> {
    if major < 16 || !name.starts_with(b"/") {
        return name.to_vec();
    }
    let mut expression = b"/^".to_vec();
    for byte in name {
        if SPECIAL.contains(byte) {
            expression.push(b'\\');
        }
        expression.push(*byte);
    }
    expression.push(b'$');
    expression
}

/// The name that a token of an expression stands for, if it is one that [`quoted`] wrote.
pub(super) fn name_of(token: &[u8], major: u32) -> Option<Vec<u8>> {
    let inner = token.strip_prefix(b"/^")?.strip_suffix(b"$")?;
    let mut name = Vec::new();
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        name.push(if *byte == b'\\' { *bytes.next()? } else { *byte });
    }
    (expressed(&name, major) == token).then_some(name)
}

/// Tokens of a field with commas between them, each as it is written: quoted if it was, or if it has to be.
fn field(tokens: &[Token], out: &mut Vec<u8>) {
    for (index, token) in tokens.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let plain = |byte: &u8| !is_blank(*byte) && !matches!(byte, b',' | b'#' | b'"' | b'\\' | b'\n');
        if token.quoted || token.text.is_empty() {
            in_quotes(&token.text, out);
        } else if token.text.iter().all(plain) {
            out.extend_from_slice(&token.text);
        } else {
            // The first byte stands outside, so that a keyword sign keeps its meaning. It is no quote: a token that
            // begins with one is quoted.
            out.push(token.text[0]);
            in_quotes(&token.text[1..], out);
        }
    }
}

/// Fields as a line that reads back as the same fields, without a line end. They must be ones that a line can have: no
/// NUL or line feed in a token, no carriage return or backslash that would end the line, and no empty field.
#[must_use]
pub fn render(fields: &[Vec<Token>]) -> Vec<u8> {
    let mut line = Vec::new();
    for (index, tokens) in fields.iter().enumerate() {
        if index > 0 {
            line.push(b' ');
        }
        field(tokens, &mut line);
    }
    line
}
