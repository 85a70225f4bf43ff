//! Locks without the service: what pgbench reaches over SQL, and the limit of the same server.

use std::time::Duration;

use goahead_tests::postgres::Database;

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

/// How often each second pgbench runs a script whose statements are a transaction each.
fn pgbench(database: &Database<'_>, script: &str, clients: u32, time: Duration) -> f64 {
    let file = database.server.socket().join("script.sql");
    std::fs::write(&file, script).expect("write");
    let (clients, time) = (clients.to_string(), time.as_secs().to_string());
    let file = file.display().to_string();
    let arguments = ["-n", "-M", "prepared", "-c", &clients, "-j", "2", "-T", &time, "-f", &file, &database.name];
    let text = database.server.program("pgbench", &arguments);
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.unwrap_or_else(|| panic!("no tps: {text}"))
}
