//! A whole file, with those that it names.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::dialect::{Dialect, Files, Unread};
use super::lex::{self, Token};
use super::problem::{Field, Problem};
use super::record::{Kind, Rule};
use super::tag;

/// How deep files may name files; the server's own limit from 16 on. Up to 15 it has none, and dies of a loop.
const DEPTH: usize = 10;
/// How many files are read for one.
const FILES: usize = 10_000;
/// How many bytes are read for one.
const BYTES: usize = 64 << 20;

/// One record of a file or of one that it includes, in the order in which the server tries them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file that it stands in.
    pub file: PathBuf,
    /// Its first physical line, the first of a file being 1.
    pub line: usize,
    /// Its text, continued lines joined.
    pub text: Vec<u8>,
    /// The name in its tag, if it has one and stands in the file itself and so is ours.
    pub managed: Option<String>,
    /// What it says, or why the file does not load.
    pub verdict: Result<Rule, Problem>,
}

/// Reads a text that is, or is to be, the file at `path`; the others that it names are read by `files`.
#[must_use]
pub fn parse(text: &[u8], path: &Path, dialect: &Dialect, files: &dyn Files) -> Vec<Entry> {
    let mut reader = Reader { dialect, files, open: vec![path.to_owned()], left: FILES, bytes: BYTES };
    let mut lines = Vec::new();
    reader.lines(text, &mut lines);
    lines
        .into_iter()
        .map(|line| {
            let verdict = line.fields.and_then(|fields| Rule::new(&fields, dialect)).map_err(|problem| Problem {
                file: Some(line.file.clone()),
                line: line.number,
                ..problem
            });
            Entry { file: line.file, line: line.number, text: line.text, managed: line.managed, verdict }
        })
        .collect()
}

/// Whether a server loads the file.
#[must_use]
pub fn loads(entries: &[Entry]) -> bool {
    !entries.is_empty() && entries.iter().all(|entry| entry.verdict.is_ok())
}

/// Why it does not: every record that fails, or that there is none.
#[must_use]
pub fn problems(entries: &[Entry]) -> Vec<Problem> {
    if entries.is_empty() {
        let mend = "write at least one rule, such as: local all postgres peer";
        return vec![Problem::new(Field::Line, "the file has no rule, and the server does not load it", mend)];
    }
    entries.iter().filter_map(|entry| entry.verdict.clone().err()).collect()
}

/// A line that is not empty and does not only include others.
struct Line {
    file: PathBuf,
    number: usize,
    text: Vec<u8>,
    managed: Option<String>,
    fields: Result<Vec<Vec<Token>>, Problem>,
}

struct Reader<'a> {
    dialect: &'a Dialect,
    files: &'a dyn Files,
    /// The file that is being read, below those that led to it.
    open: Vec<PathBuf>,
    left: usize,
    bytes: usize,
}

