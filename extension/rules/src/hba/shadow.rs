//! Earlier rules that take a connection away from one of ours: the first match wins, whatever it says.
//!
//! A rule of type `host` is meant for connections without TLS here, as HAProxy's pgsql-check makes them. What cannot be
//! known from the text (who is member of a role, what a host name resolves to, the networks of the server) counts as
//! perhaps.

use std::net::IpAddr;
use std::path::PathBuf;

use super::address::{Address, number};
use super::emit;
use super::file::Entry;
use super::lex::Token;
use super::record::{Kind, Rule};

/// An earlier rule that matches first some or all of what a rule of ours is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// The name of our rule.
    pub rule: String,
    /// The file of the earlier rule.
    pub file: PathBuf,
    /// Its line, the first of a file being 1.
    pub line: usize,
    /// Its text.
    pub text: String,
    /// Whether it takes all that ours is for; else it takes some of it, or may, as far as the text tells.
    pub whole: bool,
}

/// Every such earlier rule, for each of ours, in the order of the file; `major` is that of the server.
#[must_use]
pub fn shadows(entries: &[Entry], major: u32) -> Vec<Shadow> {
    let mut shadows = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let (Some(name), Ok(ours)) = (&entry.managed, &entry.verdict) else { continue };
        for earlier in &entries[..index] {
            let Ok(rule) = &earlier.verdict else { continue };
            let taken = takes(rule, ours, major);
            if taken > Taken::Nothing {
                shadows.push(Shadow {
                    rule: name.clone(),
                    file: earlier.file.clone(),
                    line: earlier.line,
                    text: String::from_utf8_lossy(&earlier.text).into_owned(),
                    whole: taken == Taken::All,
                });
            }
        }
    }
    shadows
}

/// How much of what one rule is for another matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Taken {
    Nothing,
    /// Some, or perhaps.
    Some,
    All,
}

impl Taken {
    fn all(yes: bool) -> Self {
        if yes { Self::All } else { Self::Nothing }
    }
}

fn takes(rule: &Rule, ours: &Rule, major: u32) -> Taken {
    let address = match (&rule.address, &ours.address) {
        (Some(rule), Some(ours)) => of_address(rule, ours),
        _ => Taken::All,
    };
    let outer = Taken::all(covers(rule.kind, ours.kind)).min(address);
    if outer == Taken::Nothing {
        return outer;
    }
    // Databases and users go together: sameuser looks at both.
    let mut pairs = Vec::new();
    for database in &ours.databases {
        for user in &ours.users {
            let of_database = any(&rule.databases, |token| of_database(token, database, user, major));
            pairs.push(of_database.min(any(&rule.users, |token| of_user(token, user, major))));
        }
    }
    let (least, most) = (pairs.iter().min().copied(), pairs.iter().max().copied());
    match (least, most) {
        (Some(Taken::All), _) => outer,
        (_, None | Some(Taken::Nothing)) => Taken::Nothing,
        _ => Taken::Some,
    }
}

fn any(tokens: &[Token], judge: impl Fn(&Token) -> Taken) -> Taken {
    tokens.iter().map(judge).max().unwrap_or(Taken::Nothing)
}

/// Whether a rule of one kind matches the connections that one of the other kind is for.
fn covers(rule: Kind, ours: Kind) -> bool {
    match ours {
        Kind::Local => rule == Kind::Local,
        Kind::HostSsl => matches!(rule, Kind::Host | Kind::HostSsl | Kind::HostNoGssEnc),
        Kind::HostGssEnc => matches!(rule, Kind::Host | Kind::HostGssEnc | Kind::HostNoSsl),
        Kind::Host | Kind::HostNoSsl | Kind::HostNoGssEnc => {
            matches!(rule, Kind::Host | Kind::HostNoSsl | Kind::HostNoGssEnc)
        }
    }
}

