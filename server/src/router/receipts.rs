//! Receipts: gathered in memory, written as one command a flush, and told once a conversation and flush.
//!
//! What is gathered and not yet written is lost with the server: the client says it again with its next receipt.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use posthouse_protocol::{
    AccountId, ConversationId, Empty, ErrorBody, Event, Push, Receipt, ReceiptParams, Receipts, ReceiptsGet,
    ReceiptsGetParams,
};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::call::{Caller, Read};
use super::{Inner, Router, invalid, refused, store_failed};
use crate::store::{MarksMove, Refusal, Snapshot, Step, StoreError};

/// For so long receipts are gathered.
const GATHER: Duration = Duration::from_millis(500);

/// What has come since the last flush: the member → (read, delivered).
#[derive(Default)]
pub(super) struct Gathered {
    steps: Mutex<HashMap<(AccountId, ConversationId), (u64, u64)>>,
    some: Notify,
}

impl Gathered {
    /// Keeps the furthest.
    fn add(&self, member: (AccountId, ConversationId), read: u64, delivered: u64) {
        let mut steps = self.lock();
        let step = steps.entry(member).or_default();
        *step = (step.0.max(read), step.1.max(delivered));
        drop(steps);
        self.some.notify_one();
    }

    /// Whether the member was found to be one since the last flush.
    fn has(&self, member: (AccountId, ConversationId)) -> bool {
        self.lock().contains_key(&member)
    }

    fn take(&self) -> Vec<Step> {
        let steps = std::mem::take(&mut *self.lock());
        let step =
            |((account_id, conversation_id), (read, delivered))| Step { account_id, conversation_id, read, delivered };
        steps.into_iter().map(step).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(AccountId, ConversationId), (u64, u64)>> {
        // Every change under the lock leaves the map whole, so that a panic elsewhere does not matter.
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read for Receipt {
    type Answer = Empty;

    async fn read(inner: &Inner, caller: Caller, params: ReceiptParams) -> Result<Empty, ErrorBody> {
        let ReceiptParams { conversation_id, read, delivered } = params;
        if read.is_none() && delivered.is_none() {
            return Err(invalid("read, delivered: one of them at least"));
        }
        let member = (caller.account_id, conversation_id);
        if !inner.receipts.has(member) {
            let found = inner.read(move |snapshot| snapshot.is_member(member.0, member.1)).await?;
            if !found {
                return Err(refused(Refusal::NoSuchConversation));
            }
        }
        inner.receipts.add(member, read.map_or(0, |seq| seq.0), delivered.map_or(0, |seq| seq.0));
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
