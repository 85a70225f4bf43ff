//! What real servers of five majors said of 137 files: whether they load, and each row of `pg_hba_file_rules`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::super::{Dialect, Entry, loads, parse};
use super::{Memory, PATH};

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    /// The whole file; else a first rule is to be put before it.
    raw: bool,
    text: Option<String>,
    /// A name too long to be written down.
    r#gen: Option<String>,
    aux: Option<BTreeMap<String, String>>,
    res: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    v: Vec<u32>,
    load: bool,
    rows: Vec<Row>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
struct Row {
    l: usize,
    t: Option<String>,
    d: Option<Vec<String>>,
    u: Option<Vec<String>>,
    a: Option<String>,
    m: Option<String>,
    am: Option<String>,
    #[serde(default)]
    o: Vec<String>,
    f: Option<String>,
    /// The error or warning, of which only whether it is there beside a type is judged.
    e: Option<String>,
}

/// The servers that were asked: Debian's of 15, and ones built with TLS only.
fn asked(major: u32) -> Dialect {
    let packaged = Dialect::packaged(major);
    if major == 15 {
        return packaged;
    }
    let oauth_validators = if major == 18 { vec!["vlib".to_owned()] } else { Vec::new() };
    Dialect { gss: false, pam: false, ldap: false, oauth_validators, ..packaged }
}

fn text(vector: &Vector) -> String {
    let text = vector.text.clone().unwrap_or_else(|| {
        let expression = vector.r#gen.as_deref().expect("text or how to make it");
        let length = expression.split(['*', '+']).nth(2).and_then(|length| length.parse().ok()).expect("a length");
        assert_eq!(expression, format!("'host '+'x'*{length}+' all 10.0.0.1/32 md5'"));
        format!("host {} all 10.0.0.1/32 md5", "x".repeat(length))
    });
    if vector.raw { text } else { format!("local all postgres trust\n{text}\n") }
}

fn row(entry: &Entry, major: u32, vector: &Vector) -> Row {
    let file = (major >= 16).then(|| entry.file.file_name().unwrap_or_default().to_string_lossy().into_owned());
    let Ok(rule) = &entry.verdict else { return Row { l: entry.line, f: file, ..Row::default() } };
    let names = |tokens: &[super::super::Token]| Some(tokens.iter().map(|token| token.text().into_owned()).collect());
    Row {
        l: entry.line,
        t: Some(rule.kind.as_str().to_owned()),
        // Left out of the record where it is long.
        d: names(&rule.databases).filter(|_| vector.r#gen.is_none()),
        u: names(&rule.users),
        a: rule.address.as_ref().map(|address| address.text()),
        m: rule.address.as_ref().and_then(|address| address.mask()),
        am: Some(rule.method.as_str().to_owned()),
        o: rule.options.shown(),
        f: file,
        e: rule.warning.clone(),
    }
}

#[test]
fn every_vector_is_judged_as_the_servers_did() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance/hba_vectors.json");
    let vectors: Vectors =
        serde_json::from_slice(&std::fs::read(file).expect("the vectors are in the tests")).expect("they are JSON");
    let mut judged = 0;
    let mut wrong = Vec::new();
    for vector in &vectors.vectors {
        let aux: Vec<(&str, &str)> =
            vector.aux.iter().flatten().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let files = Memory::with(&aux);
        for outcome in &vector.res {
            for major in outcome.v.iter().copied() {
                judged += 1;
                let entries = parse(text(vector).as_bytes(), Path::new(PATH), &asked(major), &files);
                let mut rows: Vec<Row> = entries.iter().map(|entry| row(entry, major, vector)).collect();
                // The record has what a vector adds, not the rule before it.
                let from = usize::from(
                    rows.first().is_some_and(|first| first.l == 1 && first.am.as_deref() == Some("trust"))
                        && outcome.rows.len() < rows.len(),
                );
                rows.drain(..from);
                let same = rows.len() == outcome.rows.len()
                    && rows.iter().zip(&outcome.rows).all(|(ours, theirs)| {
                        let (ours_said, theirs_said) = (ours.e.is_some(), theirs.e.is_some());
                        let ours = Row { e: None, ..ours.clone() };
                        ours == Row { e: None, ..theirs.clone() } && (ours.t.is_none() || ours_said == theirs_said)
                    });
                if loads(&entries) != outcome.load || !same {
                    wrong.push(format!("{} on {major}: {rows:?}\n  recorded {:?}", vector.id, outcome.rows));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {judged}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((vectors.vectors.len(), judged), (137, 685));
}
