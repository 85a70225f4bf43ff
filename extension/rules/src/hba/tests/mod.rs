mod address;
mod block;
mod desired;
mod file;
mod probe;
mod properties;
mod shadow;
mod vectors;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::{Desired, Dialect, Entry, Fields, Files, Unread, parse};

/// Where the tests' file is said to be.
pub(super) const PATH: &str = "/etc/pg/pg_hba.conf";

/// Files in memory, beside the tests' file.
#[derive(Default)]
pub(super) struct Memory(pub BTreeMap<String, Vec<u8>>);

impl Memory {
    pub fn with(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect())
    }
}

impl Files for Memory {
    fn read(&self, path: &Path) -> Result<Vec<u8>, Unread> {
        let name = path.strip_prefix("/etc/pg").map_err(|_| Unread::Refused("outside".to_owned()))?;
        self.0.get(&name.to_string_lossy().into_owned()).cloned().ok_or(Unread::Missing)
    }

    fn list(&self, directory: &Path) -> Result<Vec<OsString>, Unread> {
        let directory = directory.strip_prefix("/etc/pg").map_err(|_| Unread::Refused("outside".to_owned()))?;
        let prefix = format!("{}/", directory.display());
        let names: Vec<OsString> =
            self.0.keys().filter_map(|name| name.strip_prefix(&prefix)).map(Into::into).collect();
        if names.is_empty() { Err(Unread::Missing) } else { Ok(names) }
    }
}

pub(super) fn read(text: &str, major: u32) -> Vec<Entry> {
    parse(text.as_bytes(), Path::new(PATH), &Dialect::packaged(major), &Memory::default())
}

/// The rule that HAProxy's check is let in by, with what a test wants otherwise.
pub(super) const HARW: Fields<'_> = Fields {
    name: "harw",
    kind: "host",
    database: "harw",
    user: "harw",
    address: "10.0.0.5/32",
    method: "scram-sha-256",
    options: "",
    applies: "primary",
    otherwise: "reject",
};

pub(super) fn desired(fields: Fields<'_>) -> Desired {
    Desired::new(fields, &Dialect::packaged(16)).expect("a rule")
}
