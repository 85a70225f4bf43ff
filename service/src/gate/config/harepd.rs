//! conf.yml: harepd's file, with every key doing what it did or a warning that says why it cannot.
//!
//! harepd reads it with Go's yaml.v2, leniently: what it does not know it skips. The forms that its README prints and
//! its own program does not read, such as TLS keys directly under gRPC, are read here too.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde_yaml_ng::Value;

use super::super::settings::{Haproxy, Harepd, Isolated, Mode, PeerTrust, ReadOnly, Settings, Timings, Tls};
use super::section::{Case, Section};
use super::{ConfigError, Loaded, Machine, harepd_peers, logs, own, values};

/// Reads what stands under `harepd:`.
pub fn read(value: &Value, mode: Mode, machine: &Machine<'_>) -> Result<Loaded, ConfigError> {
    let file = Section::new("harepd", value, Case::Any)?;
    let mut warnings = Vec::new();
    let node =
        file.text("nodeName")?.ok_or_else(|| file.error("nodeName", "is missing: the node_name of repmgr.conf"))?;
    let node = values::node_name(&file, "nodeName", node)?;
    let grpc = file.section("gRPC")?;
    let primary_ip = primary_ip(&file, &grpc, &mut warnings)?;
    let listen = listen(&grpc, primary_ip, machine, &mut warnings)?;
    let (peers, witness) = harepd_peers::read(&grpc, primary_ip, listen, machine, &mut warnings)?;
    let allow_ro = file.boolean("allowRO")?.unwrap_or(false);
    let repmgr = repmgr(&file, &mut warnings)?;
    let haproxy = haproxy(&file, allow_ro, &repmgr, mode, witness, &mut warnings)?;
    let hba_file = file.text("hbaConfig")?.map(PathBuf::from);
    if hba_file.is_none() && mode != Mode::ServerOnly && !witness {
        warnings.push(
            "harepd.hbaConfig is missing; the file is asked from the database, so while that is down at the start \
             nothing is closed in it"
                .to_owned(),
        );
    }
    let settings = Settings {
        state_dir: super::state_dir(&node, machine)?,
        node,
        mode,
        witness,
        listen: Some(own::LISTEN),
        peer_listen: Some(listen),
        agent_check_listen: None,
        peers,
        database: database(&repmgr, machine),
        hba_file,
        data_directory: None,
        repmgr_database: Some(repmgr),
        system_identifier: None,
        timings: timings(&file, &grpc, &mut warnings)?,
        read_only: ReadOnly { on_primary: allow_ro, ..own::defaults() },
        isolated: Isolated::Close,
        veto: Vec::new(),
        trust: PeerTrust { verify_source: true, tls: tls(&grpc, &mut warnings)?, secret_file: None },
        grpc: true,
        migrate_from_harepd: false,
        haproxy,
        harepd: Some(Harepd { primary_ip }),
    };
    if grpc.text("serverHostOverride")?.is_some() {
        warnings.push("harepd.gRPC.serverHostOverride has no effect; it had none in harepd".to_owned());
    }
    let of_logs = file.section("logs")?;
    let logs = logs::read(&of_logs, ["filePath", "maxAge", "rotationTime"])?;
    for section in [&file, &grpc, &of_logs] {
        warnings.extend(section.unknown().iter().map(|unknown| format!("{unknown}; it is ignored, as harepd did")));
    }
    Ok(Loaded { settings, logs, warnings, state_dir_by_default: false })
}

/// This node as repmgr's conninfo has it.
fn primary_ip(file: &Section<'_>, grpc: &Section<'_>, warnings: &mut Vec<String>) -> Result<IpAddr, ConfigError> {
    if let Some(text) = file.text("primaryIP")? {
        return values::ip(file, "primaryIP", &text);
    }
    let Some(bind) = grpc.text("bindAddress")? else {
        return Err(file.error("primaryIP", "is missing: this node's address in the conninfo of repmgr.conf"));
    };
    warnings.push(format!("harepd.primaryIP is missing; bindAddress {bind} is taken for this node's address"));
    values::ip(grpc, "bindAddress", &bind)
}

fn listen(
    grpc: &Section<'_>,
    primary_ip: IpAddr,
    machine: &Machine<'_>,
    warnings: &mut Vec<String>,
) -> Result<SocketAddr, ConfigError> {
    let port = grpc.number("bindPort")?.ok_or_else(|| {
        grpc.error("bindPort", "is missing: the port where the other nodes ask this one, 10000 in harepd's README")
    })?;
    let port = u16::try_from(port).ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| grpc.error("bindPort", "is a port from 1 to 65535"))?;
    let Some(text) = grpc.text("bindAddress")? else {
        warnings.push(
            "harepd.gRPC.bindAddress is missing; as harepd, the gate listens on every address of this machine"
                .to_owned(),
        );
        return Ok(SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), port));
    };
    let mut address = values::ip(grpc, "bindAddress", &text)?;
    if !(machine.is_ours)(address) {
        // harepd's server did not start on such an address, and in dual mode said nothing about it.
        let ours = (machine.is_ours)(primary_ip);
        warnings.push(if ours {
            format!(
                "harepd.gRPC.bindAddress {address} is no address of this machine; primaryIP {primary_ip} is, and the \
                 gate listens there: correct bindAddress"
            )
        } else {
            format!("harepd.gRPC.bindAddress {address} is no address of this machine, nor is primaryIP {primary_ip}")
        });
        if ours {
            address = primary_ip;
        }
    }
    Ok(SocketAddr::new(address, port))
}

