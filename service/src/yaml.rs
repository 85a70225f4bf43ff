//! YAML as the replaced programs' library reads it: booleans of YAML 1.1 (`yes`, `on`), durations with or without a unit.

use std::time::Duration;

use goahead_rules::duration;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_yaml_ng::Value;

/// The boolean that a scalar stands for in YAML 1.1, as Go's yaml.v2 resolves it; none for anything else.
pub fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) => match text.as_str() {
            "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => Some(true),
            "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// For `#[serde(deserialize_with)]`: an optional boolean of YAML 1.1.
///
/// # Errors
/// When the value is no boolean.
pub fn optional_boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        value => boolean(&value).map(Some).ok_or_else(|| D::Error::custom("a boolean is wanted: true or false")),
    }
}

/// A time above zero: `20s`, `1m30s`, or a bare number of seconds.
///
/// # Errors
/// What is wrong with it.
pub fn time(text: &str) -> Result<Duration, String> {
    let time = match text.trim().parse::<u32>() {
        Ok(seconds) => Duration::from_secs(seconds.into()),
        Err(_) => match duration::parse(text.trim()) {
            Ok(parsed) => Duration::from_nanos(u64::try_from(parsed.0).unwrap_or(0)),
            Err(error) => return Err(error.to_string()),
        },
    };
    if time.is_zero() { Err("a time above zero is wanted, such as 20s or 1m30s".into()) } else { Ok(time) }
}

/// For `#[serde(deserialize_with)]`: an optional time, as [`time`] reads it.
///
/// # Errors
/// When the value is no time.
pub fn optional_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) => time(&text).map(Some).map_err(D::Error::custom),
        Value::Number(number) => time(&number.to_string()).map(Some).map_err(D::Error::custom),
        _ => Err(D::Error::custom("a time is wanted, such as 20s or 1m30s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_those_of_yaml_1_1() {
        for (text, wanted) in [
            ("yes", Some(true)),
            ("On", Some(true)),
            ("true", Some(true)),
            ("TRUE", Some(true)),
            ("no", Some(false)),
            ("off", Some(false)),
            ("\"yes\"", Some(true)),
            ("1", None),
            ("yEs", None),
            ("maybe", None),
        ] {
            let value: Value = serde_yaml_ng::from_str(text).unwrap();
            assert_eq!(boolean(&value), wanted, "{text}");
        }
    }

    #[test]
    fn times_have_a_unit_or_are_seconds() {
        assert_eq!(time("20s"), Ok(Duration::from_secs(20)));
        assert_eq!(time("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("5"), Ok(Duration::from_secs(5)));
        for wrong in ["0", "0s", "-1s", "soon", ""] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
