//! Compiled patterns, made on demand and bounded in number.

use std::collections::HashMap;

use regex::bytes::{Regex, RegexBuilder};

use super::{MAX_COMPILED, PatternError};

/// How many compiled patterns are kept; ten to twenty kilobytes each are usual, and a host's cluster is looked up once.
const CAPACITY: usize = 512;

/// Compiles a pattern as [`super::parse`] reads it.
pub(super) fn compile(pattern: &str) -> Result<Regex, PatternError> {
    super::check_length(pattern)?;
    let build = |unicode| {
        RegexBuilder::new(pattern)
            .unicode(unicode)
            .case_insensitive(super::has_capitals(pattern))
            .size_limit(MAX_COMPILED)
            .build()
    };
    build(false).or_else(|_| build(true)).map_err(|_| super::parse(pattern).err().unwrap_or(PatternError::TooLarge))
}

/// The patterns compiled last. It is emptied when it is full: what is still in use comes back at its next use, and
/// nothing has to be written on each of the far more numerous hits.
#[derive(Default)]
pub(super) struct Cache {
    compiled: HashMap<Box<str>, Regex>,
}

impl Cache {
    pub(super) fn is_match(&mut self, pattern: &str, name: &str) -> Result<bool, PatternError> {
        if let Some(regex) = self.compiled.get(pattern) {
            return Ok(regex.is_match(name.as_bytes()));
        }
        let regex = compile(pattern)?;
        let matches = regex.is_match(name.as_bytes());
        if self.compiled.len() >= CAPACITY {
            self.compiled.clear();
        }
        self.compiled.insert(pattern.into(), regex);
        Ok(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_bound() {
        let mut cache = Cache::default();
        for number in 0..CAPACITY + 3 {
            assert_eq!(cache.is_match(&format!("^a{number}$"), &format!("a{number}")), Ok(true));
            assert!(cache.compiled.len() <= CAPACITY);
        }
        assert_eq!(cache.compiled.len(), 3);
        assert_eq!(cache.is_match("^a0$", "a1"), Ok(false));
        assert_eq!(cache.is_match("^a0$", "a0"), Ok(true));
        assert_eq!(cache.compiled.len(), 4);
    }
}
