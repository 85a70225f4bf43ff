//! The two halves of a gate, in two places, and what one knows of the other.

use std::time::Duration;

use super::super::settings::Peer;
use super::*;

const LIMIT: Duration = Duration::from_secs(20);

fn settings(state_dir: &Path, mode: Mode) -> Settings {
    let mut settings = Settings::for_tests("n1");
    settings.mode = mode;
    settings.state_dir = state_dir.to_owned();
    settings.peer_listen = Some("127.0.0.1:1".parse().unwrap());
    settings.peers = vec![Peer { name: Some("n2".into()), host: "127.0.0.1".into(), port: 1, witness: false }];
    settings.timings.round = Duration::from_millis(50);
    settings.timings.deadline = Duration::from_millis(30);
    settings.timings.lease = Duration::from_millis(300);
    settings
}

async fn half(state_dir: &Path, mode: Mode, stop: &watch::Sender<bool>) -> Running {
    let watchdog = (PathBuf::from("/nonexistent"), Vec::new());
    start(settings(state_dir, mode), watchdog, stop.subscribe()).await.unwrap()
}

async fn until(gate: &Gate, what: &str, ready: impl FnMut(&Arc<Snapshot>) -> bool) {
    let mut shown = gate.snapshot.clone();
    let waited = tokio::time::timeout(LIMIT, shown.wait_for(ready)).await;
    assert!(waited.is_ok(), "{what} has not come: {:?}", gate.snapshot());
}

#[tokio::test]
async fn a_server_shows_what_its_client_hands_over_and_votes_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let stop = watch::Sender::new(false);
    let server = half(directory.path(), Mode::ServerOnly, &stop).await;
    assert!(server.peers.is_some());
    assert_eq!(server.gate.snapshot().round, 0);
    let client = half(directory.path(), Mode::ClientOnly, &stop).await;
    assert!(client.peers.is_none());
    until(&server.gate, "a round", |shown| shown.round > 1 && shown.mode == Mode::ClientOnly).await;
    assert!(server.gate.snapshot().local_error.is_some());
    let without = |shown: &Arc<Snapshot>| shown.verdict.rw_reasons.iter().any(|why| why.text.contains("--server-only"));
    assert!(!without(&client.gate.snapshot()), "{:?}", client.gate.snapshot().verdict);
    // No server: closed, and it says why; with a server again it goes on.
    drop(server);
    until(&client.gate, "the reason", |shown| {
        let own = shown.verdict.rw_reasons.iter().chain(&shown.verdict.ro_reasons);
        own.map(|why| &why.text).chain(&shown.notes).any(|text| text.contains("--server-only"))
    })
    .await;
    let server = half(directory.path(), Mode::ServerOnly, &stop).await;
    until(&server.gate, "a round", |shown| shown.round > 1).await;
    stop.send_replace(true);
    tokio::time::timeout(LIMIT, client.ended()).await.unwrap();
    // The last that is shown counts no more.
    assert!(!server.gate.snapshot().is_live(clock::now()));
}

#[tokio::test]
async fn settings_that_cannot_work_start_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let stop = watch::Sender::new(false);
    let mut bad = settings(directory.path(), Mode::Dual);
    bad.timings.deadline = Duration::from_secs(5);
    let why = start(bad, (PathBuf::new(), Vec::new()), stop.subscribe()).await.err().expect("refused");
    assert!(why.contains("deadline"), "{why}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_state_directory_is_one_gate_s_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let stop = watch::Sender::new(false);
    // Two that start at once: the socket of neither is there yet for the other to see.
    let held = alone(directory.path(), Mode::Dual).unwrap();
    let refused = |mode| start(settings(directory.path(), mode), (PathBuf::new(), Vec::new()), stop.subscribe());
    let why = refused(Mode::Dual).await.err().expect("refused");
    assert!(why.contains("another gate runs"), "{why}");
    assert!(alone(directory.path(), Mode::ClientOnly).is_err());
    // The other half has its own place.
    drop(alone(directory.path(), Mode::ServerOnly).unwrap());
    drop(held);
    drop(alone(directory.path(), Mode::Dual).unwrap());
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let why = refused(Mode::ServerOnly).await.err().expect("refused");
    assert!(why.contains("writable to others"), "{why}");
}
