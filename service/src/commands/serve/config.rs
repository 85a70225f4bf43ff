//! What `goahead serve` is told: flags over environment over file, and the original goahead's own file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_yaml_ng::{Mapping, Value};

pub use super::layer::Layer;

use crate::api::CertRole;
use crate::listener::tls::TlsFiles;
use crate::probe::{Allow, Template};
use crate::{logging, yaml};

/// Keys that only the original's config.yml has; one of them makes a file the original's.
const ORIGINAL_KEYS: [&str; 8] = [
    "listen_address",
    "listen_port",
    "ssl_private_key",
    "ssl_certificate_file",
    "ssl_require_and_verify_client_cert",
    "ssl_client_cert_ca_file",
    "save_state_dir",
    "log_base_dir",
];

/// The settings of the original that ours have no other place for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Original {
    listen_address: String,
    listen_port: u16,
    ssl_private_key: Option<PathBuf>,
    ssl_certificate_file: Option<PathBuf>,
    #[serde(deserialize_with = "yaml::optional_boolean")]
    ssl_require_and_verify_client_cert: Option<bool>,
    ssl_client_cert_ca_file: Option<PathBuf>,
}

/// Where the database is.
#[derive(Debug, Clone)]
pub enum Target {
    /// A database of the operator's
    Url(String),
    /// A private PostgreSQL below this directory
    Embedded(PathBuf),
}

/// What `goahead serve` does.
#[derive(Debug)]
pub struct Config {
    /// Where the database is
    pub target: Target,
    /// Where the first admin token is written
    pub token_dir: Option<PathBuf>,
    /// Where callers reach the service; none: nowhere
    pub listen: Option<SocketAddr>,
    /// Where probes and metrics are
    pub admin_listen: Option<SocketAddr>,
    /// Where callers wait for each other
    pub rendezvous_listen: Option<SocketAddr>,
    /// Nobody asked for this very address of the rendezvous, so that the service does without it where it is taken
    pub rendezvous_listen_is_default: bool,
    /// TLS; none: plain HTTP
    pub tls: Option<TlsFiles>,
    /// Whether the admin listener speaks TLS
    pub admin_tls: bool,
    /// Whether the rendezvous listener speaks TLS
    pub rendezvous_tls: bool,
    /// How long a request there waits that does not say
    pub rendezvous_timeout: Duration,
    /// Where the databases are that are probed there
    pub postgres_template: Option<Template>,
    /// What may be probed there
    pub probe_allow: Allow,
    /// Whether signals of an earlier run stay
    pub keep_marks: bool,
    /// Connections open at once
    pub max_connections: usize,
    /// The same at the rendezvous, where most of them wait
    pub rendezvous_max_connections: usize,
    /// For the API
    pub require_auth: bool,
    /// For the API
    pub bind_names: bool,
    /// For the API
    pub allow_commands_over_http: bool,
    /// For the API
    pub cert_roles: Vec<CertRole>,
    /// For the API
    pub public_hosts: Vec<String>,
    /// Cluster files to import
    pub include_dir: Option<PathBuf>,
    /// Whether jobs run here
    pub run_jobs: bool,
    /// The user programs run as, by name
    pub job_user: Option<String>,
    /// How long a program may run
    pub timeout: Duration,
    /// How to log
    pub logging: logging::Options,
    /// To be logged once logging runs
    pub warnings: Vec<String>,
}

impl Config {
    /// Merges `flags` (with the environment already in them) over the file at `path`.
    ///
    /// # Errors
    /// Which setting is wrong, and how to mend it.
    pub fn load(flags: Layer, path: Option<&Path>, logging: &logging::Options) -> Result<Self, String> {
        let mut warnings = Vec::new();
        let (file, original) = match path {
            None => (Layer::default(), false),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("cannot read the config file {}: {error}", path.display()))?;
                read(&text, &mut warnings).map_err(|error| format!("config file {}: {error}", path.display()))?
            }
        };
        flags.over(file).resolve(original, logging, warnings)
    }
}

