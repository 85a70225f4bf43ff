//! The names that callers give: host names of restarts, and the holders and groups of FleetLock.
//!
//! Everything past this door is known to be short and harmless: no slash, quote, space or control character gets in.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// The longest host name in bytes, as DNS has it.
pub const MAX_NAME: usize = 253;
/// The longest label of a host name in bytes.
pub const MAX_LABEL: usize = 63;
/// The longest id of a FleetLock holder in bytes.
pub const MAX_HOLDER: usize = 128;
/// The longest name of a FleetLock group in bytes.
pub const MAX_GROUP: usize = 255;

/// Why a name is refused, in words that can be sent to the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("the {what} is empty")]
    Empty {
        /// Which kind of name.
        what: &'static str,
    },
    /// More bytes than allowed.
    #[error("the {what} has {length} bytes; at most {limit} are allowed")]
    TooLong {
        /// Which kind of name.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The longest allowed, in bytes.
        limit: usize,
    },
    /// Two dots in a row or a dot at the start.
    #[error("the host name has an empty label: a dot stands at its start or beside another dot")]
    EmptyLabel,
    /// A label longer than 63 bytes.
    #[error("label {position} of the host name has {length} bytes; at most {MAX_LABEL} are allowed")]
    LongLabel {
        /// Which label, the first being 1.
        position: usize,
        /// Its length in bytes.
        length: usize,
    },
    /// A label that begins or ends with a hyphen or an underscore.
    #[error("label {label:?} of the host name must begin and end with a letter or a digit")]
    LabelEdge {
        /// The label, lower-cased.
        label: String,
    },
    /// A character outside the alphabet.
    #[error("the {what} contains {found:?} at byte {position}; only {allowed} are allowed")]
    Character {
        /// Which kind of name.
        what: &'static str,
        /// The first character that is not allowed.
        found: char,
        /// Where it stands, the first byte being 1.
        position: usize,
        /// The alphabet in words.
        allowed: &'static str,
    },
}

/// A host name as restarts know it: lower-case, without a trailing dot, at most 253 bytes of labels of
/// `[a-z0-9_-]` that begin and end alphanumeric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Fqdn(String);

impl Fqdn {
    /// Reads a host name in any case, with or without one trailing dot: `WEB1.example.` and `web1.example` are one host.
    ///
    /// # Errors
    /// When what is left is empty or too long, has an empty or long label, a label that begins or ends with a hyphen or
    /// an underscore, or any other character.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        const WHAT: &str = "host name";
        let name = text.strip_suffix('.').unwrap_or(text);
        check_length(WHAT, name, MAX_NAME)?;
        check_alphabet(WHAT, name, "letters, digits, '-', '_' and '.'", |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
        })?;
        for (label, position) in name.split('.').zip(1..) {
            let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
            let bytes = label.as_bytes();
            if label.is_empty() {
                return Err(NameError::EmptyLabel);
            }
            if label.len() > MAX_LABEL {
                return Err(NameError::LongLabel { position, length: label.len() });
            }
            if !edge(bytes.first()) || !edge(bytes.last()) {
                return Err(NameError::LabelEdge { label: label.to_ascii_lowercase() });
            }
        }
        Ok(Self(name.to_ascii_lowercase()))
    }

    /// The name as validated.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first label.
    #[must_use]
    pub fn hostname(&self) -> &str {
        self.0.split_once('.').map_or(&self.0, |(first, _)| first)
    }
}

/// The id by which a FleetLock client holds its slot, compared byte by byte: `A` and `a` are two holders.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct HolderId(String);

impl HolderId {
    /// Reads an id of 1 to 128 bytes of `[A-Za-z0-9._:-]`; Zincati sends 32 hexadecimal digits, others a host name.
    ///
    /// # Errors
    /// When it is empty, too long or contains any other character.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        const WHAT: &str = "id";
        check_length(WHAT, text, MAX_HOLDER)?;
        check_alphabet(WHAT, text, "letters, digits, '.', '_', ':' and '-'", |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-')
        })?;
        Ok(Self(text.to_owned()))
    }

    /// The id as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The FleetLock group of a request, which names a cluster; compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct GroupName(String);

impl GroupName {
    /// Reads a group: `^[a-zA-Z0-9.-]+$` as the FleetLock protocol has it, at most 255 bytes.
    ///
    /// # Errors
    /// When it is empty, too long or contains any other character.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        const WHAT: &str = "group";
        check_length(WHAT, text, MAX_GROUP)?;
        check_alphabet(WHAT, text, "letters, digits, '.' and '-'", |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')
        })?;
        Ok(Self(text.to_owned()))
    }

    /// The group as sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Checks a name that stays as it was given: of a lock, a holder, a key. 1 to 255 bytes without control characters.
///
/// # Errors
/// When it is empty, too long, or contains a control character.
pub fn check_plain(what: &'static str, text: &str) -> Result<(), NameError> {
    check_length(what, text, MAX_GROUP)?;
    match text.char_indices().find(|(_, char)| char.is_control()) {
        Some((index, found)) => {
            Err(NameError::Character { what, found, position: index + 1, allowed: "printable characters" })
        }
        None => Ok(()),
    }
}

fn check_length(what: &'static str, text: &str, limit: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::Empty { what }),
        length if length > limit => Err(NameError::TooLong { what, length, limit }),
        _ => Ok(()),
    }
}

