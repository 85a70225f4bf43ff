//! Addresses and masks as the C library reads them.

use super::super::address::{numeric, shown};
use super::super::regex;

#[test]
fn numbers_in_the_old_forms_are_addresses() {
    for (text, address) in [
        ("10", Some("0.0.0.10")),
        ("10.0.0", Some("10.0.0.0")),
        ("10.258", Some("10.0.1.2")),
        ("010.0.0.1", Some("8.0.0.1")),
        ("0x0a000001", Some("10.0.0.1")),
        ("0XA.1", Some("10.0.0.1")),
        ("4294967295", Some("255.255.255.255")),
        ("4294967296", None),
        ("10.0.0.256", None),
        ("10.0.0.1.", None),
        ("1.2.3.4.5", None),
        ("08.0.0.1", None),
        ("0x", None),
        ("+1", None),
        ("", None),
        ("2001:DB8::1", Some("2001:db8::1")),
        ("::ffff:10.0.0.1", Some("::ffff:10.0.0.1")),
        ("::10.0.0.1", Some("::10.0.0.1")),
        ("::1", Some("::1")),
        ("fe80::1%lo", Some("fe80::1")),
        ("2001:db8::1%2", Some("2001:db8::1")),
        ("2001:db8::1%lo", None),
        ("fe80::1%", None),
        ("[::1]", None),
        ("1:2", None),
    ] {
        assert_eq!(numeric(text.as_bytes()).map(shown).as_deref(), address, "{text:?}");
    }
}

#[test]
fn bits_are_read_as_the_server_reads_them() {
    for (address, mask) in [
        ("10.0.0.1/32", Some("255.255.255.255")),
        ("10.0.0.1/08", Some("255.0.0.0")),
        ("10.0.0.1/0", Some("0.0.0.0")),
        ("10.0.0.1/+8", Some("255.0.0.0")),
        ("10.0.0.1/-0", Some("0.0.0.0")),
        ("\"10.0.0.1/ 8\"", Some("255.0.0.0")),
        ("10.0.0.1/", None),
        ("10.0.0.1/33", None),
        ("10.0.0.1/-1", None),
        ("10.0.0.1/8x", None),
        ("10.0.0.1/99999999999", None),
        ("::1/128", Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
        ("::1/0", Some("::")),
        ("::1/129", None),
    ] {
        let entries = super::read(&format!("host all all {address} md5"), 15);
        let read = entries[0].verdict.as_ref().ok().and_then(|rule| rule.address.as_ref()).and_then(|a| a.mask());
        assert_eq!(read.as_deref(), mask, "{address}");
    }
}

#[test]
fn only_what_is_surely_no_expression_is_refused() {
    for good in [
        "",
        "^db[0-9]+$",
        "a|b",
        "(a(b)c)*",
        "[]x]",
        "[^]]",
        "[[:alpha:]_]",
        "a{2}",
        "a{2,}",
        "a{2,3}?",
        "a{x",
        "a*?",
        r"\[",
        r"[\]]",
        "(?:a)+",
        "(?i)[",
        "***=[",
        "(?#(*)",
        "x(?=y)",
    ] {
        assert_eq!(regex::check(good.as_bytes()), Ok(()), "{good:?}");
    }
    for bad in [
        "[",
        "[a",
        "[]",
        "[[:alpha:]",
        "(",
        "a)",
        "(a",
        "*",
        "a**",
        "a|*",
        "^*",
        "(+)",
        "\\",
        "a\\",
        "a{3,2}",
        "a{256}",
        "a{1",
        "a{1x}",
        "***",
        "***x",
        "(?#x",
    ] {
        assert!(regex::check(bad.as_bytes()).is_err(), "{bad:?}");
    }
}
