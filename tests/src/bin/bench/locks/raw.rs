//! Locks without the service: what pgbench reaches over SQL, and the limit of the same server.

use std::time::Duration;

use goahead_tests::postgres::{Database, programs};
use goahead_tests::process::User;

/// The least that two durable steps cost in this database: a row is written, and deleted.
const LIMIT: &str = "\\set n random(1, 1000)\n\
    INSERT INTO raw (client, n, holder) VALUES (:client_id, :n, 'h');\n\
    DELETE FROM raw WHERE client = :client_id AND n = :n;\n";
const OVER_SQL: &str = "\\set n random(0, 999)\n\
    SELECT token FROM goahead.acquire('lock' || :n || '-' || :client_id, 'h') \\gset\n\
    SELECT goahead.release('lock' || :n || '-' || :client_id, 'h', :token);\n";

/// Makes the table of the limit.
pub fn create(database: &Database<'_>) {
    let table = "CREATE TABLE raw (client int, n int, holder text NOT NULL, PRIMARY KEY (client, n))";
    database.connect().batch_execute(table).expect("create table");
}

/// Takes each lock of each client once and gives it back, so that it is there.
pub fn fill(database: &Database<'_>, clients: u32, locks: u32) {
    let mut client = database.connect();
    let pairs = "SELECT count(goahead.release(l.lock, 'h', a.token))
        FROM (SELECT 'lock' || n || '-' || $1::bigint AS lock FROM generate_series(0, $2::bigint - 1) AS n) AS l,
             goahead.acquire(l.lock, 'h') AS a";
    for number in 0..clients {
        client.query_one(pairs, &[&i64::from(number), &i64::from(locks)]).expect("locks");
    }
    let held: i64 = client.query_one("SELECT count(*) FROM goahead.lock_queue", &[]).expect("lock_queue").get(0);
    assert_eq!(held, 0, "locks that stayed held");
    for statement in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
        client.batch_execute(statement).expect(statement);
    }
}

/// Pairs of transactions per second that the server does at most.
pub fn limit(database: &Database<'_>, clients: u32, time: Duration) -> f64 {
    pgbench(database, LIMIT, clients, time)
}

/// Locks taken and given back per second by `SELECT`s of goahead's functions.
pub fn over_sql(database: &Database<'_>, clients: u32, time: Duration) -> f64 {
    pgbench(database, OVER_SQL, clients, time)
}

/// A backend's first calls load the extension and make its plans, which a pool that stays open has behind it.
const WARM_UP: Duration = Duration::from_secs(2);

/// How often each second pgbench runs a script whose statements are a transaction each, once it is warm.
fn pgbench(database: &Database<'_>, script: &str, clients: u32, time: Duration) -> f64 {
    let file = database.server.socket().join("script.sql");
    std::fs::write(&file, script).expect("write");
    let (clients, time) = (clients.to_string(), (WARM_UP + time).as_secs().to_string());
    let mut command = User::postgres().command(programs().join("pgbench"));
    command.env("PGHOST", database.server.socket()).env("PGUSER", "postgres");
    command.args(["-n", "-M", "prepared", "-P", "1", "-c", &clients, "-j", "2", "-T", &time]);
    let output = command.arg("-f").arg(&file).arg(&database.name).output().expect("pgbench starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "pgbench: {}\n{said}", output.status);
    rate(&said).unwrap_or_else(|| panic!("pgbench shows no progress: {said}"))
}

/// The rate after the warm-up, from lines such as `progress: 3.0 s, 1234.5 tps, lat …`.
fn rate(said: &str) -> Option<f64> {
    let warm_up = WARM_UP.as_secs_f64();
    let (mut before, mut done, mut time) = (0.0, 0.0, 0.0);
    for line in said.lines().filter_map(|line| line.strip_prefix("progress: ")) {
        let (at, rest) = line.split_once(" s, ")?;
        let (at, tps): (f64, f64) = (at.parse().ok()?, rest.split(' ').next()?.parse().ok()?);
        // A busy machine is late with its lines.
        if before >= warm_up - 0.5 {
            done += tps * (at - before);
            time += at - before;
        }
        before = at;
    }
    (time > 0.0).then(|| done / time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_does_not_count() {
        let said = "pgbench (15.20)\nprogress: 1.0 s, 10.0 tps, lat 1 ms stddev 0.1, 0 failed\n\
            progress: 2.0 s, 50.0 tps, lat 1 ms stddev 0.1, 0 failed\n\
            progress: 3.0 s, 100.0 tps, lat 1 ms stddev 0.1, 0 failed\n\
            progress: 5.0 s, 400.0 tps, lat 1 ms stddev 0.1, 0 failed\n";
        assert_eq!(rate(said), Some(300.0));
        assert_eq!(rate("progress: 1.0 s, 10.0 tps, lat"), None);
    }
}
