//! The programs of an attempt: restart each service, check, tell.

use std::time::Duration;

use goahead_rules::operation::Report;
use serde_json::{Value, json};

use super::calls::Operation;
use super::hold::GRACE;
use crate::program::{Outcome, Program};

/// What stands for a service's name in the restart command.
pub const SERVICE: &str = "{service}";

/// What is run, each as an argument vector.
#[derive(Debug)]
pub struct Programs<'a> {
    /// Restarts a service
    pub restart: &'a [String],
    /// Says whether it works
    pub check: Option<&'a [String]>,
    /// Is told how it ended
    pub on_done: Option<&'a [String]>,
    /// How long each may take
    pub timeout: Duration,
    /// What a failure is
    pub failure: Report,
}

/// How an attempt ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// What is to be reported
    pub report: Report,
    /// In words
    pub detail: String,
}

/// The restart command for one service. The name stays inside the word that has it, whatever it contains.
fn restart(words: &[String], service: &str) -> Vec<String> {
    words.iter().map(|word| word.replace(SERVICE, service)).collect()
}

/// Runs what an operation wants until `stop` is ready; then the rest is left out, and it is a retry.
pub async fn run<F: Future<Output = ()>>(
    programs: &Programs<'_>,
    operation: &Operation,
    unit: &str,
    stop: impl Fn() -> F,
) -> Told {
    let about = json!({
        "id": operation.id, "action": operation.action, "services": operation.services,
        "context": operation.context, "attempt": operation.attempt,
    });
    let program = |argv: Vec<String>, about: &Value| {
        Program::new(argv)
            .env("GOAHEAD_LOCK", &operation.lock)
            .env("GOAHEAD_LOCK_HOLDER", unit)
            .env("GOAHEAD_LOCK_TOKEN", operation.token.to_string())
            .env("GOAHEAD_OPERATION", operation.id.to_string())
            .stdin(about.to_string().into_bytes())
            .timeout(Some(programs.timeout))
            .grace(GRACE)
    };
    let steps = operation
        .services
        .iter()
        .map(|service| (format!("restart of {service}"), restart(programs.restart, service)))
        .chain(programs.check.map(|check| ("check".to_owned(), check.to_vec())));
    let mut failed = None;
    for (what, argv) in steps {
        let mut last = String::new();
        let outcome = program(argv, &about)
            .stream_until(stop(), |line| {
                tracing::info!("{what}: {line}");
                last = line.to_owned();
            })
            .await;
        if !outcome.success() {
            failed = Some(sentence(&what, &outcome, &last));
            break;
        }
    }
    let stopped = is_ready(stop()).await;
    let told = match failed {
        Some(detail) if stopped => Told { report: Report::RetryRelease, detail: format!("{detail}; told to end") },
        Some(detail) => Told { report: programs.failure, detail },
        None => Told { report: Report::Release, detail: "done".to_owned() },
    };
    if let Some(on_done) = programs.on_done.filter(|_| !stopped) {
        let mut about = about;
        about["outcome"] = told.report.as_str().into();
        let outcome =
            program(on_done.to_vec(), &about).stream_until(stop(), |line| tracing::info!("on-done: {line}")).await;
        if !outcome.success() {
            tracing::warn!("{}", sentence("on-done", &outcome, ""));
        }
    }
    told
}

async fn is_ready(stop: impl Future<Output = ()>) -> bool {
    tokio::select! {
        biased;
        () = stop => true,
        () = std::future::ready(()) => false,
    }
}

fn sentence(what: &str, outcome: &Outcome, last: &str) -> String {
    let last: String = last.chars().take(500).collect();
    if last.is_empty() { format!("{what}: {outcome}") } else { format!("{what}: {outcome}: {last}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn operation(services: &[&str]) -> Operation {
        let operation = json!({
            "id": 7, "lock": "restart", "token": 9, "action": "restart", "services": services,
            "context": { "version": 1 }, "attempt": 2,
        });
        serde_json::from_value(operation).expect("an operation")
    }

    fn programs<'a>(restart: &'a [String], check: Option<&'a [String]>, on_done: Option<&'a [String]>) -> Programs<'a> {
        Programs { restart, check, on_done, timeout: Duration::from_secs(60), failure: Report::RetryHold }
    }

    #[test]
    fn a_name_adds_no_word() {
        let command = words("systemctl --now restart {service}.service");
        assert_eq!(restart(&command, "a b; c"), ["systemctl", "--now", "restart", "a b; c.service"]);
    }

    #[tokio::test]
    async fn a_failure_ends_the_attempt_and_on_done_is_told_on_its_standard_input() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("told").display().to_string();
        let restart = words("test {service} = good");
        let on_done = ["sh", "-c", r#"cat > "$0"; echo " $GOAHEAD_LOCK_TOKEN" >> "$0""#, &file].map(str::to_owned);
        let told = run(
            &programs(&restart, Some(&words("true")), Some(&on_done)),
            &operation(&["good", "bad"]),
            "u",
            std::future::pending,
        )
        .await;
        assert_eq!((told.report, told.detail.as_str()), (Report::RetryHold, "restart of bad: exit status 1"));
        let text = std::fs::read_to_string(&file).expect("it was written");
        let (about, token) = text.trim().rsplit_once(' ').expect("two words");
        let about: Value = serde_json::from_str(about).expect("JSON");
        assert_eq!(
            (&about["outcome"], &about["context"], token),
            (&json!("retry_hold"), &json!({ "version": 1 }), "9")
        );

        let restart = words("true");
        let check = words("sh -c false");
        let told = run(&programs(&restart, Some(&check), None), &operation(&["x"]), "u", std::future::pending).await;
        assert_eq!(told.report, Report::RetryHold);
        let told = run(&programs(&restart, None, None), &operation(&["x"]), "u", std::future::pending).await;
        assert_eq!(told, Told { report: Report::Release, detail: "done".to_owned() });
    }

    #[tokio::test]
    async fn who_is_told_to_end_retries() {
        let restart = words("sleep 600");
        let told = run(&programs(&restart, None, None), &operation(&["x"]), "u", || std::future::ready(())).await;
        assert_eq!(told.report, Report::RetryRelease);
    }
}
