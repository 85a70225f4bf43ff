//! The command lines of the programs this binary replaces: recognised by the name it is called under, read in the
//! syntax of Go's `flag` package (`-x`, `--x`, `-x v`, `-x=v`) and translated into this program's own.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::Path;

/// What became of the arguments.
#[derive(Debug, PartialEq, Eq)]
pub enum Translation {
    /// Arguments for this program's own parser, the program's name first
    Run(Vec<OsString>),
    /// Text for standard output; then exit code 0
    Print(String),
    /// Text for standard error; then exit code 2
    Misuse(String),
}

/// One flag of a replaced program.
struct Flag {
    name: &'static str,
    /// None: a switch. Some: takes a value, shown under this name in the usage text
    value: Option<&'static str>,
    help: &'static str,
    /// The same flag of this program, and what stands before the value there
    ours: &'static str,
    /// What it is when it is not given
    default: Option<&'static str>,
}

/// A replaced program.
struct Program {
    name: &'static str,
    /// The words of this program's command line that stand for it
    ours: &'static [&'static str],
    flags: &'static [Flag],
}

/// goahead's server: no subcommand.
const SERVER: Program = Program {
    name: "goahead",
    ours: &["goahead", "serve"],
    flags: &[
        Flag {
            name: "config",
            value: Some("string"),
            help: "which config file to use",
            ours: "--config",
            default: Some("/etc/goahead/config.yml"),
        },
        Flag {
            name: "debug",
            value: None,
            help: "log debug output, defaults to false",
            ours: "--debug",
            default: None,
        },
        VERSION,
    ],
};

/// goahead_client.
const CLIENT: Program = Program {
    name: "goahead_client",
    ours: &["goahead", "client", "--legacy-output"],
    flags: &[
        Flag {
            name: "config",
            value: Some("string"),
            help: "which config file to use",
            ours: "--config",
            default: Some("/etc/goahead/client.yml"),
        },
        Flag {
            name: "debug",
            value: None,
            help: "log debug output, defaults to false",
            ours: "--debug",
            default: None,
        },
        Flag {
            name: "disabled",
            value: Some("string"),
            help: "file to check if goahead run should be skipped",
            ours: "--disabled",
            default: Some("/etc/goahead/disabled"),
        },
        Flag {
            name: "dry-run",
            value: None,
            help: "ask nothing that could be granted, run no hook: say what would happen (an addition of this program)",
            ours: "--dry-run",
            default: None,
        },
        VERSION,
    ],
};

/// web-rendezvous. As the original it is reached from everywhere, and an earlier run leaves no marks; what it does not
/// have is not opened.
const RENDEZVOUS: Program = Program {
    name: "web-rendezvous",
    ours: &["goahead", "serve", "--listen=off", "--admin-listen=off", "--insecure"],
    flags: &[
        Flag {
            name: "keep-marks",
            value: None,
            help: "keep the marks of an earlier run (an addition of this program)",
            ours: "--keep-marks",
            default: Some("false"),
        },
        Flag {
            name: "port",
            value: Some("string"),
            help: "Port to listen on",
            ours: "--rendezvous-listen=[::]:",
            default: Some("8080"),
        },
        Flag {
            name: "postgresURL",
            value: Some("string"),
            help: "Postgres URL of the form 'postgres://<username>:<password>@<host>:<port>/{{.}}[?<connection-string-params]'. \
                   {{.}} will be replaced with the db name",
            ours: "--postgres-url",
            default: Some("postgres://postgres:pgpass@postgres:5432/{{.}}?sslmode=disable"),
        },
        Flag {
            name: "timeout",
            value: Some("float"),
            help: "Timeout in seconds",
            ours: "--rendezvous-timeout",
            default: Some("30"),
        },
    ],
};

/// harepd. `gate` itself takes the three flags in their usual form.
const HAREPD: Program = Program {
    name: "harepd",
    ours: &["goahead", "gate"],
    flags: &[
        Flag { name: "client-only", value: None, help: "Run the client only", ours: "--client-only", default: None },
        Flag { name: "f", value: Some("string"), help: "Path to config file", ours: "-f", default: Some("conf.yaml") },
        Flag { name: "server-only", value: None, help: "Run the server only", ours: "--server-only", default: None },
    ],
};

const VERSION: Flag =
    Flag { name: "version", value: None, help: "show build time and version number", ours: "", default: None };

/// Translates the arguments of this process, its name first. Arguments that are none of a replaced program's pass as they are.
pub fn translate(arguments: impl IntoIterator<Item = OsString>) -> Translation {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let called_as = arguments.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    let rest = arguments.get(1..).unwrap_or_default();
    if let Some(program) =
        [&CLIENT, &RENDEZVOUS, &HAREPD].into_iter().find(|program| called_as == OsStr::new(program.name))
    {
        return program.translate(rest);
    }
    // The original server has flags only; this program's own command line has a command, or asks for help.
    if let Ok(Parsed::Given { flags, rest: [] }) = SERVER.parse(rest)
        && !flags.is_empty()
    {
        return SERVER.translate(rest);
    }
    Translation::Run(arguments)
}

