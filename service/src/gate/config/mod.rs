//! The gate's settings from a file and flags: harepd's conf.yml as it is, or our own gate.yml.
//!
//! harepd's file is the one with `harepd:` at its top. What it cannot say stands beside that, under `goahead:`, in the
//! words of gate.yml; harepd does not look there.

use std::fmt::Display;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_yaml_ng::Value;

use self::section::{Case, Section};
use super::settings::{Mode, Settings};
use crate::log_file::Rotation;

mod harepd;
mod harepd_peers;
mod logs;
mod own;
mod section;
mod values;

/// What is read from a file.
#[derive(Debug)]
pub struct Loaded {
    /// The settings
    pub settings: Settings,
    /// A log file beside standard error; none: no file
    pub logs: Option<Rotation>,
    /// What was found odd, each naming its key: to be logged once
    pub warnings: Vec<String>,
    /// Whether the state directory is the one that this process would take by itself
    pub state_dir_by_default: bool,
}

/// What flags say; each counts above the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Which halves run
    pub mode: Mode,
    /// `--gate-listen`; some none: `off`
    pub listen: Option<Option<SocketAddr>>,
    /// `--peer-listen`
    pub peer_listen: Option<SocketAddr>,
    /// `--agent-check-listen`
    pub agent_check_listen: Option<Option<SocketAddr>>,
}

/// Why a file cannot be used: the file, the key, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    /// About a key, called by its full name.
    fn at(key: &str, what: impl Display) -> Self {
        Self(format!("{key} {what}"))
    }

    fn in_file(self, file: &Path) -> Self {
        Self(format!("{}: {}", file.display(), self.0))
    }
}

/// What is asked of the machine while a file is read.
struct Machine<'a> {
    /// Variables of the environment
    env: &'a dyn Fn(&str) -> Option<String>,
    /// Whether an address is one of this machine's
    is_ours: &'a dyn Fn(IpAddr) -> bool,
}

/// Reads `file`.
///
/// # Errors
/// The file, the key in it, and what is wrong with it.
pub fn read(file: &Path, overrides: &Overrides) -> Result<Loaded, ConfigError> {
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(&error).in_file(file))?;
    let machine =
        Machine { env: &|name| std::env::var(name).ok().filter(|value| !value.is_empty()), is_ours: &is_ours };
    parse(&text, overrides, &machine).map_err(|error| error.in_file(file))
}

fn unreadable(error: &std::io::Error) -> ConfigError {
    let hint = match error.kind() {
        ErrorKind::NotFound => "; write it, or name another file with -f",
        ErrorKind::PermissionDenied => {
            "; whoever runs this must be able to read it: the database server's user, or root"
        }
        ErrorKind::IsADirectory => "; name a file in it with -f",
        _ => "",
    };
    ConfigError(format!("cannot be read: {error}{hint}"))
}

fn parse(text: &str, overrides: &Overrides, machine: &Machine<'_>) -> Result<Loaded, ConfigError> {
    let value: Value = serde_yaml_ng::from_str(text).map_err(|error| ConfigError(format!("is not YAML: {error}")))?;
    let top = Section::new("", &value, Case::Any)?;
    let mut loaded = match top.value("harepd") {
        Some(theirs) => {
            let mut loaded = harepd::read(theirs, overrides.mode, machine)?;
            if let Some(ours) = top.value("goahead") {
                own::add(&mut loaded, &Section::new("goahead", ours, Case::Exact)?)?;
            }
            loaded.warnings.extend(top.unknown().iter().map(ToString::to_string));
            loaded
        }
        None => own::read(&Section::new("", &value, Case::Exact)?, machine)?,
    };
    let settings = &mut loaded.settings;
    settings.mode = overrides.mode;
    if let Some(listen) = overrides.listen {
        settings.listen = listen;
    }
    if let Some(listen) = overrides.agent_check_listen {
        settings.agent_check_listen = listen;
    }
    settings.peer_listen = overrides.peer_listen.or(settings.peer_listen);
    check(settings, &mut loaded.warnings)?;
    loaded.state_dir_by_default = state_dir(&settings.node, machine).is_ok_and(|place| place == settings.state_dir);
    Ok(loaded)
}

/// What holds for both kinds of file.
fn check(settings: &mut Settings, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    if settings.peer_listen.is_none() && !settings.peers.is_empty() {
        return Err(ConfigError::at(
            "peer_listen",
            "is missing: the other gates ask this one there, and it votes there",
        ));
    }
    match settings.mode {
        Mode::ClientOnly if settings.witness => {
            Err(ConfigError::at("witness", "is this node: it takes no traffic, so run only --server-only here"))
        }
        Mode::Dual if settings.witness => {
            warnings.push("this node is the witness: it votes and takes no traffic, as with --server-only".to_owned());
            settings.mode = Mode::ServerOnly;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn is_ours(address: IpAddr) -> bool {
    address.is_unspecified() || std::net::UdpSocket::bind((address, 0)).is_ok()
}

/// Where the audit, orders and sockets are, unless a file says: what systemd gives, else the user's own place.
fn state_dir(node: &str, machine: &Machine<'_>) -> Result<PathBuf, ConfigError> {
    let absolute = |name: &str| (machine.env)(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // systemd gives several directories with colons between them.
    if let Some(given) = (machine.env)("STATE_DIRECTORY") {
        let first = given.split(':').next().unwrap_or_default();
        return Ok(PathBuf::from(first));
    }
    let home = || absolute("HOME").map(|home| home.join(".local/state"));
    let base = absolute("XDG_STATE_HOME").or_else(home).ok_or_else(|| {
        ConfigError::at("state_dir", "is missing, and neither STATE_DIRECTORY nor HOME says where to keep state")
    })?;
    Ok(base.join("goahead/gate").join(values::file_name(node)))
}

#[cfg(test)]
mod tests;
