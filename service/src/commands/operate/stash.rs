//! Requests that wait for a service that cannot be reached, in a file.
//!
//! The file has only what the service has not taken yet: what it has taken is the service's to know, and nothing here
//! ever says otherwise.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use goahead_rules::operation::Work;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::calls::{Calls, Trouble};
use crate::commands::Failure;

/// The most requests that are kept.
const MOST: usize = 1_000;

/// A file of requests of one unit.
#[derive(Debug)]
pub struct Stash {
    file: PathBuf,
    unit: String,
}

/// What is in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    unit: String,
    requests: Vec<Entry>,
}

/// One request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    lock: String,
    action: String,
    services: Vec<String>,
    context: Value,
    max_retry: Option<i32>,
}

impl Entry {
    fn of(work: &Work) -> Self {
        let Work { lock, action, services, context, max_retry } = work.clone();
        Self { lock, action, services, context, max_retry }
    }

    fn work(self) -> Work {
        let Self { lock, action, services, context, max_retry } = self;
        Work { lock, action, services, context, max_retry }
    }
}

impl Stash {
    /// The stash in a file, which need not be there.
    ///
    /// # Errors
    /// When the file is there and is not that of this unit.
    pub fn at(file: &Path, unit: &str) -> Result<Self, Failure> {
        let stash = Self { file: file.to_owned(), unit: unit.to_owned() };
        stash.load()?;
        Ok(stash)
    }

    /// Sends what is kept, in order, and `work` after it; gives the number that the service gave the last. What it did
    /// not take is kept, `work` too; what it refuses is not.
    ///
    /// # Errors
    /// When the file cannot be read or written. Inside: why the service did not take it all.
    pub async fn send(&self, calls: &Calls<'_>, work: Option<&Work>) -> Result<Result<Option<i64>, Trouble>, Failure> {
        // Two that send at once would send everything twice, or lose what the other keeps.
        let _lock = self.lock(work.is_some())?;
        let mut requests = self.load()?;
        let kept = requests.len();
        if let Some(work) = work.filter(|work| requests.last() != Some(work)) {
            requests.push(work.clone());
        }
        let mut sent = 0;
        let mut last = Ok(None);
        for request in &requests {
            match calls.request(request).await {
                Ok(id) => last = Ok(Some(id)),
                Err(Trouble::Refused(why)) => last = Err(Trouble::Refused(why)),
                Err(away) => {
                    last = Err(away);
                    break;
                }
            }
            sent += 1;
        }
        requests.drain(..sent);
        if requests.len() > MOST {
            return Err(self.failure(&format!("it keeps {MOST} requests already")));
        }
        if sent > 0 && kept > 0 || requests.len() != kept {
            self.save(requests)?;
        }
        Ok(last)
    }

    fn failure(&self, why: &dyn std::fmt::Display) -> Failure {
        Failure::new(format!("--state {}: {why}", self.file.display()))
    }

    /// Waits for whoever uses the file now. Without a file there is nobody, unless one is to be made.
    fn lock(&self, makes: bool) -> Result<Option<File>, Failure> {
        if !makes && !self.file.exists() {
            return Ok(None);
        }
        let mut name = self.file.clone().into_os_string();
        name.push(".lock");
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(name);
        let file = file.map_err(|error| self.failure(&error))?;
        flock(&file, FlockOperation::LockExclusive).map_err(|error| self.failure(&error))?;
        Ok(Some(file))
    }

    fn load(&self) -> Result<Vec<Work>, Failure> {
        let text = match std::fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.failure(&error)),
        };
        let kept: Kept = serde_json::from_str(&text).map_err(|error| {
            self.failure(&format!("this is no file of requests, move it away if nothing in it matters: {error}"))
        })?;
        if kept.unit != self.unit {
            return Err(self.failure(&format!("it has the requests of unit {:?}; give each unit its own", kept.unit)));
        }
        Ok(kept.requests.into_iter().map(Entry::work).collect())
    }

    /// Replaces the file; a crash leaves the old one or the new one.
    fn save(&self, requests: Vec<Work>) -> Result<(), Failure> {
        let kept = Kept { unit: self.unit.clone(), requests: requests.iter().map(Entry::of).collect() };
        let text = serde_json::to_string_pretty(&kept).expect("requests are plain data");
        let mut new = self.file.clone().into_os_string();
        new.push(".new");
        let write = || {
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&new, &self.file)?;
            let directory = self.file.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|error: std::io::Error| self.failure(&error))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn work(action: &str) -> Work {
        Work {
            lock: "restart".to_owned(),
            action: action.to_owned(),
            services: vec!["a,b".to_owned(), String::from("c d")],
            context: json!({ "version": 1.5, "list": [null, "x"] }),
            max_retry: Some(3),
        }
    }

    #[test]
    fn what_is_kept_comes_back_equal() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("state.json");
        let stash = Stash::at(&file, "web/0").expect("no file yet");
        stash.save(vec![work("one"), work("two")]).expect("saved");
        assert_eq!(Stash::at(&file, "web/0").expect("a file").load().expect("read"), [work("one"), work("two")]);
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata().expect("a file").permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert!(Stash::at(&file, "web/1").is_err(), "of another unit");
        std::fs::write(&file, "{}").expect("written");
        assert!(Stash::at(&file, "web/0").is_err(), "no stash");
    }
}
