//! The read-write door.

use super::*;
use crate::hba::State;

#[test]
fn a_primary_that_everybody_acks_opens_for_a_lease_from_the_ask() {
    let verdict = Case::primary().decide();
    assert_eq!((verdict.rw, verdict.ro), (Rw::Lease, false));
    assert_eq!((verdict.expires, verdict.open_by), (at(3000), at(1000)));
    assert_eq!(verdict.acks.len(), 3);
    assert_eq!(verdict.primary.as_deref(), Some("p"));
    assert!(verdict.rw_open(at(2999)) && !verdict.rw_open(at(3000)));
    assert!(verdict.may_begin(at(999)) && !verdict.may_begin(at(1000)));
    let text = serde_json::to_string(&verdict).expect("JSON");
    assert_eq!(serde_json::from_str::<Verdict>(&text).expect("back"), verdict);
}

#[test]
fn a_door_begins_to_open_only_early_and_when_others_were_told() {
    let verdict = Verdict { ro: true, ..Case::primary().decide() };
    let [closed, rw, ro, both] = [State::CLOSED, State::PRIMARY, State::STANDBY, State::BOTH];
    assert_eq!(verdict.next(closed, true, at(999)), both);
    assert_eq!(verdict.next(closed, false, at(999)), closed);
    assert_eq!(verdict.next(closed, true, at(1000)), closed);
    // What is open stays open to the end, and closes without being asked for.
    assert_eq!(verdict.next(rw, false, at(2999)), rw);
    assert_eq!(verdict.next(both, true, at(3000)), closed);
    let shut = Verdict { rw: Rw::Closed, ..verdict };
    assert_eq!(shut.next(rw, true, at(999)), ro);
    assert_eq!(shut.next(rw, false, at(999)), closed);
}

#[test]
fn native_facts_are_required_to_open() {
    let mut case = Case::primary();
    case.me = None;
    assert_eq!(case.rw_codes(), ["database_down"]);
    case.me = Some(NodeFacts { age: ms(3001), ..primary(1) });
    assert_eq!(case.rw_codes(), ["facts_old"]);
    case.me = Some(NodeFacts { shutting_down: true, ..primary(1) });
    assert_eq!(case.rw_codes(), ["shutting_down"]);
    case.me = Some(standby(1));
    assert_eq!(case.rw_codes(), ["in_recovery"]);
    case.me = Some(primary(1));
    case.settings.system_identifier = Some(SystemId(1));
    assert_eq!(case.rw_codes(), ["other_cluster"]);
    case.settings = settings("w");
    assert_eq!(case.rw_codes(), ["witness"]);
    // Old facts end the lease early.
    let mut case = Case::primary();
    case.me = Some(NodeFacts { age: ms(2000), ..primary(1) });
    assert_eq!(case.decide().expires, at(1020));
}

#[test]
fn the_cluster_is_the_first_one_seen() {
    let mut case = Case::primary();
    let verdict = case.decide();
    assert_eq!(verdict.system_identifier, Some(CLUSTER));
    case.previous = Some(verdict);
    case.me = Some(NodeFacts::primary(SystemId(9), 1));
    assert_eq!(case.rw_codes(), ["other_cluster"]);
    // But a peer's other cluster is only said.
    let case = Case::primary().votes("s", vote(Ack::NotAsked, 0), Some(NodeFacts::primary(SystemId(9), 8)));
    assert!(case.decide().warnings.iter().any(|w| w.code() == "peer_of_other_cluster"));
    assert_eq!(case.decide().rw, Rw::Lease);
}

#[test]
fn two_of_three_acks_are_needed() {
    let case = Case::primary().hear(silent("s"));
    assert_eq!(case.decide().rw, Rw::Lease);
    assert!(case.decide().warnings.iter().any(|w| w.code() == "silent"));
    let why = Refusal::HeldByOther { node: "s".to_owned(), left: ms(5) };
    let case = case.hear(silent("w"));
    assert_eq!(case.rw_codes(), ["no_majority", "silent", "silent"]);
    let case = case.votes("w", refusal(why), None);
    assert_eq!(case.rw_codes(), ["no_majority", "silent", "refused"]);
}

#[test]
fn four_voters_need_three_acks() {
    let mut case = Case::primary();
    case.settings.members.push(Member { name: "t".to_owned(), witness: false });
    assert_eq!(case.settings.majority(), 3);
    assert_eq!(case.decide().rw, Rw::Lease);
    assert_eq!(case.hear(silent("w")).rw_codes(), ["no_majority", "silent", "silent"]);
}

