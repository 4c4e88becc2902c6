//! Whatever the order in which things come, what is shown is the same, whole, and without doubles.

mod reading;

use posthouse_protocol::{
    Account, AccountId, Body, ClientMsgId, Conversation, ConversationId, ConversationKind, Event, HistoryResult,
    Message, MessageId, NewBody, SendParams, SendResult, Seq, TimestampMs, Username,
};
use proptest::prelude::*;

use super::{OutgoingState, Place, View};

const ROOM: ConversationId = ConversationId(7);

fn account(number: u64) -> Account {
    let username = Username::new(["anna", "ben", "carl"][usize::try_from(number).unwrap()]).unwrap();
    Account { account_id: AccountId(number), username }
}

fn message(id: ConversationId, seq: u64, sender: u64) -> Message {
    Message {
        message_id: MessageId(id.0 * 1_000 + seq),
        conversation_id: id,
        seq: Seq(seq),
        ts: TimestampMs(seq),
        sender: account(sender),
        client_msg_id: None,
        body: Body::Text { text: format!("text {seq}") },
        reply_to: None,
        mentions: None,
        edited_ts: None,
        reactions: Vec::new(),
    }
}

fn conversation(id: ConversationId, last_seq: u64) -> Conversation {
    let json = serde_json::json!({
        "conversation_id": id, "kind": ConversationKind::Direct, "peer": account(1), "last_seq": last_seq,
    });
    serde_json::from_value(json).unwrap()
}

fn history(seqs: std::ops::RangeInclusive<u64>, has_more: bool) -> HistoryResult {
    HistoryResult { messages: seqs.map(|seq| message(ROOM, seq, 1)).collect(), has_more }
}

fn of_anna() -> View {
    let mut view = View::default();
    view.set_me(account(0));
    view
}

fn seqs(view: &View) -> Vec<u64> {
    view.room(ROOM).unwrap().messages().map(|message| message.seq.0).collect()
}

fn params(name: &str) -> SendParams {
    let json = serde_json::json!({
        "conversation_id": ROOM, "client_msg_id": name, "body": NewBody::text(name),
    });
    serde_json::from_value(json).unwrap()
}

fn result(seq: u64) -> SendResult {
    SendResult { message_id: MessageId(seq), seq: Seq(seq), ts: TimestampMs(seq) }
}

fn name(name: &str) -> ClientMsgId {
    ClientMsgId::new(name).unwrap()
}

#[test]
fn what_comes_counts_as_unread_until_it_is_looked_at_or_answered() {
    let mut view = of_anna();
    view.list(conversation(ROOM, 3));
    assert_eq!(view.unread(ROOM).messages, 0, "what was there before the program was");
    view.take(&Event::Message(message(ROOM, 4, 1)));
    view.take(&Event::Message(message(ROOM, 5, 1)));
    assert_eq!(view.unread(ROOM).messages, 2);
    view.list(Conversation { unread: 2, ..conversation(ROOM, 5) });
    assert_eq!(view.unread(ROOM).messages, 2, "a list that comes again marks nothing as read");
    view.mark_read(ROOM);
    view.take(&Event::Message(message(ROOM, 6, 1)));
    view.take(&Event::Message(message(ROOM, 7, 0)));
    assert_eq!(view.unread(ROOM).messages, 0, "who answers, from whatever device, has read");
}

#[test]
fn the_first_message_of_an_unknown_conversation_asks_for_it_and_is_unread() {
    let mut view = of_anna();
    assert_eq!(view.take(&Event::Message(message(ROOM, 4, 1))), Some(ROOM));
    view.list(Conversation { unread: 1, ..conversation(ROOM, 4) });
    assert_eq!(view.unread(ROOM).messages, 1);
    assert_eq!(view.take(&Event::Message(message(ROOM, 5, 1))), None);
}

