//! Which database a command beside the service speaks to.

use std::path::PathBuf;
use std::sync::Arc;

use super::Failure;
use crate::db::{self, Address, Connector, Database};
use crate::metrics::Metrics;

/// Flags that say where the database is.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// The database, as a URL or a list of keyword=value; without it the private PostgreSQL of `goahead serve`
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true, global = true)]
    database_url: Option<String>,
    /// The data directory of `goahead serve` [default: /var/lib/goahead as root, else goahead in the user's data folder]
    #[arg(long, value_name = "DIR", env = "GOAHEAD_DATA_DIR", global = true)]
    data_dir: Option<PathBuf>,
}

impl DatabaseArgs {
    /// A handle to the database, after it has answered once. Needs a tokio runtime.
    ///
    /// # Errors
    /// Why it cannot be reached, and what to do.
    pub async fn open(&self) -> Result<Database, Failure> {
        let address = match &self.database_url {
            Some(url) if !url.is_empty() => {
                Address::parse(url).map_err(|error| Failure::new(format!("--database-url: {error}")))?
            }
            _ => {
                let directory = self.data_dir.clone().map_or_else(db::default_data_directory, Ok);
                db::running_at(&directory.map_err(Failure::new)?).map_err(Failure::new)?
            }
        };
        let connector = Connector::new(address).map_err(Failure::new)?;
        let database = Database::new(&connector, Arc::new(Metrics::new()));
        database.reach().await?;
        Ok(database)
    }
}
