//! What holds of any text and any rule.

use std::path::Path;

use proptest::prelude::*;

use super::super::lex::{Token, lex, logical_lines, tokens};
use super::super::tag;
use super::super::{
    Applies, Desired, Dialect, Entry, Fields, Method, State, check_text, close, inspect, install, open_gated, parse,
    quoted, remove, render,
};
use super::{Memory, PATH};

/// A text that shows itself as text when a property fails.
#[derive(Clone, PartialEq)]
struct Text(Vec<u8>);

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

fn parsed(text: &[u8], major: u32) -> Vec<Entry> {
    parse(text, Path::new(PATH), &Dialect::packaged(major), &Memory::default())
}

fn major() -> impl Strategy<Value = u32> {
    14..=18_u32
}

/// Names of every nasty kind that can be written at all.
fn name() -> BoxedStrategy<String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[/@+#,\"' .a-z*^$|(){}\\[\\]?\\\\-]{1,12}",
        "/[^\u{0}-\u{1f}\u{7f}-\u{9f}]{0,10}",
        "[^\u{0}-\u{1f}\u{7f}-\u{9f}]{1,20}",
        Just("all".to_owned()),
        Just("replication".to_owned()),
        Just("sameuser".to_owned()),
        Just("@file".to_owned()),
        Just("+role".to_owned()),
        Just("include".to_owned()),
    ]
    .prop_filter("no trailing backslash", |name| !name.ends_with('\\'))
    .boxed()
}

