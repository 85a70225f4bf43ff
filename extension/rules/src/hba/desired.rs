//! The rules that are ours: made from text fields, judged before they are believed, and written as one tagged line each.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use super::address::{prefix, shown};
use super::dialect::{Dialect, NoFiles};
use super::emit;
use super::fields;
use super::file;
use super::lex::Token;
use super::method::Method;
use super::problem::{Field, Problem};
use super::record::Kind;
use super::tag::{self, Keeper};

/// When a rule is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Applies {
    /// Always; closing never touches it.
    Any,
    /// While the node is open for read-write traffic.
    Primary,
    /// While the node is open for read-only traffic.
    Standby,
}

impl Applies {
    /// The word for SQL and for the tag.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Primary => "primary",
            Self::Standby => "standby",
        }
    }

    /// What a word says.
    #[must_use]
    pub fn from_word(word: &[u8]) -> Option<Self> {
        [Self::Any, Self::Primary, Self::Standby].into_iter().find(|applies| applies.as_str().as_bytes() == word)
    }
}

/// For which traffic a node is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// Read-write: rules that apply to a primary are open.
    pub rw: bool,
    /// Read-only: rules that apply to a standby are open.
    pub ro: bool,
}

impl State {
    /// For neither.
    pub const CLOSED: Self = Self { rw: false, ro: false };
    /// For read-write traffic only.
    pub const PRIMARY: Self = Self { rw: true, ro: false };
    /// For read-only traffic only.
    pub const STANDBY: Self = Self { rw: false, ro: true };
    /// For both: a primary that takes read-only traffic too.
    pub const BOTH: Self = Self { rw: true, ro: true };

    /// Whether a rule is open.
    #[must_use]
    pub fn opens(self, applies: Applies) -> bool {
        match applies {
            Applies::Any => true,
            Applies::Primary => self.rw,
            Applies::Standby => self.ro,
        }
    }

    /// The word for SQL: `closed`, `primary`, `standby` or `both`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CLOSED => "closed",
            Self::PRIMARY => "primary",
            Self::STANDBY => "standby",
            Self::BOTH => "both",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        [Self::CLOSED, Self::PRIMARY, Self::STANDBY, Self::BOTH]
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| format!("{word:?} is no state; write closed, primary, standby or both"))
    }
}

/// The fields of a rule as an operator gives them, in the grammar of pg_hba.conf. Blanks around them say nothing.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// Which rule: 1 to 63 of `A-Z a-z 0-9 _ . -`.
    pub name: &'a str,
    /// `local`, `host`, `hostssl`, `hostnossl`, `hostgssenc` or `hostnogssenc`.
    pub kind: &'a str,
    /// A list of names, quoted where they are to be taken literally; `all` and the other keywords; `/re` on 16+.
    pub database: &'a str,
    /// Likewise; `+role` for its members.
    pub user: &'a str,
    /// An address, alone, with `/bits` or with a mask; a host name, `all`, `samehost` or `samenet`; empty for `local`.
    /// Unlike in the file an address alone is one host, and numbers in the old forms are refused.
    pub address: &'a str,
    /// The method while the rule is open.
    pub method: &'a str,
    /// Options of the method, `name=value` with blanks between.
    pub options: &'a str,
    /// `any`, `primary` or `standby`.
    pub applies: &'a str,
    /// The method while it is closed; needs no options and is not `trust`.
    pub otherwise: &'a str,
}

/// A rule that is to be in the file. Made by [`Desired::new`], which has judged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    name: String,
    kind: Kind,
    databases: Vec<Token>,
    users: Vec<Token>,
    /// None for `local`.
    address: Option<fields::From>,
    method: Method,
    options: Vec<Token>,
    applies: Applies,
    otherwise: Method,
    keeper: Keeper,
}

impl Desired {
    /// Judges the fields for a server.
    ///
    /// # Errors
    /// Every problem that can be seen at once, each with rule, field and mend.
    pub fn new(given: Fields<'_>, dialect: &Dialect) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let rule = Self::read(given, dialect, &mut problems);
        let rule = rule.filter(|_| problems.is_empty());
        if let Some(rule) = &rule {
            rule.prove(dialect, &mut problems);
        }
        for problem in &mut problems {
            *problem = Problem { rule: Some(given.name.to_owned()), file: None, line: 0, ..problem.clone() };
        }
        rule.filter(|_| problems.is_empty()).ok_or(problems)
    }

