//! This node's own vote, from the process that decides: in the same process, or in the local server's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use goahead_rules::gate::{self, Answer, Ask, Report};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::clock;
use super::snapshot::Snapshot;
use super::unix;
use super::voting::{self, Own, Voting};

/// The socket of a local server, in the state directory.
pub const SERVER: &str = "server.sock";
const KNOW: &str = "/v1/gate/know";
const VOTE: &str = "/v1/gate/vote";
const SHOW: &str = "/v1/gate/show";
const HEARD: &str = "/v1/gate/heard";

/// Where this node's vote is.
pub enum OwnVoter {
    /// In this process
    Here(Arc<Voting>),
    /// In the local server's, behind its socket
    There(Box<There>),
}

/// The vote behind a socket.
pub struct There {
    socket: PathBuf,
    rules: gate::Settings,
    /// What the server was told last
    own: Own,
    /// How long a call may take
    limit: Duration,
}

/// What a peer said of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Heard {
    peer: String,
    report: Report,
}

impl OwnVoter {
    /// Behind the socket in `state_dir`; a call takes at most `limit`.
    pub fn there(state_dir: &Path, rules: gate::Settings, limit: Duration) -> Self {
        Self::There(Box::new(There { socket: state_dir.join(SERVER), rules, own: Own::default(), limit }))
    }

    /// Has others told what the node knows of itself.
    ///
    /// # Errors
    /// When the local server does not answer: others may go on hearing what was so before.
    pub async fn know(&mut self, now: Own) -> Result<(), String> {
        match self {
            Self::Here(voting) => voting.know(now),
            Self::There(there) => {
                unix::call::<()>(&there.socket, KNOW, &now, there.limit).await?;
                there.own = now;
            }
        }
        Ok(())
    }

    /// What others are told of this node now.
    pub fn report(&self) -> Report {
        match self {
            Self::Here(voting) => voting.report(),
            Self::There(there) => voting::report(&there.own, &there.rules, clock::now()),
        }
    }

    /// Asks for the vote.
    ///
    /// # Errors
    /// When the local server does not answer.
    pub async fn ask(&self, ask: &Ask) -> Result<Answer, String> {
        match self {
            Self::Here(voting) => Ok(voting.answer(ask)),
            Self::There(there) => unix::call(&there.socket, VOTE, ask, there.limit)
                .await
                .map_err(|why| format!("its vote is with goahead gate --server-only, and {why}")),
        }
    }

    /// Has the voter take note of what a peer said of itself.
    pub async fn hear(&self, peer: &str, report: &Report) {
        match self {
            Self::Here(voting) => voting.hear(peer, report),
            Self::There(there) => {
                let heard = Heard { peer: peer.to_owned(), report: report.clone() };
                // It hears it in the next round again.
                let _ = unix::call::<()>(&there.socket, HEARD, &heard, there.limit).await;
            }
        }
    }

    /// Has the local server show a round; in one process it is shown already.
    ///
    /// # Errors
    /// When the local server does not answer.
    pub async fn show(&self, snapshot: &Snapshot) -> Result<(), String> {
        match self {
            Self::Here(_) => Ok(()),
            Self::There(there) => unix::call(&there.socket, SHOW, snapshot, there.limit).await,
        }
    }
}

/// What the local server does for the process that decides.
#[derive(Clone)]
pub struct Desk {
    /// The vote
    pub voting: Arc<Voting>,
    /// What the server shows
    pub shown: Arc<watch::Sender<Arc<Snapshot>>>,
}

impl Desk {
    /// The paths of the socket.
    pub fn router(self) -> Router {
        Router::new()
            .route(
                KNOW,
                post(async |State(desk): State<Self>, Json(own): Json<Own>| {
                    desk.voting.know(own);
                    Json(())
                }),
            )
            .route(VOTE, post(async |State(desk): State<Self>, Json(ask): Json<Ask>| Json(desk.voting.answer(&ask))))
            .route(
                HEARD,
                post(async |State(desk): State<Self>, Json(heard): Json<Heard>| {
                    desk.voting.hear(&heard.peer, &heard.report);
                    Json(())
                }),
            )
            .route(
                SHOW,
                post(async |State(desk): State<Self>, Json(snapshot): Json<Snapshot>| {
                    desk.shown.send_replace(Arc::new(snapshot));
                    Json(())
                }),
            )
            .with_state(self)
    }
}
