//! gate.yml: our own file. An unknown key is an error, because what it was to do would silently not be done.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_yaml_ng::Value;

use super::super::settings::{Haproxy, Isolated, Mode, Peer, PeerTrust, ReadOnly, Settings, Timings, Tls};
use super::section::{Case, Section};
use super::{ConfigError, Loaded, Machine, logs, values};

/// Where Patroni's paths are, unless a file says.
pub const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8008);

/// Reads the whole file.
pub fn read(file: &Section<'_>, machine: &Machine<'_>) -> Result<Loaded, ConfigError> {
    let settings = Settings {
        node: String::new(),
        mode: Mode::Dual,
        witness: false,
        listen: Some(LISTEN),
        peer_listen: None,
        agent_check_listen: None,
        peers: Vec::new(),
        database: "host=/var/run/postgresql dbname=postgres".to_owned(),
        hba_file: None,
        data_directory: None,
        repmgr_database: None,
        system_identifier: None,
        timings: Timings::default(),
        read_only: defaults(),
        isolated: Isolated::Close,
        veto: Vec::new(),
        state_dir: PathBuf::new(),
        trust: PeerTrust { verify_source: true, ..PeerTrust::default() },
        grpc: false,
        migrate_from_harepd: false,
        haproxy: None,
        harepd: None,
    };
    let mut loaded = Loaded { settings, logs: None, warnings: Vec::new(), state_dir_by_default: false };
    // A key that is misspelt is found here, before one is said to be missing.
    add(&mut loaded, file)?;
    let settings = &mut loaded.settings;
    if settings.node.is_empty() {
        return Err(
            file.error("node", "is missing: the name of this node, the one that repmgr knows where repmgr is used")
        );
    }
    if settings.state_dir.as_os_str().is_empty() {
        settings.state_dir = super::state_dir(&settings.node, machine)?;
    }
    Ok(loaded)
}

/// When a standby takes read-only traffic, unless a file says.
pub fn defaults() -> ReadOnly {
    ReadOnly {
        max_lag: Some(16 << 20),
        max_lag_time: Some(std::time::Duration::from_secs(10)),
        archive: false,
        on_primary: false,
    }
}

/// Takes what the section says over what is there already.
pub fn add(loaded: &mut Loaded, section: &Section<'_>) -> Result<(), ConfigError> {
    let settings = &mut loaded.settings;
    if let Some(node) = section.text("node")? {
        settings.node = values::node_name(section, "node", node)?;
    }
    listeners(settings, section)?;
    nodes(settings, section)?;
    sources(settings, section)?;
    timings(&mut settings.timings, section)?;
    read_only(&mut settings.read_only, section)?;
    set(&mut settings.isolated, isolated(section)?);
    if section.value("veto").is_some() {
        settings.veto = section.list("veto")?;
    }
    set(&mut settings.state_dir, section.text("state_dir")?.map(PathBuf::from));
    trust(&mut settings.trust, section)?;
    set(&mut settings.grpc, section.boolean("grpc")?);
    set(&mut settings.migrate_from_harepd, section.boolean("migrate_from_harepd")?);
    if settings.migrate_from_harepd && !settings.grpc {
        return Err(section.error("migrate_from_harepd", "needs grpc: true, the protocol that harepd speaks"));
    }
    haproxy(&mut settings.haproxy, section)?;
    if section.value("logs").is_some() {
        let of = section.section("logs")?;
        loaded.logs = logs::read(&of, ["file", "max_age", "rotate_every"])?;
        strict(&of)?;
    }
    strict(section)
}

fn strict(section: &Section<'_>) -> Result<(), ConfigError> {
    section.unknown().into_iter().next().map_or(Ok(()), Err)
}

fn set<T>(place: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *place = given;
    }
}

