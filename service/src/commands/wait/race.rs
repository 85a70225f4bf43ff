//! All targets at once, until it is known how the wait ends.

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::progress::Progress;
use super::target::Wanted;
use crate::commands::rendezvous::Rendezvous;
use crate::probe::{Miss, Prober};

/// A wait that is about to begin.
pub struct Race {
    /// What is waited for
    pub targets: Vec<Wanted>,
    /// Where keys are; needed if there is one
    pub rendezvous: Option<Rendezvous>,
    /// What tries the others
    pub prober: Prober,
    /// When it ends at the latest
    pub deadline: Instant,
    /// One target suffices
    pub any: bool,
    /// Nothing is said
    pub quiet: bool,
}

/// What became of a target: it is there, with its payload where it has one, or why it is not.
type Outcome = Result<Option<String>, Miss>;

/// How a wait ended, target by target. One that was still being waited for at the end has no outcome.
pub struct Found(Vec<(Wanted, Option<Outcome>)>);

impl Race {
    /// Waits.
    pub async fn run(self) -> Found {
        let Self { targets, rendezvous, prober, deadline, any, quiet } = self;
        let mut results: Vec<_> = targets.iter().map(|_| None).collect();
        let mut progress = Progress::new(quiet);
        let mut running: FuturesUnordered<_> = targets
            .iter()
            .enumerate()
            .map(|(index, target)| {
                let (rendezvous, prober) = (rendezvous.as_ref(), &prober);
                async move { (index, attend(target, rendezvous, prober, deadline).await) }
            })
            .collect();
        loop {
            let awaited =
                || targets.iter().zip(&results).filter(|(_, result)| result.is_none()).map(|(target, _)| target);
            tokio::select! {
                biased;
                done = running.next() => {
                    let Some((index, result)) = done else { break };
                    if result.is_ok() {
                        progress.there(&targets[index]);
                    }
                    // What comes at the deadline comes for all; then each has its reason to tell.
                    let decided = match &result {
                        Ok(_) => any,
                        Err(Miss::NotYet(_)) => false,
                        Err(_) => !any,
                    };
                    results[index] = Some(result);
                    if decided {
                        break;
                    }
                }
                () = progress.due() => progress.draw(awaited()),
            }
        }
        progress.clear();
        drop(running);
        Found(targets.into_iter().zip(results).collect())
    }
}

async fn attend(target: &Wanted, rendezvous: Option<&Rendezvous>, prober: &Prober, deadline: Instant) -> Outcome {
    match (target, rendezvous) {
        (Wanted::Probe(target), _) => prober.until(target, deadline).await.map(|()| None),
        (Wanted::Key(key), Some(rendezvous)) => rendezvous.wait(key, deadline).await,
        (Wanted::Key(_), None) => Err(Miss::Wrong("nobody said where keys are".into())),
    }
}

impl Found {
    /// Whether the wait was a success.
    pub fn enough(&self, any: bool) -> bool {
        let mut there = self.0.iter().map(|(_, result)| matches!(result, Some(Ok(_))));
        if any { there.any(|there| there) } else { there.all(|there| there) }
    }

    /// What is known not to be there, and why.
    pub fn missing(&self) -> impl Iterator<Item = (&Wanted, &Miss)> {
        self.0.iter().filter_map(|(target, result)| match result {
            Some(Err(miss)) => Some((target, miss)),
            _ => None,
        })
    }

    /// The payloads of keys, as JSON.
    pub fn payloads(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|(_, result)| match result {
            Some(Ok(payload)) => payload.as_deref(),
            _ => None,
        })
    }
}