#[test]
fn conversations_stand_in_the_order_of_their_use() {
    let mut view = of_anna();
    for id in [1, 2, 3] {
        view.list(conversation(ConversationId(id), 9));
    }
    let order = |view: &View| view.rooms().iter().map(|(id, _)| id.0).collect::<Vec<_>>();
    assert_eq!(order(&view), [1, 2, 3], "as the server lists them");
    view.take(&Event::Message(message(ConversationId(3), 10, 1)));
    assert_eq!(order(&view), [3, 1, 2]);
    for id in [2, 1, 3] {
        view.list(conversation(ConversationId(id), 9));
    }
    assert_eq!(order(&view), [3, 1, 2]);
}

#[test]
fn a_message_that_is_sent_stands_below_until_it_has_its_place() {
    let mut view = of_anna();
    view.list(conversation(ROOM, 1));
    view.take_history(ROOM, None, history(1..=1, false));
    view.sending(params("one"));
    view.sending(params("two"));
    assert_eq!(view.unacknowledged(), 2);
    assert_eq!(view.room(ROOM).unwrap().last(), Some(Place::Outgoing(1)));
    view.failed(ROOM, &name("one"), "too long".to_owned());
    // The acknowledgement comes before the message of another that stands above.
    view.sent(ROOM, &name("two"), result(3));
    view.take(&Event::Message(message(ROOM, 2, 1)));
    assert_eq!(seqs(&view), [1, 2, 3]);
    let room = view.room(ROOM).unwrap();
    assert_eq!(room.outgoing()[0].state, OutgoingState::Failed("too long".to_owned()));
    assert_eq!(room.above(Place::Outgoing(0)), Some(Place::Message(Seq(3))));
    assert_eq!(room.below(Place::Message(Seq(3))), Some(Place::Outgoing(0)));
    assert_eq!(view.take_failed(ROOM).unwrap().client_msg_id, name("one"), "it goes again under its own name");
    assert!(view.take_failed(ROOM).is_none());
    view.sent(ROOM, &name("two"), result(3));
    assert_eq!(seqs(&view), [1, 2, 3], "an acknowledgement that comes twice does nothing");
}

#[test]
fn history_goes_on_only_where_it_was_asked_to() {
    let mut view = of_anna();
    view.list(conversation(ROOM, 100));
    assert!(view.room(ROOM).unwrap().has_older());
    view.take_history(ROOM, None, history(51..=100, true));
    view.take_history(ROOM, Some(Seq(40)), history(30..=39, true));
    assert_eq!(view.room(ROOM).unwrap().oldest(), Some(Seq(51)), "this would leave a hole");
    view.take_history(ROOM, Some(Seq(51)), history(1..=50, false));
    assert_eq!(seqs(&view), (1..=100).collect::<Vec<_>>());
    assert!(!view.room(ROOM).unwrap().has_older());
}

#[test]
fn a_reset_keeps_only_what_was_not_acknowledged_and_marks_nothing_as_new() {
    let mut view = of_anna();
    view.list(conversation(ROOM, 2));
    view.take_history(ROOM, None, history(1..=2, false));
    view.sending(params("one"));
    view.reset();
    assert_eq!(seqs(&view), [0; 0]);
    assert_eq!(view.unacknowledged(), 1);
    view.take(&Event::Message(message(ROOM, 1, 1)));
    view.settled();
    assert_eq!(view.unread(ROOM).messages, 0);
    view.take(&Event::Message(message(ROOM, 2, 1)));
    view.settled();
    assert_eq!(view.unread(ROOM).messages, 1, "only the first after a reset");
}

fn event(name: &str, data: &serde_json::Value) -> Event {
    serde_json::from_value(serde_json::json!({ "event": name, "data": data })).unwrap()
}