fn listeners(settings: &mut Settings, section: &Section<'_>) -> Result<(), ConfigError> {
    set(&mut settings.listen, values::listen(section, "listen")?);
    set(&mut settings.peer_listen, values::listen(section, "peer_listen")?);
    set(&mut settings.agent_check_listen, values::listen(section, "agent_check_listen")?);
    Ok(())
}

fn nodes(settings: &mut Settings, section: &Section<'_>) -> Result<(), ConfigError> {
    set(&mut settings.witness, section.boolean("witness")?);
    set(&mut settings.database, section.text("database")?);
    settings.hba_file = file(section, "hba_file")?.or(settings.hba_file.take());
    settings.data_directory = file(section, "data_directory")?.or(settings.data_directory.take());
    settings.system_identifier = section.number("system_identifier")?.or(settings.system_identifier);
    let Some(listed) = section.value("peers") else { return Ok(()) };
    let Value::Sequence(listed) = listed else {
        return Err(section.error("peers", "is a list of {name: NODE, address: HOST:PORT}"));
    };
    settings.peers.clear();
    for (at, item) in listed.iter().enumerate() {
        let of = Section::new(&format!("{}[{at}]", section.name("peers")), item, Case::Exact)?;
        let (name, address) = (of.text("name")?, of.text("address")?);
        let witness = of.boolean("witness")?.unwrap_or(false);
        strict(&of)?;
        let name = name.ok_or_else(|| of.error("name", "is missing: the name of that node"))?;
        let name = values::node_name(&of, "name", name)?;
        let address = address.ok_or_else(|| of.error("address", "is missing: HOST:PORT of its peer_listen"))?;
        let (host, port) = values::host_port(&address, None).map_err(|why| {
            of.error("address", format!("is no HOST:PORT: {address} ({why}); its peer_listen, such as 10.0.0.12:8009"))
        })?;
        if name == settings.node {
            return Err(of.error("name", format!("{name} is this node; list the others alone")));
        }
        let peer = Peer { name: Some(name), host, port, witness };
        if let Some(other) =
            settings.peers.iter().find(|other| other.name == peer.name || other.authority() == peer.authority())
        {
            return Err(of.error("address", format!("or name is that of another peer, {}", other.label())));
        }
        settings.peers.push(peer);
    }
    Ok(())
}

fn file(section: &Section<'_>, key: &'static str) -> Result<Option<PathBuf>, ConfigError> {
    let Some(path) = section.text(key)?.map(PathBuf::from) else { return Ok(None) };
    if path.is_absolute() {
        Ok(Some(path))
    } else {
        Err(section.error(key, "wants a path from the root, such as /etc/…"))
    }
}

fn sources(settings: &mut Settings, section: &Section<'_>) -> Result<(), ConfigError> {
    let database = section.text("repmgr_database")?;
    if section.value("sources").is_none() {
        settings.repmgr_database = database.or(settings.repmgr_database.take());
        return Ok(());
    }
    let mut repmgr = false;
    for source in section.list("sources")? {
        match source.as_str() {
            "repmgr" => repmgr = true,
            "native" => {}
            _ => return Err(section.error("sources", format!("knows repmgr and native, not {source}"))),
        }
    }
    if !repmgr && database.is_some() {
        return Err(section.error("repmgr_database", "is given, but sources has no repmgr"));
    }
    settings.repmgr_database = repmgr.then(|| database.unwrap_or_else(|| "repmgr".to_owned()));
    Ok(())
}

fn timings(timings: &mut Timings, section: &Section<'_>) -> Result<(), ConfigError> {
    set(&mut timings.round, section.time("round")?);
    set(&mut timings.lease, section.time("lease")?);
    set(&mut timings.deadline, section.time("deadline")?);
    set(&mut timings.watchdog, section.time("watchdog")?);
    set(&mut timings.detection, section.time("detection")?);
    set(&mut timings.veto, section.time("veto_deadline")?);
    timings.hold_down = section.time("hold_down")?.or(timings.hold_down);
    timings.skew = section.time("skew")?.or(timings.skew);
    Ok(())
}

