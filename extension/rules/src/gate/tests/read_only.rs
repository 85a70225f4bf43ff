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
