//! The commands that change the store: each is decided against the state, in the writer's thread, and
//! comes to entries for the log, or is refused and changes nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use posthouse_protocol::{
    Account, AccountId, ClientMsgId, ConversationId, Event, Message, MessageId, SendResult, Seq, TimestampMs, Username,
};
use redb::{Database, ReadableDatabase};

use super::StoreError;
use super::record::{
    AccountRow, ConversationRow, DeviceRow, Entry, Malformed, Origin, Published, Record, Row, RowTable, decode_message,
    encode_json, membership_key, number_key,
};
use super::state::State;
use super::tables::{LOG, SENT};

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user name is taken.
    #[error("the user name is taken")]
    UsernameTaken,
    /// No such account.
    #[error("there is no such account")]
    NoSuchAccount,
    /// No such conversation, or not for this account to see.
    #[error("there is no such conversation")]
    NoSuchConversation,
    /// The `client_msg_id` stands for another message.
    #[error("this client_msg_id was used for another message")]
    ClientMsgIdUsed,
}

/// What a group of commands decides by, and what it comes to.
pub struct Group<'a> {
    pub(super) state: &'a mut State,
    pub(super) sent: &'a mut Sent,
    pub(super) now: TimestampMs,
    pub(super) entries: Vec<Entry>,
    pub(super) published: Vec<Published>,
}

/// A command. `Err` of the outer result is the store's failure and stops the server.
pub trait Write: Send + 'static {
    /// What the caller learns once it is durable.
    type Output: Send + 'static;

    /// Decides the command and, if it stands, adds what it comes to.
    ///
    /// # Errors
    /// The store's own. A refusal is no error of the store: it is the inner result.
    fn decide(self, group: &mut Group<'_>) -> Result<Result<Self::Output, Refusal>, StoreError>;
}

/// Makes an account.
pub struct AccountAdd {
    /// Must be free.
    pub username: Username,
    /// PHC string.
    pub password_hash: String,
}

impl Write for AccountAdd {
    type Output = Account;

    fn decide(self, group: &mut Group<'_>) -> Result<Result<Account, Refusal>, StoreError> {
        let name = self.username.as_str().to_owned();
        if group.state.usernames.contains_key(&name) {
            return Ok(Err(Refusal::UsernameTaken));
        }
        group.state.last_account += 1;
        let account = Account { account_id: AccountId(group.state.last_account), username: self.username };
        let key = number_key(account.account_id.0);
        let row = AccountRow { account: account.clone(), password_hash: self.password_hash, created: group.now };
        group.entries.push(Entry::Row(Row::json(RowTable::Account, key, &row)));
        group.entries.push(Entry::Row(Row::plain(RowTable::Username, name.as_bytes(), key)));
        group.state.usernames.insert(name, account.account_id);
        Ok(Ok(account))
    }
}

/// Makes a device: a log-in.
pub struct DeviceAdd {
    /// Whose it is.
    pub account_id: AccountId,
    /// SHA-256 of its token; the token itself is never stored.
    pub token_hash: [u8; 32],
    /// As the client names it.
    pub name: String,
}

impl Write for DeviceAdd {
    type Output = ();

    fn decide(self, group: &mut Group<'_>) -> Result<Result<(), Refusal>, StoreError> {
        if self.account_id.0 > group.state.last_account {
            return Ok(Err(Refusal::NoSuchAccount));
        }
        let row = DeviceRow { account_id: self.account_id, name: self.name, created: group.now };
        group.entries.push(Entry::Row(Row::json(RowTable::Device, self.token_hash, &row)));
        Ok(Ok(()))
    }
}

/// The direct conversation of two accounts (or of one with itself), made if there is none.
pub struct DirectOpen {
    /// One.
    pub account_id: AccountId,
    /// The other.
    pub peer_id: AccountId,
}

impl Write for DirectOpen {
    type Output = (ConversationId, Seq);

    fn decide(self, group: &mut Group<'_>) -> Result<Result<Self::Output, Refusal>, StoreError> {
        let (low, high) = (self.account_id.min(self.peer_id), self.account_id.max(self.peer_id));
        if let Some(existing) = group.state.direct.get(&(low, high)) {
            let last_seq = group.state.conversations.get(existing).map_or(0, |conversation| conversation.last_seq);
            return Ok(Ok((*existing, Seq(last_seq))));
        }
        if high.0 > group.state.last_account {
            return Ok(Err(Refusal::NoSuchAccount));
        }
        let mut members = vec![low, high];
        members.dedup();
        let conversation_id = ConversationId(group.state.last_conversation + 1);
        for member in &members {
            let key = membership_key(member.0, conversation_id.0);
            group.entries.push(Entry::Row(Row::plain(RowTable::Membership, key, [])));
        }
        let row = ConversationRow { members: members.clone(), created: group.now };
        let key = number_key(conversation_id.0);
        group.entries.push(Entry::Row(Row::json(RowTable::Conversation, key, &row)));
        group.state.add_direct(conversation_id, members.into());
        Ok(Ok((conversation_id, Seq(0))))
    }
}

