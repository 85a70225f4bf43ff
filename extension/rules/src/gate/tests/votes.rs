use super::*;

const HOLD: i64 = 3030;

struct Booth {
    settings: Settings,
    voter: Voter,
}

impl Booth {
    /// The witness, long after its start.
    fn new() -> Self {
        let settings = settings("w");
        Self { voter: Voter::new(&settings, at(-100_000)), settings }
    }

    fn ask_of(from: &str, want: Want, facts: NodeFacts) -> Ask {
        round().ask(&settings(from), "w", want, report(Some(facts), closed()))
    }

    fn asks(&mut self, from: &str, timeline: u32, now: i64) -> Vote {
        self.judge(&Self::ask_of(from, Want::Ack, primary(timeline)), now)
    }

    fn judge(&mut self, ask: &Ask, now: i64) -> Vote {
        self.voter.judge(&self.settings, ask, None, at(now))
    }
}

fn refused(vote: &Vote) -> Refusal {
    match &vote.ack {
        Ack::Refused { why } => why.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_ack_at_a_time_for_a_lease_and_the_skew() {
    let mut booth = Booth::new();
    assert_eq!(booth.asks("p", 1, 0).ack, Ack::Granted);
    assert_eq!(booth.asks("p", 1, 1000).ack, Ack::Granted);
    let vote = booth.asks("s", 2, 1000 + HOLD - 1);
    assert_eq!(refused(&vote), Refusal::HeldByOther { node: "p".to_owned(), left: ms(1) });
    assert_eq!(vote.held, Some(Held { node: "p".to_owned(), left: ms(1) }));
    assert_eq!(booth.asks("s", 2, 1000 + HOLD).ack, Ack::Granted);
}

#[test]
fn an_ask_that_was_overtaken_shortens_nothing() {
    let mut booth = Booth::new();
    assert_eq!(booth.asks("p", 1, 1000).ack, Ack::Granted);
    assert_eq!(booth.asks("p", 1, 0).ack, Ack::Granted);
    assert!(matches!(refused(&booth.asks("s", 2, HOLD + 500)), Refusal::HeldByOther { .. }));
}

#[test]
fn after_a_start_it_abstains_as_long_as_an_ack_may_live_that_it_forgot() {
    let settings = settings("w");
    let mut booth = Booth { voter: Voter::new(&settings, at(0)), settings };
    let vote = booth.asks("p", 1, HOLD - 1);
    assert_eq!(refused(&vote), Refusal::Abstains { left: ms(1) });
    assert_eq!((vote.abstains, vote.clear_for), (Some(ms(1)), ms(0)));
    let vote = booth.asks("p", 1, HOLD + 500);
    assert_eq!((vote.ack, vote.abstains, vote.clear_for), (Ack::Granted, None, ms(500)));
}

#[test]
fn it_tells_how_long_it_has_acked_nobody_else() {
    let mut booth = Booth::new();
    assert_eq!(booth.asks("p", 1, 0).clear_for, ms(100_000 - HOLD.unsigned_abs()));
    assert_eq!(booth.asks("s", 2, 1).clear_for, ms(0));
    assert_eq!(booth.asks("s", 2, HOLD + 700).clear_for, ms(700));
    // The one before counts its own last ack as another's: too long is safe.
    assert_eq!(booth.asks("p", 3, 2 * HOLD + 700 + 40).clear_for, ms(40));
}

#[test]
fn it_acks_only_a_running_primary_of_its_cluster() {
    let mut booth = Booth::new();
    let mut judge = |facts: Option<NodeFacts>| {
        let ask = round().ask(&settings("p"), "w", Want::Ack, report(facts, closed()));
        booth.judge(&ask, 0).ack
    };
    let no = || Ack::Refused { why: Refusal::NotPrimary };
    assert_eq!(judge(None), no());
    assert_eq!(judge(Some(standby(1))), no());
    assert_eq!(judge(Some(NodeFacts { shutting_down: true, ..primary(1) })), no());
    assert_eq!(judge(Some(primary(1))), Ack::Granted);
    let other = Ack::Refused { why: Refusal::OtherCluster { theirs: CLUSTER } };
    assert_eq!(judge(Some(NodeFacts::primary(SystemId(9), 1))), other);

    let settings = Settings { system_identifier: Some(SystemId(3)), ..settings("w") };
    let mut booth = Booth { voter: Voter::new(&settings, at(-9999)), settings };
    assert_eq!(refused(&booth.asks("p", 1, 0)), Refusal::OtherCluster { theirs: SystemId(3) });
}

#[test]
fn it_refuses_an_older_timeline_than_it_knows() {
    // From an ask,
    let mut booth = Booth::new();
    booth.judge(&Booth::ask_of("s", Want::Nothing, primary(2)), 0);
    let leader = Some("s".to_owned());
    assert_eq!(refused(&booth.asks("p", 1, 0)), Refusal::OldTimeline { timeline: 2, leader });
    // from what it hears,
    let mut booth = Booth::new();
    booth.voter.hear(&booth.settings, "s", &report(Some(standby(3)), closed()));
    assert_eq!(refused(&booth.asks("p", 2, 0)), Refusal::OldTimeline { timeline: 3, leader: None });
    // and from its own database.
    let settings = settings("s");
    let mut voter = Voter::new(&settings, at(-9999));
    let ask = round().ask(&settings, "s", Want::Ack, report(Some(primary(1)), closed()));
    let ask = Ask { from: "p".to_owned(), ..ask };
    let vote = voter.judge(&settings, &ask, Some(&standby(2)), at(0));
    assert_eq!(refused(&vote), Refusal::OldTimeline { timeline: 2, leader: None });
    // A node that was cloned again takes its word back.
    let vote = voter.judge(&settings, &ask, Some(&standby(1)), at(0));
    assert_eq!(vote.ack, Ack::Granted);
}

#[test]
fn two_primaries_of_one_timeline_are_both_refused_until_an_operator_chooses() {
    let mut booth = Booth::new();
    assert_eq!(booth.asks("p", 2, 0).ack, Ack::Granted);
    assert!(matches!(refused(&booth.asks("s", 2, 1)), Refusal::HeldByOther { .. }));
    let conflict = Refusal::Conflict { timeline: 2, nodes: vec!["p".to_owned(), "s".to_owned()] };
    let vote = booth.asks("p", 2, 2);
    assert_eq!((refused(&vote), vote.leader), (conflict.clone(), None));
    assert_eq!(refused(&booth.asks("s", 2, HOLD)), conflict);
    // An operator's ask is exclusive too.
    let operator = |from: &str| Booth::ask_of(from, Want::OperatorAck, primary(2));
    assert_eq!(booth.judge(&operator("s"), HOLD).ack, Ack::Granted);
    assert!(matches!(refused(&booth.judge(&operator("p"), HOLD)), Refusal::HeldByOther { .. }));
    // The choice outlives the order, also beside the rival.
    booth.asks("p", 2, HOLD + 1);
    let vote = booth.asks("s", 2, HOLD + 2);
    assert_eq!((vote.ack, vote.leader.map(|l| (l.node, l.chosen))), (Ack::Granted, Some(("s".to_owned(), true))));
    assert_eq!(refused(&booth.asks("p", 2, 9 * HOLD)), conflict);
}

#[test]
fn a_conflict_ends_when_one_rejoins_or_is_promoted_again() {
    let conflict = || {
        let mut booth = Booth::new();
        booth.asks("p", 2, 0);
        booth.asks("s", 2, 1);
        assert!(matches!(refused(&booth.asks("p", 2, 2)), Refusal::Conflict { .. }));
        booth
    };
    let mut rejoined = conflict();
    rejoined.judge(&Booth::ask_of("s", Want::Nothing, standby(2)), 3);
    assert_eq!(rejoined.asks("p", 2, 4).ack, Ack::Granted);
    let mut promoted = conflict();
    assert_eq!(promoted.asks("p", 3, 4).ack, Ack::Granted);
    // A database that is down is not one that has rejoined.
    let mut down = conflict();
    down.judge(&round().ask(&settings("s"), "w", Want::Nothing, report(None, closed())), 3);
    assert!(matches!(refused(&down.asks("p", 2, 4)), Refusal::Conflict { .. }));
}

#[test]
fn it_acks_only_who_has_the_same_terms() {
    let mut booth = Booth::new();
    let good = Booth::ask_of("p", Want::Ack, primary(1));
    let mut judge = |change: &dyn Fn(&mut Ask)| {
        let mut ask = good.clone();
        change(&mut ask);
        booth.judge(&ask, 0).ack
    };
    let no = |why| Ack::Refused { why };
    assert_eq!(judge(&|ask| ask.protocol = 9), no(Refusal::OtherProtocol { theirs: 1 }));
    assert_eq!(judge(&|ask| ask.to = "s".to_owned()), no(Refusal::Stranger { from: "p".to_owned() }));
    assert_eq!(judge(&|ask| ask.from = "x".to_owned()), no(Refusal::Stranger { from: "x".to_owned() }));
    let theirs = vec!["p".to_owned(), "s".to_owned(), "w".to_owned()];
    assert_eq!(judge(&|ask| ask.terms.voters.truncate(2)), no(Refusal::OtherVoters { theirs }));
    assert_eq!(judge(&|ask| ask.terms.lease = ms(3001)), no(Refusal::LongerLease { theirs: ms(3000) }));
    assert_eq!(judge(&|ask| ask.from = "w".to_owned()), no(Refusal::NotPrimary));
    assert_eq!(judge(&|ask| ask.terms.lease = ms(2999)), Ack::Granted);
    let namesake = no(Refusal::HeldByNamesake { node: "p".to_owned() });
    assert_eq!(judge(&|ask| ask.boot_id = "another".to_owned()), namesake);
    // The same machine with a new process goes on.
    assert_eq!(judge(&|ask| ask.incarnation = 77), Ack::Granted);
}

#[test]
fn the_wire_is_what_it_says() {
    let ask = Booth::ask_of("p", Want::Ack, primary(1));
    let value = serde_json::to_value(&ask).expect("JSON");
    assert_eq!(value["terms"]["lease_us"], 3_000_000);
    assert_eq!(value["want"], "ack");
    assert_eq!(value["report"]["rw"], serde_json::json!({"door": "closed", "for_us": 0}));
    assert_eq!(value["report"]["facts"]["system_identifier"], CLUSTER.to_string());
    assert_eq!(serde_json::from_value::<Ask>(value).expect("back"), ask);
    let mut booth = Booth::new();
    for vote in [booth.asks("p", 1, 0), booth.asks("s", 1, 0), booth.asks("p", 1, 0)] {
        let answer = Answer::to(&ask, "w", settings("w").terms(), vote, report(None, RwDoor::Unknown));
        let text = serde_json::to_string(&answer).expect("JSON");
        assert_eq!(serde_json::from_str::<Answer>(&text).expect("back"), answer);
    }
}
