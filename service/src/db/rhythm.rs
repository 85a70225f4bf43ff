//! When a folding task waits for more callers before it calls the database.
//!
//! Callers that were answered together ask again together, a moment later. The first of them finds the task idle, has a
//! call to itself, and all others wait for that call before theirs begins: each sees two calls instead of one. Where a
//! call takes well under a millisecond that is cheaper than any wait. Where a commit takes milliseconds (a slow disk, a
//! synchronous replica) it halves what is possible, so there the task waits for as many callers as it has seen lately,
//! up to half of what a call takes; and when they do not come, it stops waiting for a while.

use std::time::Duration;

/// Calls that take less are repeated sooner than a timer could tell.
const SLOW: Duration = Duration::from_millis(2);
/// The longest pause between two waits, in calls.
const PAUSE: u32 = 63;

/// What a folding task knows about its callers.
#[derive(Debug, Default)]
pub struct Rhythm {
    /// How long the last call took
    taken: Duration,
    /// Callers that were answered by it, or were waiting when it ended
    callers: usize,
    /// Calls until the next wait
    skip: u32,
    /// How many calls to skip after the next wait in vain
    penalty: u32,
}

/// A wait that may pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Until this many callers are there
    pub callers: usize,
    /// Or until this time has passed
    pub limit: Duration,
}

impl Rhythm {
    /// Notes a call for `answered` callers, at whose end `waiting` others were there.
    pub fn called(&mut self, answered: usize, waiting: usize, taken: Duration) {
        self.callers = answered + waiting;
        self.taken = taken;
    }

    /// What to wait for when `present` callers are there and a call takes `most`.
    pub fn wait(&mut self, present: usize, most: usize) -> Option<Wait> {
        let callers = self.callers.min(most);
        if self.taken < SLOW || present >= callers {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        Some(Wait { callers, limit: self.taken / 2 })
    }

    /// Notes how a wait ended: how many callers were there. It has paid if most came.
    pub fn waited(&mut self, wait: Wait, present: usize) {
        let most = present * 4 >= wait.callers * 3;
        self.penalty = if most { 0 } else { (self.penalty * 2 + 1).min(PAUSE) };
        self.skip = self.penalty;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_millis(4);

    #[test]
    fn callers_that_come_back_are_waited_for() {
        let mut rhythm = Rhythm::default();
        assert_eq!(rhythm.wait(1, 256), None);
        rhythm.called(1, 15, LONG);
        assert_eq!(rhythm.wait(15, 256), Some(Wait { callers: 16, limit: LONG / 2 }));
        assert_eq!(rhythm.wait(16, 256), None);
        rhythm.called(300, 300, LONG);
        assert_eq!(rhythm.wait(200, 256).map(|wait| wait.callers), Some(256));
        assert_eq!(rhythm.wait(256, 256), None);
    }

    #[test]
    fn a_lone_caller_and_a_fast_database_wait_for_nobody() {
        let mut rhythm = Rhythm::default();
        rhythm.called(1, 0, LONG);
        assert_eq!(rhythm.wait(1, 256), None);
        rhythm.called(64, 0, SLOW / 2);
        assert_eq!(rhythm.wait(1, 256), None);
    }

    #[test]
    fn waits_in_vain_become_rare_until_one_pays() {
        let mut rhythm = Rhythm::default();
        let mut waits = 0;
        for _ in 0..1000 {
            rhythm.called(10, 0, LONG);
            if let Some(wait) = rhythm.wait(1, 256) {
                waits += 1;
                rhythm.waited(wait, 7);
            }
        }
        assert!((15..30).contains(&waits), "{waits}");
        let wait = std::iter::repeat_with(|| rhythm.wait(1, 256)).flatten().next().unwrap();
        rhythm.waited(wait, 8);
        rhythm.called(10, 0, LONG);
        assert!(rhythm.wait(1, 256).is_some());
    }
}
