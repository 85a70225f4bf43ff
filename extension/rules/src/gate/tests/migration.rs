//! harepds among gates.

use super::*;

#[test]
fn harepd_counts_only_when_told_and_after_a_hold_down_of_our_own() {
    let harepd = |peer: &str, names_us| {
        let said = Said::Harepd { names_us, masters: vec!["10.0.0.1".to_owned()] };
        Heard { peer: peer.to_owned(), received: at(10), said }
    };
    let mut case = Case::primary().hear(harepd("s", true)).hear(harepd("w", true));
    assert_eq!(case.rw_codes(), ["no_majority", "harepd_not_counted", "harepd_not_counted"]);
    case.settings.migrate_from_harepd = true;
    assert_eq!(case.rw_codes(), ["hold_down"]);
    let mut previous = case.decide();
    assert_eq!(previous.named_since.values().copied().collect::<Vec<_>>(), [at(10), at(10)]);
    // A lease and skew (3.03 s) after it first named us, and 7.07 s more.
    previous.named_since = [("s".to_owned(), at(-10_099)), ("w".to_owned(), at(-10_099))].into();
    case.previous = Some(previous.clone());
    assert_eq!(case.rw_codes(), ["hold_down"]);
    previous.named_since = [("s".to_owned(), at(-10_100)), ("w".to_owned(), at(-5))].into();
    case.previous = Some(previous);
    assert_eq!(case.decide().rw, Rw::Lease);
    assert!(case.decide().warnings.iter().any(|warning| warning.code() == "harepd_counted"));
    let case = case.hear(harepd("s", false));
    assert_eq!(case.decide().named_since.keys().collect::<Vec<_>>(), ["w"]);
    // That others say they are closed is not enough where harepd makes the majority: it excludes nobody.
    let long = report(Some(standby(1)), RwDoor::Closed { since: ms(99_000) });
    let mut case = Case::primary().hear(harepd("w", true));
    case.settings.migrate_from_harepd = true;
    let s = answer(&case.settings, "s", refusal(Refusal::NotPrimary), long);
    let case = case.votes("p", vote(Ack::Granted, 0), Some(primary(1))).hear(s);
    assert_eq!(case.rw_codes(), ["hold_down"]);
}

#[test]
fn whom_a_harepd_beside_data_contradicts_needs_the_witness_s_table() {
    let says = |names_us, master: &str| {
        let masters = if master.is_empty() { vec![] } else { vec![master.to_owned()] };
        Heard { peer: "s".to_owned(), received: at(10), said: Said::Harepd { names_us, masters } }
    };
    let mut case = Case::primary().hear(says(false, "10.0.0.2"));
    for opening in [true, false] {
        (case.previous, case.door) =
            if opening { (None, closed()) } else { (Some(Case::primary().decide()), RwDoor::Open) };
        for witness in [None, Some(false)] {
            case.witness_names_us = witness;
            assert!(case.asks_witness());
            assert_eq!(case.rw_codes(), ["harepd_contradicts"], "{witness:?}");
        }
        case.witness_names_us = Some(true);
        assert_eq!(case.decide().rw, Rw::Lease);
    }
    // A node that waits for the witness holds up nobody, and silence takes nothing back.
    case.witness_names_us = Some(false);
    let verdict = case.decide();
    let want = |previous| wants(&case.settings, case.me.as_ref(), &case.manual, &[], None, previous, NOW);
    assert_eq!((want(None), want(Some(&verdict))), (Want::Ack, Want::Nothing));
    let mut case = case.hear(silent("s"));
    (case.previous, case.door) = (Some(verdict), closed());
    assert!(case.asks_witness());
    assert_eq!(case.rw_codes(), ["harepd_contradicts"]);
    // Nor does a round in which this node was closed for a reason of its own.
    let me = case.me.take();
    assert!(!case.asks_witness(), "only a primary is in doubt");
    let down = case.decide();
    assert_eq!(down.rw_reasons, [Reason::DatabaseDown]);
    (case.previous, case.me) = (Some(down), me);
    assert_eq!(case.rw_codes(), ["harepd_contradicts"]);
    for said in [says(true, "10.0.0.1"), says(false, "")] {
        let case = Case { previous: case.previous.clone(), ..Case::primary() }.hear(said);
        assert!(!case.asks_witness());
        assert_eq!(case.decide().rw, Rw::Lease);
    }
    // A harepd at the witness holds no line.
    let witness = Heard { peer: "w".to_owned(), ..says(false, "10.0.0.2") };
    assert_eq!(Case::primary().hear(witness).decide().rw, Rw::Lease);
}

#[test]
fn during_a_migration_a_silent_node_may_run_a_harepd() {
    let mut case = Case::primary().hear(silent("s"));
    assert_eq!(case.decide().rw, Rw::Lease);
    case.settings.migrate_from_harepd = true;
    assert!(case.asks_witness());
    assert_eq!(case.rw_codes(), ["harepd_unheard"]);
    case.witness_names_us = Some(true);
    assert_eq!(case.decide().rw, Rw::Lease);
    // Whoever is open stays so: the other was heard when it opened.
    (case.previous, case.door) = (Some(Case::primary().decide()), RwDoor::Open);
    case.witness_names_us = None;
    assert!(!case.asks_witness());
    assert_eq!(case.decide().rw, Rw::Lease);
    // Where there is no witness nobody could say so.
    let mut case = Case::primary().hear(silent("s"));
    case.settings.migrate_from_harepd = true;
    case.settings.members.iter_mut().for_each(|member| member.witness = false);
    assert_eq!(case.decide().rw, Rw::Lease);
}
