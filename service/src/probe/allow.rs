//! Which targets may be probed: an allow-list of networks and names.

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::str::FromStr;

use ipnet::{IpNet, Ipv6Net};

/// What belongs to a machine or its private networks: loopback, RFC 1918, the shared space of RFC 6598, and IPv6's.
const PRIVATE: [&str; 7] =
    ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7"];
/// What nobody may probe by way of a service: link-local addresses, where clouds hand out a machine's credentials, and
/// the number under which one of them does so by IPv6.
const NEVER: [&str; 3] = ["169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128"];
/// Addresses that carry an IPv4 address in their last 32 bits, for a translator on the way (RFC 6052).
const NAT64: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// The targets that may be probed. Whether one is among them is judged by its name and the address connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allow {
    entries: Vec<Entry>,
    /// Not even what a service must never probe is refused.
    unrestricted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Any,
    Network(IpNet),
    /// A name without dots, which only the network at hand can know
    Dotless,
    /// A host's name, in lower case
    Name(String),
    /// All names that end in this, which begins with a dot, in lower case
    Below(String),
}

/// What cannot be read in an allow-list.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network (10.0.0.0/8), address, host name, *.example.org, `default`, `none` or `any`")]
pub struct AllowError(String);

/// Private and loopback addresses, and names without dots.
impl Default for Allow {
    fn default() -> Self {
        let networks = PRIVATE.iter().map(|network| Entry::Network(network.parse().expect("a network")));
        Self { entries: networks.chain([Entry::Dotless]).collect(), unrestricted: false }
    }
}

/// Reads a list with commas: networks, addresses, host names, `*.example.org`, `default` for what is allowed without a
/// list, `any` for all but link-local addresses, `none`.
impl FromStr for Allow {
    type Err = AllowError;

    fn from_str(list: &str) -> Result<Self, AllowError> {
        let mut entries = Vec::new();
        for word in list.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "default" => entries.extend(Self::default().entries),
                "none" => {}
                _ => entries.push(entry(word)?),
            }
        }
        Ok(Self { entries, unrestricted: false })
    }
}

fn entry(word: &str) -> Result<Entry, AllowError> {
    if word == "any" {
        return Ok(Entry::Any);
    }
    if let Ok(network) = word.parse::<IpNet>() {
        return Ok(Entry::Network(network.trunc()));
    }
    if let Ok(address) = word.parse::<IpAddr>() {
        return Ok(Entry::Network(canonical(address).into()));
    }
    let (below, name) = match word.strip_prefix('*') {
        Some(name) => (true, name.strip_prefix('.').unwrap_or_default()),
        None => (false, word),
    };
    // What looks like a number is a slip of the pen for an address: names do not end in one.
    let last = name.rsplit('.').next().unwrap_or_default();
    if name.is_empty() || !name.split('.').all(is_label) || is_number(last) {
        return Err(AllowError(word.to_owned()));
    }
    let name = name.to_ascii_lowercase();
    Ok(if below { Entry::Below(format!(".{name}")) } else { Entry::Name(name) })
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Whether the C library reads this as a number, and a name of only such parts as an IPv4 address.
fn is_number(label: &str) -> bool {
    let digits = |text: &str, valid: fn(&u8) -> bool| text.as_bytes().iter().all(valid);
    match label.strip_prefix("0x").or_else(|| label.strip_prefix("0X")) {
        Some(hexadecimal) => digits(hexadecimal, u8::is_ascii_hexdigit),
        None => digits(label, u8::is_ascii_digit),
    }
}

/// The IPv4 address where an IPv6 one stands for it, so that no notation goes around a network of the list.
fn canonical(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if NAT64.contains(&address) => {
            let [.., a, b, c, d] = address.octets();
            IpAddr::from([a, b, c, d])
        }
        address => address,
    }
}

impl Allow {
    /// Everything, for a user who probes from a machine of their own.
    pub fn everything() -> Self {
        Self { entries: vec![Entry::Any], unrestricted: true }
    }

    /// Judges a connection to `address`, which the host named `host` was found to have.
    ///
    /// # Errors
    /// Why it may not be made, and what to do about it.
    pub fn judge(&self, host: &str, address: IpAddr) -> Result<(), String> {
        if self.unrestricted {
            return Ok(());
        }
        let canonical = canonical(address);
        let shown = if host.parse() == Ok(address) { host.to_owned() } else { format!("{host} ({address})") };
        if NEVER.iter().any(|never| never.parse::<IpNet>().expect("a network").contains(&canonical)) {
            return Err(format!("{shown} is link-local, which no --probe-allow permits"));
        }
        if self.entries.iter().any(|entry| entry.holds(host, canonical)) {
            return Ok(());
        }
        Err(format!(
            "{shown} is not among the targets that this service may probe; start it with --probe-allow \
             default,{host} to permit that"
        ))
    }
}

impl Allow {
    /// Judges a connection to a socket in `directory`, which is not on the network at all.
    ///
    /// # Errors
    /// Always, unless everything is allowed.
    pub(super) fn judge_socket(&self, directory: &Path) -> Result<(), String> {
        if self.unrestricted {
            return Ok(());
        }
        Err(format!("sockets as in {} are not probed for others, which no --probe-allow permits", directory.display()))
    }
}

