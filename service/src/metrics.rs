//! What is counted, for `/metrics`. Every label has a small fixed set of values.

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// The metrics of one service process.
pub struct Metrics {
    registry: Registry,
    /// Requests by route pattern and status code
    pub http_requests: IntCounterVec,
    /// Seconds from the request's head to the response's, by route pattern
    pub http_duration: HistogramVec,
    /// Answers about restarts by kind, outcome and the condition that denied
    pub outcomes: IntCounterVec,
    /// Answers about locks by operation and outcome, both words of the extension's
    pub lock_outcomes: IntCounterVec,
    /// Reports about operations, by what came of them
    pub operations: IntCounterVec,
    /// Items that shared one call to the database, by kind
    pub fold_batch: HistogramVec,
    /// Seconds that one shared call took, by kind
    pub fold_duration: HistogramVec,
    /// Items sent again one by one because their group was busy, by kind
    pub fold_busy: IntCounterVec,
    /// Connections of the administration pool by state: open, idle, waiting (callers)
    pub pool: IntGaugeVec,
    /// What `goahead.stats()` last said, by its key
    pub stats: IntGaugeVec,
    /// 1 while the database answers
    pub database_up: IntGauge,
    /// Client connections open now
    pub connections: IntGauge,
    /// Callers that wait at a rendezvous now
    pub rendezvous_waiting: IntGauge,
    /// Keys signalled here, by what did it: put, probe
    pub rendezvous_signals: IntCounterVec,
    /// Waits that ended, by how: signalled, released, timed_out, refused, gone, stopping
    pub rendezvous_waits: IntCounterVec,
    /// Seconds from a signal to its waiters being told, by how it was heard of: here, notified
    pub rendezvous_wake: HistogramVec,
    /// Seconds of one sweep
    pub sweep_duration: Histogram,
}

/// From a tenth of a millisecond to ten seconds.
const SECONDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

impl Metrics {
    /// All metrics at zero, in a registry of their own.
    pub fn new() -> Self {
        let registry = Registry::new();
        let counter = |name, help, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels).expect("the name is a literal that fits");
            register(&registry, metric)
        };
        let gauge = |name, help, labels: &[&str]| {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels).expect("the name is a literal that fits");
            register(&registry, metric)
        };
        let single =
            |name, help| register(&registry, IntGauge::new(name, help).expect("the name is a literal that fits"));
        let histogram = |name, help, buckets: &[f64], labels: &[&str]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let metric = HistogramVec::new(options, labels).expect("the name is a literal that fits");
            register(&registry, metric)
        };
        let batch: Vec<f64> = (0..=8).map(|power| f64::from(1 << power)).collect();
        Self {
            http_requests: counter("goahead_http_requests_total", "HTTP requests answered.", &["route", "code"]),
            http_duration: histogram(
                "goahead_http_request_duration_seconds",
                "Time from the head of a request to the head of its response.",
                &SECONDS,
                &["route"],
            ),
            outcomes: counter(
                "goahead_restart_outcomes_total",
                "Answers about restarts; condition is set for denials.",
                &["kind", "outcome", "condition"],
            ),
            lock_outcomes: counter(
                "goahead_lock_outcomes_total",
                "Answers about locks; a wait that ends without a grant is queued.",
                &["op", "outcome"],
            ),
            operations: counter(
                "goahead_operation_reports_total",
                "Reports about operations under locks: done, retry, hold, failed, lost, guarded or unknown.",
                &["outcome"],
            ),
            fold_batch: histogram(
                "goahead_fold_batch_size",
                "Items that shared one call to the database.",
                &batch,
                &["kind"],
            ),
            fold_duration: histogram(
                "goahead_fold_call_duration_seconds",
                "Time of one shared call to the database.",
                &SECONDS,
                &["kind"],
            ),
            fold_busy: counter(
                "goahead_fold_busy_total",
                "Items asked again because another transaction held their group, or a blocker was to be asked.",
                &["kind"],
            ),
            pool: gauge("goahead_pool_connections", "Connections for administration, by state.", &["state"]),
            stats: gauge("goahead_fleet", "Counts that the database keeps, as of the last sweep.", &["what"]),
            database_up: single("goahead_database_up", "1 while the database answers."),
            connections: single("goahead_http_connections", "Client connections open now."),
            rendezvous_waiting: single("goahead_rendezvous_waiting", "Callers that wait at a rendezvous now."),
            rendezvous_signals: counter("goahead_rendezvous_signals_total", "Keys signalled by this service.", &["by"]),
            rendezvous_waits: counter("goahead_rendezvous_waits_total", "Waits that ended, by how.", &["outcome"]),
            rendezvous_wake: histogram(
                "goahead_rendezvous_wake_seconds",
                "Time from a signal here (the request to signal) or elsewhere (its notification) until its waiters are told.",
                &SECONDS,
                &["heard"],
            ),
            sweep_duration: register(
                &registry,
                Histogram::with_opts(
                    HistogramOpts::new("goahead_sweep_duration_seconds", "Time of one sweep.")
                        .buckets(SECONDS.to_vec()),
                )
                .expect("the name is a literal that fits"),
            ),
            registry,
        }
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        // Writing to memory cannot fail; a metric without samples is left out.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn register<M: prometheus::core::Collector + Clone + 'static>(registry: &Registry, metric: M) -> M {
    registry.register(Box::new(metric.clone())).expect("every name is registered once");
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_rendered() {
        let metrics = Metrics::new();
        metrics.outcomes.with_label_values(&["request", "denied", "limit"]).inc();
        metrics.fold_batch.with_label_values(&["contact"]).observe(17.0);
        let text = metrics.render();
        assert!(
            text.contains("goahead_restart_outcomes_total{condition=\"limit\",kind=\"request\",outcome=\"denied\"} 1"),
            "{text}"
        );
        assert!(text.contains("goahead_fold_batch_size_bucket{kind=\"contact\",le=\"32\"} 1"), "{text}");
    }
}
