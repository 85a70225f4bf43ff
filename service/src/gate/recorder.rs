//! Copying the audit into `goahead.events`: here when this node's database is the open primary, else through the peer
//! that says its is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use goahead_rules::gate::RwDoor;
use tokio::sync::{Mutex, watch};
use tokio::time::sleep;

use super::audit::{Entry, Waiting};
use super::database::Session;
use super::peers::{AUDIT, Asker};
use super::settings::Settings;
use super::snapshot::Snapshot;

/// Between two looks at what waits.
const PAUSE: Duration = Duration::from_millis(500);
/// After a copy that failed.
const AGAIN: Duration = Duration::from_secs(5);
/// How long one copy may take.
pub const LIMIT: Duration = Duration::from_secs(2);

/// Writes into the local database, for this gate and for its peers.
pub struct Recorder(Mutex<Session>);

impl Recorder {
    /// Connects when there is something to write.
    ///
    /// # Errors
    /// What is wrong with the address of the database.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self(Mutex::new(Session::new(&settings.database, None, LIMIT)?)))
    }

    /// Writes one entry, a JSON object.
    ///
    /// # Errors
    /// Why it is not written, or unknown.
    pub async fn record(&self, entry: &str) -> Result<(), String> {
        self.0.lock().await.record(entry, LIMIT).await.map_err(|trouble| trouble.to_string())
    }
}

/// What copies.
pub struct Copier {
    /// What the operator chose
    pub settings: Arc<Settings>,
    /// What is to be copied
    pub waiting: Waiting,
    /// Where to note what is copied
    pub directory: PathBuf,
    /// The local database; none: there is none
    pub recorder: Option<Arc<Recorder>>,
    /// The peers
    pub asker: Arc<Asker>,
    /// Who is open
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
}

impl Copier {
    /// Copies for ever.
    pub async fn run(self) {
        let mut said = None;
        loop {
            let Some(entry) = self.waiting.first() else {
                sleep(PAUSE).await;
                continue;
            };
            match self.copy(&entry).await {
                Some(Ok(())) => {
                    if let Err(error) = self.waiting.copied(&entry.id, &self.directory) {
                        tracing::debug!(%error, "what is copied cannot be noted; it is copied again some day");
                    }
                    said = None;
                }
                Some(Err(why)) => {
                    if said.as_ref() != Some(&why) {
                        tracing::warn!("the audit is not in goahead.events yet: {why}");
                        said = Some(why);
                    }
                    sleep(AGAIN).await;
                }
                None => sleep(PAUSE).await,
            }
        }
    }

    /// None: nobody is known to be open.
    async fn copy(&self, entry: &Entry) -> Option<Result<(), String>> {
        let snapshot = self.snapshot.borrow().clone();
        let text = serde_json::to_string(entry).unwrap_or_default();
        if snapshot.rw_open() {
            return Some(self.recorder.as_ref()?.record(&text).await);
        }
        let open = |report: &goahead_rules::gate::Report| matches!(report.rw, RwDoor::Open);
        let open = snapshot.peers.iter().find(|peer| peer.report.as_ref().is_some_and(open))?;
        let peer = self.settings.peers.iter().find(|peer| peer.authority() == open.address)?;
        let sent = self.asker.post(peer, AUDIT, text.into_bytes(), LIMIT).await;
        Some(sent.map(drop).map_err(|silence| format!("{}: {silence}", open.label)))
    }
}
