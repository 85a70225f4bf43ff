//! Durations as Go writes them, because goahead's clients and config files speak Go: `2255h27m43s`, `1.5s`, `300ms`.
//!
//! Parsing follows `time.ParseDuration` and printing follows `Duration.String` of Go's standard library, including the
//! wording of its errors, so that a client sees the text it always saw.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// The units of Go's syntax with their length in nanoseconds. The two Greek ones are the micro sign and the letter mu.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The magnitude of Go's most negative duration, the largest that any part of a text may reach.
const LIMIT: u64 = 1 << 63;

/// A signed length of time in nanoseconds, at most about 292 years either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(pub i64);

/// Why a text is not a Go duration; the wording is Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The text does not follow the grammar, or its value does not fit.
    #[error("time: invalid duration {}", quote(.0))]
    Invalid(String),
    /// A number stands without a unit, as in `5`.
    #[error("time: missing unit in duration {}", quote(.0))]
    MissingUnit(String),
    /// A unit that Go does not know, as in `1d`: the unit, then the whole text.
    #[error("time: unknown unit {} in duration {}", quote(.0), quote(.1))]
    UnknownUnit(String, String),
}

/// Reads a duration: an optional sign, then numbers with an optional fraction and a unit each (`ns us µs ms s m h`),
/// or just `0`.
///
/// # Errors
/// As Go: a missing or unknown unit, anything else in the text, or a value beyond ±2^63 nanoseconds.
pub fn parse(text: &str) -> Result<GoDuration, ParseError> {
    let invalid = || ParseError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(GoDuration(0));
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        // Go judges the whole number before it looks at the unit.
        let whole = whole_number(whole).ok_or_else(invalid)?;
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        if unit.is_empty() {
            return Err(ParseError::MissingUnit(text.to_owned()));
        }
        let length = UNITS
            .iter()
            .find_map(|&(name, length)| (name == unit).then_some(length))
            .ok_or_else(|| ParseError::UnknownUnit(unit.to_owned(), text.to_owned()))?;
        let part = whole.checked_mul(length).and_then(|part| part.checked_add(fraction_of(fraction, length)));
        total = part.and_then(|part| total.checked_add(part)).filter(|&total| total <= LIMIT).ok_or_else(invalid)?;
        rest = after;
    }
    if negative {
        // The one value without a positive twin, -2^63, is its own wrapped negation.
        return Ok(GoDuration((total as i64).wrapping_neg()));
    }
    i64::try_from(total).map(GoDuration).map_err(|_| invalid())
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// The value of a run of digits, or nothing beyond 2^63; no digits count as 0 (as in `.5s`).
fn whole_number(digits: &str) -> Option<u64> {
    digits
        .bytes()
        .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .filter(|&value| value <= LIMIT)
}

/// The nanoseconds in a decimal fraction of a unit. Go multiplies as floating point, after dropping the digits that
/// no longer fit 63 bits; the same steps give the same last nanosecond.
fn fraction_of(digits: &str, length: u64) -> u64 {
    let mut value: u64 = 0;
    let mut scale: f64 = 1.0;
    for digit in digits.bytes() {
        let next = value.checked_mul(10).and_then(|next| next.checked_add(u64::from(digit - b'0')));
        let Some(next) = next.filter(|&next| next <= LIMIT) else { break };
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (length as f64 / scale)) as u64
}

/// Go's quoting in these messages: a backslash before quotes and backslashes, `\xNN` for every byte that is a control
/// character or not ASCII, so that a hostile text cannot forge a log line.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=0x7f => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push('"');
    quoted
}

impl GoDuration {
    /// No time at all; prints as `0s`.
    pub const ZERO: Self = Self(0);

    /// The duration of so many seconds; beyond the range (±292 years) the nearest end of it.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// The duration of so many microseconds, PostgreSQL's unit; beyond the range the nearest end of it.
    #[must_use]
    pub const fn from_micros(microseconds: i64) -> Self {
        Self(microseconds.saturating_mul(1_000))
    }

    /// Whole microseconds, the rest cut off towards zero.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0 / 1_000
    }

    /// From the standard library's duration; beyond the range its end.
    #[must_use]
    pub fn from_std(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }

    /// As the standard library's duration, which has no negative values: those give nothing.
    #[must_use]
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }
}

impl FromStr for GoDuration {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text)
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanoseconds = self.0.unsigned_abs();
        let text = match nanoseconds {
            0 => "0s".to_owned(),
            1..1_000 => format!("{nanoseconds}ns"),
            1_000..1_000_000 => decimal(nanoseconds, 1_000) + "\u{b5}s",
            1_000_000..1_000_000_000 => decimal(nanoseconds, 1_000_000) + "ms",
            _ => {
                let minutes = nanoseconds / 60_000_000_000;
                let seconds = decimal(nanoseconds % 60_000_000_000, 1_000_000_000);
                match (minutes / 60, minutes % 60) {
                    (0, 0) => format!("{seconds}s"),
                    (0, minutes) => format!("{minutes}m{seconds}s"),
                    (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
                }
            }
        };
        f.pad(&format!("{sign}{text}"))
    }
}