#[test]
fn an_answer_counts_only_in_its_own_round() {
    let spoil = |change: fn(&mut Heard, &mut Answer)| {
        let mut case = Case::primary().hear(silent("s"));
        let mut heard = case.heard.iter().find(|heard| heard.peer == "w").expect("w").clone();
        let Said::Answer(answer) = heard.said.clone() else { panic!("an answer") };
        let mut answer = *answer;
        change(&mut heard, &mut answer);
        heard.said = Said::Answer(Box::new(answer));
        case = case.hear(heard);
        case.rw_codes()
    };
    let stale = ["no_majority", "silent", "stale"];
    assert_eq!(spoil(|_, answer| answer.round = 4), stale);
    assert_eq!(spoil(|_, answer| answer.incarnation = 2), stale);
    assert_eq!(spoil(|_, answer| answer.from = "s".to_owned()), stale);
    assert_eq!(spoil(|_, answer| answer.to = "s".to_owned()), stale);
    assert_eq!(spoil(|_, answer| answer.protocol = 2), stale);
    assert_eq!(spoil(|heard, _| heard.received = at(1001)), stale);
    assert_eq!(spoil(|heard, _| heard.received = at(-1)), stale);
}

#[test]
fn an_open_primary_lives_on_acks_of_earlier_rounds_until_they_end() {
    let mut case = Case::primary();
    let mut previous = case.decide();
    previous.acks = [("p".to_owned(), at(2000)), ("s".to_owned(), at(1500)), ("w".to_owned(), at(1000))].into();
    previous.expires = at(1500);
    (case.previous, case.door) = (Some(previous), RwDoor::Open);
    case = case.hear(silent("s")).hear(silent("w"));
    assert_eq!((case.decide().rw, case.decide().expires), (Rw::Lease, at(1500)));
    // A door that was reported closed does not open on them, and nobody lives on those of another process.
    case.door = closed();
    assert_eq!(case.rw_codes()[0], "no_majority");
    case.door = RwDoor::Open;
    case.previous.as_mut().expect("set").incarnation = 9;
    assert_eq!(case.rw_codes()[0], "no_majority");
    case.previous.as_mut().expect("set").incarnation = 1;
    // A refusal takes an ack back; a voter that only abstains does not.
    let old = Refusal::OldTimeline { timeline: 2, leader: None };
    let refuses = case.votes("s", refusal(old), Some(standby(1)));
    assert_eq!(refuses.decide().expires, at(1000));
    let case = refuses.votes("s", refusal(Refusal::Abstains { left: ms(9) }), Some(standby(1)));
    assert_eq!(case.decide().expires, at(1500));
}

#[test]
fn who_is_ahead_or_beside_closes() {
    let case = Case::primary().votes("s", vote(Ack::Granted, 9_000_000), Some(standby(2)));
    assert_eq!(case.rw_codes(), ["old_timeline"]);
    let case = case.votes("s", vote(Ack::Granted, 9_000_000), Some(primary(1)));
    assert_eq!(case.rw_codes(), ["conflict"]);
    let case = case.votes("s", vote(Ack::Granted, 9_000_000), Some(NodeFacts::primary(CLUSTER, 0)));
    assert_eq!(case.decide().rw, Rw::Lease);
}

#[test]
fn whom_an_operator_chose_goes_on_beside_its_rival() {
    let chosen = || {
        let leader = Leader { node: "p".to_owned(), system_identifier: CLUSTER, timeline: 1, chosen: true };
        Vote { leader: Some(leader), ..vote(Ack::Granted, 9_000_000) }
    };
    let case = Case::primary().votes("s", refusal(Refusal::NotPrimary), Some(primary(1)));
    let case = case.votes("p", chosen(), Some(primary(1)));
    assert_eq!(case.rw_codes(), ["conflict"]);
    let case = case.votes("w", chosen(), None);
    assert_eq!(case.decide().rw, Rw::Lease);
}