fn of_address(rule: &Address, ours: &Address) -> Taken {
    match (rule, ours) {
        (Address::All, _) => Taken::All,
        (Address::Net { ip, mask }, Address::Net { ip: our_ip, mask: our_mask }) => {
            if ip.is_ipv4() != our_ip.is_ipv4() {
                return Taken::Nothing;
            }
            let bits = |ip: &IpAddr| number(*ip);
            if (bits(ip) ^ bits(our_ip)) & bits(mask) & bits(our_mask) != 0 {
                return Taken::Nothing;
            }
            if bits(mask) & !bits(our_mask) == 0 { Taken::All } else { Taken::Some }
        }
        (Address::Name(rule), Address::Name(ours)) => {
            let (rule, ours) = (rule.to_ascii_lowercase(), ours.to_ascii_lowercase());
            let covered = rule == ours || rule.starts_with(b".") && ours.ends_with(&rule);
            // Two names can be of one machine.
            if covered { Taken::All } else { Taken::Some }
        }
        (Address::SameHost, Address::SameHost) | (Address::SameNet, Address::SameHost | Address::SameNet) => Taken::All,
        _ => Taken::Some,
    }
}

/// What a token is for.
enum Named {
    Literal(Vec<u8>),
    /// With what remains behind the slash.
    Expression(Vec<u8>),
    /// A keyword or a role's members.
    Other,
}

fn named(token: &Token, keywords: &[&str], major: u32) -> Named {
    if keywords.iter().any(|keyword| token.is(keyword)) {
        return Named::Other;
    }
    match token.text.strip_prefix(b"/").filter(|_| major >= 16) {
        None => Named::Literal(token.text.clone()),
        Some(expression) => match emit::name_of(&token.text, major) {
            Some(name) => Named::Literal(name),
            None => Named::Expression(expression.to_vec()),
        },
    }
}

fn of_name(rule: &Named, ours: &Named) -> Taken {
    match (rule, ours) {
        (Named::Literal(rule), Named::Literal(ours)) => Taken::all(rule == ours),
        (Named::Expression(rule), Named::Expression(ours)) if rule == ours => Taken::All,
        (Named::Expression(rule), Named::Literal(ours)) => {
            match std::str::from_utf8(rule).map(regex::bytes::Regex::new) {
                // The two dialects agree on what both accept and people write for names; escapes are where they differ.
                Ok(Ok(expression)) if !rule.contains(&b'\\') => Taken::all(expression.is_match(ours)),
                _ => Taken::Some,
            }
        }
        _ => Taken::Some,
    }
}

const DATABASE_WORDS: [&str; 5] = ["all", "sameuser", "samerole", "samegroup", "replication"];

pub(super) fn of_database(rule: &Token, ours: &Token, our_user: &Token, major: u32) -> Taken {
    // Physical replication names no database and is matched by this word only, as the word matches nothing else.
    if rule.is("replication") || ours.is("replication") {
        return Taken::all(rule.is("replication") && ours.is("replication"));
    }
    if rule.is("all") || rule.is("sameuser") && ours.is("sameuser") {
        return Taken::All;
    }
    let (rule_name, our_name) = (named(rule, &DATABASE_WORDS, major), named(ours, &DATABASE_WORDS, major));
    if rule.is("sameuser")
        && let (Named::Literal(database), Named::Literal(user)) = (&our_name, user_name(our_user, major))
    {
        return Taken::all(*database == user);
    }
    of_name(&rule_name, &our_name)
}

fn of_user(rule: &Token, ours: &Token, major: u32) -> Taken {
    if rule.is("all") || rule == ours {
        return Taken::All;
    }
    of_name(&user_name(rule, major), &user_name(ours, major))
}

/// The name that a user's token stands for, if it is one of a single user.
pub(super) fn literal_user(token: &Token, major: u32) -> Option<Vec<u8>> {
    match user_name(token, major) {
        Named::Literal(name) => Some(name),
        Named::Expression(_) | Named::Other => None,
    }
}

fn user_name(token: &Token, major: u32) -> Named {
    if !token.quoted && token.text.starts_with(b"+") { Named::Other } else { named(token, &["all"], major) }
}
