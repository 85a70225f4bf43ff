//! The data directory of the private server: who owns what, and who uses it.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::geteuid;

use super::programs::Programs;
use crate::program::{Program, User};

/// The longest path of a unix socket that every system takes (Linux: 108 bytes with the end mark).
const SOCKET_PATH: usize = 103;
const INITDB_LIMIT: Duration = Duration::from_secs(300);

/// Appended to postgresql.conf of a new data directory, where an operator may change it.
const SETTINGS: &str = "
# Written by goahead serve for its private server. The address, port and socket directory are given on the command line.
shared_buffers = 128MB
max_connections = 100
max_wal_size = 1GB
checkpoint_timeout = 15min
wal_compression = on
jit = off
logging_collector = on
log_directory = 'log'
log_filename = 'postgresql-%a.log'
log_truncate_on_rotation = on
log_rotation_age = 1d
log_rotation_size = 0
log_checkpoints = off
";
/// Whoever may enter the socket's directory may connect; nothing else listens.
const HBA: &str = "# Written by goahead serve: its server listens on a socket in a private directory only.\nlocal all all trust\nlocal replication all trust\n";

/// A data directory that this process has locked.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    /// Who PostgreSQL runs as; none: as this process
    pub user: Option<User>,
    /// Held until this process ends
    _lock: File,
}

/// Where data is kept unless somebody says otherwise.
///
/// # Errors
/// When the user has no home.
pub fn default_data_directory() -> Result<PathBuf, String> {
    if geteuid().is_root() {
        return Ok("/var/lib/goahead".into());
    }
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("goahead"))
        .ok_or_else(|| "neither XDG_DATA_HOME nor HOME is set: give --data-dir".into())
}

/// Where PostgreSQL keeps its files below a data directory.
pub fn cluster_of(root: &Path) -> PathBuf {
    root.join("postgres")
}

impl Directory {
    /// Makes the directory where it is missing, and locks it.
    ///
    /// # Errors
    /// When it cannot be written, belongs to somebody else, or another `goahead serve` uses it.
    pub fn open(root: &Path) -> Result<Self, String> {
        let cannot = |error: std::io::Error| {
            format!(
                "cannot use the data directory {}: {error}; give another --data-dir, or run as its owner",
                root.display()
            )
        };
        let user = match geteuid().is_root() {
            true => Some(User::find("postgres").map_err(|error| {
                format!("as root the private PostgreSQL runs as user postgres, but {error}: `apt install postgresql`")
            })?),
            false => None,
        };
        // PostgreSQL's user has to pass through, nobody has to list.
        let mode = if user.is_some() { 0o711 } else { 0o700 };
        DirBuilder::new().recursive(true).mode(mode).create(root).map_err(cannot)?;
        let root = root.canonicalize().map_err(cannot)?;
        let owner = root.metadata().map_err(cannot)?.uid();
        if owner != geteuid().as_raw() {
            return Err(format!(
                "the data directory {} belongs to user {owner}, this process runs as {}: run it as its owner, or give another --data-dir",
                root.display(),
                geteuid().as_raw()
            ));
        }
        let lock = lock(&root)?;
        Ok(Self { root, user, _lock: lock })
    }

    /// Where PostgreSQL keeps its files.
    pub fn cluster(&self) -> PathBuf {
        cluster_of(&self.root)
    }

    /// Where what a starting server says is kept.
    pub fn start_log(&self) -> PathBuf {
        self.root.join("postgres-start.log")
    }

    /// The major version that made the files; none when there are none yet.
    ///
    /// # Errors
    /// When the file cannot be read for another reason than that it is missing.
    pub fn major(&self) -> Result<Option<u32>, String> {
        let path = self.cluster().join("PG_VERSION");
        match std::fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse() {
                Ok(major) => Ok(Some(major)),
                Err(_) => Err(format!("{} holds no version", path.display())),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        }
    }

    /// A directory for the socket that only PostgreSQL's user may enter, with a path short enough for one.
    ///
    /// # Errors
    /// When it cannot be made, or is not private.
    pub fn socket(&self, port: u16) -> Result<PathBuf, String> {
        let near = self.root.join("socket");
        let name = format!(".s.PGSQL.{port}.lock");
        let directory = if near.as_os_str().len() + 1 + name.len() <= SOCKET_PATH { near } else { self.far_socket()? };
        self.private(&directory)?;
        Ok(directory)
    }

