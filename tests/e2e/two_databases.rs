//! Two databases of one server are two fleets, and dropping the extension from one leaves the other alone.

use goahead_tests::fleet;
use goahead_tests::postgres::Postgres;
use goahead_tests::service::Setup;
use serde_json::json;

const HOST: &str = "web-1.example.org";

#[test]
fn two_databases_of_a_server_do_not_know_each_other() {
    let server = Postgres::start();
    let databases = [server.database("north"), server.database("south")];
    let services = databases.each_ref().map(|database| {
        database.cluster("web", json!({}));
        Setup::over(database).start()
    });
    // The limit is 1, and the lock of the cluster has the same number in both.
    for service in &services {
        fleet::grant(&service.http, HOST, "100h");
    }
    let denied = fleet::handshake(&services[0].http, "web-2.example.org", "100h");
    assert_eq!(denied["go_ahead"], false, "{denied}");
    fleet::inquire(&services[0].http, HOST, "1s");
    fleet::grant(&services[0].http, "web-2.example.org", "100h");
    let states = "SELECT count(*) FROM goahead._restart WHERE state = 'completed'";
    assert_eq!((databases[0].count(states), databases[1].count(states)), (1, 0));
}

#[test]
fn the_extension_can_be_dropped_and_created_again() {
    let server = Postgres::start();
    let (kept, renewed) = (server.database("kept"), server.database("renewed"));
    for database in [&kept, &renewed] {
        database.cluster("web", json!({}));
    }
    let service = Setup::over(&kept).start();
    fleet::grant(&service.http, HOST, "100h");

    renewed.connect().batch_execute("DROP EXTENSION goahead").expect("drop");
    assert_eq!(renewed.count("SELECT count(*) FROM pg_namespace WHERE nspname = 'goahead'"), 0, "the schema is left");
    assert_eq!(renewed.count("SELECT count(*) FROM pg_proc WHERE probin LIKE '%goahead%'"), 0, "functions are left");
    renewed.connect().batch_execute("CREATE EXTENSION goahead").expect("create again");
    renewed.cluster("web", json!({}));
    let other = Setup::over(&renewed).start();
    fleet::grant(&other.http, "web-2.example.org", "100h");

    let again = fleet::handshake(&service.http, HOST, "100h");
    assert_eq!(again["go_ahead"], true, "the other database keeps its state: {again}");
    assert_eq!(kept.count("SELECT count(*) FROM goahead._restart"), 1);
}
