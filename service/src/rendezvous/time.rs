//! Times as web-rendezvous' callers write them.

use std::time::Duration;

use goahead_rules::duration;

/// The longest that one request may wait.
pub const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A time from zero: a bare number of seconds, also with a fraction, or Go's `1m30s`.
///
/// # Errors
/// When it is neither.
pub fn time(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let bare = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let time = match text.parse::<f64>() {
        Ok(seconds) if bare => Duration::try_from_secs_f64(seconds).ok(),
        _ => duration::parse(text).ok().and_then(duration::GoDuration::to_std),
    };
    time.ok_or_else(|| format!("{text:?} is no time; write seconds (30) or a time with units (1m30s)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_numbers_are_seconds_and_all_else_is_go_s() {
        for (text, millis) in
            [("30", 30_000), ("0.5", 500), ("0", 0), ("1m30s", 90_000), ("250ms", 250), ("1.5h", 5_400_000)]
        {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "soon", "-1", "-1s", "1d", "inf", "NaN", "1e3", "1..2", ".", "1 2", "99999999999999999999999"]
        {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
