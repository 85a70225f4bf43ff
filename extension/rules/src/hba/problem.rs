//! What is wrong with a line or a desired rule, where, and how to mend it.

use std::fmt;
use std::path::PathBuf;

/// The part of a rule that a problem is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The name of a desired rule.
    Name,
    /// The connection type: `local`, `host` and its kin.
    Type,
    /// The databases.
    Database,
    /// The users.
    User,
    /// The address.
    Address,
    /// The mask in a field of its own.
    Mask,
    /// The method.
    Method,
    /// The options after the method.
    Options,
    /// When a desired rule is open.
    Applies,
    /// The method of a closed rule.
    Otherwise,
    /// A file that is named by `@` or an include.
    File,
    /// The line, or the file, as a whole.
    Line,
}

impl Field {
    /// The word for people and for SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Type => "type",
            Self::Database => "database",
            Self::User => "user",
            Self::Address => "address",
            Self::Mask => "mask",
            Self::Method => "method",
            Self::Options => "options",
            Self::Applies => "applies",
            Self::Otherwise => "otherwise",
            Self::File => "file",
            Self::Line => "line",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a line or a desired rule cannot be used. `Display` gives place and message; [`Problem::mend`] is the hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The desired rule, when it is one that is wrong.
    pub rule: Option<String>,
    /// The file, when a line is wrong.
    pub file: Option<PathBuf>,
    /// Its first physical line, the first of a file being 1; 0 when no line is wrong.
    pub line: usize,
    /// Which part.
    pub field: Field,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// How to mend it.
    pub mend: String,
}

impl Problem {
    /// A problem whose place is filled in by whoever knows it.
    #[must_use]
    pub fn new(field: Field, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { rule: None, file: None, line: 0, field, message: message.into(), mend: mend.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rule) = &self.rule {
            write!(f, "rule {rule:?}, {}: ", self.field)?;
        }
        if self.line > 0 {
            if let Some(file) = &self.file {
                write!(f, "{} ", file.display())?;
            }
            write!(f, "line {}, {}: ", self.line, self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}
