//! What `goahead serve` is told: flags over environment over file, and the original goahead's own file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::BoolishValueParser;
use serde::Deserialize;
use serde_yaml_ng::{Mapping, Value};

use crate::api::CertRole;
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

/// One source of settings: the flags and the environment together, or a file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Layer {
    /// The database, as a URL or a list of keyword=value; without it a private PostgreSQL is started
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true, help_heading = "Database")]
    pub database_url: Option<String>,
    /// Where the private PostgreSQL lives, and the first admin token is written [default: /var/lib/goahead as root, else goahead in the user's data folder]
    #[arg(long, value_name = "DIR", env = "GOAHEAD_DATA_DIR", help_heading = "Database")]
    pub data_dir: Option<PathBuf>,
    /// Where callers reach the service [default: 127.0.0.1:8443]
    #[arg(long, value_name = "ADDRESS", env = "GOAHEAD_LISTEN", help_heading = "Listeners")]
    pub listen: Option<String>,
    /// Where /live, /ready and /metrics are [default: 127.0.0.1:8444]
    #[arg(long, value_name = "ADDRESS", env = "GOAHEAD_ADMIN_LISTEN", help_heading = "Listeners")]
    pub admin_listen: Option<String>,
    /// Serve plain HTTP on addresses other than loopback
    #[arg(long, env = "GOAHEAD_INSECURE", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), help_heading = "Listeners")]
    #[serde(deserialize_with = "yaml::optional_boolean")]
    pub insecure: Option<bool>,
    /// Connections that may be open at once; more wait [default: 4096]
    #[arg(long, value_name = "N", env = "GOAHEAD_MAX_CONNECTIONS", help_heading = "Listeners", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: Option<u32>,
    /// The server's certificate and its chain (PEM); SIGHUP reads it again
    #[arg(long, value_name = "FILE", env = "GOAHEAD_TLS_CERT", help_heading = "TLS")]
    pub tls_cert: Option<PathBuf>,
    /// The private key (PEM)
    #[arg(long, value_name = "FILE", env = "GOAHEAD_TLS_KEY", help_heading = "TLS")]
    pub tls_key: Option<PathBuf>,
    /// Authorities of client certificates (PEM): a client that shows a certificate must show one of theirs
    #[arg(long, value_name = "FILE", env = "GOAHEAD_TLS_CLIENT_CA", help_heading = "TLS")]
    pub tls_client_ca: Option<PathBuf>,
    /// Every client must show a certificate
    #[arg(long, env = "GOAHEAD_TLS_REQUIRE_CLIENT_CERT", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), help_heading = "TLS")]
    #[serde(deserialize_with = "yaml::optional_boolean")]
    pub tls_require_client_cert: Option<bool>,
    /// The drop-in APIs too want a token or a client certificate
    #[arg(long, env = "GOAHEAD_REQUIRE_AUTH", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), help_heading = "Who may do what")]
    #[serde(deserialize_with = "yaml::optional_boolean")]
    pub require_auth: Option<bool>,
    /// A host speaks only for the names in its client certificate or token
    #[arg(long, env = "GOAHEAD_BIND_NAMES", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), help_heading = "Who may do what")]
    #[serde(deserialize_with = "yaml::optional_boolean")]
    pub bind_names: Option<bool>,
    /// Accept cluster settings that name commands over HTTP
    #[arg(long, env = "GOAHEAD_ALLOW_COMMANDS_OVER_HTTP", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), help_heading = "Who may do what")]
    #[serde(deserialize_with = "yaml::optional_boolean")]
    pub allow_commands_over_http: Option<bool>,
    /// A client certificate's role, as in ops.example.org=operator; may be repeated
    #[arg(
        long = "cert-role",
        value_name = "NAME=ROLE",
        env = "GOAHEAD_CERT_ROLES",
        value_delimiter = ',',
        help_heading = "Who may do what"
    )]
    pub cert_roles: Vec<String>,
    /// A name under which callers reach the service, beside those of its certificate; may be repeated
    #[arg(
        long = "public-host",
        value_name = "NAME",
        env = "GOAHEAD_PUBLIC_HOSTS",
        value_delimiter = ',',
        help_heading = "Who may do what"
    )]
    pub public_hosts: Vec<String>,
    /// Cluster files (*.yml) of this directory are imported at start and at SIGHUP
    #[arg(long, value_name = "DIR", env = "GOAHEAD_INCLUDE_DIR", help_heading = "Clusters and jobs")]
    pub include_dir: Option<PathBuf>,
    /// Run the jobs of the database (actions, checks) here [default: true with a private PostgreSQL, else false]
    #[arg(long, env = "GOAHEAD_RUN_JOBS", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), help_heading = "Clusters and jobs")]
    #[serde(deserialize_with = "yaml::optional_boolean")]
    pub run_jobs: Option<bool>,
    /// The user that programs run as when the service runs as root; never root [default: nobody]
    #[arg(long, value_name = "USER", env = "GOAHEAD_JOB_USER", help_heading = "Clusters and jobs")]
    pub job_user: Option<String>,
    /// How long a program may run [default: 20s]
    #[arg(long, value_name = "TIME", env = "GOAHEAD_TIMEOUT", value_parser = yaml::time, help_heading = "Clusters and jobs")]
    #[serde(deserialize_with = "yaml::optional_time")]
    pub timeout: Option<Duration>,
    /// As --log
    #[arg(skip)]
    pub log: Option<String>,
    /// As --log-format
    #[arg(skip)]
    pub log_format: Option<String>,
}

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

