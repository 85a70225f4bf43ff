//! The name of a rendezvous.

use std::fmt;
use std::sync::Arc;

use goahead_rules::hostname::check_plain;
use serde::{Serialize, Serializer};

/// A key: 1 to 255 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Reads a key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        check_plain("key", text).map_err(|error| error.to_string())?;
        Ok(Self(text.into()))
    }

    /// Whether the service alone signals it.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('_')
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_and_printable() {
        for text in ["a", "/", "a/b c", "é", "_port/h/1", &"x".repeat(255)] {
            assert_eq!(Key::parse(text).map(|key| key.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "a\nb", "a\0", "\u{7f}", &"x".repeat(256)] {
            assert!(Key::parse(text).is_err(), "{text:?}");
        }
        assert!(Key::parse("_x").is_ok_and(|key| key.is_reserved()));
        assert!(Key::parse("x_").is_ok_and(|key| !key.is_reserved()));
    }
}
