//! HAProxy's agent-check: one line for each connection.
//!
//! With `agent-send "ro\n"` the line is about the read-only pool, with `rw\n` (at once) or nothing about the read-write one.

use std::time::Duration;

use goahead_rules::gate::{Agent, agent_check};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::gate::{Gate, clock};
use crate::listener::crowd::{Crowd, Place};

/// Which pool a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pool {
    ReadWrite,
    ReadOnly,
}

/// How long HAProxy's word is waited for; it is sent right after connecting, or never. HAProxy gives an agent no longer
/// than `agent-inter`, of which its delayed first packet may already take 200 ms.
const WORD: Duration = Duration::from_millis(50);
/// How long one connection may last.
const WHOLE: Duration = Duration::from_secs(2);
/// The longest word, in bytes.
const LONGEST: usize = 64;
/// Connections that may be open at once.
const LIMIT: usize = 64;
/// How long to wait before accepting again when that fails.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// Answers until `stop` becomes true.
pub async fn serve(socket: TcpListener, gate: Gate, mut stop: watch::Receiver<bool>) {
    let crowd = Crowd::new(LIMIT);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&socket, &crowd) => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Some((mut place, stream)) = accepted else { continue };
        let gate = gate.clone();
        tokio::spawn(async move {
            tokio::select! {
                answered = timeout(WHOLE, answer(stream, &gate)) => {
                    if answered.is_err() {
                        tracing::debug!("an agent-check took longer than {WHOLE:?}");
                    }
                }
                () = place.lost() => tracing::debug!("an agent-check is closed to make room"),
            }
        });
    }
}

async fn accept(socket: &TcpListener, crowd: &Crowd) -> Option<(Place, TcpStream)> {
    match socket.accept().await {
        Ok((stream, address)) => Some((crowd.enter(address.ip()), stream)),
        Err(error) => {
            tracing::warn!(%error, "cannot accept an agent-check");
            tokio::time::sleep(EXHAUSTED).await;
            None
        }
    }
}

async fn answer(mut stream: TcpStream, gate: &Gate) {
    let word = word(&mut stream).await;
    let line = match word.trim() {
        "" | "rw" => line(gate, Pool::ReadWrite),
        "ro" => line(gate, Pool::ReadOnly),
        _ => agent_check(Agent::Down("agent-send knows rw and ro")),
    };
    // Who does not wait for the answer needs none.
    let _ = stream.write_all(line.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// What was sent, up to the end of its first line.
async fn word(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = async {
        let mut buffer = [0; LONGEST];
        while bytes.len() < LONGEST && !bytes.contains(&b'\n') {
            match stream.read(&mut buffer[bytes.len()..]).await {
                Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[bytes.len()..bytes.len() + count]),
                _ => break,
            }
        }
    };
    let _ = timeout(WORD, read).await;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

fn line(gate: &Gate, pool: Pool) -> String {
    let snapshot = gate.snapshot();
    let (open, whys) = match pool {
        Pool::ReadWrite => (snapshot.rw_open(), &snapshot.verdict.rw_reasons),
        Pool::ReadOnly => (snapshot.ro_open(), &snapshot.verdict.ro_reasons),
    };
    agent_check(match whys.first() {
        _ if !snapshot.is_live(clock::now()) => Agent::Down("the gate has not decided lately"),
        _ if open => Agent::Up,
        why => Agent::Down(why.map(|why| why.text.as_str()).unwrap_or("closed")),
    })
}
