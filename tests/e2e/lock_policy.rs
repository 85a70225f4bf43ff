//! A lock's policy decides over HTTP too; one that fails denies, and says so.

use goahead_tests::locks::{acquire, release, token};
use goahead_tests::postgres::Postgres;
use goahead_tests::service::Setup;

const POLICY: &str = "
    CREATE SCHEMA ops;
    GRANT USAGE ON SCHEMA ops TO goahead_policy;
    CREATE FUNCTION ops.not_two_of_a_rack(lock text, holder text, granted text[], queue text[]) RETURNS boolean
        LANGUAGE sql AS $$ SELECT NOT EXISTS (SELECT FROM unnest(granted) AS g
                                               WHERE split_part(g, '-', 1) = split_part(holder, '-', 1)) $$;
    SELECT goahead.set_lock('etl', 2, policy => 'ops.not_two_of_a_rack(text, text, text[], text[])')";

#[test]
fn a_policy_chooses_and_its_failure_denies() {
    let server = Postgres::start();
    let database = server.database("fleet");
    let mut psql = database.connect();
    psql.batch_execute(POLICY).expect("a policy");
    let service = Setup::over(&database).start();
    let http = &service.http;
    let first = token(&acquire(http, "etl", "r1-a", "0s"));
    assert_eq!(acquire(http, "etl", "r1-b", "0s").status, 202, "two of one rack");
    let other = token(&acquire(http, "etl", "r2-a", "0s"));
    assert_eq!(release(http, "etl", "r2-a", other).status, 200);
    assert_eq!(acquire(http, "etl", "r1-b", "0s").status, 202, "a slot is free, but not for this rack");

    let failures = "SELECT count(*) FROM goahead.events WHERE kind = 'policy_failed' AND subject = 'etl'";
    let mut problem = || -> Option<String> {
        psql.query_one("SELECT policy_error FROM goahead.locks WHERE name = 'etl'", &[]).expect("the lock").get(0)
    };
    assert_eq!((problem(), database.count(failures)), (None, 0));
    for (body, says, events) in [("SELECT 1 / 0 = 1", "division by zero", 1), ("SELECT NULL::boolean", "null", 2)] {
        replace(&database, body);
        for _ in 0..2 {
            assert_eq!(acquire(http, "etl", "r3-a", "0s").status, 202, "{says}: it was granted");
        }
        assert!(problem().is_some_and(|problem| problem.contains(says)), "{says}: {:?}", problem());
        assert_eq!(database.count(failures), events, "{says}: told once");
    }
    // Who holds the lock has nothing to do with it.
    assert_eq!(release(http, "etl", "r1-a", first).status, 200);

    replace(&database, "SELECT true");
    token(&acquire(http, "etl", "r3-a", "0s"));
    assert_eq!(problem(), None);
}

fn replace(database: &goahead_tests::postgres::Database<'_>, body: &str) {
    let sql = format!(
        "CREATE OR REPLACE FUNCTION ops.not_two_of_a_rack(lock text, holder text, granted text[], queue text[])
            RETURNS boolean LANGUAGE sql AS $$ {body} $$"
    );
    database.connect().batch_execute(&sql).expect("create function");
}
