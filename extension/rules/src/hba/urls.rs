//! Values of options that are lists or URLs.

use std::net::IpAddr;

use super::address::numeric;

/// A list as the server splits it: commas between entries, white space around them, quotes around what has either. An
/// empty text is an empty list; none if it is not well formed.
pub(super) fn list(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut entries = Vec::new();
    let mut rest = text.trim_ascii_start();
    if rest.is_empty() {
        return Some(entries);
    }
    loop {
        let (entry, after) = if let Some(quoted) = rest.strip_prefix(b"\"") { unquote(quoted)? } else { word(rest)? };
        entries.push(entry);
        rest = after.trim_ascii_start();
        match rest.split_first() {
            None => return Some(entries),
            Some((b',', after)) => rest = after.trim_ascii_start(),
            Some(_) => return None,
        }
    }
}

fn word(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let end = text.iter().position(|byte| *byte == b',' || byte.is_ascii_whitespace()).unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_vec(), &text[end..]))
}

fn unquote(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut entry = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.iter().position(|byte| *byte == b'"')?;
        entry.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(b"\"") {
            Some(after) => {
                entry.push(b'"');
                rest = after;
            }
            None => return Some((entry, rest)),
        }
    }
}

/// What is to be said of RADIUS servers, which the server looks up when it loads the file: nothing of addresses, a doubt
/// of names, and an error of what never resolves: no name at all, or one that RFC 6761 keeps for that.
pub(super) fn resolvable(servers: &[Vec<u8>]) -> Result<Option<String>, String> {
    let mut doubt = None;
    for server in servers {
        if numeric(server).is_some() || server == b"localhost" {
            continue;
        }
        let name = String::from_utf8_lossy(server).into_owned();
        let end = name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        if name.is_empty() || !plain || end.eq_ignore_ascii_case("invalid") {
            return Err(name);
        }
        doubt = Some(format!("does not load while {name} does not resolve"));
    }
    Ok(doubt)
}

/// The options that an LDAP URL (RFC 4516) stands for.
pub(super) fn ldap(url: &str) -> Result<Vec<(&'static str, String)>, String> {
    let broken = || format!("{url:?} is no LDAP URL");
    let (scheme, rest) = url.split_once("://").ok_or_else(broken)?;
    let scheme = scheme.to_ascii_lowercase();
    let port = match scheme.as_str() {
        "ldap" => 389,
        "ldaps" => 636,
        _ => return Err(format!("{scheme:?} is no scheme of an LDAP URL that the server takes")),
    };
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
    let (host, given) = match authority.rsplit_once(':') {
        Some((host, given)) if !given.contains(']') => (host, Some(given)),
        _ => (authority, None),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.contains(':') && host.parse::<IpAddr>().is_err() {
        return Err(broken());
    }
    let port: u16 = match given {
        Some(given) if !given.is_empty() => given.parse().map_err(|_| broken())?,
        _ => port,
    };
    let mut options = vec![("ldapscheme", scheme), ("ldapport", port.to_string())];
    if !host.is_empty() {
        options.push(("ldapserver", decoded(host).ok_or_else(broken)?));
    }
    let mut parts = path.unwrap_or_default().split('?');
    if let Some(base) = path.and(parts.next()) {
        options.push(("ldapbasedn", decoded(base).ok_or_else(broken)?));
    }
    if let Some(attributes) = parts.next().filter(|attributes| !attributes.is_empty()) {
        let first = attributes.split(',').next().unwrap_or_default();
        options.push(("ldapsearchattribute", decoded(first).ok_or_else(broken)?));
    }
    let scope = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "base" => "0",
        "one" | "onelevel" => "1",
        "sub" | "subtree" => "2",
        "subordinate" | "children" => "3",
        _ => return Err(broken()),
    };
    options.push(("ldapscope", scope.to_owned()));
    if let Some(filter) = parts.next().filter(|filter| !filter.is_empty()) {
        options.push(("ldapsearchfilter", decoded(filter).ok_or_else(broken)?));
    }
    Ok(options)
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}
