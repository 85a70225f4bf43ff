//! The managed block in files that others edit.

use super::super::{
    Desired, Fields, Keeper, Markers, Misplaced, State, close, has_part, inspect, install, install_part, open_gated,
    remove, replace_foreign,
};
use super::{HARW, desired};

const OPEN: &str = "host \"harw\" \"harw\" 10.0.0.5/32 scram-sha-256 # goahead:harw applies=primary otherwise=reject";
const SHUT: &str = "host \"harw\" \"harw\" 10.0.0.5/32 reject # goahead:harw applies=primary otherwise=reject";
const BEGIN: &str = "# BEGIN goahead: managed by goahead.hba_set and goahead.hba_drop; edits here are undone";

fn closed(text: &str) -> String {
    String::from_utf8(close(text.as_bytes())).expect("text")
}

fn installed(text: &str, rules: &[Desired], state: State) -> String {
    String::from_utf8(install(text.as_bytes(), rules, state, 16)).expect("text")
}

fn removed(text: &str) -> String {
    String::from_utf8(remove(text.as_bytes())).expect("text")
}

#[test]
fn the_block_stands_at_the_top_with_the_line_ends_of_the_file() {
    let rules = [desired(HARW)];
    for (foreign, end) in
        [("", "\n"), ("x", "\n"), ("local all all peer\n", "\n"), ("a\r\nb\r\n", "\r\n"), ("a\r\nb", "\r\n")]
    {
        let text = installed(foreign, &rules, State::PRIMARY);
        assert_eq!(text, format!("{BEGIN}{end}{OPEN}{end}# END goahead{end}{foreign}"));
        assert_eq!(installed(&text, &rules, State::CLOSED), text.replace(OPEN, SHUT));
        assert_eq!(closed(&text), text.replace(OPEN, SHUT));
        assert_eq!(removed(&text), foreign);
        assert_eq!(installed(&text, &[], State::PRIMARY), foreign, "no rules, no block");
    }
}

#[test]
fn each_rule_is_open_when_its_state_says_so() {
    let rules = [
        desired(HARW),
        desired(Fields { name: "haro", applies: "standby", ..HARW }),
        desired(Fields { name: "app", applies: "any", ..HARW }),
    ];
    for (state, open) in [
        (State::CLOSED, &[][..]),
        (State::PRIMARY, &["harw"]),
        (State::STANDBY, &["haro"]),
        (State::BOTH, &["harw", "haro"]),
    ] {
        let text = installed("local all all peer\n", &rules, state);
        assert_eq!(open_gated(text.as_bytes()), open);
        assert_eq!(text.matches("scram-sha-256").count(), open.len() + 1, "the one that always applies");
        assert_eq!(closed(&text), installed("local all all peer\n", &rules, State::CLOSED));
    }
}

#[test]
fn closing_finds_our_lines_whatever_was_done_to_them() {
    let tag = "# goahead:harw applies=primary otherwise=reject";
    for (text, wanted) in [
        (format!("{OPEN}\n"), format!("{SHUT}\n")),
        (format!("{OPEN}\r\n"), format!("{SHUT}\r\n")),
        (OPEN.to_owned(), SHUT.to_owned()),
        (format!("# a comment \\\n{OPEN}\n"), format!("# a comment \\\n{SHUT}\n")),
        (format!("host x \"y \\\n{OPEN}\n"), format!("host x \"y \\\n{SHUT}\n")),
        (format!("{OPEN} \\\nhost a a all md5\n"), format!("{SHUT} \\\nhost a a all md5\n")),
        (format!("{OPEN}\\\n"), format!("{SHUT}\\\n")),
        (
            format!("\thost  harw\tharw 10.0.0.5 255.255.255.255  md5 map=x   {tag}\n"),
            format!("\thost  harw\tharw 10.0.0.5 255.255.255.255  reject {tag}\n"),
        ),
        (
            format!("host harw harw \\\n10.0.0.5/32 \\\nmd5 {tag}\nx\n"),
            format!("host harw harw 10.0.0.5/32 reject {tag}\nx\n"),
        ),
        (format!("local harw harw trust{tag} more words\n"), format!("local harw harw reject {tag} more words\n")),
        (format!("host harw harw samenet trust {tag}\n"), format!("host harw harw samenet reject {tag}\n")),
        (
            "host a a all trust # goahead:a applies=standby\n".to_owned(),
            "host a a all reject # goahead:a applies=standby\n".to_owned(),
        ),
        (
            "host a a all trust # goahead:a applies=standby otherwise=trust\n".to_owned(),
            "host a a all reject # goahead:a applies=standby otherwise=trust\n".to_owned(),
        ),
        (
            "host a a all trust # goahead:a applies=standby otherwise=md5\n".to_owned(),
            "host a a all md5 # goahead:a applies=standby otherwise=md5\n".to_owned(),
        ),
    ] {
        assert_eq!(closed(&text), wanted, "{text:?}");
        assert_eq!(closed(&wanted), wanted);
        assert_eq!(open_gated(text.as_bytes()).len(), 1, "{text:?}");
        assert_eq!(open_gated(wanted.as_bytes()), Vec::<String>::new());
    }
}