fn repmgr(file: &Section<'_>, warnings: &mut Vec<String>) -> Result<String, ConfigError> {
    let section = file.section("repmgr")?;
    if let Some(user) = section.text("user")?.filter(|user| user != "repmgr") {
        warnings.push(format!(
            "harepd.repmgr.user {user} has no effect, as in harepd: the database is asked as the user that runs \
             the gate (to change that: goahead.database)"
        ));
    }
    let database = section.text("db")?;
    warnings.extend(section.unknown().iter().map(ToString::to_string));
    Ok(database.unwrap_or_else(|| {
        warnings.push("harepd.repmgr.db is missing; repmgr is taken".to_owned());
        "repmgr".to_owned()
    }))
}

/// harepd gives its library a database's name alone, which takes the rest from the environment.
fn database(name: &str, machine: &Machine<'_>) -> String {
    let mut text = String::new();
    for (keyword, variable) in [("host", "PGHOST"), ("port", "PGPORT"), ("user", "PGUSER")] {
        if let Some(value) = (machine.env)(variable) {
            text.push_str(&format!("{keyword}={} ", values::conninfo(&value)));
        }
    }
    text + &format!("dbname={}", values::conninfo(name))
}

fn timings(file: &Section<'_>, grpc: &Section<'_>, warnings: &mut Vec<String>) -> Result<Timings, ConfigError> {
    let defaults = Timings::default();
    let seconds = |section: &Section<'_>, key| -> Result<Option<Duration>, ConfigError> {
        match section.text(key)?.as_deref() {
            Some("0") => Ok(None),
            Some(text) => match text.parse::<f64>() {
                // Fractions of a second are new.
                Ok(seconds) => Duration::try_from_secs_f64(seconds)
                    .map(Some)
                    .map_err(|_| section.error(key, format!("is a number of seconds, not {text}"))),
                Err(_) => section.time(key),
            },
            None => Ok(None),
        }
    };
    let asked = seconds(file, "watchDog")?;
    let round = asked.map_or(defaults.round, |asked| asked.min(defaults.round));
    match asked {
        Some(asked) if asked > round => warnings.push(format!(
            "harepd.watchDog: {asked:?} between two looks is more than a lease may last; the gate looks every {round:?} \
             (to change that: goahead.round, with goahead.lease and goahead.hold_down)"
        )),
        Some(_) => {}
        None => warnings.push(format!("harepd.watchDog is missing or 0, with which harepd never looked; {round:?} is taken")),
    }
    let wanted = seconds(grpc, "connectionDeadline")?;
    let longest = round.mul_f64(0.8);
    let deadline = wanted.map_or(longest, |wanted| wanted.min(longest));
    match wanted {
        Some(wanted) if wanted > deadline => warnings.push(format!(
            "harepd.gRPC.connectionDeadline: {wanted:?} is longer than a round; a node that has not answered within \
             {deadline:?}, connecting included, counts as silent in that round"
        )),
        Some(_) => {}
        None => warnings.push(format!(
            "harepd.gRPC.connectionDeadline is missing or 0, with which every call of harepd failed; {deadline:?} is taken"
        )),
    }
    Ok(Timings { round, deadline, lease: round * 3, ..defaults })
}

/// The keys under gRPC.tls, or those directly under gRPC where the README's indentation has put them.
fn tls(grpc: &Section<'_>, warnings: &mut Vec<String>) -> Result<Option<Tls>, ConfigError> {
    let below = grpc.section("tls")?;
    let read = |section: &Section<'_>| -> Result<_, ConfigError> {
        let path = |key| Ok::<_, ConfigError>(section.text(key)?.map(PathBuf::from));
        Ok((section.boolean("enabled")?, path("ca")?, path("cert")?, path("key")?))
    };
    let nested = read(&below)?;
    let direct = read(grpc)?;
    warnings.extend(below.unknown().iter().map(ToString::to_string));
    let is_nested = nested != (None, None, None, None);
    if is_nested && direct != (None, None, None, None) {
        warnings.push("harepd.gRPC has TLS keys both under tls and beside it; those under tls count".to_owned());
    }
    let (section, (enabled, ca, cert, key)) = if is_nested { (&below, nested) } else { (grpc, direct) };
    if !enabled.unwrap_or(false) {
        return Ok(None);
    }
    if !is_nested {
        warnings.push(
            "harepd.gRPC.enabled: true switches TLS on here; harepd itself reads only gRPC.tls.enabled and speaks \
             without TLS: indent the keys below tls where nodes still run harepd"
                .to_owned(),
        );
    }
    let needed = |key: &str, value: Option<PathBuf>| {
        value.map(Some).ok_or_else(|| section.error(key, "is missing; TLS is enabled and needs ca, cert and key"))
    };
    Ok(Some(Tls { ca: needed("ca", ca)?, cert: needed("cert", cert)?, key: needed("key", key)?, client_ca: None }))
}

