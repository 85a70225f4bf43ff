//! A TCP connection to an address that has been judged; on its own it is the probe of a port.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::{Allow, Miss};

/// Addresses of one name that are tried; who answers for the name decides how many there are.
const MOST: usize = 16;

/// A host without the brackets of an IPv6 address.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whether this can be the name or address of a host at all: nothing in it that a log, a URL or a resolver would read
/// as more than a name. An IPv6 address may have its zone.
pub(super) fn could_be_a_host(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'%');
    (1..=253).contains(&host.len()) && host.bytes().all(plain) && !host.starts_with('-')
}

/// Looks `host` up and connects to the first of its addresses that `allow` contains and that answers. Each gets its
/// share of `limit`, so that a dead one hides no other.
///
/// # Errors
/// `Refused` when `allow` contains none of them, `NotYet` when none answers, `Wrong` when this is no host.
pub(super) async fn connect(host: &str, port: u16, allow: &Allow, limit: Duration) -> Result<TcpStream, Miss> {
    if !could_be_a_host(host) {
        return Err(Miss::Wrong(format!("{host:?} is no host name or address")));
    }
    let found = lookup_host((host, port))
        .await
        .map_err(|error| Miss::NotYet(format!("cannot look up {host}: {error}")))?
        .take(MOST)
        .collect();
    connect_to(host, found, allow, limit).await
}

/// As [`connect`], to an address that needs no looking up.
///
/// # Errors
/// The same.
pub(super) async fn connect_address(
    address: IpAddr,
    port: u16,
    allow: &Allow,
    limit: Duration,
) -> Result<TcpStream, Miss> {
    connect_to(&address.to_string(), vec![SocketAddr::new(address, port)], allow, limit).await
}

async fn connect_to(host: &str, found: Vec<SocketAddr>, allow: &Allow, limit: Duration) -> Result<TcpStream, Miss> {
    let mut refused = None;
    let mut judged = Vec::new();
    for address in found {
        match allow.judge(host, address.ip()) {
            Ok(()) => judged.push(address),
            Err(why) => refused = refused.or(Some(why)),
        }
    }
    if judged.is_empty() {
        return Err(refused.map_or_else(|| Miss::NotYet(format!("{host} has no address")), Miss::Refused));
    }
    let share = limit / u32::try_from(judged.len()).unwrap_or(u32::MAX);
    let mut last = String::new();
    for address in judged {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = format!("cannot connect to {address}: {error}"),
            Err(_) => last = format!("cannot connect to {address} within {share:?}"),
        }
    }
    Err(Miss::NotYet(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_addresses_that_were_judged_are_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        // A name with two addresses, the first of them not allowed.
        let found = vec![SocketAddr::from(([192, 0, 2, 1], open.port())), open];
        let stream = connect_to("two.test", found, &Allow::default(), Duration::from_secs(5)).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
        let none = "10.0.0.0/8".parse().unwrap();
        let refused = connect_to("two.test", vec![open], &none, Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(&refused, Miss::Refused(why) if why.contains("--probe-allow")), "{refused:?}");
        // One connection came in, and no other.
        listener.accept().await.unwrap();
        assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err());
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for good in ["localhost", "db_1.example.org", "::1", "fe80::1%eth0", "10.0.0.1", "a."] {
            assert!(could_be_a_host(good), "{good}");
        }
        for wrong in ["", "a b", "a/b", "a\n", "a@b", "a?b", "-a", "é", &"a".repeat(254)] {
            assert!(!could_be_a_host(wrong), "{wrong}");
        }
    }
}
