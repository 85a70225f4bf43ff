//! The read-only door.

use super::*;

#[test]
fn a_standby_that_follows_takes_reads() {
    let verdict = Case::standby().decide();
    assert_eq!((verdict.rw, verdict.ro, verdict.expires), (Rw::Closed, true, at(3000)));
    assert_eq!(verdict.primary.as_deref(), Some("p"));
    // Nobody needs to be heard for that.
    let case = Case::standby().hear(silent("p")).hear(silent("w"));
    assert!(case.decide().ro);
    let with = |change: fn(&mut NodeFacts)| {
        let mut case = Case::standby();
        change(case.me.as_mut().expect("set"));
        case.ro_codes()
    };
    assert_eq!(with(|me| me.upstream = None), ["not_streaming"]);
    assert_eq!(with(|me| me.upstream.as_mut().expect("set").streaming = false), ["not_streaming"]);
    assert_eq!(with(|me| me.replay_paused = true), ["replay_paused"]);
    assert_eq!(with(|me| me.lsn = (84 << 20) - 1), ["lag_bytes"]);
    fn silent_sender(me: &mut NodeFacts) {
        me.upstream.as_mut().expect("set").receipt_age = Some(ms(10_001));
    }
    let mut idle = Case::standby();
    silent_sender(idle.me.as_mut().expect("set"));
    assert!(idle.decide().ro, "the primary has no more than is here");
    let behind = |me: &mut NodeFacts| {
        silent_sender(me);
        me.lsn -= 1;
    };
    assert_eq!(with(behind), ["lag_time"]);
    let mut unheard = Case::standby().hear(silent("p"));
    silent_sender(unheard.me.as_mut().expect("set"));
    assert_eq!(unheard.ro_codes(), ["lag_time"]);
    assert_eq!(with(|me| me.replay_lag = Some(ms(10_001))), ["lag_time"]);
    assert_eq!(with(|me| me.age = ms(3001)), ["facts_old"]);
    let mut case = Case::standby().votes("p", vote(Ack::NotAsked, 0), Some(primary(2)));
    assert_eq!(case.ro_codes(), ["follows_other"]);
    // An older primary that is back is not whom to follow.
    case.me = Some(standby(3));
    assert!(case.decide().ro);
    case.me.as_mut().expect("set").upstream.as_mut().expect("set").latest_end_lsn = None;
    assert!(case.decide().ro, "the age of the receipt bounds it");
    case.me.as_mut().expect("set").upstream.as_mut().expect("set").receipt_age = None;
    assert_eq!(case.ro_codes(), ["lag_unknown"]);
}

/// A standby whose sender was heard so long ago, and whose primary's gate is not heard at all.
fn unheard(silence: u64, change: impl FnOnce(&mut NodeFacts)) -> Case {
    let mut case = Case::standby().hear(silent("p"));
    let me = case.me.as_mut().expect("set");
    let upstream = me.upstream.as_mut().expect("set");
    (upstream.receipt_age, upstream.quiet) = (Some(ms(silence)), Some(ms(30_000)));
    me.replay_age = Some(ms(3_600_000));
    me.replay_lag = Some(ms(0));
    change(me);
    case
}

#[test]
fn a_standby_of_an_idle_primary_takes_reads_without_hearing_its_gate() {
    for silence in [0, 20_600, 30_000, 33_000] {
        assert!(unheard(silence, |_| {}).decide().ro, "silent for {silence} ms");
    }
    // As far as the sender was when it was last heard, or farther by what came from elsewhere.
    assert!(unheard(20_600, |me| me.lsn += 1).decide().ro);
    // The facts grow old as well, and what waits to be replayed counts as ever.
    assert_eq!(unheard(32_500, |me| me.age = ms(501)).ro_codes(), ["lag_time"]);
    assert_eq!(unheard(20_600, |me| me.replay_lag = Some(ms(10_001))).ro_codes(), ["lag_time"]);
    // A receiver that does not stream says nothing.
    let ended = |me: &mut NodeFacts| me.upstream.as_mut().expect("set").streaming = false;
    assert!(unheard(0, ended).ro_codes().contains(&"not_streaming".to_owned()));
}

