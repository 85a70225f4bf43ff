//! Without a database of its user's the service keeps one of its own, and never loses it.

use goahead_tests::fleet;
use goahead_tests::http::Http;
use goahead_tests::process::{runs, signal_pid};
use goahead_tests::service::{DataDirectory, Setup};
use goahead_tests::{SOON, eventually, fixture};
use rustix::process::Signal;

/// Hosts of the cluster foobar-server of clusters.yml, whose limit is 2.
const FIRST: &str = "foobar-server-ac01.domain.tld";
const SECOND: &str = "foobar-server-ac02.domain.tld";
const THIRD: &str = "foobar-server-ac03.domain.tld";

fn setup(data: &DataDirectory) -> Setup {
    let include = data.root().join("include");
    if !include.exists() {
        std::fs::create_dir(&include).expect("mkdir");
        std::fs::copy(fixture("conformance/clusters.yml"), include.join("clusters.yml")).expect("copy");
    }
    Setup::embedded(data).flag("--include-dir", include)
}

#[test]
fn a_clean_stop_leaves_nothing_running_and_a_second_start_keeps_the_state() {
    let data = DataDirectory::new();
    let mut service = setup(&data).start();
    fleet::grant(&service.http, FIRST, "100h");
    let postmaster = data.postmaster().expect("PostgreSQL runs");
    assert!(service.terminate().success());
    assert!(!runs(postmaster), "PostgreSQL is left running");

    let service = setup(&data).start();
    still_granted(&service.http, FIRST);
}

#[test]
fn a_killed_service_leaves_a_database_that_the_next_one_adopts() {
    let data = DataDirectory::new();
    let mut service = setup(&data).start();
    fleet::grant(&service.http, FIRST, "100h");
    let postmaster = data.postmaster().expect("PostgreSQL runs");
    service.kill();
    assert!(runs(postmaster), "PostgreSQL should survive");

    let mut service = setup(&data).start();
    assert_eq!(data.postmaster(), Some(postmaster), "another server was started");
    still_granted(&service.http, FIRST);
    assert!(service.terminate().success());
    assert!(!runs(postmaster), "an adopted PostgreSQL is stopped, too");
}

#[test]
fn a_database_that_dies_is_started_again() {
    let data = DataDirectory::new();
    let service = setup(&data).start();
    fleet::grant(&service.http, FIRST, "100h");
    let postmaster = data.postmaster().expect("PostgreSQL runs");
    signal_pid(postmaster, Signal::KILL);
    eventually("a new PostgreSQL", SOON, || data.postmaster().filter(|pid| *pid != postmaster));
    eventually("the service is ready again", SOON, || (service.admin.get("/ready").status == 200).then_some(()));
    still_granted(&service.http, FIRST);
}

#[test]
fn two_data_directories_are_two_services_side_by_side() {
    let (north, south) = (DataDirectory::new(), DataDirectory::new());
    let services = [setup(&north).start(), setup(&south).start()];
    for service in &services {
        fleet::grant(&service.http, FIRST, "100h");
        fleet::grant(&service.http, SECOND, "100h");
        let third = fleet::handshake(&service.http, THIRD, "100h");
        assert_eq!(third["go_ahead"], false, "the limit is 2 in each: {third}");
    }
}

#[test]
fn one_data_directory_has_one_service() {
    let data = DataDirectory::new();
    let first = setup(&data).start();
    let second = setup(&data).output();
    assert!(!second.status.success(), "a second service on one data directory started");
    assert!(!second.stderr.is_empty(), "and says why not");
    fleet::grant(&first.http, FIRST, "100h");
}

fn still_granted(service: &Http, fqdn: &str) {
    let again = fleet::handshake(service, fqdn, "100h");
    assert_eq!(again["message"], "You should already be restarting!", "{again}");
    assert_eq!(again["go_ahead"], true, "{again}");
}
