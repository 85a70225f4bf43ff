//! Lines, fields and tokens, as the server's lexer cuts them.
//!
//! Lines are joined before anything else is looked at, so a comment that ends in a backslash swallows the next rule.
//! There is no escape character; blanks are space, tab and carriage return, and every other byte can be part of a name.

use std::borrow::Cow;

/// The longest token in bytes up to version 15; the minor releases before 2023 took 255.
const MAX_TOKEN: usize = 10_239;

/// One value of a field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// Its bytes, without the quotes.
    pub text: Vec<u8>,
    /// Whether it began with a quote: then it is no keyword, no `+role` and no `@file`. A leading `/` still counts on 16+.
    pub quoted: bool,
}

impl Token {
    /// Its text, for people: bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }

    /// Whether it is this keyword, which a quoted token never is.
    #[must_use]
    pub fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword.as_bytes()
    }

    /// Whether it stands for what is in a file.
    #[must_use]
    pub fn names_file(&self) -> bool {
        !self.quoted && self.text.len() > 1 && self.text[0] == b'@'
    }
}

/// A token and where it stands in its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub token: Token,
    /// The offset of its first byte, a quote included.
    pub start: usize,
    /// Whether an unquoted comma ended it, so that its field goes on.
    comma: bool,
}

/// A line cut up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lexed {
    /// No field is empty.
    pub fields: Vec<Vec<Word>>,
    /// The offset of the `#` that begins the comment.
    pub comment: Option<usize>,
    /// A token is longer than the server takes; what follows it was not read.
    pub too_long: bool,
    /// The last quote was not closed.
    pub unclosed: bool,
}

/// Physical lines that the server reads as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Logical {
    /// The first of them, counted from 0.
    pub first: usize,
    /// How many.
    pub lines: usize,
    /// Their text, without line ends and continuing backslashes, up to a NUL.
    pub text: Vec<u8>,
    /// There was a NUL. The server goes on with the next line as if it were the same one, or not, as its buffer has it.
    pub nul: bool,
}

/// Whether a byte separates fields.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// A physical line without its end: any number of line feeds and carriage returns.
pub(super) fn without_end(line: &[u8]) -> &[u8] {
    let length = line.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
    &line[..length]
}

/// The physical lines of a text, with their ends.
pub(super) fn physical(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// The first logical line of these physical lines, `first` being the number of the first; none if there are none.
pub(super) fn join(lines: &[&[u8]], first: usize) -> Option<Logical> {
    let mut logical = Logical { first, lines: 0, text: Vec::new(), nul: false };
    // What an earlier backslash left behind does not continue the line again.
    let mut settled = 0;
    for line in lines {
        logical.lines += 1;
        let before = logical.text.len();
        logical.text.extend_from_slice(line);
        if let Some(nul) = line.iter().position(|byte| *byte == 0) {
            logical.text.truncate(before + nul);
            logical.nul = true;
            return Some(logical);
        }
        let length = without_end(&logical.text).len();
        logical.text.truncate(length);
        if length > settled && logical.text.ends_with(b"\\") {
            logical.text.pop();
            settled = logical.text.len();
            continue;
        }
        return Some(logical);
    }
    (logical.lines > 0).then_some(logical)
}

/// Every logical line of a text.
pub(super) fn logical_lines(text: &[u8]) -> Vec<Logical> {
    let lines = physical(text);
    let mut logical = Vec::new();
    let mut next = 0;
    while let Some(line) = join(&lines[next..], next) {
        next += line.lines;
        logical.push(line);
    }
    logical
}

/// Cuts a logical line into fields for a server of this major. A NUL is a byte like any other here.
pub(super) fn lex(line: &[u8], major: u32) -> Lexed {
    let mut lexed = Lexed::default();
    let mut scanner = Scanner { line, at: 0, limit: if major < 16 { MAX_TOKEN } else { usize::MAX } };
    let mut field: Vec<Word> = Vec::new();
    while let Some(word) = scanner.word(&mut lexed) {
        let goes_on = word.comma;
        field.push(word);
        if !goes_on {
            lexed.fields.push(std::mem::take(&mut field));
        }
    }
    if !field.is_empty() {
        lexed.fields.push(field);
    }
    lexed
}

struct Scanner<'a> {
    line: &'a [u8],
    at: usize,
    limit: usize,
}

impl Scanner<'_> {
    fn word(&mut self, lexed: &mut Lexed) -> Option<Word> {
        // Commas before a token say nothing.
        while self.line.get(self.at).is_some_and(|byte| is_blank(*byte) || *byte == b',') {
            self.at += 1;
        }
        let start = self.at;
        let mut word = Word { token: Token { text: Vec::new(), quoted: false }, start, comma: false };
        let (mut inside, mut was_quote, mut saw_quote) = (false, false, false);
        while let Some(&byte) = self.line.get(self.at) {
            if !inside {
                if is_blank(byte) {
                    break;
                }
                if byte == b'#' {
                    lexed.comment = Some(self.at);
                    self.at = self.line.len();
                    break;
                }
                if byte == b',' {
                    word.comma = true;
                    break;
                }
            }
            if word.token.text.len() >= self.limit {
                lexed.too_long = true;
                self.at = self.line.len();
                return None;
            }
            let quote = byte == b'"';
            if quote && word.token.text.is_empty() {
                word.token.quoted = true;
            }
            // The second of two quotes inside quotes is one that is meant.
            if !quote || was_quote {
                word.token.text.push(byte);
            }
            was_quote = inside && quote && !was_quote;
            if quote {
                inside = !inside;
                saw_quote = true;
            }
            self.at += 1;
        }
        lexed.unclosed |= inside;
        (saw_quote || !word.token.text.is_empty()).then_some(word)
    }
}

/// The tokens of fields, without their places.
pub(super) fn tokens(fields: Vec<Vec<Word>>) -> Vec<Vec<Token>> {
    fields.into_iter().map(|field| field.into_iter().map(|word| word.token).collect()).collect()
}
