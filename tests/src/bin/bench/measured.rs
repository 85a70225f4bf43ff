//! Times and rates, and how they are written into a table.

use std::time::Duration;

/// Times of one kind of event, in order of length.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// These times.
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that `percent` of a hundred do not exceed; zero when there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let index = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(index).copied().unwrap_or_default()
    }

    /// All of them.
    pub fn all(&self) -> &[Duration] {
        &self.0
    }

    /// The longest; zero when there are none.
    pub fn longest(&self) -> Duration {
        self.percentile(100)
    }
}

/// Milliseconds as a cell of a table.
pub fn ms(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1000.0)
}

/// A ratio as a cell of a table, beside what it should be at least.
pub fn ratio(of: f64, to: f64, aim: Option<f64>) -> String {
    let aim = aim.map(|aim| format!(" (aim {aim})")).unwrap_or_default();
    format!("{:.2}{aim}", of / to)
}

/// How often something happened in `time`, for each second of it.
pub fn rate(count: usize, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
    let count = count as f64;
    count / time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let times = Times::new((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(times.percentile(50), Duration::from_millis(101));
        assert_eq!(times.percentile(99), Duration::from_millis(199));
        assert_eq!(times.longest(), Duration::from_millis(200));
        assert_eq!(Times::default().longest(), Duration::ZERO);
    }

    #[test]
    fn cells_show_the_aim_beside_the_figure() {
        assert_eq!(ratio(3.0, 2.0, Some(2.0)), "1.50 (aim 2)");
        assert_eq!(ratio(3.0, 2.0, None), "1.50");
        assert_eq!(ms(Duration::from_micros(1234)), "1.23");
        assert!((rate(10, Duration::from_secs(4)) - 2.5).abs() < 1e-9);
    }
}
