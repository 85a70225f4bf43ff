//! Addresses, paths, connections that are kept and ones that are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::closed_port::closed_port;

/// A service that answers every request with what was asked, and counts connections. It closes each after `requests`.
async fn echo(requests: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/below", listener.local_addr().expect("its address"));
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                for _ in 0..requests {
                    let mut asked = Vec::new();
                    // Every request of these tests has an empty body or `{}`.
                    while !asked.ends_with(b"\r\n\r\n") && !asked.ends_with(b"{}") {
                        let mut buffer = [0; 1024];
                        match stream.read(&mut buffer).await {
                            Ok(count) if count > 0 => asked.extend_from_slice(&buffer[..count]),
                            _ => return,
                        }
                    }
                    let line = String::from_utf8_lossy(&asked).lines().next().unwrap_or_default().to_owned();
                    let answer = format!(
                        "HTTP/1.1 202 Accepted\r\nRetry-After: 7\r\nContent-Length: {}\r\n\r\n{line}",
                        line.len()
                    );
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, connections)
}

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_answer_carries_what_callers_need() {
    let (url, _) = echo(1).await;
    let client = Client::new(&url).expect("an address");
    let answer = client.send(Method::GET, "/v1/x?y=1", None, LIMIT).await.expect("an answer");
    let wanted = Answer {
        status: 202,
        retry_after: Some(Duration::from_secs(7)),
        location: None,
        body: "GET /below/v1/x?y=1 HTTP/1.1".to_owned(),
    };
    assert_eq!(answer, wanted);
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request_unless_told_otherwise() {
    let (url, connections) = echo(100).await;
    let client = Client::new(&url).expect("an address");
    for _ in 0..3 {
        client.send(Method::POST, "x", Some("{}"), LIMIT).await.expect("an answer");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    let client = client.keep_nothing();
    // The one that is kept already is used up first.
    for _ in 0..3 {
        client.send(Method::POST, "x", Some("{}"), LIMIT).await.expect("an answer");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_kept_connection_that_the_service_has_closed_costs_no_request() {
    let (url, connections) = echo(1).await;
    let client = Client::new(&url).expect("an address");
    for number in 1..=3 {
        client.send(Method::POST, "x", Some("{}"), LIMIT).await.expect("an answer");
        assert_eq!(connections.load(Ordering::SeqCst), number);
        let closed = async {
            while client.idle.lock().expect("unpoisoned").as_ref().is_some_and(|kept| !kept.sender.is_closed()) {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, closed).await.expect("the service closes it");
    }
}

#[tokio::test]
async fn silence_ends_at_the_limit_and_a_closed_port_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let client = Client::new(&url).expect("an address");
    let silent = client.send(Method::GET, "", None, Duration::from_millis(200)).await;
    assert_eq!(silent, Err(Failure::Passing("no answer within 200ms".to_owned())));
    let (_held, address) = closed_port();
    let url = format!("http://{address}");
    let closed = Client::new(&url).expect("an address").send(Method::GET, "", None, LIMIT).await;
    assert!(
        matches!(&closed, Err(Failure::Passing(why)) if why.starts_with("cannot connect to 127.0.0.1:")),
        "{closed:?}"
    );
}

#[test]
fn what_is_no_address_of_a_service_is_refused() {
    for good in ["http://localhost", "https://[::1]:8443/below/", "http://10.0.0.1:80"] {
        assert!(Client::new(good).is_ok(), "{good}");
    }
    for bad in ["", "localhost:8443", "ftp://x/", "http://user:secret@x/", "http://x/?token=secret", "/only/a/path"] {
        let why = Client::new(bad).map(drop).expect_err(bad);
        assert!(!why.contains("secret"), "{why}");
    }
}

#[test]
fn a_name_is_one_segment_whatever_it_contains() {
    assert_eq!(segment("billing/etl ä?#%"), "billing%2Fetl%20%C3%A4%3F%23%25");
    assert_eq!(segment(".."), "%2E%2E");
}

#[test]
fn problems_are_told_in_the_service_s_words() {
    let of = |status, body: &str| problem(&Answer { status, body: body.to_owned(), ..Answer::default() });
    assert_eq!(of(400, r#"{"title":"Bad Request","detail":"no","hint":"do"}"#), "no (do)");
    assert_eq!(of(400, r#"{"title":"Bad Request"}"#), "Bad Request");
    assert_eq!(of(502, "<html>"), "HTTP 502: <html>");
    assert_eq!(of(502, ""), "HTTP 502");
}
