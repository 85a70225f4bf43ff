//! What other gates ask of this one: a vote with a report, and a place for their audit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use goahead_rules::gate::Ask;

use super::Counters;
use super::peers::{ASK, AUDIT, Addresses, LONGEST, Secret, sign};
use super::recorder::Recorder;
use super::settings::Settings;
use super::voting::Voting;
use crate::peer::Peer as Caller;

/// How many processes of one peer are remembered, so that an ask of an earlier one cannot be played again.
const INCARNATIONS: usize = 64;

/// What answers other gates.
pub struct PeerServer {
    /// What the operator chose
    pub settings: Arc<Settings>,
    /// This node's vote
    pub voting: Arc<Voting>,
    /// Proves who asks
    pub secret: Option<Secret>,
    /// Where peers may ask from
    pub addresses: Arc<Addresses>,
    /// Counts refusals
    pub counters: Arc<Counters>,
    /// Writes audit entries of peers; none: there is no database here
    pub recorder: Option<Arc<Recorder>>,
    /// The newest asks by peer
    pub newest: Newest,
}

/// Which asks were answered: one that is played again is not.
#[derive(Debug, Default)]
pub struct Newest(Mutex<HashMap<String, Vec<(u64, u64)>>>);

impl Newest {
    /// Whether an ask is the newest of its process; takes note of it.
    fn is(&self, ask: &Ask) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rounds = all.entry(ask.from.clone()).or_default();
        match rounds.iter_mut().find(|(incarnation, _)| *incarnation == ask.incarnation) {
            Some((_, newest)) if ask.round <= *newest => false,
            Some((_, newest)) => {
                *newest = ask.round;
                true
            }
            None => {
                if rounds.len() == INCARNATIONS {
                    rounds.remove(0);
                }
                rounds.push((ask.incarnation, ask.round));
                true
            }
        }
    }
}

/// Why somebody gets no answer.
#[derive(Debug)]
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

/// The paths for other gates. Every request needs a [`Caller`] in its extensions.
pub fn router(server: Arc<PeerServer>) -> Router {
    Router::new()
        .route(ASK, post(answer))
        .route(AUDIT, post(audit))
        .layer(DefaultBodyLimit::max(LONGEST))
        .with_state(server)
}

async fn answer(
    State(server): State<Arc<PeerServer>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let refused = |refused| server.refuse(&caller, refused);
    let nonce = match server.prove(ASK, &headers, &body) {
        Ok(nonce) => nonce,
        Err(why) => return refused(why),
    };
    let ask: Ask = match serde_json::from_slice(&body) {
        Ok(ask) => ask,
        Err(error) => return refused(Refused(StatusCode::BAD_REQUEST, format!("no ask: {error}"))),
    };
    if let Err(why) = server.comes_from(&ask.from, &caller) {
        return refused(why);
    }
    // One to another node, played to us, must not use up the number of the one to us.
    let ours = ask.to == server.settings.voter();
    if server.secret.is_some() && ours && !server.newest.is(&ask) {
        return refused(Refused(StatusCode::CONFLICT, "this ask has been answered already".to_owned()));
    }
    let answer = server.voting.answer(&ask);
    match serde_json::to_vec(&answer) {
        Ok(body) => server.signed(&nonce, body),
        Err(error) => refused(Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

async fn audit(
    State(server): State<Arc<PeerServer>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let refused = |refused| server.refuse(&caller, refused);
    let proved = server.prove(AUDIT, &headers, &body).and_then(|nonce| {
        server.comes_from_any(&caller)?;
        let entry: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&body)
            .map_err(|error| Refused(StatusCode::BAD_REQUEST, format!("no audit entry: {error}")))?;
        Ok((nonce, serde_json::Value::Object(entry).to_string()))
    });
    let (nonce, entry) = match proved {
        Ok(proved) => proved,
        Err(why) => return refused(why),
    };
    let Some(recorder) = &server.recorder else {
        return refused(Refused(StatusCode::NOT_IMPLEMENTED, "there is no database here".to_owned()));
    };
    match recorder.record(&entry).await {
        Ok(()) => server.signed(&nonce, b"{}".to_vec()),
        Err(why) => refused(Refused(StatusCode::SERVICE_UNAVAILABLE, why)),
    }
}

impl PeerServer {
    /// Counts and tells a refusal.
    fn refuse(&self, caller: &Caller, refused: Refused) -> Response {
        self.counters.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tracing::debug!(address = %caller.address, why = refused.1, "a peer's call is refused");
        refused.into_response()
    }

    /// The nonce of a request that knows the secret; empty without one.
    fn prove(&self, path: &str, headers: &HeaderMap, body: &[u8]) -> Result<String, Refused> {
        let Some(secret) = &self.secret else { return Ok(String::new()) };
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let nonce = header(sign::NONCE);
        if secret.verify(&[b"ask", path.as_bytes(), nonce.as_bytes(), body], header(sign::SIGNATURE)) {
            return Ok(nonce.to_owned());
        }
        let why = "not signed with our secret; give every gate the same secret_file";
        Err(Refused(StatusCode::UNAUTHORIZED, why.to_owned()))
    }

    /// Whether the caller may speak for `voter`.
    fn comes_from(&self, voter: &str, caller: &Caller) -> Result<(), Refused> {
        let Some(peer) = self.settings.peer(voter) else {
            let why = format!("{voter:?} is no peer of {}; list the same peers at every node", self.settings.node);
            return Err(Refused(StatusCode::FORBIDDEN, why));
        };
        if !self.settings.trust.verify_source || self.addresses.has(&peer.host, caller.address.ip()) {
            return Ok(());
        }
        Err(strange(caller))
    }

    fn comes_from_any(&self, caller: &Caller) -> Result<(), Refused> {
        let ip = caller.address.ip();
        let known = self.settings.peers.iter().any(|peer| self.addresses.has(&peer.host, ip));
        if known || !self.settings.trust.verify_source { Ok(()) } else { Err(strange(caller)) }
    }

    fn signed(&self, nonce: &str, body: Vec<u8>) -> Response {
        let json = [(axum::http::header::CONTENT_TYPE, "application/json")];
        match &self.secret {
            None => (json, body).into_response(),
            Some(secret) => {
                let signature = secret.sign(&[b"answer", nonce.as_bytes(), &body]);
                (json, [(sign::SIGNATURE, signature)], body).into_response()
            }
        }
    }
}

fn strange(caller: &Caller) -> Refused {
    let why = format!(
        "{} is no address of that peer; mend the peers' addresses, or verify_source: false behind a translator",
        caller.address.ip()
    );
    Refused(StatusCode::FORBIDDEN, why)
}