#[test]
fn a_closed_line_has_no_options() {
    let tag = "# goahead:harw applies=primary otherwise=scram-sha-256";
    for method in ["cert map=m", "scram-sha-256 clientcert=verify-ca"] {
        let text = format!("hostssl harw harw all {method} {tag}\n");
        assert_eq!(open_gated(text.as_bytes()), ["harw"], "{method}: not just what the tag says of a closed one");
        assert_eq!(closed(&text), format!("hostssl harw harw all scram-sha-256 {tag}\n"));
    }
}

#[test]
fn closing_leaves_alone_what_is_not_gated() {
    let tag = "goahead:harw applies=primary otherwise=reject";
    for text in [
        "host all all 10.0.0.0/8 md5\n".to_owned(),
        "host a a all md5 # goahead:a applies=any otherwise=reject\n".to_owned(),
        "host a a all md5 # goahead:a\n".to_owned(),
        "host a a all md5 # goahead: applies=primary otherwise=reject\n".to_owned(),
        "host a a all md5 # see goahead:a applies=primary otherwise=reject\n".to_owned(),
        format!("# host a a all md5 # {tag}\n"),
        format!("# {tag}\n"),
        format!("include x # {tag}\n"),
        format!("host a \"b # {tag}\n"),
    ] {
        assert_eq!(closed(&text), text);
        assert_eq!(open_gated(text.as_bytes()), Vec::<String>::new());
        assert_eq!(removed(&text).len(), if text.contains("applies=any") { 0 } else { text.len() });
    }
}

#[test]
fn foreign_lines_keep_their_bytes_their_order_and_their_meaning() {
    let rules = [desired(HARW)];
    // Found between the markers: kept, below.
    let text = format!("a\n{BEGIN}\nhost mine mine all md5\n{OPEN}\n# END goahead\nb");
    assert_eq!(removed(&text), "a\nhost mine mine all md5\nb");
    assert!(installed(&text, &rules, State::CLOSED).ends_with("# END goahead\na\nhost mine mine all md5\nb"));
    // A backslash swallowed our line and must not swallow the next instead.
    let text = format!("# note \\\n{OPEN}\nhost all all all md5\n");
    assert_eq!(removed(&text), "# note \\\n\nhost all all all md5\n");
    assert_eq!(removed(&format!("# note \\\r\n{BEGIN}\r\nx\r\n")), "# note \\\r\n\r\nx\r\n");
}

#[test]
fn drift_names_what_was_done() {
    let rules = [desired(HARW), desired(Fields { name: "app", applies: "any", ..HARW })];
    let good = installed("local all all peer\n", &rules, State::PRIMARY);
    let drift = |text: &str| inspect(text.as_bytes(), &rules, State::PRIMARY, 16);
    assert!(drift(&good).none() && !drift(&good).tampered());
    let app = good.lines().nth(2).expect("a line").to_owned();

    let bare = drift(&good.replace(BEGIN, "").replace("# END goahead", ""));
    assert_eq!(bare.markers, Markers::Missing);
    assert!(bare.tampered() && bare.describe()[0].contains("missing"));
    let below = drift(&format!("local all all peer\n{}", &good));
    assert_eq!((below.markers, below.tampered()), (Markers::Moved, true));
    assert_eq!(drift(&good.replace(&format!("{app}\n"), "")).missing, ["app"]);
    let moved = drift(&format!("{}{app}\n", good.replace(&format!("{app}\n"), "")));
    assert_eq!((moved.moved.clone(), moved.missing.len()), (vec!["app".to_owned()], 0));
    assert_eq!(drift(&good.replace("10.0.0.5/32 scram", "10.0.0.0/8 scram")).edited, ["harw", "app"]);
    let shut = drift(&closed(&good));
    assert_eq!((shut.state.clone(), shut.tampered()), (vec!["harw".to_owned()], false));
    assert_eq!(drift(&format!("{good}{app}\n")).repeated, ["app"]);
    assert_eq!(drift(&format!("{good}{}\n", app.replace(":app", ":other"))).unknown, ["other"]);
    let foreign = drift(&good.replace("# END", "host x x all md5\n# END"));
    assert_eq!(foreign.foreign, [Misplaced { line: 4, text: "host x x all md5".to_owned() }]);
    let swapped = good.replace(&app, "APP").replace(OPEN, &app).replace("APP", OPEN);
    assert!(drift(&swapped).reordered && drift(&swapped).tampered());
    let wiped = drift("local all all peer\n");
    assert_eq!((wiped.missing.len(), wiped.tampered()), (2, false), "as before the first time");
    for text in [good.replace('\n', "\r\n"), good.replacen('\n', "\r\n", 2)] {
        assert_eq!(drift(&text).none(), text == installed(&text, &rules, State::PRIMARY));
    }
}

