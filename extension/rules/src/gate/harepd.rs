//! harepd's view of the topology: what its answers mean to us, and what we answer to it.
//!
//! harepd compares sorted lists of addresses, scraped as IPv4 from the `conninfo` of active rows of `repmgr.nodes`; a row
//! without one made it panic. Here a host may be a name or IPv6, and is then given as it is written.

/// A row of `repmgr.nodes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepmgrNode {
    /// `node_id`.
    pub node_id: i32,
    /// `node_name`.
    pub node_name: String,
    /// `type`: `primary`, `standby` or `witness`.
    pub kind: String,
    /// `active`.
    pub active: bool,
    /// `conninfo`.
    pub conninfo: String,
}

/// What harepd's server answers (`IKnow`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IKnow {
    /// The answering node's address.
    pub ip: String,
    /// Its id.
    pub node_id: i32,
    /// Its name.
    pub node_name: String,
    /// Address of the witness.
    pub witness: String,
    /// Addresses of active standbys, sorted.
    pub slaves: Vec<String>,
    /// Addresses of active primaries, sorted.
    pub master: Vec<String>,
}

/// The host of a libpq connection string, keywords or URI: `hostaddr` before `host`, the first of several. None where there
/// is none, or a socket directory.
pub fn host(conninfo: &str) -> Option<String> {
    let text = conninfo.trim();
    let found = match text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
        Some(rest) => uri_host(rest),
        None => {
            let pairs = keywords(text);
            let value = |name: &str| pairs.iter().rev().find(|(key, value)| key == name && !value.is_empty());
            value("hostaddr").or_else(|| value("host")).map(|(_, value)| value.clone())
        }
    };
    let first = found?.split(',').next().unwrap_or_default().trim().to_owned();
    (!first.is_empty() && !first.starts_with(['/', '@'])).then_some(first)
}

fn uri_host(rest: &str) -> Option<String> {
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let parameter = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| decoded(value)).next_back()
    };
    let authority = before.split('/').next().unwrap_or_default();
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    let first = hosts.split(',').next().unwrap_or_default();
    let bare = match first.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => first.split(':').next().unwrap_or_default(),
    };
    parameter("hostaddr").or_else(|| parameter("host")).or_else(|| Some(decoded(bare)))
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// `keyword = value` pairs as libpq reads them: values may be in single quotes, a backslash escapes.
fn keywords(text: &str) -> Vec<(String, String)> {
    let mut pairs = vec![];
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| !c.is_whitespace() && *c != '=') {
            key.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if chars.next_if_eq(&'=').is_none() {
            return pairs;
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        while let Some(c) = chars.next_if(|c| if quoted { *c != '\'' } else { !c.is_whitespace() }) {
            let c = if c == '\\' { chars.next().unwrap_or('\\') } else { c };
            value.push(c);
        }
        chars.next_if(|c| quoted && *c == '\'');
        pairs.push((key, value));
    }
}

/// The addresses of active rows of a kind, sorted as text. A node without an address goes by its name, so that it is not
/// taken for absent.
fn addresses(rows: &[RepmgrNode], kind: &str) -> Vec<String> {
    let active = rows.iter().filter(|row| row.active && row.kind == kind);
    let mut addresses: Vec<String> = active.map(address).collect();
    addresses.sort_unstable();
    addresses
}

fn address(row: &RepmgrNode) -> String {
    host(&row.conninfo).unwrap_or_else(|| row.node_name.clone())
}

/// What a server with these rows answers, as the node of that name. No witness is an empty text: harepd takes an error for
/// an unreachable node.
pub fn i_know(rows: &[RepmgrNode], node_name: &str) -> IKnow {
    let me = rows.iter().find(|row| row.node_name == node_name);
    IKnow {
        ip: me.map(address).unwrap_or_default(),
        node_id: me.map_or(0, |row| row.node_id),
        node_name: node_name.to_owned(),
        witness: addresses(rows, "witness").into_iter().next().unwrap_or_default(),
        slaves: addresses(rows, "standby"),
        master: addresses(rows, "primary"),
    }
}

/// An answer names this node, and no other, as master. `us` are this node's own addresses or host names. A node that is
/// named as a slave as well is not named.
pub fn names_us(answer: &IKnow, us: &[String]) -> bool {
    match answer.master.as_slice() {
        [only] => is_us(only, us) && !answer.slaves.iter().any(|slave| is_us(slave, us)),
        _ => false,
    }
}

fn is_us(address: &str, us: &[String]) -> bool {
    use std::net::IpAddr;
    us.iter().any(|ours| match (ours.parse::<IpAddr>(), address.parse::<IpAddr>()) {
        (Ok(ours), Ok(theirs)) => ours.to_canonical() == theirs.to_canonical(),
        _ => ours.eq_ignore_ascii_case(address) && !address.is_empty(),
    })
}
