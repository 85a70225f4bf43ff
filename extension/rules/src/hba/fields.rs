//! The fields of a desired rule, read from text in the grammar of the file, and written again for a major version.

use std::net::IpAddr;

use super::address::{numeric, prefix, shown, width};
use super::dialect::Dialect;
use super::emit;
use super::lex::{self, Token};
use super::problem::{Field, Problem};
use super::record::Kind;

/// The longest field in bytes.
const MAX_FIELD: usize = 8192;
/// The longest name in bytes; old minor releases of 14 and 15 take no longer token.
const MAX_NAME: usize = 255;
/// The longest host name in bytes, as DNS has it.
const MAX_HOST: usize = 253;

/// From where a desired rule lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// `all`, `samehost` or `samenet`.
    Word(&'static str),
    /// A host name or `.suffix`.
    Name(String),
    /// A network, with its number of bits if its mask has no gaps.
    Net { ip: IpAddr, mask: IpAddr, bits: Option<u32> },
}

/// The tokens of a text, field by field, if it can stand in one line.
fn cut(text: &str, field: Field) -> Result<Vec<Vec<Token>>, Problem> {
    let refuse = |message: &str, mend: &str| Err(Problem::new(field, message, mend));
    if text.len() > MAX_FIELD {
        return refuse("the field is too long", "shorten it to at most 8192 bytes, or make several rules of it");
    }
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return refuse("the field contains a control character", "remove line ends, NULs and the like");
    }
    if text.trim_end().ends_with('\\') {
        return refuse("the field ends in a backslash", "remove it: it could join the line with the next");
    }
    let lexed = lex::lex(text.as_bytes(), u32::MAX);
    if lexed.unclosed {
        return refuse("a quote is not closed", "close it, or double a quote that is meant");
    }
    if lexed.comment.is_some() {
        return refuse("the field contains a comment", "put names with # into double quotes");
    }
    Ok(lex::tokens(lexed.fields))
}

/// Reads databases or users.
pub(super) fn names(text: &str, field: Field, dialect: &Dialect) -> Result<Vec<Token>, Problem> {
    let mut cut = cut(text, field)?;
    let refuse = |message: String, mend: &str| Err(Problem::new(field, message, mend));
    let tokens = match cut.len() {
        0 => return refuse(format!("no {field} is given"), "write all if every one is meant"),
        1 => cut.remove(0),
        _ => {
            return refuse(
                format!("{text:?} is more than one field"),
                "put commas between names, quotes around blanks",
            );
        }
    };
    for token in &tokens {
        let name = token.text();
        if token.names_file() {
            let mend = "list the names here: a file would have to be the same on every node; quote it if it is a name";
            return refuse(format!("{name:?} names a file"), mend);
        }
        if token.text.is_empty() || token.is("+") && field == Field::User {
            return refuse("a name is empty".to_owned(), "write a name between the quotes, and a role after a +");
        }
        let expression = !token.quoted && name.starts_with('/');
        if expression && !dialect.has_regex() {
            let mend = "quote it if it is a name; regular expressions need PostgreSQL 16";
            return refuse(format!("{name:?} would be a regular expression"), mend);
        }
        if token.text.len() > MAX_NAME && !expression {
            return refuse(format!("{name:?} is too long"), "write at most 255 bytes; PostgreSQL's own names have 63");
        }
        if name.ends_with('\\') {
            return refuse(format!("{name:?} ends in a backslash"), "such a name cannot be written safely");
        }
    }
    Ok(tokens)
}

/// Writes one of them for a server of this major, so that it reads back as what was meant.
pub(super) fn written(token: &Token, field: Field, major: u32) -> String {
    let name = token.text();
    let keywords: &[&str] = match field {
        Field::Database => &["all", "sameuser", "samerole", "samegroup", "replication"],
        _ => &["all"],
    };
    if token.quoted {
        return emit::quoted(&name, major);
    }
    if keywords.contains(&&*name) {
        return name.into_owned();
    }
    match name.strip_prefix('+').filter(|_| field == Field::User) {
        Some(role) => format!("+{}", emit::quoted(role, 0)),
        // Here a slash is meant to begin an expression.
        None => emit::quoted(&name, 0),
    }
}