/// What Go's flag package makes of a command line.
#[derive(Debug)]
enum Parsed<'a> {
    Help,
    Given {
        /// Name and value; the value of a switch is "true" or "false"
        flags: Vec<(&'static str, OsString)>,
        /// What follows the flags; the replaced programs ignore it
        rest: &'a [OsString],
    },
}

impl Program {
    fn translate(&self, arguments: &[OsString]) -> Translation {
        let given = match self.parse(arguments) {
            Ok(Parsed::Given { flags, .. }) => flags,
            // Go's flag package prints its usage to standard error and succeeds; a pager wants standard output.
            Ok(Parsed::Help) => return Translation::Print(self.usage()),
            Err(complaint) => return Translation::Misuse(format!("{complaint}\n{}", self.usage())),
        };
        let last = |name: &str| given.iter().rev().find(|(flag, _)| *flag == name).map(|(_, value)| value.clone());
        if last("version").is_some_and(|value| value == "true") {
            return Translation::Print(format!("{} version {}\n", self.name, env!("CARGO_PKG_VERSION")));
        }
        let mut ours: Vec<OsString> = self.ours.iter().map(OsString::from).collect();
        // harepd looks at the first of the two and no further.
        let overruled = last("server-only").is_some_and(|value| value == "true").then_some("client-only");
        for flag in self.flags.iter().filter(|flag| Some(flag.name) != overruled) {
            let value = last(flag.name).or_else(|| flag.default.map(OsString::from));
            match (flag.value, value) {
                (Some(_), Some(value)) => {
                    // One word, so that a value that begins with a dash stays a value.
                    let equals = if flag.ours.contains('=') { "" } else { "=" };
                    let mut word = OsString::from(format!("{}{equals}", flag.ours));
                    word.push(value);
                    ours.push(word);
                }
                (None, Some(value)) if value == "true" => ours.push(flag.ours.into()),
                // A switch that is off where this program has it on.
                (None, Some(value)) if flag.default.is_some() => {
                    ours.push(format!("{}={}", flag.ours, value.to_string_lossy()).into());
                }
                _ => {}
            }
        }
        Translation::Run(ours)
    }

    /// Source: the documentation of Go's package `flag`, "Command line flag syntax".
    fn parse<'a>(&self, mut arguments: &'a [OsString]) -> Result<Parsed<'a>, String> {
        let mut flags = Vec::new();
        while let Some((first, rest)) = arguments.split_first() {
            // A flag's name is ASCII, so a word that is not UTF-8 up to its value is none of ours.
            let word = first.to_string_lossy();
            let Some(text) = word.strip_prefix('-').filter(|text| !text.is_empty()) else {
                break;
            };
            arguments = rest;
            let text = text.strip_prefix('-').unwrap_or(text);
            if text.is_empty() {
                break;
            }
            if text.starts_with(['-', '=']) {
                return Err(format!("bad flag syntax: {word}"));
            }
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (text, None),
            };
            let Some(flag) = self.flags.iter().find(|flag| flag.name == name) else {
                if matches!(name, "help" | "h") {
                    return Ok(Parsed::Help);
                }
                return Err(format!("flag provided but not defined: -{name}"));
            };
            let value = match (flag.value, value) {
                (None, None) => "true".into(),
                (None, Some(value)) => match value {
                    "1" | "t" | "T" | "true" | "TRUE" | "True" => "true".into(),
                    "0" | "f" | "F" | "false" | "FALSE" | "False" => "false".into(),
                    _ => {
                        return Err(format!("invalid boolean value {value:?} for -{name}: parse error"));
                    }
                },
                (Some(_), Some(value)) => value.into(),
                (Some(_), None) => {
                    let Some((value, rest)) = arguments.split_first() else {
                        return Err(format!("flag needs an argument: -{name}"));
                    };
                    arguments = rest;
                    value.clone()
                }
            };
            flags.push((flag.name, value));
        }
        Ok(Parsed::Given { flags, rest: arguments })
    }

    /// The usage text, laid out as Go's flag package does.
    fn usage(&self) -> String {
        let mut text = format!("Usage of {}:\n", self.name);
        for flag in self.flags {
            let default = match (flag.default, flag.value) {
                (None, _) | (Some(_), None) => String::new(),
                (Some(value), Some("string")) => format!(" (default {value:?})"),
                (Some(value), Some(_)) => format!(" (default {value})"),
            };
            let value = flag.value.map(|value| format!(" {value}")).unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  -{}{value}\n    \t{}{default}", flag.name, flag.help);
        }
        text
    }
}

#[cfg(test)]
mod tests;
