//! Keeps web pages of others out: a request must be addressed to us, and must not come from a foreign page.
//!
//! A page on another site can make a browser send requests here (CSRF), and a name that its owner points at our
//! address after the page was loaded makes them look like the page's own (DNS rebinding). The first carries a foreign
//! `Origin`, the second a `Host` that is not ours. Callers that are not browsers send no `Origin` and are let through.

use std::net::IpAddr;

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Uri};

use super::Options;
use super::error::Refusal;

/// Host and port of a `Host` header, an authority or an origin; the host in lower case, without brackets.
#[derive(Debug, PartialEq, Clone, Copy)]
struct Authority<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// `None` when it is not `host`, `host:port`, `[v6]` or `[v6]:port`.
    fn parse(text: &'a str) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(inner) => inner.split_once(']')?,
            None => match text.find(':') {
                Some(colon) => text.split_at(colon),
                None => (text, ""),
            },
        };
        let port = match rest.strip_prefix(':') {
            Some(digits) => Some(digits.parse().ok()?),
            None if rest.is_empty() => None,
            None => return None,
        };
        if host.is_empty() { None } else { Some(Self { host, port }) }
    }
}

/// Whether a name in a request is one of ours. An IP address always is: rebinding needs a name, and a page whose
/// address is our IP address came from us.
fn is_ours(host: &str, options: &Options) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.parse::<IpAddr>().is_ok()
        || ["localhost", "localhost.localdomain", "ip6-localhost"].iter().any(|name| host.eq_ignore_ascii_case(name))
        || (options.dotless_hosts && !host.contains('.'))
        || options.host_names.iter().any(|name| name_matches(name, host))
}

/// Compares with a name that may begin with `*.`, which stands for exactly one label as in certificates.
fn name_matches(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(host),
    }
}

/// Judges `Host` (or the authority of the request's target) and `Origin`. `any_host` leaves the Host unjudged: the
/// drop-in APIs are reached by whatever name an installed client has in its configuration.
pub fn check(uri: &Uri, headers: &HeaderMap, options: &Options, any_host: bool) -> Result<(), Refusal> {
    let host = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => match headers.get(HOST) {
            Some(value) => Some(value.to_str().map_err(|_| foreign_host("(not text)"))?),
            None => None,
        },
    };
    let ours = match host {
        Some(text) => {
            let authority = Authority::parse(text).ok_or_else(|| foreign_host(text))?;
            if !any_host && !is_ours(authority.host, options) {
                return Err(foreign_host(authority.host));
            }
            Some(authority)
        }
        None => None,
    };
    match headers.get(ORIGIN) {
        Some(origin) => check_origin(origin.to_str().unwrap_or(""), ours, options),
        None => Ok(()),
    }
}

fn check_origin(origin: &str, ours: Option<Authority>, options: &Options) -> Result<(), Refusal> {
    let refusal = || {
        Refusal::new(StatusCode::FORBIDDEN, format!("A page of {origin:?} may not call this service"))
            .hint("Call it from its own address, or name that address with --public-host")
    };
    let (default_port, rest) = if let Some(rest) = origin.strip_prefix("https://") {
        (443, rest)
    } else if let Some(rest) = origin.strip_prefix("http://") {
        (80, rest)
    } else {
        return Err(refusal());
    };
    let page = Authority::parse(rest).ok_or_else(refusal)?;
    let page_port = page.port.unwrap_or(default_port);
    // Another port of the same machine is another program's page. A page under one of our names must be ours too:
    // behind a proxy its port differs from that of the Host header.
    let same = ours.is_some_and(|ours| {
        ours.host.eq_ignore_ascii_case(page.host) && ours.port.unwrap_or(default_port) == page_port
    });
    let named = options.host_names.iter().any(|name| name_matches(name, page.host));
    if (same && is_ours(page.host, options)) || named { Ok(()) } else { Err(refusal()) }
}

fn foreign_host(host: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, format!("This service does not go by the name {host:?}"))
        .hint("If that name is meant to reach it, start it with --public-host and the name")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn judge(host: &str, origin: Option<&str>, any_host: bool) -> bool {
        let options = Options {
            host_names: vec!["goahead.example.org".into(), "*.fleet.example.org".into()],
            ..Options::default()
        };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).expect("a header"));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).expect("a header"));
        }
        check(&Uri::from_static("/v1/clusters"), &headers, &options, any_host).is_ok()
    }

    #[test]
    fn our_names_and_addresses_are_ours() {
        for host in [
            "127.0.0.1:8443",
            "[::1]:8443",
            "localhost:8443",
            "LOCALHOST",
            "goahead.example.org",
            "GOAHEAD.example.org:1",
            "a.fleet.example.org",
            "192.0.2.7",
        ] {
            assert!(judge(host, None, false), "{host}");
        }
    }

    #[test]
    fn foreign_names_are_refused() {
        for host in
            ["evil.example", "localhost.evil.example", "a.b.fleet.example.org", "fleet.example.org", "[::1", "a:b", ""]
        {
            assert!(!judge(host, None, false), "{host}");
        }
        assert!(judge("restarts.example", None, true), "the drop-in APIs answer under any name");
    }

    #[test]
    fn names_without_dots_are_ours_where_containers_call() {
        let options = Options { dotless_hosts: true, ..Options::default() };
        for (host, ours) in [("webrendezvous:8080", true), ("evil.example:8080", false), ("localhost", true)] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            assert_eq!(check(&Uri::from_static("/abc"), &headers, &options, false).is_ok(), ours, "{host}");
        }
    }

    #[test]
    fn pages_of_others_are_refused() {
        assert!(judge("127.0.0.1:8443", Some("https://127.0.0.1:8443"), false));
        assert!(judge("localhost", Some("http://localhost"), false));
        assert!(judge("10.0.0.1:8443", Some("https://goahead.example.org"), false), "a proxy in between");
        for origin in
            ["https://evil.example", "null", "http://127.0.0.1:3000", "", "file://", "http://127.0.0.1:8443@evil"]
        {
            assert!(!judge("127.0.0.1:8443", Some(origin), false), "{origin}");
            assert!(!judge("127.0.0.1:8443", Some(origin), true), "{origin}");
        }
        assert!(!judge("evil.example", Some("http://evil.example"), true), "a rebound name is not its own excuse");
    }
}