fn check_alphabet(
    what: &'static str,
    text: &str,
    allowed: &'static str,
    fits: impl Fn(u8) -> bool,
) -> Result<(), NameError> {
    match text.char_indices().find(|&(_, c)| !u8::try_from(c).is_ok_and(&fits)) {
        Some((at, found)) => Err(NameError::Character { what, found, position: at + 1, allowed }),
        None => Ok(()),
    }
}

macro_rules! text_of {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }
    )*};
}
text_of!(Fqdn, HolderId, GroupName);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn refuses(text: &str, message: &str) {
        assert_eq!(Fqdn::parse(text).unwrap_err().to_string(), message, "{text:?}");
    }

    #[test]
    fn one_host_has_one_name() {
        for text in ["web1.example.org", "WEB1.Example.ORG", "web1.example.org.", "WEB1.EXAMPLE.ORG."] {
            let fqdn = Fqdn::parse(text).unwrap();
            assert_eq!(fqdn.as_str(), "web1.example.org");
            assert_eq!(fqdn.hostname(), "web1");
        }
        assert_eq!(Fqdn::parse("single").unwrap().hostname(), "single");
        assert_eq!(Fqdn::parse("a_b--c.0").unwrap().to_string(), "a_b--c.0");
    }

    #[test]
    fn lengths_are_those_of_dns() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), 253);
        assert!(Fqdn::parse(&longest).is_ok());
        assert!(Fqdn::parse(&format!("{longest}.")).is_ok());
        refuses(&format!("{longest}a"), "the host name has 254 bytes; at most 253 are allowed");
        refuses(&format!("a.{label}a"), "label 2 of the host name has 64 bytes; at most 63 are allowed");
        refuses(&"x".repeat(1 << 20), "the host name has 1048576 bytes; at most 253 are allowed");
    }

    #[test]
    fn hostile_names_stop_here() {
        refuses("", "the host name is empty");
        refuses(".", "the host name is empty");
        for text in ["a..b", ".a", "a..", ".."] {
            refuses(text, "the host name has an empty label: a dot stands at its start or beside another dot");
        }
        refuses("web-.example", "label \"web-\" of the host name must begin and end with a letter or a digit");
        refuses("--Force", "label \"--force\" of the host name must begin and end with a letter or a digit");
        refuses("a._tcp", "label \"_tcp\" of the host name must begin and end with a letter or a digit");
        let alphabet = "only letters, digits, '-', '_' and '.' are allowed";
        refuses("../x", &format!("the host name contains '/' at byte 3; {alphabet}"));
        refuses("a$(b)", &format!("the host name contains '$' at byte 2; {alphabet}"));
        refuses("a\n", &format!("the host name contains '\\n' at byte 2; {alphabet}"));
        refuses("a\u{212a}", &format!("the host name contains '\u{212a}' at byte 2; {alphabet}"));
        for byte in 0..=127u8 {
            let text = format!("a{}a", char::from(byte));
            let fits = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            assert_eq!(Fqdn::parse(&text).is_ok(), fits, "{text:?}");
        }
    }

    #[test]
    fn holders_are_byte_exact() {
        let id = "978a225b3d7b40e9acd7ce9b62f68444";
        assert_eq!(HolderId::parse(id).unwrap().as_str(), id);
        assert_ne!(HolderId::parse("A"), HolderId::parse("a"));
        assert_eq!(HolderId::parse("-._:").unwrap().to_string(), "-._:");
        assert!(HolderId::parse(&"x".repeat(128)).is_ok());
        let error = HolderId::parse(&"x".repeat(129)).unwrap_err().to_string();
        assert_eq!(error, "the id has 129 bytes; at most 128 are allowed");
        assert_eq!(HolderId::parse("").unwrap_err().to_string(), "the id is empty");
        for byte in 0..=127u8 {
            let text = char::from(byte).to_string();
            let fits = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
            assert_eq!(HolderId::parse(&text).is_ok(), fits, "{text:?}");
        }
    }

    #[test]
    fn groups_are_those_of_fleetlock() {
        assert_eq!(GroupName::parse("db-1.Prod").unwrap().as_str(), "db-1.Prod");
        assert!(GroupName::parse(&"x".repeat(255)).is_ok());
        assert!(GroupName::parse(&"x".repeat(256)).is_err());
        assert_eq!(GroupName::parse("").unwrap_err().to_string(), "the group is empty");
        for byte in 0..=127u8 {
            let text = char::from(byte).to_string();
            let fits = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
            assert_eq!(GroupName::parse(&text).is_ok(), fits, "{text:?}");
        }
    }

    proptest! {
        /// The rule once more as one regular expression.
        #[test]
        fn agrees_with_the_grammar(text in "[a-cA-C0_.\\-]{0,12}|[a-z.]{0,70}|.{0,8}") {
            let grammar = regex::Regex::new(
                r"^[a-zA-Z0-9]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?)*\.?\z",
            )
            .unwrap();
            match Fqdn::parse(&text) {
                Ok(fqdn) => {
                    prop_assert!(grammar.is_match(&text));
                    prop_assert_eq!(Fqdn::parse(fqdn.as_str()), Ok(fqdn.clone()));
                    prop_assert_eq!(fqdn.as_str(), text.strip_suffix('.').unwrap_or(&text).to_lowercase());
                }
                Err(_) => prop_assert!(!grammar.is_match(&text)),
            }
        }
    }
}
