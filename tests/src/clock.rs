//! A wall clock to step, for a database server.

use std::path::{Path, PathBuf};

use crate::postgres::Postgres;
use crate::process::User;

/// A wall clock that can be set, for the processes of one server; the monotonic clocks stay true.
#[derive(Debug)]
pub struct Clock {
    directory: tempfile::TempDir,
    library: PathBuf,
}

impl Clock {
    /// A clock that is right.
    ///
    /// # Panics
    /// When libfaketime is not installed.
    #[expect(clippy::new_without_default, reason = "it needs a library")]
    pub fn new() -> Self {
        let places =
            ["/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib64/faketime"];
        let library = places.iter().map(|place| Path::new(place).join("libfaketime.so.1")).find(|path| path.exists());
        let library = library.expect("libfaketime is missing: apt-get install libfaketime");
        let clock = Self { directory: crate::directory(User::postgres()), library };
        clock.step("+0");
        clock
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("offset")
    }

    /// Sets the clock to so many seconds beside the true time: `+3600`, `-120`.
    pub fn step(&self, seconds: &str) {
        // By rename, so that nobody reads half of it.
        let new = self.directory.path().join("new");
        std::fs::write(&new, format!("{seconds}\n")).expect("write");
        std::fs::rename(new, self.file()).expect("rename");
    }

    /// A new database server that goes by this clock.
    pub fn server(&self) -> Postgres {
        let file = self.file();
        Postgres::with_environment(
            &["fsync=off"],
            &[
                ("LD_PRELOAD", self.library.to_str().expect("UTF-8")),
                ("FAKETIME_TIMESTAMP_FILE", file.to_str().expect("UTF-8")),
                ("FAKETIME_NO_CACHE", "1"),
                ("DONT_FAKE_MONOTONIC", "1"),
            ],
        )
    }
}