#[test]
fn a_new_primary_waits_until_a_majority_has_long_been_clear() {
    // 10 s hold_down, 3 s lease: 7 s, and 1 % of them for clocks.
    let clear = |clear: u64| {
        let case = Case::primary().votes("w", vote(Ack::Granted, clear), None);
        case.votes("p", vote(Ack::Granted, 0), Some(primary(1)))
    };
    assert_eq!(clear(7069).rw_codes(), ["hold_down"]);
    assert_eq!(clear(7070).decide().rw, Rw::Lease);
    assert_eq!(clear(6070).decide().rw_reasons, [Reason::HoldDown { left: Some(ms(1000)) }]);
    // One that is open already has waited.
    let mut case = clear(0);
    (case.previous, case.door) = (Some(Case::primary().decide()), RwDoor::Open);
    assert_eq!(case.decide().rw, Rw::Lease);
    // One whose lease has ended may have been succeeded.
    case.previous.as_mut().expect("set").expires = at(20);
    assert_eq!(case.rw_codes(), ["hold_down"]);
}

#[test]
fn or_until_every_other_data_node_says_that_it_has_long_been_closed() {
    let case = |since: u64| {
        let mut case = Case::primary();
        for heard in &mut case.heard {
            if let Said::Answer(answer) = &mut heard.said {
                answer.vote.clear_for = ms(0);
                answer.report.rw = RwDoor::Closed { since: ms(since) };
            }
        }
        case
    };
    assert_eq!(case(6059).rw_codes(), ["hold_down"]);
    assert_eq!(case(6060).decide().rw, Rw::Lease);
    assert_eq!(case(9999).hear(silent("s")).rw_codes(), ["hold_down"]);
    assert_eq!(case(9999).votes("s", vote(Ack::Granted, 0), None).rw_codes(), ["hold_down"]);
}

#[test]
fn nobody_opens_beside_an_open_peer() {
    let mut case = Case::primary();
    let open = answer(&case.settings, "s", vote(Ack::Granted, 0), report(Some(standby(1)), RwDoor::Open));
    case = case.hear(open);
    assert_eq!(case.rw_codes(), ["peer_open"]);
    (case.previous, case.door) = (Some(Case::primary().decide()), RwDoor::Open);
    assert_eq!(case.decide().rw, Rw::Lease);
}

#[test]
fn sources_close_or_confirm() {
    let mut case = Case::primary();
    let says = |says| vec![SourceSays { source: "repmgr".to_owned(), says }];
    case.sources = says(Topology::Others { nodes: vec!["s".to_owned()] });
    assert_eq!(case.rw_codes(), ["source_names_other"]);
    assert_eq!(wants(&case.settings, case.me.as_ref(), &case.manual, &case.sources, None, None, NOW), Want::Nothing);
    for (topology, warning) in [
        (Topology::Us, None),
        (Topology::Nobody, Some("source_empty")),
        (Topology::Unreadable { why: "x".to_owned() }, Some("source_unreadable")),
    ] {
        case.sources = says(topology);
        let verdict = case.decide();
        assert_eq!(verdict.rw, Rw::Lease);
        assert_eq!(verdict.warnings.iter().map(Reason::code).next().as_deref(), warning);
    }
    // It opens nothing.
    case.sources = says(Topology::Us);
    assert_eq!(case.hear(silent("w")).hear(silent("s")).rw_codes()[0], "no_majority");
}

#[test]
fn operators_and_veto_close() {
    let mut case = Case::primary();
    case.manual.rw = order(false);
    assert_eq!(case.rw_codes(), ["operator_close"]);
    assert_eq!(wants(&case.settings, case.me.as_ref(), &case.manual, &[], None, None, NOW), Want::Nothing);
    case.now = at(60_000);
    assert!(case.decide().rw_reasons.iter().all(|reason| reason.code() != "operator_close"));
    let mut case = Case::primary();
    case.manual.rw = order(true);
    case.veto = Some("disk full");
    assert_eq!((case.rw_codes(), case.ro_codes()), (vec!["veto".to_owned()], vec!["veto".to_owned()]));
}

