//! Reading: a snapshot sees one committed state and never waits for the writer.

use posthouse_protocol::{Account, AccountId, Conversation, ConversationId, Cursor, Message, Seq, Username, limits};
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::StoreError;
use super::command::account_record;
use super::record::{AccountRecord, DeviceRecord, decode, decode_message};
use super::tables::{ACCOUNTS, CONVERSATION_LOG, DEVICES, HEADS, LOG, MEMBERS, MEMBERSHIPS, USERNAMES};

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
    pub fn account_by_name(&self, username: &Username) -> Result<Option<AccountRecord>, StoreError> {
        self.read(|txn| {
            let id = txn.open_table(USERNAMES)?.get(username.as_str())?.map(|id| id.value());
            id.map_or(Ok(None), |id| account_record(&txn.open_table(ACCOUNTS)?, AccountId(id)))
        })
    }

    /// The account whose device has the token with this SHA-256.
    pub fn account_by_token(&self, token_hash: &[u8; 32]) -> Result<Option<Account>, StoreError> {
        self.read(|txn| {
            let devices = txn.open_table(DEVICES)?;
            let Some(record) = devices.get(token_hash)? else { return Ok(None) };
            let device: DeviceRecord = decode("devices", record.value())?;
            let record = account_record(&txn.open_table(ACCOUNTS)?, device.account_id)?;
            Ok(record.map(|record| record.account))
        })
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
        self.read(|txn| {
            let memberships = txn.open_table(MEMBERSHIPS)?;
            let (heads, members, accounts) =
                (txn.open_table(HEADS)?, txn.open_table(MEMBERS)?, txn.open_table(ACCOUNTS)?);
            let mut found = Vec::new();
            for entry in memberships.range((account_id.0, 0)..=(account_id.0, u64::MAX))? {
                let conversation = entry?.0.value().1;
                let (seq, _, gseq) = heads.get(conversation)?.map_or((0, 0, 0), |head| head.value());
                let mut peer = account_id;
                for member in members.range((conversation, 0)..=(conversation, u64::MAX))? {
                    let member = AccountId(member?.0.value().1);
                    if member != account_id {
                        peer = member;
                    }
                }
                if let Some(peer) = account_record(&accounts, peer)? {
                    let conversation_id = ConversationId(conversation);
                    found.push((gseq, Conversation { conversation_id, peer: peer.account, last_seq: Seq(seq) }));
                }
            }
            found.sort_by_key(|(gseq, _)| std::cmp::Reverse(*gseq));
            Ok(found.into_iter().map(|(_, conversation)| conversation).collect())
        })
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
        self.read(|txn| {
            let conversation = conversation_id.0;
            if txn.open_table(MEMBERS)?.get((conversation, reader.0))?.is_none() {
                return Ok(None);
            }
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
                page.messages.push(decode_message(stored.value())?);
            }
            page.messages.reverse();
            Ok(Some(page))
        })
    }

    /// How many messages are stored.
    pub fn message_count(&self) -> Result<u64, StoreError> {
        self.read(|txn| Ok(txn.open_table(LOG)?.len()?))
    }

    fn read<T>(&self, read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        read(&self.txn).map_err(StoreError::database)
    }
}

fn missing(conversation: u64, gseq: u64) -> redb::Error {
    redb::Error::Corrupted(format!("conversation {conversation} points to {gseq}, not in `log`"))
}
