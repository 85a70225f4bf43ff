//! A mapping of a YAML file while it is read: knows where it stands, which keys were asked for, and which were not.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde_yaml_ng::Value;

use super::ConfigError;
use crate::yaml;

/// Names more different than this are no suggestion (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.8;

/// How keys are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Letter for letter
    Exact,
    /// `primaryip` is `primaryIP`
    Any,
}

/// One mapping of the file.
pub struct Section<'a> {
    /// Its keys from the top, each followed by a dot; empty at the top
    path: String,
    case: Case,
    entries: Vec<(&'a str, &'a Value, Cell<bool>)>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// The mapping `value`, whose keys from the top are `path`; nothing at all counts as an empty one.
    ///
    /// # Errors
    /// When it is something else than a mapping, or has a key twice.
    pub fn new(path: &str, value: &'a Value, case: Case) -> Result<Self, ConfigError> {
        let whole = if path.is_empty() { "the file" } else { path };
        let mapping = match value {
            Value::Mapping(mapping) => Some(mapping),
            Value::Null => None,
            _ => return Err(ConfigError::at(whole, "wants lines of the form `key: value` below it")),
        };
        let mut entries: Vec<(&str, &Value, Cell<bool>)> = Vec::new();
        for (key, value) in mapping.into_iter().flatten() {
            let Some(key) = key.as_str() else {
                return Err(ConfigError::at(whole, format!("has a key that is no text: {key:?}")));
            };
            if let Some((other, ..)) = entries.iter().find(|(other, ..)| same(other, key, case)) {
                return Err(ConfigError::at(whole, format!("has the key {key} twice ({other}); keep one")));
            }
            entries.push((key, value, Cell::new(false)));
        }
        let path = if path.is_empty() { String::new() } else { format!("{path}.") };
        Ok(Self { path, case, entries, asked: RefCell::default() })
    }

    /// A key of it as it is called in messages.
    pub fn name(&self, key: &str) -> String {
        format!("{}{key}", self.path)
    }

    /// An error about a key of it.
    pub fn error(&self, key: &str, what: impl std::fmt::Display) -> ConfigError {
        ConfigError::at(&self.name(key), what)
    }

    /// The value of a key; one that is empty (`key:`) counts as absent.
    pub fn value(&self, key: &'static str) -> Option<&'a Value> {
        self.asked.borrow_mut().push(key);
        let (_, value, used) = self.entries.iter().find(|(name, ..)| same(name, key, self.case))?;
        used.set(true);
        Some(*value).filter(|value| !value.is_null())
    }

    /// The mapping below a key; empty where there is none.
    ///
    /// # Errors
    /// As [`Section::new`].
    pub fn section(&self, key: &'static str) -> Result<Self, ConfigError> {
        Self::new(&self.name(key), self.value(key).unwrap_or(&Value::Null), self.case)
    }

    /// A text, or a number or a truth value as text; an empty one counts as absent.
    ///
    /// # Errors
    /// When it is a list or a mapping.
    pub fn text(&self, key: &'static str) -> Result<Option<String>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let text = scalar(value).ok_or_else(|| self.error(key, "wants one value"))?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// A list of texts; a single one is a list of one.
    ///
    /// # Errors
    /// When something in it is a list or a mapping.
    pub fn list(&self, key: &'static str) -> Result<Vec<String>, ConfigError> {
        let items = match self.value(key) {
            None => return Ok(Vec::new()),
            Some(Value::Sequence(items)) => items.iter().map(scalar).collect(),
            Some(value) => scalar(value).map(|one| vec![one]),
        };
        let items: Vec<String> = items.ok_or_else(|| self.error(key, "wants a list of texts"))?;
        Ok(items.into_iter().filter(|item| !item.is_empty()).collect())
    }

    /// A boolean of YAML 1.1.
    ///
    /// # Errors
    /// When it is no boolean.
    pub fn boolean(&self, key: &'static str) -> Result<Option<bool>, ConfigError> {
        let read = |value| {
            yaml::boolean(value)
                .ok_or_else(|| self.error(key, format!("is true or false, not {}", scalar(value).unwrap_or_default())))
        };
        self.value(key).map(read).transpose()
    }

    /// A whole number from 0.
    ///
    /// # Errors
    /// When it is something else.
    pub fn number(&self, key: &'static str) -> Result<Option<u64>, ConfigError> {
        let read = |text: String| text.trim().parse().map_err(|_| self.error(key, format!("is a number, not {text}")));
        self.text(key)?.map(read).transpose()
    }

    /// A time above zero, as `800ms`, `1m30s`, or a bare number of seconds.
    ///
    /// # Errors
    /// When it is something else.
    pub fn time(&self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        let read = |text: String| {
            yaml::time(&text).map_err(|why| self.error(key, format!("is no time: {text} ({why}); such as 1s or 800ms")))
        };
        self.text(key)?.map(read).transpose()
    }

    /// What is wrong with each key that nobody asked for, with the key that may have been meant.
    pub fn unknown(&self) -> Vec<ConfigError> {
        let asked = self.asked.borrow();
        let strangers = self.entries.iter().filter(|(.., used)| !used.get());
        strangers
            .map(|(key, ..)| {
                let near = asked
                    .iter()
                    .map(|known| (strsim::jaro_winkler(&key.to_lowercase(), &known.to_lowercase()), known))
                    .filter(|(likeness, _)| *likeness >= ALIKE)
                    .max_by(|one, other| one.0.total_cmp(&other.0));
                let hint = near.map(|(_, known)| format!("; is {known} meant?")).unwrap_or_default();
                self.error(key, format!("is not known{hint}"))
            })
            .collect()
    }
}

fn same(one: &str, other: &str, case: Case) -> bool {
    match case {
        Case::Exact => one == other,
        Case::Any => one.eq_ignore_ascii_case(other),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}