/// Reads from where; none for `local`.
pub(super) fn address(text: &str, kind: Kind) -> Result<Option<From>, Problem> {
    let refuse = |message: String, mend: &str| Err(Problem::new(Field::Address, message, mend));
    let cut = cut(text, Field::Address)?;
    let tokens: Vec<&Token> = cut.iter().flatten().collect();
    if kind == Kind::Local {
        let mend = "leave it out, or make the type host";
        return if tokens.is_empty() { Ok(None) } else { refuse("a local rule has no address".to_owned(), mend) };
    }
    if cut.iter().any(|field| field.len() > 1) || tokens.len() > 2 {
        return refuse(format!("{text:?} is more than one address"), "make a rule for each");
    }
    let Some(first) = tokens.first() else {
        return refuse("no address is given".to_owned(), "write an address such as 10.0.0.5/32, a host name, or all");
    };
    let word = ["all", "samehost", "samenet"].into_iter().find(|word| first.is(word));
    let name = first.text();
    let (number, bits) = name.split_once('/').map_or((&*name, None), |(number, bits)| (number, Some(bits)));
    match (word, number.parse::<IpAddr>(), bits, tokens.get(1)) {
        (Some(word), _, _, None) => Ok(Some(From::Word(word))),
        (None, Ok(ip), None, None) => Ok(Some(From::Net { ip, mask: prefix(ip, width(ip)), bits: Some(width(ip)) })),
        (None, Ok(ip), Some(bits), None) => {
            let bits = bits.parse::<u32>().ok().filter(|number| bits == number.to_string() && *number <= width(ip));
            let Some(bits) = bits else {
                let mend = format!("write a number from 0 to {}", width(ip));
                return refuse(format!("{name:?} has an invalid number of bits after the slash"), &mend);
            };
            Ok(Some(From::Net { ip, mask: prefix(ip, bits), bits: Some(bits) }))
        }
        (None, Ok(ip), None, Some(mask)) => match mask.text().parse::<IpAddr>() {
            Ok(mask) if mask.is_ipv4() == ip.is_ipv4() => {
                let bits = (0..=width(ip)).find(|bits| prefix(ip, *bits) == mask);
                Ok(Some(From::Net { ip, mask, bits }))
            }
            _ => refuse(format!("{:?} is no mask of {name}", mask.text()), "write a mask of its family, or /bits"),
        },
        (None, Err(_), None, None) => host(&name).map(|name| Some(From::Name(name))),
        _ => refuse(format!("{text:?} is no address"), "write an address such as 10.0.0.5/32, a host name, or all"),
    }
}

/// Judges a host name: the server would take any misspelt address for one.
fn host(name: &str) -> Result<String, Problem> {
    let known = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    let wordy = name.bytes().any(|byte| byte.is_ascii_alphabetic());
    if let Some(ip) = numeric(name.as_bytes()) {
        let mend = format!("write {}/{} if that is meant", shown(ip), width(ip));
        return Err(Problem::new(Field::Address, format!("{name:?} would be read as {}", shown(ip)), mend));
    }
    if known && wordy && name.len() <= MAX_HOST && !name.contains("..") && name != "." {
        return Ok(name.to_owned());
    }
    let mend = "correct it: IPv4 has four numbers up to 255, IPv6 no brackets, a host name letters, digits, . - and _";
    Err(Problem::new(Field::Address, format!("{name:?} is neither an address nor a host name"), mend))
}

/// Reads options; what they mean is judged with the line.
pub(super) fn options(text: &str) -> Result<Vec<Token>, Problem> {
    let tokens: Vec<Token> = cut(text, Field::Options)?.into_iter().flatten().collect();
    match tokens.iter().find(|token| token.names_file()) {
        Some(token) => {
            let message = format!("{:?} names a file", token.text());
            Err(Problem::new(Field::Options, message, "write the option itself"))
        }
        None => Ok(tokens),
    }
}