#[test]
fn a_group_comes_and_goes_and_nobody_has_to_read_who_did() {
    let mut view = of_anna();
    let added = serde_json::json!({ "conversation_id": ROOM, "kind": "group" });
    assert_eq!(view.take(&event("conversation_added", &added)), Some(ROOM));
    view.list(conversation(ROOM, 0));
    let joined = serde_json::json!({ "type": "system", "what": "joined" });
    let joined = Message { body: serde_json::from_value(joined).unwrap(), ..message(ROOM, 1, 1) };
    assert_eq!(view.take(&Event::Message(joined)), None);
    view.take(&Event::Message(message(ROOM, 2, 1)));
    assert_eq!(view.unread(ROOM).messages, 1);
    let updated = event("conversation_updated", &serde_json::json!({ "conversation_id": ROOM, "title": "Board" }));
    assert_eq!(view.take(&updated), Some(ROOM), "what has changed is asked for");
    assert_eq!(view.take(&event("conversation_removed", &serde_json::json!({ "conversation_id": ROOM }))), None);
    assert!(view.room(ROOM).is_none());
    view.reset();
    assert_eq!(view.take(&event("conversation_added", &added)), None, "all are listed once everything has come");
}

#[test]
fn what_happens_to_a_message_changes_it_once() {
    let mut view = of_anna();
    view.list(conversation(ROOM, 0));
    view.take(&Event::Message(message(ROOM, 1, 1)));
    let about = |name: &str, more: serde_json::Value| {
        let mut data = serde_json::json!({ "conversation_id": ROOM, "message_id": 7001, "seq": 1 });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event(name, &data)
    };
    let edited = about("message_edited", serde_json::json!({ "body": NewBody::text("better"), "edited_ts": 5 }));
    let reacted = |added: bool, count: u64| {
        about("reaction", serde_json::json!({ "account": account(2), "emoji": "👍", "added": added, "count": count }))
    };
    for change in [&edited, &reacted(true, 2), &reacted(true, 2)] {
        assert_eq!(view.take(change), None);
    }
    let held = |view: &View| view.room(ROOM).unwrap().message(Seq(1)).unwrap().clone();
    assert_eq!((held(&view).text(), held(&view).edited_ts), (Some("better"), Some(TimestampMs(5))));
    let reactions = held(&view).reactions;
    assert_eq!((reactions.len(), reactions[0].count, &reactions[0].accounts), (1, 2, &vec![AccountId(2)]));
    view.take(&reacted(false, 0));
    assert!(held(&view).reactions.is_empty());
    view.take(&reacted(true, 1));
    view.take(&about("message_recalled", serde_json::json!({ "by": 1, "ts": 6 })));
    let recalled = held(&view);
    assert_eq!(recalled.body, Body::Recalled { by: AccountId(1), ts: TimestampMs(6) });
    assert!(recalled.edited_ts.is_none() && recalled.reactions.is_empty());
}

proptest! {
    #[test]
    fn any_order_of_the_same_things_shows_the_same(
        order in Just((1..=30_u64).collect::<Vec<_>>()).prop_shuffle(),
        page_at in 0..30_usize,
    ) {
        let mut view = of_anna();
        view.list(conversation(ROOM, 0));
        for (at, seq) in order.iter().enumerate() {
            // Anna sends each third one; a page of history comes somewhere in between.
            if seq % 3 == 0 {
                view.sending(params(&format!("m{seq}")));
                view.sent(ROOM, &name(&format!("m{seq}")), result(*seq));
            } else {
                view.take(&Event::Message(message(ROOM, *seq, 1)));
            }
            if at == page_at {
                view.take_history(ROOM, None, history(1..=30, false));
            }
        }
        prop_assert_eq!(seqs(&view), (1..=30).collect::<Vec<_>>());
        prop_assert_eq!(view.unacknowledged(), 0);
        let room = view.room(ROOM).unwrap();
        let (mut up, mut place) = (0, room.last());
        while let Some(at) = place {
            place = room.above(at);
            up += 1;
        }
        prop_assert_eq!(up, 30);
    }
}
