//! What a health check from this machine must get to see of each rule of ours: HAProxy's pgsql-check names a user and no
//! database, uses no TLS, and looks at the first reply alone.

use std::net::IpAddr;

use super::address::{Address, number, width};
use super::file::Entry;
use super::lex::Token;
use super::method::Method;
use super::record::{Kind, Rule};
use super::shadow::{self, Taken};

/// A question that shows whether a rule is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The name of the rule.
    pub rule: String,
    /// The user to ask as, as the rule names it.
    pub user: Vec<u8>,
    /// The address to ask from.
    pub from: From,
    /// What the rule says.
    pub expected: Expected,
}

/// From where a rule can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// From this address only.
    One(IpAddr),
    /// From any whose bits under the mask are these.
    Net {
        /// An address of the network.
        ip: IpAddr,
        /// Its mask.
        mask: IpAddr,
    },
    /// From any address of this machine.
    Anywhere,
}

impl From {
    /// Whether an address is one of these.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match *self {
            Self::One(ip) => ip == address,
            Self::Net { ip, mask } => {
                ip.is_ipv4() == address.is_ipv4() && (number(ip) ^ number(address)) & number(mask) == 0
            }
            Self::Anywhere => true,
        }
    }
}

/// The first reply that a rule gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// `R`: a password is asked for, or none is needed.
    Challenge,
    /// `E` with 28000.
    Refusal,
}

/// A question for each rule of ours that can be asked: one for TCP without TLS, with one user named literally and that
/// user's own database in its list, an address that is written as a number or stands for this machine, and a method whose
/// first reply depends on nobody else. `major` is that of the server.
#[must_use]
pub fn probes(entries: &[Entry], major: u32) -> Vec<Probe> {
    entries.iter().filter_map(|entry| probe(entry.managed.as_ref()?, entry.verdict.as_ref().ok()?, major)).collect()
}

fn probe(name: &str, rule: &Rule, major: u32) -> Option<Probe> {
    let [user] = &rule.users[..] else { return None };
    let literal = shadow::literal_user(user, major)?;
    // The server takes the user's name for the database's.
    let own = Token { quoted: true, ..user.clone() };
    let named = |token: &Token| shadow::of_database(token, &own, user, major) == Taken::All;
    if !matches!(rule.kind, Kind::Host | Kind::HostNoSsl | Kind::HostNoGssEnc) || !rule.databases.iter().any(named) {
        return None;
    }
    Some(Probe {
        rule: name.to_owned(),
        user: literal,
        from: from(rule.address.as_ref()?)?,
        expected: expected(rule.method)?,
    })
}

fn from(address: &Address) -> Option<From> {
    match address {
        Address::All | Address::SameHost | Address::SameNet => Some(From::Anywhere),
        Address::Net { ip, mask } if number(*mask).count_ones() == width(*ip) => Some(From::One(*ip)),
        Address::Net { ip, mask } => Some(From::Net { ip: *ip, mask: *mask }),
        Address::Name(_) => None,
    }
}

fn expected(method: Method) -> Option<Expected> {
    match method {
        Method::Trust | Method::Md5 | Method::Scram | Method::Password => Some(Expected::Challenge),
        Method::Reject => Some(Expected::Refusal),
        // Other machines, modules or certificates have a say in these.
        _ => None,
    }
}
