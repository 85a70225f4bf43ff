//! Tests of the search for a cluster, against matching every pattern one by one.

use proptest::prelude::*;

use super::*;

fn cluster(id: i32, name: &str, priority: i32, name_pattern: &str, blacklist: &[&str]) -> ClusterPatterns {
    ClusterPatterns {
        id,
        name: name.into(),
        priority,
        name_pattern: name_pattern.into(),
        blacklist: blacklist.iter().map(|&pattern| pattern.into()).collect(),
    }
}

fn blacklisted(cluster: i32, pattern: &str) -> Match {
    Match::Blacklisted { cluster, pattern: pattern.into() }
}

#[track_caller]
fn finds(clusters: &[ClusterPatterns], name: &str, expected: Match) {
    let mut matcher = Matcher::new(clusters.to_vec()).unwrap();
    assert_eq!(matcher.find(name), Ok(expected.clone()), "{name}");
    assert_eq!(matcher.find(name), Ok(expected), "{name} for the second time");
}

#[test]
fn the_originals_examples_go_where_they_went() {
    let clusters = [
        cluster(1, "foobar-db", 0, "^(foobar-)(aa|bb)[[:digit:]]{2}.(domain).(tld)$", &[]),
        cluster(2, "standalone", 0, "^(foobar-server-standalone).*[[:digit:]]{2}.(domain).(tld)$", &[]),
        cluster(
            3,
            "server",
            0,
            "^(foobar-server-).*[[:digit:]]{2}.(domain).(tld)$",
            &[".*-standalone-.*", ".*-black-.*"],
        ),
    ];
    finds(&clusters, "foobar-aa01.domain.tld", Match::Cluster(1));
    finds(&clusters, "foobar-cc01.domain.tld", Match::None);
    finds(&clusters, "foobar-server-aa02.domain.tld", Match::Cluster(3));
    finds(&clusters, "foobar-server-standalone-aa02.domain.tld", Match::Cluster(2));
    finds(&clusters, "foobar-server-black-aa02.domain.tld", blacklisted(3, ".*-black-.*"));
    finds(&clusters, "foobar-server-aa02.domain.tld.org", Match::None);
    finds(&[], "foobar-aa01.domain.tld", Match::None);
}

#[test]
fn priority_then_name_decides_and_a_blacklist_passes_on() {
    let clusters = [
        cluster(1, "b", 0, "web", &[]),
        cluster(2, "a", 0, "web", &["web2"]),
        cluster(3, "z", 7, "web", &["web2", "web3"]),
        cluster(4, "0", -7, ".", &["web4"]),
    ];
    finds(&clusters, "web1", Match::Cluster(3));
    finds(&clusters, "web2", Match::Cluster(1));
    finds(&clusters, "web3", Match::Cluster(2));
    finds(&clusters, "db4", Match::Cluster(4));
    finds(&clusters[1..3], "web2", blacklisted(3, "web2"));
    finds(&clusters[1..2], "web23", blacklisted(2, "web2"));
}

#[test]
fn patterns_have_no_case() {
    for pattern in ["^WEB[0-9]+$", "^Web\\d+$", "^[V-X]EB", "(?i)wEb", "^\\D{3}1"] {
        finds(&[cluster(1, "a", 0, pattern, &[])], "web1", Match::Cluster(1));
    }
    finds(&[cluster(1, "a", 0, "(?-i)WEB", &[])], "web1", Match::None);
    finds(&[cluster(1, "a", 0, "web", &["^WEB"])], "web1", blacklisted(1, "^WEB"));
    finds(&[cluster(1, "a", 0, "^\\pL+\\.[^x-zä]+$", &[])], "web.org", Match::Cluster(1));
}

