//! What HAProxy's agent-check reads.

use super::*;

async fn agent(snapshot: Snapshot, word: &[u8]) -> String {
    let (gate, _snapshots) = Gate::fixed(settings(), snapshot);
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (_stop, stopped) = watch::channel(false);
    let task = tokio::spawn(crate::api::gate::agent::serve(socket, gate, stopped));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(word).await.unwrap();
    let mut answer = Vec::new();
    // Who sends too much may be cut off after the answer.
    let _ = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap();
    task.abort();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_agent_speaks_for_the_pool_that_is_named() {
    assert_eq!(agent(primary(), b"").await, "up\n");
    assert_eq!(agent(primary(), b"rw\n").await, "up\n");
    assert_eq!(agent(primary(), b"ro\n").await, "down #too far behind\n");
    assert_eq!(agent(standby(), b"ro").await, "up\n");
    assert!(agent(standby(), b"rw\r\n").await.starts_with("down #a standby"));
    assert_eq!(agent(primary(), b"both\n").await, "down #agent-send knows rw and ro\n");
    let mut old = primary();
    old.expires_us = clock::now() - 1;
    assert_eq!(agent(old, b"").await, "down #the gate has not decided lately\n");
    assert!(agent(primary(), &[b'x'; 64]).await.starts_with("down #"));
}