    /// For a data directory whose path is too long: a directory of this machine's, found again by the path.
    fn far_socket(&self) -> Result<PathBuf, String> {
        use sha2::{Digest, Sha256};
        let digest = Sha256::digest(self.root.as_os_str().as_encoded_bytes());
        let key: String = digest[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_dir());
        let base = match (&self.user, runtime) {
            (Some(_), _) => PathBuf::from("/run"),
            (None, Some(runtime)) => runtime,
            (None, None) => PathBuf::from("/tmp"),
        };
        Ok(base.join(format!("goahead-{key}")))
    }

    /// Makes a directory that belongs to PostgreSQL's user alone, or checks that it does.
    fn private(&self, path: &Path) -> Result<(), String> {
        let cannot = |error: std::io::Error| format!("cannot make {}: {error}", path.display());
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => self.give(path).map_err(cannot)?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot(error)),
        }
        // Not through a link: in a shared directory somebody else may have made one.
        let found = std::fs::symlink_metadata(path).map_err(cannot)?;
        let owner = self.user.as_ref().map_or(geteuid().as_raw(), |user| user.uid);
        if !found.is_dir() || found.uid() != owner || found.permissions().mode() & 0o077 != 0 {
            return Err(format!(
                "{} is not a directory that user {owner} alone may enter; remove it, or give another --data-dir",
                path.display()
            ));
        }
        Ok(())
    }

    fn give(&self, path: &Path) -> std::io::Result<()> {
        match &self.user {
            Some(user) => std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid)),
            None => Ok(()),
        }
    }

    /// Makes the files of a new server. Interrupted, it leaves nothing that would pass for one.
    ///
    /// # Errors
    /// What initdb said.
    pub async fn initialise(&self, programs: &Programs) -> Result<(), String> {
        let unfinished = self.root.join("postgres.new");
        let cannot = |error: std::io::Error| format!("cannot make {}: {error}", unfinished.display());
        // C.UTF-8 sorts the same everywhere; systems without it have C.
        let mut said = String::new();
        for locale in ["C.UTF-8", "C"] {
            if unfinished.exists() {
                std::fs::remove_dir_all(&unfinished).map_err(cannot)?;
            }
            self.private(&unfinished)?;
            said = match self.initdb(programs, &unfinished, locale).await {
                Ok(()) => {
                    self.configure(&unfinished).map_err(cannot)?;
                    return std::fs::rename(&unfinished, self.cluster()).map_err(cannot);
                }
                Err(said) => said,
            };
        }
        let hint = match &self.user {
            Some(user) if said.contains("Permission denied") => format!(
                "\nPostgreSQL runs as user {}, who must be able to enter every directory above: give another --data-dir",
                user.name
            ),
            _ => String::new(),
        };
        Err(format!("initdb failed in {}:\n{said}{hint}", unfinished.display()))
    }

    async fn initdb(&self, programs: &Programs, directory: &Path, locale: &str) -> Result<(), String> {
        let argv = [
            &programs.path("initdb"),
            "--pgdata",
            &directory.to_string_lossy(),
            "--username=postgres",
            "--encoding=UTF8",
            &format!("--locale={locale}"),
            "--data-checksums",
            "--auth-local=trust",
            "--auth-host=reject",
        ];
        let argv = argv.map(str::to_owned).to_vec();
        let finished =
            Program::new(argv).clean_environment().user(self.user.clone()).timeout(Some(INITDB_LIMIT)).run().await;
        if finished.outcome.success() {
            Ok(())
        } else {
            Err(format!("{}\n{}", finished.outcome, finished.output.trim()))
        }
    }

    fn configure(&self, directory: &Path) -> std::io::Result<()> {
        let path = directory.join("postgresql.conf");
        File::options().append(true).open(path)?.write_all(SETTINGS.as_bytes())?;
        let path = directory.join("pg_hba.conf");
        std::fs::write(&path, HBA)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        self.give(&path)
    }
}

/// One process at a time; the system frees the lock when the process ends, however it ends.
fn lock(root: &Path) -> Result<File, String> {
    let path = root.join("serve.lock");
    let cannot =
        |error: std::io::Error| format!("cannot lock {}: {error}; is the data directory writable?", path.display());
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(cannot)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The number is a courtesy.
            let _ = file.read_to_string(&mut holder);
            Err(format!(
                "another goahead serve (process {}) uses the data directory {}; give this one another --data-dir",
                holder.trim(),
                root.display()
            ))
        }
        Err(TryLockError::Error(error)) => Err(cannot(error)),
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
