//! The audit: each change of the verdict and each order, one JSON line, kept here and copied into the database.
//!
//! The file is the truth: it can be written when no database can. What is not yet in `goahead.events` is copied as soon
//! as some primary is open, by the line's id, so that nothing is there twice.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::clock;
use super::snapshot::Why;

/// Where it begins another file.
const SIZE: u64 = 4 << 20;
/// Lines that wait for a primary; older ones stay in the file alone.
const WAITING: usize = 4096;
const FILE: &str = "audit.jsonl";
const OLDER: &str = "audit.jsonl.1";
const COPIED: &str = "audit.copied";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Node, process and number: unique for ever
    pub id: String,
    /// The node
    pub node: String,
    /// When, RFC 3339 in UTC
    pub at: String,
    /// `gate_verdict` or `gate_override`
    pub kind: String,
    /// Whether read-write is open; in an order, whether it opens it; none: it is not about it
    pub rw: Option<bool>,
    /// The same for read-only
    pub ro: Option<bool>,
    /// Why
    pub reasons: Vec<Why>,
    /// Who gave the order
    pub actor: Option<String>,
}

/// The audit of a process.
#[derive(Debug)]
pub struct Audit {
    node: String,
    incarnation: u64,
    number: u64,
    directory: PathBuf,
    waiting: Waiting,
}

/// Lines that are not in the database yet; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Waiting(Arc<Mutex<VecDeque<Entry>>>);

impl Waiting {
    /// The oldest.
    pub fn first(&self) -> Option<Entry> {
        self.lock().front().cloned()
    }

    /// Takes note that the line with this id is in the database.
    pub fn copied(&self, id: &str, directory: &Path) -> std::io::Result<()> {
        self.lock().retain(|entry| entry.id != id);
        std::fs::write(directory.join(COPIED), id)
    }

    fn push(&self, entry: Entry) {
        let mut waiting = self.lock();
        if waiting.len() == WAITING {
            waiting.pop_front();
        }
        waiting.push_back(entry);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Audit {
    /// The audit in `directory`, with the lines of earlier processes that are still to be copied.
    pub fn open(directory: &Path, node: &str, incarnation: u64) -> Self {
        let waiting = Waiting::default();
        let copied = std::fs::read_to_string(directory.join(COPIED)).unwrap_or_default();
        let mut all = Vec::new();
        for name in [OLDER, FILE] {
            let Ok(file) = File::open(directory.join(name)) else { continue };
            // A line that was cut off by a crash is none.
            let lines = BufReader::new(file).lines().map_while(Result::ok);
            all.extend(lines.filter_map(|line| serde_json::from_str::<Entry>(&line).ok()));
        }
        let first = all.iter().position(|entry| entry.id == copied).map_or(0, |at| at + 1);
        for entry in all.drain(first..) {
            waiting.push(entry);
        }
        Self { node: node.to_owned(), incarnation, number: 0, directory: directory.to_owned(), waiting }
    }

    /// What is still to be copied.
    pub fn waiting(&self) -> Waiting {
        self.waiting.clone()
    }

    /// Writes a line. One that cannot be written is said in the log and copied all the same.
    pub fn write(&mut self, kind: &str, doors: (Option<bool>, Option<bool>), reasons: Vec<Why>, actor: Option<String>) {
        self.number += 1;
        let at = jiff::Timestamp::from_microsecond(clock::wall()).map(|at| at.to_string()).unwrap_or_default();
        let entry = Entry {
            id: format!("{}-{:016x}-{}", self.node, self.incarnation, self.number),
            node: self.node.clone(),
            at,
            kind: kind.to_owned(),
            rw: doors.0,
            ro: doors.1,
            reasons,
            actor,
        };
        if let Err(error) = self.append(&entry) {
            tracing::error!(%error, "the audit in {} cannot be written", self.directory.display());
        }
        self.waiting.push(entry);
    }

    fn append(&self, entry: &Entry) -> std::io::Result<()> {
        let path = self.directory.join(FILE);
        if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() >= SIZE) {
            std::fs::rename(&path, self.directory.join(OLDER))?;
        }
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut file = File::options().append(true).read(true).create(true).mode(0o640).open(&path)?;
        if !ends_a_line(&mut file)? {
            line.insert(0, b'\n');
        }
        file.write_all(&line)
    }
}

/// Whether another line may follow: a crash may have cut off the last one.
fn ends_a_line(file: &mut File) -> std::io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(audit: &mut Audit) {
        audit.write("gate_verdict", (Some(true), Some(false)), Vec::new(), None);
    }

    #[test]
    fn what_was_not_copied_is_copied_by_the_next_process() {
        let directory = tempfile::tempdir().unwrap();
        let mut audit = Audit::open(directory.path(), "n1", 7);
        for _ in 0..3 {
            write(&mut audit);
        }
        let first = audit.waiting().first().unwrap();
        assert_eq!(first.id, "n1-0000000000000007-1");
        audit.waiting().copied(&first.id, directory.path()).unwrap();
        // A crash in the middle of a line.
        let mut file = File::options().append(true).open(directory.path().join(FILE)).unwrap();
        file.write_all(b"{\"id\":\"n1-").unwrap();
        let again = Audit::open(directory.path(), "n1", 8);
        let left: Vec<String> = again.waiting().lock().iter().map(|entry| entry.id.clone()).collect();
        assert_eq!(left, ["n1-0000000000000007-2", "n1-0000000000000007-3"]);
        let mut again = again;
        write(&mut again);
        assert_eq!(Audit::open(directory.path(), "n1", 9).waiting().lock().len(), 3);
    }

    #[test]
    fn two_files_are_all_it_takes() {
        let directory = tempfile::tempdir().unwrap();
        let mut audit = Audit::open(directory.path(), "n1", 7);
        write(&mut audit);
        for _ in 0..3 {
            let file = File::options().write(true).open(directory.path().join(FILE)).unwrap();
            file.set_len(SIZE).unwrap();
            write(&mut audit);
            let size = |name| std::fs::metadata(directory.path().join(name)).unwrap().len();
            assert!(size(FILE) < SIZE && size(OLDER) == SIZE);
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
        assert_eq!(audit.waiting().lock().len(), 4);
    }
}
