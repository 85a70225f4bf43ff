//! A round as readers see it.

use goahead_rules::gate::{self, Ack, Reason, Role, RwDoor, Said, Verdict};
use goahead_rules::hba::State;

use super::asking::Asked;
use super::facts::Found;
use super::settings::Settings;
use super::snapshot::{self, Applied, Leader, Order, PeerView, Snapshot, Votes, Why};
use super::voting::Door;

/// The longest text of a reason, in characters.
const LONGEST: usize = 1000;

/// What a round found beside its verdict.
pub struct Findings<'a> {
    /// Its number
    pub number: u64,
    /// The local database
    pub found: &'a Found,
    /// The peers
    pub asked: &'a [Asked],
    /// When it began, microseconds since 1970
    pub wall_us: i64,
    /// The operator's order
    pub order: Option<Order>,
    /// What an operator should know, see [`super::remarks`]
    pub notes: &'a [String],
}

/// Puts it together. `open` is what is let in, which may be less than the verdict allows.
pub fn snapshot(
    settings: &Settings,
    rules: &gate::Settings,
    verdict: &Verdict,
    open: State,
    door: Door,
    applied: &Applied,
    findings: Findings<'_>,
) -> Snapshot {
    let peers = findings.asked.iter().map(|asked| peer(asked, rules)).collect();
    let leader = leader(settings, verdict, findings.found, findings.asked);
    let migrated = verdict.rw_reasons.iter().chain(&verdict.warnings);
    let migrated = migrated.filter(|reason| matches!(reason, Reason::HarepdCounted { .. })).count();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Snapshot {
        node: settings.node.clone(),
        mode: settings.mode,
        witness: settings.witness,
        round: findings.number,
        wall_us: findings.wall_us,
        decided_us: verdict.decided,
        expires_us: verdict.expires,
        verdict: snapshot::Verdict {
            rw: open.rw,
            ro: open.ro,
            rw_reasons: verdict.rw_reasons.iter().map(why).collect(),
            ro_reasons: verdict.ro_reasons.iter().map(why).collect(),
            rw_closed_since_us: match door {
                Door::Closed(at) => Some(at),
                Door::Open | Door::Unknown => None,
            },
        },
        local: findings.found.local.clone(),
        local_error: findings.found.error.clone(),
        votes: Votes {
            voters: count(rules.members.len()),
            needed: count(rules.majority()),
            got: count(verdict.acks.len()),
            migrated: count(migrated),
            lease_us: (verdict.acks.len() >= rules.majority()).then_some(verdict.expires),
        },
        vote: None,
        peers,
        leader,
        applied: applied.clone(),
        order: findings.order,
        notes: verdict.warnings.iter().map(plain).chain(findings.notes.iter().map(plain)).collect(),
    }
}

/// A text that may hold words of a peer, as it may be shown: on one line of a log, on a terminal, and not without end.
fn plain(text: &impl ToString) -> String {
    let text = text.to_string();
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(LONGEST).collect()
}

fn why(reason: &Reason) -> Why {
    Why { code: reason.code(), text: plain(reason) }
}

fn peer(asked: &Asked, rules: &gate::Settings) -> PeerView {
    let silent = match &asked.heard.said {
        Said::Silent(why) => Some(plain(why)),
        Said::Answer(_) | Said::Harepd { .. } => None,
    };
    let (mut ack, mut refusal, mut report) = (false, None, None);
    match &asked.heard.said {
        Said::Answer(answer) => {
            ack = answer.vote.ack == Ack::Granted;
            if let Ack::Refused { why } = &answer.vote.ack {
                refusal = Some(plain(why));
            }
            report = Some(answer.report.clone());
        }
        Said::Harepd { names_us, masters } => {
            let worth = gate::harepd_ack(rules, &asked.heard.peer, *names_us, masters);
            ack = worth.is_ok();
            refusal = worth.err().map(|reason| plain(&reason));
        }
        Said::Silent(_) => {}
    }
    let facts = report.as_ref().and_then(|report| report.facts.as_ref());
    PeerView {
        label: asked.peer.label(),
        address: asked.peer.authority(),
        witness: asked.peer.witness,
        heard: silent.is_none(),
        via: silent.is_none().then(|| asked.via.to_owned()),
        took_us: u64::try_from(asked.took.as_micros()).ok(),
        error: silent,
        ack,
        refusal,
        primary: facts.map(|facts| facts.role == Role::Primary),
        timeline: facts.map(|facts| facts.timeline),
        lsn: facts.map(|facts| facts.lsn),
        rw: report.as_ref().and_then(|report| match report.rw {
            RwDoor::Open => Some(true),
            RwDoor::Closed { .. } => Some(false),
            RwDoor::Unknown => None,
        }),
        ro: report.as_ref().map(|report| report.ro_open),
        report,
    }
}

fn leader(settings: &Settings, verdict: &Verdict, found: &Found, asked: &[Asked]) -> Option<Leader> {
    let name = verdict.primary.as_ref()?;
    if *name == settings.voter() {
        let local = found.local.as_ref()?;
        return Some(Leader { node: settings.node.clone(), timeline: local.timeline, lsn: local.current_lsn });
    }
    let asked = asked.iter().find(|asked| asked.heard.peer == *name)?;
    let facts = match &asked.heard.said {
        Said::Answer(answer) => answer.report.facts.as_ref(),
        Said::Harepd { .. } | Said::Silent(_) => None,
    };
    Some(Leader {
        node: asked.peer.label(),
        timeline: facts.map(|facts| facts.timeline),
        lsn: facts.map(|facts| facts.lsn),
    })
}

#[cfg(test)]
mod tests {
    use goahead_rules::gate::Refusal;

    use super::*;

    #[test]
    fn words_of_a_peer_stay_on_their_line() {
        let theirs = vec!["evil\n2026-11-21T00:00:00Z INFO open\u{1b}]0;x\u{7}".to_owned(), "y".repeat(60_000)];
        let reason = Reason::Refused { voter: "n2".into(), why: Refusal::OtherVoters { theirs } };
        let why = why(&reason);
        assert!(why.text.contains("n2") && why.text.contains("evil?2026"), "{}", why.text);
        assert!(!why.text.chars().any(char::is_control));
        assert_eq!(why.text.chars().count(), LONGEST);
    }
}
