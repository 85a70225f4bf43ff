//! Files that name files, and what does not load.

use std::path::Path;

use super::super::{Dialect, Field, Files, NoFiles, loads, parse, problems};
use super::{Memory, PATH, read};

fn with(text: &str, files: &[(&str, &str)], major: u32) -> Vec<super::super::Entry> {
    parse(text.as_bytes(), Path::new(PATH), &Dialect::packaged(major), &Memory::with(files))
}

#[test]
fn a_circle_of_files_is_refused_on_every_major() {
    for major in 14..=18 {
        let circle = with("host @a all all md5", &[("a", "b @b"), ("b", "c\n@a")], major);
        assert!(!loads(&circle));
        let [problem] = &problems(&circle)[..] else { panic!("one problem: {circle:?}") };
        assert_eq!((problem.field, problem.line), (Field::File, 1));
        assert!(problem.message.contains("/etc/pg/b line 2") && problem.message.contains("names itself"), "{problem}");
        assert!(!loads(&with("host @pg_hba.conf all all md5", &[("pg_hba.conf", "x")], major)), "itself");
        let dots = [("a", "@./x/../a")];
        assert!(!loads(&with("host @a all all md5", &dots, major)), "in other words");
    }
}

#[test]
fn ten_files_may_name_one_another_and_eleven_not() {
    for major in 14..=18 {
        let names: Vec<String> = (1..=11).map(|number| format!("f{number}")).collect();
        let texts: Vec<String> = (2..=12).map(|number| format!("@f{number}")).collect();
        let mut files: Vec<(&str, &str)> = names.iter().zip(&texts).map(|(n, t)| (n.as_str(), t.as_str())).collect();
        assert!(!loads(&with("host @f1 all all md5", &files, major)));
        files[9].1 = "db";
        assert!(loads(&with("host @f1 all all md5", &files, major)), "{major}");
    }
}

#[test]
fn many_names_of_many_names_end() {
    let many = "@b ".repeat(200);
    let (more, most) = (many.replace('b', "c"), many.replace('b', "d"));
    let entries = with(
        &format!("host {} all all md5", many.replace('b', "a")),
        &[("a", &many), ("b", &more), ("c", &most), ("d", "x")],
        15,
    );
    assert!(!loads(&entries));
}

#[test]
fn included_files_are_read_where_they_stand() {
    let files = [
        ("d/b.conf", "host b all all md5\ninclude ../one.conf"),
        ("d/a.conf", "host a all all md5"),
        ("d/.h.conf", "bogus"),
        ("d/c.txt", "bogus"),
        ("one.conf", "host one all all md5 # goahead:x applies=primary otherwise=reject"),
    ];
    let text = "include_dir d\ninclude_if_exists none\nhost last all all md5 # goahead:y applies=any otherwise=reject";
    let entries = with(text, &files, 16);
    let read: Vec<(String, usize, &str)> = entries
        .iter()
        .map(|entry| {
            let rule = entry.verdict.as_ref().expect("it loads");
            let file = entry.file.strip_prefix("/etc/pg").expect("beside").display().to_string();
            (format!("{file}:{}", entry.line), rule.databases.len(), entry.managed.as_deref().unwrap_or(""))
        })
        .collect();
    // A tag in another file is none: nothing there is ours to edit.
    let wanted = [("d/a.conf:1", ""), ("d/b.conf:1", ""), ("one.conf:1", ""), ("pg_hba.conf:3", "y")];
    assert_eq!(read, wanted.map(|(place, managed)| (place.to_owned(), 1, managed)));
    assert!(!loads(&with(text, &files, 15)));
}

#[test]
fn what_does_not_load_says_where_and_how_to_mend_it() {
    for (text, field, word) in [
        ("HOST all all all md5", Field::Type, "small letters"),
        ("host all", Field::User, "complete"),
        ("host all all 10.0.0.1 md5", Field::Mask, "10.0.0.1/32"),
        ("host all all 10.0.0.1/33 md5", Field::Address, "0 to 32"),
        ("host all all all MD5", Field::Method, "scram-sha-256"),
        ("host all all all cert", Field::Method, "hostssl"),
        ("host all all all md5 map=x", Field::Options, "ident"),
        ("host all,b all a,b md5", Field::Address, "line for each"),
        ("host /( all all md5", Field::Database, "expression"),
        ("include a b", Field::Type, "PostgreSQL 16"),
        ("host @x all all md5", Field::File, "correct the name"),
        ("host a\0b all all md5", Field::Line, "remove"),
    ] {
        let entries = read(&format!("local all all peer\n\n{text}\n"), 16);
        let [problem] = &problems(&entries)[..] else { panic!("one problem: {entries:?}") };
        assert_eq!((problem.line, problem.field), (3, field), "{text}");
        assert!(problem.mend.contains(word), "{text}: {}", problem.mend);
        assert!(problem.to_string().starts_with("/etc/pg/pg_hba.conf line 3, "), "{problem}");
        assert!(!loads(&entries));
    }
    assert_eq!(problems(&read("# nothing\n", 16)).len(), 1);
    assert!(!loads(&read("# nothing\n", 16)));
}

#[test]
fn what_loads_in_vain_says_so() {
    let off = Dialect { ssl_on: false, ..Dialect::packaged(16) };
    let entries = parse(b"hostssl all all all md5", Path::new(PATH), &off, &NoFiles);
    assert!(loads(&entries));
    let warning = entries[0].verdict.as_ref().expect("it loads").warning.clone().expect("a warning");
    assert!(warning.contains("ssl = off"), "{warning}");
    let radius = read("host all all all radius radiusservers=r.example radiussecrets=s", 16);
    assert!(loads(&radius) && radius[0].verdict.as_ref().is_ok_and(|rule| rule.warning.is_some()));
    assert!(!loads(&read("host all all all radius radiusservers=1.2.3.4,1.2.3.5 radiussecrets=a,b", 16)), "no commas");
    assert!(loads(&read("host all all all radius \"radiusservers=1.2.3.4,1.2.3.5\" \"radiussecrets=a,b\"", 16)));
}

#[test]
fn a_text_by_itself_opens_nothing() {
    assert!(NoFiles.read(Path::new("x")).is_err());
    for text in ["host @x all all md5", "include x", "include_if_exists x", "include_dir x"] {
        assert!(!loads(&parse(text.as_bytes(), Path::new(PATH), &Dialect::packaged(16), &NoFiles)), "{text}");
    }
}
