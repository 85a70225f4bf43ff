//! One record: what the server makes of its fields.

use super::address::Address;
use super::lex::Token;
use super::options::Options;

/// Which connections a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `local`: Unix sockets.
    Local,
    /// `host`: TCP, with TLS or without.
    Host,
    /// `hostssl`.
    HostSsl,
    /// `hostnossl`.
    HostNoSsl,
    /// `hostgssenc`.
    HostGssEnc,
    /// `hostnogssenc`.
    HostNoGssEnc,
}

/// How a connection is let in, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `trust`.
    Trust,
    /// `reject`.
    Reject,
    /// `md5`.
    Md5,
    /// `scram-sha-256`.
    Scram,
    /// `password`.
    Password,
    /// `ident`; in a `local` record it is `peer`.
    Ident,
    /// `peer`.
    Peer,
    /// `cert`.
    Cert,
    /// `gss`.
    Gss,
    /// `sspi`.
    Sspi,
    /// `pam`.
    Pam,
    /// `bsd`.
    Bsd,
    /// `ldap`.
    Ldap,
    /// `radius`.
    Radius,
    /// `oauth`.
    Oauth,
}

/// A record that loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which connections it is for.
    pub kind: Kind,
    /// Databases, at least one token.
    pub databases: Vec<Token>,
    /// Users, at least one token.
    pub users: Vec<Token>,
    /// From where; none for `local`.
    pub address: Option<Address>,
    /// How it lets in.
    pub method: Method,
    /// The options of the method.
    pub options: Options,
    /// Why it loads but does not do what it says, or may not load elsewhere.
    pub warning: Option<String>,
}
