//! The options of a method: which it takes, which it needs, and how the server shows them.

use std::collections::BTreeMap;

use super::dialect::Dialect;
use super::lex::Token;
use super::method::Method;
use super::problem::{Field, Problem};
use super::record::Kind;
use super::urls;

/// Options as the server keeps them: of several values for one name the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    values: BTreeMap<&'static str, Vec<u8>>,
}

/// Every option: its name, and the methods that take it; none: every method of a `hostssl` record.
const KNOWN: &[(&str, &[Method])] = &[
    ("include_realm", &[Method::Gss, Method::Sspi]),
    ("krb_realm", &[Method::Gss, Method::Sspi]),
    ("map", &[Method::Ident, Method::Peer, Method::Gss, Method::Sspi, Method::Cert, Method::Oauth]),
    ("clientcert", &[]),
    ("clientname", &[]),
    ("pamservice", &[Method::Pam]),
    ("pam_use_hostname", &[Method::Pam]),
    ("ldapserver", &[Method::Ldap]),
    ("ldapport", &[Method::Ldap]),
    ("ldapscheme", &[Method::Ldap]),
    ("ldaptls", &[Method::Ldap]),
    ("ldapprefix", &[Method::Ldap]),
    ("ldapsuffix", &[Method::Ldap]),
    ("ldapbasedn", &[Method::Ldap]),
    ("ldapbinddn", &[Method::Ldap]),
    ("ldapbindpasswd", &[Method::Ldap]),
    ("ldapsearchattribute", &[Method::Ldap]),
    ("ldapsearchfilter", &[Method::Ldap]),
    ("ldapurl", &[Method::Ldap]),
    ("radiusservers", &[Method::Radius]),
    ("radiussecrets", &[Method::Radius]),
    ("radiusidentifiers", &[Method::Radius]),
    ("radiusports", &[Method::Radius]),
    ("issuer", &[Method::Oauth]),
    ("scope", &[Method::Oauth]),
    ("validator", &[Method::Oauth]),
    ("delegate_ident_mapping", &[Method::Oauth]),
    ("compat_realm", &[Method::Sspi]),
    ("upn_username", &[Method::Sspi]),
];
/// Those of which only `1` means yes.
const SWITCHES: [&str; 4] = ["include_realm", "ldaptls", "pam_use_hostname", "delegate_ident_mapping"];
/// Those that `pg_hba_file_rules` leaves out.
const HIDDEN: [&str; 3] = ["clientname", "pam_use_hostname", "ldapurl"];

impl Options {
    /// The value of an option, if it is given or implied.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.values.get(name).map(Vec::as_slice)
    }

    /// As `pg_hba_file_rules` shows them: `name=value` in its order, defaults added, passwords and all.
    #[must_use]
    pub fn shown(&self) -> Vec<String> {
        let names = KNOWN.iter().map(|(name, _)| *name);
        let mut shown: Vec<String> = names
            .filter(|name| !HIDDEN.contains(name))
            .filter_map(|name| {
                let value = self.get(name)?;
                if !SWITCHES.contains(&name) {
                    return Some(format!("{name}={}", String::from_utf8_lossy(value)));
                }
                (value == b"1").then(|| format!("{name}=true"))
            })
            .collect();
        // The base scope is 0, which the server takes for none given.
        if let Some(scope) = self.get("ldapscope").filter(|scope| *scope != b"0") {
            shown.push(format!("ldapscope={}", String::from_utf8_lossy(scope)));
        }
        shown
    }

    fn set(&mut self, name: &'static str, value: impl Into<Vec<u8>>) {
        self.values.insert(name, value.into());
    }
}

/// Reads the options of a record, and says what about them cannot be known here.
pub(super) fn read(
    tokens: &[&Token],
    kind: Kind,
    method: Method,
    dialect: &Dialect,
) -> Result<(Options, Option<String>), Problem> {
    let mut options = Options::default();
    let mut doubt = None;
    if method == Method::Gss {
        options.set("include_realm", "1");
    }
    for token in tokens {
        let Some(equals) = token.text.iter().position(|byte| *byte == b'=') else {
            return Err(wrong(
                format!("the option {:?} is not of the form name=value", token.text()),
                "write name=value, quoted if the value has blanks, commas or #",
            ));
        };
        let (name, value) = (&token.text[..equals], &token.text[equals + 1..]);
        let Some((name, methods)) = KNOWN.iter().find(|(known, _)| known.as_bytes() == name) else {
            return Err(wrong(
                format!("there is no option {:?}", String::from_utf8_lossy(name)),
                "correct its name or leave it out",
            ));
        };
        if methods.is_empty() && kind != Kind::HostSsl {
            return Err(wrong(format!("{name} is for hostssl records only"), "make it hostssl, or leave it out"));
        }
        if !methods.is_empty() && !methods.contains(&method) {
            let words: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
            return Err(wrong(
                format!("the method {} does not take {name}", method.as_str()),
                format!("leave it out; it is for {}", words.join(", ")),
            ));
        }
        set(&mut options, name, value, method, &mut doubt)?;
    }
    complete(&mut options, method, dialect)?;
    Ok((options, doubt))
}