/// The files of the server's side of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate and chain
    pub certificate: PathBuf,
    /// Private key
    pub key: PathBuf,
    /// Authorities of client certificates
    pub client_authorities: Option<PathBuf>,
    /// Whether every client must show one
    pub require: bool,
}

/// What `goahead serve` does.
#[derive(Debug)]
pub struct Config {
    /// Where the database is
    pub target: Target,
    /// Where the first admin token is written
    pub token_dir: Option<PathBuf>,
    /// Where callers reach the service
    pub listen: SocketAddr,
    /// Where probes and metrics are
    pub admin_listen: SocketAddr,
    /// TLS; none: plain HTTP
    pub tls: Option<TlsFiles>,
    /// Whether the admin listener speaks TLS
    pub admin_tls: bool,
    /// Connections open at once
    pub max_connections: usize,
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
    fn over(self, under: Self) -> Self {
        let longer = |over: Vec<String>, under| if over.is_empty() { under } else { over };
        Self {
            database_url: self.database_url.filter(|url| !url.is_empty()).or(under.database_url),
            data_dir: self.data_dir.or(under.data_dir),
            listen: self.listen.or(under.listen),
            admin_listen: self.admin_listen.or(under.admin_listen),
            insecure: self.insecure.or(under.insecure),
            max_connections: self.max_connections.or(under.max_connections),
            tls_cert: self.tls_cert.or(under.tls_cert),
            tls_key: self.tls_key.or(under.tls_key),
            tls_client_ca: self.tls_client_ca.or(under.tls_client_ca),
            tls_require_client_cert: self.tls_require_client_cert.or(under.tls_require_client_cert),
            require_auth: self.require_auth.or(under.require_auth),
            bind_names: self.bind_names.or(under.bind_names),
            allow_commands_over_http: self.allow_commands_over_http.or(under.allow_commands_over_http),
            cert_roles: longer(self.cert_roles, under.cert_roles),
            public_hosts: longer(self.public_hosts, under.public_hosts),
            include_dir: self.include_dir.or(under.include_dir),
            run_jobs: self.run_jobs.or(under.run_jobs),
            job_user: self.job_user.or(under.job_user),
            timeout: self.timeout.or(under.timeout),
            log: self.log.or(under.log),
            log_format: self.log_format.or(under.log_format),
        }
    }

    fn resolve(self, original: bool, logging: &logging::Options, mut warnings: Vec<String>) -> Result<Config, String> {
        let listen = address("listen", self.listen.as_deref(), 8443)?;
        let admin_listen = address("admin-listen", self.admin_listen.as_deref(), 8444)?;
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
        if exposed(&listen) && tls.is_none() {
            if !insecure {
                return Err(plain("listen", listen));
            }
            warnings.push(format!("plain HTTP on {listen}: anyone on the way can read and change what hosts ask"));
        }
        let admin_tls = exposed(&admin_listen) && tls.is_some() && !insecure;
        if exposed(&admin_listen) && !admin_tls && !insecure {
            return Err(plain("admin-listen", admin_listen));
        }
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
            tls,
            admin_tls,
            max_connections: usize::try_from(self.max_connections.unwrap_or(4096)).unwrap_or(usize::MAX),
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

/// `host:port`, `:port`, or a bare port on loopback.
fn address(flag: &str, text: Option<&str>, default_port: u16) -> Result<SocketAddr, String> {
    let Some(text) = text else {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), default_port));
    };
    let wrong = |why: String| format!("--{flag} {text}: {why}; write ADDRESS:PORT, as in 127.0.0.1:{default_port}");
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let mut found = text.to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    found.next().ok_or_else(|| wrong("the name has no address".into()))
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
