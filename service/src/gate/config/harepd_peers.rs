//! The other voters in harepd's file: its neighbours and its witness, without this node itself.

use std::net::{IpAddr, SocketAddr};

use super::super::settings::Peer;
use super::section::Section;
use super::{ConfigError, Machine, values};

/// The others, and whether this node is the witness.
pub fn read(
    grpc: &Section<'_>,
    primary_ip: IpAddr,
    listen: SocketAddr,
    machine: &Machine<'_>,
    warnings: &mut Vec<String>,
) -> Result<(Vec<Peer>, bool), ConfigError> {
    let is_us = |peer: &Peer| {
        let address = peer.host.parse::<IpAddr>().ok();
        peer.port == listen.port()
            && address.is_some_and(|address| {
                // A machine may have the addresses of several nodes, so only those count that are said to be this one's.
                address == primary_ip
                    || address == listen.ip()
                    || (listen.ip().is_unspecified() && (machine.is_ours)(address))
            })
    };
    let mut peers: Vec<Peer> = Vec::new();
    for text in grpc.list("neighbours")? {
        let peer = peer(grpc, "neighbours", &text, listen.port(), false, warnings)?;
        if is_us(&peer) {
            warnings.push(format!(
                "harepd.gRPC.neighbours: {text} is this node itself, which always agreed with harepd; it is left out"
            ));
        } else if peers.contains(&peer) {
            warnings.push(format!("harepd.gRPC.neighbours: {text} is listed twice; it has one vote"));
        } else {
            peers.push(peer);
        }
    }
    let Some(text) = grpc.text("witness")? else {
        return Ok((peers, false));
    };
    let witness = peer(grpc, "witness", &text, listen.port(), true, warnings)?;
    if is_us(&witness) {
        return Ok((peers, true));
    }
    let before = peers.len();
    peers.retain(|peer| peer.authority() != witness.authority());
    if peers.len() < before {
        warnings.push(format!("harepd.gRPC.neighbours lists the witness {text} too; it has one vote"));
    }
    peers.push(witness);
    Ok((peers, false))
}

fn peer(
    grpc: &Section<'_>,
    key: &'static str,
    text: &str,
    port: u16,
    witness: bool,
    warnings: &mut Vec<String>,
) -> Result<Peer, ConfigError> {
    let (host, own_port) = match values::host_port(text, None) {
        Ok(parsed) => parsed,
        Err(_) => {
            let parsed = values::host_port(text, Some(port))
                .map_err(|why| grpc.error(key, format!("is no ADDRESS:PORT: {text} ({why})")))?;
            warnings.push(format!(
                "{}: {text} has no port, so harepd never reached it; bindPort {port} is taken",
                grpc.name(key)
            ));
            parsed
        }
    };
    Ok(Peer { name: None, host, port: own_port, witness })
}