/// Appends a message to a conversation.
pub struct MessageAppend {
    /// Must be a member.
    pub sender: Account,
    /// The connection it came from.
    pub origin: Origin,
    /// Where to.
    pub conversation_id: ConversationId,
    /// The sender's own name for it.
    pub client_msg_id: ClientMsgId,
    /// What was written.
    pub text: String,
}

impl Write for MessageAppend {
    type Output = SendResult;

    fn decide(self, group: &mut Group<'_>) -> Result<Result<SendResult, Refusal>, StoreError> {
        let sender = self.sender.account_id;
        let Some(conversation) = group.state.conversations.get_mut(&self.conversation_id) else {
            return Ok(Err(Refusal::NoSuchConversation));
        };
        if !conversation.members.contains(&sender) {
            return Ok(Err(Refusal::NoSuchConversation));
        }
        if let Some(first) = group.sent.find(sender, &self.client_msg_id)? {
            return Ok(self.repeat(&first));
        }
        conversation.last_seq += 1;
        // The clock may jump backwards (a Pi has none of its own); a conversation's time doesn't.
        conversation.last_ts = conversation.last_ts.max(group.now.0);
        group.state.last_gseq += 1;
        let (gseq, seq, ts) = (group.state.last_gseq, conversation.last_seq, TimestampMs(conversation.last_ts));
        let audience = Arc::clone(&conversation.members);
        let Self { sender: account, origin, conversation_id, client_msg_id, text } = self;
        let message = Message {
            message_id: MessageId(gseq),
            conversation_id,
            seq: Seq(seq),
            ts,
            sender: account,
            client_msg_id: client_msg_id.clone(),
            text,
        };
        let frame = Bytes::from(encode_json(&Event::Message(message)));
        group.sent.remember(sender, &client_msg_id, gseq, frame.clone());
        group.published.push(Published { audience, origin, frame: frame.clone() });
        group.entries.push(Entry::Record(Record { gseq, conversation_id, seq, ts, sender, client_msg_id, frame }));
        Ok(Ok(SendResult { message_id: MessageId(gseq), seq: Seq(seq), ts }))
    }
}

impl MessageAppend {
    /// A retry gets the first try's answer and changes nothing.
    fn repeat(&self, first: &Message) -> Result<SendResult, Refusal> {
        if first.conversation_id != self.conversation_id || first.text != self.text {
            return Err(Refusal::ClientMsgIdUsed);
        }
        Ok(SendResult { message_id: first.message_id, seq: first.seq, ts: first.ts })
    }
}

/// Which messages were sent before: in the database, or on their way there.
pub(super) struct Sent {
    database: Arc<Database>,
    /// Not in the database yet.
    recent: HashMap<(AccountId, ClientMsgId), Bytes>,
    /// The same, oldest first, with their numbers.
    order: VecDeque<(u64, AccountId, ClientMsgId)>,
}

impl Sent {
    pub fn new(database: Arc<Database>) -> Self {
        Self { database, recent: HashMap::new(), order: VecDeque::new() }
    }

    /// Records up to `gseq` are in the database.
    pub fn forget(&mut self, gseq: u64) {
        while let Some((_, sender, id)) = self.order.pop_front_if(|(number, ..)| *number <= gseq) {
            self.recent.remove(&(sender, id));
        }
    }

    fn remember(&mut self, sender: AccountId, id: &ClientMsgId, gseq: u64, frame: Bytes) {
        self.recent.insert((sender, id.clone()), frame);
        self.order.push_back((gseq, sender, id.clone()));
    }

    /// The message that was stored under that name.
    fn find(&self, sender: AccountId, id: &ClientMsgId) -> Result<Option<Message>, StoreError> {
        if let Some(frame) = self.recent.get(&(sender, id.clone())) {
            return Ok(Some(decode_message(frame)?));
        }
        let txn = self.database.begin_read().map_err(StoreError::database)?;
        let sent = txn.open_table(SENT).map_err(StoreError::database)?;
        let Some(gseq) = sent.get((sender.0, id.as_str())).map_err(StoreError::database)? else { return Ok(None) };
        let log = txn.open_table(LOG).map_err(StoreError::database)?;
        let stored = log.get(gseq.value()).map_err(StoreError::database)?;
        let stored = stored.ok_or_else(|| Malformed(format!("`sent` points to {}, not in `log`", gseq.value())))?;
        Ok(Some(decode_message(stored.value())?))
    }
}
