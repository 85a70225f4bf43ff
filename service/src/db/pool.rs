//! Connections: how one is opened, and the small pool for administration. Nothing here waits without a bound.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Connect, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use futures_util::future::BoxFuture;
use rand::seq::SliceRandom;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::chain;
use super::{Address, DbError};

/// How long a caller waits for a connection.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Opens connections to one database.
#[derive(Clone)]
pub struct Connector(Arc<Inner>);

struct Inner {
    address: Address,
    tls: MakeRustlsConnect,
}

impl Connector {
    /// Reads the certificates that `address` names.
    ///
    /// # Errors
    /// Which file cannot be used.
    pub fn new(address: Address) -> Result<Self, String> {
        let tls = address.trust.connector()?;
        Ok(Self(Arc::new(Inner { address, tls })))
    }

    /// The same, with startup options added, such as `-c lock_timeout=1s`.
    #[must_use]
    pub fn with_options(&self, options: &str) -> Self {
        Self(Arc::new(Inner { address: self.0.address.with_options(options), tls: self.0.tls.clone() }))
    }

    /// Opens a connection to the first host that accepts one, and keeps it running in a task of its own that ends with
    /// the client.
    ///
    /// # Errors
    /// Why the last host did not.
    pub async fn connect(&self) -> Result<(Client, JoinHandle<()>), DbError> {
        self.opened().await.map(drive)
    }

    async fn opened(&self) -> Result<Opened, DbError> {
        match self.first_host().await {
            Ok(opened) => Ok(opened),
            Err(Some(error)) => Err(error.into()),
            Err(None) => Err(DbError::Unavailable(format!(
                "{} did not accept a connection within {:?}",
                self.0.address.describe(),
                self.0.address.timeout
            ))),
        }
    }

    /// The error is none when the last host let the time pass.
    async fn first_host(&self) -> Result<Opened, Option<tokio_postgres::Error>> {
        let mut hosts: Vec<&Config> = self.0.address.hosts.iter().collect();
        if self.0.address.shuffle {
            hosts.shuffle(&mut rand::rng());
        }
        let mut last = None;
        for host in hosts {
            match timeout(self.0.address.timeout, host.connect(self.0.tls.clone())).await {
                Ok(Ok(opened)) => return Ok(opened),
                Ok(Err(error)) => last = Some(error),
                Err(_) => last = None,
            }
        }
        Err(last)
    }

    /// Opens a connection that hears notifications, as `channel:payload`, and ends with the client.
    ///
    /// # Errors
    /// Why no host accepted it.
    pub async fn listen(&self) -> Result<(Client, mpsc::UnboundedReceiver<String>), DbError> {
        let (client, mut connection) = self.opened().await?;
        let (sender, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(heard) = message
                    && sender.send(format!("{}:{}", heard.channel(), heard.payload())).is_err()
                {
                    return;
                }
            }
        });
        Ok((client, heard))
    }

    /// A pool of at most `size` connections, opened when needed.
    pub fn pool(&self, size: usize) -> Pool {
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        // The configuration given here is only handed to `Connect::connect` below, which has its own.
        let manager = Manager::from_connect(Config::new(), self.clone(), config);
        Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(PATIENCE))
            .create_timeout(Some(PATIENCE + Duration::from_millis(500)))
            .recycle_timeout(Some(PATIENCE))
            .build()
            .expect("a runtime is given, which is all that timeouts need")
    }
}

/// A client, and the connection that it works over as long as somebody polls that.
type Opened = (Client, Connection<Socket, TlsStream>);
type TlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Keeps a connection running in a task of its own.
fn drive((client, connection): Opened) -> (Client, JoinHandle<()>) {
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = chain(&error), "a database connection ended");
        }
    });
    (client, driver)
}

impl Connect for Connector {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        Box::pin(async move {
            match self.first_host().await {
                Ok(opened) => Ok(drive(opened)),
                Err(Some(error)) => Err(error),
                // tokio-postgres has no error of its own for this; the pool's limit is close and has one.
                Err(None) => std::future::pending().await,
            }
        })
    }
}

/// A connection of `pool`, within [`PATIENCE`].
///
/// # Errors
/// `Unavailable` when there is none in time.
pub async fn connection(pool: &Pool) -> Result<Object, DbError> {
    match timeout(PATIENCE, pool.get()).await {
        Ok(Ok(object)) => Ok(object),
        Ok(Err(PoolError::Backend(error))) => Err(error.into()),
        Ok(Err(error)) => Err(DbError::Unavailable(chain(&error))),
        Err(_) => Err(DbError::Unavailable(format!("no connection within {PATIENCE:?}"))),
    }
}

/// Gives a connection back to its pool, or gives it up when its error says that it is of no more use: the server is a
/// standby since a failover, or its statements were planned for another version of the extension.
pub fn give_back<T>(connection: Object, result: &Result<T, DbError>) {
    if matches!(result.as_ref().err().and_then(DbError::code), Some("25006" | "0A000" | "42883")) {
        drop(Object::take(connection));
    }
}
