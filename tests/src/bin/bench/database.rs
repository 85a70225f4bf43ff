//! A look into the database while the load runs, on its thread.

use std::io;

use goahead_tests::postgres::Database;
use tokio_postgres::{AsyncMessage, NoTls};

/// A connection as superuser whose questions do not stop the load; it ends when dropped.
pub struct Look {
    client: tokio_postgres::Client,
}

impl Look {
    /// Connects. Every notification is given to `heard`.
    pub async fn listening(database: &Database<'_>, heard: impl Fn(&str) + 'static) -> io::Result<Self> {
        let url = database.server.url(&database.name, "postgres");
        let (client, mut connection) = tokio_postgres::connect(&url, NoTls).await.map_err(io::Error::other)?;
        tokio::task::spawn_local(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notification(notification) = message {
                    heard(notification.payload());
                }
            }
        });
        Ok(Self { client })
    }

    /// Connects.
    pub async fn into(database: &Database<'_>) -> io::Result<Self> {
        Self::listening(database, |_| ()).await
    }

    /// The one number that a query about a text gives.
    pub async fn count(&self, query: &str, about: &str) -> io::Result<u64> {
        let row = self.client.query_one(query, &[&about]).await.map_err(io::Error::other)?;
        u64::try_from(row.get::<_, i64>(0)).map_err(io::Error::other)
    }

    /// A statement with a text.
    pub async fn run(&self, statement: &tokio_postgres::Statement, about: &str) -> io::Result<()> {
        self.client.execute(statement, &[&about]).await.map(|_| ()).map_err(io::Error::other)
    }

    /// A statement that gives nothing.
    pub async fn execute(&self, statement: &str) -> io::Result<()> {
        self.client.batch_execute(statement).await.map_err(io::Error::other)
    }

    /// A statement, for running it often.
    pub async fn prepare(&self, statement: &str) -> io::Result<tokio_postgres::Statement> {
        self.client.prepare(statement).await.map_err(io::Error::other)
    }
}
