//! One source of settings of `goahead serve`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_yaml_ng::Value;

use crate::{rendezvous, yaml};

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
    /// Where callers reach the service; `off` opens none [default: 127.0.0.1:8443]
    #[arg(long, value_name = "ADDRESS", env = "GOAHEAD_LISTEN", help_heading = "Listeners")]
    pub listen: Option<String>,
    /// Where /live, /ready and /metrics are [default: 127.0.0.1:8444]
    #[arg(long, value_name = "ADDRESS", env = "GOAHEAD_ADMIN_LISTEN", help_heading = "Listeners")]
    pub admin_listen: Option<String>,
    /// Where callers wait for each other, as with web-rendezvous [default: 127.0.0.1:8080, unless another program has it]
    #[arg(long, value_name = "ADDRESS", env = "GOAHEAD_RENDEZVOUS_LISTEN", help_heading = "Listeners")]
    pub rendezvous_listen: Option<String>,
    /// Serve plain HTTP on addresses other than loopback
    #[arg(long, env = "GOAHEAD_INSECURE", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), help_heading = "Listeners")]
    #[serde(deserialize_with = "yaml::optional_boolean")]
    pub insecure: Option<bool>,
    /// Connections that a listener may have open at once; more wait [default: 4096, at the rendezvous 16384]
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
    /// How long a request of the rendezvous listener waits that does not say: seconds, or 1m30s [default: 30s]
    #[arg(long, value_name = "TIME", env = "GOAHEAD_RENDEZVOUS_TIMEOUT", value_parser = rendezvous::time, help_heading = "Rendezvous")]
    #[serde(deserialize_with = "optional_wait")]
    pub rendezvous_timeout: Option<Duration>,
    /// Where the databases of /_postgres/NAME are: a URL as for --database-url, with {{.}} for the name
    #[arg(long, value_name = "URL", env = "GOAHEAD_POSTGRES_URL", hide_env_values = true, help_heading = "Rendezvous")]
    pub postgres_url: Option<String>,
    /// What /_port/ and /_http/ may try, with commas: networks (10.0.0.0/8), hosts, *.example.org, `default`, `none` or `any` [default: private and loopback addresses, and names without dots]
    #[arg(long, value_name = "LIST", env = "GOAHEAD_PROBE_ALLOW", help_heading = "Rendezvous")]
    pub probe_allow: Option<String>,
    /// Keep the signals of an earlier run [default: true; called as web-rendezvous: false]
    #[arg(long, env = "GOAHEAD_KEEP_MARKS", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new(), help_heading = "Rendezvous")]
    #[serde(deserialize_with = "yaml::optional_boolean")]
    pub keep_marks: Option<bool>,
    /// As --log
    #[arg(skip)]
    pub log: Option<String>,
    /// As --log-format
    #[arg(skip)]
    pub log_format: Option<String>,
}

impl Layer {
    /// These settings where they say something, else those of `under`.
    pub fn over(self, under: Self) -> Self {
        let longer = |over: Vec<String>, under| if over.is_empty() { under } else { over };
        Self {
            database_url: self.database_url.filter(|url| !url.is_empty()).or(under.database_url),
            data_dir: self.data_dir.or(under.data_dir),
            listen: self.listen.or(under.listen),
            admin_listen: self.admin_listen.or(under.admin_listen),
            rendezvous_listen: self.rendezvous_listen.or(under.rendezvous_listen),
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
            rendezvous_timeout: self.rendezvous_timeout.or(under.rendezvous_timeout),
            postgres_url: self.postgres_url.or(under.postgres_url),
            probe_allow: self.probe_allow.or(under.probe_allow),
            keep_marks: self.keep_marks.or(under.keep_marks),
            log: self.log.or(under.log),
            log_format: self.log_format.or(under.log_format),
        }
    }
}

/// An optional time from zero, as [`rendezvous::time`] reads it.
fn optional_wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) => rendezvous::time(&text).map(Some).map_err(D::Error::custom),
        Value::Number(number) => rendezvous::time(&number.to_string()).map(Some).map_err(D::Error::custom),
        _ => Err(D::Error::custom("a time is wanted, such as 30s or 1m30s")),
    }
}