impl Entry {
    fn holds(&self, host: &str, address: IpAddr) -> bool {
        let is_name = host.parse::<IpAddr>().is_err();
        match self {
            Self::Any => true,
            Self::Network(network) => network.contains(&address),
            Self::Dotless => is_name && !host.contains(['.', ':', '%']) && !is_number(host),
            Self::Name(name) => is_name && undotted(host).eq_ignore_ascii_case(name),
            Self::Below(end) => is_name && undotted(host).to_ascii_lowercase().ends_with(end),
        }
    }
}

/// A name without the dot that says that it is complete.
fn undotted(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(list: &str, host: &str, address: &str) -> bool {
        list.parse::<Allow>().unwrap().judge(host, address.parse().unwrap()).is_ok()
    }

    #[test]
    fn by_default_private_addresses_and_names_without_dots() {
        for (host, address, wanted) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("::1", "::1", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("db.example.org", "172.31.255.1", true),
            ("db.example.org", "172.32.0.1", false),
            ("192.168.0.1", "192.168.0.1", true),
            ("100.64.1.1", "100.64.1.1", true),
            ("100.128.1.1", "100.128.1.1", false),
            ("fd12::1", "fd12::1", true),
            ("2001:db8::1", "2001:db8::1", false),
            ("8.8.8.8", "8.8.8.8", false),
            ("db.example.org", "93.184.216.34", false),
            ("memcached", "93.184.216.34", true),
            // The trailing dot says that the name is complete: a top-level domain.
            ("memcached.", "93.184.216.34", false),
            // Other spellings of 8.8.8.8.
            ("134744072", "8.8.8.8", false),
            ("0x08080808", "8.8.8.8", false),
            ("::ffff:8.8.8.8", "::ffff:8.8.8.8", false),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.1", true),
            ("0.0.0.0", "0.0.0.0", false),
        ] {
            assert_eq!(judged("default", host, address), wanted, "{host} {address}");
        }
        assert_eq!("default".parse(), Ok(Allow::default()));
    }

    #[test]
    fn link_local_is_never_allowed() {
        for address in
            ["169.254.169.254", "fe80::1", "febf::1", "::ffff:169.254.1.1", "64:ff9b::169.254.169.254", "fd00:ec2::254"]
        {
            for list in ["any", "default", "metadata.example.org,169.254.0.0/16,::/0,0.0.0.0/0"] {
                for host in [address, "metadata", "metadata.example.org"] {
                    assert!(!judged(list, host, address), "{list}: {host} {address}");
                }
            }
            let told = Allow::from_str("any").unwrap().judge(address, address.parse().unwrap()).unwrap_err();
            assert!(told.contains("--probe-allow"), "{told}");
            Allow::everything().judge(address, address.parse().unwrap()).unwrap();
        }
    }

    #[test]
    fn networks_and_names_are_what_the_list_says() {
        let list = "10.0.0.1/8, 2001:db8::/32, 192.0.2.1, DB.example.org, *.Example.net";
        for (host, address, wanted) in [
            ("10.255.0.1", "10.255.0.1", true),
            ("127.0.0.1", "127.0.0.1", false),
            ("memcached", "192.0.2.2", false),
            ("x.test", "2001:db8::7", true),
            ("x.test", "192.0.2.1", true),
            ("db.example.org", "192.0.2.7", true),
            ("DB.EXAMPLE.ORG.", "192.0.2.7", true),
            ("xdb.example.org", "192.0.2.7", false),
            ("a.db.example.org", "192.0.2.7", false),
            ("a.b.example.net", "192.0.2.7", true),
            ("example.net", "192.0.2.7", false),
            ("evilexample.net", "192.0.2.7", false),
        ] {
            assert_eq!(judged(list, host, address), wanted, "{host} {address}");
        }
        assert!(judged("any", "example.org", "93.184.216.34"));
        assert!(judged("any", "8.8.8.8", "8.8.8.8"));
        assert!(!judged("", "127.0.0.1", "127.0.0.1"));
        assert!(!judged("none", "127.0.0.1", "127.0.0.1"));
        assert!(judged("default,*.example.org", "a.example.org", "93.184.216.34"));
        assert!(judged("default,*.example.org", "localhost", "127.0.0.1"));
    }

    #[test]
    fn a_refusal_names_the_flag_that_permits_it() {
        let told = Allow::default().judge("db.example.org", [93, 184, 216, 34].into()).unwrap_err();
        assert!(told.contains("93.184.216.34") && told.contains("--probe-allow default,db.example.org"), "{told}");
    }

    #[test]
    fn what_is_no_entry_is_refused_by_name() {
        for wrong in ["10.0.0.0/33", "10.0.0", "300.1.1.1", "*", "*.", "*example.org", "a..b", "a b", "http://x", "a/8"]
        {
            let error = format!("default,{wrong}").parse::<Allow>().unwrap_err().to_string();
            assert!(error.contains(wrong), "{wrong}: {error}");
        }
    }
}
