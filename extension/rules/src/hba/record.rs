//! One record: what the server makes of its fields.

use super::address::{self, Address, Start};
use super::dialect::Dialect;
use super::lex::Token;
use super::method::{self, Method};
use super::options::{self, Options};
use super::problem::{Field, Problem};
use super::regex;

/// Which connections a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `local`: Unix sockets.
    Local,
    /// `host`: TCP, with TLS or without.
    Host,
    /// `hostssl`: with TLS.
    HostSsl,
    /// `hostnossl`: without TLS.
    HostNoSsl,
    /// `hostgssenc`: encrypted by GSSAPI.
    HostGssEnc,
    /// `hostnogssenc`: not encrypted by GSSAPI.
    HostNoGssEnc,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Local, Self::Host, Self::HostSsl, Self::HostNoSsl, Self::HostGssEnc, Self::HostNoGssEnc];

    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Host => "host",
            Self::HostSsl => "hostssl",
            Self::HostNoSsl => "hostnossl",
            Self::HostGssEnc => "hostgssenc",
            Self::HostNoGssEnc => "hostnogssenc",
        }
    }

    /// The kind of this word, which has no other case.
    #[must_use]
    pub fn from_word(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == word)
    }
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
    /// Why it loads and still does not do what it says, or does not load elsewhere.
    pub warning: Option<String>,
}

/// Where the method stands among the fields, if the record reaches that far. Fields that stand for files are taken to
/// be there; an address without `/bits` is followed by its mask.
pub(super) fn method_index(fields: &[&[Token]]) -> Option<usize> {
    let kind = Kind::from_word(&fields.first()?.first()?.text)?;
    let index = match (kind, fields.get(3)) {
        (Kind::Local, _) => 3,
        (_, Some(address)) if matches!(address::start(address.first()?), Ok(Start::NeedsMask(_))) => 5,
        _ => 4,
    };
    (index < fields.len()).then_some(index)
}

impl Rule {
    /// Reads a record.
    ///
    /// # Errors
    /// The first thing that keeps it from loading, without its place.
    pub(super) fn new(fields: &[Vec<Token>], dialect: &Dialect) -> Result<Self, Problem> {
        let mut fields = fields.iter();
        let kind = kind(one(fields.next(), Field::Type)?)?;
        let databases = list(fields.next(), Field::Database, dialect)?;
        let users = list(fields.next(), Field::User, dialect)?;
        let address = match kind {
            Kind::Local => None,
            _ => Some(match address::start(one(fields.next(), Field::Address)?)? {
                Start::Whole(address) => address,
                Start::NeedsMask(ip) => address::with_mask(ip, one(fields.next(), Field::Mask)?)?,
            }),
        };
        let method = method::read(one(fields.next(), Field::Method)?, kind, dialect)?;
        let given: Vec<&Token> = fields.flatten().collect();
        let (options, doubt) = options::read(&given, kind, method, dialect)?;
        let warning = [never(kind, dialect), doubt].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let warning = (!warning.is_empty()).then_some(warning);
        Ok(Self { kind, databases, users, address, method, options, warning })
    }
}

fn kind(token: &Token) -> Result<Kind, Problem> {
    Kind::from_word(&token.text).ok_or_else(|| {
        let include = [&b"include"[..], b"include_if_exists", b"include_dir"].contains(&&token.text[..]);
        Problem::new(
            Field::Type,
            format!("{:?} is no connection type", token.text()),
            if include {
                "included files need PostgreSQL 16, and one name behind the word"
            } else {
                "write local, host, hostssl, hostnossl, hostgssenc or hostnogssenc, in small letters"
            },
        )
    })
}

fn list(tokens: Option<&Vec<Token>>, field: Field, dialect: &Dialect) -> Result<Vec<Token>, Problem> {
    let tokens = tokens.ok_or_else(|| missing(field))?;
    for token in tokens {
        // Quotes do not keep a slash from its meaning.
        let Some(expression) = token.text.strip_prefix(b"/").filter(|_| dialect.has_regex()) else { continue };
        regex::check(expression).map_err(|problem| {
            Problem::new(
                field,
                format!("{:?} is no regular expression: {problem}", token.text()),
                "correct the expression; to name something that begins with a slash, write an expression that matches \
                 just that, such as \"/^\\/name$\"",
            )
        })?;
    }
    Ok(tokens.clone())
}

fn one(tokens: Option<&Vec<Token>>, field: Field) -> Result<&Token, Problem> {
    match tokens.map(Vec::as_slice) {
        None | Some([]) => Err(missing(field)),
        Some([token]) => Ok(token),
        Some(several) => Err(Problem::new(
            field,
            format!("the {field} has {} values and can have one", several.len()),
            "write a line for each, without commas",
        )),
    }
}

fn missing(field: Field) -> Problem {
    let mend = match field {
        Field::Mask => "write the address with /bits, such as 10.0.0.1/32",
        Field::Address => "write from where: an address with /bits, a host name, or all",
        _ => "complete the line: type, database, user, address (not for local), method, options",
    };
    Problem::new(field, format!("the line ends before the {field}"), mend)
}

/// Why no connection is ever of this kind.
fn never(kind: Kind, dialect: &Dialect) -> Option<String> {
    let why = match kind {
        Kind::HostSsl if !dialect.ssl => "this server is built without TLS",
        Kind::HostSsl if !dialect.ssl_on => "TLS is off (ssl = off)",
        Kind::HostGssEnc if !dialect.gss => "this server is built without GSSAPI",
        _ => return None,
    };
    Some(format!("never matches, because {why}"))
}
