//! What is read from a request.

use super::*;
use crate::probe::{Allow, EACH, Prober, Template};

fn probes() -> Probes {
    let template = Template::parse("postgres://u@db/{{.}}?sslmode=disable").unwrap();
    Probes::new(Prober::new(Allow::default(), EACH), Some(template))
}

fn parse(method: &str, uri: &str) -> Result<Ask, (u16, String)> {
    Ask::parse(method, &uri.parse().unwrap(), &probes(), Duration::from_secs(30))
        .map_err(|refusal| (refusal.status.as_u16(), refusal.sentence()))
}

fn key_of(method: &str, uri: &str) -> String {
    match parse(method, uri).unwrap() {
        Ask::Look(key) | Ask::Reset(key) | Ask::Signal { key, .. } | Ask::Meet { key, .. } => key.to_string(),
        Ask::Wait(wait) => wait.goals[0].1.key.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn any_path_is_a_key() {
    for (uri, key) in [
        ("/abc", "abc"),
        ("/a/b/c", "a/b/c"),
        ("/a/", "a/"),
        ("/a%20b%2Fc", "a b/c"),
        ("/%C3%A9", "é"),
        ("//x", "/x"),
        ("/x?y", "x"),
        ("http://host:8080/abc", "abc"),
    ] {
        for method in ["GET", "PUT", "post", "Delete", "hEAD"] {
            assert_eq!(key_of(method, uri), key, "{method} {uri}");
        }
    }
    assert_eq!(key_of("PUT", "/"), "/");
    assert_eq!(key_of("GET", "/?parties=2"), "/");
}

#[tokio::test]
async fn the_root_lists_and_browsers_get_no_icon() {
    assert!(matches!(parse("GET", "/"), Ok(Ask::List)));
    assert!(matches!(parse("head", "/?x=y"), Ok(Ask::List)));
    assert!(matches!(parse("GET", "/favicon.ico"), Ok(Ask::Icon)));
}

#[tokio::test]
async fn times_are_read_and_bounded() {
    let timeout = |uri| match parse("GET", uri).unwrap() {
        Ask::Wait(wait) => wait.timeout.as_millis(),
        other => panic!("{other:?}"),
    };
    assert_eq!(timeout("/a"), 30_000);
    assert_eq!(timeout("/a?timeout=5"), 5_000);
    assert_eq!(timeout("/a?timeout=1m30s"), 90_000);
    assert_eq!(timeout("/a?timeout=48h"), 3_600_000);
    assert_eq!(timeout("/?any=a&timeout=0"), 0);
    let ttl = |uri| match parse("PUT", uri).unwrap() {
        Ask::Signal { ttl, .. } => ttl,
        other => panic!("{other:?}"),
    };
    assert_eq!(ttl("/a"), None);
    assert_eq!(ttl("/a?ttl=60s"), Some(Duration::from_secs(60)));
}

#[tokio::test]
async fn what_is_wrong_is_told() {
    let reserved = "Keys starting with '_' are reserved";
    for (method, uri, status, told) in [
        ("PUT", "/_abc", 404, reserved),
        ("POST", "/%5Fabc", 404, reserved),
        ("GET", "/_abc", 404, reserved),
        ("DELETE", "/_port/h/1", 404, reserved),
        ("GET", "/_b?parties=2", 404, reserved),
        ("PROPFIND", "/abc", 405, "GET, HEAD, PUT, POST, DELETE"),
        ("GET", "/a?timeout=soon", 400, "\"soon\" is no time"),
        ("GET", "/a?timeout=-1", 400, "\"-1\" is no time"),
        ("PUT", "/a?ttl=0", 400, "ttl=0"),
        ("GET", "/a%0Ab", 400, "cannot be a key"),
        ("GET", "/a%00", 400, "cannot be a key"),
        ("PUT", "/%FF", 400, "not UTF-8"),
        ("GET", "/b?parties=0", 400, "parties="),
        ("GET", "/b?parties=x", 400, "parties="),
        ("GET", "/?all=a&any=b", 400, "not for both"),
        ("GET", "/x?all=a", 400, "Several keys"),
        ("GET", "/?all=_x", 404, reserved),
        ("GET", "/_port/h/x", 400, "is no port"),
        ("GET", "/_postgres/", 400, "write /_postgres/DATABASE"),
    ] {
        let (got, text) = parse(method, uri).unwrap_err();
        assert!(got == status && text.contains(told), "{method} {uri}: {got} {text}");
    }
    let many: String = (0..65).map(|number| format!("all={number}&")).collect();
    assert_eq!(parse("GET", &format!("/?{many}")).unwrap_err().0, 400);
    assert_eq!(parse("PUT", &format!("/{}", "x".repeat(256))).unwrap_err().0, 400);
}

#[tokio::test]
async fn several_keys_keep_the_names_they_were_given() {
    let Ok(Ask::Wait(wait)) = parse("GET", "/?all=a&all=/b%2Fc&all=_port/h/1") else { panic!() };
    assert_eq!(wait.until, Until::All);
    let seen: Vec<(&str, &str)> = wait.goals.iter().map(|(name, goal)| (name.as_str(), goal.key.as_str())).collect();
    assert_eq!(seen, [("a", "a"), ("/b/c", "b/c"), ("_port/h/1", "_port/h/1")]);
    assert!(wait.goals[2].1.target.is_some() && wait.goals[0].1.target.is_none());
}

#[tokio::test]
async fn probes_see_what_was_asked_and_nothing_more() {
    let target = |uri| match parse("GET", uri).unwrap() {
        Ask::Wait(wait) => wait.goals[0].1.target.as_ref().map(ToString::to_string).unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(target("/_port/memcached/11211"), "tcp://memcached:11211");
    assert_eq!(target("/_http/web:8080/a%3Fb%20c?timeout=3"), "http://web:8080/a%3Fb%20c");
    assert_eq!(target("/_postgres/x%3Fhost=evil"), "postgres://u@db:5432/x?host=evil");
    assert_eq!(target("/_postgres/.."), "postgres://u@db:5432/..");
}

#[test]
fn bodies_become_payloads() {
    let read = |body: &[u8]| payload(body.to_vec()).map(|json| json.map(|json| json.get().to_owned()));
    assert_eq!(read(b""), Ok(None));
    assert_eq!(
        read(b"{\"a\": [1, 12345678901234567890123]}").unwrap().unwrap(),
        "{\"a\": [1, 12345678901234567890123]}"
    );
    assert_eq!(read(b"ready\n").unwrap().unwrap(), "\"ready\\n\"");
    assert_eq!(read(b"5").unwrap().unwrap(), "5");
    assert_eq!(read("{not \u{e9}".as_bytes()).unwrap().unwrap(), "\"{not \u{e9}\"");
    for body in [&b"\xff"[..], b"a\0b", b"[\"\\u0000\"]", b"{\"\\u0000\":1}", b"{\"a\":[{\"b\":\"\\u0000\"}]}"] {
        assert_eq!(read(body).unwrap_err().status.as_u16(), 400, "{body:?}");
    }
    // Half a surrogate pair is no JSON, so it is text.
    assert_eq!(read(br#""\ud800""#).unwrap().unwrap(), r#""\"\\ud800\"""#);
}
