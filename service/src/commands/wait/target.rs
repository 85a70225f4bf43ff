//! What the words of the command line name.

use std::fmt;

use crate::commands::rendezvous;
use crate::probe::Target;

/// Something to wait for.
#[derive(Debug)]
pub enum Wanted {
    /// A rendezvous key
    Key(String),
    /// Anything that is probed from here
    Probe(Target),
}

impl Wanted {
    /// Reads a word: a URL where there is a `://`, a port where it ends in a colon and a number, else a key.
    ///
    /// # Errors
    /// What is wrong with it; never with a password in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains("://") && !text.starts_with('/') {
            return Target::parse(text).map(Self::Probe);
        }
        let number = text.rsplit_once(':').map_or("", |(_, number)| number);
        if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('/') {
            return Target::port(text).map(Self::Probe).map_err(|why| format!("{why}; a key is written /{text}"));
        }
        rendezvous::key(text).map(|key| Self::Key(key.to_owned()))
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key {key}"),
            Self::Probe(target) => write!(f, "{target}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_url_a_port_or_a_key() {
        for (word, shown) in [
            ("db:5432", "tcp://db:5432"),
            ("[::1]:80", "tcp://[::1]:80"),
            ("tcp://db:5432", "tcp://db:5432"),
            ("http://db", "http://db/"),
            ("migrations-done", "key migrations-done"),
            ("/abc", "key abc"),
            ("//abc", "key /abc"),
            ("a/b c", "key a/b c"),
            ("/db:5432", "key db:5432"),
            ("node:web", "key node:web"),
            ("node:", "key node:"),
            ("/http://x", "key http://x"),
            ("/_port/db/5432", "key _port/db/5432"),
        ] {
            assert_eq!(Wanted::parse(word).map(|wanted| wanted.to_string()), Ok(shown.to_owned()), "{word}");
        }
        for (wrong, named) in [
            ("", "key"),
            ("/", "key"),
            ("a\nb", "control"),
            ("db:0", "/db:0"),
            ("mysql://db", "mysql"),
            ("postgres://u:secret@db/x?sslmode=maybe", "sslmode"),
        ] {
            let told = Wanted::parse(wrong).unwrap_err();
            assert!(told.contains(named) && !told.contains("secret"), "{wrong}: {told}");
        }
    }
}
