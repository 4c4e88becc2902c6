//! Waits that end: every one has a bound, and passing it fails the test with the name of what did not come.

use std::time::{Duration, Instant};

/// Long enough for a loaded machine, short enough to notice.
pub const BOUND: Duration = Duration::from_secs(30);

/// How often a condition without a notification is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits for a future.
///
/// # Panics
/// When it takes longer than [`BOUND`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(BOUND, future).await {
        Ok(value) => value,
        Err(_) => panic!("within {} s there was no {what}", BOUND.as_secs()),
    }
}

/// Waits until `look` finds something, on the calling thread.
///
/// # Panics
/// When that takes longer than [`BOUND`].
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + BOUND;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "within {} s there was no {what}", BOUND.as_secs());
        std::thread::sleep(LOOK_EVERY);
    }
}
