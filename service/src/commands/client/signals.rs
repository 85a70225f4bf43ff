//! SIGINT and SIGTERM: what runs is told to end, and the client ends with it.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::log::Stop;

/// Whether the client was told to end.
#[derive(Debug, Clone)]
pub struct Signals(watch::Receiver<bool>);

impl Signals {
    /// Starts to listen; from here on neither signal ends this process by itself.
    ///
    /// # Errors
    /// When the operating system refuses a handler.
    pub fn listen() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            sender.send_replace(true);
            // Receivers take a sender that is gone for a signal; this one stays until the runtime ends.
            sender.closed().await;
        });
        Ok(Self(receiver))
    }

    /// Waits for a signal.
    pub fn received(&self) -> impl Future<Output = ()> + use<> {
        let mut receiver = self.0.clone();
        async move {
            // The sender lives as long as the runtime that polls this.
            let _ = receiver.wait_for(|told| *told).await;
        }
    }

    /// Ends the run if a signal came.
    ///
    /// # Errors
    /// When one came.
    pub fn check(&self) -> Result<(), Stop> {
        if *self.0.borrow() { Err(interrupted()) } else { Ok(()) }
    }

    /// Does `work`, unless a signal comes before it is done.
    ///
    /// # Errors
    /// When one comes.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            done = work => Ok(done),
            () = self.received() => Err(interrupted()),
        }
    }
}

fn interrupted() -> Stop {
    Stop::fatal("Told to end by a signal; not restarting")
}
