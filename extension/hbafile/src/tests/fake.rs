//! A server that goes by a file: what it has loaded, and how it answers a health check.

use super::bed::Bed;
use crate::{Listens, Server};
use goahead_rules::hba::{self, Dialect, NoFiles};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub struct Fake {
    path: PathBuf,
    loaded: Arc<Mutex<Vec<u8>>>,
    listens: Option<Listens>,
    pub runs: bool,
    /// Whether it takes what it is told to.
    pub takes: bool,
    pub reloads: u32,
    /// What somebody else does while it loads.
    pub meanwhile: Option<Box<dyn FnMut()>>,
}

impl Fake {
    /// One that was started with what lies there, and lets in whom no rule names.
    pub fn started(bed: &Bed) -> Self {
        let loaded = Arc::new(Mutex::new(bed.text().into_bytes()));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let listens = Listens::new("127.0.0.1", listener.local_addr().expect("its address").port());
        let rules = loaded.clone();
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.expect("a question"), &rules.lock().expect("its rules"));
            }
        });
        Self { path: bed.path(), loaded, listens: Some(listens), runs: true, takes: true, reloads: 0, meanwhile: None }
    }

    /// One that cannot be asked.
    pub fn deaf(bed: &Bed) -> Self {
        Self { listens: None, ..Self::started(bed) }
    }

    pub fn loaded(&self) -> String {
        String::from_utf8(self.loaded.lock().expect("its rules").clone()).expect("UTF-8")
    }
}

fn answer(mut stream: TcpStream, rules: &[u8]) {
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let mut question = [0; 256];
    let Ok(length) = stream.read(&mut question) else { return };
    let user = question.get(13..length).and_then(|rest| rest.split(|byte| *byte == 0).next()).unwrap_or_default();
    let user = format!(" \"{}\" ", String::from_utf8_lossy(user));
    let text = String::from_utf8_lossy(rules);
    let refuses = text.lines().find(|line| line.contains(&user)).is_some_and(|line| line.contains(" reject"));
    let reply: &[u8] = if refuses { b"E\0\0\0\x0cC28000\0\0" } else { b"R\0\0\0\x08\0\0\0\x03" };
    let _ = stream.write_all(reply);
}

impl Server for Fake {
    fn listens(&self) -> Option<Listens> {
        self.listens.clone()
    }

    fn runs(&self) -> bool {
        self.runs
    }

    fn reload(&mut self) -> std::io::Result<()> {
        self.reloads += 1;
        let text = std::fs::read(&self.path).expect("read");
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile();
        }
        let loads = hba::loads(&hba::parse(&text, &self.path, &Dialect::packaged(15), &NoFiles));
        if self.takes && loads {
            *self.loaded.lock().expect("its rules") = text;
        }
        Ok(())
    }
}
