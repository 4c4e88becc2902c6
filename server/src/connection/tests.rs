//! A connection's clockwork, on a virtual clock and with a transport that does as the test says.

use std::convert::Infallible;

use futures_util::FutureExt;

use super::*;
use crate::admission::{Admission, Allowance};
use crate::shutdown;
use crate::store::{Store, StoreParts};

/// Far behind the time at which a silent client is let go.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// A client that never says a word.
struct Mute {
    pings: u32,
}

impl Transport for Mute {
    type Reply = ();

    const IS_TWO_WAY: bool = true;

    async fn next(&mut self) -> Result<Received<()>, Ended> {
        std::future::pending().await
    }

    async fn answer(&mut self, (): (), _frame: Utf8Bytes) -> Result<(), Ended> {
        Ok(())
    }

    async fn feed(&mut self, _event: Utf8Bytes) -> Result<(), Ended> {
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), Ended> {
        self.pings += 1;
        Ok(())
    }

    async fn close(&mut self, _code: u16, _reason: &'static str) {}
}

/// How the connection of a mute client ends while so many of its requests are under way, after how long, and how
/// often the client was asked for a sign of life.
async fn end_of_a_mute_client(under_way: usize) -> (u16, Duration, u32) {
    let folder = tempfile::tempdir().expect("a folder");
    let StoreParts { store, last_gseq, published: _published, ended: _ended, .. } =
        Store::open(folder.path()).expect("a store");
    let admission = Admission::new(Allowance::for_this_machine());
    let visitor = Arc::new(admission.enter([127, 0, 0, 1].into(), now()).expect("a place"));
    let router = Router::new(store, last_gseq);
    let (sender, outbox) = outbox();
    let mut connection = Connection {
        transport: Mute { pings: 0 },
        session: Session::new(now()).with_patience(now(), PATIENCE),
        wire: Wire {
            origin: router.next_origin(),
            visitor: Arc::clone(&visitor),
            resume: None,
            cookie: None,
            closed_to_others: None,
            outbox: sender,
        },
        router,
        visitor,
        outbox,
        running: FuturesUnordered::new(),
        silence: Duration::ZERO,
        has_asked: false,
    };
    for _ in 0..under_way {
        connection.running.push(std::future::pending().boxed());
    }
    let (_keep, mut stopping) = shutdown::channel();
    let begun = now();
    let Err(Ended::Close(code, _)): Result<Infallible, _> = connection.run(&mut stopping).await else {
        panic!("a mute client does not leave by itself");
    };
    (code, now() - begun, connection.transport.pings)
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_while_the_server_listens_is_let_go() {
    let (code, after, pings) = end_of_a_mute_client(0).await;
    assert_eq!((code, after.as_secs(), pings), (close::IDLE, 2 * limits::PING_INTERVAL_S, 1));
    let (code, after, _) = end_of_a_mute_client(limits::REQUESTS_IN_FLIGHT_MAX - 1).await;
    assert_eq!((code, after.as_secs()), (close::IDLE, 2 * limits::PING_INTERVAL_S));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_its_answers_is_not_silent_while_the_server_reads_nothing() {
    let (code, after, _) = end_of_a_mute_client(limits::REQUESTS_IN_FLIGHT_MAX).await;
    assert_eq!((code, after), (close::REAUTHENTICATE, PATIENCE), "only the time to connect ends it");
}
