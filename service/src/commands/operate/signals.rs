//! SIGINT and SIGTERM: the first lets what runs finish, the second ends it.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How often this process was told to end.
#[derive(Debug, Clone)]
pub struct Signals(watch::Receiver<u32>);

impl Signals {
    /// Starts to listen; from here on neither signal ends this process by itself.
    ///
    /// # Errors
    /// When the operating system refuses a handler.
    pub fn listen() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (sender, receiver) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                sender.send_modify(|times| *times += 1);
            }
        });
        Ok(Self(receiver))
    }

    /// Whether one came.
    pub fn came(&self) -> bool {
        *self.0.borrow() > 0
    }

    /// Waits until `times` have come.
    pub async fn wait(&self, times: u32) {
        let mut receiver = self.0.clone();
        // The sender lives as long as the runtime that polls this.
        if receiver.wait_for(|came| *came >= times).await.is_err() {
            std::future::pending().await
        }
    }

    /// Does `work`, unless a signal comes first.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.wait(1) => None,
        }
    }
}
