//! The sweeper: calls `goahead.sweep()` about once a second, so that deadlines are judged when nobody asks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::db::{Database, DbError};
use crate::metrics::Metrics;

/// Between two sweeps, unless the database asks to come sooner.
const INTERVAL: Duration = Duration::from_secs(1);
const SOONEST: Duration = Duration::from_millis(100);
/// Between two looks at the counts for `/metrics`.
const STATS: Duration = Duration::from_secs(10);

/// What a sweep returns, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
struct Swept {
    /// When the next deadline is due, in milliseconds
    next_ms: Option<f64>,
}

/// Sweeps until `stop` becomes true. Any number of services may do so over one database.
pub async fn run(db: Database, metrics: Arc<Metrics>, mut stop: watch::Receiver<bool>) {
    let mut failing = false;
    let mut looked: Option<Instant> = None;
    loop {
        let started = Instant::now();
        let pause = match db.json("SELECT goahead.sweep()", &[]).await {
            Ok(swept) => {
                metrics.sweep_duration.observe(started.elapsed().as_secs_f64());
                if std::mem::take(&mut failing) {
                    tracing::info!("sweeping works again");
                }
                let swept = swept.and_then(|json| serde_json::from_str::<Swept>(json.get()).ok()).unwrap_or_default();
                until_next(swept.next_ms)
            }
            Err(error) => {
                // That the database is away has been said by whoever noticed first.
                if !failing && !matches!(error, DbError::Unavailable(_)) {
                    tracing::warn!(%error, "goahead.sweep() failed; it is tried again every second");
                }
                failing = true;
                INTERVAL
            }
        };
        if !failing && looked.is_none_or(|at| at.elapsed() >= STATS) {
            looked = Some(Instant::now());
            refresh(&db, &metrics).await;
        }
        // Services that were started together drift apart.
        let pause = pause.mul_f64(rand::rng().random_range(0.8..1.2));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

fn until_next(next_ms: Option<f64>) -> Duration {
    match next_ms {
        Some(ms) if ms.is_finite() && ms >= 0.0 => {
            Duration::from_secs_f64((ms / 1000.0).min(INTERVAL.as_secs_f64())).max(SOONEST)
        }
        _ => INTERVAL,
    }
}

/// What `goahead.stats()` counts, into the gauges. Its keys are a fixed set of the extension's.
async fn refresh(db: &Database, metrics: &Metrics) {
    match db.json("SELECT goahead.stats()", &[]).await {
        Ok(Some(stats)) => {
            let Ok(Value::Object(stats)) = serde_json::from_str(stats.get()) else { return };
            for (what, count) in stats {
                if let Some(count) = count.as_i64() {
                    metrics.stats.with_label_values(&[what.as_str()]).set(count);
                }
            }
        }
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "goahead.stats() failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_may_ask_to_come_sooner_but_not_at_once_nor_later() {
        assert_eq!(until_next(None), INTERVAL);
        assert_eq!(until_next(Some(250.0)), Duration::from_millis(250));
        assert_eq!(until_next(Some(0.0)), SOONEST);
        assert_eq!(until_next(Some(1e9)), INTERVAL);
        assert_eq!(until_next(Some(f64::NAN)), INTERVAL);
        assert_eq!(until_next(Some(-5.0)), INTERVAL);
    }
}
