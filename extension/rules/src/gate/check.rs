//! Whether settings can work, said before the gate starts.

use super::settings::{Isolated, Settings};
use std::collections::BTreeSet;
use std::time::Duration;

/// What is wrong with settings, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The gate refuses to start; else it is a warning.
    pub fatal: bool,
    /// What, with the numbers.
    pub message: String,
}

fn s(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

impl Settings {
    /// Everything that is wrong or odd with them; the gate starts only when nothing of it is fatal.
    pub fn check(&self) -> Vec<Finding> {
        let fatal = self.impossible().into_iter().map(|message| Finding { fatal: true, message });
        let odd = self.odd().into_iter().map(|message| Finding { fatal: false, message });
        fatal.chain(odd).collect()
    }

    fn impossible(&self) -> Vec<String> {
        let mut wrong = self.members_wrong();
        let timings = [
            ("round", self.round),
            ("lease", self.lease),
            ("deadline", self.deadline),
            ("watchdog", self.watchdog),
            ("hold_down", self.hold_down),
        ];
        for (name, _) in timings.iter().filter(|(_, duration)| duration.is_zero()) {
            wrong.push(format!("{name} is 0; give it a duration, such as 1s"));
        }
        for (name, duration) in timings.iter().chain([&("detection", self.detection), &("skew", self.skew)]) {
            if *duration > Duration::from_secs(24 * 3600) {
                wrong.push(format!("{name} is {}; at most 24h is allowed", s(*duration)));
            }
        }
        if self.deadline >= self.round {
            wrong.push(format!(
                "deadline {} must be shorter than round {}: an answer counts only in its own round",
                s(self.deadline),
                s(self.round)
            ));
        }
        if self.round * 2 > self.lease {
            wrong.push(format!(
                "lease {} must be at least two rounds of {}: set lease to {} or more",
                s(self.lease),
                s(self.round),
                s(self.round * 2)
            ));
        }
        let needed = self.lease + self.watchdog + self.detection;
        if needed > self.hold_down {
            wrong.push(format!(
                "hold_down {} is shorter than lease {} + watchdog {} + detection {} = {}: a new primary would open before \
                 the proxy has left the old one; set hold_down to {} or more",
                s(self.hold_down),
                s(self.lease),
                s(self.watchdog),
                s(self.detection),
                s(needed),
                s(Self::default_hold_down(self.lease, self.watchdog, self.detection))
            ));
        }
        if self.skew * 5 > self.lease {
            wrong.push(format!(
                "skew {} is more than a fifth of lease {}; no clock is that bad",
                s(self.skew),
                s(self.lease)
            ));
        }
        if self.archive_only && self.max_lag_time.is_none() {
            wrong.push(
                "archive_only needs max_lag_time: nothing else tells how far such a standby is behind".to_owned(),
            );
        }
        wrong
    }

    fn members_wrong(&self) -> Vec<String> {
        let mut wrong = vec![];
        let names: BTreeSet<&str> = self.members.iter().map(|member| member.name.as_str()).collect();
        if names.len() != self.members.len() {
            wrong.push("two members have the same name; give every node a name of its own".to_owned());
        }
        if !names.contains(self.node.as_str()) {
            wrong.push(format!("this node, {}, is not among the members", self.node));
        }
        if self.members.iter().all(|member| member.witness) {
            wrong.push("every member is a witness; nobody could take traffic".to_owned());
        }
        if let Some(bad) =
            names.iter().find(|name| name.is_empty() || name.len() > 255 || name.contains(char::is_control))
        {
            wrong.push(format!("{bad:?} is no node name: 1 to 255 bytes without control characters"));
        }
        wrong
    }

    fn odd(&self) -> Vec<String> {
        let mut odd = vec![];
        let voters = self.members.len();
        if self.skew < self.lease / 1000 {
            odd.push(format!(
                "skew {} is less than 0.1 % of lease {}; clocks of virtual machines may drift more",
                s(self.skew),
                s(self.lease)
            ));
        }
        match (voters, self.isolated) {
            (1, _) => odd.push(
                "this node is the only voter, so it agrees with itself; add the other nodes and a witness".to_owned(),
            ),
            (2, Isolated::Close) => odd.push(
                "two voters: the primary closes as soon as the other is silent (isolated: close); a witness on a third \
                 machine keeps it open, or isolated: keep_if_sync while a synchronous standby streams"
                    .to_owned(),
            ),
            (2, Isolated::KeepIfSync) => odd.push(
                "two voters: a primary that hears nobody stays open while a synchronous standby streams from it, and \
                 closes a lease after that ends (isolated: keep_if_sync); nobody else opens without goahead gate open"
                    .to_owned(),
            ),
            (even, _) if even % 2 == 0 => odd.push(format!(
                "{even} voters need {} acks and so bear no more failures than {} would; add a witness",
                self.majority(),
                even - 1
            )),
            _ => {}
        }
        if voters != 2 && self.isolated == Isolated::KeepIfSync {
            odd.push(format!("isolated: keep_if_sync means nothing with {voters} voters: a majority decides"));
        }
        if self.max_lag.is_none() && self.max_lag_time.is_none() {
            odd.push(
                "neither max_lag nor max_lag_time is set: standbys take reads however far behind they are".to_owned(),
            );
        }
        if self.migrate_from_harepd {
            odd.push(
                "migrate_from_harepd: harepd's answers count as acks and exclude nobody; end it when every node runs \
                 goahead"
                    .to_owned(),
            );
        }
        odd
    }
}
