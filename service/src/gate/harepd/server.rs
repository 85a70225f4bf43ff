//! Answers to harepds, from the local `repmgr.nodes`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::future::BoxFuture;
use goahead_rules::gate::RepmgrNode;
use goahead_rules::gate::harepd::i_know;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tonic::Status;
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::super::database::Session;
use super::super::settings::Settings;
use super::messages::{IKnow, WhatYouKnow};
use super::{LONGEST, PATH};

/// How long an answer of the database serves all callers: they are not asked who they are.
const FRESH: Duration = Duration::from_secs(1);

/// The rows of `repmgr.nodes`.
pub trait Nodes: Send + Sync + 'static {
    /// All of them.
    ///
    /// The error says why they cannot be read, for people.
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<RepmgrNode>, String>>;
}

/// The rows as the local database has them, asked at most once a second.
pub struct Table {
    asked: Mutex<Asked>,
    limit: Duration,
}

struct Asked {
    session: Session,
    last: Option<(Instant, Result<Vec<RepmgrNode>, String>)>,
}

impl Table {
    /// Of these settings' database.
    ///
    /// # Errors
    /// What is wrong with its address.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let limit = settings.timings.deadline;
        let session = Session::new(&settings.database, settings.repmgr_database.as_deref(), limit)?;
        Ok(Self { asked: Mutex::new(Asked { session, last: None }), limit })
    }
}

impl Nodes for Table {
    fn nodes(&self) -> BoxFuture<'_, Result<Vec<RepmgrNode>, String>> {
        Box::pin(async {
            let busy = |_| "the database takes too long to answer".to_owned();
            let mut asked = timeout(self.limit, self.asked.lock()).await.map_err(busy)?;
            if let Some((_, last)) = asked.last.as_ref().filter(|(when, _)| when.elapsed() < FRESH) {
                return last.clone();
            }
            let read = asked.session.source(self.limit).await.map_err(|trouble| trouble.to_string());
            // Kept open it would hold up the server's own end.
            asked.session.close();
            asked.last = Some((Instant::now(), read.clone()));
            read
        })
    }
}

/// What answers.
pub struct Server {
    ip: String,
    node: String,
    nodes: Box<dyn Nodes>,
}

impl Server {
    /// Answers as the node of these settings.
    pub fn new(settings: &Settings, nodes: Box<dyn Nodes>) -> Arc<Self> {
        let listen = settings.peer_listen.map(|address| address.ip()).filter(|ip| !ip.is_unspecified());
        let ip = listen.or(settings.harepd.as_ref().map(|harepd| harepd.primary_ip));
        let ip = ip.map(|ip| ip.to_string()).unwrap_or_default();
        Arc::new(Self { ip, node: settings.node.clone(), nodes })
    }

    async fn tell(&self, asker: &WhatYouKnow) -> Result<IKnow, Status> {
        tracing::debug!(ip = ?asker.ip, node_id = asker.node_id, node = ?asker.node_name, "a harepd asks");
        let rows = self.nodes.nodes().await.map_err(|why| Status::unavailable(format!("repmgr.nodes: {why}")))?;
        let known = i_know(&rows, &self.node);
        Ok(IKnow {
            ip: self.ip.clone(),
            node_id: known.node_id,
            node_name: known.node_name,
            witness: known.witness,
            slaves: known.slaves,
            master: known.master,
        })
    }
}

/// The path that harepds call; to be merged with what else the peer listener answers.
///
/// As with harepd whoever reaches it is answered: it tells addresses of nodes and nothing else.
pub fn routes(server: Arc<Server>) -> Router {
    Router::new().route(PATH, post(answer)).with_state(server)
}

async fn answer(State(server): State<Arc<Server>>, request: Request) -> Response {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/grpc") {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "gRPC is spoken here\n").into_response();
    }
    let tell = service_fn(move |question: tonic::Request<WhatYouKnow>| {
        let server = server.clone();
        async move { server.tell(question.get_ref()).await.map(tonic::Response::new) }
    });
    let mut grpc =
        tonic::server::Grpc::new(ProstCodec::<IKnow, WhatYouKnow>::default()).max_decoding_message_size(LONGEST);
    grpc.unary(tell, request).await.map(Body::new)
}
