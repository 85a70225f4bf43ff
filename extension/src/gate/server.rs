//! This server, as far as its pg_hba.conf is concerned.

use crate::store::{self, Store};
use goahead_hba_file::{Error, Listens, Server};
use goahead_rules::hba::Dialect;
use pgrx::prelude::*;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The major version that this is built for.
pub const MAJOR: u32 = pg_sys::PG_VERSION_NUM / 10_000;

/// The setting `hba_file`, which no reload changes.
pub fn hba_file() -> PathBuf {
    // SAFETY: the server sets it before it loads any library, and never again.
    let name = unsafe { CStr::from_ptr(pg_sys::HbaFileName) };
    PathBuf::from(OsStr::from_bytes(name.to_bytes()))
}

/// What this server makes of a line.
///
/// How it was built cannot be asked for in SQL without being superuser: taken is how packages are built. What that gets
/// wrong the server itself says of the new file before it is told to load it.
pub fn dialect() -> Dialect {
    // SAFETY: a plain global.
    let ssl_on = unsafe { pg_sys::EnableSSL };
    let oauth_validators = if MAJOR >= 18 { libraries() } else { Vec::new() };
    Dialect { ssl_on, oauth_validators, ..Dialect::packaged(MAJOR) }
}

/// The setting `oauth_validator_libraries`.
fn libraries() -> Vec<String> {
    let text = setting(c"oauth_validator_libraries");
    text.split(',').map(|name| name.trim().trim_matches('"').to_owned()).filter(|name| !name.is_empty()).collect()
}

/// The text of a setting, in its own unit; empty where there is none of this name.
fn setting(name: &CStr) -> String {
    // SAFETY: gives null, or the text of the setting, which is copied at once.
    let text = unsafe { pg_sys::GetConfigOption(name.as_ptr(), true, false) };
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as above.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Where this server listens. Both settings are as at its start.
pub fn listens() -> Listens {
    Listens::new(&setting(c"listen_addresses"), setting(c"port").parse().unwrap_or(0))
}

/// The setting `statement_timeout`; 0 is none.
pub fn statement_timeout() -> Duration {
    Duration::from_millis(setting(c"statement_timeout").parse().unwrap_or(0))
}

/// Tells the server's first process to reload, as `pg_reload_conf` does.
pub fn reload() -> io::Result<()> {
    // SAFETY: a plain global; a signal that every server handles.
    if unsafe { libc::kill(pg_sys::PostmasterPid, libc::SIGHUP) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// This server, for whoever watches its file.
pub struct Own;

impl Server for Own {
    fn listens(&self) -> Option<Listens> {
        Some(listens())
    }

    fn runs(&self) -> bool {
        true
    }

    fn reload(&mut self) -> io::Result<()> {
        reload()
    }
}

/// Runs statements with every right. Only for fixed text that reads, with every name qualified: system views such as
/// `pg_hba_file_rules` and `pg_stat_wal_receiver` show nothing to `goahead_owner`, and a GRANT of them would outlive the
/// extension and be in no dump.
pub fn as_superuser<T>(store: &mut Store<'_, '_>, work: impl FnOnce(&mut Store<'_, '_>) -> T) -> T {
    let _back = Identity::assume(pg_sys::Oid::from(pg_sys::BOOTSTRAP_SUPERUSERID));
    work(store)
}

/// Who this backend was; it is that again when dropped. After an ERROR the server restores it by itself too.
struct Identity {
    user: pg_sys::Oid,
    context: i32,
}

impl Identity {
    fn assume(user: pg_sys::Oid) -> Self {
        let mut was = Self { user: pg_sys::Oid::INVALID, context: 0 };
        // SAFETY: reads and sets plain globals; the flag keeps whatever runs from keeping the new identity.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut was.user, &mut was.context);
            let local = i32::try_from(pg_sys::SECURITY_LOCAL_USERID_CHANGE).unwrap_or_default();
            pg_sys::SetUserIdAndSecContext(user, was.context | local);
        }
        was
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        // SAFETY: sets plain globals to what they were.
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) };
    }
}

/// Whether who logged in is a superuser; who they have become since does not matter.
pub fn is_superuser_session() -> bool {
    // SAFETY: reads the catalog in a transaction.
    unsafe { pg_sys::superuser_arg(pg_sys::GetSessionUserId()) }
}

/// Raises an error of the file.
pub fn raise(error: &Error) -> ! {
    let code = match error {
        Error::Unwritable { .. } | Error::Io { .. } | Error::Untold { .. } => PgSqlErrorCode::ERRCODE_IO_ERROR,
        Error::Conflict { .. } | Error::Busy { .. } | Error::Kept { .. } => PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
        Error::Invalid { .. } => PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
        Error::Missing { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_FILE,
    };
    store::fail(code, error.to_string(), error.mend())
}

/// What the server itself says of the file on disk: why it would not load it.
///
/// A line loads iff its type is known: `error` is null for some lines that fail, and set for some that load.
pub fn refusal(path: &Path) -> Option<String> {
    let (lines, bad, first, said) = store::read(|store| {
        as_superuser(store, |store| {
            store
                .first(
                    "SELECT count(*), count(*) FILTER (WHERE r.type IS NULL),
                            (pg_catalog.array_agg(r.line_number ORDER BY r.line_number) FILTER (WHERE r.type IS NULL))[1],
                            (pg_catalog.array_agg(r.error ORDER BY r.line_number) FILTER (WHERE r.type IS NULL))[1]
                       FROM pg_catalog.pg_hba_file_rules r",
                    &[],
                    |row| (row.get::<i64>(1), row.get::<i64>(2), row.opt::<i32>(3), row.opt::<String>(4)),
                )
                .expect("a SELECT of aggregates gives one row")
        })
    });
    if lines == 0 {
        return Some(format!("{} has no rule", path.display()));
    }
    (bad > 0).then(|| {
        let said = said.unwrap_or_else(|| "the server does not say why".to_owned());
        let more = if bad > 1 { format!(" and {} more", bad - 1) } else { String::new() };
        format!("line {}{more}: {said}", first.unwrap_or_default())
    })
}
