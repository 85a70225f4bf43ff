//! One transaction left open in psql stalls its own cluster, and nothing else.

use std::time::{Duration, Instant};

use goahead_tests::fleet::{self, REQUEST};
use goahead_tests::postgres::Postgres;
use goahead_tests::service::Setup;
use goahead_tests::{SOON, eventually};
use serde_json::json;

#[test]
fn an_open_transaction_stalls_only_its_own_cluster() {
    let server = Postgres::start();
    let database = server.database("fleet");
    for name in ["db", "web"] {
        database.cluster(name, json!({ "allowed_parallel_restarts": 100 }));
    }
    let service = Setup::over(&database).start();
    let mut psql = database.connect();
    let mut transaction = psql.transaction().expect("begin");
    let held = "SELECT goahead.request_restart('db-0.example.org', '100h')::text";
    transaction.query_one(held, &[]).expect("request_restart");

    std::thread::scope(|scope| {
        for number in 0..10 {
            let http = &service.http;
            scope.spawn(move || {
                let fqdn = format!("db-{number}.example.org");
                let start = Instant::now();
                let reply = http.post(REQUEST, &fleet::ask(&fqdn, "100h", None));
                assert_eq!(reply.status, 503, "{}", reply.body);
                assert!(reply.retry_after.is_some(), "no Retry-After");
                assert!(start.elapsed() < Duration::from_secs(15), "took {:?}", start.elapsed());
            });
        }
        // Meanwhile, over and over, the other cluster.
        let start = Instant::now();
        for number in 0..50 {
            fleet::grant(&service.http, &format!("web-{number}.example.org"), "100h");
        }
        assert!(start.elapsed() < Duration::from_secs(5), "the other cluster took {:?}", start.elapsed());
    });

    transaction.commit().expect("commit");
    eventually("the cluster goes on", SOON, || {
        let reply = service.http.post(REQUEST, &fleet::ask("db-0.example.org", "100h", None));
        (reply.status == 200).then_some(())
    });
    fleet::grant(&service.http, "db-1.example.org", "100h");
}
