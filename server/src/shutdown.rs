//! How every part learns that the server stops.

use tokio::sync::watch;

/// Makes both ends.
pub fn channel() -> (ShutdownSender, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (ShutdownSender(sender), Shutdown(receiver))
}

/// The end that says it.
pub struct ShutdownSender(watch::Sender<bool>);

impl ShutdownSender {
    /// Tells every part, now and in the future.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

/// The end that waits for it; clones wait for the same.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Ends when the server is to stop, or at once if it already is. Safe to drop before.
    pub async fn requested(&mut self) {
        // A sender that is gone means the same.
        let _ = self.0.wait_for(|requested| *requested).await;
    }
}
