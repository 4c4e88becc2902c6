//! What people do and wait for: a message until its acknowledgement, a page of history.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use posthouse_client::new_client_msg_id;
use posthouse_e2e::{Device, Server};
use posthouse_protocol::{ConversationId, History, HistoryParams};

/// Messages of a full page.
const PAGE_LEN: u32 = 100;

/// Bytes of a long message; a page of them fits into a frame.
const TEXT_LEN: usize = 1_000;

/// Somebody with a conversation of her own.
pub struct Person {
    device: Device,
    notes: ConversationId,
}

impl Person {
    pub async fn arrive(server: &Server, name: &str) -> Self {
        server.add_account(name);
        let device = Device::log_in(&server.url(), name).await;
        let notes = device.direct(name).await;
        Self { device, notes }
    }

    /// Writes so many messages at once, again and again, until the server is gone.
    pub async fn flood(&self, at_once: usize) {
        let writers = (0..at_once)
            .map(|_| async { while self.device.try_send(self.notes, new_client_msg_id(), "Water.").await.is_ok() {} });
        join_all(writers).await;
    }

    /// Writes a page full of long messages, all at once.
    pub async fn fill_page(&self) {
        let text = "x".repeat(TEXT_LEN);
        join_all((0..PAGE_LEN).map(|_| self.device.send(self.notes, &text))).await;
    }

    /// How long each of so many messages waits for its acknowledgement, with a pause before each.
    pub async fn send(&self, count: usize, pause: Duration) -> Vec<Duration> {
        let mut waits = Vec::with_capacity(count);
        for _ in 0..count {
            tokio::time::sleep(pause).await;
            let began = Instant::now();
            self.device.send(self.notes, "Are the horses ready?").await;
            waits.push(began.elapsed());
        }
        waits
    }

    /// How long the last page of the conversation takes to come.
    pub async fn read_page(&self) -> Duration {
        let params = HistoryParams { limit: Some(PAGE_LEN), ..HistoryParams::newest(self.notes) };
        let began = Instant::now();
        let page = self.device.client.call::<History>(&params).await.expect("the history");
        assert_eq!(u32::try_from(page.messages.len()), Ok(PAGE_LEN), "the page is not full");
        began.elapsed()
    }
}