/// `value / unit` as a decimal number without trailing zeros; `unit` is a power of ten.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, fraction) = (value / unit, value % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let digits = unit.ilog10() as usize;
    let fraction = format!("{fraction:0digits$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = GoDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration as text, such as \"1h30m\" or \"45s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
                parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn reads(text: &str, nanoseconds: i64) {
        assert_eq!(parse(text), Ok(GoDuration(nanoseconds)), "{text}");
    }

    #[track_caller]
    fn refuses(text: &str, message: &str) {
        assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
    }

    #[test]
    fn reads_every_unit() {
        reads("1ns", 1);
        reads("2us", 2_000);
        reads("2\u{b5}s", 2_000);
        reads("2\u{3bc}s", 2_000);
        reads("3ms", 3_000_000);
        reads("4s", 4_000_000_000);
        reads("5m", 300_000_000_000);
        reads("6h", 21_600_000_000_000);
        reads("2255h27m43s", 8_119_663_000_000_000);
    }

    #[test]
    fn reads_signs_fractions_and_any_order() {
        reads("0", 0);
        reads("-0", 0);
        reads("+0", 0);
        reads("-1.5h", -5_400_000_000_000);
        reads("+.5s", 500_000_000);
        reads("5.s", 5_000_000_000);
        reads("1s1h1s", 3_602_000_000_000);
        reads("0.100000000000000000000h", 360_000_000_000);
        reads("0.9223372036854775807h", 3_320_413_933_267);
        reads("0.99999999999999999999999999s", 1_000_000_000);
        reads("0.3333333333333333333h", 1_200_000_000_000);
    }

    #[test]
    fn keeps_to_63_bits() {
        reads("9223372036854775807ns", i64::MAX);
        reads("-9223372036854775808ns", i64::MIN);
        reads("-2562047h47m16.854775808s", i64::MIN);
        for text in [
            "9223372036854775808ns",
            "-9223372036854775808ns1ns",
            "-9223372036854775809ns",
            "9223372036854775.808us",
            "9223372036s854ms775us808ns",
            "3000000h",
            "99999999999999999999999s",
            "-9223372036854775808ns9223372036854775808ns",
            "9223372036854775809x",
        ] {
            refuses(text, &format!("time: invalid duration \"{text}\""));
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        refuses("5", "time: missing unit in duration \"5\"");
        refuses("1h5", "time: missing unit in duration \"1h5\"");
        refuses("1d", "time: unknown unit \"d\" in duration \"1d\"");
        refuses("9 days", "time: unknown unit \" days\" in duration \"9 days\"");
        refuses("1H", "time: unknown unit \"H\" in duration \"1H\"");
        refuses("1s ", "time: unknown unit \"s \" in duration \"1s \"");
        for text in ["", "-", "+", ".", ".s", "-.s", "s", " 1s", "--1s", "1h-5m", "0x1s"] {
            assert!(parse(text).is_err(), "{text}");
        }
        refuses("\"\\\n\u{e4}", "time: invalid duration \"\\\"\\\\\\x0a\\xc3\\xa4\"");
    }

    #[test]
    fn prints_as_go_does() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_000, "1\u{b5}s"),
            (1_000_000, "1ms"),
            (1_000_000_000, "1s"),
            (1_100, "1.1\u{b5}s"),
            (2_200_000, "2.2ms"),
            (300_000_000, "300ms"),
            (1_500_000_000, "1.5s"),
            (3_000_000_001, "3.000000001s"),
            (59_000_000_000, "59s"),
            (60_000_000_000, "1m0s"),
            (1_800_000_000_000, "30m0s"),
            (3_600_000_000_000, "1h0m0s"),
            (9_060_000_000_000, "2h31m0s"),
            (-9_060_001_000_000, "-2h31m0.001s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(GoDuration(nanoseconds).to_string(), text);
        }
    }

    #[test]
    fn converts_at_the_edges() {
        assert_eq!(GoDuration::from_micros(i64::MAX), GoDuration(i64::MAX));
        assert_eq!(GoDuration::from_secs(i64::MIN), GoDuration(i64::MIN));
        assert_eq!(GoDuration::from_secs(2).as_micros(), 2_000_000);
        assert_eq!(GoDuration(-1_999).as_micros(), -1);
        assert_eq!(GoDuration(-1).to_std(), None);
        assert_eq!(GoDuration(1_500).to_std(), Some(Duration::from_nanos(1_500)));
        assert_eq!(GoDuration::from_std(Duration::MAX), GoDuration(i64::MAX));
        assert_eq!(GoDuration::from_std(Duration::from_millis(7)), GoDuration(7_000_000));
    }

    #[test]
    fn is_text_in_json() {
        assert_eq!(serde_json::to_string(&GoDuration::from_secs(90)).unwrap(), "\"1m30s\"");
        assert_eq!(serde_json::from_str::<GoDuration>("\"1m30s\"").unwrap(), GoDuration::from_secs(90));
        let error = serde_json::from_str::<GoDuration>("90").unwrap_err().to_string();
        assert!(error.contains("a duration as text"), "{error}");
        let error = serde_json::from_str::<GoDuration>("\"90\"").unwrap_err().to_string();
        assert!(error.contains("missing unit"), "{error}");
    }

    proptest! {
        #[test]
        fn printing_and_reading_agree(nanoseconds in any::<i64>(), shift in 0u32..63) {
            let duration = GoDuration(nanoseconds >> shift);
            prop_assert_eq!(parse(&duration.to_string()), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "[-+]?([0-9]{0,20}(\\.[0-9]{0,20})?[a-zµ ]{0,2}){0,4}|.*") {
            if let Ok(duration) = parse(&text) {
                prop_assert_eq!(parse(&duration.to_string()), Ok(duration));
            }
        }
    }
}
