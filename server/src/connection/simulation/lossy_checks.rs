//! What has to be so of receipts, presence and typing once it is quiet.

use std::collections::BTreeMap;

use posthouse_protocol::{AccountId, Conversation, ConversationId, PresenceStatus, Receipts, Seq};

use super::device::Device;
use super::people::Heard;
use super::reading::{Way, furthest};
use super::record::Record;
use super::shown::Said;
use super::{ACCOUNTS, PAIRS};
use crate::store::Store;

/// How far the members of all conversations have come, as the store has it.
pub type Marks = BTreeMap<(ConversationId, AccountId), Way>;

/// Behind all records.
const END: u64 = u64::MAX - 1;

/// Asks the store as each member, and compares it with what was sent and said.
pub async fn check_marks(
    store: &Store,
    record: &Record,
    devices: &[Device],
    conversations: &[ConversationId],
) -> Marks {
    let mut marks = Marks::new();
    for account in (1..=ACCOUNTS.len() as u64).map(AccountId) {
        let all = conversations.to_vec();
        let read = store.read(move |snapshot| all.into_iter().map(|id| snapshot.receipts(account, id)).collect());
        let read: Vec<Option<Receipts>> = read.await.expect("read");
        for (conversation, receipts) in conversations.iter().zip(read) {
            let is_in = record.is_in(account, *conversation, END);
            assert_eq!(receipts.is_some(), is_in, "receipts of {conversation} are for members: {account}");
            for mark in receipts.into_iter().flat_map(|receipts| receipts.marks) {
                assert!(record.is_in(mark.account_id, *conversation, END), "{mark:?} of {conversation}");
                marks.insert((*conversation, mark.account_id), (mark.read.0, mark.delivered.0));
            }
        }
    }
    for ((conversation, account), (read, delivered)) in &marks {
        let last = record.last_of(*conversation);
        let known = record.way_of(*account, *conversation);
        let said = devices.iter().filter(|device| device.account_id == *account);
        let said: Vec<_> = said.filter_map(|device| device.reading.said.get(conversation)).collect();
        let at_least = said.iter().fold(known, |sum, report| furthest(sum, report.shown));
        let at_most = said.iter().fold(at_least, |sum, report| furthest(sum, report.most));
        let is_so = |way, at_least, at_most: u64| (at_least..=at_most.min(last)).contains(&way);
        assert!(
            is_so(*read, at_least.0, at_most.0) && is_so(*delivered, at_least.1, at_most.1),
            "{account} has come to {read}, {delivered} of {last} in {conversation}, and said {at_least:?} to {at_most:?}"
        );
    }
    marks
}

/// What a device knows of how far all have come, and of what its owner has not read.
pub fn check_reading(record: &Record, device: &Device, marks: &Marks, list: &[Conversation]) {
    let (me, name) = (device.account_id, &device.name);
    for ((conversation, account), way) in marks {
        if record.is_in(me, *conversation, END) {
            let told = device.reading.told.get(&(*conversation, *account)).copied().unwrap_or_default();
            // What somebody has sent is read, and so is what was there before they came.
            let held = furthest(told, record.way_of(*account, *conversation));
            assert_eq!(held, *way, "{name} holds another way of {account} in {conversation}");
        }
    }
    for Conversation { conversation_id, unread, mentions, .. } in list {
        let (read, _) = marks[&(*conversation_id, me)];
        let now = record.unread(me, *conversation_id, Seq(read), Seq(u64::MAX));
        assert_eq!((*unread, *mentions), now, "{name} has read up to {read} of {conversation_id}");
    }
    for state in device.reading.states.values().flatten() {
        let now = record.unread(me, state.conversation_id, state.read, state.last_seq);
        // What was recalled since counts, and calls nobody any more.
        assert!(state.unread == now.0 && state.mentions >= now.1, "{name}: {state:?}, and it is {now:?}");
    }
    for (conversation, read) in &device.reading.unsaid {
        let message = record.messages.get(&(*conversation, *read));
        let has_sent = message.is_some_and(|message| message.known.sender == me);
        let is_excused = has_sent || record.comes_and_goes(me, *conversation);
        assert!(is_excused, "{name} was not told that {read} was read in {conversation}");
    }
    for conversation in &device.reading.refused {
        assert!(record.comes_and_goes(me, *conversation), "{name} was refused in {conversation}");
    }
}

/// What came without a cursor was for the device, and is so.
pub fn check_people(record: &Record, device: &Device, devices: &[Device]) {
    let me = device.account_id;
    for (stood, heard) in &device.heard {
        match heard {
            Heard::Members(conversation, accounts) => {
                let mut all = accounts.iter().chain([&me]);
                let are_in = all.all(|account| record.is_in(*account, *conversation, *stood));
                assert!(are_in, "{} heard of {accounts:?} in {conversation}, behind {stood}", device.name);
            }
            Heard::Contact(account) => {
                let is_contact = record.are_contacts(me, *account, *stood);
                assert!(is_contact, "{} heard of {account}, behind {stood}", device.name);
            }
        }
    }
    let Some(session) = device.session.as_ref().filter(|session| !session.was_slow) else { return };
    // Who came to be a contact later is told of with the next change.
    let of_me = PAIRS.iter().filter(|(one, other)| [*one, *other].contains(&me.0));
    for contact in of_me.map(|(one, other)| AccountId(if *one == me.0 { *other } else { *one })) {
        let of_contact = devices.iter().filter(|device| device.account_id == contact);
        let now = of_contact.filter_map(|device| Some(device.session.as_ref()?.people.mine())).max();
        if let Some(told) = session.people.status_of(contact) {
            assert_eq!(told, now.unwrap_or(PresenceStatus::Offline), "{} and {contact}'s presence", device.name);
        }
    }
}

impl Record {
    /// The last message of a conversation.
    fn last_of(&self, conversation: ConversationId) -> u64 {
        let of_it = self.messages.range((conversation, 0)..=(conversation, u64::MAX));
        of_it.last().map_or(0, |((_, seq), _)| *seq)
    }

    /// How far somebody has come without saying so: up to what they sent, and to what was there before they came.
    fn way_of(&self, account: AccountId, conversation: ConversationId) -> Way {
        let of_it = self.messages.range((conversation, 0)..=(conversation, u64::MAX));
        let ways = of_it.map(|((_, seq), message)| {
            let has_sent = message.known.sender == account && !message.known.name.is_empty();
            let has_come = self.begins(account, conversation, message.known.message_id);
            if has_sent { *seq } else { seq.saturating_sub(1) * u64::from(has_come) }
        });
        let way = ways.max().unwrap_or(0);
        (way, way)
    }

    /// How many messages behind `read` and up to `last` an account can see, and how many of them call it.
    fn unread(&self, account: AccountId, conversation: ConversationId, read: Seq, last: Seq) -> (u64, u64) {
        let unread = self.messages_of(account).filter(|((id, seq), message)| {
            *id == conversation && (read.0 + 1..=last.0).contains(seq) && !matches!(message.known.said, Said::System(_))
        });
        unread.fold((0, 0), |(unread, mentions), (_, message)| {
            (unread + 1, mentions + u64::from(message.known.calls_all && message.recalled.is_none()))
        })
    }
}
