//! Where the database is: libpq's connection strings, both forms, read into one configuration per host.
//!
//! tokio-postgres reads such strings too, but knows no `sslrootcert` and no `verify-full`, and bounds only the TCP
//! connect of a host; here every host gets its own share of the time, whatever it is stuck in.

use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslMode, SslNegotiation, TargetSessionAttrs};

use super::tls::{Trust, Verify};

/// How long all hosts together may take to accept a connection, unless the string says `connect_timeout`.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A database, by the hosts that may be it.
#[derive(Clone)]
pub struct Address {
    /// One configuration per host, in the order in which they are tried
    pub hosts: Vec<Config>,
    /// How long one host may take
    pub timeout: Duration,
    /// The hosts are tried in random order
    pub shuffle: bool,
    /// What a server has to prove
    pub trust: Trust,
}

/// What is wrong with a connection string.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither form
    #[error("neither a URL (postgres://user@host/database) nor a list of keyword=value")]
    Form,
    /// Cannot be split into keywords and values
    #[error("{0}")]
    Syntax(String),
    /// A keyword that is unknown or not supported here
    #[error("the keyword {0:?} is not supported")]
    Keyword(String),
    /// A value that is unknown or not supported here
    #[error("{keyword}={value} is not supported; use {wanted}")]
    Value {
        /// The keyword
        keyword: &'static str,
        /// What was given
        value: String,
        /// What is possible
        wanted: &'static str,
    },
}

