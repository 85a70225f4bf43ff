//! The rules that are ours: made from text fields, judged before they are believed.

use super::Dialect;
use super::lex::Token;
use super::problem::Problem;
use super::record::{Kind, Method};

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

/// For which traffic a node is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// Read-write: rules that apply to a primary are open.
    pub rw: bool,
    /// Read-only: rules that apply to a standby are open.
    pub ro: bool,
}

impl State {
    /// Neither.
    pub const CLOSED: Self = Self { rw: false, ro: false };
    /// Read-write only.
    pub const PRIMARY: Self = Self { rw: true, ro: false };
    /// Read-only only.
    pub const STANDBY: Self = Self { rw: false, ro: true };
    /// Both: a primary that takes read-only traffic too.
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
}

/// The fields of a rule as an operator gives them, in the grammar of pg_hba.conf.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// Which rule: 1 to 63 of `A-Z a-z 0-9 _ . -`.
    pub name: &'a str,
    /// `local`, `host`, `hostssl`, `hostnossl`, `hostgssenc` or `hostnogssenc`.
    pub kind: &'a str,
    /// A list of names, quoted where they are to be taken literally; `all` and the other keywords; `/re` on 16+.
    pub database: &'a str,
    /// Likewise, `+role` for its members.
    pub user: &'a str,
    /// Address with `/bits`, address and mask, host name, `all`, `samehost` or `samenet`; empty for `local`.
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
    /// Its name, unique among them.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) databases: Vec<Token>,
    pub(super) users: Vec<Token>,
    /// Address and, in a field of its own, mask; empty for `local`.
    pub(super) address: Vec<Token>,
    pub(super) method: Method,
    pub(super) options: Vec<Token>,
    pub(super) applies: Applies,
    pub(super) otherwise: Method,
}

impl Desired {
    /// Judges the fields for a server.
    ///
    /// # Errors
    /// Every problem, each with rule, field and mend.
    pub fn new(fields: Fields<'_>, dialect: &Dialect) -> Result<Self, Vec<Problem>> {
        let _ = (fields, dialect);
        unimplemented!()
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

    /// The line for a server, open or closed, with its tag and without an end of line.
    #[must_use]
    pub fn line(&self, open: bool, major: u32) -> String {
        let _ = (open, major);
        unimplemented!()
    }
}