    fn read(given: Fields<'_>, dialect: &Dialect, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut keep = |problem| problems.push(problem);
        if !tag::is_name(given.name.as_bytes()) {
            keep(Problem::new(
                Field::Name,
                "the name of the rule is not one",
                format!("use 1 to {} letters, digits, underscores, dots and hyphens", tag::MAX_NAME),
            ));
        }
        let kind = Kind::from_word(given.kind.trim().as_bytes());
        if kind.is_none() {
            let words: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
            keep(unknown(Field::Type, given.kind, &words));
        }
        let databases = fields::names(given.database, Field::Database, dialect).map_err(&mut keep).ok();
        let users = fields::names(given.user, Field::User, dialect).map_err(&mut keep).ok();
        let address = kind.and_then(|kind| fields::address(given.address, kind).map_err(&mut keep).ok());
        let method = Method::from_word(given.method.trim().as_bytes());
        if method.is_none() {
            keep(unknown(Field::Method, given.method, &Method::ALL.map(Method::as_str)));
        }
        let options = fields::options(given.options).map_err(&mut keep).ok();
        let applies = Applies::from_word(given.applies.trim().as_bytes());
        if applies.is_none() {
            keep(unknown(Field::Applies, given.applies, &["any", "primary", "standby"]));
        }
        let otherwise = Method::from_word(given.otherwise.trim().as_bytes()).filter(|method| method.can_close());
        if otherwise.is_none() {
            keep(Problem::new(
                Field::Otherwise,
                format!("{:?} does not close a rule", given.otherwise),
                "write reject, or another method that asks and needs no options",
            ));
        }
        Some(Self {
            name: given.name.to_owned(),
            kind: kind?,
            databases: databases?,
            users: users?,
            address: address?,
            method: method?,
            options: options?,
            applies: applies?,
            otherwise: otherwise?,
            keeper: Keeper::Rows,
        })
    }

    /// Reads both of its lines as the server would.
    fn prove(&self, dialect: &Dialect, problems: &mut Vec<Problem>) {
        for (open, field) in [(true, None), (false, Some(Field::Otherwise))] {
            let line = self.line(open, dialect.major);
            for entry in file::parse(line.as_bytes(), Path::new("pg_hba.conf"), dialect, &NoFiles) {
                let problem = entry.verdict.err().filter(|_| problems.is_empty());
                problems.extend(problem.map(|problem| Problem { field: field.unwrap_or(problem.field), ..problem }));
            }
        }
    }

    /// The same, kept by the gate's process.
    #[must_use]
    pub fn by_gate(self) -> Self {
        Self { keeper: Keeper::Gate, ..self }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it is open.
    #[must_use]
    pub fn applies(&self) -> Applies {
        self.applies
    }

    /// How it lets in while it is open.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// How it keeps out while it is closed.
    #[must_use]
    pub fn otherwise(&self) -> Method {
        self.otherwise
    }

    /// The line for a server of this major, open or closed, with its tag and without a line end.
    #[must_use]
    pub fn line(&self, open: bool, major: u32) -> String {
        let mut line = self.kind.as_str().to_owned();
        for (names, field) in [(&self.databases, Field::Database), (&self.users, Field::User)] {
            let names: Vec<String> = names.iter().map(|name| fields::written(name, field, major)).collect();
            line.push(' ');
            line.push_str(&names.join(","));
        }
        match &self.address {
            None => {}
            Some(fields::From::Word(word)) => line.extend([" ", word]),
            Some(fields::From::Name(name)) => line.extend([" ", &emit::quoted(name, 0)]),
            Some(fields::From::Net { ip, mask, bits: Some(bits) }) if prefix(*ip, *bits) == *mask => {
                line.push_str(&format!(" {}/{bits}", shown(*ip)));
            }
            Some(fields::From::Net { ip, mask, .. }) => line.push_str(&format!(" {} {}", shown(*ip), shown(*mask))),
        }
        line.push(' ');
        line.push_str(if open { self.method } else { self.otherwise }.as_str());
        for option in self.options.iter().filter(|_| open) {
            line.push(' ');
            line.push_str(&emit::quoted(&option.text(), 0));
        }
        let (applies, otherwise) = (self.applies.as_str(), self.otherwise.as_str());
        let by = if self.keeper == Keeper::Gate { " by=gate" } else { "" };
        // What follows otherwise= on another line is not taken for the tag's.
        line.push_str(&format!(" # goahead:{} applies={applies}{by} otherwise={otherwise}", self.name));
        line
    }
}

fn unknown(field: Field, given: &str, words: &[&str]) -> Problem {
    Problem::new(field, format!("{given:?} is not known here"), format!("write one of {}", words.join(", ")))
}
