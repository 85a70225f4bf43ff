//! The operator's own program that may close the gate, and never opens it.

use std::time::Duration;

use super::settings::Settings;
use crate::program::{Outcome, Program};

/// The longest reason, in characters.
const LONGEST: usize = 200;

/// Runs the program, if there is one. Why it closes; none: it does not. One that cannot run, or takes too long, closes.
pub async fn ask(settings: &Settings) -> Option<String> {
    if settings.veto.is_empty() {
        return None;
    }
    let finished = Program::new(settings.veto.clone())
        .clean_environment()
        .env("GOAHEAD_NODE", &settings.node)
        .timeout(Some(settings.timings.veto))
        .grace(Duration::ZERO)
        .run()
        .await;
    if finished.outcome.success() {
        return None;
    }
    let line = finished.output.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line: String = line.chars().filter(|character| !character.is_control()).take(LONGEST).collect();
    let why = match (&finished.outcome, line.is_empty()) {
        (Outcome::Exited(_), false) => line,
        (outcome, _) => outcome.to_string(),
    };
    Some(format!("the veto command says: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn veto(argv: &[&str]) -> Option<String> {
        let mut settings = Settings::for_tests("n1");
        settings.veto = argv.iter().map(|&argument| argument.to_owned()).collect();
        settings.timings.veto = Duration::from_millis(400);
        ask(&settings).await.map(|why| why.strip_prefix("the veto command says: ").unwrap().to_owned())
    }

    #[tokio::test]
    async fn only_success_keeps_it_out() {
        assert_eq!(veto(&[]).await, None);
        assert_eq!(veto(&["true"]).await, None);
        assert_eq!(veto(&["false"]).await.as_deref(), Some("exit status 1"));
        let says = ["sh", "-c", "echo; echo \"backup of $GOAHEAD_NODE runs\"; echo more; exit 3"];
        assert_eq!(veto(&says).await.as_deref(), Some("backup of n1 runs"));
        assert_eq!(veto(&["sleep", "100"]).await.as_deref(), Some("timed out"));
        assert!(veto(&["/no/such/program"]).await.unwrap().starts_with("not started"));
    }
}