#[test]
fn a_bad_pattern_is_explained() {
    let message = |pattern: &str| validate_pattern(pattern).unwrap_err().to_string();
    assert_eq!(message(""), "is empty and would match every host; write .* if that is meant");
    let text = |problem: &str| format!("is not a regular expression: {problem}");
    assert_eq!(message("^[bad"), text("unclosed character class at character 2 (\"[bad\")"));
    assert_eq!(message("ä("), text("unclosed group at character 2 (\"(\")"));
    assert_eq!(message("a\\Q"), text("unrecognized escape sequence at character 2 (\"\\\\Q\")"));
    let repetition = "repetition operator missing expression at character 1 (\"*.example.org-*.exam\")";
    assert_eq!(message("*.example.org-*.example.org"), text(repetition));
    assert!(message("\\p{Nonsense}").contains("Unicode property not found"));
    assert!(message("(a{1000}){1000}").starts_with("needs more than 2097152 bytes when compiled"));
    assert!(message(&"x".repeat(MAX_PATTERN + 1)).starts_with("has 65537 bytes"));
    let hosts: Vec<_> = (0..1000).map(|number| format!("web{number:04}\\.prod\\.example\\.org")).collect();
    for fine in [".*", "\\pL[äö]", "^a{3}$", "(?:x|)", &format!("^({})$", hosts.join("|"))] {
        assert_eq!(validate_pattern(fine), Ok(()), "{fine}");
    }
}

#[test]
fn a_bad_cluster_is_named() {
    let clusters = vec![cluster(1, "web", 0, "fine", &[]), cluster(2, "db", 0, "^[bad", &[])];
    let error = Matcher::new(clusters).map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("pattern \"^[bad\" of cluster db is not a regular expression"), "{error}");
    let mut matcher = Matcher::new(vec![cluster(1, "web", 0, "web", &["", "x"])]).unwrap();
    assert_eq!(matcher.find("db1"), Ok(Match::None));
    let error = matcher.find("web1").unwrap_err().to_string();
    assert!(error.starts_with("pattern \"\" of cluster web is empty"), "{error}");
    let mut matcher = Matcher::new(vec![cluster(1, "web", 0, "(a{1000}){1000}|web", &[])]).unwrap();
    assert!(matcher.find("web1").is_err());
}

#[test]
fn a_pattern_for_no_host_is_noticed() {
    for pattern in ["(?-i)WEB", "web 1", "^web\\.example\\.org/$", "ä", "(a b|c,d)", "[A-Z](?-i:[A-Z])", "x( +)y"] {
        assert!(never_matches(pattern), "{pattern}");
    }
    for pattern in ["WEB", "web1( |$)", "[^A-Z]", ".*", "a b|c", "( )?a", "[a-z ]+", "", "("] {
        assert!(!never_matches(pattern), "{pattern}");
    }
}

#[test]
fn ten_thousand_clusters_leave_one_candidate() {
    let grid = |index: i32| format!("^svc{:02}-\\d+\\.site{:02}\\.example\\.org$", index % 100, index / 100);
    let clusters = (0..10_000).map(|index| cluster(index, "same", 0, &grid(index), &[]));
    let mut matcher = Matcher::new(clusters.collect()).unwrap();
    for index in (0..10_000).step_by(997) {
        let name = format!("svc{:02}-7.site{:02}.example.org", index % 100, index / 100);
        assert_eq!(matcher.candidates(&name), [index as usize]);
        assert_eq!(matcher.candidates(&format!("{name}.{name}")), [index as usize]);
        assert_eq!(matcher.find(&name), Ok(Match::Cluster(index)));
    }
    assert!(matcher.candidates("db1.example.org").is_empty());
}

