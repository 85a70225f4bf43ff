//! The limit: one connection of PostgreSQL notifies another.

use std::io;
use std::time::Instant;

use goahead_tests::postgres::Database;
use tokio::sync::mpsc;

use crate::database::Look;
use crate::measured::Times;

/// A notification alone, which nothing keeps.
pub const ALONE: &str = "SELECT pg_notify('bench', $1)";
/// A notification of a row that is on disk by then, as a signal is.
pub const WITH_A_ROW: &str =
    "WITH row AS (INSERT INTO notified (key) VALUES ($1) RETURNING key) SELECT pg_notify('bench', key) FROM row";

/// Makes the table of [`WITH_A_ROW`].
pub fn create(database: &Database<'_>) {
    database.connect().batch_execute("CREATE TABLE notified (key text PRIMARY KEY)").expect("create table");
}

/// From the sending of a statement that notifies until the other connection has heard of it.
pub async fn rounds(database: &Database<'_>, statement: &str, rounds: usize) -> io::Result<Times> {
    let (sender, mut heard) = mpsc::unbounded_channel();
    let listener = Look::listening(database, move |key| {
        let _ = sender.send((key.to_owned(), Instant::now()));
    })
    .await?;
    listener.execute("LISTEN bench").await?;
    let notifier = Look::into(database).await?;
    let statement = notifier.prepare(statement).await?;
    let mut times = Vec::new();
    for round in 0..rounds {
        let key = format!("key-{round}");
        let sent = Instant::now();
        notifier.run(&statement, &key).await?;
        let (found, at) = heard.recv().await.ok_or_else(|| io::Error::other("the listening connection has ended"))?;
        if found != key {
            return Err(io::Error::other(format!("{found} was heard, not {key}")));
        }
        times.push(at.duration_since(sent));
    }
    Ok(Times::new(times))
}
