//! Reading: a snapshot sees one committed state and never waits for the writer nor the applier.

use posthouse_protocol::{Account, AccountId, Conversation, ConversationId, Cursor, Message, Seq, Username, limits};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::StoreError;
use super::record::{
    AccountRow, ConversationRow, DeviceRow, RowTable, decode_json, decode_message, number_key, number_of,
};
use super::tables::{CONVERSATION_LOG, HEADS, LOG, each_row, row};

/// Most bytes of JSON in a page: it has to fit into one frame with its envelope, for which 1 KiB is more
/// than enough. The longest message alone takes some 99,000.
const PAGE_LEN_MAX: usize = limits::FRAME_LEN_MAX - 1024;

/// One committed state of the database.
pub struct Snapshot {
    txn: ReadTransaction,
}

/// A page of a conversation.
pub struct HistoryPage {
    /// Oldest first.
    pub messages: Vec<Message>,
    /// Whether there are older ones.
    pub has_more: bool,
}

impl Snapshot {
    pub(super) fn new(database: &Database) -> Result<Self, StoreError> {
        Ok(Self { txn: database.begin_read().map_err(StoreError::database)? })
    }

    /// The account of that name.
    ///
    /// # Errors
    /// The database's, as for every method here.
    pub fn account_by_name(&self, username: &Username) -> Result<Option<AccountRow>, StoreError> {
        let id = row(&self.txn, RowTable::Username, username.as_str().as_bytes())?;
        id.map_or(Ok(None), |id| self.account(AccountId(number_of(&id)?)))
    }

    /// The account whose device has the token with this SHA-256.
    pub fn account_by_token(&self, token_hash: &[u8; 32]) -> Result<Option<Account>, StoreError> {
        let Some(device) = row(&self.txn, RowTable::Device, token_hash)? else { return Ok(None) };
        let device: DeviceRow = decode_json("a device", &device)?;
        Ok(self.account(device.account_id)?.map(|row| row.account))
    }

    /// Everything up to here is in this snapshot.
    pub fn cursor(&self) -> Result<Cursor, StoreError> {
        self.read(|txn| {
            let last = txn.open_table(LOG)?.last()?.map_or(0, |(gseq, _)| gseq.value());
            Ok(Cursor(last.to_string()))
        })
    }

    /// The account's conversations, the most recently used first.
    pub fn conversations(&self, account_id: AccountId) -> Result<Vec<Conversation>, StoreError> {
        let mut ids = Vec::new();
        each_row(&self.txn, RowTable::Membership, &number_key(account_id.0), |key, _| {
            ids.push(ConversationId(number_of(&key[8..])?));
            Ok::<_, StoreError>(())
        })?;
        let mut found = Vec::with_capacity(ids.len());
        for conversation_id in ids {
            let Some(members) = self.members(conversation_id)? else { continue };
            let peer = members.into_iter().find(|member| *member != account_id).unwrap_or(account_id);
            let (seq, gseq) = self.head(conversation_id)?;
            if let Some(peer) = self.account(peer)? {
                found.push((gseq, Conversation { conversation_id, peer: peer.account, last_seq: Seq(seq) }));
            }
        }
        found.sort_by_key(|(gseq, _)| std::cmp::Reverse(*gseq));
        Ok(found.into_iter().map(|(_, conversation)| conversation).collect())
    }

    /// Up to `limit` messages before `before` (the newest, without it), as many of them as fit into one
    /// frame, or `None` where the account is no member.
    pub fn history(
        &self,
        reader: AccountId,
        conversation_id: ConversationId,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<Option<HistoryPage>, StoreError> {
        let members = self.members(conversation_id)?;
        if !members.is_some_and(|members| members.contains(&reader)) {
            return Ok(None);
        }
        let conversation = conversation_id.0;
        self.read(|txn| {
            let end = before.map_or(u64::MAX, |seq| seq.0);
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let (index, log) = (txn.open_table(CONVERSATION_LOG)?, txn.open_table(LOG)?);
            let mut page = HistoryPage { messages: Vec::new(), has_more: false };
            let mut len = 0;
            for entry in index.range((conversation, 0)..(conversation, end))?.rev() {
                let gseq = entry?.1.value();
                let stored = log.get(gseq)?;
                let stored = stored.ok_or_else(|| missing(conversation, gseq))?;
                len += stored.value().len() + ",".len();
                if page.messages.len() == limit || (len > PAGE_LEN_MAX && !page.messages.is_empty()) {
                    page.has_more = true;
                    break;
                }
                page.messages.push(message(stored.value())?);
            }
            page.messages.reverse();
            Ok(Some(page))
        })
    }

    /// How many messages are stored.
    pub fn message_count(&self) -> Result<u64, StoreError> {
        self.read(|txn| Ok(txn.open_table(LOG)?.len()?))
    }

    fn account(&self, account_id: AccountId) -> Result<Option<AccountRow>, StoreError> {
        let found = row(&self.txn, RowTable::Account, &number_key(account_id.0))?;
        Ok(found.map(|found| decode_json("an account", &found)).transpose()?)
    }

    fn members(&self, conversation_id: ConversationId) -> Result<Option<Vec<AccountId>>, StoreError> {
        let found = row(&self.txn, RowTable::Conversation, &number_key(conversation_id.0))?;
        let found = found.map(|found| decode_json::<ConversationRow>("a conversation", &found)).transpose()?;
        Ok(found.map(|found| found.members))
    }

    /// seq and gseq of the newest message; zeros where there is none.
    fn head(&self, conversation_id: ConversationId) -> Result<(u64, u64), StoreError> {
        self.read(|txn| {
            let head = txn.open_table(HEADS)?.get(conversation_id.0)?.map(|head| head.value());
            Ok(head.map_or((0, 0), |(seq, _, gseq)| (seq, gseq)))
        })
    }

    fn read<T>(&self, read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        read(&self.txn).map_err(StoreError::database)
    }
}

fn missing(conversation: u64, gseq: u64) -> redb::Error {
    redb::Error::Corrupted(format!("conversation {conversation} points to {gseq}, not in `log`"))
}

fn message(frame: &[u8]) -> Result<Message, redb::Error> {
    decode_message(frame).map_err(|malformed| redb::Error::Corrupted(malformed.0))
}
