//! Windows as text: read from the JSON of settings and written back.

use std::fmt;

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Days, WEEK, Weekday, Window};
use crate::duration::{self, GoDuration};

const MINUTE: i64 = 60_000_000_000;
const KEYS: [&str; 4] = ["days", "start", "length", "time_zone"];
const DAYS_HINT: &str = "write days such as [\"mon\", \"wed\"] or \"mon-fri\", or \"daily\"";

/// Why a window is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct WindowError {
    /// The key at fault, or `window` when it is no object at all.
    pub key: String,
    /// What is wrong and how to mend it.
    pub problem: String,
}

fn error(key: &str, problem: impl Into<String>) -> WindowError {
    WindowError { key: key.to_owned(), problem: problem.into() }
}

impl Window {
    /// Reads a window from JSON: `{"days": ["mon", "tue"], "start": "22:00", "length": "6h", "time_zone": "Europe/Berlin"}`.
    ///
    /// `days` may also be a text such as `"mon-fri"`, `"fri-mon"` (over the weekend), `"mon,wed"` or `"daily"`, which is the
    /// default; `length` is a Go duration of whole minutes, at most a week; `time_zone` defaults to `UTC`, and whether
    /// it exists is for PostgreSQL to say.
    ///
    /// # Errors
    /// Names the first key that is missing, unknown or wrong.
    pub fn parse(value: &Value) -> Result<Self, WindowError> {
        let Value::Object(map) = value else {
            let form = "write {\"days\": \"mon-fri\", \"start\": \"22:00\", \"length\": \"6h\", \"time_zone\": \"Europe/Berlin\"}";
            return Err(error("window", format!("{value} is not an object; {form}")));
        };
        if let Some(key) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(error(key, format!("is not a key of a window; the keys are {}", KEYS.join(", "))));
        }
        Ok(Self {
            days: days(map.get("days"))?,
            start: start(text(map, "start", "write when the window opens, such as \"22:00\"")?)?,
            length: length(text(map, "length", "write how long it stays open, such as \"6h\"")?)?,
            time_zone: time_zone(map)?,
        })
    }
}

fn text<'a>(map: &'a Map<String, Value>, key: &str, hint: &str) -> Result<&'a str, WindowError> {
    match map.get(key) {
        None | Some(Value::Null) => Err(error(key, format!("is missing; {hint}"))),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(error(key, format!("{other} is not a text; {hint}"))),
    }
}

fn days(value: Option<&Value>) -> Result<Days, WindowError> {
    let wrong = |found: &Value| error("days", format!("{found} is no day; {DAYS_HINT}"));
    let mut days = Days::default();
    match value {
        None | Some(Value::Null) => return Ok(Days::DAILY),
        Some(Value::String(text)) => text.split(',').try_for_each(|item| add_days(&mut days, item))?,
        Some(Value::Array(items)) => {
            items.iter().try_for_each(|item| add_days(&mut days, item.as_str().ok_or_else(|| wrong(item))?))?
        }
        Some(other) => return Err(wrong(other)),
    }
    if days == Days::default() {
        return Err(error("days", format!("names no day; {DAYS_HINT}, or leave it out")));
    }
    Ok(days)
}

/// Three letters or the full English name, in any case.
fn weekday(name: &str) -> Option<Weekday> {
    const FULL: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let name = name.to_ascii_lowercase();
    let matches = |(day, full): (Weekday, &str)| (name == day.name() || name == full).then_some(day);
    Weekday::ALL.into_iter().zip(FULL).find_map(matches)
}

/// Adds `mon`, `mon-fri` or `daily`; a range may run over the end of the week.
fn add_days(days: &mut Days, item: &str) -> Result<(), WindowError> {
    let day = |name: &str| {
        weekday(name.trim()).ok_or_else(|| error("days", format!("{:?} is no day; {DAYS_HINT}", name.trim())))
    };
    if matches!(item.trim().to_ascii_lowercase().as_str(), "daily" | "*") {
        *days = Days::DAILY;
    } else if let Some((first, last)) = item.split_once('-') {
        let (first, last) = (day(first)?, day(last)?);
        let count = (last as usize + 7 - first as usize) % 7 + 1;
        let range = Weekday::ALL.into_iter().cycle().skip(first as usize).take(count);
        range.for_each(|day| days.insert(day));
    } else {
        days.insert(day(item)?);
    }
    Ok(())
}

fn start(text: &str) -> Result<u16, WindowError> {
    let number = |digits: &str, limit: u16| {
        let plain = matches!(digits.len(), 1 | 2) && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|&number: &u16| plain && number < limit)
    };
    text.split_once(':')
        .filter(|(_, minutes)| minutes.len() == 2)
        .and_then(|(hours, minutes)| Some(number(hours, 24)? * 60 + number(minutes, 60)?))
        .ok_or_else(|| error("start", format!("{text:?} is no time of day; write 00:00 to 23:59")))
}

fn length(text: &str) -> Result<u16, WindowError> {
    let GoDuration(nanoseconds) = duration::parse(text).map_err(|problem| error("length", problem.to_string()))?;
    u16::try_from(nanoseconds / MINUTE)
        .ok()
        .filter(|minutes| nanoseconds % MINUTE == 0 && (1..=WEEK).contains(minutes))
        .ok_or_else(|| error("length", format!("{text:?} is not 1m to 168h (a week) in whole minutes")))
}

fn time_zone(map: &Map<String, Value>) -> Result<String, WindowError> {
    const HINT: &str = "write a name such as \"Europe/Berlin\", or leave it out for UTC";
    if matches!(map.get("time_zone"), None | Some(Value::Null)) {
        return Ok("UTC".to_owned());
    }
    let zone = text(map, "time_zone", HINT)?;
    if zone.is_empty() || zone.len() > 255 || zone.chars().any(char::is_control) {
        return Err(error("time_zone", format!("{zone:?} is no time zone; {HINT}")));
    }
    Ok(zone.to_owned())
}