#[test]
fn a_receiver_whose_sender_does_not_answer_its_question_takes_no_reads() {
    let case = unheard(33_001, |_| {});
    assert_eq!(case.ro_codes(), ["lag_time"]);
    let why = case.decide().ro_reasons[0].to_string();
    assert!(why.starts_with("it is 33.0 s behind"), "{why}");
    // One that never asks: silence is lag as soon as the limit says so.
    let never = |me: &mut NodeFacts| me.upstream.as_mut().expect("set").quiet = None;
    assert!(unheard(10_000, never).decide().ro);
    assert_eq!(unheard(10_001, never).ro_codes(), ["lag_time"]);
}

#[test]
fn a_standby_that_has_not_replayed_all_is_as_old_as_the_last_message() {
    let behind = |me: &mut NodeFacts| {
        me.received_lsn = Some(me.lsn);
        me.lsn -= 1;
    };
    assert!(unheard(10_000, behind).decide().ro);
    assert_eq!(unheard(10_001, behind).ro_codes(), ["lag_time"]);
    // Not even all that the sender had has come in.
    let missing = |me: &mut NodeFacts| me.upstream.as_mut().expect("set").latest_end_lsn = Some(me.lsn + 1);
    assert_eq!(unheard(10_001, missing).ro_codes(), ["lag_time"]);
    let unknown = |me: &mut NodeFacts| me.upstream.as_mut().expect("set").latest_end_lsn = None;
    assert_eq!(unheard(10_001, unknown).ro_codes(), ["lag_time"]);
    // A primary that is heard has more than has come in: its sender should have said so.
    let ahead = NodeFacts { lsn: (100 << 20) + 1, ..primary(1) };
    let case = unheard(10_001, |_| {}).votes("p", vote(Ack::NotAsked, 0), Some(ahead));
    assert_eq!(case.ro_codes(), ["lag_time"]);
}

#[test]
fn paused_replay_takes_no_reads_even_when_there_is_nothing_to_replay() {
    assert_eq!(unheard(20_600, |me| me.replay_paused = true).ro_codes(), ["replay_paused"]);
    assert_eq!(unheard(0, |me| me.replay_paused = true).ro_codes(), ["replay_paused"]);
}

#[test]
fn a_standby_of_an_archive_takes_reads_when_told() {
    let mut case = Case::standby();
    case.settings.archive_only = true;
    case.me = Some(NodeFacts { upstream: None, replay_age: Some(ms(10_000)), ..standby(1) });
    assert!(case.decide().ro);
    case.me = Some(NodeFacts { upstream: None, replay_age: Some(ms(10_001)), ..standby(1) });
    assert_eq!(case.ro_codes(), ["lag_time"]);
    case.me = Some(NodeFacts { upstream: None, ..standby(1) });
    assert_eq!(case.ro_codes(), ["lag_unknown"]);
}

#[test]
fn a_primary_takes_reads_only_when_told_and_open() {
    let mut case = Case::primary();
    assert_eq!(case.ro_codes(), ["not_in_recovery"]);
    case.settings.ro_on_primary = true;
    assert!(case.decide().ro);
    case.settings.ro_on_primary = false;
    case.manual.ro = order(true);
    assert!(case.decide().ro);
    let case = case.hear(silent("w")).hear(silent("s"));
    assert_eq!(case.ro_codes(), ["primary_closed"]);
}

#[test]
fn operators_open_and_close_reads() {
    let mut case = Case::standby();
    case.manual.ro = order(false);
    assert_eq!(case.ro_codes(), ["operator_close"]);
    case.manual.ro = order(true);
    case.me = Some(NodeFacts { upstream: None, ..standby(1) });
    assert!(case.decide().ro);
    case.me = None;
    assert_eq!(case.ro_codes(), ["database_down"]);
}