impl Address {
    /// Reads a connection string.
    ///
    /// # Errors
    /// What is wrong or not supported, by name; never with the password in it.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let pairs = if let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"))
        {
            url_pairs(rest)?
        } else if text.contains('=') {
            keyword_pairs(text)?
        } else {
            return Err(AddressError::Form);
        };
        Self::from_pairs(pairs)
    }

    /// A server on this machine, reached by its unix socket.
    pub fn local(directory: &std::path::Path, port: u16, user: &str, database: &str) -> Self {
        let mut config = Config::new();
        config.host_path(directory).port(port).user(user).dbname(database).ssl_mode(SslMode::Disable);
        Self { hosts: vec![config], timeout: CONNECT_TIMEOUT, shuffle: false, trust: Trust::default() }
    }

    /// The same database with other startup options added, such as `-c lock_timeout=1s`.
    #[must_use]
    pub fn with_options(&self, options: &str) -> Self {
        let mut address = self.clone();
        for config in &mut address.hosts {
            let all = match config.get_options() {
                Some(given) => format!("{given} {options}"),
                None => options.to_owned(),
            };
            config.options(all);
        }
        address
    }

    /// User, hosts and database for people; no password.
    pub fn describe(&self) -> String {
        let hosts: Vec<String> = self
            .hosts
            .iter()
            .map(|config| {
                let port = config.get_ports().first().copied().unwrap_or(5432);
                match config.get_hosts().first() {
                    Some(tokio_postgres::config::Host::Tcp(host)) => format!("{host}:{port}"),
                    Some(tokio_postgres::config::Host::Unix(path)) => {
                        format!("{}:{port}", path.display())
                    }
                    None => {
                        config.get_hostaddrs().first().map_or_else(String::new, |address| format!("{address}:{port}"))
                    }
                }
            })
            .collect();
        let first = self.hosts.first();
        let user = first.and_then(Config::get_user).unwrap_or("");
        let database = first.and_then(Config::get_dbname).unwrap_or(user);
        format!("{user}@{}/{database}", hosts.join(","))
    }

    fn from_pairs(pairs: Vec<(String, String)>) -> Result<Self, AddressError> {
        let mut common = Config::new();
        let mut hosts = String::new();
        let mut host_addresses = String::new();
        let mut ports = String::new();
        let mut mode = String::from("prefer");
        let mut trust = Trust::default();
        let mut connect_timeout = None;
        let mut shuffle = false;
        // A dead server is noticed in seconds, not in libpq's two hours.
        common
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(2))
            .keepalives_retries(3)
            .tcp_user_timeout(CONNECT_TIMEOUT)
            .application_name("goahead");
        for (keyword, value) in pairs {
            match keyword.as_str() {
                "user" => {
                    common.user(value);
                }
                "password" => {
                    common.password(value);
                }
                "dbname" => {
                    common.dbname(value);
                }
                "options" => {
                    common.options(value);
                }
                "application_name" => {
                    common.application_name(value);
                }
                // libpq's spelling for programs that bring their own default
                "fallback_application_name" => {}
                "host" => hosts = value,
                "hostaddr" => host_addresses = value,
                "port" => ports = value,
                "sslmode" => mode = value,
                "sslrootcert" if value == "system" => trust.root = None,
                "sslrootcert" => trust.root = Some(PathBuf::from(value)),
                "sslcert" => trust.certificate = Some(PathBuf::from(value)),
                "sslkey" => trust.key = Some(PathBuf::from(value)),
                "sslnegotiation" => {
                    common.ssl_negotiation(match value.as_str() {
                        "postgres" => SslNegotiation::Postgres,
                        "direct" => SslNegotiation::Direct,
                        _ => return Err(unsupported("sslnegotiation", value, "postgres or direct")),
                    });
                }
                "channel_binding" => {
                    common.channel_binding(match value.as_str() {
                        "disable" => ChannelBinding::Disable,
                        "prefer" => ChannelBinding::Prefer,
                        "require" => ChannelBinding::Require,
                        _ => return Err(unsupported("channel_binding", value, "disable, prefer or require")),
                    });
                }
                "target_session_attrs" => {
                    common.target_session_attrs(match value.as_str() {
                        "any" => TargetSessionAttrs::Any,
                        // A primary that refuses writes (default_transaction_read_only) is of no use here either.
                        "read-write" | "primary" => TargetSessionAttrs::ReadWrite,
                        "read-only" => TargetSessionAttrs::ReadOnly,
                        _ => return Err(unsupported("target_session_attrs", value, "any, read-write or read-only")),
                    });
                }
                "load_balance_hosts" => {
                    shuffle = match value.as_str() {
                        "disable" => false,
                        "random" => true,
                        _ => return Err(unsupported("load_balance_hosts", value, "disable or random")),
                    }
                }
                "keepalives" => {
                    common.keepalives(value != "0");
                }
                "connect_timeout" => {
                    connect_timeout = Some(Duration::from_secs(number("connect_timeout", &value)?));
                }
                "keepalives_idle" => {
                    common.keepalives_idle(Duration::from_secs(number("keepalives_idle", &value)?));
                }
                "keepalives_interval" => {
                    common.keepalives_interval(Duration::from_secs(number("keepalives_interval", &value)?));
                }
                "keepalives_count" => {
                    common.keepalives_retries(number("keepalives_count", &value)?);
                }
                // Milliseconds in libpq.
                "tcp_user_timeout" => {
                    common.tcp_user_timeout(Duration::from_millis(number("tcp_user_timeout", &value)?));
                }
                _ => return Err(AddressError::Keyword(keyword)),
            }
        }
        trust.verify = match mode.as_str() {
            "disable" | "prefer" => Verify::Nothing,
            // As libpq: where a root certificate is given, `require` checks against it.
            "require" if trust.root.is_some() => Verify::Authority,
            "require" => Verify::Nothing,
            // The system's authorities sign anybody's certificate: without the name this would check nothing.
            "verify-ca" if trust.root.is_none() => {
                return Err(unsupported("sslmode", mode, "verify-full, or give sslrootcert=FILE"));
            }
            "verify-ca" => Verify::Authority,
            "verify-full" => Verify::Name,
            _ => {
                return Err(unsupported("sslmode", mode, "disable, prefer, require, verify-ca or verify-full"));
            }
        };
        common.ssl_mode(match mode.as_str() {
            "disable" => SslMode::Disable,
            "prefer" => SslMode::Prefer,
            _ => SslMode::Require,
        });
        let hosts = each_host(&common, &hosts, &host_addresses, &ports)?;
        let timeout = connect_timeout.unwrap_or_else(|| {
            let share = CONNECT_TIMEOUT / u32::try_from(hosts.len()).unwrap_or(u32::MAX);
            share.max(Duration::from_millis(300))
        });
        Ok(Self { hosts, timeout, shuffle, trust })
    }
}