fn set(
    options: &mut Options,
    name: &'static str,
    value: &[u8],
    method: Method,
    doubt: &mut Option<String>,
) -> Result<(), Problem> {
    let text = String::from_utf8_lossy(value);
    let allowed: &[&str] = match name {
        "clientcert" if method == Method::Cert => &["verify-full"],
        "clientcert" => &["verify-ca", "verify-full"],
        "clientname" => &["CN", "DN"],
        _ => &[],
    };
    if !allowed.is_empty() && !allowed.iter().any(|word| word.as_bytes() == value) {
        return Err(wrong(format!("{name} cannot be {text:?}"), format!("write {}", allowed.join(" or "))));
    }
    if method == Method::Ldap {
        // The server takes the default up again with every option.
        options.set("ldapscope", "2");
    }
    match name {
        "ldapport" => {
            let port = c_integer(value);
            if port == 0 {
                return Err(wrong(format!("{text:?} is no port"), "write a number from 1 to 65535"));
            }
            options.set(name, port.to_string());
        }
        "ldapurl" => {
            for (name, value) in urls::ldap(&text).map_err(|problem| wrong(problem, "write it as RFC 4516 has it"))? {
                options.set(name, value);
            }
        }
        "radiusservers" | "radiussecrets" | "radiusidentifiers" | "radiusports" => {
            let Some(entries) = urls::list(value) else {
                return Err(wrong(
                    format!("the list {name} is not well formed"),
                    "quote the whole option, and put commas between the entries",
                ));
            };
            if name == "radiusports" && entries.iter().any(|port| c_integer(port) == 0) {
                return Err(wrong(format!("{text:?} has an entry that is no port"), "write numbers from 1 to 65535"));
            }
            if name == "radiusservers" {
                *doubt = urls::resolvable(&entries).map_err(|server| {
                    wrong(format!("the RADIUS server {server:?} has no address"), "write a name that resolves")
                })?;
            }
            options.set(name, value);
        }
        _ => options.set(name, value),
    }
    Ok(())
}

/// What a method needs and what it implies.
fn complete(options: &mut Options, method: Method, dialect: &Dialect) -> Result<(), Problem> {
    let need = |name: &str| {
        let mend = format!("add {name}=...");
        options.get(name).map(drop).ok_or_else(|| wrong(format!("{} needs {name}", method.as_str()), mend))
    };
    let any = |names: &[&str]| names.iter().any(|name| options.get(name).is_some());
    match method {
        Method::Cert => options.set("clientcert", "verify-full"),
        Method::Ldap if any(&["ldapprefix", "ldapsuffix"]) => {
            let search = ["ldapbasedn", "ldapbinddn", "ldapbindpasswd", "ldapsearchattribute", "ldapsearchfilter"];
            if any(&search) {
                return Err(wrong(
                    "options of the simple bind and of search and bind are mixed",
                    "use either ldapprefix and ldapsuffix or ldapbasedn and its kin",
                ));
            }
        }
        Method::Ldap if !any(&["ldapbasedn"]) => {
            return Err(wrong("ldap does not know where to look", "add ldapbasedn, or ldapprefix and ldapsuffix"));
        }
        Method::Ldap if any(&["ldapsearchattribute"]) && any(&["ldapsearchfilter"]) => {
            return Err(wrong("ldapsearchattribute and ldapsearchfilter exclude each other", "leave one out"));
        }
        Method::Radius => {
            need("radiusservers")?;
            need("radiussecrets")?;
            let count = |name| options.get(name).and_then(urls::list).map_or(0, |entries| entries.len());
            let servers = count("radiusservers");
            if servers == 0 || count("radiussecrets") == 0 {
                return Err(wrong("the list of RADIUS servers or secrets is empty", "name at least one of each"));
            }
            for name in ["radiussecrets", "radiusports", "radiusidentifiers"] {
                if ![0, 1, servers].contains(&count(name)) {
                    return Err(wrong(
                        format!("{name} has {} entries for {servers} servers", count(name)),
                        "give one entry for all servers or one for each",
                    ));
                }
            }
        }
        Method::Oauth => {
            need("scope")?;
            need("issuer")?;
            validator(options, dialect)?;
            if options.get("map").is_some() && options.get("delegate_ident_mapping") == Some(b"1") {
                return Err(wrong("map and delegate_ident_mapping exclude each other", "leave one out"));
            }
        }
        _ => {}
    }
    Ok(())
}

fn validator(options: &mut Options, dialect: &Dialect) -> Result<(), Problem> {
    let known = &dialect.oauth_validators;
    match (options.get("validator"), known.as_slice()) {
        (_, []) => Err(wrong("oauth needs a validator and the server has none", "set oauth_validator_libraries")),
        (None, [only]) => {
            options.set("validator", only.as_str());
            Ok(())
        }
        (None, _) => {
            Err(wrong("oauth has several validators to choose from", format!("add validator={}", known.join(" or "))))
        }
        (Some(given), _) if known.iter().any(|validator| validator.as_bytes() == given) => Ok(()),
        (Some(given), _) => Err(wrong(
            format!("the server has no validator {:?}", String::from_utf8_lossy(given)),
            format!("write validator={}, or add it to oauth_validator_libraries", known.join(" or ")),
        )),
    }
}

/// As atoi reads it: what follows the digits says nothing, and no digits are 0.
fn c_integer(text: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(text);
    let text = text.trim_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    sign * digits[..end].parse::<i64>().unwrap_or(0)
}

fn wrong(message: impl Into<String>, mend: impl Into<String>) -> Problem {
    Problem::new(Field::Options, message, mend)
}
