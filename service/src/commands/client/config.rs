//! goahead_client's config file: its eleven keys and `token_file` in YAML, read as leniently as its YAML library did.

use std::path::{Path, PathBuf};
use std::time::Duration;

use goahead_rules::duration;
use hyper::Uri;
use serde_yaml_ng::{Mapping, Value};

use super::log::{Log, Stop};

const KEYS: [&str; 12] = [
    "timeout",
    "service_url",
    "service_url_ca_file",
    "requesting_fqdn",
    "ssl_private_key",
    "ssl_certificate_file",
    "ssl_require_and_verify_client_cert",
    "restart_condition_script",
    "restart_condition_script_exit_code_for_reboot",
    "os_restart_hooks_dir",
    "os_restart_hooks_allow_fail",
    "token_file",
];

/// What the config file says, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How long connecting to the service may take
    pub timeout: Duration,
    /// The service's address with a slash at its end
    pub service_url: String,
    /// Certificates that are trusted beside the system's
    pub ca_file: Option<PathBuf>,
    /// The name to ask for; none: this machine's
    pub fqdn: Option<String>,
    /// Certificate chain and private key that prove who is asking
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// The file of the token that proves who is asking
    pub token_file: Option<PathBuf>,
    /// The program that knows a local reason to restart, with its arguments
    pub condition: Vec<String>,
    /// The same as it stands in the file
    pub condition_text: String,
    /// The exit code that means there is a reason
    pub condition_code: i32,
    /// The directory of programs to run after the go-ahead
    pub hooks: PathBuf,
    /// Whether a failing hook lets the next one run
    pub hooks_may_fail: bool,
}

/// Reads and checks `path`.
///
/// # Errors
/// When it cannot be read, lacks a required key, or names a file that is not there; in goahead_client's words.
pub fn read(path: &Path, log: Log) -> Result<Config, Stop> {
    log.debug("readConfigfile", &format!("Trying to read config file: {}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| {
        Stop::fatal(format!("readConfigfile(): There was an error parsing the config file {}: {error}", path.display()))
    })?;
    let file = File::parse(&text, path)?;
    for key in file.unknown() {
        log.info(&format!("Ignoring unknown setting {key} in config file: {}", path.display()));
    }
    file.check()
}

/// The settings of one file, not judged yet.
struct File<'a> {
    path: &'a Path,
    settings: Mapping,
}

impl<'a> File<'a> {
    fn parse(text: &str, path: &'a Path) -> Result<Self, Stop> {
        let settings = match serde_yaml_ng::from_str(text) {
            Ok(Value::Mapping(settings)) => settings,
            Ok(Value::Null) => Mapping::new(),
            Ok(_) => return Err(broken(path, "settings are wanted as 'key: value' lines")),
            Err(error) => return Err(broken(path, &error.to_string())),
        };
        Ok(Self { path, settings })
    }

    fn unknown(&self) -> impl Iterator<Item = String> {
        self.settings.keys().filter(|key| !key.as_str().is_some_and(|key| KEYS.contains(&key))).map(scalar)
    }