/// The lines that harepd wrote: `host <repmgr.db> <user> <server>/32 <method>`. The check of HAProxy names no database,
/// so beside that database they are for the one with the user's own name.
fn haproxy(
    file: &Section<'_>,
    allow_ro: bool,
    database: &str,
    mode: Mode,
    witness: bool,
    warnings: &mut Vec<String>,
) -> Result<Option<Haproxy>, ConfigError> {
    let section = file.section("haproxy")?;
    let users = section.section("users")?;
    let (modes, allow, deny) = auth_modes(file, &section, warnings)?;
    let read_write = users.text("readWrite")?;
    let read_only = users.text("readOnly")?;
    let mut servers = Vec::new();
    for server in section.list("server")? {
        let address = values::ip(&section, "server", &server)?;
        if address.is_ipv6() {
            warnings.push(format!("harepd.haproxy.server {address}: the line is for {address}/128; harepd wrote /32"));
        }
        if !servers.contains(&address) {
            servers.push(address);
        }
    }
    for section in [&section, &users] {
        warnings.extend(section.unknown().iter().map(ToString::to_string));
    }
    if mode == Mode::ServerOnly || witness {
        return Ok(None);
    }
    if servers.is_empty() {
        warnings.push("harepd.haproxy.server is empty: only rules of the extension are gated".to_owned());
        return Ok(None);
    }
    let read_write = read_write.ok_or_else(|| users.error("readWrite", "is missing: the user of HAProxy's check"))?;
    let read_only = match (allow_ro, read_only) {
        (true, None) => return Err(users.error("readOnly", "is missing, and allowRO is true")),
        (true, user) => user,
        (false, Some(user)) => {
            warnings.push(format!("harepd.allowRO is false: no line is written for {user}, as with harepd"));
            None
        }
        (false, None) => None,
    };
    for name in [&read_write, database].into_iter().chain(read_only.as_deref()) {
        if name.starts_with(['+', '@', '/', '"'])
            || name.contains(',')
            || name == "all"
            || name.contains(char::is_whitespace)
        {
            warnings.push(format!(
                "harepd.haproxy: {name} is now the name of one user or database and is quoted; in harepd's lines it \
                 was a word of pg_hba.conf"
            ));
        }
    }
    if read_only.as_ref() == Some(&read_write) {
        return Err(users.error("readOnly", "is the same user as readWrite, so both checks would see the same line"));
    }
    let haproxy = Haproxy { servers, read_write, read_only, allow, deny, databases: vec![database.to_owned()] };
    own::methods(&modes, &haproxy)?;
    if haproxy.allow.split_whitespace().next() == Some("trust") {
        warnings.push(
            "harepd.authModes.allow is trust: whoever can call from HAProxy's address logs in as that user without a \
             password; scram-sha-256 serves the check as well"
                .to_owned(),
        );
    }
    Ok(Some(haproxy))
}

/// Where the methods stand, and the methods: at the level where harepd reads them, or within haproxy.
fn auth_modes<'a>(
    file: &Section<'a>,
    haproxy: &Section<'a>,
    warnings: &mut Vec<String>,
) -> Result<(Section<'a>, String, String), ConfigError> {
    let outer = file.section("authModes")?;
    let inner = haproxy.section("authModes")?;
    let read = |key, usual: &str, warnings: &mut Vec<String>| -> Result<String, ConfigError> {
        let (out, within) = (outer.text(key)?, inner.text(key)?);
        if out.is_some() && within.is_some() && out != within {
            warnings.push(format!("{} counts, not {}", outer.name(key), inner.name(key)));
        }
        Ok(out.or(within).unwrap_or_else(|| {
            warnings.push(format!("{} is missing; {usual} is taken", outer.name(key)));
            usual.to_owned()
        }))
    };
    let allow = read("allow", "scram-sha-256", warnings)?;
    let deny = read("deny", "reject", warnings)?;
    for section in [&outer, &inner] {
        warnings.extend(section.unknown().iter().map(ToString::to_string));
    }
    Ok((outer, allow, deny))
}
