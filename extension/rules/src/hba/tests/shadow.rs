//! Which earlier rules are found to take a connection away.

use super::super::shadows;
use super::read;

/// What a line above ours takes: all, some or nothing.
fn taken(earlier: &str, ours: &str, major: u32) -> &'static str {
    let text = format!("{earlier}\n{ours} # goahead:harw applies=primary otherwise=reject\nhost all all all md5\n");
    let found = shadows(&read(&text, major), major);
    match &found[..] {
        [] => "nothing",
        [shadow] => {
            assert_eq!((shadow.rule.as_str(), shadow.line, shadow.text.as_str()), ("harw", 1, earlier));
            if shadow.whole { "all" } else { "some" }
        }
        _ => panic!("one line cannot shadow twice: {found:?}"),
    }
}

#[test]
fn an_earlier_rule_is_found_by_what_it_matches() {
    const OURS: &str = "host \"harw\" \"harw\" 10.0.0.5/32 scram-sha-256";
    for (earlier, what) in [
        ("host all all 10.0.0.0/8 md5", "all"),
        ("host all all all reject", "all"),
        ("hostnossl all all 0.0.0.0/0 md5", "all"),
        ("hostnogssenc all all 10.0.0.5/32 md5", "all"),
        ("hostssl all all all md5", "nothing"),
        ("hostgssenc all all all md5", "nothing"),
        ("local all all trust", "nothing"),
        ("host all all 10.0.0.6/32 md5", "nothing"),
        ("host all all 10.0.0.4/30 md5", "all"),
        ("host all all 10.0.9.5 255.255.0.255 md5", "all"),
        ("host all all ::/0 md5", "nothing"),
        ("host all all samenet md5", "some"),
        ("host all all proxy.example.com md5", "some"),
        ("host sameuser all all md5", "all"),
        ("host samerole all all md5", "some"),
        ("host replication all all md5", "nothing"),
        ("host app all all md5", "nothing"),
        ("host harw,app all all md5", "all"),
        ("host all haro,harw all md5", "all"),
        ("host all +ops all md5", "some"),
        ("host all \"+ops\" all md5", "nothing"),
        ("host all \"all\" all md5", "nothing"),
        ("host \"replication\" all all md5", "nothing"),
        ("host all /^ha all md5", "all"),
        ("host all /^hb all md5", "nothing"),
        ("host all /\\yharw all md5", "some"),
    ] {
        assert_eq!(taken(earlier, OURS, 16), what, "{earlier}");
    }
    assert_eq!(taken("host all /^ha all md5", OURS, 15), "nothing", "a name there");
    assert_eq!(taken("host all all 10.0.0.5/32 md5", "host all all 10.0.0.0/8 md5", 16), "some");
    assert_eq!(taken("host a all all md5", "host a,b all all md5", 16), "some");
    assert_eq!(taken("hostssl all all all md5", "hostssl x x all md5", 16), "all");
    assert_eq!(taken("local all all md5", "local x x md5", 16), "all");
    assert_eq!(taken("host \"/x\" all all md5", "host \"/^/x$\" x all md5", 16), "all");
    assert_eq!(taken("host replication all all md5", "host replication x all md5", 16), "all");
}

#[test]
fn what_stands_below_takes_nothing() {
    let text = "host x x all md5 # goahead:x applies=any otherwise=reject\nhost all all all md5\n";
    assert_eq!(shadows(&read(text, 16), 16), []);
}
