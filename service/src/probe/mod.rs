//! Probes: whether something out there is ready. A port is open, a web server answers, a database takes a query, a file
//! exists.
//!
//! A service that probes for whoever asks is a scanner of its own network, so every connection is judged by an
//! [`Allow`]: by the address that is connected to, after the name has been looked up, for every kind of target. A name
//! is looked up anew for each try: what it means may be what is being waited for.

mod allow;
mod file;
mod http;
mod port;
mod postgres;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

pub use self::allow::Allow;
pub use self::postgres::{Server, Template};

use self::http::Tls;

/// How long one try may take, unless the prober is told otherwise.
pub const EACH: Duration = Duration::from_secs(2);
/// Pauses between two tries of one target: the first, and what they grow to.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Tries of one prober under way at once: each takes a socket, and a thread while a name is looked up. More wait.
const AT_ONCE: usize = 256;

/// What is probed.
#[derive(Clone)]
pub enum Target {
    /// A TCP port that accepts a connection
    Port {
        /// A name, or an address without brackets
        host: String,
        /// 1 to 65535
        port: u16,
    },
    /// A web page that is answered with 2xx; a redirect is not followed. Made by [`Target::http`].
    Http(Uri),
    /// A database that answers `SELECT 1`
    Postgres(Box<Server>),
    /// A file or directory that exists on this machine
    File(PathBuf),
}

/// Why a try was no success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Miss {
    /// Another try may succeed
    #[error("{0}")]
    NotYet(String),
    /// The allow-list does not contain the target; says how to change that
    #[error("{0}")]
    Refused(String),
    /// No try can succeed: the target itself is wrong
    #[error("{0}")]
    Wrong(String),
}

impl Target {
    /// The target that a URL names: `tcp://host:port`, `http://…`, `https://…`, `postgres://…` (as libpq reads it) or
    /// `file:///path`.
    ///
    /// # Errors
    /// What is wrong with it; never with a password in it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err("a URL is wanted: tcp://, http://, https://, postgres:// or file://".into());
        };
        match scheme.to_ascii_lowercase().as_str() {
            "tcp" => Self::port(rest.strip_suffix('/').unwrap_or(rest)),
            "http" | "https" => Self::http(url),
            "postgres" | "postgresql" => Ok(Self::Postgres(Box::new(Server::parse(url)?))),
            "file" => file::target(rest),
            _ => Err(format!("{scheme}:// is not known here; use tcp, http, https, postgres or file")),
        }
    }

    /// The target `host:port`; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn port(text: &str) -> Result<Self, String> {
        let wanted = || format!("{text:?} is no host:port, such as db:5432 or [::1]:5432");
        let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
        let host = match host.strip_prefix('[') {
            Some(address) => address.strip_suffix(']').ok_or_else(wanted)?,
            None if host.contains(':') => return Err(wanted()),
            None => host,
        };
        Self::host_and_port(host, port)
    }

    /// The target of a host and a port that were given apart, as in `/_port/host/port`.
    ///
    /// # Errors
    /// Which of the two is wrong.
    pub fn host_and_port(host: &str, port: &str) -> Result<Self, String> {
        let host = port::bare(host);
        if !port::could_be_a_host(host) {
            return Err(format!("{host:?} is no host name or address"));
        }
        match port.parse() {
            // parse() takes "+80" too.
            Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Self::Port { host: host.to_owned(), port: number })
            }
            _ => Err(format!("{port:?} is no port; a number from 1 to 65535 is wanted")),
        }
    }

    /// The web page of an `http://` or `https://` URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn http(url: &str) -> Result<Self, String> {
        http::target(url)
    }
}

/// As a URL, with the user and database of a PostgreSQL server but no password.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Port { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Http(uri) => write!(f, "{uri}"),
            Self::Postgres(server) => write!(f, "postgres://{}", server.describe()),
            Self::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// Tries targets; clones share what bounds them.
#[derive(Clone)]
pub struct Prober(Arc<Shared>);

struct Shared {
    allow: Allow,
    each: Duration,
    tls: Tls,
    permits: Semaphore,
}

impl Prober {
    /// A prober of what `allow` contains, each of whose tries may take as long as `each`.
    pub fn new(allow: Allow, each: Duration) -> Self {
        Self::with_tls(allow, each, Tls::system())
    }

    fn with_tls(allow: Allow, each: Duration, tls: Tls) -> Self {
        Self(Arc::new(Shared { allow, each, tls, permits: Semaphore::new(AT_ONCE) }))
    }

    /// Tries once, for as long as one try may take.
    ///
    /// # Errors
    /// Why it was no success.
    pub async fn attempt(&self, target: &Target) -> Result<(), Miss> {
        let Shared { allow, each, tls, permits } = &*self.0;
        let _permit = permits.acquire().await;
        let attempt = async {
            match target {
                Target::Port { host, port } => port::connect(host, *port, allow, *each).await.map(drop),
                Target::Http(uri) => http::get(uri, allow, tls, *each).await,
                Target::Postgres(server) => postgres::select_one(server, allow, *each).await,
                Target::File(path) => file::exists(path).await,
            }
        };
        match timeout(*each, attempt).await {
            Ok(result) => result,
            Err(_) => Err(Miss::NotYet(format!("no answer within {each:?}"))),
        }
    }

    /// Tries until it succeeds, at least once: one that begins after the deadline still gets its one try.
    ///
    /// # Errors
    /// `NotYet` with the last reason at the deadline; `Refused` and `Wrong` as soon as they are known.
    pub async fn until(&self, target: &Target, deadline: Instant) -> Result<(), Miss> {
        let mut pause = PAUSE.0;
        let mut last = match self.first(target, deadline).await {
            Err(Miss::NotYet(why)) => why,
            done => return done,
        };
        loop {
            let next = Instant::now() + pause;
            if next >= deadline {
                sleep_until(deadline).await;
                return Err(Miss::NotYet(last));
            }
            sleep_until(next).await;
            pause = (pause * 3 / 2).min(PAUSE.1);
            match timeout_at(deadline, self.attempt(target)).await {
                Ok(Err(Miss::NotYet(why))) => last = why,
                Ok(done) => return done,
                Err(_) => return Err(Miss::NotYet(last)),
            }
        }
    }

    async fn first(&self, target: &Target, deadline: Instant) -> Result<(), Miss> {
        if deadline <= Instant::now() {
            return self.attempt(target).await;
        }
        match timeout_at(deadline, self.attempt(target)).await {
            Ok(result) => result,
            Err(_) => Err(Miss::NotYet("no answer yet".into())),
        }
    }
}

#[cfg(test)]
mod tests;
