//! A network link that does as the simulator says: what is in flight arrives when it is delivered, or never.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::super::transport::{Ended, Received, Transport};

/// Frames that the link takes from the server before the server has to wait: a socket's buffers.
const IN_FLIGHT_MAX: usize = 8;

/// What the client sends.
pub enum Up {
    Frame(String),
    Alive,
}

/// What the server sends.
pub enum Down {
    Frame(Utf8Bytes),
    Ping,
    Close(u16),
}

#[derive(Default)]
struct State {
    /// Sent by the client, still in the network.
    sent: VecDeque<Up>,
    /// Arrived at the server and not read yet.
    arrived: VecDeque<Up>,
    /// Sent by the server, not read by the client yet.
    down: VecDeque<Down>,
    /// The server has noticed that the client is gone.
    is_cut: bool,
}

/// Both ends hold one.
#[derive(Clone, Default)]
pub struct Link {
    state: Arc<Mutex<State>>,
    /// Something arrived at the server, or the link was cut.
    arrival: Arc<Notify>,
    /// The client has read.
    room: Arc<Notify>,
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds it")
    }

    /// The client's program writes.
    pub fn send(&self, up: Up) {
        self.lock().sent.push_back(up);
    }

    /// Some of what the client sent reaches the server.
    pub fn deliver_up(&self, most: usize) -> bool {
        let mut state = self.lock();
        let count = most.min(state.sent.len());
        let arrived: Vec<_> = state.sent.drain(..count).collect();
        state.arrived.extend(arrived);
        drop(state);
        self.arrival.notify_one();
        count > 0
    }

    /// Some of what the server sent reaches the client.
    pub fn deliver_down(&self, most: usize) -> Vec<Down> {
        let mut state = self.lock();
        let count = most.min(state.down.len());
        let arrived = state.down.drain(..count).collect();
        drop(state);
        self.room.notify_one();
        arrived
    }

    /// The network loses what is in flight from the client; what has arrived is still read.
    pub fn lose_up(&self) {
        self.lock().sent.clear();
    }

    /// The server notices that the client is gone.
    pub fn cut(&self) {
        self.lock().is_cut = true;
        self.arrival.notify_one();
        self.room.notify_one();
    }

    async fn push(&self, down: Down) -> Result<(), Ended> {
        loop {
            {
                let mut state = self.lock();
                if state.is_cut {
                    return Err(Ended::Gone);
                }
                if state.down.len() < IN_FLIGHT_MAX {
                    state.down.push_back(down);
                    return Ok(());
                }
            }
            self.room.notified().await;
        }
    }
}

/// The server's end.
pub struct SimulatedTransport(pub Link);

impl Transport for SimulatedTransport {
    type Reply = ();

    const IS_TWO_WAY: bool = true;

    async fn next(&mut self) -> Result<Received<()>, Ended> {
        loop {
            {
                let mut state = self.0.lock();
                match state.arrived.pop_front() {
                    Some(Up::Frame(frame)) => return Ok(Received::Frame(frame.into(), ())),
                    Some(Up::Alive) => return Ok(Received::Alive),
                    None if state.is_cut => return Err(Ended::Gone),
                    None => {}
                }
            }
            self.0.arrival.notified().await;
        }
    }

    async fn answer(&mut self, (): (), frame: Utf8Bytes) -> Result<(), Ended> {
        self.0.push(Down::Frame(frame)).await
    }

    async fn feed(&mut self, event: Utf8Bytes) -> Result<(), Ended> {
        self.0.push(Down::Frame(event)).await
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), Ended> {
        self.0.push(Down::Ping).await
    }

    async fn close(&mut self, code: u16, _reason: &'static str) {
        // Behind what waits: a client that never reads again never learns it.
        let _ = self.0.push(Down::Close(code)).await;
    }
}