/// One configuration per host of the comma-separated lists.
fn each_host(common: &Config, hosts: &str, addresses: &str, ports: &str) -> Result<Vec<Config>, AddressError> {
    let split = |list: &str| -> Vec<String> {
        if list.is_empty() { Vec::new() } else { list.split(',').map(ToOwned::to_owned).collect() }
    };
    let (hosts, addresses, ports) = (split(hosts), split(addresses), split(ports));
    let count = hosts.len().max(addresses.len()).max(1);
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(AddressError::Syntax("host and hostaddr list different numbers of hosts".into()));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(AddressError::Syntax("host and port list different numbers of hosts".into()));
    }
    (0..count)
        .map(|index| {
            let mut config = common.clone();
            match hosts.get(index).map(String::as_str) {
                // libpq's default as Debian and most others build it.
                None | Some("") if addresses.is_empty() => {
                    config.host_path("/var/run/postgresql");
                }
                None => {}
                Some(host) => {
                    config.host(host);
                }
            }
            if let Some(address) = addresses.get(index) {
                config.hostaddr(
                    address.parse().map_err(|_| unsupported("hostaddr", address.clone(), "a numeric address"))?,
                );
            }
            let port = ports.get(index).or(ports.first()).map_or("", String::as_str);
            config.port(if port.is_empty() { 5432 } else { number("port", port)? });
            Ok(config)
        })
        .collect()
}

fn unsupported(keyword: &'static str, value: String, wanted: &'static str) -> AddressError {
    AddressError::Value { keyword, value, wanted }
}

fn number<N: std::str::FromStr>(keyword: &'static str, value: &str) -> Result<N, AddressError> {
    value.trim().parse().map_err(|_| unsupported(keyword, value.to_owned(), "a number"))
}

/// `user:password@host:port,host:port/database?keyword=value&…`, as section 34.1.1.2 of PostgreSQL's manual has it.
fn url_pairs(rest: &str) -> Result<Vec<(String, String)>, AddressError> {
    let mut pairs = Vec::new();
    let mut push = |keyword: &str, value: &str| -> Result<(), AddressError> {
        pairs.push((keyword.to_owned(), percent_decoded(value)?));
        Ok(())
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',').filter(|_| !hosts.is_empty()) {
        let (name, port) = match host.strip_prefix('[').map(|host| host.split_once(']')) {
            Some(Some((name, port))) => (name, port.strip_prefix(':').unwrap_or(port)),
            Some(None) => return Err(AddressError::Syntax("an IPv6 address lacks its closing ]".into())),
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(name);
        ports.push(port);
    }
    for (keyword, value) in [("user", user), ("password", password), ("dbname", database)] {
        if !value.is_empty() {
            push(keyword, value)?;
        }
    }
    if !names.is_empty() {
        push("host", &names.join(","))?;
        push("port", &ports.join(","))?;
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((keyword, value)) = pair.split_once('=') else {
            return Err(AddressError::Syntax(format!("{pair:?} in the query of the URL lacks its =")));
        };
        match (keyword, value) {
            // What JDBC writes; libpq reads it too.
            ("ssl", "true") => push("sslmode", "require")?,
            _ => push(keyword, value)?,
        }
    }
    Ok(pairs)
}

fn percent_decoded(text: &str) -> Result<String, AddressError> {
    let broken = || AddressError::Syntax("a % in the URL is not followed by two hexadecimal digits".into());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let (digits, tail) = tail.split_at_checked(2).ok_or_else(broken)?;
            let digits = std::str::from_utf8(digits).map_err(|_| broken())?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| broken())?);
            rest = tail;
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).map_err(|_| AddressError::Syntax("the URL is not UTF-8".into()))
}

/// `keyword = value keyword='quoted value'`, with backslash escapes; section 34.1.1.1 of PostgreSQL's manual.
fn keyword_pairs(text: &str) -> Result<Vec<(String, String)>, AddressError> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let Some((keyword, tail)) = rest.split_once('=') else {
            return Err(AddressError::Syntax(format!("{:?} lacks its =", rest.trim())));
        };
        let tail = tail.trim_start();
        let (quoted, body) = match tail.strip_prefix('\'') {
            Some(body) => (true, body),
            None => (false, tail),
        };
        let mut value = String::new();
        let mut characters = body.char_indices();
        let mut end = if quoted { None } else { Some(body.len()) };
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => value.extend(characters.next().map(|(_, next)| next)),
                '\'' if quoted => {
                    end = Some(at + 1);
                    break;
                }
                space if !quoted && space.is_whitespace() => {
                    end = Some(at);
                    break;
                }
                other => value.push(other),
            }
        }
        let Some(end) = end else {
            return Err(AddressError::Syntax("a quoted value lacks its closing quote".into()));
        };
        pairs.push((keyword.trim().to_owned(), value));
        rest = body[end..].trim_start();
    }
    Ok(pairs)
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
