//! Whose turn it is: how free slots are handed out.

use super::request::Hold;
use super::{Ask, Lock, Policy};
use crate::duration::GoDuration;
use crate::lease::Clock;

impl Lock {
    /// Whether somebody waits and a slot is free.
    pub fn has_room(&self) -> bool {
        let used = self.holders().count() + self.resting.len();
        !self.halted
            && i32::try_from(used).is_ok_and(|used| used < self.slots)
            && self.requests.iter().any(|request| request.hold.is_none())
    }

    /// Hands out free slots in the order of places: to the caller, and as offers to those who are not here.
    pub(super) fn serve(&mut self, caller: Option<&Ask<'_>>, policy: Policy<'_>, clock: Clock) {
        if self.halted {
            return;
        }
        let used: Vec<i32> = self
            .holders()
            .filter_map(|request| Some(request.hold.as_ref()?.slot))
            .chain(self.resting.iter().map(|(slot, _)| *slot))
            .collect();
        // Of a lock that shrank, slots beyond the last are still in use; they count.
        let count = usize::try_from(self.slots).unwrap_or(0).saturating_sub(used.len());
        let mut free: Vec<i32> = (1..=self.slots).filter(|slot| !used.contains(slot)).take(count).collect();
        free.reverse();
        for index in 0..self.requests.len() {
            let request = &mut self.requests[index];
            if request.hold.is_some() {
                continue;
            }
            if free.is_empty() {
                // Somebody before it came back and took what was kept for it.
                if request.is_kept_a_slot(clock) {
                    request.offered = None;
                    request.changed = true;
                }
                continue;
            }
            let calling = caller.filter(|ask| ask.holder == request.holder);
            let kept = request.is_kept_a_slot(clock);
            let fresh = request.offered.is_none() && request.offer() > GoDuration(0);
            if calling.is_none() && kept {
                free.pop();
                continue;
            }
            if calling.is_none() && !fresh || !self.permits(index, policy) {
                continue;
            }
            let slot = free.pop();
            let request = &mut self.requests[index];
            request.changed = true;
            match (calling, slot) {
                (Some(ask), Some(slot)) => {
                    self.last_token = (self.last_token + 1).max(self.token_floor + 1);
                    request.hold = Some(Hold {
                        slot,
                        token: self.last_token,
                        granted: clock.now,
                        renewed: clock.now,
                        ttl: request.ttl,
                        provisional: ask.provisional,
                        guarded: false,
                    });
                    request.waited = false;
                    request.offered = None;
                }
                _ => {
                    request.offered = Some(clock.now);
                    if request.waited {
                        self.woken.push(request.holder.clone());
                    }
                }
            }
        }
    }

    fn permits(&self, index: usize, policy: Policy<'_>) -> bool {
        let granted: Vec<&str> = self.holders().map(|request| request.holder.as_str()).collect();
        let queue: Vec<&str> = self
            .requests
            .iter()
            .filter(|request| request.hold.is_none())
            .map(|request| request.holder.as_str())
            .collect();
        policy(&self.requests[index].holder, &granted, &queue)
    }
}