const GATE: &str = "host \"own\" \"own\" 10.0.0.6/32 md5 # goahead:own applies=primary by=gate otherwise=reject";

fn own() -> Desired {
    desired(Fields { name: "own", database: "\"own\"", user: "\"own\"", address: "10.0.0.6/32", method: "md5", ..HARW })
        .by_gate()
}

fn part(text: &str, keeper: Keeper, rules: &[Desired], state: State) -> String {
    String::from_utf8(install_part(text.as_bytes(), keeper, rules, state, 16)).expect("text")
}

#[test]
fn each_keeper_leaves_the_lines_of_the_other() {
    let foreign = "local all all peer\n";
    let rows = [desired(HARW)];
    let whole = |gate: &str, row: &str| format!("{BEGIN}\n{gate}\n{row}\n# END goahead\n{foreign}");
    let both = part(&part(foreign, Keeper::Gate, &[own()], State::PRIMARY), Keeper::Rows, &rows, State::PRIMARY);
    assert_eq!(both, whole(GATE, OPEN));
    let other_order = part(&installed(foreign, &rows, State::PRIMARY), Keeper::Gate, &[own()], State::PRIMARY);
    assert_eq!(other_order, both, "the gate's come first whoever writes last");
    for keeper in [Keeper::Rows, Keeper::Gate] {
        assert!(has_part(both.as_bytes(), keeper));
        let mine = if keeper == Keeper::Rows { rows.clone() } else { [own()] };
        assert_eq!(part(&both, keeper, &mine, State::PRIMARY), both);
        assert_eq!(part(&both, keeper, &mine, State::CLOSED), closed(&both), "both close");
    }
    // Who does not know how a line is open leaves it closed.
    let shut = closed(&both);
    assert_eq!(part(&shut, Keeper::Rows, &rows, State::BOTH), whole(&GATE.replace("md5", "reject"), OPEN));
    assert_eq!(part(&shut, Keeper::Gate, &[own()], State::BOTH), whole(GATE, SHUT));
    // Each takes out its own, and only those.
    let rest = part(&both, Keeper::Rows, &[], State::PRIMARY);
    assert_eq!(rest, format!("{BEGIN}\n{GATE}\n# END goahead\n{foreign}"));
    assert!(!has_part(rest.as_bytes(), Keeper::Rows));
    assert_eq!(part(&both, Keeper::Gate, &[], State::PRIMARY), installed(foreign, &rows, State::PRIMARY));
    assert_eq!(part(&rest, Keeper::Gate, &[], State::PRIMARY), foreign);
}

#[test]
fn a_kept_line_is_found_wherever_it_is_and_left_out_where_it_is_broken() {
    let rows = [desired(HARW)];
    let torn = format!("local all all peer\n{GATE}\nhost a a all md5\n{GATE}\n");
    let text = part(&torn, Keeper::Rows, &rows, State::PRIMARY);
    assert_eq!(text, format!("{BEGIN}\n{GATE}\n{OPEN}\n# END goahead\nlocal all all peer\nhost a a all md5\n"));
    let broken = GATE.replace("/32", "/33");
    let text = part(&format!("{broken}\n"), Keeper::Rows, &rows, State::PRIMARY);
    assert_eq!(text, installed("", &rows, State::PRIMARY));
    // Another version's foreign part, under the lines of now.
    let now = part("old\n", Keeper::Gate, &[own()], State::PRIMARY);
    let back = replace_foreign(now.as_bytes(), installed("new\n", &rows, State::PRIMARY).as_bytes());
    assert_eq!(back, format!("{BEGIN}\n{GATE}\n# END goahead\nnew\n").into_bytes());
}
