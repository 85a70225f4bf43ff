//! How a connection is let in, and which servers can do it.

use super::dialect::Dialect;
use super::lex::Token;
use super::problem::{Field, Problem};
use super::record::Kind;

/// How a connection is let in, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `trust`: without asking.
    Trust,
    /// `reject`: not at all.
    Reject,
    /// `md5`: by password, hashed as it is stored.
    Md5,
    /// `scram-sha-256`: by password.
    Scram,
    /// `password`: by password, sent as it is.
    Password,
    /// `ident`; in a `local` record it is `peer`.
    Ident,
    /// `peer`: by the user of the operating system.
    Peer,
    /// `cert`: by a client certificate.
    Cert,
    /// `gss`.
    Gss,
    /// `sspi`, which only a server on Windows has.
    Sspi,
    /// `pam`.
    Pam,
    /// `bsd`.
    Bsd,
    /// `ldap`.
    Ldap,
    /// `radius`.
    Radius,
    /// `oauth`, 18 and up.
    Oauth,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Trust,
        Self::Reject,
        Self::Md5,
        Self::Scram,
        Self::Password,
        Self::Ident,
        Self::Peer,
        Self::Cert,
        Self::Gss,
        Self::Sspi,
        Self::Pam,
        Self::Bsd,
        Self::Ldap,
        Self::Radius,
        Self::Oauth,
    ];

    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Reject => "reject",
            Self::Md5 => "md5",
            Self::Scram => "scram-sha-256",
            Self::Password => "password",
            Self::Ident => "ident",
            Self::Peer => "peer",
            Self::Cert => "cert",
            Self::Gss => "gss",
            Self::Sspi => "sspi",
            Self::Pam => "pam",
            Self::Bsd => "bsd",
            Self::Ldap => "ldap",
            Self::Radius => "radius",
            Self::Oauth => "oauth",
        }
    }

    /// The method of this word, which has no other case.
    #[must_use]
    pub fn from_word(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str().as_bytes() == word)
    }

    /// Whether it can stand in a record of this kind.
    pub(super) fn fits(self, kind: Kind) -> bool {
        match self {
            Self::Gss => kind != Kind::Local,
            Self::Peer => kind == Kind::Local,
            Self::Cert => kind == Kind::HostSsl,
            _ => true,
        }
    }

    /// Whether a closed rule can use it: it stands without options and does ask or refuse.
    pub(super) fn can_close(self) -> bool {
        !matches!(self, Self::Trust | Self::Sspi | Self::Ldap | Self::Radius | Self::Oauth)
    }
}

/// Reads the method of a record of this kind.
pub(super) fn read(token: &Token, kind: Kind, dialect: &Dialect) -> Result<Method, Problem> {
    let method = Method::from_word(&token.text).filter(|method| *method != Method::Oauth || dialect.major >= 18);
    let Some(method) = method else {
        return Err(Problem::new(
            Field::Method,
            format!("{:?} is no method of PostgreSQL {}", token.text(), dialect.major),
            "write a method in small letters, such as scram-sha-256, cert or reject; if this is an address or a mask, \
             a field before it is missing or too much",
        ));
    };
    let built = match method {
        Method::Gss => dialect.gss,
        Method::Pam => dialect.pam,
        Method::Ldap => dialect.ldap,
        Method::Bsd => dialect.bsd,
        Method::Cert => dialect.ssl,
        Method::Sspi => false,
        _ => true,
    };
    if !built {
        return Err(Problem::new(
            Field::Method,
            format!("this server is built without {}", method.as_str()),
            "choose another method, or install a server that is built with it",
        ));
    }
    if method.fits(kind) {
        // A server takes the one for the other, for old files.
        return Ok(if (kind, method) == (Kind::Local, Method::Ident) { Method::Peer } else { method });
    }
    let (why, instead) = match method {
        Method::Gss => ("has no place in a local record", "peer"),
        Method::Peer => ("is for local records only", "ident or scram-sha-256"),
        _ => ("is for hostssl records only", "hostssl as the type"),
    };
    Err(Problem::new(Field::Method, format!("{} {why}", method.as_str()), format!("write {instead}")))
}
