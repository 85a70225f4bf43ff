//! Which lines of a file are ours, whatever has been done to it: the markers may be gone, a line moved, reformatted or
//! joined with others.
//!
//! A line is ours by its tag and by being a rule. Each physical line is looked at by itself first, since a foreign line
//! above may end in a backslash; only a rule that is itself spread over several lines is taken together.

use super::lex::{self, Token, is_blank, without_end};
use super::method::Method;
use super::record::{Kind, method_index};
use super::tag::{self, Tag};

/// The line above the block.
pub(super) const BEGIN: &str =
    "# BEGIN goahead: managed by goahead.hba_set and goahead.hba_drop; edits here are undone";
/// The line below it.
pub(super) const END: &str = "# END goahead";

/// What some physical lines are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Somebody else's. Whether the server reads the next one as part of it, by its backslash.
    Foreign { continued: bool },
    /// The line above the block.
    Begin,
    /// The line below it.
    End,
    /// A rule of ours.
    Ours(Ours),
}

/// Physical lines in a row that are one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub what: What,
    /// The first line, counted from 0.
    pub first: usize,
    /// The lines, with their ends.
    pub bytes: &'a [u8],
}

/// A rule of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ours {
    pub tag: Tag,
    /// Its text in one line, without line end and without a backslash that would continue it.
    pub text: Vec<u8>,
    /// Where the method stands, and what there is from there to the tag: none if the rule breaks off before.
    method: Option<(usize, Vec<Token>)>,
    comment: usize,
}

impl Ours {
    /// Whether it is open: a gated rule that does not say just what its tag says of a closed one. One that breaks off
    /// before its method lets nobody in; the file does not load with it.
    pub fn is_open(&self) -> bool {
        let closed = |tokens: &[Token]| match tokens {
            [method] => Method::from_word(&method.text) == Some(self.tag.otherwise),
            _ => false,
        };
        self.method.as_ref().is_some_and(|(_, tokens)| !closed(tokens))
    }

    /// Its text when closed.
    pub fn closed(&self) -> Vec<u8> {
        let Some((at, _)) = self.method.as_ref().filter(|_| self.is_open()) else { return self.text.clone() };
        let mut text = self.text[..*at].to_vec();
        text.extend_from_slice(self.tag.otherwise.as_str().as_bytes());
        text.push(b' ');
        text.extend_from_slice(&self.text[self.comment..]);
        text
    }
}

/// Every line of a text, in order.
pub(super) fn scan(text: &[u8]) -> Vec<Piece<'_>> {
    let lines = lex::physical(text);
    let mut pieces = Vec::with_capacity(lines.len());
    let (mut at, mut offset) = (0, 0);
    while let Some(logical) = lex::join(&lines[at..], at) {
        // A line of ours ends what the server would read as one line: it is going to be taken out or put elsewhere.
        let group = &lines[at..at + logical.lines];
        let (foreign, ours) = split(group);
        for (index, line) in group[..foreign].iter().enumerate() {
            let continued = index + 1 < group.len();
            let bytes = &text[offset..offset + line.len()];
            pieces.push(Piece { what: What::Foreign { continued }, first: at + index, bytes });
            offset += line.len();
        }
        at += foreign;
        if let Some((what, count)) = ours {
            let length: usize = lines[at..at + count].iter().map(|line| line.len()).sum();
            pieces.push(Piece { what, first: at, bytes: &text[offset..offset + length] });
            offset += length;
            at += count;
        }
    }
    pieces
}

/// Of lines that the server reads as one: how many at their beginning are foreign, and what of ours follows.
fn split(group: &[&[u8]]) -> (usize, Option<(What, usize)>) {
    let single = group.iter().enumerate().find_map(|(index, line)| Some((index, alone(line)?)));
    let before = single.as_ref().map_or(group.len(), |(index, _)| *index);
    match (spread(&group[..before]), single) {
        (Some((ours, count)), _) => (0, Some((What::Ours(ours), count))),
        (None, Some((index, what))) => (index, Some((what, 1))),
        (None, None) => (group.len(), None),
    }
}

/// What of ours a physical line is by itself.
fn alone(line: &[u8]) -> Option<What> {
    let text = without_backslash(without_end(line));
    if !text.contains(&b'#') {
        return None;
    }
    let lexed = lex::lex(text, u32::MAX);
    let comment = &text[lexed.comment?..];
    if lexed.fields.is_empty() {
        let said = comment[1..].trim_ascii();
        return match said.strip_prefix(b"BEGIN goahead") {
            Some(b"" | [b':', ..]) => Some(What::Begin),
            _ => (said == b"END goahead").then_some(What::End),
        };
    }
    let ours = rule(text.to_vec())?;
    // One that breaks off may be the end of a rule that began on a line above; then it is not alone.
    ours.method.is_some().then_some(What::Ours(ours))
}

/// A rule of ours that is spread over lines, and over how many. Where its tag is all there, what the tag's own line
/// joins to it is not ours any more.
fn spread(group: &[&[u8]]) -> Option<(Ours, usize)> {
    if !group.iter().any(|line| line.contains(&b'#')) {
        return None;
    }
    let mut text = Vec::new();
    let mut ends = Vec::with_capacity(group.len());
    for line in group {
        text.extend_from_slice(without_backslash(without_end(line)));
        ends.push(text.len());
    }
    let comment = lex::lex(&text, u32::MAX).comment?;
    tag::read(&text[comment..])?;
    let whole = |end: &usize| *end > comment && tag::read(&text[comment..*end]).is_some_and(|tag| tag.full);
    let count = ends.iter().position(whole).map_or(group.len(), |index| index + 1);
    text.truncate(ends[count - 1]);
    rule(text).map(|ours| (ours, count))
}

/// A tagged rule.
fn rule(text: Vec<u8>) -> Option<Ours> {
    let lexed = lex::lex(&text, u32::MAX);
    let comment = lexed.comment?;
    let mut tag = tag::read(&text[comment..])?;
    let starts: Vec<usize> = lexed.fields.iter().map(|field| field[0].start).collect();
    let fields = lex::tokens(lexed.fields);
    let kind = Kind::from_word(&fields.first()?.first()?.text)?;
    if !tag.otherwise.fits(kind) {
        tag.otherwise = Method::Reject;
    }
    let borrowed: Vec<&[Token]> = fields.iter().map(Vec::as_slice).collect();
    let method = method_index(&borrowed).map(|index| (starts[index], fields[index..].concat()));
    Some(Ours { tag, text, method, comment })
}

/// A line without the backslash that continues it.
fn without_backslash(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\\").unwrap_or(line)
}

/// The end of a physical line: what [`without_end`] takes off.
pub(super) fn end_of(line: &[u8]) -> &[u8] {
    &line[without_end(line).len()..]
}

/// The text of a line for people: without its end and blanks around.
pub(super) fn for_people(line: &[u8]) -> String {
    let line = without_end(line);
    let start = line.iter().position(|byte| !is_blank(*byte)).unwrap_or(line.len());
    String::from_utf8_lossy(&line[start..]).into_owned()
}
