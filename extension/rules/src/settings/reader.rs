//! What each key of a cluster's settings may say.

use super::{KEYS, Limit, REQUEST_TIMEOUT, SPANS, Settings, SettingsError, Source, error};
use crate::duration::{self, GoDuration};
use crate::window::Window;
use crate::{command, pattern};
use serde_json::{Map, Value};

/// Reads one key after another.
pub(super) struct Reader<'a> {
    map: &'a Map<String, Value>,
    source: Source,
    pub warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    pub fn new(map: &'a Map<String, Value>, source: Source) -> Self {
        Self { map, source, warnings: Vec::new() }
    }

    /// All of them, or the first that cannot be accepted.
    pub fn settings(&mut self) -> Result<Settings, SettingsError> {
        let enabled = self.boolean("enabled", self.source == Source::Sql)?;
        if self.source == Source::Import && !self.map.contains_key("enabled") {
            self.warnings
                .push("enabled: is missing, so the cluster is off, as in the original; add enabled: true".into());
        }
        let name_pattern = self.pattern()?;
        let blacklist_name_pattern = self.texts("blacklist_name_pattern")?;
        for pattern in &blacklist_name_pattern {
            self.usable("blacklist_name_pattern", pattern, "patterns are regular expressions in RE2 syntax")?;
        }
        let check = self.commands_of_one("reboot_completion_check")?;
        let panic_threshold = self.span("reboot_completion_panic_threshold", GoDuration(0))?;
        self.text("comment")?;
        let settings = Settings {
            enabled,
            name_pattern,
            blacklist_name_pattern,
            priority: self.integer("priority", 0)?,
            cluster_type: self.text("cluster_type")?.unwrap_or_default(),
            minimum_uptime: self.span("minimum_uptime", GoDuration(0))?,
            allowed_parallel_restarts: self.limit()?,
            minimum_interval: self.span("minimum_interval", GoDuration(0))?,
            restart_windows: self.windows()?,
            blocker: self.text("blocker")?.filter(|text| !text.trim().is_empty()),
            request_timeout: self.span("request_timeout", REQUEST_TIMEOUT)?,
            reboot_goahead_actions: self.commands("reboot_goahead_actions")?,
            reboot_goahead_checks: self.commands("reboot_goahead_checks")?,
            reboot_goahead_checks_exit_code_for_reboot: self
                .integer("reboot_goahead_checks_exit_code_for_reboot", 0)?,
            reboot_completion_check: check,
            reboot_completion_check_interval: self.span("reboot_completion_check_interval", GoDuration(0))?,
            reboot_completion_check_consecutive_successes: self
                .unsigned("reboot_completion_check_consecutive_successes", 1)?
                .max(1),
            reboot_completion_check_offset: self.span("reboot_completion_check_offset", GoDuration(0))?,
            reboot_completion_actions: self.commands("reboot_completion_actions")?,
            reboot_completion_panic_threshold: (panic_threshold.0 > 0).then_some(panic_threshold),
            panic_scripts: self.panic_actions()?,
            command_timeout: Some(self.span("command_timeout", GoDuration(0))?).filter(|span| span.0 > 0),
            raise_errors: self.boolean("raise_errors", false)?,
        };
        if settings.request_timeout.0 < 60_000_000_000 {
            return Err(error(
                "request_timeout",
                "is shorter than 1m",
                "clients are told to wait up to 29 s before they ask again, so leave them at least 1m",
            ));
        }
        Ok(settings)
    }

    fn get(&self, key: &'static str) -> Option<&'a Value> {
        debug_assert!(KEYS.contains(&key), "{key} is missing in KEYS");
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn boolean(&self, key: &'static str, default: bool) -> Result<bool, SettingsError> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(error(key, format!("is {other}"), "write true or false")),
        }
    }

    fn text(&self, key: &'static str) -> Result<Option<String>, SettingsError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(error(key, format!("is {other}"), "write a text")),
        }
    }

    fn integer(&self, key: &'static str, default: i32) -> Result<i32, SettingsError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value
                .as_i64()
                .and_then(|number| i32::try_from(number).ok())
                .ok_or_else(|| error(key, format!("is {value}"), "write a whole number of at most 32 bits")),
        }
    }

    fn unsigned(&self, key: &'static str, default: u32) -> Result<u32, SettingsError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value
                .as_u64()
                .and_then(|number| u32::try_from(number).ok())
                .filter(|number| *number <= 1_000_000)
                .ok_or_else(|| error(key, format!("is {value}"), "write a whole number from 0 to 1000000")),
        }
    }

    fn texts(&self, key: &'static str) -> Result<Vec<String>, SettingsError> {
        let value = self.get(key);
        texts(key, value)
    }

    fn commands(&self, key: &'static str) -> Result<Vec<String>, SettingsError> {
        let commands = self.texts(key)?;
        commands.iter().try_for_each(|line| runnable(key, line))?;
        Ok(commands)
    }

    fn commands_of_one(&self, key: &'static str) -> Result<Option<String>, SettingsError> {
        let line = self.text(key)?.filter(|line| !line.trim().is_empty());
        if let Some(line) = &line {
            runnable(key, line)?;
        }
        Ok(line)
    }

    fn panic_actions(&mut self) -> Result<Vec<String>, SettingsError> {
        const KEY: &str = "reboot_completion_panic_actions";
        let Some(value) = self.get(KEY) else { return Ok(Vec::new()) };
        let Value::Object(actions) = value else {
            return Err(error(KEY, format!("is {value}"), "write {\"scripts\": [\"command …\"]}"));
        };
        if let Some(other) = actions.keys().find(|key| !matches!(key.as_str(), "mail" | "scripts")) {
            return Err(error(KEY, format!("has no part {other}"), "its parts are scripts and mail"));
        }
        if actions.get("mail").is_some_and(|mail| !texts(KEY, Some(mail)).is_ok_and(|list| list.is_empty())) {
            self.warnings.push(format!("{KEY}: mail was never sent by the original and is not by goahead; use a script or an alert on the metric"));
        }
        let scripts = texts(KEY, actions.get("scripts").filter(|value| !value.is_null()))?;
        match scripts.iter().try_for_each(|line| runnable(KEY, line)) {
            Ok(()) => Ok(scripts),
            Err(problem) => Err(problem),
        }
    }

    fn span(&mut self, key: &'static str, default: GoDuration) -> Result<GoDuration, SettingsError> {
        debug_assert!(SPANS.contains(&key), "{key} is missing in SPANS");
        let hint = "write a duration such as 300ms, 15s, 30m or 2h45m";
        let span = match self.get(key) {
            None => return Ok(default),
            Some(Value::String(text)) => {
                duration::parse(text).map_err(|problem| error(key, problem.to_string(), hint))?
            }
            Some(Value::Number(number)) if number.as_i64() == Some(0) => GoDuration(0),
            Some(Value::Number(number)) if self.source == Source::Import && number.as_i64().is_some() => {
                self.warnings
                    .push(format!("{key}: the bare number {number} means nanoseconds, as in the original; {hint}"));
                GoDuration(number.as_i64().unwrap_or_default())
            }
            Some(other) => return Err(error(key, format!("is {other}"), hint)),
        };
        match span.0 {
            0.. => Ok(span),
            _ => Err(error(key, "is negative", hint)),
        }
    }

    fn pattern(&mut self) -> Result<String, SettingsError> {
        const KEY: &str = "name_pattern";
        let hint = "write a regular expression that matches the host names of the cluster, such as ^web[0-9]+[.]example[.]org$";
        let pattern = self.text(KEY)?.filter(|text| !text.is_empty()).ok_or_else(|| error(KEY, "is missing", hint))?;
        self.usable(KEY, &pattern, hint)?;
        Ok(pattern)
    }

    /// Judges a pattern; one that no host name can match is a slip of the pen.
    fn usable(&mut self, key: &str, pattern: &str, hint: &str) -> Result<(), SettingsError> {
        pattern::validate_pattern(pattern).map_err(|problem| error(key, problem.to_string(), hint))?;
        if pattern::never_matches(pattern) {
            let problem = format!("{pattern:?} matches no host name; these have a-z, 0-9, hyphen, underscore and dot");
            match self.source {
                Source::Sql => return Err(error(key, problem, hint)),
                Source::Import => self.warnings.push(format!("{key}: {problem}")),
            }
        }
        Ok(())
    }

    fn limit(&mut self) -> Result<Limit, SettingsError> {
        const KEY: &str = "allowed_parallel_restarts";
        let hint = "write how many hosts may restart at once: a number such as 2, or a percentage of the known hosts such as \"10%\"; 0 means nobody";
        match self.get(KEY) {
            None => Err(error(KEY, "is missing", hint)),
            Some(Value::String(text)) => text
                .strip_suffix('%')
                .and_then(|digits| digits.trim().parse().ok())
                .filter(|percent| *percent <= 100)
                .map(Limit::Percent)
                .ok_or_else(|| error(KEY, format!("is {text:?}"), hint)),
            Some(value) => value
                .as_u64()
                .filter(|count| *count <= 1_000_000)
                .and_then(|count| u32::try_from(count).ok())
                .map(Limit::Count)
                .ok_or_else(|| error(KEY, format!("is {value}"), hint)),
        }
    }

    fn windows(&mut self) -> Result<Vec<Window>, SettingsError> {
        const KEY: &str = "restart_windows";
        let hint = "write [{\"days\": [\"mon\", \"tue\"], \"start\": \"22:00\", \"length\": \"6h\", \"time_zone\": \"Europe/Berlin\"}]";
        match self.get(KEY) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list
                .iter()
                .map(|window| Window::parse(window).map_err(|problem| error(KEY, problem.to_string(), hint)))
                .collect(),
            Some(other) => Err(error(KEY, format!("is {other}"), hint)),
        }
    }
}

/// A list of texts; one bare text counts as a list of one.
fn texts(key: &str, value: Option<&Value>) -> Result<Vec<String>, SettingsError> {
    let wrong = |value: &Value| error(key, format!("has the entry {value}"), "write a list of texts");
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(list)) => {
            list.iter().map(|entry| entry.as_str().map(str::to_owned).ok_or_else(|| wrong(entry))).collect()
        }
        Some(other) => Err(wrong(other)),
    }
}

fn runnable(key: &str, line: &str) -> Result<(), SettingsError> {
    command::validate(line).map_err(|problem| {
        error(
            key,
            format!("{problem} in the command {line:?}"),
            "a command is a program and its arguments; no shell reads it",
        )
    })
}
