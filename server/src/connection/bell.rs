//! Asks a source again only once it has rung.
//!
//! A connection waits for several things at once, and each of them that happens has all of them asked, though nearly all
//! have nothing new. For some, being asked is most of the work: a WebSocket prepares a buffer, registers twice and tries to read. Such
//! a source gets a waker of its own here, and until that was called it is not asked a second time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::task::{ArcWake, AtomicWaker, waker_ref};

/// Remembers whether a source has called since it was last asked.
pub(super) struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

impl ArcWake for Bell {
    fn wake_by_ref(bell: &Arc<Self>) {
        bell.rung.store(true, Ordering::Release);
        bell.task.wake();
    }
}

impl Bell {
    /// Of a source that was never asked.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { rung: AtomicBool::new(true), task: AtomicWaker::new() })
    }

    /// Asks the source, if it has rung. It must keep the waker that it is asked with until it has something.
    pub fn poll<T>(self: &Arc<Self>, context: &Context<'_>, ask: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        // First, so that a call from here on wakes the task.
        self.task.register(context.waker());
        if !self.rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let answer = ask(&mut Context::from_waker(&waker_ref(self)));
        if answer.is_ready() {
            // It may have more, and calls only after it had nothing.
            self.rung.store(true, Ordering::Relaxed);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use futures_util::poll;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_source_is_asked_again_when_it_has_rung_and_not_before() {
        let bell = Bell::new();
        let (mut asked, mut kept) = (0, None::<Waker>);
        let mut ask = |answer: Poll<()>| {
            let (asked, kept) = (&mut asked, &mut kept);
            let source = |context: &mut Context<'_>| {
                *asked += 1;
                *kept = Some(context.waker().clone());
                answer
            };
            let result = source_behind(&bell, source);
            (result, *asked, kept.clone().expect("it was asked"))
        };
        assert_eq!(ask(Poll::Ready(())).1, 1);
        let (_, asked, waker) = ask(Poll::Pending);
        assert_eq!(asked, 2, "it may have more");
        assert_eq!((ask(Poll::Ready(())).0, ask(Poll::Ready(())).1), (Poll::Pending, 2), "it has nothing");
        waker.wake();
        assert_eq!((ask(Poll::Pending).1, ask(Poll::Ready(())).0), (3, Poll::Pending));
    }

    fn source_behind(bell: &Arc<Bell>, source: impl FnOnce(&mut Context<'_>) -> Poll<()>) -> Poll<()> {
        bell.poll(&Context::from_waker(Waker::noop()), source)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_that_comes_from_elsewhere_is_missed() {
        const COUNT: u32 = 100_000;
        let (sender, mut receiver) = mpsc::channel(1);
        let sending = tokio::spawn(async move {
            for number in 0..COUNT {
                sender.send(number).await.expect("it is taken");
            }
        });
        let bell = Bell::new();
        for expected in 0..COUNT {
            let next = poll_fn(|context| bell.poll(context, |context| receiver.poll_recv(context)));
            assert_eq!(next.await, Some(expected));
        }
        sending.await.expect("all are sent");
        let mut end = Box::pin(poll_fn(|context| bell.poll(context, |context| receiver.poll_recv(context))));
        assert_eq!(poll!(&mut end), Poll::Ready(None));
    }
}
