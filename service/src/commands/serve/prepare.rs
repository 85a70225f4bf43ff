//! What has to be true of a database before it is served, and what is done in it once at the start.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::cluster_files::{self, Line};
use crate::db::{Database, DbError};

/// Why a database cannot be served yet, or at all.
#[derive(Debug)]
pub enum Unfit {
    /// It is away; it may come back
    Away(String),
    /// Somebody has to do something about it; the text says what
    Wrong(String),
}

impl From<DbError> for Unfit {
    fn from(error: DbError) -> Self {
        match &error {
            DbError::Unavailable(_) => Self::Away(error.to_string()),
            // No more connections, out of memory or disk, or a standby that waits for its promotion.
            DbError::Sql(sql) if sql.code.starts_with("53") || sql.code == "25006" => Self::Away(error.to_string()),
            DbError::Sql(_) | DbError::Answer(_) => Self::Wrong(error.to_string()),
        }
    }
}

/// What the catalogs say about the extension and the role.
struct Facts {
    user: String,
    database: String,
    superuser: bool,
    extension: Option<String>,
    available: Option<String>,
    /// None: the role does not exist
    member: Option<bool>,
}

const FACTS: &str = "SELECT current_user::text, current_database()::text, \
     (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), \
     (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'goahead'), \
     (SELECT default_version FROM pg_catalog.pg_available_extensions WHERE name = 'goahead'), \
     (SELECT pg_catalog.pg_has_role(current_user, oid, 'member') FROM pg_catalog.pg_roles WHERE rolname = 'goahead_service')";

/// Checks extension, version and role.
///
/// # Errors
/// What is missing and the statement that adds it.
pub async fn verify(db: &Database) -> Result<(), Unfit> {
    db.reach().await?;
    let rows = db.call(FACTS, &[]).await?;
    let row = rows.first().ok_or_else(|| Unfit::Wrong("the catalogs gave no answer".into()))?;
    let facts = Facts {
        user: row.try_get(0).map_err(DbError::from)?,
        database: row.try_get(1).map_err(DbError::from)?,
        superuser: row.try_get(2).map_err(DbError::from)?,
        extension: row.try_get(3).map_err(DbError::from)?,
        available: row.try_get(4).map_err(DbError::from)?,
        member: row.try_get(5).map_err(DbError::from)?,
    };
    judge(&facts, env!("CARGO_PKG_VERSION")).map_err(Unfit::Wrong)
}

fn judge(facts: &Facts, ours: &str) -> Result<(), String> {
    let Facts { user, database, .. } = facts;
    let Some(installed) = &facts.extension else {
        return Err(match facts.available {
            Some(_) => format!(
                "database {database:?} lacks the extension goahead. As its superuser, run:\n  CREATE EXTENSION goahead;"
            ),
            None => format!(
                "the server of database {database:?} does not have the extension goahead. Install it there (the package \
                 postgresql-NN-goahead, or `make install` in the source tree), then, as superuser, run:\n  CREATE EXTENSION goahead;"
            ),
        });
    };
    if series(installed) != series(ours) {
        let available = facts.available.as_deref().unwrap_or("none");
        return Err(if series(available) == series(ours) {
            format!(
                "the extension goahead in database {database:?} has version {installed}, this service needs {}.x. As superuser, run:\n  \
                 ALTER EXTENSION goahead UPDATE;",
                series(ours)
            )
        } else {
            format!(
                "the extension goahead in database {database:?} has version {installed} and its server offers {available}, \
                 but this service needs {}.x: install matching versions of both",
                series(ours)
            )
        });
    }
    if facts.superuser {
        return Err(format!(
            "role {user:?} is a superuser; the service runs with no more rights than it needs. Make a role for it:\n  \
             CREATE ROLE goahead_serve LOGIN PASSWORD '…';\n  GRANT goahead_service TO goahead_serve;\n\
             and name it in --database-url"
        ));
    }
    if facts.member != Some(true) {
        return Err(format!(
            "role {user:?} may not serve. As superuser, run:\n  GRANT goahead_service TO {};",
            quoted(user)
        ));
    }
    Ok(())
}

/// `major.minor` of a version.
fn series(version: &str) -> &str {
    match version.match_indices('.').nth(1) {
        Some((end, _)) => &version[..end],
        None => version,
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Writes a first admin token into `directory`, unless one is there. Readable by this process's user alone.
///
/// # Errors
/// When the database or the file system refuses.
pub async fn first_token(db: &Database, directory: &Path) -> Result<(), Unfit> {
    let path = directory.join("admin-token");
    let wrong = |error: std::io::Error| Unfit::Wrong(format!("cannot write {}: {error}", path.display()));
    if path.try_exists().map_err(wrong)? {
        return Ok(());
    }
    std::fs::create_dir_all(directory).map_err(wrong)?;
    // The file first: a token whose secret could not be kept would be one that nobody knows of.
    let unfinished = directory.join("admin-token.new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished).map_err(wrong)?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(wrong)?;
    let rows = db
        .call("SELECT goahead.create_token('admin', NULL, $1)", &[&"the first token, written by goahead serve"])
        .await?;
    let row = rows.first().ok_or_else(|| Unfit::Wrong("goahead.create_token returned nothing".into()))?;
    let secret: String = row.try_get(0).map_err(DbError::from)?;
    writeln!(file, "{secret}").and_then(|()| file.sync_all()).map_err(wrong)?;
    std::fs::rename(&unfinished, &path).map_err(wrong)?;
    tracing::info!(path = %path.display(), "wrote a first admin token");
    Ok(())
}

/// Imports the cluster files of `directory` and logs the report.
///
/// # Errors
/// When a file cannot be read, or the database refuses; then nothing was imported.
pub async fn import(db: &Database, directory: &Path) -> Result<(), Unfit> {
    let clusters =
        cluster_files::files_in(directory).and_then(|files| cluster_files::read(&files)).map_err(Unfit::Wrong)?;
    for line in cluster_files::import(db, &clusters, false).await?.lines {
        match line {
            Line::Done(text) => tracing::info!("{}: {text}", directory.display()),
            Line::Warning(text) => tracing::warn!("{}: {text}", directory.display()),
            Line::Error(text) => tracing::error!("{}: {text}", directory.display()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            user: "app".into(),
            database: "ops".into(),
            superuser: false,
            extension: Some("0.1.3".into()),
            available: Some("0.1.3".into()),
            member: Some(true),
        }
    }

    #[test]
    fn a_fitting_database_is_served() {
        assert_eq!(judge(&facts(), "0.1.0"), Ok(()));
    }

    #[test]
    fn what_is_missing_comes_with_the_statement_that_adds_it() {
        for (facts, told) in [
            (Facts { extension: None, ..facts() }, "CREATE EXTENSION goahead;"),
            (Facts { extension: None, available: None, ..facts() }, "make install"),
            (Facts { extension: Some("0.0.9".into()), ..facts() }, "ALTER EXTENSION goahead UPDATE;"),
            (
                Facts { extension: Some("0.2.0".into()), available: Some("0.2.0".into()), ..facts() },
                "install matching versions",
            ),
            (Facts { superuser: true, ..facts() }, "GRANT goahead_service TO goahead_serve;"),
            (Facts { member: Some(false), ..facts() }, "GRANT goahead_service TO \"app\";"),
            (Facts { member: None, ..facts() }, "GRANT goahead_service TO \"app\";"),
        ] {
            let error = judge(&facts, "0.1.0").unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
