//! What a new or upgraded private server needs before it is used: the database, the extension, the service's role.

use tokio_postgres::Client;

use crate::db::{Address, Connector, DbError};

/// The database of the private server.
pub const DATABASE: &str = "goahead";
/// The role that the service connects as.
pub const ROLE: &str = "goahead_serve";
/// The superuser that initdb made; used for this set-up only.
pub const SUPERUSER: &str = "postgres";

/// A role that logs in and is a member of nothing but what serves. With a comment, so that a person finds out whose it is.
const MAKE_ROLE: &str = "DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'goahead_serve') THEN
        CREATE ROLE goahead_serve LOGIN;
        COMMENT ON ROLE goahead_serve IS 'what goahead serve connects as';
    END IF;
    IF NOT pg_catalog.pg_has_role('goahead_serve', 'goahead_service', 'member') THEN
        GRANT goahead_service TO goahead_serve;
    END IF;
END $$";

/// Brings the server at `address(database, user)` into shape.
///
/// # Errors
/// What is missing, and how to add it.
pub async fn run(address: impl Fn(&str, &str) -> Address, major: u32) -> Result<(), String> {
    let client = connect(address(SUPERUSER, SUPERUSER)).await?;
    let exists = client.query_opt("SELECT FROM pg_catalog.pg_database WHERE datname = $1", &[&DATABASE]).await;
    if exists.map_err(told)?.is_none() {
        execute(&client, "CREATE DATABASE goahead").await?;
    }
    let client = connect(address(DATABASE, SUPERUSER)).await?;
    extension(&client, major).await?;
    client.batch_execute(MAKE_ROLE).await.map_err(|error| format!("making the role {ROLE}: {}", told(error)))
}

async fn extension(client: &Client, major: u32) -> Result<(), String> {
    let available =
        client.query_opt("SELECT default_version FROM pg_catalog.pg_available_extensions WHERE name = 'goahead'", &[]);
    let Some(available) = available.await.map_err(told)? else {
        return Err(format!(
            "the extension goahead is not installed for PostgreSQL {major}: install the package postgresql-{major}-goahead, \
             or run `make install` in the source tree"
        ));
    };
    let available: Option<String> = available.try_get(0).map_err(told)?;
    let created = client.query_opt("SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'goahead'", &[]);
    match created.await.map_err(told)? {
        None => execute(client, "CREATE EXTENSION goahead").await,
        Some(row) if row.try_get::<_, Option<String>>(0).map_err(told)? != available => {
            tracing::info!(to = available, "updating the extension goahead");
            client.batch_execute("ALTER EXTENSION goahead UPDATE").await.map_err(|error| {
                format!(
                    "cannot update the extension goahead to {}: {}; install the version it had, or one with an update script from it",
                    available.unwrap_or_default(),
                    told(error)
                )
            })
        }
        Some(_) => Ok(()),
    }
}

async fn connect(address: Address) -> Result<Client, String> {
    let connector = Connector::new(address)?;
    connector.connect().await.map(|(client, _)| client).map_err(|error| error.to_string())
}

async fn execute(client: &Client, statement: &str) -> Result<(), String> {
    client.batch_execute(statement).await.map_err(|error| format!("{statement}: {}", told(error)))
}

fn told(error: tokio_postgres::Error) -> String {
    DbError::from(error).to_string()
}
