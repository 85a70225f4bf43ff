//! What a health check makes of each first reply.

use super::bed::SOON;
use crate::probe::bound;
use crate::{Reply, ask, is_local};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 20));

/// Whoever answers these bytes to one question; gives the question and who asked.
pub fn answering(parts: &[&[u8]]) -> (SocketAddr, JoinHandle<(Vec<u8>, IpAddr)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
    let thread = thread::spawn(move || {
        let (mut stream, peer) = listener.accept().expect("a question");
        let mut length = [0; 4];
        stream.read_exact(&mut length).expect("its length");
        let mut rest = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("a length") - 4];
        stream.read_exact(&mut rest).expect("the question");
        for part in parts {
            stream.write_all(&part).expect("an answer");
            thread::sleep(Duration::from_millis(5));
        }
        (rest, peer.ip())
    });
    (address, thread)
}

fn reply(parts: &[&[u8]]) -> Reply {
    let (address, thread) = answering(parts);
    let reply = ask(b"harw", SOURCE, address, SOON);
    let (question, peer) = thread.join().expect("it answered");
    assert_eq!(question, b"\0\x03\0\0user\0harw\0\0", "a user, no database, protocol 3.0");
    assert_eq!(peer, SOURCE);
    reply
}

#[test]
fn each_reply_is_told_from_the_others() {
    let challenged = |code| Reply::Challenged { code };
    assert_eq!(reply(&[b"R\0\0\0\x08\0\0\0\0"]), challenged(0));
    assert_eq!(reply(&[b"R\0\0\0\x08\0\0\0\x03"]), challenged(3));
    assert_eq!(reply(&[b"R\0\0\0\x0c\0\0\0\x05salt"]), challenged(5));
    assert_eq!(reply(&[b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"]), challenged(10));
    assert_eq!(reply(&[b"R\0", b"\0\0\x08\0", b"\0\0\x03"]), challenged(3), "in pieces");
    let rejected = |code: &str| Reply::Rejected { sqlstate: code.to_owned() };
    assert_eq!(reply(&[b"E\0\0\0\x1cSFATAL\0VFATAL\0C28000\0Mno\0\0"]), rejected("28000"));
    assert_eq!(reply(&[b"E\0\0\0\x18SFATAL\0C57P03\0Mwait\0\0"]), rejected("57P03"));
    for strange in
        [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"N", b"", b"E\0\0\0\x07SX\0", b"R\0\0\0\x05\0", b"R\0\0\0\x08\0"]
    {
        assert!(matches!(reply(&[strange]), Reply::Other(_)), "{strange:?}");
    }
}

#[test]
fn nobody_there_is_unreachable_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let silent = ask(b"harw", SOURCE, address, Duration::from_millis(30));
    assert_eq!(silent, Reply::Unreachable("nothing came in time".to_owned()));
    // Bound but not listening: nobody else can take the port meanwhile.
    let taken = bound(Ipv4Addr::LOCALHOST.into()).expect("a port");
    let address = rustix::net::getsockname(&taken).expect("its address").try_into().expect("an IPv4 address");
    assert!(matches!(ask(b"harw", SOURCE, address, SOON), Reply::Unreachable(why) if why.contains("refused")));
}

#[test]
fn only_an_address_of_this_machine_is_a_source() {
    assert!(is_local(SOURCE) && is_local(Ipv4Addr::LOCALHOST.into()));
    // 192.0.2.0/24 is for documentation; nobody has it.
    assert!(!is_local(Ipv4Addr::new(192, 0, 2, 1).into()) && !is_local(Ipv4Addr::UNSPECIFIED.into()));
}
