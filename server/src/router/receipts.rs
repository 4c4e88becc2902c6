//! Receipts: gathered in memory, written as one command a flush, and told once a conversation and flush.
//!
//! What is gathered and not yet written is lost with the server: the client says it again with its next receipt. What
//! moves nothing, as clients say it again after each reconnect, is neither written nor told.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use posthouse_protocol::{
    AccountId, ConversationId, Empty, ErrorBody, Event, Mark, Push, Receipt, ReceiptParams, Receipts, ReceiptsGet,
    ReceiptsGetParams, Seq,
};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::call::{Caller, Read};
use super::{Inner, Router, invalid, refused, store_failed};
use crate::store::{MarksMove, Refusal, Snapshot, Step, StoreError};

/// For so long receipts are gathered.
const GATHER: Duration = Duration::from_millis(500);

type Member = (AccountId, ConversationId);

/// What has come since the last flush.
#[derive(Default)]
pub(super) struct Gathered {
    steps: Mutex<HashMap<Member, Gathering>>,
    some: Notify,
}

/// A member's way since the last flush: how far it was, and how far it is to come, or 0 where it stays.
#[derive(Clone, Copy)]
struct Gathering {
    from: Mark,
    read: u64,
    delivered: u64,
}

impl Gathered {
    /// Keeps the furthest of what lies ahead of `from`; `last` is the newest message, so far as it is known.
    fn add(&self, member: Member, from: Mark, last: Seq, params: &ReceiptParams) {
        let ahead = |to: Seq, from: Seq| if to.min(last) > from { to.0 } else { 0 };
        let read = params.read.unwrap_or(Seq(0));
        let delivered = params.delivered.unwrap_or(Seq(0)).max(read);
        let (read, delivered) = (ahead(read, from.read), ahead(delivered, from.delivered));
        if read == 0 && delivered == 0 {
            return;
        }
        let mut steps = self.lock();
        let step = steps.entry(member).or_insert(Gathering { from, read, delivered });
        (step.read, step.delivered) = (step.read.max(read), step.delivered.max(delivered));
        drop(steps);
        self.some.notify_one();
    }

    /// How far the member was, where it was found to be one since the last flush.
    fn known(&self, member: Member) -> Option<Mark> {
        self.lock().get(&member).map(|step| step.from)
    }

    fn take(&self) -> Vec<Step> {
        let steps = std::mem::take(&mut *self.lock());
        let step = |((account_id, conversation_id), Gathering { read, delivered, .. })| Step {
            account_id,
            conversation_id,
            read,
            delivered,
        };
        steps.into_iter().map(step).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Member, Gathering>> {
        // Every change under the lock leaves the map whole, so that a panic elsewhere does not matter.
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Receipt {
    type Answer = Empty;

    async fn read(inner: &Inner, caller: Caller, params: ReceiptParams) -> Result<Empty, ErrorBody> {
        if params.read.is_none() && params.delivered.is_none() {
            return Err(invalid("read, delivered: one of them at least"));
        }
        let member = (caller.account_id, params.conversation_id);
        let (from, last) = match inner.receipts.known(member) {
            // There may be newer messages than when that was read.
            Some(from) => (from, Seq(u64::MAX)),
            None => {
                let found = inner.read(move |snapshot| snapshot.mark_of(member.0, member.1)).await?;
                found.ok_or_else(|| refused(Refusal::NoSuchConversation))?
            }
        };
        inner.receipts.add(member, from, last, &params);
        Ok(Empty {})
    }
}

impl Read for ReceiptsGet {
    type Answer = Receipts;

    async fn read(inner: &Inner, caller: Caller, params: ReceiptsGetParams) -> Result<Receipts, ErrorBody> {
        inner
            .read(move |snapshot| snapshot.receipts(caller.account_id, params.conversation_id))
            .await?
            .ok_or_else(|| refused(Refusal::NoSuchConversation))
    }
}

impl Router {
    /// Writes and tells what was gathered, until the store ends.
    pub async fn flush_receipts(self) {
        loop {
            self.inner.receipts.some.notified().await;
            tokio::time::sleep(GATHER).await;
            for steps in self.inner.receipts.take().chunks(MarksMove::LEN_MAX) {
                if let Err(error) = self.inner.flush(steps.to_vec()).await {
                    // That the store has stopped is no failure.
                    if !matches!(error, StoreError::Stopped) {
                        store_failed(&error);
                    }
                    return;
                }
            }
        }
    }
}

impl Inner {
    async fn flush(&self, steps: Vec<Step>) -> Result<(), StoreError> {
        let command = MarksMove { steps: steps.clone() };
        if self.store.write(command).await?.is_err() {
            return Ok(());
        }
        for (recipients, event) in self.store.read(move |snapshot| told(snapshot, &steps)).await? {
            let frame = serde_json::to_string(&Push { cursor: None, event }).expect("events have string keys");
            self.registry.deliver_lossy(&recipients, &Utf8Bytes::from(frame));
        }
        Ok(())
    }
}

/// Who is to be told what.
fn told(snapshot: &Snapshot, steps: &[Step]) -> Result<Vec<(Vec<AccountId>, Event)>, StoreError> {
    let mut moved: BTreeMap<ConversationId, Vec<AccountId>> = BTreeMap::new();
    let mut events = Vec::new();
    for step in steps {
        let Some(state) = snapshot.read_state(step.account_id, step.conversation_id)? else { continue };
        moved.entry(step.conversation_id).or_default().push(step.account_id);
        if step.read > 0 {
            events.push((vec![step.account_id], Event::ReadState(state)));
        }
    }
    for (conversation_id, mut accounts) in moved {
        accounts.sort_unstable();
        let members = snapshot.member_ids(conversation_id)?;
        let receipts = snapshot.receipts_of(conversation_id, &members, &accounts)?;
        events.push((members, Event::Receipts(receipts)));
    }
    Ok(events)
}
