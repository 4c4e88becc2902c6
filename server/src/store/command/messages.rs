//! Messages.

use posthouse_protocol::{
    AccountId, Body, ClientMsgId, ConversationId, Event, Mentions, Message, MessageId, NewBody, SendResult, Seq,
    TimestampMs,
};

use super::{Decision, Group, NewRecord, Refusal, Write};
use crate::store::authority;
use crate::store::record::{Audience, Malformed, Origin, Place, Recipients, SentName, decode_message};
use crate::store::rows::{Row, RowKey};

/// Appends a message to a conversation.
pub struct MessageAppend {
    /// Must be a member.
    pub sender: AccountId,
    /// The connection it came from.
    pub origin: Origin,
    /// Where to.
    pub conversation_id: ConversationId,
    /// The sender's own name for it.
    pub client_msg_id: ClientMsgId,
    /// What it says.
    pub body: NewBody,
    /// What it answers.
    pub reply_to: Option<MessageId>,
    /// Whom it calls.
    pub mentions: Option<Mentions>,
}

impl Write for MessageAppend {
    type Output = SendResult;

    fn decide(self, group: &mut Group<'_>) -> Decision<SendResult> {
        let fingerprint = self.fingerprint();
        if let Some((gseq, first)) = group.overlay.sent(self.sender, &self.client_msg_id)? {
            // A retry gets the first try's answer and changes nothing.
            return if first == fingerprint { self.repeat(group, gseq) } else { Ok(Err(Refusal::ClientMsgIdUsed)) };
        }
        // Behind the retries: what was sent is acknowledged also to who may send no more.
        if let Err(refusal) = authority::as_sender(group.state, self.sender, self.conversation_id) {
            return Ok(Err(refusal));
        }
        if let Some(message_id) = self.reply_to
            && let Err(refusal) = group.visible_message(self.sender, self.conversation_id, message_id)?
        {
            return Ok(Err(refusal));
        }
        if let Some(mentions) = &self.mentions
            && let Err(refusal) = authority::may_mention(group.state, self.conversation_id, mentions)
        {
            return Ok(Err(refusal));
        }
        let sent = SentName { sender: self.sender, client_msg_id: self.client_msg_id, fingerprint };
        let content = NewMessage {
            sender: self.sender,
            sent: Some(sent),
            body: self.body.into(),
            reply_to: self.reply_to,
            mentions: self.mentions,
        };
        Ok(group.message(self.conversation_id, content, true, Some(self.origin)))
    }
}

impl MessageAppend {
    /// Tells another message under the same name from a retry: CRC-32 of what the sender decides. (Who forges
    /// one cheats nobody but themselves.) Nothing stands between the parts, so that those behind the text are compared
    /// as well. A kind of body that comes later begins with a byte that no text has, 0xff.
    fn fingerprint(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.conversation_id.0.to_le_bytes());
        match &self.body {
            NewBody::Text { text } => hasher.update(text.as_bytes()),
        }
        if let Some(MessageId(answered)) = self.reply_to {
            hasher.update(&answered.to_le_bytes());
        }
        for account in self.mentions.iter().flat_map(authority::mentioned) {
            hasher.update(&account.0.to_le_bytes());
        }
        hasher.finalize()
    }

    /// The answer to a message of the same fingerprint, if this is a retry of it.
    fn repeat(&self, group: &mut Group<'_>, gseq: u64) -> Decision<SendResult> {
        let missing = || Malformed(format!("`sent` points to {gseq}, not in `log`"));
        let (_, frame) = group.overlay.record(gseq)?.ok_or_else(missing)?;
        let first = decode_message(&frame)?;
        let called = |mentions: &Option<Mentions>| mentions.iter().flat_map(authority::mentioned).collect::<Vec<_>>();
        let is_same = first.reply_to == self.reply_to && called(&first.mentions) == called(&self.mentions);
        // Of a message that was recalled there is nothing left to compare.
        if !is_same && !matches!(first.body, Body::Recalled { .. }) {
            return Ok(Err(Refusal::ClientMsgIdUsed));
        }
        Ok(Ok(SendResult { message_id: first.message_id, seq: first.seq, ts: first.ts }))
    }
}

