//! What a server was built with and set to, as far as its pg_hba.conf is concerned, and the files that may be read for it.

use std::ffi::OsString;
use std::path::Path;

/// What decides whether a line loads, beside the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The major version, 14 to 18; a newer one is taken to read the file as 18 does.
    pub major: u32,
    /// Built with TLS: without, `hostssl` records and `cert` are refused.
    pub ssl: bool,
    /// The setting `ssl`: while it is off, `hostssl` records load and never match.
    pub ssl_on: bool,
    /// Built with GSSAPI.
    pub gss: bool,
    /// Built with PAM.
    pub pam: bool,
    /// Built with LDAP, by OpenLDAP.
    pub ldap: bool,
    /// Built with BSD authentication.
    pub bsd: bool,
    /// The setting `oauth_validator_libraries`, 18 and up; `oauth` needs one.
    pub oauth_validators: Vec<String>,
}

impl Dialect {
    /// A server as Debian and the PostgreSQL project's own packages build it: with TLS, GSSAPI, PAM and LDAP; TLS is on.
    #[must_use]
    pub fn packaged(major: u32) -> Self {
        Self {
            major,
            ssl: true,
            ssl_on: true,
            gss: true,
            pam: true,
            ldap: true,
            bsd: false,
            oauth_validators: Vec::new(),
        }
    }

    /// Whether names beginning with `/` are regular expressions and files can be included: 16 and up.
    #[must_use]
    pub fn has_regex(&self) -> bool {
        self.major >= 16
    }
}

/// Why a file or directory was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// There is none; the only one that `include_if_exists` forgives.
    Missing,
    /// It may not or could not be read, in words: permissions, a place outside the directory, an error of the system.
    Refused(String),
}

/// Who reads the files that `@`, `include` and `include_dir` name. Paths are absolute if that of the first file was.
pub trait Files {
    /// The bytes of a file.
    ///
    /// # Errors
    /// Why there are none.
    fn read(&self, path: &Path) -> Result<Vec<u8>, Unread>;

    /// The names, without the directory, of what is in a directory and is not a directory itself; in any order.
    ///
    /// # Errors
    /// Why there are none.
    fn list(&self, directory: &Path) -> Result<Vec<OsString>, Unread>;
}

/// Refuses every file: for a text that must stand by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _: &Path) -> Result<Vec<u8>, Unread> {
        Err(Unread::Refused("no other file is read here".to_owned()))
    }

    fn list(&self, _: &Path) -> Result<Vec<OsString>, Unread> {
        Err(Unread::Refused("no directory is read here".to_owned()))
    }
}