impl Reader<'_> {
    fn lines(&mut self, text: &[u8], out: &mut Vec<Line>) {
        for logical in lex::logical_lines(text) {
            let lexed = lex::lex(&logical.text, self.dialect.major);
            let tag = lexed.comment.and_then(|at| tag::read(&logical.text[at..]));
            let nul = logical.nul.then(|| {
                Problem::new(Field::Line, "there is a NUL byte in the line", "remove it; the file may not be text")
            });
            let too_long = lexed.too_long.then(|| {
                Problem::new(Field::Line, "a word of the line is too long", "shorten it to less than 10240 bytes")
            });
            let fields = match nul.or(too_long) {
                Some(problem) => Err(problem),
                None => self.expand(lex::tokens(lexed.fields)),
            };
            let fields = match fields {
                Ok(fields) if fields.is_empty() => continue,
                Ok(fields) => match self.include(&fields, out) {
                    Ok(true) => continue,
                    Ok(false) => Ok(fields),
                    Err(problem) => Err(problem),
                },
                Err(problem) => Err(problem),
            };
            let is_rule = fields.as_ref().is_ok_and(|fields| Kind::from_word(&fields[0][0].text).is_some());
            let managed = tag.filter(|_| is_rule && self.open.len() == 1).map(|tag| tag.name);
            let file = self.file().to_owned();
            out.push(Line { file, number: logical.first + 1, text: logical.text, managed, fields });
        }
    }

    /// Puts what is in files in the place of the tokens that name them. A field that is left empty is none.
    fn expand(&mut self, fields: Vec<Vec<Token>>) -> Result<Vec<Vec<Token>>, Problem> {
        let mut expanded = Vec::with_capacity(fields.len());
        for field in fields {
            let mut tokens = Vec::with_capacity(field.len());
            for token in field {
                if token.names_file() {
                    self.flatten(&token.text[1..], &mut tokens)?;
                } else {
                    tokens.push(token);
                }
            }
            if !tokens.is_empty() {
                expanded.push(tokens);
            }
        }
        Ok(expanded)
    }

    fn flatten(&mut self, name: &[u8], tokens: &mut Vec<Token>) -> Result<(), Problem> {
        let mut lines = Vec::new();
        let path = self.beside(name);
        self.within(path, true, &mut lines)?;
        for line in lines {
            let fields = line.fields.map_err(|problem| Problem {
                message: format!("{} line {}: {}", line.file.display(), line.number, problem.message),
                ..problem
            })?;
            tokens.extend(fields.into_iter().flatten());
        }
        Ok(())
    }

    /// Whether the line includes files and that is done with.
    fn include(&mut self, fields: &[Vec<Token>], out: &mut Vec<Line>) -> Result<bool, Problem> {
        let [first, second] = fields else { return Ok(false) };
        if !self.dialect.has_regex() {
            return Ok(false);
        }
        let name = &second[0].text;
        match &first[0].text[..] {
            word @ (b"include" | b"include_if_exists") => {
                let path = self.beside(name);
                self.within(path, word == b"include", out)?;
            }
            b"include_dir" => {
                if name.iter().all(u8::is_ascii_whitespace) {
                    return Err(Problem::new(Field::File, "the name of the directory is empty", "name a directory"));
                }
                let directory = self.beside(name);
                let mut names = self.files.list(&directory).map_err(|why| unread(&directory, why))?;
                names.retain(|name| {
                    let name = name.as_bytes();
                    name.len() > 5 && !name.starts_with(b".") && name.ends_with(b".conf")
                });
                names.sort();
                let mut problem = None;
                for name in names {
                    // The rest is read all the same, so that all its problems show at once.
                    problem = self.within(directory.join(name), true, out).err().or(problem);
                }
                return problem.map_or(Ok(true), Err);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Reads a file that one names.
    fn within(&mut self, path: PathBuf, required: bool, out: &mut Vec<Line>) -> Result<(), Problem> {
        if self.open.contains(&path) {
            let message = format!("the file {} names itself, directly or by way of others", path.display());
            return Err(Problem::new(Field::File, message, "break the circle: a server up to 15 dies of it"));
        }
        if self.open.len() > DEPTH || self.left == 0 {
            let message =
                format!("the file {} is one too many: files name files too often or too deep", path.display());
            let mend = format!("let at most {DEPTH} files name one another in a row, and {FILES} in all");
            return Err(Problem::new(Field::File, message, mend));
        }
        self.left -= 1;
        let text = match self.files.read(&path) {
            Ok(text) => text,
            Err(Unread::Missing) if !required => return Ok(()),
            Err(why) => return Err(unread(&path, why)),
        };
        self.bytes = self.bytes.checked_sub(text.len()).ok_or_else(|| {
            let message = format!("the file {} and those before it are too much text", path.display());
            Problem::new(Field::File, message, format!("keep all files together below {} MiB", BYTES >> 20))
        })?;
        self.open.push(path);
        self.lines(&text, out);
        self.open.pop();
        Ok(())
    }

    fn file(&self) -> &Path {
        self.open.last().map_or(Path::new(""), PathBuf::as_path)
    }

    /// The path of a name in the file that is being read: beside it unless absolute, `.` and `..` taken as text.
    fn beside(&self, name: &[u8]) -> PathBuf {
        let directory = self.file().parent().unwrap_or(Path::new(""));
        let mut path = PathBuf::new();
        for component in directory.join(OsStr::from_bytes(name)).components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir if matches!(path.components().next_back(), Some(Component::Normal(_))) => {
                    path.pop();
                }
                Component::ParentDir if path.has_root() => {}
                component => path.push(component),
            }
        }
        path
    }
}

fn unread(path: &Path, why: Unread) -> Problem {
    let why = match why {
        Unread::Missing => "there is none".to_owned(),
        Unread::Refused(why) => why,
    };
    let mend = "correct the name, or see to it that the file is there and can be read";
    Problem::new(Field::File, format!("{} could not be read: {why}", path.display()), mend)
}
