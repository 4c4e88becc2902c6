//! What the writer decides by, in memory: who there is, who talks to whom, where each conversation stands.
//!
//! Owned by the writer's thread and by nobody else; loaded from the database at start, after the log was
//! replayed. A conversation costs some 200 bytes, so that 100,000 of them fit a Pi with 2 GB.

use std::collections::HashMap;
use std::sync::Arc;

use posthouse_protocol::{Account, AccountId, ConversationId, ConversationKind};
use redb::{Database, ReadableDatabase, ReadableTable};

use super::StoreError;
use super::record::decode_json;
use super::rows::{AccountRow, ConversationRow, MembershipRow, RowTable, number_of, pair_of};
use super::tables::{HEADS, LOG, META, each_row};

/// Everything that decisions need.
#[derive(Default)]
pub(super) struct State {
    pub last_gseq: u64,
    pub last_account: u64,
    pub last_conversation: u64,
    pub accounts: HashMap<AccountId, Account>,
    /// Name → account.
    pub usernames: HashMap<String, AccountId>,
    pub conversations: HashMap<ConversationId, Conversation>,
    /// (lower, higher) → their direct conversation.
    pub direct: HashMap<(AccountId, AccountId), ConversationId>,
}

/// A conversation, as far as decisions need it at hand.
pub(super) struct Conversation {
    #[expect(dead_code, reason = "there are direct conversations only")]
    pub kind: ConversationKind,
    /// Who is in it now, in ascending order; shared with what is on its way to them.
    pub members: Arc<[AccountId]>,
    pub last_seq: u64,
    /// How many messages that count as unread it has had.
    pub last_counted: u64,
    /// Of the newest message, in milliseconds.
    pub last_ts: u64,
}

impl State {
    /// Reads the state that is in the database.
    pub fn load(database: &Database) -> Result<Self, StoreError> {
        let txn = database.begin_read().map_err(StoreError::database)?;
        let mut state = Self::default();
        let mut members: HashMap<ConversationId, Vec<AccountId>> = HashMap::new();
        each_row(&txn, RowTable::Account, b"", |_, value| state.load_account(value))?;
        each_row(&txn, RowTable::Membership, b"", |key, value| {
            let (account, conversation) = pair_of(key)?;
            let row: MembershipRow = decode_json("a membership", value)?;
            if row.is_current() {
                // In the order of the accounts, as the keys are.
                members.entry(ConversationId(conversation)).or_default().push(AccountId(account));
            }
            Ok::<_, StoreError>(())
        })?;
        each_row(&txn, RowTable::Conversation, b"", |key, value| {
            let conversation_id = ConversationId(number_of(key)?);
            let row: ConversationRow = decode_json("a conversation", value)?;
            let members = members.remove(&conversation_id).unwrap_or_default();
            state.add_conversation(conversation_id, &row, members.into());
            Ok::<_, StoreError>(())
        })?;
        let heads = txn.open_table(HEADS).map_err(StoreError::database)?;
        for entry in heads.iter().map_err(StoreError::database)? {
            let (conversation, head) = entry.map_err(StoreError::database)?;
            if let Some(conversation) = state.conversations.get_mut(&ConversationId(conversation.value())) {
                let (seq, counted, ts, _) = head.value();
                (conversation.last_seq, conversation.last_counted, conversation.last_ts) = (seq, counted, ts);
            }
        }
        let log = txn.open_table(LOG).map_err(StoreError::database)?;
        let kept = log.last().map_err(StoreError::database)?.map_or(0, |(gseq, _)| gseq.value());
        let meta = txn.open_table(META).map_err(StoreError::database)?;
        let floor = meta.get("floor").map_err(StoreError::database)?.map_or(0, |floor| floor.value());
        // A number is never used twice, also where nothing is left of the newest records.
        state.last_gseq = kept.max(floor);
        Ok(state)
    }

    /// Adds an account.
    pub fn add_account(&mut self, account: Account) {
        self.last_account = self.last_account.max(account.account_id.0);
        self.usernames.insert(account.username.as_str().to_owned(), account.account_id);
        self.accounts.insert(account.account_id, account);
    }

    /// Adds a conversation without messages.
    pub fn add_conversation(
        &mut self,
        conversation_id: ConversationId,
        row: &ConversationRow,
        members: Arc<[AccountId]>,
    ) {
        if let Some([low, high]) = row.direct {
            self.direct.insert((low, high), conversation_id);
        }
        self.last_conversation = self.last_conversation.max(conversation_id.0);
        let conversation = Conversation { kind: row.kind, members, last_seq: 0, last_counted: 0, last_ts: 0 };
        self.conversations.insert(conversation_id, conversation);
    }

    fn load_account(&mut self, value: &[u8]) -> Result<(), StoreError> {
        let row: AccountRow = decode_json("an account", value)?;
        self.add_account(row.account);
        Ok(())
    }
}
