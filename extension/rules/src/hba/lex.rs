//! Lines, fields and tokens.

/// One value of a field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// Its bytes, without the quotes.
    pub text: Vec<u8>,
    /// Whether it began with a quote: then it is no keyword, no `+role` and no `@file`. A leading `/` still counts on 16+.
    pub quoted: bool,
}
