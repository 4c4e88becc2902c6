//! Keeps the load's core from going idle while a closed loop is measured.
//!
//! Who sends to a program that sleeps wakes its core, and where cores are virtual that costs the sender some microseconds of
//! its own. The relay keeps the load busy without a pause and pays nothing of it; a server that does more for each message
//! would pay it with each, and on a real network nobody would.

use tokio::task::AbortHandle;

/// Between two looks for what has come: a core's other half can do something meanwhile.
const PAUSES: u32 = 50;

/// Until it is dropped.
pub struct Awake(AbortHandle);

impl Awake {
    /// From here on the runtime looks for what has come, and never waits for it.
    #[must_use]
    pub fn begin() -> Self {
        let turning = tokio::spawn(async {
            loop {
                (0..PAUSES).for_each(|_| std::hint::spin_loop());
                tokio::task::yield_now().await;
            }
        });
        Self(turning.abort_handle())
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.abort();
    }
}
