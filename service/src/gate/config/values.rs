//! Values of both files: addresses, sizes, names.

use std::net::{IpAddr, SocketAddr};

use super::ConfigError;
use super::section::Section;

/// The longest name of a node, in bytes.
const LONGEST_NAME: usize = 255;

/// A node's name.
///
/// # Errors
/// When it is too long or holds control characters.
pub fn node_name(section: &Section<'_>, key: &'static str, name: String) -> Result<String, ConfigError> {
    if name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(section.error(key, "is a name of at most 255 bytes without control characters"));
    }
    Ok(name)
}

/// A name as the name of one file: what is neither letter, digit, `-` nor `_` is written as %XX, dots inside excepted.
pub fn file_name(name: &str) -> String {
    let mut text = String::new();
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => text.push(char::from(byte)),
            b'.' if at > 0 => text.push('.'),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// An address to listen on, or `off`.
///
/// # Errors
/// When it is neither.
pub fn listen(section: &Section<'_>, key: &'static str) -> Result<Option<Option<SocketAddr>>, ConfigError> {
    let Some(text) = section.text(key)? else { return Ok(None) };
    // YAML 1.1 takes `off` for a boolean, and so may whoever writes the file.
    if matches!(text.to_ascii_lowercase().as_str(), "off" | "false" | "no" | "none") {
        return Ok(Some(None));
    }
    let address = text.parse().map_err(|_| {
        section.error(key, format!("is no address to listen on: {text}; ADDRESS:PORT such as 10.0.0.1:8009, or off"))
    })?;
    Ok(Some(Some(address)))
}

/// An address of this or another machine without a port.
///
/// # Errors
/// When it is a name or nonsense.
pub fn ip(section: &Section<'_>, key: &'static str, text: &str) -> Result<IpAddr, ConfigError> {
    text.parse().map_err(|_| section.error(key, format!("is an IP address, not {text}")))
}

/// Host and port of a peer; the port is `default` where none is given. An IPv6 address with a port stands in brackets.
///
/// # Errors
/// What is wrong with it.
pub fn host_port(text: &str, default: Option<u16>) -> Result<(String, u16), String> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("a bracket is open")?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| "what stands in brackets is no IPv6 address")?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err("only a port may follow the bracket".to_owned()),
        }
    } else if text.matches(':').count() > 1 {
        text.parse::<std::net::Ipv6Addr>().map_err(|_| "neither HOST:PORT nor an IPv6 address")?;
        (text, None)
    } else {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    };
    if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/') {
        return Err("no host".to_owned());
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or("a port is a number from 1 to 65535")?,
        None => default.ok_or("no port")?,
    };
    Ok((host.to_owned(), port))
}

/// A number of bytes: `16MB`, `512kB`, or bare; the units are PostgreSQL's, each 1024 of the one below.
///
/// # Errors
/// When it is something else.
pub fn size(section: &Section<'_>, key: &'static str) -> Result<Option<u64>, ConfigError> {
    let Some(text) = section.text(key)? else { return Ok(None) };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => Some(0),
        "kB" => Some(10),
        "MB" => Some(20),
        "GB" => Some(30),
        "TB" => Some(40),
        _ => None,
    };
    let bytes = shift.and_then(|shift| number.parse::<u64>().ok()?.checked_mul(1 << shift));
    bytes.map(Some).ok_or_else(|| section.error(key, format!("is no size: {text}; such as 16MB (B, kB, MB, GB, TB)")))
}

/// A value in libpq's keyword=value form.
pub fn conninfo(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}
