//! The bytes on the wire, worked out by hand from messages.proto and the encoding of protocol buffers.

use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::messages::{IKnow, WhatYouKnow};
use super::stand_in::{Known, Says, ask, framed};
use super::*;
use crate::closed_port::closed_port;

#[test]
fn the_question_is_encoded_as_harepds_own() {
    let asked = WhatYouKnow { ip: "10.0.0.1".to_owned(), node_id: 300, node_name: "n1".to_owned() };
    let wanted = b"\x0a\x0810.0.0.1\x10\xac\x02\x1a\x02n1";
    assert_eq!(asked.encode_to_vec(), wanted);
    assert_eq!(WhatYouKnow::decode(&wanted[..]).unwrap(), asked);
    // -1 in an int32 has ten bytes; what is empty is not there.
    let unknown = WhatYouKnow { node_id: -1, ..WhatYouKnow::default() };
    assert_eq!(unknown.encode_to_vec(), b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
}

#[test]
fn the_answer_is_encoded_as_harepds_own() {
    let known = IKnow {
        ip: "1.2.3.4".to_owned(),
        node_id: 2,
        node_name: "b".to_owned(),
        witness: "w".to_owned(),
        slaves: vec!["x".to_owned(), "y".to_owned()],
        master: vec!["z".to_owned()],
    };
    let wanted = b"\x0a\x071.2.3.4\x10\x02\x1a\x01b\x22\x01w\x2a\x01x\x2a\x01y\x32\x01z";
    assert_eq!(known.encode_to_vec(), wanted);
    assert_eq!(IKnow::decode(&wanted[..]).unwrap(), known);
    // A field of a newer version is skipped.
    assert_eq!(IKnow::decode(&[&wanted[..], b"\x3a\x01q"].concat()[..]).unwrap(), known);
}

#[tokio::test]
async fn our_server_answers_a_harepd_byte_for_byte() {
    let (port, _stop) = serve("node2", Rows::of(rows(1)), None).await;
    let (headers, body) = ask(local(port), b"\x0a\x0810.0.0.1\x10\x01").await.unwrap();
    let wanted = b"\x0a\x09127.0.0.1\x10\x02\x1a\x05node2\x22\x0810.0.0.3\x2a\x0810.0.0.2\x32\x0810.0.0.1";
    assert_eq!(body, framed(wanted));
    assert!(headers["content-type"].to_str().unwrap().starts_with("application/grpc"));
    assert_eq!(headers["grpc-status"], "0");
}

#[tokio::test]
async fn our_client_asks_a_harepd_byte_for_byte() {
    let known = Known {
        ip: "10.0.0.2".into(),
        node_id: 2,
        node_name: "node2".into(),
        witness: "10.0.0.3".into(),
        slaves: vec!["10.0.0.2".into()],
        master: vec!["10.0.0.1".into()],
    };
    let says = Says::of(known);
    let view = learn(says.serve(local(0)).await.0).await.unwrap();
    let wanted = LegacyView {
        ip: "10.0.0.2".to_owned(),
        node_name: "node2".to_owned(),
        masters: vec!["10.0.0.1".to_owned()],
        standbys: vec!["10.0.0.2".to_owned()],
        witness: "10.0.0.3".to_owned(),
    };
    assert_eq!(view, wanted);
    let questions = says.1.lock().unwrap().clone();
    let [question] = &questions[..] else { panic!("{questions:?}") };
    assert_eq!((question.method.as_str(), question.path.as_str()), ("POST", "/models.ClusterInfo/GetClusterInfo"));
    assert_eq!(question.headers["content-type"], "application/grpc");
    assert_eq!(question.headers["te"], "trailers");
    assert!(question.headers.contains_key("grpc-timeout"));
    assert_eq!(question.body, framed(b"\x0a\x0810.0.0.1\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x05node1"));
}

#[tokio::test]
async fn a_server_whose_database_is_down_says_so() {
    let (port, _stop) = serve("node2", Rows::default(), None).await;
    let why = ask(local(port), b"").await.unwrap_err();
    assert!(why.contains("14") && why.contains("the%20database%20is%20down"), "{why}");
    let why = learn(port).await.unwrap_err();
    assert!(why.contains("Unavailable") && why.contains("the database is down"), "{why}");
}

#[tokio::test]
async fn a_harepd_without_a_witness_gives_an_error_and_our_server_an_answer() {
    let says = Says::default();
    let why = learn(says.serve(local(0)).await.0).await.unwrap_err();
    assert!(why.contains("no rows in result set"), "{why}");
    let mut two = rows(1);
    two.pop();
    let (port, _stop) = serve("node1", Rows::of(two), None).await;
    let view = learn(port).await.unwrap();
    assert_eq!((view.masters, view.witness.as_str()), (vec!["10.0.0.1".to_owned()], ""));
}

#[tokio::test]
async fn rows_that_are_not_active_are_left_out_and_lists_are_sorted() {
    let mixed = vec![
        row(5, "e", "standby", true, "10.0.0.9"),
        row(1, "a", "primary", false, "10.0.0.1"),
        row(2, "b", "standby", true, "10.0.0.2"),
        row(3, "c", "primary", true, "10.0.0.3"),
        row(4, "d", "standby", false, "10.0.0.4"),
    ];
    let (port, _stop) = serve("b", Rows::of(mixed), None).await;
    let view = learn(port).await.unwrap();
    assert_eq!(view.masters, ["10.0.0.3"]);
    assert_eq!(view.standbys, ["10.0.0.2", "10.0.0.9"]);
}

#[tokio::test]
async fn gates_and_harepds_share_the_port() {
    let (port, _stop) = serve("node1", Rows::of(rows(1)), None).await;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream
        .write_all(b"POST /v1/gate/ask HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("asked"), "{answer}");
    assert!(learn(port).await.is_ok());
    // What is no gRPC changes nothing and is told.
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 415"), "{answer}");
}

#[tokio::test]
async fn a_message_that_is_none_or_too_long_is_refused() {
    let (port, _stop) = serve("node1", Rows::of(rows(1)), None).await;
    assert!(ask(local(port), b"\x0a\x7f").await.is_err());
    assert!(ask(local(port), &[0x0a; 100_000]).await.is_err());
    assert!(ask(local(port), b"").await.is_ok());
}

#[tokio::test]
async fn whoever_is_silent_or_speaks_otherwise_costs_no_more_than_the_deadline() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let keep = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            all.push(stream);
        }
    });
    let peer = peer("127.0.0.1", port);
    let asked = client(None, &peer).await.ask(&peer, None, Duration::from_millis(300)).await;
    assert_eq!(asked.unwrap_err(), "no answer within 300ms");
    keep.abort();

    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = other.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = other.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    assert!(learn(port).await.is_err());

    let (_held, closed) = closed_port();
    assert!(learn(closed.port()).await.is_err());
}
