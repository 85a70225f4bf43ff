//! Desired rules: what is refused, and how the rest is written.

use super::super::{Desired, Dialect, Field, Fields, State};
use super::{HARW, desired};

#[test]
fn a_rule_is_one_tagged_line() {
    let rule = desired(HARW);
    let tag = "# goahead:harw applies=primary otherwise=reject";
    assert_eq!(rule.line(true, 15), format!("host \"harw\" \"harw\" 10.0.0.5/32 scram-sha-256 {tag}"));
    assert_eq!(rule.line(false, 15), format!("host \"harw\" \"harw\" 10.0.0.5/32 reject {tag}"));
    assert_eq!(rule.name(), "harw");
}

#[test]
fn names_are_written_so_that_they_keep_their_meaning() {
    for (database, user, on_15, on_16) in [
        ("all", "all", "all all", "all all"),
        ("\"all\"", "\"all\"", "\"all\" \"all\"", "\"all\" \"all\""),
        ("a, \"b c\"", "+grp,\"+x\"", "\"a\",\"b c\" +\"grp\",\"+x\"", "\"a\",\"b c\" +\"grp\",\"+x\""),
        ("sameuser", "sameuser", "sameuser \"sameuser\"", "sameuser \"sameuser\""),
        ("\"@f\"", "@", "\"@f\" \"@\"", "\"@f\" \"@\""),
        ("\"/a.b\"", "\"a#\"\"b\"", "\"/a.b\" \"a#\"\"b\"", "\"/^/a\\.b$\" \"a#\"\"b\""),
    ] {
        let rule = desired(Fields { database, user, ..HARW });
        assert!(rule.line(true, 15).starts_with(&format!("host {on_15} 10.")), "{}", rule.line(true, 15));
        assert!(rule.line(true, 16).starts_with(&format!("host {on_16} 10.")), "{}", rule.line(true, 16));
    }
    let expression = Fields { database: "/^db[0-9]+$", ..HARW };
    assert!(desired(expression).line(true, 16).starts_with("host \"/^db[0-9]+$\" "));
    assert!(Desired::new(expression, &Dialect::packaged(15)).is_err(), "a name there, and not meant as one");
}

#[test]
fn addresses_are_written_as_they_are_meant() {
    for (address, written) in [
        ("10.0.0.5", "10.0.0.5/32"),
        ("10.0.0.0 255.255.255.0", "10.0.0.0/24"),
        ("10.0.0.0 255.0.255.0", "10.0.0.0 255.0.255.0"),
        ("2001:DB8::5", "2001:db8::5/128"),
        ("::/0", "::/0"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("proxy.example.com", "\"proxy.example.com\""),
        (".example.com", "\".example.com\""),
        ("all", "all"),
        ("\"all\"", "\"all\""),
        ("samenet", "samenet"),
    ] {
        let line = desired(Fields { address, ..HARW }).line(true, 16);
        assert!(line.starts_with(&format!("host \"harw\" \"harw\" {written} scram-sha-256 # ")), "{line}");
    }
}

#[test]
fn options_and_masks_come_after_an_open_method_only() {
    let rule = desired(Fields { kind: "hostssl", method: "cert", options: "map=\"a b\"", ..HARW });
    assert!(rule.line(true, 16).contains(" cert \"map=a b\" # goahead:harw "));
    assert!(rule.line(false, 16).contains(" 10.0.0.5/32 reject # goahead:harw "));
    let local = desired(Fields { kind: "local", address: "", method: "peer", ..HARW });
    assert!(local.line(true, 16).starts_with("local \"harw\" \"harw\" peer # "));
}

#[test]
fn bad_fields_are_named_with_their_mend() {
    let long = "x".repeat(256);
    for (fields, field) in [
        (Fields { name: "a b", ..HARW }, Field::Name),
        (Fields { name: "", ..HARW }, Field::Name),
        (Fields { kind: "Host", ..HARW }, Field::Type),
        (Fields { database: "", ..HARW }, Field::Database),
        (Fields { database: "a b", ..HARW }, Field::Database),
        (Fields { database: "@dbs", ..HARW }, Field::Database),
        (Fields { database: "a # b", ..HARW }, Field::Database),
        (Fields { database: "\"a", ..HARW }, Field::Database),
        (Fields { database: "/(", ..HARW }, Field::Database),
        (Fields { user: "\"\"", ..HARW }, Field::User),
        (Fields { user: "+", ..HARW }, Field::User),
        (Fields { user: "a\\", ..HARW }, Field::User),
        (Fields { user: "\"a\\\"", ..HARW }, Field::User),
        (Fields { user: "a\nb", ..HARW }, Field::User),
        (Fields { user: "\"a\rb\"", ..HARW }, Field::User),
        (Fields { user: "a\0b", ..HARW }, Field::User),
        (Fields { user: &long, ..HARW }, Field::User),
        (Fields { address: "", ..HARW }, Field::Address),
        (Fields { address: "10.0.0.256", ..HARW }, Field::Address),
        (Fields { address: "10/8", ..HARW }, Field::Address),
        (Fields { address: "010.0.0.1", ..HARW }, Field::Address),
        (Fields { address: "0x0a000001", ..HARW }, Field::Address),
        (Fields { address: "[::1]", ..HARW }, Field::Address),
        (Fields { address: "10.0.0.1/33", ..HARW }, Field::Address),
        (Fields { address: "10.0.0.1,10.0.0.2", ..HARW }, Field::Address),
        (Fields { address: "10.0.0.1 ffff::", ..HARW }, Field::Address),
        (Fields { kind: "local", ..HARW }, Field::Address),
        (Fields { method: "SCRAM", ..HARW }, Field::Method),
        (Fields { method: "bsd", ..HARW }, Field::Method),
        (Fields { method: "peer", ..HARW }, Field::Method),
        (Fields { method: "cert", ..HARW }, Field::Method),
        (Fields { options: "map=x", ..HARW }, Field::Options),
        (Fields { options: "@x", ..HARW }, Field::Options),
        (Fields { applies: "replica", ..HARW }, Field::Applies),
        (Fields { otherwise: "trust", ..HARW }, Field::Otherwise),
        (Fields { otherwise: "ldap", ..HARW }, Field::Otherwise),
        (Fields { otherwise: "peer", ..HARW }, Field::Otherwise),
    ] {
        let problems = Desired::new(fields, &Dialect::packaged(16)).expect_err("a bad field");
        assert_eq!(
            problems.iter().map(|problem| problem.field).collect::<Vec<_>>(),
            [field],
            "{fields:?}: {problems:?}"
        );
        assert_eq!(problems[0].rule.as_deref(), Some(fields.name));
        assert!(!problems[0].mend.is_empty());
    }
    let several = Fields { database: "a b", address: "x y z", ..HARW };
    assert_eq!(Desired::new(several, &Dialect::packaged(16)).map_err(|problems| problems.len()), Err(2), "all at once");
}

#[test]
fn states_have_words() {
    for word in ["closed", "primary", "standby", "both"] {
        assert_eq!(word.parse::<State>().map(|state| state.to_string()).as_deref(), Ok(word));
    }
    assert!("open".parse::<State>().is_err());
}
