//! What the writer decides by, in memory: who there is, who talks to whom, where each conversation stands.
//!
//! Owned by the writer's thread and by nobody else; loaded from the database at start, after the log was
//! replayed. A conversation costs some 200 bytes, so that 100,000 of them fit a Pi with 2 GB.

use std::collections::HashMap;
use std::sync::Arc;

use posthouse_protocol::{AccountId, ConversationId};
use redb::{Database, ReadableDatabase, ReadableTable};

use super::StoreError;
use super::record::{ConversationRow, Malformed, RowTable, decode_json, number_of};
use super::tables::{HEADS, LOG, each_row};

/// Everything that decisions need.
pub(super) struct State {
    pub last_gseq: u64,
    pub last_account: u64,
    pub last_conversation: u64,
    /// Name → account.
    pub usernames: HashMap<String, AccountId>,
    pub conversations: HashMap<ConversationId, Conversation>,
    /// (lower, higher) → their direct conversation.
    pub direct: HashMap<(AccountId, AccountId), ConversationId>,
}

/// A conversation, as far as sending needs it.
pub(super) struct Conversation {
    pub members: Arc<[AccountId]>,
    pub last_seq: u64,
    /// Of the newest message, in milliseconds.
    pub last_ts: u64,
}

impl State {
    /// Reads the state that is in the database.
    pub fn load(database: &Database) -> Result<Self, StoreError> {
        let txn = database.begin_read().map_err(StoreError::database)?;
        let mut state = Self {
            last_gseq: 0,
            last_account: 0,
            last_conversation: 0,
            usernames: HashMap::new(),
            conversations: HashMap::new(),
            direct: HashMap::new(),
        };
        each_row(&txn, RowTable::Username, b"", |name, value| state.load_username(name, value))?;
        each_row(&txn, RowTable::Conversation, b"", |key, value| state.load_conversation(key, value))?;
        let heads = txn.open_table(HEADS).map_err(StoreError::database)?;
        for entry in heads.iter().map_err(StoreError::database)? {
            let (conversation, head) = entry.map_err(StoreError::database)?;
            let (seq, ts, _) = head.value();
            if let Some(conversation) = state.conversations.get_mut(&ConversationId(conversation.value())) {
                (conversation.last_seq, conversation.last_ts) = (seq, ts);
            }
        }
        let log = txn.open_table(LOG).map_err(StoreError::database)?;
        state.last_gseq = log.last().map_err(StoreError::database)?.map_or(0, |(gseq, _)| gseq.value());
        Ok(state)
    }

    /// Adds a direct conversation.
    pub fn add_direct(&mut self, conversation_id: ConversationId, members: Arc<[AccountId]>) {
        if let (Some(low), Some(high)) = (members.first(), members.last()) {
            self.direct.insert((*low, *high), conversation_id);
        }
        self.last_conversation = self.last_conversation.max(conversation_id.0);
        self.conversations.insert(conversation_id, Conversation { members, last_seq: 0, last_ts: 0 });
    }

    fn load_username(&mut self, name: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let account = number_of(value)?;
        let name = String::from_utf8(name.to_vec()).map_err(|_| Malformed("a user name is not UTF-8".to_owned()))?;
        self.last_account = self.last_account.max(account);
        self.usernames.insert(name, AccountId(account));
        Ok(())
    }

    fn load_conversation(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let row: ConversationRow = decode_json("a conversation", value)?;
        self.add_direct(ConversationId(number_of(key)?), row.members.into());
        Ok(())
    }
}