/// A message before it has its place.
pub(super) struct NewMessage {
    pub sender: AccountId,
    pub sent: Option<SentName>,
    pub body: Body,
    pub reply_to: Option<MessageId>,
    pub mentions: Option<Mentions>,
}

impl Group<'_> {
    /// Gives a message the next place in a conversation. `counts`: whether it makes the conversation unread.
    pub(super) fn message(
        &mut self,
        conversation_id: ConversationId,
        new: NewMessage,
        counts: bool,
        origin: Option<Origin>,
    ) -> Result<SendResult, Refusal> {
        let sender = self.state.sender(new.sender).ok_or(Refusal::NoSuchAccount)?;
        let conversation = self.state.conversations.get_mut(&conversation_id).ok_or(Refusal::NoSuchConversation)?;
        conversation.last_seq += 1;
        conversation.last_sender = new.sent.as_ref().map(|sent| sent.sender);
        conversation.last_counted += u64::from(counts);
        // The clock may jump backwards (a Pi has none of its own); a conversation's time doesn't.
        conversation.last_ts = conversation.last_ts.max(self.now.0);
        let place = Place { seq: conversation.last_seq, counted: conversation.last_counted, is_message: true };
        let (seq, ts) = (Seq(place.seq), TimestampMs(conversation.last_ts));
        let recipients = Recipients::Accounts(conversation.members.clone());
        let client_msg_id = new.sent.as_ref().map(|sent| sent.client_msg_id.clone());
        let audience = Audience::Conversation(conversation_id);
        let record = NewRecord { audience, place, ts, sent: new.sent, recipients, origin };
        let NewMessage { body, reply_to, mentions, .. } = new;
        let called: Vec<AccountId> = mentions.iter().flat_map(authority::mentioned).collect();
        let gseq = self.record(record, |gseq| {
            let message_id = MessageId(gseq);
            let (edited_ts, reactions) = (None, Vec::new());
            Event::Message(Message {
                message_id,
                conversation_id,
                seq,
                ts,
                sender,
                client_msg_id,
                body,
                reply_to,
                mentions,
                edited_ts,
                reactions,
            })
        });
        for account in called {
            self.put(Row::plain(RowKey::mention(conversation_id, account, seq), []));
        }
        Ok(SendResult { message_id: MessageId(gseq), seq, ts })
    }
}

#[cfg(test)]
mod tests {
    use redb::{Builder, ReadableTable};

    use crate::store::crash_tests::make_conversation;
    use crate::store::tables::HEADS;
    use crate::store::{FILE_NAME, MessageAppend, Origin, Store, StoreParts};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_conversations_time_does_not_run_back_with_the_clock() {
        let folder = tempfile::tempdir().expect("a folder");
        let StoreParts { store, ended, .. } = Store::open(folder.path()).expect("opens");
        let (conversation_id, sender) = make_conversation(&store).await;
        let append = |name: &str| MessageAppend {
            sender: sender.account_id,
            origin: Origin(0),
            conversation_id,
            client_msg_id: ClientMsgId::new(name).expect("short"),
            body: NewBody::text("x"),
            reply_to: None,
            mentions: None,
        };
        let first = store.write(append("1")).await.expect("stored").expect("sent").into_inner();
        store.stop().await;
        drop(store);
        ended.await.expect("told").expect("a clean end");
        // That message came while the clock was a year ahead.
        let ahead = first.ts.0 + 365 * 86_400_000;
        let database = Builder::new().open(folder.path().join(FILE_NAME)).expect("opens");
        let txn = database.begin_write().expect("a transaction");
        {
            let mut heads = txn.open_table(HEADS).expect("the table");
            let (seq, counted, _, gseq) = heads.get(conversation_id.0).expect("read").expect("a head").value();
            heads.insert(conversation_id.0, (seq, counted, ahead, gseq)).expect("written");
        }
        txn.commit().expect("committed");
        drop(database);
        let StoreParts { store, published, .. } = Store::open(folder.path()).expect("opens");
        let _forwarded = published.forwarded();
        for (name, seq) in [("2", 2), ("3", 3)] {
            let sent = store.write(append(name)).await.expect("stored").expect("sent").into_inner();
            assert_eq!((sent.seq, sent.ts), (Seq(seq), TimestampMs(ahead)));
        }
    }
}