/// The window as it could have been written, for listings and messages: `mon,tue 22:00 for 6h0m0s Europe/Berlin`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} for {} {}", self.days, self.start_text(), self.length_text(), self.time_zone)
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::DAILY {
            return f.write_str("daily");
        }
        let names: Vec<_> = Weekday::ALL.into_iter().filter(|day| self.contains(*day)).map(Weekday::name).collect();
        f.write_str(&names.join(","))
    }
}

impl Window {
    fn start_text(&self) -> String {
        format!("{:02}:{:02}", self.start / 60, self.start % 60)
    }

    fn length_text(&self) -> GoDuration {
        GoDuration(i64::from(self.length) * MINUTE)
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(KEYS.len()))?;
        map.serialize_entry("days", &self.days.to_string())?;
        map.serialize_entry("start", &self.start_text())?;
        map.serialize_entry("length", &self.length_text())?;
        map.serialize_entry("time_zone", &self.time_zone)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[track_caller]
    fn reads(value: Value, written: &str) {
        assert_eq!(Window::parse(&value).unwrap().to_string(), written, "{value}");
    }

    #[track_caller]
    fn refuses(value: Value, message: &str) {
        let error = Window::parse(&value).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}\nis not\n{message}");
    }

    #[test]
    fn reads_what_people_write() {
        let night = |days: Value| json!({"days": days, "start": "22:00", "length": "6h"});
        reads(json!({"start": "22:00", "length": "6h"}), "daily 22:00 for 6h0m0s UTC");
        reads(night(json!(["mon", "Tue", "SUNDAY"])), "mon,tue,sun 22:00 for 6h0m0s UTC");
        reads(night(json!("mon-fri")), "mon,tue,wed,thu,fri 22:00 for 6h0m0s UTC");
        reads(night(json!("fri - mon")), "mon,fri,sat,sun 22:00 for 6h0m0s UTC");
        reads(night(json!("wed-tue")), "daily 22:00 for 6h0m0s UTC");
        reads(night(json!("sat-sat")), "sat 22:00 for 6h0m0s UTC");
        reads(night(json!(["mon-tue", "sat"])), "mon,tue,sat 22:00 for 6h0m0s UTC");
        reads(night(json!("mon, wed")), "mon,wed 22:00 for 6h0m0s UTC");
        reads(night(json!("daily")), "daily 22:00 for 6h0m0s UTC");
        reads(night(json!(null)), "daily 22:00 for 6h0m0s UTC");
        reads(
            json!({"start": "9:05", "length": "1m", "time_zone": "Europe/Berlin"}),
            "daily 09:05 for 1m0s Europe/Berlin",
        );
        reads(json!({"start": "00:00", "length": "168h"}), "daily 00:00 for 168h0m0s UTC");
        reads(json!({"start": "23:59", "length": "1.5h"}), "daily 23:59 for 1h30m0s UTC");
    }

    #[test]
    fn refuses_and_names_the_key() {
        refuses(json!("22:00"), "window: \"22:00\" is not an object; write {");
        refuses(json!({"start": "22:00", "lenght": "6h"}), "lenght: is not a key of a window");
        refuses(json!({"length": "6h"}), "start: is missing");
        refuses(json!({"start": "22:00"}), "length: is missing");
        refuses(json!({"start": 22, "length": "6h"}), "start: 22 is not a text");
        for start in ["24:00", "22:60", "22", "22:0", "-1:00", "+2:00", "022:00", "", ":", "22:00:00", "2200"] {
            refuses(json!({"start": start, "length": "6h"}), &format!("start: {start:?} is no time of day"));
        }
        for length in ["0", "-1h", "90s", "168h1m", "1ns", "2000000h"] {
            refuses(json!({"start": "22:00", "length": length}), &format!("length: {length:?} is not 1m to"));
        }
        refuses(json!({"start": "22:00", "length": "1d"}), "length: time: unknown unit \"d\"");
        refuses(json!({"start": "22:00", "length": 6}), "length: 6 is not a text");
        let with_days = |days: Value| json!({"days": days, "start": "22:00", "length": "6h"});
        refuses(with_days(json!("someday")), "days: \"someday\" is no day");
        refuses(with_days(json!("mon-")), "days: \"\" is no day");
        refuses(with_days(json!("")), "days: \"\" is no day");
        refuses(with_days(json!("mon-tue-wed")), "days: \"tue-wed\" is no day");
        refuses(with_days(json!(["mon", 2])), "days: 2 is no day");
        refuses(with_days(json!(1)), "days: 1 is no day");
        refuses(with_days(json!([])), "days: names no day");
        let in_zone = |zone: Value| json!({"start": "22:00", "length": "6h", "time_zone": zone});
        refuses(in_zone(json!("")), "time_zone: \"\" is no time zone");
        refuses(in_zone(json!("a\nb")), "time_zone: \"a\\nb\" is no time zone");
        refuses(in_zone(json!("x".repeat(256))), "time_zone:");
        refuses(in_zone(json!(1)), "time_zone: 1 is not a text");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            days in proptest::sample::subsequence(&Weekday::ALL[..], 1..=7),
            start in 0u16..1440,
            length in 1..=WEEK,
            time_zone in "[A-Za-z/+_-]{1,20}",
        ) {
            let window = Window { days: days.into_iter().collect(), start, length, time_zone };
            let written = serde_json::to_value(&window).unwrap();
            prop_assert_eq!(&serde_json::from_value::<Window>(written).unwrap(), &window);
        }
    }
}