fn read_only(read_only: &mut ReadOnly, section: &Section<'_>) -> Result<(), ConfigError> {
    let off =
        |key| Ok::<_, ConfigError>(section.text(key)?.is_some_and(|text| matches!(text.as_str(), "off" | "false")));
    if off("max_lag")? {
        read_only.max_lag = None;
    } else {
        read_only.max_lag = values::size(section, "max_lag")?.or(read_only.max_lag);
    }
    if off("max_lag_time")? {
        read_only.max_lag_time = None;
    } else {
        read_only.max_lag_time = section.time("max_lag_time")?.or(read_only.max_lag_time);
    }
    set(&mut read_only.archive, section.boolean("archive_only")?);
    set(&mut read_only.on_primary, section.boolean("ro_on_primary")?);
    Ok(())
}

fn isolated(section: &Section<'_>) -> Result<Option<Isolated>, ConfigError> {
    match section.text("isolated")?.as_deref() {
        None => Ok(None),
        Some("close") => Ok(Some(Isolated::Close)),
        Some("keep_if_sync") => Ok(Some(Isolated::KeepIfSync)),
        Some(other) => Err(section.error("isolated", format!("is close or keep_if_sync, not {other}"))),
    }
}

fn trust(trust: &mut PeerTrust, section: &Section<'_>) -> Result<(), ConfigError> {
    trust.secret_file = file(section, "secret_file")?.or(trust.secret_file.take());
    set(&mut trust.verify_source, section.boolean("verify_source")?);
    if section.value("tls").is_none() {
        return Ok(());
    }
    let of = section.section("tls")?;
    let tls = Tls {
        ca: file(&of, "ca")?,
        cert: file(&of, "cert")?,
        key: file(&of, "key")?,
        client_ca: file(&of, "client_ca")?,
    };
    strict(&of)?;
    if tls.cert.is_none() || tls.key.is_none() {
        return Err(of.error("cert", "and key are needed together: the peer listener shows them"));
    }
    trust.tls = Some(tls);
    Ok(())
}

fn haproxy(place: &mut Option<Haproxy>, section: &Section<'_>) -> Result<(), ConfigError> {
    if section.value("haproxy").is_none() {
        return Ok(());
    }
    let of = section.section("haproxy")?;
    let servers = of.list("servers")?;
    let servers = servers.iter().map(|server| values::ip(&of, "servers", server)).collect::<Result<Vec<_>, _>>()?;
    let haproxy = Haproxy {
        servers,
        read_write: of
            .text("read_write")?
            .ok_or_else(|| of.error("read_write", "is missing: the user of the check"))?,
        read_only: of.text("read_only")?,
        allow: of.text("allow")?.unwrap_or_else(|| "scram-sha-256".to_owned()),
        deny: of.text("deny")?.unwrap_or_else(|| "reject".to_owned()),
        databases: of.list("databases")?,
    };
    strict(&of)?;
    if haproxy.servers.is_empty() {
        return Err(of.error("servers", "is missing: the addresses that HAProxy calls from"));
    }
    methods(&of, &haproxy)?;
    *place = Some(haproxy);
    Ok(())
}

/// The two methods must differ in what `pgsql-check` sees.
pub fn methods(section: &Section<'_>, haproxy: &Haproxy) -> Result<(), ConfigError> {
    let method = |text: &str| text.split_whitespace().next().unwrap_or_default().trim_matches('"').to_owned();
    if method(&haproxy.deny) != "reject" {
        return Err(section.error(
            "deny",
            format!("is {}, which closes nothing: HAProxy's check passes with every method but reject", haproxy.deny),
        ));
    }
    if method(&haproxy.allow) == "reject" {
        return Err(section.error("allow", "is reject, so the gate would never open; scram-sha-256 is usual"));
    }
    Ok(())
}
