//! Asking until the server has taken a reload, and no longer.

use super::probe::answering;
use crate::{Listens, Reply, in_force};
use goahead_rules::hba::{Expected, From, Probe};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 20));
const ASKS: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
const REFUSES: &[u8] = b"E\0\0\0\x0cC28000\0\0";
const STARTS: &[u8] = b"E\0\0\0\x0cC57P03\0\0";

fn probe(rule: &str, from: From, expected: Expected) -> Probe {
    Probe { rule: rule.to_owned(), user: rule.as_bytes().to_vec(), from, expected }
}

/// A server that gives each question the next of these answers, and the last one from then on.
fn server(answers: &'static [&'static [u8]]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    // It ends with the test's process.
    thread::spawn(move || {
        for (index, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("a question");
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(answers[index.min(answers.len() - 1)]);
        }
    });
    address
}

fn found(answers: &'static [&'static [u8]], expected: Expected, limit: Duration) -> Result<u32, Reply> {
    let address = server(answers);
    let (mut asked, listens) = (0, Listens::new("127.0.0.1", address.port()));
    let found = in_force(&[probe("harw", From::One(SOURCE), expected)], &listens, limit, &mut || asked += 1);
    match found.wrong.first() {
        None => {
            assert_eq!(found.right, ["harw"]);
            Ok(asked)
        }
        Some(wrong) => {
            assert_eq!((wrong.source, wrong.target, wrong.expected), (SOURCE, address, expected));
            Err(wrong.reply.clone())
        }
    }
}

#[test]
fn a_rule_in_force_is_asked_about_once_and_a_late_one_again() {
    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(100);
    assert_eq!(found(&[ASKS], Expected::Challenge, LONG), Ok(1));
    assert_eq!(found(&[REFUSES], Expected::Refusal, LONG), Ok(1));
    assert_eq!(found(&[REFUSES, REFUSES, ASKS], Expected::Challenge, LONG), Ok(3));
    assert_eq!(found(&[ASKS, STARTS, REFUSES], Expected::Refusal, LONG), Ok(3));
    assert_eq!(found(&[ASKS], Expected::Refusal, SHORT), Err(Reply::Challenged { code: 3 }));
    let starts = Reply::Rejected { sqlstate: "57P03".to_owned() };
    assert_eq!(found(&[STARTS], Expected::Refusal, SHORT), Err(starts), "refused for another reason is not closed");
}

#[test]
fn what_cannot_be_asked_from_here_is_skipped() {
    let elsewhere = From::One(Ipv4Addr::new(192, 0, 2, 1).into());
    let other = From::One("::1".parse().expect("an address"));
    for (listens, from) in
        [("*", elsewhere), ("", From::One(SOURCE)), ("db.example.com", From::Anywhere), ("127.0.0.1", other)]
    {
        let listens = Listens::new(listens, 1);
        let found =
            in_force(&[probe("harw", from, Expected::Challenge)], &listens, Duration::from_secs(1), &mut || {
                panic!("it was asked about");
            });
        assert_eq!(found.skipped, ["harw"]);
    }
}

#[test]
fn the_way_fits_the_rule_and_the_listener() {
    let net = From::Net { ip: Ipv4Addr::new(127, 0, 0, 0).into(), mask: Ipv4Addr::new(255, 0, 0, 0).into() };
    for (listens, from) in
        [("127.0.0.1", net), ("*", net), ("10.1.1.1, localhost", From::Anywhere), ("*", From::Anywhere)]
    {
        let (address, thread) = answering(&[ASKS]);
        let listens = Listens::new(listens, address.port());
        let probe = probe("harw", from, Expected::Challenge);
        let found = in_force(&[probe], &listens, Duration::from_secs(10), &mut || {});
        assert_eq!(found.right, ["harw"], "{listens:?} {from:?}: {found:?}");
        thread.join().expect("it was asked");
    }
}
