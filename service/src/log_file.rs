//! A log file that is written for a while, then set aside under the time it was begun, and deleted when it is old.
//!
//! The names are those of harepd's configuration: `harepd.log`, and `harepd.log.202611211430` beside it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use tracing_subscriber::fmt::MakeWriter;

/// A file that grows beyond this many bytes is set aside before its time.
const LARGEST: u64 = 256 << 20;
/// How long to wait before a file that could not be set aside is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// Which file, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The file that is written
    pub file: PathBuf,
    /// How long a file that was set aside is kept; none: for ever
    pub max_age: Option<Duration>,
    /// How long one file is written; none: until it is very large
    pub rotate_every: Option<Duration>,
}

/// The file, for any number of threads.
#[derive(Debug, Clone)]
pub struct LogFile(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rotation: Rotation,
    file: File,
    written: u64,
    /// When it was begun, as far as can be told after a restart
    begun: SystemTime,
    not_before: SystemTime,
}

impl LogFile {
    /// Opens it, to go on where it ends.
    ///
    /// # Errors
    /// Why it cannot be written, naming it.
    pub fn open(rotation: Rotation) -> Result<Self, String> {
        let named = |error: io::Error| {
            let file = rotation.file.display();
            format!(
                "the log file {file} cannot be written: {error}; make it for this user, name another, or leave it out"
            )
        };
        let file = append(&rotation.file).map_err(named)?;
        let known = file.metadata().map_err(named)?;
        // A file that this program did not make may have been begun long ago; its last line is the best that is known.
        let now = SystemTime::now();
        let begun = if known.len() == 0 { now } else { known.created().or(known.modified()).unwrap_or(now) };
        let state = State { written: known.len(), file, begun, not_before: now, rotation };
        state.delete_old(now);
        Ok(Self(Arc::new(Mutex::new(state))))
    }
}

/// One line on its way.
pub struct Line(LogFile);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.write(bytes, SystemTime::now())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line(self.clone())
    }
}

impl State {
    fn write(&mut self, bytes: &[u8], now: SystemTime) -> io::Result<()> {
        let age = now.duration_since(self.begun).unwrap_or_default();
        let due = self.rotation.rotate_every.is_some_and(|every| age >= every) || self.written >= LARGEST;
        if due && self.written > 0 && now >= self.not_before {
            // What cannot be set aside is written on: a log line is worth more than its place.
            if self.set_aside(now).is_err() {
                self.not_before = now + AGAIN;
            }
        }
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn set_aside(&mut self, now: SystemTime) -> io::Result<()> {
        let place = aside(&self.rotation.file, now);
        std::fs::rename(&self.rotation.file, place)?;
        self.file = append(&self.rotation.file)?;
        (self.begun, self.written) = (now, 0);
        self.delete_old(now);
        Ok(())
    }

    /// Deletes what was set aside and is too old. Only names of our own making are looked at.
    fn delete_old(&self, now: SystemTime) {
        let (Some(max_age), Some(directory)) = (self.rotation.max_age, self.rotation.file.parent()) else { return };
        let Some(name) = self.rotation.file.file_name().and_then(|name| name.to_str()) else { return };
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let other = entry.file_name();
            let stamp = other.to_str().and_then(|other| other.strip_prefix(name)?.strip_prefix('.'));
            let ours = stamp.is_some_and(|stamp| {
                stamp.len() >= 12 && stamp.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
            });
            let modified = entry.metadata().and_then(|known| known.modified()).ok().filter(|_| ours);
            if modified.is_some_and(|modified| now.duration_since(modified).is_ok_and(|age| age > max_age)) {
                // It is tried again with the next file.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

fn append(file: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(file)
}

/// A name that nobody has yet: the time, and a number when that is taken.
fn aside(file: &Path, now: SystemTime) -> PathBuf {
    let time = jiff::Timestamp::try_from(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_zoned(TimeZone::system());
    let stamp = time.strftime("%Y%m%d%H%M").to_string();
    let named = |suffix: String| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let mut place = named(format!(".{stamp}"));
    let mut number = 1;
    while place.exists() {
        place = named(format!(".{stamp}-{number}"));
        number += 1;
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn open(directory: &Path, max_age: Option<Duration>) -> LogFile {
        let file = directory.join("gate.log");
        LogFile::open(Rotation { file, max_age, rotate_every: Some(HOUR) }).unwrap()
    }

    fn write(log: &LogFile, text: &str, now: SystemTime) {
        log.0.lock().unwrap().write(text.as_bytes(), now).unwrap();
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_set_aside_when_its_time_is_over_and_no_line_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), None);
        let now = SystemTime::now();
        write(&log, "one\n", now);
        write(&log, "two\n", now + HOUR / 2);
        assert_eq!(names(directory.path()), ["gate.log"]);
        write(&log, "three\n", now + HOUR * 2);
        write(&log, "four\n", now + HOUR * 2);
        let both = names(directory.path());
        assert_eq!(both.len(), 2, "{both:?}");
        assert_eq!(std::fs::read_to_string(directory.path().join(&both[0])).unwrap(), "three\nfour\n");
        assert_eq!(std::fs::read_to_string(directory.path().join(&both[1])).unwrap(), "one\ntwo\n");
        // Twice within a minute gives two names.
        write(&log, "five\n", now + HOUR * 3);
        assert_eq!(names(directory.path()).len(), 3);
    }

    #[test]
    fn what_is_old_is_deleted_and_what_is_not_ours_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str, age: Duration| {
            let file = File::create(directory.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        };
        at("gate.log.202601010000", HOUR * 3);
        at("gate.log.202601010000-1", HOUR * 3);
        at("gate.log.202601020000", HOUR);
        at("gate.log.important", HOUR * 3);
        at("other.log.202601010000", HOUR * 3);
        at("gate.log", HOUR * 3);
        open(directory.path(), Some(HOUR * 2));
        assert_eq!(
            names(directory.path()),
            ["gate.log", "gate.log.202601020000", "gate.log.important", "other.log.202601010000"]
        );
    }

    #[test]
    fn a_restart_goes_on_where_the_file_ends() {
        let directory = tempfile::tempdir().unwrap();
        write(&open(directory.path(), None), "one\n", SystemTime::now());
        write(&open(directory.path(), None), "two\n", SystemTime::now());
        assert_eq!(std::fs::read_to_string(directory.path().join("gate.log")).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_place_that_is_gone_costs_no_line_and_a_wrong_one_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), None);
        write(&log, "one\n", SystemTime::now());
        std::fs::remove_file(directory.path().join("gate.log")).unwrap();
        write(&log, "two\n", SystemTime::now() + HOUR * 2);
        let wrong = LogFile::open(Rotation { file: "/nonexistent/x.log".into(), max_age: None, rotate_every: None });
        assert!(wrong.unwrap_err().contains("/nonexistent/x.log"));
    }
}
