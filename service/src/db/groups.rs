//! Groups whose lock somebody holds: each gets its share of the connections that wait for locks, and no more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Calls of one group that may wait at once.
const TURNS: usize = 2;
/// How long a group that stayed locked for a whole wait is taken for locked without asking.
const STUCK: Duration = Duration::from_millis(500);
/// Groups that are kept without a look at whether they are still needed.
const KEPT: usize = 64;

/// The groups that were busy lately, by name.
#[derive(Debug, Default)]
pub struct Groups(Mutex<HashMap<String, Group>>);

#[derive(Debug)]
struct Group {
    turns: Arc<Semaphore>,
    stuck: Option<Instant>,
}

impl Group {
    fn is_stuck(&self) -> bool {
        self.stuck.is_some_and(|since| since.elapsed() < STUCK)
    }
}

impl Groups {
    /// Whether the lock of `group` could not be had a moment ago, by a call that waited for it as long as it may.
    pub fn is_stuck(&self, group: &str) -> bool {
        self.lock().get(group).is_some_and(Group::is_stuck)
    }

    /// Notes that a call waited in vain.
    pub fn note_stuck(&self, group: &str) {
        if let Some(group) = self.lock().get_mut(group) {
            group.stuck = Some(Instant::now());
        }
    }

    /// The permission to wait for the lock of `group`, when its turn comes.
    pub async fn turn(&self, group: &str) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut groups = self.lock();
            if groups.len() >= KEPT {
                groups.retain(|_, group| group.is_stuck() || Arc::strong_count(&group.turns) > 1);
            }
            let group = groups
                .entry(group.to_owned())
                .or_insert_with(|| Group { turns: Arc::new(Semaphore::new(TURNS)), stuck: None });
            Arc::clone(&group.turns)
        };
        // Fails only for a semaphore that was closed, which none is.
        turns.acquire_owned().await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Group>> {
        // Nothing that could panic runs under this lock; if it did, the map is still a map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_group_takes_its_turns_and_no_other_s() {
        let groups = Groups::default();
        let first = groups.turn("web").await;
        let _second = groups.turn("web").await;
        let third = async { tokio::time::timeout(Duration::from_millis(20), groups.turn("web")).await };
        assert!(third.await.is_err());
        assert!(groups.turn("db").await.is_some());
        drop(first);
        assert!(groups.turn("web").await.is_some());
    }

    #[tokio::test]
    async fn a_stuck_group_is_remembered_for_a_moment() {
        let groups = Groups::default();
        let turn = groups.turn("web").await;
        assert!(!groups.is_stuck("web"));
        groups.note_stuck("web");
        assert!(groups.is_stuck("web") && !groups.is_stuck("db"));
        drop(turn);
        tokio::time::sleep(STUCK).await;
        assert!(!groups.is_stuck("web"));
    }

    #[tokio::test]
    async fn groups_that_nobody_waits_for_are_forgotten() {
        let groups = Groups::default();
        let kept = groups.turn("kept").await;
        for n in 0..10 * KEPT {
            groups.turn(&n.to_string()).await;
        }
        assert!(groups.lock().len() <= KEPT + 1);
        assert!(groups.lock().contains_key("kept"));
        drop(kept);
    }
}