/// The settings in a file, and whether it is the original's.
fn read(text: &str, warnings: &mut Vec<String>) -> Result<(Layer, bool), String> {
    let mapping = match serde_yaml_ng::from_str(text).map_err(|error| error.to_string())? {
        Value::Mapping(mapping) => mapping,
        Value::Null => Mapping::new(),
        _ => return Err("settings are wanted, one `name: value` a line".into()),
    };
    if !ORIGINAL_KEYS.iter().any(|key| mapping.contains_key(key)) {
        let layer = serde_yaml_ng::from_value(Value::Mapping(mapping)).map_err(|error| error.to_string())?;
        return Ok((layer, false));
    }
    let original: Original =
        serde_yaml_ng::from_value(Value::Mapping(mapping.clone())).map_err(|error| error.to_string())?;
    let known: Mapping = mapping.into_iter().filter(|(key, _)| !is_original(key)).collect();
    let mut ours = Mapping::new();
    for (key, value) in known {
        let single = Mapping::from_iter([(key.clone(), value)]);
        match serde_yaml_ng::from_value::<Layer>(Value::Mapping(single.clone())) {
            Ok(_) => ours.extend(single),
            // The original ignores what it does not know.
            Err(error) if error.to_string().contains("unknown field") => {
                warnings.push(format!("the config file's key {} is unknown and ignored", shown(&key)));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    let mut layer: Layer = serde_yaml_ng::from_value(Value::Mapping(ours)).map_err(|error| error.to_string())?;
    original.into(&mut layer);
    warnings.push(
        "this is a configuration of the original goahead: its listen_address may be reached from the network without \
         credentials, as it was; save_state_dir and log_base_dir have no meaning here (state is in the database, the \
         log on standard error)"
            .into(),
    );
    Ok((layer, true))
}

fn is_original(key: &Value) -> bool {
    key.as_str().is_some_and(|key| ORIGINAL_KEYS.contains(&key))
}

fn shown(key: &Value) -> String {
    key.as_str().map_or_else(|| format!("{key:?}"), |key| format!("{key:?}"))
}

impl Original {
    /// Defaults: config.go of the original.
    fn into(self, layer: &mut Layer) {
        let address = if self.listen_address.is_empty() { "0.0.0.0" } else { &self.listen_address };
        let port = if self.listen_port == 0 { 8443 } else { self.listen_port };
        layer.listen.get_or_insert(match address.contains(':') && !address.starts_with('[') {
            true => format!("[{address}]:{port}"),
            false => format!("{address}:{port}"),
        });
        let require = self.ssl_require_and_verify_client_cert == Some(true);
        layer.tls_cert = layer.tls_cert.take().or(self.ssl_certificate_file);
        layer.tls_key = layer.tls_key.take().or(self.ssl_private_key);
        layer.tls_require_client_cert = layer.tls_require_client_cert.or(Some(require));
        // The original insists on this file, but reads it only when client certificates are required.
        let authorities = self.ssl_client_cert_ca_file.filter(|path| require || path.exists());
        layer.tls_client_ca = layer.tls_client_ca.take().or(authorities);
    }
}

impl Layer {
    fn resolve(self, original: bool, logging: &logging::Options, mut warnings: Vec<String>) -> Result<Config, String> {
        let listen = address("listen", self.listen.as_deref(), 8443)?;
        let admin_listen = address("admin-listen", self.admin_listen.as_deref(), 8444)?;
        let rendezvous_listen = address("rendezvous-listen", self.rendezvous_listen.as_deref(), 8080)?;
        if listen.or(admin_listen).or(rendezvous_listen).is_none() {
            return Err(
                "there is nothing to serve: --listen, --admin-listen and --rendezvous-listen are all off".into()
            );
        }
        let require = self.tls_require_client_cert == Some(true);
        let tls = match (self.tls_cert, self.tls_key) {
            (Some(certificate), Some(key)) => {
                if require && self.tls_client_ca.is_none() {
                    return Err(
                        "--tls-require-client-cert needs --tls-client-ca: whose certificates are accepted".into()
                    );
                }
                Some(TlsFiles { certificate, key, client_authorities: self.tls_client_ca, require })
            }
            (None, None) if require || self.tls_client_ca.is_some() => {
                return Err("client certificates need TLS: give --tls-cert and --tls-key".into());
            }
            (None, None) => None,
            _ => return Err("--tls-cert and --tls-key are needed together".into()),
        };
        let insecure = self.insecure == Some(true) || original;
        let exposed = |address: &SocketAddr| !address.ip().is_loopback();
        if let Some(listen) = listen.filter(|address| exposed(address) && tls.is_none()) {
            if !insecure {
                return Err(plain("listen", listen));
            }
            warnings.push(format!("plain HTTP on {listen}: anyone on the way can read and change what hosts ask"));
        }
        // Probes and waiting containers speak plain HTTP where that is safe, or was agreed to.
        let beside = |flag, address: Option<SocketAddr>| match address.filter(exposed) {
            None => Ok(false),
            Some(_) if insecure => Ok(false),
            Some(_) if tls.is_some() => Ok(true),
            Some(address) => Err(plain(flag, address)),
        };
        let admin_tls = beside("admin-listen", admin_listen)?;
        let rendezvous_tls = beside("rendezvous-listen", rendezvous_listen)?;
        if let Some(address) = rendezvous_listen.filter(|address| exposed(address) && !rendezvous_tls) {
            warnings.push(format!(
                "the rendezvous on {address} is plain HTTP: whoever reaches it may wait, signal, and probe what \
                 --probe-allow allows"
            ));
        }
        let postgres_template = self.postgres_url.as_deref().map(Template::parse).transpose();
        let postgres_template = postgres_template.map_err(|error| format!("--postgres-url: {error}"))?;
        let probe_allow = self.probe_allow.as_deref().map(str::parse::<Allow>).transpose();
        let probe_allow = probe_allow.map_err(|error| format!("--probe-allow: {error}"))?.unwrap_or_default();
        let (target, token_dir) = match self.database_url {
            Some(url) => (Target::Url(url), self.data_dir),
            None => {
                let directory = self.data_dir.map_or_else(crate::db::default_data_directory, Ok)?;
                (Target::Embedded(directory.clone()), Some(directory))
            }
        };
        let cert_roles = self
            .cert_roles
            .iter()
            .map(|role| role.parse().map_err(|error| format!("--cert-role {role}: {error}")))
            .collect::<Result<_, _>>()?;
        let mut logging = logging.clone();
        logging.filter = logging.filter.or(self.log);
        if let (None, Some(format)) = (logging.format, self.log_format) {
            logging.format = Some(
                clap::ValueEnum::from_str(&format, true)
                    .map_err(|_| format!("log_format {format:?} is not supported; use text or json"))?,
            );
        }
        Ok(Config {
            run_jobs: self.run_jobs.unwrap_or(matches!(target, Target::Embedded(_))),
            target,
            token_dir,
            listen,
            admin_listen,
            rendezvous_listen,
            rendezvous_listen_is_default: self.rendezvous_listen.is_none(),
            tls,
            admin_tls,
            rendezvous_tls,
            rendezvous_timeout: self.rendezvous_timeout.unwrap_or(Duration::from_secs(30)),
            postgres_template,
            probe_allow,
            keep_marks: self.keep_marks.unwrap_or(true),
            max_connections: usize::try_from(self.max_connections.unwrap_or(4096)).unwrap_or(usize::MAX),
            rendezvous_max_connections: usize::try_from(self.max_connections.unwrap_or(16384)).unwrap_or(usize::MAX),
            require_auth: self.require_auth == Some(true),
            bind_names: self.bind_names == Some(true),
            allow_commands_over_http: self.allow_commands_over_http == Some(true),
            cert_roles,
            public_hosts: self.public_hosts,
            include_dir: self.include_dir,
            job_user: self.job_user,
            timeout: self.timeout.unwrap_or(Duration::from_secs(20)),
            logging,
            warnings,
        })
    }
}

fn plain(flag: &str, address: SocketAddr) -> String {
    format!(
        "--{flag} {address} is not a loopback address: give --tls-cert and --tls-key, or --insecure to serve plain HTTP there"
    )
}

/// `host:port`; `off` for none, a loopback address for nothing said.
fn address(flag: &str, text: Option<&str>, default_port: u16) -> Result<Option<SocketAddr>, String> {
    let text = match text {
        None => return Ok(Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), default_port))),
        Some("off") => return Ok(None),
        Some(text) => text,
    };
    let wrong = |why: String| {
        format!(
            "--{flag} {text}: {why}; write ADDRESS:PORT, as in 127.0.0.1:{default_port}, or off for no such listener"
        )
    };
    if let Ok(address) = text.parse() {
        return Ok(Some(address));
    }
    let mut found = text.to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    found.next().map(Some).ok_or_else(|| wrong("the name has no address".into()))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
