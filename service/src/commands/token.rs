//! `goahead token`: makes, lists and revokes the bearer tokens of the HTTP API.

use std::process::ExitCode;

use serde::Deserialize;

use super::database::DatabaseArgs;
use super::{CommandResult, Failure, print, small_runtime};
use crate::db::{Database, DbError};

const EXAMPLES: &str = "\
Examples:
  goahead token create operator --note 'on-call laptop'
  goahead token create host --name web1.example.org
  curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8443/v1/clusters

The secret is printed once; the database keeps its hash.";

/// Arguments of `goahead token`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    database: DatabaseArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a token and print its secret
    #[command(after_help = EXAMPLES)]
    Create {
        /// What its holder may do
        #[arg(value_enum)]
        role: Role,
        /// A host name it may speak for, with --bind-names of the service; may be repeated
        #[arg(long = "name", value_name = "FQDN")]
        names: Vec<String>,
        /// What it is for
        #[arg(long)]
        note: Option<String>,
    },
    /// Make a token worthless
    Revoke {
        /// Its number, as in `goahead token list`
        id: i64,
    },
    /// Show the tokens there are, without their secrets
    List,
}

/// What the holder of a token may do; each includes what comes before it.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Role {
    /// Speak for hosts
    Host,
    /// Read
    Reader,
    /// Freeze, complete, cancel, start rollouts
    Operator,
    /// Change settings
    Admin,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// A token as `goahead.list_tokens()` shows it.
#[derive(Debug, Deserialize)]
struct Token {
    id: i64,
    role: String,
    names: Option<Vec<String>>,
    note: Option<String>,
    created_at: Option<String>,
    revoked_at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Tokens {
    items: Vec<Token>,
}

/// Runs it.
pub fn run(args: &Args) -> CommandResult {
    small_runtime()?.block_on(async {
        let db = args.database.open().await?;
        match &args.action {
            Action::Create { role, names, note } => create(&db, *role, names, note.as_deref()).await,
            Action::Revoke { id } => revoke(&db, *id).await,
            Action::List => list(&db).await,
        }
    })
}

async fn create(db: &Database, role: Role, names: &[String], note: Option<&str>) -> CommandResult {
    let names = (!names.is_empty()).then_some(names);
    let rows = db.call("SELECT goahead.create_token($1, $2, $3)", &[&role.as_str(), &names, &note]).await?;
    let row = rows.first().ok_or_else(|| Failure::new("goahead.create_token returned nothing"))?;
    let secret: String = row.try_get(0).map_err(DbError::from)?;
    print(&format!("{secret}\n"))?;
    Ok(ExitCode::SUCCESS)
}

async fn revoke(db: &Database, id: i64) -> CommandResult {
    let rows = db.call("SELECT goahead.revoke_token($1)", &[&id]).await?;
    let revoked = rows.first().map(|row| row.try_get(0)).transpose().map_err(DbError::from)?;
    if revoked == Some(true) {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::new(format!("there is no token {id} to revoke; `goahead token list` shows those there are")))
}

async fn list(db: &Database) -> CommandResult {
    let Some(json) = db.json("SELECT goahead.list_tokens()", &[]).await? else {
        return Err(Failure::new("goahead.list_tokens returned nothing"));
    };
    let tokens: Tokens =
        serde_json::from_str(json.get()).map_err(|error| Failure::new(format!("goahead.list_tokens: {error}")))?;
    let mut text = String::new();
    for token in tokens.items {
        let names = token.names.unwrap_or_default().join(",");
        let state = if token.revoked_at.is_some() { "revoked" } else { "" };
        let line = format!(
            "{:>5}  {:<8}  {:<25}  {:<7}  {}  {}",
            token.id,
            token.role,
            token.created_at.as_deref().map_or("", |at| at.get(..19).unwrap_or(at)),
            state,
            names,
            token.note.unwrap_or_default(),
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