/// A name as an operator writes it to be taken literally.
fn literal(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn rule(index: usize) -> BoxedStrategy<Desired> {
    let words = (
        prop_oneof![Just("host"), Just("local"), Just("hostssl"), Just("hostnossl")],
        prop_oneof![Just("all".to_owned()), name().prop_map(|name| literal(&name))],
        prop_oneof![Just("+grp".to_owned()), name().prop_map(|name| literal(&name))],
        prop_oneof![
            Just("10.0.0.5/32"),
            Just("::1"),
            Just("10.0.0.0 255.0.255.0"),
            Just("db.example.com"),
            Just("all")
        ],
        prop_oneof![
            Just(("scram-sha-256", "")),
            Just(("md5", "")),
            Just(("pam", "pamservice=\"p g\"")),
            Just(("trust", ""))
        ],
        prop_oneof![Just("any"), Just("primary"), Just("standby")],
        prop_oneof![Just("reject"), Just("md5")],
    );
    words
        .prop_map(move |(kind, database, user, address, (method, options), applies, otherwise)| {
            let name = format!("rule-{index}");
            let address = if kind == "local" { "" } else { address };
            let fields = Fields {
                name: &name,
                kind,
                database: &database,
                user: &user,
                address,
                method,
                options,
                applies,
                otherwise,
            };
            Desired::new(fields, &Dialect::packaged(18)).expect("a good rule")
        })
        .boxed()
}

fn rules() -> BoxedStrategy<Vec<Desired>> {
    prop_oneof![
        Just(Vec::new()),
        rule(0).prop_map(|a| vec![a]),
        (rule(0), rule(1), rule(2)).prop_map(|(a, b, c)| vec![a, b, c]),
    ]
    .boxed()
}

fn state() -> impl Strategy<Value = State> {
    (any::<bool>(), any::<bool>()).prop_map(|(rw, ro)| State { rw, ro })
}

/// Lines of others, with what makes them hard.
fn foreign_line() -> BoxedStrategy<Vec<u8>> {
    let text = prop_oneof![
        Just("host all all 10.0.0.0/8 md5".to_owned()),
        Just("local all postgres trust".to_owned()),
        Just("# a comment".to_owned()),
        Just(String::new()),
        Just("host \"a b\" \"unclosed".to_owned()),
        Just("host all all 10.0.0.1/32 trust # goahead: not a tag".to_owned()),
        Just("# host \"x\" \"x\" 10.0.0.5/32 trust # goahead:x applies=primary otherwise=reject".to_owned()),
        Just("# END goahead of all".to_owned()),
        Just("\\".to_owned()),
        "[ -~\t]{0,40}",
    ];
    let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\\\n"), Just("\\\r\n"), Just(" \\ \n"), Just("\r\r\n")];
    (text, end).prop_map(|(text, end)| format!("{text}{end}").into_bytes()).boxed()
}

fn foreign() -> BoxedStrategy<Text> {
    let last = prop_oneof![Just(Vec::new()), Just(b"host all all all md5".to_vec()), Just(b"x \\".to_vec())];
    (prop::collection::vec(foreign_line(), 0..12), last)
        .prop_map(|(lines, last)| Text([lines.concat(), last].concat()))
        .boxed()
}

/// Foreign lines with ours among them, as a tool may leave them.
fn tampered() -> BoxedStrategy<Text> {
    let line = prop_oneof![
        2 => foreign_line(),
        1 => (rule(0), any::<bool>(), major(), prop_oneof![Just("\n"), Just("\r\n"), Just(" \\\n"), Just("")])
            .prop_map(|(rule, open, major, end)| [rule.line(open, major).as_bytes(), end.as_bytes()].concat()),
        1 => (rule(1), any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(rule, at, other)| {
            // Reformatted over several lines.
            let mut line = rule.line(true, 15).into_bytes();
            for at in [at.index(line.len()), other.index(line.len())] {
                line.splice(at..at, *b"\\\n");
            }
            line.push(b'\n');
            line
        }),
        1 => Just(b"# BEGIN goahead: x\n".to_vec()),
        1 => Just(b"# END goahead \\\n".to_vec()),
    ];
    prop::collection::vec(line, 0..14).prop_map(|lines| Text(lines.concat())).boxed()
}

/// A value of a field as the lexer can give it.
fn token() -> BoxedStrategy<Token> {
    let quoted = "[^\u{0}\n]{0,12}".prop_map(|text| Token { text: text.into_bytes(), quoted: true });
    let plain = "[^\u{0}\n\"#, \t\r][^\u{0}\n]{0,10}".prop_map(|text| Token { text: text.into_bytes(), quoted: false });
    prop_oneof![quoted, plain].boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_rendered_reads_back(fields in prop::collection::vec(prop::collection::vec(token(), 1..4), 1..6)) {
        let mut fields = fields;
        // A line that ends in a backslash is not one line; neither can be written.
        fields.push(vec![Token { text: b"x".to_vec(), quoted: false }]);
        let line = render(&fields);
        prop_assert!(!line.contains(&b'\n'));
        let lines = logical_lines(&line);
        prop_assert_eq!(lines.len(), 1);
        prop_assert_eq!(tokens(lex(&lines[0].text, 18).fields), fields);
    }

    #[test]
    fn a_literal_name_reads_back_on_every_major(database in name(), user in name(), open in any::<bool>()) {
        for major in 14..=18 {
            let (literal_database, literal_user) = (literal(&database), literal(&user));
            let fields = Fields { database: &literal_database, user: &literal_user, ..super::HARW };
            let rule = Desired::new(fields, &Dialect::packaged(major));
            prop_assert!(rule.is_ok(), "{rule:?}");
            let line = rule.expect("it is one").line(open, major);
            let entries = parsed(line.as_bytes(), major);
            prop_assert_eq!(entries.len(), 1);
            prop_assert_eq!(entries[0].managed.as_deref(), Some("harw"));
            let read = entries[0].verdict.as_ref().expect("it loads");
            for (tokens, name) in [(&read.databases, &database), (&read.users, &user)] {
                prop_assert_eq!(tokens.len(), 1);
                prop_assert!(tokens[0].quoted, "a keyword otherwise");
                if major >= 16 && name.starts_with('/') {
                    // The server's expressions and these are alike for an anchored, escaped name.
                    let expression = std::str::from_utf8(&tokens[0].text[1..]).expect("text");
                    let expression = regex::Regex::new(expression).expect("an expression");
                    prop_assert!(expression.is_match(name), "{expression} {name:?}");
                    let longer = format!("{name}x");
                    let other = format!("x{name}");
                    prop_assert!(!expression.is_match(&longer) && !expression.is_match(&other));
                } else {
                    prop_assert_eq!(&tokens[0].text, name.as_bytes());
                }
            }
        }
    }

    #[test]
    fn a_quoted_name_is_one_token(name in name(), major in major()) {
        let fields = tokens(lex(quoted(&name, major).as_bytes(), major).fields);
        prop_assert_eq!(fields.len(), 1);
        prop_assert_eq!(fields[0].len(), 1);
        prop_assert!(fields[0][0].quoted);
    }

    #[test]
    fn foreign_bytes_survive_every_edit(
        Text(text) in foreign(),
        edits in prop::collection::vec((0..3, rules(), state(), major()), 1..8),
    ) {
        let mut now = text.clone();
        for (edit, rules, state, major) in edits {
            now = match edit {
                0 => install(&now, &rules, state, major),
                1 => close(&now),
                _ => remove(&now),
            };
            prop_assert_eq!(remove(&now), text.clone());
            prop_assert!(now.ends_with(&text));
        }
    }

    #[test]
    fn installing_twice_is_installing_once(Text(text) in tampered(), rules in rules(), state in state(), major in major()) {
        let once = install(&text, &rules, state, major);
        prop_assert_eq!(install(&once, &rules, state, major), once.clone());
        let drift = inspect(&once, &rules, state, major);
        prop_assert!(drift.none() && drift.describe().is_empty(), "{drift:?}");
        prop_assert_eq!(remove(&once), remove(&text));
    }

    #[test]
    fn drift_is_what_installing_changes(Text(text) in tampered(), rules in rules(), state in state(), major in major()) {
        let drift = inspect(&text, &rules, state, major);
        prop_assert_eq!(drift.none(), install(&text, &rules, state, major) == text);
        prop_assert_eq!(drift.none(), drift.describe().is_empty());
    }

    #[test]
    fn what_is_installed_stands_first_and_says_what_it_is_to_say(
        Text(text) in tampered(), rules in rules(), state in state(), major in major(),
    ) {
        let entries = parsed(&install(&text, &rules, state, major), major);
        for (entry, rule) in entries.iter().zip(&rules) {
            prop_assert_eq!(entry.managed.as_deref(), Some(rule.name()));
            let read = entry.verdict.as_ref().expect("it loads");
            let method = if state.opens(rule.applies()) { rule.method() } else { rule.otherwise() };
            prop_assert_eq!(read.method, method);
        }
        prop_assert!(entries.len() >= rules.len());
        prop_assert!(entries[rules.len()..].iter().all(|entry| entry.managed.is_none()));
    }

    #[test]
    fn closing_closes_all_and_only_ours(Text(text) in tampered(), rules in rules(), state in state(), major in major()) {
        for text in [text.clone(), install(&text, &rules, state, major)] {
            let closed = close(&text);
            prop_assert_eq!(open_gated(&closed), Vec::<String>::new());
            prop_assert_eq!(close(&closed), closed.clone());
            prop_assert_eq!(remove(&closed), remove(&text));
            // As the server reads it: no gated line lets in by its open method.
            for entry in parsed(&closed, major).iter().filter(|entry| entry.managed.is_some()) {
                let comment = lex(&entry.text, 18).comment.expect("a comment");
                let tag = tag::read(&entry.text[comment..]).expect("a tag");
                if let (Ok(rule), false) = (&entry.verdict, tag.applies == Applies::Any) {
                    // A tag that is itself broken over lines, or has another line's tag glued to it, says something
                    // else to us than to the server.
                    let tags = entry.text[comment..].windows(8).filter(|bytes| bytes == b"goahead:").count();
                    let whole = tag.full && tags == 1;
                    let closed = [Method::Reject, if whole { tag.otherwise } else { Method::Md5 }];
                    prop_assert!(closed.contains(&rule.method));
                }
            }
            // Rules that always apply keep their lines.
            let any = |text: &[u8]| -> Vec<Vec<u8>> {
                let says = |line: &[u8], word: &[u8]| line.windows(word.len()).any(|found| found == word);
                // Lines that were glued together may say several things.
                let any = |line: &&[u8]| {
                    says(line, b"applies=any") && !says(line, b"applies=primary") && !says(line, b"applies=standby")
                };
                text.split(|byte| *byte == b'\n').filter(any).map(<[u8]>::to_vec).collect()
            };
            prop_assert_eq!(any(&closed), any(&text));
        }
    }

    #[test]
    fn closing_what_was_installed_is_installing_it_closed(Text(text) in foreign(), rules in rules(), state in state(), major in major()) {
        let closed = close(&install(&text, &rules, state, major));
        prop_assert_eq!(closed, install(&text, &rules, State::CLOSED, major));
        let open = open_gated(&install(&text, &rules, state, major));
        let gated = |rule: &&Desired| rule.applies() != Applies::Any && state.opens(rule.applies());
        let wanted: Vec<String> = rules
            .iter()
            .filter(gated)
            .filter(|rule| rule.line(true, major) != rule.line(false, major))
            .map(|rule| rule.name().to_owned())
            .collect();
        prop_assert_eq!(open, wanted);
    }

    #[test]
    fn no_bytes_are_too_strange(text in prop::collection::vec(any::<u8>(), 0..400)) {
        check_text(&text);
    }

    #[test]
    fn no_text_is_too_strange(Text(text) in tampered(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = text;
        if !text.is_empty() {
            let at = cut.index(text.len());
            text[at] = byte;
        }
        check_text(&text);
    }
}
