//! A cluster's settings: the original goahead's YAML keys and ours, judged when they are written.

mod reader;

use self::reader::Reader;
use crate::duration::GoDuration;
use crate::window::Window;
use serde_json::Value;

/// How many hosts of a cluster may restart at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So many hosts; 0 means nobody.
    Count(u32),
    /// So many percent (0 to 100) of the cluster's known hosts, rounded down, but at least one unless 0.
    Percent(u32),
}

impl Limit {
    /// The number of slots among `known_hosts`.
    pub fn slots(self, known_hosts: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(0) => 0,
            Self::Percent(percent) => {
                let share = u64::from(known_hosts) * u64::from(percent) / 100;
                u32::try_from(share).unwrap_or(u32::MAX).max(1)
            }
        }
    }
}

/// The settings of one cluster. Durations are nanoseconds, as in Go.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Off makes the cluster invisible to hosts.
    pub enabled: bool,
    /// Regular expression; a host belongs to the cluster when its name matches anywhere.
    pub name_pattern: String,
    /// Names that the cluster passes over although they match.
    pub blacklist_name_pattern: Vec<String>,
    /// Of clusters whose patterns overlap the one with the highest priority wins, then the first by name.
    pub priority: i32,
    /// Free text of the operator's; nothing depends on it.
    pub cluster_type: String,
    /// Shortest uptime at which a host may restart.
    pub minimum_uptime: GoDuration,
    /// How many hosts may restart at once.
    pub allowed_parallel_restarts: Limit,
    /// Shortest time between two go-aheads of the cluster.
    pub minimum_interval: GoDuration,
    /// When go-aheads may be given; empty means always.
    pub restart_windows: Vec<Window>,
    /// Signature of a SQL function (cluster text, fqdn text) returning a reason against the restart, or null.
    pub blocker: Option<String>,
    /// How long a request_id that was handed out is good for.
    pub request_timeout: GoDuration,
    /// Commands to run when a host got its go-ahead.
    pub reboot_goahead_actions: Vec<String>,
    /// Commands that say whether an inquiring host should restart.
    pub reboot_goahead_checks: Vec<String>,
    /// The exit code of such a check that means yes.
    pub reboot_goahead_checks_exit_code_for_reboot: i32,
    /// Command that says (exit code 0) that a host is back in service.
    pub reboot_completion_check: Option<String>,
    /// Time between two completion checks.
    pub reboot_completion_check_interval: GoDuration,
    /// How many successes in a row complete a restart; at least 1.
    pub reboot_completion_check_consecutive_successes: u32,
    /// When checks start without a contact of the host, counted from the go-ahead; 0 = only at a contact.
    pub reboot_completion_check_offset: GoDuration,
    /// Commands to run when a restart is complete.
    pub reboot_completion_actions: Vec<String>,
    /// A restart that takes longer is overdue and stops the cluster; None = never.
    pub reboot_completion_panic_threshold: Option<GoDuration>,
    /// Commands to run for an overdue host, once per threshold.
    pub panic_scripts: Vec<String>,
    /// Longest run of one of the commands above; None = as the runner is configured.
    pub command_timeout: Option<GoDuration>,
    /// Failed commands become events, too, not only failed jobs.
    pub raise_errors: bool,
}

/// Who writes the settings: what is merely odd in a file of the original is an error in SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `set_cluster`: unknown keys are errors, `enabled` defaults to true.
    Sql,
    /// The original's files: unknown keys are warnings, `enabled` defaults to false as it did there.
    Import,
}

/// Why settings were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct SettingsError {
    /// The key at fault.
    pub key: String,
    /// What is wrong with it.
    pub problem: String,
    /// How to mend it.
    pub hint: String,
}

/// Accepted settings and what was odd about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// The settings.
    pub settings: Settings,
    /// One line for each oddity, naming the key.
    pub warnings: Vec<String>,
}

/// Every key of a cluster's settings; the original's first.
pub const KEYS: [&str; 24] = [
    "enabled",
    "name_pattern",
    "blacklist_name_pattern",
    "cluster_type",
    "minimum_uptime",
    "allowed_parallel_restarts",
    "reboot_goahead_actions",
    "reboot_goahead_checks",
    "reboot_goahead_checks_exit_code_for_reboot",
    "reboot_completion_check",
    "reboot_completion_check_interval",
    "reboot_completion_check_consecutive_successes",
    "reboot_completion_check_offset",
    "reboot_completion_actions",
    "reboot_completion_panic_threshold",
    "reboot_completion_panic_actions",
    "raise_errors",
    "priority",
    "minimum_interval",
    "restart_windows",
    "blocker",
    "request_timeout",
    "command_timeout",
    "comment",
];

/// The keys that are durations.
pub const SPANS: [&str; 7] = [
    "minimum_uptime",
    "minimum_interval",
    "request_timeout",
    "command_timeout",
    "reboot_completion_check_interval",
    "reboot_completion_check_offset",
    "reboot_completion_panic_threshold",
];

/// Default of `request_timeout`: 10 minutes, some 20 times the longest `ask_again_in`.
pub const REQUEST_TIMEOUT: GoDuration = GoDuration(600_000_000_000);

/// Reads settings from JSON; every key is judged.
///
/// # Errors
/// The first key that cannot be accepted, with the way to mend it.
pub fn read(value: &Value, source: Source) -> Result<Accepted, SettingsError> {
    let Value::Object(map) = value else {
        return Err(error(
            "settings",
            "is not a JSON object",
            "write {\"name_pattern\": …, \"allowed_parallel_restarts\": …}",
        ));
    };
    let mut reader = Reader::new(map, source);
    for key in map.keys().filter(|key| !KEYS.contains(&key.as_str())) {
        let like = KEYS.iter().min_by_key(|known| distance(key, known)).copied().unwrap_or_default();
        match source {
            Source::Sql => {
                let hint = format!("did you mean {like}? Keys are: {}", KEYS.join(", "));
                return Err(error(key, "is not a setting", hint));
            }
            Source::Import => {
                reader.warnings.push(format!("{key}: is not a setting and was ignored; did you mean {like}?"));
            }
        }
    }
    let settings = reader.settings()?;
    Ok(Accepted { settings, warnings: reader.warnings })
}

fn error(key: &str, problem: impl Into<String>, hint: impl Into<String>) -> SettingsError {
    SettingsError { key: key.into(), problem: problem.into(), hint: hint.into() }
}

/// Edit distance of two keys, to guess which one was meant.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let next = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}