#[test]
fn an_operator_opens_without_a_majority_but_never_beside_somebody_live() {
    let mut case = Case::primary().hear(silent("s")).hear(silent("w"));
    case.manual.rw = order(true);
    assert_eq!(wants(&case.settings, case.me.as_ref(), &case.manual, &[], None, None, NOW), Want::OperatorAck);
    let verdict = case.decide();
    assert_eq!((verdict.rw, verdict.expires), (Rw::Operator, at(3000)));
    case.manual.rw.as_mut().expect("set").until = at(500);
    assert_eq!(case.decide().expires, at(500));
    // Neither sources nor rivals matter.
    case.sources = vec![SourceSays { source: "x".to_owned(), says: Topology::Others { nodes: vec![] } }];
    let mut case = case.votes("s", refusal(Refusal::NotPrimary), Some(primary(2)));
    assert_eq!(case.decide().rw, Rw::Operator);
    // Native facts do.
    case.me = Some(standby(1));
    assert_eq!(case.rw_codes(), ["in_recovery"]);
    case.me = Some(primary(1));
    let held = Vote { held: Some(Held { node: "s".to_owned(), left: ms(900) }), ..vote(Ack::NotAsked, 0) };
    let beside = Case { heard: case.heard.clone(), me: case.me.clone(), ..case };
    let case = beside.votes("w", held, None);
    assert_eq!(case.rw_codes(), ["acked_other"]);
    let open = answer(&case.settings, "s", vote(Ack::NotAsked, 0), report(Some(primary(2)), RwDoor::Open));
    let case = case.hear(silent("w")).hear(open);
    assert_eq!(case.rw_codes(), ["peer_open"]);
    let ordered = Report { operator_open: true, ..report(Some(primary(2)), closed()) };
    let case = Case { manual: Manual { rw: order(true), ro: None }, ..case };
    let ordered = answer(&case.settings, "s", vote(Ack::NotAsked, 0), ordered);
    assert_eq!(case.hear(ordered).rw_codes(), ["peer_open"]);
}

#[test]
fn one_of_two_closes_alone_unless_a_synchronous_standby_streams() {
    let downstream = |sync: &str, age: u64| Downstream {
        name: "s".to_owned(),
        address: None,
        state: "streaming".to_owned(),
        sync_state: sync.to_owned(),
        sync_priority: 1,
        reply_age: Some(ms(age)),
    };
    let case = |isolated, downstream: Downstream| {
        let mut case = Case::primary();
        case.settings = Settings { isolated, ..pair("p") };
        let own = answer(&case.settings, "p", vote(Ack::Granted, 0), report(Some(primary(1)), RwDoor::Open));
        case.heard = vec![own, silent("s")];
        let mut previous = Case::primary().decide();
        previous.acks.clear();
        (case.previous, case.door) = (Some(previous), RwDoor::Open);
        case.me = Some(NodeFacts { downstream: vec![downstream], ..primary(1) });
        case
    };
    let keep = Isolated::KeepIfSync;
    assert_eq!(case(Isolated::Close, downstream("sync", 100)).rw_codes(), ["no_majority", "silent"]);
    let kept = case(keep, downstream("quorum", 100)).decide();
    assert_eq!((kept.rw, kept.expires), (Rw::KeptBySync, at(20 - 100 + 3000)));
    assert_eq!(case(keep, downstream("async", 100)).rw_codes()[0], "no_majority");
    assert_eq!(case(keep, downstream("sync", 3000)).rw_codes()[0], "no_majority");
    // It begins while the other's last ack is in force: after that nobody is open any more.
    let mut silent = case(keep, downstream("sync", 100));
    let acks = [("p".to_owned(), at(2000)), ("s".to_owned(), at(500))];
    silent.previous.as_mut().expect("set").acks = acks.into();
    assert_eq!((silent.decide().rw, silent.decide().expires), (Rw::KeptBySync, at(20 - 100 + 3000)));
    silent.settings.isolated = Isolated::Close;
    assert_eq!((silent.decide().rw, silent.decide().expires), (Rw::Lease, at(500)));
    // It keeps and never opens, needs its own vote, and no word against it.
    let shut = Case { door: closed(), ..case(keep, downstream("sync", 100)) };
    assert_eq!(shut.rw_codes()[0], "no_majority");
    let why = Refusal::HeldByOther { node: "s".to_owned(), left: ms(9) };
    let lost = case(keep, downstream("sync", 100)).votes("p", refusal(why.clone()), Some(primary(1)));
    assert_eq!(lost.rw_codes()[0], "no_majority");
    let against = case(keep, downstream("sync", 100)).votes("s", refusal(why), Some(standby(1)));
    assert_eq!(against.rw_codes()[0], "no_majority");
    let mut three = case(keep, downstream("sync", 100));
    three.settings.members.push(Member { name: "w".to_owned(), witness: true });
    assert_eq!(three.rw_codes()[0], "no_majority");
}

#[test]
fn a_round_that_took_longer_than_its_lease_opens_nothing() {
    let case = Case { now: at(3000), ..Case::primary() };
    assert_eq!(case.rw_codes(), ["late"]);
    let case = Case { now: at(3000), ..Case::standby() };
    assert_eq!(case.ro_codes(), ["late"]);
}
