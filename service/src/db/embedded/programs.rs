//! Which PostgreSQL of this machine runs a data directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::program::Program;

/// The programs of one PostgreSQL installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// Where `postgres` and `initdb` are
    pub directory: PathBuf,
    /// The major version
    pub major: u32,
    /// Whether the extension goahead is installed there; none when that cannot be told
    pub extension: Option<bool>,
}

const LIMIT: Duration = Duration::from_secs(10);
/// Where distributions put versions side by side: Debian, the PGDG's RPMs.
const SIDE_BY_SIDE: [(&str, &str); 2] = [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")];

impl Programs {
    /// The installation for a data directory of version `major`, or for a new one: what `pg_config` on the PATH says,
    /// then the newest.
    ///
    /// # Errors
    /// When there is none, or none that fits; says what to install.
    pub async fn find(major: Option<u32>) -> Result<Self, String> {
        let mut found = Vec::new();
        for directory in candidates().await {
            if let Some(programs) = inspect(directory).await {
                found.push(programs);
            }
        }
        choose(found, major)
    }

    /// One of its programs, as the first word of an argument vector.
    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).to_string_lossy().into_owned()
    }
}

fn choose(mut found: Vec<Programs>, major: Option<u32>) -> Result<Programs, String> {
    if found.is_empty() {
        return Err(
            "PostgreSQL is not installed here: `apt install postgresql` (or `dnf install postgresql-server`), \
                    or name a database of yours with --database-url"
                .into(),
        );
    }
    if let Some(major) = major {
        let versions: Vec<String> = found.iter().map(|programs| programs.major.to_string()).collect();
        found.retain(|programs| programs.major == major);
        if found.is_empty() {
            return Err(format!(
                "the data directory belongs to PostgreSQL {major}, but installed is {}: `apt install postgresql-{major}` and \
                 its goahead extension, or move the data to the other version with pg_dump and a new --data-dir",
                versions.join(", ")
            ));
        }
    }
    // For a new directory, an installation with the extension before one without; the order among equals is kept.
    found.sort_by_key(|programs| programs.extension != Some(true));
    Ok(found.swap_remove(0))
}

/// Directories that may hold the programs, best first.
async fn candidates() -> Vec<PathBuf> {
    let mut directories = Vec::new();
    if let Some(directory) = said("pg_config", "--bindir").await {
        directories.push(PathBuf::from(directory));
    }
    let mut versions: Vec<(u32, PathBuf)> = SIDE_BY_SIDE
        .iter()
        .flat_map(|(parent, prefix)| {
            let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
            entries.filter_map(move |entry| {
                let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
                Some((version, entry.path().join("bin")))
            })
        })
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    directories.extend(versions.into_iter().map(|(_, directory)| directory));
    let path = std::env::var_os("PATH").unwrap_or_default();
    directories.extend(std::env::split_paths(&path));
    let mut seen = std::collections::HashSet::new();
    directories.retain(|directory| {
        let real = |name| directory.join(name).canonicalize().ok();
        matches!((real("postgres"), real("initdb")), (Some(postgres), Some(_)) if seen.insert(postgres.clone()))
    });
    directories
}

async fn inspect(directory: PathBuf) -> Option<Programs> {
    let postgres = directory.join("postgres");
    let major = major_of(&said(&postgres.to_string_lossy(), "--version").await?)?;
    let extension = extension_directory(&directory, major).await.map(|shared| shared.join("goahead.control").exists());
    Some(Programs { directory, major, extension })
}

/// Where the control files of extensions are.
async fn extension_directory(programs: &Path, major: u32) -> Option<PathBuf> {
    // Debian packs pg_config with the client programs, which may be missing.
    let guess = PathBuf::from(format!("/usr/share/postgresql/{major}"));
    let shared = match said(&programs.join("pg_config").to_string_lossy(), "--sharedir").await {
        Some(shared) => PathBuf::from(shared),
        None if guess.is_dir() => guess,
        None => return None,
    };
    Some(shared.join("extension"))
}

/// What a program prints when it is asked with one flag.
async fn said(program: &str, flag: &str) -> Option<String> {
    let finished = Program::new(vec![program.to_owned(), flag.to_owned()]).timeout(Some(LIMIT)).run().await;
    finished.outcome.success().then(|| finished.output.trim().to_owned())
}

/// From `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, or `18beta1`.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split(" (PostgreSQL) ").nth(1)?;
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(major: u32, extension: Option<bool>) -> Programs {
        Programs { directory: format!("/pg/{major}").into(), major, extension }
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_of("postgres"), None);
    }

    #[test]
    fn a_directory_s_version_decides_then_the_extension_then_the_order() {
        let all =
            || vec![programs(15, None), programs(18, Some(false)), programs(17, Some(true)), programs(16, Some(true))];
        assert_eq!(choose(all(), None).unwrap().major, 17);
        assert_eq!(choose(all(), Some(18)).unwrap().major, 18);
        assert_eq!(choose(vec![programs(15, None), programs(18, Some(false))], None).unwrap().major, 15);
        assert!(choose(all(), Some(14)).unwrap_err().contains("postgresql-14"));
        assert!(choose(Vec::new(), None).unwrap_err().contains("apt install postgresql"));
    }
}
