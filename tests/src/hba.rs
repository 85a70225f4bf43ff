//! pg_hba.conf of a private server: its text, what a health check gets to see, and the gate's stamp.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use goahead_hba_file::{Stamp, boottime};
use postgres::Client;

use crate::postgres::Postgres;
use crate::process::User;
use crate::{SOON, eventually};

/// The first answer to a startup message with a user and no database, as HAProxy's `pgsql-check` sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A password is asked for: the check is green.
    Asked,
    /// Let in without one: no rule of the gate matched.
    Trusted,
    /// Refused: the check is red.
    Refused,
}

/// What a health check of this user gets to see.
pub fn check(server: &Postgres, user: &str) -> Answer {
    let mut stream = UnixStream::connect(server.socket().join(".s.PGSQL.5432")).expect("the server's socket");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let parameters = format!("user\0{user}\0\0");
    let length = u32::try_from(8 + parameters.len()).expect("a short message");
    stream
        .write_all(&[&length.to_be_bytes()[..], &196_608_u32.to_be_bytes(), parameters.as_bytes()].concat())
        .expect("write");
    let mut kind = [0; 1];
    stream.read_exact(&mut kind).expect("an answer");
    if kind[0] != b'R' {
        assert_eq!(kind[0], b'E', "an answer of another kind");
        return Answer::Refused;
    }
    let mut rest = [0; 8];
    stream.read_exact(&mut rest).expect("an answer");
    if rest[4..] == [0; 4] { Answer::Trusted } else { Answer::Asked }
}

/// Waits until a health check of this user gets this answer: a reload takes a moment.
pub fn expect(server: &Postgres, user: &str, answer: Answer) {
    eventually(&format!("{user}: {answer:?}"), SOON, || (check(server, user) == answer).then_some(()));
}

/// The server's file, as the server names it.
pub fn file(server: &Postgres) -> PathBuf {
    let row = server.connect("postgres").query_one("SHOW hba_file", &[]).expect("SHOW");
    PathBuf::from(row.get::<_, String>(0))
}

/// Writes a file in place, as an admin's editor may; its owner stays.
pub fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("write");
}

/// A directory for a server's pg_hba.conf, with one that lets everybody in by the socket.
pub fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = crate::directory(User::postgres());
    let path = directory.path().join("pg_hba.conf");
    write(&path, "local all all trust\nlocal replication all trust\n");
    User::postgres().give(&path);
    (directory, path)
}

/// The rules of the tests: `harw` for read-write, `haro` for read-only traffic, and `app`, which is always open.
pub fn set_rules(client: &mut Client) {
    for (name, applies) in [("harw", "primary"), ("haro", "standby"), ("app", "any")] {
        let user = format!("\"{name}\"");
        let sql = "SELECT goahead.hba_set($1, 'local', $2, $2, NULL, 'scram-sha-256', applies => $3)";
        client.execute(sql, &[&name, &user, &applies]).expect("a good rule");
    }
}

/// Brings the rules into the file; whether it changed.
pub fn apply(client: &mut Client, state: Option<&str>) -> bool {
    client.query_one("SELECT goahead.hba_apply($1)", &[&state]).expect("hba_apply").get(0)
}

/// SQLSTATE, message and hint of the error that a statement has.
pub fn error(client: &mut Client, sql: &str) -> (String, String, String) {
    let error = client.batch_execute(sql).expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
    (error.code().code().to_owned(), error.message().to_owned(), error.hint().unwrap_or_default().to_owned())
}

/// Stamps a verdict that is good for `span`, as a gate does every round.
pub fn stamp(path: &Path, span: Duration, rw: bool, ro: bool) {
    let until = boottime() + i64::try_from(span.as_micros()).expect("a short span");
    Stamp::new("node", path, until, rw, ro).and_then(|stamp| stamp.write()).expect("a stamp");
}