/// A piece of a pattern and a text that it probably matches.
fn piece() -> impl Strategy<Value = (String, String)> {
    let class = |pattern: &'static str, texts: &'static str| {
        let text = proptest::sample::select(texts.chars().map(String::from).collect::<Vec<_>>());
        text.prop_map(move |text| (pattern.to_owned(), text)).boxed()
    };
    let leaf = prop_oneof![
        4 => "[a-c01.-]{1,4}".prop_map(|text| (regex::escape(&text), text)),
        1 => "[A-C]{1,2}".prop_map(|text| (text.clone(), text.to_lowercase())),
        1 => class(".", "ab0.-"),
        1 => class("[ab]", "ab"),
        1 => class("[A-C]", "abc"),
        1 => class("[^ab]", "c0."),
        1 => class("\\d", "01"),
        1 => class("[[:digit:]]", "01"),
        1 => class("\\D", "abc"),
        1 => class("\\W", ".-"),
        1 => proptest::sample::select(vec!["^", "$", "\\b", "\\B", "(?-i)", "()"])
            .prop_map(|look| (look.to_owned(), String::new())),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let several = || proptest::collection::vec(inner.clone(), 1..4);
        let index = any::<proptest::sample::Index>();
        prop_oneof![
            3 => several().prop_map(|parts| parts.into_iter().unzip::<_, _, Vec<_>, Vec<_>>())
                .prop_map(|(patterns, texts)| (patterns.concat(), texts.concat())),
            2 => (several(), index, proptest::sample::select(vec!["(", "(?:", "(?i:"]), any::<bool>()).prop_map(
                |(parts, index, open, empty)| {
                    let (mut patterns, texts): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
                    patterns.extend(empty.then(String::new));
                    (format!("{open}{})", patterns.join("|")), index.get(&texts).clone())
                }
            ),
            2 => (inner.clone(), 0usize..4, 0usize..3, any::<bool>(), 0usize..3).prop_map(
                |((pattern, text), min, extra, open, more)| {
                    let max = if open { String::new() } else { (min + extra).to_string() };
                    (format!("(?:{pattern}){{{min},{max}}}"), text.repeat(min + more.min(extra)))
                }
            ),
            1 => inner.prop_map(|(pattern, text)| (format!("(?:{pattern})?"), text)),
        ]
    })
}

fn naive(clusters: &[ClusterPatterns], name: &str) -> Match {
    let matches = |pattern: &str| regex::Regex::new(&format!("(?i){pattern}")).unwrap().is_match(name);
    let mut order: Vec<_> = clusters.iter().collect();
    order.sort_by_key(|cluster| (-cluster.priority, cluster.name.clone()));
    let mut passed_over = Match::None;
    for cluster in order.into_iter().filter(|cluster| matches(&cluster.name_pattern)) {
        match cluster.blacklist.iter().find(|pattern| matches(pattern)) {
            None => return Match::Cluster(cluster.id),
            Some(pattern) if passed_over == Match::None => passed_over = blacklisted(cluster.id, pattern),
            Some(_) => {}
        }
    }
    passed_over
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_prefilter_changes_nothing(
        parts in proptest::collection::vec(
            (piece(), -1..2, proptest::option::weighted(0.3, piece()), "[a-c.]{0,2}", "[a-c.]{0,2}"),
            1..8,
        ),
        strays in proptest::collection::vec("[a-c01.-]{1,8}", 0..4),
    ) {
        let clusters: Vec<_> = parts
            .iter()
            .enumerate()
            .map(|(index, (piece, priority, black, _, _))| {
                let black: Vec<_> = black.iter().map(|piece| piece.0.as_str()).collect();
                // Names against the grain of the ids, so that both orders show.
                cluster(index as i32, &format!("c{}", 9 - index), *priority, &piece.0, &black)
            })
            .collect();
        let mut matcher = Matcher::new(clusters.clone()).unwrap();
        let names = parts.iter().map(|(piece, _, _, head, tail)| format!("{head}{}{tail}", piece.1));
        for name in names.chain(strays) {
            prop_assert_eq!(matcher.find(&name), Ok(naive(&clusters, &name)), "{}", name);
        }
    }

    #[test]
    fn what_never_matches_does_not_match(piece in piece(), name in "[a-c01.-]{1,6}") {
        if never_matches(&piece.0) {
            let matches = regex::Regex::new(&format!("(?i){}", piece.0)).unwrap();
            prop_assert!(!matches.is_match(&name) && !matches.is_match(&piece.1));
        }
    }

    #[test]
    fn no_text_panics(pattern in "\\PC{0,12}|[\\[\\]a-c\\\\^{}()|,0-9?*+.:-]{0,16}") {
        if validate_pattern(&pattern).is_ok() {
            let mut matcher = Matcher::new(vec![cluster(1, "a", 0, &pattern, &[])]).unwrap();
            prop_assert!(matcher.find("abc").is_ok());
        }
    }
}
