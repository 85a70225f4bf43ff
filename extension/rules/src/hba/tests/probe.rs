//! Which rules can be asked about from this machine, and what they must reply.

use super::super::{Expected, From, Probe, probes};
use super::read;

fn asked(line: &str, major: u32) -> Option<Probe> {
    let text = format!("{line} # goahead:harw applies=primary otherwise=reject\nhost harw harw 10.0.0.5/32 md5\n");
    let mut found = probes(&read(&text, major), major);
    assert!(found.len() <= 1, "a foreign rule was asked about: {found:?}");
    found.pop()
}

#[test]
fn a_health_check_is_asked_as_the_rule_says() {
    let ip = "10.0.0.5".parse().expect("an address");
    let expect = |line: &str, expected: Expected| {
        let probe = Probe { rule: "harw".to_owned(), user: b"harw".to_vec(), from: From::One(ip), expected };
        assert_eq!(asked(line, 15), Some(probe), "{line}");
    };
    expect("host \"harw\" \"harw\" 10.0.0.5/32 scram-sha-256", Expected::Challenge);
    expect("host harw harw 10.0.0.5/32 reject", Expected::Refusal);
    expect("hostnossl all harw 10.0.0.5 255.255.255.255 md5", Expected::Challenge);
    expect("host a,sameuser \"harw\" 10.0.0.5/32 password", Expected::Challenge);
    expect("hostnogssenc app,\"harw\" harw 10.0.0.5/32 trust", Expected::Challenge);
}

#[test]
fn what_a_health_check_does_not_match_is_not_asked() {
    for line in [
        "local harw harw md5",
        "hostssl harw harw 10.0.0.5/32 md5",
        "hostgssenc harw harw 10.0.0.5/32 md5",
        "host app harw 10.0.0.5/32 md5",
        "host replication harw 10.0.0.5/32 md5",
        "host samerole harw 10.0.0.5/32 md5",
        "host \"all\" harw 10.0.0.5/32 md5",
        "host all all 10.0.0.5/32 md5",
        "host all harw,haro 10.0.0.5/32 md5",
        "host all +harw 10.0.0.5/32 md5",
        "host all harw proxy.example.com md5",
        "host all harw 10.0.0.5/32 ident",
        "hostssl all harw 10.0.0.5/32 cert",
    ] {
        assert_eq!(asked(line, 15), None, "{line}");
    }
    assert_eq!(asked("host all /^harw 10.0.0.5/32 md5", 16), None, "an expression is no name");
    let name = |line: &str, major| asked(line, major).map(|probe| probe.user);
    assert_eq!(name("host all /harw 10.0.0.5/32 md5", 15).as_deref(), Some(&b"/harw"[..]));
    assert_eq!(name("host \"all\" \"all\" 10.0.0.5/32 md5", 15).as_deref(), Some(&b"all"[..]));
    assert_eq!(name("host all \"/^/harw$\" 10.0.0.5/32 md5", 16).as_deref(), Some(&b"/harw"[..]));
}

#[test]
fn an_address_of_the_network_will_do() {
    let from = |address: &str| asked(&format!("host all harw {address} md5"), 15).map(|probe| probe.from);
    let contains = |address: &str, ip: &str| from(address).expect("asked").contains(ip.parse().expect("an address"));
    assert!(contains("127.0.0.0/8", "127.0.0.20") && !contains("127.0.0.0/8", "10.0.0.5"));
    assert!(contains("127.0.0.9 255.0.0.255", "127.8.8.9") && !contains("127.0.0.9 255.0.0.255", "127.0.0.8"));
    assert!(contains("::1/128", "::1") && !contains("::/0", "127.0.0.1"));
    assert_eq!(["all", "samehost", "samenet"].map(from), [Some(From::Anywhere); 3]);
}
