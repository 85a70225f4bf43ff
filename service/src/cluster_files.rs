//! Cluster files: the original goahead's `*.yml`, read into what `goahead.import_clusters` takes.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use serde_yaml_ng::Value as Yaml;

use crate::db::{Database, DbError, Json};
use crate::yaml;

/// Settings that are true or false.
const BOOLEANS: [&str; 2] = ["enabled", "raise_errors"];

/// Reads cluster files; a cluster in two of them is as the last says, as in the original.
///
/// # Errors
/// Which file cannot be read, and why; then none counts.
pub fn read(files: &[PathBuf]) -> Result<Map<String, Value>, String> {
    let mut clusters = Map::new();
    for path in files {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        clusters.extend(parse(&text).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    Ok(clusters)
}

/// The cluster files of a directory, in the order of their names.
///
/// # Errors
/// When the directory cannot be read, or holds none.
pub fn files_in(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let wrong = |error: std::io::Error| format!("include_dir {}: {error}", directory.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        // As the original's glob `*.yml`, which takes no hidden file.
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "yml") {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(format!("include_dir {}: no file in it ends in .yml", directory.display()));
    }
    files.sort();
    Ok(files)
}

/// What the database said about an import.
#[derive(Debug, Default)]
pub struct Report {
    /// A line per cluster, warning or error
    pub lines: Vec<Line>,
}

/// A line of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// What was done
    Done(String),
    /// What is worth a look, or was left alone
    Warning(String),
    /// A cluster that was not written, and why
    Error(String),
}

impl Report {
    /// Whether every cluster was taken.
    pub fn complete(&self) -> bool {
        !self.lines.iter().any(|line| matches!(line, Line::Error(_)))
    }
}

impl From<String> for Line {
    fn from(line: String) -> Self {
        match line.split_once(": ") {
            Some(("error", text)) => Self::Error(text.to_owned()),
            Some(("warning", text)) => Self::Warning(text.to_owned()),
            _ => Self::Done(line),
        }
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done(text) => f.write_str(text),
            Self::Warning(text) => write!(f, "warning: {text}"),
            Self::Error(text) => write!(f, "error: {text}"),
        }
    }
}

/// Writes the clusters to the database. A cluster that it refuses does not keep the others out.
///
/// # Errors
/// When the database cannot be asked; then nothing was written.
pub async fn import(db: &Database, clusters: &Map<String, Value>, force: bool) -> Result<Report, DbError> {
    let settings = Value::Object(clusters.clone()).to_string();
    let sql = "SELECT * FROM goahead.import_clusters($1, $2)";
    let rows = db.call_at_length(sql, &[&Json(&settings), &force]).await?;
    let line = |row: &tokio_postgres::Row| Ok(Line::from(row.try_get::<_, String>(0).map_err(DbError::from)?));
    Ok(Report { lines: rows.iter().map(line).collect::<Result<_, DbError>>()? })
}

fn parse(text: &str) -> Result<Map<String, Value>, String> {
    let Yaml::Mapping(clusters) = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())? else {
        return Err("clusters are wanted: a name, a colon, and its settings indented below".into());
    };
    let mut all = Map::new();
    for (name, settings) in clusters {
        let name = key(&name)?;
        let settings = match settings {
            Yaml::Mapping(settings) => settings,
            Yaml::Null => serde_yaml_ng::Mapping::new(),
            _ => return Err(format!("cluster {name:?}: settings are wanted, indented below the name")),
        };
        let mut converted = Map::new();
        for (setting, value) in settings {
            let setting = key(&setting)?;
            let value = if BOOLEANS.contains(&setting.as_str()) {
                yaml::boolean(&value).map_or_else(|| json(value), |value| Ok(Value::Bool(value)))
            } else {
                json(value)
            };
            let value = value.map_err(|error| format!("cluster {name:?}, {setting}: {error}"))?;
            converted.insert(setting, value);
        }
        all.insert(name, Value::Object(converted));
    }
    Ok(all)
}

/// A name may look like a number.
fn key(value: &Yaml) -> Result<String, String> {
    match value {
        Yaml::String(text) => Ok(text.clone()),
        Yaml::Number(number) => Ok(number.to_string()),
        Yaml::Bool(value) => Ok(value.to_string()),
        _ => Err("a name is wanted before the colon".into()),
    }
}

fn json(value: Yaml) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_s_files_are_read() {
        let clusters = parse(
            "---\nweb:\n  enabled: yes\n  raise_errors: off\n  name_pattern: \"^web\"\n  allowed_parallel_restarts: 2\n  \
             reboot_goahead_actions:\n    - /bin/echo {:%fqdn%:}\n  reboot_completion_panic_actions:\n    scripts:\n      - a\n\
             12:\n",
        )
        .unwrap();
        assert_eq!(
            Value::Object(clusters),
            serde_json::json!({
                "web": {
                    "enabled": true, "raise_errors": false, "name_pattern": "^web", "allowed_parallel_restarts": 2,
                    "reboot_goahead_actions": ["/bin/echo {:%fqdn%:}"],
                    "reboot_completion_panic_actions": {"scripts": ["a"]},
                },
                "12": {},
            })
        );
    }

    #[test]
    fn a_report_with_an_error_is_not_complete() {
        let report = |lines: &[&str]| Report { lines: lines.iter().map(|line| Line::from(line.to_string())).collect() };
        assert!(report(&["web: imported", "warning: web: nonsense: is not a setting"]).complete());
        assert!(report(&["error-prone: imported"]).complete());
        assert!(!report(&["web: imported", "error: cluster db: name_pattern: is missing"]).complete());
    }

    #[test]
    fn what_is_no_cluster_file_is_refused() {
        for (text, named) in [("- web", "name"), ("web: true", "\"web\""), ("web: [", "line"), ("? [a]\n: {}", "name")]
        {
            let error = parse(text).expect_err(text);
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
