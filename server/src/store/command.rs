//! The commands that change the store: each is decided against the state inside the writer's
//! transaction and either changes it or is refused and changes nothing.

use posthouse_protocol::{
    Account, AccountId, ClientMsgId, ConversationId, Message, MessageId, SendResult, Seq, TimestampMs, Username,
};
use redb::ReadableTable;

use super::record::{AccountRecord, DeviceRecord, Origin, Published, decode, decode_message, encode};
use super::tables::{Tables, next_key};

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

/// What one group of commands reads and writes, beside the tables.
pub struct Group<'txn> {
    pub(super) tables: Tables<'txn>,
    pub(super) now: TimestampMs,
    pub(super) published: Vec<Published>,
}

/// A command. `Err` of the outer result is the database's and stops the server.
pub trait Write: Send + 'static {
    /// What the caller learns once it is durable.
    type Output: Send + 'static;

    /// Decides the command and, if it stands, carries it out.
    ///
    /// # Errors
    /// The database's own. A refusal is no error of the store: it is the inner result.
    fn apply(self, group: &mut Group<'_>) -> Result<Result<Self::Output, Refusal>, redb::Error>;
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

    fn apply(self, group: &mut Group<'_>) -> Result<Result<Account, Refusal>, redb::Error> {
        if group.tables.usernames.get(self.username.as_str())?.is_some() {
            return Ok(Err(Refusal::UsernameTaken));
        }
        let account_id = AccountId(next_key(&group.tables.accounts)?);
        let account = Account { account_id, username: self.username };
        let record = AccountRecord { account: account.clone(), password_hash: self.password_hash, created: group.now };
        group.tables.usernames.insert(account.username.as_str(), account_id.0)?;
        group.tables.accounts.insert(account_id.0, encode(&record).as_slice())?;
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

    fn apply(self, group: &mut Group<'_>) -> Result<Result<(), Refusal>, redb::Error> {
        if group.tables.accounts.get(self.account_id.0)?.is_none() {
            return Ok(Err(Refusal::NoSuchAccount));
        }
        let record = DeviceRecord { account_id: self.account_id, name: self.name, created: group.now };
        group.tables.devices.insert(&self.token_hash, encode(&record).as_slice())?;
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

    fn apply(self, group: &mut Group<'_>) -> Result<Result<Self::Output, Refusal>, redb::Error> {
        let (low, high) = (self.account_id.min(self.peer_id).0, self.account_id.max(self.peer_id).0);
        let tables = &mut group.tables;
        let existing = tables.direct.get((low, high))?.map(|conversation| conversation.value());
        if let Some(conversation) = existing {
            let last_seq = tables.heads.get(conversation)?.map_or(0, |head| head.value().0);
            return Ok(Ok((ConversationId(conversation), Seq(last_seq))));
        }
        for account in [low, high] {
            if tables.accounts.get(account)?.is_none() {
                return Ok(Err(Refusal::NoSuchAccount));
            }
        }
        let conversation = next_key(&tables.heads)?;
        let joined_gseq = next_key(&tables.log)?;
        tables.direct.insert((low, high), conversation)?;
        tables.heads.insert(conversation, (0, 0, 0))?;
        for account in [low, high] {
            tables.members.insert((conversation, account), joined_gseq)?;
            tables.memberships.insert((account, conversation), ())?;
        }
        Ok(Ok((ConversationId(conversation), Seq(0))))
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

    fn apply(self, group: &mut Group<'_>) -> Result<Result<SendResult, Refusal>, redb::Error> {
        let conversation = self.conversation_id.0;
        let sender = self.sender.account_id.0;
        if group.tables.members.get((conversation, sender))?.is_none() {
            return Ok(Err(Refusal::NoSuchConversation));
        }
        let repeated = group.tables.sent.get((sender, self.client_msg_id.as_str()))?.map(|gseq| gseq.value());
        if let Some(gseq) = repeated {
            return self.repeat(group, gseq);
        }
        let gseq = next_key(&group.tables.log)?;
        let (last_seq, last_ts, _) = group.tables.heads.get(conversation)?.map_or((0, 0, 0), |head| head.value());
        // The clock may jump backwards (a Pi has none of its own); a conversation's time doesn't.
        let (seq, ts) = (last_seq + 1, group.now.0.max(last_ts));
        let message = Message {
            message_id: MessageId(gseq),
            conversation_id: self.conversation_id,
            seq: Seq(seq),
            ts: TimestampMs(ts),
            sender: self.sender,
            client_msg_id: self.client_msg_id,
            text: self.text,
        };
        let json = encode(&message);
        group.tables.log.insert(gseq, json.as_slice())?;
        group.tables.conversation_log.insert((conversation, seq), gseq)?;
        group.tables.heads.insert(conversation, (seq, ts, gseq))?;
        group.tables.sent.insert((sender, message.client_msg_id.as_str()), gseq)?;
        let audience = members(&group.tables, conversation)?;
        group.published.push(Published { audience, origin: self.origin, message_json: json.into() });
        Ok(Ok(SendResult { message_id: message.message_id, seq: message.seq, ts: message.ts }))
    }
}

impl MessageAppend {
    /// A retry gets the first try's answer and changes nothing.
    fn repeat(self, group: &Group<'_>, gseq: u64) -> Result<Result<SendResult, Refusal>, redb::Error> {
        let stored = group.tables.log.get(gseq)?;
        let stored = stored.ok_or_else(|| redb::Error::Corrupted(format!("`sent` points to {gseq}, not in `log`")))?;
        let first = decode_message(stored.value())?;
        if first.conversation_id != self.conversation_id || first.text != self.text {
            return Ok(Err(Refusal::ClientMsgIdUsed));
        }
        Ok(Ok(SendResult { message_id: first.message_id, seq: first.seq, ts: first.ts }))
    }
}

fn members(tables: &Tables<'_>, conversation: u64) -> Result<Vec<AccountId>, redb::Error> {
    let range = tables.members.range((conversation, 0)..=(conversation, u64::MAX))?;
    range.map(|entry| Ok(AccountId(entry?.0.value().1))).collect()
}

/// An account's record, for snapshots and commands alike.
pub(super) fn account_record(
    accounts: &impl ReadableTable<u64, &'static [u8]>,
    account_id: AccountId,
) -> Result<Option<AccountRecord>, redb::Error> {
    accounts.get(account_id.0)?.map(|record| decode("accounts", record.value())).transpose()
}