    fn check(&self) -> Result<Config, Stop> {
        let service_url = self.service_url()?;
        let ca_file = self.file("service_url_ca_file")?;
        let key = self.file("ssl_private_key")?;
        let certificate = self.file("ssl_certificate_file")?;
        let required = self.boolean("ssl_require_and_verify_client_cert")?;
        let client_certificate = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ if required => {
                return Err(self
                    .fatal("ssl_require_and_verify_client_cert needs both ssl_certificate_file and ssl_private_key"));
            }
            _ => None,
        };
        let (condition_text, condition) = self.condition()?;
        Ok(Config {
            timeout: self.timeout()?,
            service_url,
            ca_file,
            fqdn: self.text("requesting_fqdn"),
            client_certificate,
            token_file: self.file("token_file")?,
            condition,
            condition_text,
            condition_code: self.integer("restart_condition_script_exit_code_for_reboot")?,
            hooks: self.hooks()?,
            hooks_may_fail: self.boolean("os_restart_hooks_allow_fail")?,
        })
    }

    fn service_url(&self) -> Result<String, Stop> {
        let Some(mut url) = self.text("service_url") else {
            return Err(self.missing("service_url"));
        };
        let valid = url.parse::<Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
                // Neither is sent anywhere; a password in an address would also end up in the log.
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                && uri.query().is_none()
        });
        if !valid {
            return Err(self.fatal(&format!("Failed to parse/validate service_url setting {url}")));
        }
        if !url.ends_with('/') {
            url.push('/');
        }
        Ok(url)
    }

    /// The program is what stands before the first blank, and only that must be there.
    fn condition(&self) -> Result<(String, Vec<String>), Stop> {
        let Some(text) = self.text("restart_condition_script") else {
            return Err(self.missing("restart_condition_script"));
        };
        let (program, arguments) = text.split_once(' ').unwrap_or((&text, ""));
        let arguments = shell_words::split(arguments).map_err(|error| {
            self.fatal(&format!("Failed to split the arguments of restart_condition_script {text}: {error}"))
        })?;
        self.exists("restart_condition_script", Path::new(program))?;
        let condition = std::iter::once(program.to_owned()).chain(arguments).collect();
        Ok((text, condition))
    }

    fn hooks(&self) -> Result<PathBuf, Stop> {
        let hooks = self.file("os_restart_hooks_dir")?.ok_or_else(|| self.missing("os_restart_hooks_dir"))?;
        if hooks.is_dir() {
            Ok(hooks)
        } else {
            Err(self.fatal(&format!("os_restart_hooks_dir {} is not a directory", hooks.display())))
        }
    }

    /// Go reads a bare number as nanoseconds, which nobody who wrote `timeout: 5` meant.
    fn timeout(&self) -> Result<Duration, Stop> {
        let Some(text) = self.text("timeout").filter(|text| text != "0") else {
            return Ok(Duration::from_secs(5));
        };
        let nanoseconds = match text.parse::<u64>() {
            Ok(seconds @ 0..1000) => Some(seconds * 1_000_000_000),
            Ok(nanoseconds) => Some(nanoseconds),
            Err(_) => duration::parse(&text).ok().and_then(|duration| u64::try_from(duration.0).ok()),
        };
        match nanoseconds.map(Duration::from_nanos) {
            Some(timeout) if timeout >= Duration::from_millis(1) => Ok(timeout),
            _ => Err(self.fatal(&format!(
                "Failed to read timeout setting {text}: give a time such as 5s or 1m30s, or whole seconds below 1000;"
            ))),
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        self.settings.get(key).map(scalar).filter(|text| !text.is_empty())
    }

    fn file(&self, key: &str) -> Result<Option<PathBuf>, Stop> {
        self.text(key).map(PathBuf::from).map(|file| self.exists(key, &file).map(|()| file)).transpose()
    }

    fn exists(&self, key: &str, file: &Path) -> Result<(), Stop> {
        match file.try_exists() {
            Ok(false) => Err(Stop::fatal(format!("Failed to find configured {key} {}", file.display()))),
            // What cannot be looked at fails with the better message when it is used.
            Ok(true) | Err(_) => Ok(()),
        }
    }

    /// YAML 1.1, which goahead_client's library reads, has more words for true and false.
    fn boolean(&self, key: &str) -> Result<bool, Stop> {
        let Some(text) = self.text(key) else {
            return Ok(false);
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Ok(true),
            "false" | "no" | "off" | "n" => Ok(false),
            _ => Err(broken(self.path, &format!("{key} is true or false, not {text}"))),
        }
    }

    fn integer(&self, key: &str) -> Result<i32, Stop> {
        self.text(key).map_or(Ok(0), |text| {
            text.parse().map_err(|_| broken(self.path, &format!("{key} is a whole number, not {text}")))
        })
    }

    fn missing(&self, key: &str) -> Stop {
        Stop::fatal(format!("Missing {key} setting in config file: {}", self.path.display()))
    }

    fn fatal(&self, text: &str) -> Stop {
        Stop::fatal(format!("{text} in config file: {}", self.path.display()))
    }
}

fn broken(path: &Path, why: &str) -> Stop {
    Stop::fatal(format!("In config file {}: YAML unmarshal error: {why}", path.display()))
}

/// A scalar as text, whatever YAML took it for; nothing where there is none.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
