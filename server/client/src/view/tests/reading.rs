//! What counts as unread, where the line stands above it, and what the server is told.

use posthouse_protocol::{AccountId, Conversation, Event, HistoryResult, Mentions, Message, ReadState, Seq};

use super::{ROOM, View, conversation, history, message, name, of_anna, params, result};

fn unread(view: &View) -> (u64, u64) {
    let unread = view.unread(ROOM);
    (unread.messages, unread.mentions)
}

fn listed(last_seq: u64, unread: u64, mentions: u64) -> Conversation {
    Conversation { unread, mentions, ..conversation(ROOM, last_seq) }
}

fn read_state(read: u64, last_seq: u64, (unread, mentions): (u64, u64)) -> Event {
    let state = ReadState { conversation_id: ROOM, read: Seq(read), last_seq: Seq(last_seq), unread, mentions };
    Event::ReadState(state)
}

/// A message that mentions everybody.
fn call(seq: u64) -> Event {
    let for_all = Mentions { accounts: Vec::new(), all: true };
    Event::Message(Message { mentions: Some(for_all), ..message(ROOM, seq, 1) })
}

fn receipts(view: &mut View) -> Vec<(Option<u64>, Option<u64>)> {
    let told = view.take_receipts().into_iter();
    told.map(|receipt| (receipt.read.map(|seq| seq.0), receipt.delivered.map(|seq| seq.0))).collect()
}

#[test]
fn the_server_counts_what_came_before_and_what_comes_is_added() {
    let mut view = of_anna();
    view.list(listed(9, 3, 1));
    assert_eq!(unread(&view), (3, 1));
    let for_anna = Mentions { accounts: vec![AccountId(0)], all: false };
    view.take(&Event::Message(Message { mentions: Some(for_anna), ..message(ROOM, 10, 1) }));
    view.take(&call(11));
    assert_eq!(unread(&view), (5, 3));
    view.list(listed(11, 5, 3));
    assert_eq!(unread(&view), (5, 3), "what the server has counted is not added again");
    view.mark_read(ROOM);
    assert_eq!(unread(&view), (0, 0));
    view.list(listed(11, 5, 3));
    assert_eq!(unread(&view), (0, 0), "a list from before the receipt");
}

#[test]
fn what_is_read_on_another_device_is_read_here() {
    let mut view = of_anna();
    view.list(listed(9, 3, 0));
    view.take(&read_state(8, 9, (1, 0)));
    assert_eq!(unread(&view), (1, 0));
    view.take(&read_state(9, 9, (0, 0)));
    assert_eq!(unread(&view), (0, 0));
    assert!(!view.has_receipts(), "the server knows already");
    view.take(&Event::Message(message(ROOM, 10, 1)));
    assert_eq!(unread(&view), (1, 0));
}

#[test]
fn what_is_behind_the_messages_that_a_read_state_counts_is_added_to_it() {
    let mut view = of_anna();
    view.list(listed(9, 3, 0));
    view.take(&call(10));
    view.take(&call(11));
    view.take(&read_state(8, 10, (2, 1)));
    assert_eq!(unread(&view), (3, 2), "9 and 10, which were counted, and 11");
    view.take(&call(12));
    assert_eq!(unread(&view), (4, 3));
    view.take(&read_state(12, 12, (0, 0)));
    assert_eq!(unread(&view), (0, 0));
}

#[test]
fn what_a_read_state_counts_already_is_not_added_when_it_comes() {
    let mut view = of_anna();
    view.list(listed(9, 3, 0));
    view.take_history(ROOM, None, history(1..=9, false));
    view.take(&read_state(8, 11, (3, 2)));
    assert_eq!(unread(&view), (3, 2), "10 and 11 are on their way");
    view.take(&call(10));
    assert_eq!(unread(&view), (3, 2));
    view.take(&call(11));
    assert_eq!(unread(&view), (3, 2));
    view.take(&call(12));
    assert_eq!(unread(&view), (4, 3));
}

#[test]
fn who_looks_reads_what_has_come_and_not_what_a_read_state_counts_beyond() {
    for held in [1, 9] {
        let mut view = of_anna();
        view.list(listed(9, 3, 0));
        view.take_history(ROOM, None, history(held..=9, held > 1));
        view.take(&read_state(7, 10, (3, 1)));
        view.draw_line(ROOM);
        assert_eq!(view.room(ROOM).unwrap().line(), (held == 1).then_some(Seq(8)));
        view.mark_read(ROOM);
        assert_eq!(unread(&view), (1, 1), "10 is on its way");
        view.take(&call(10));
        assert_eq!(unread(&view), (1, 1));
    }
}

#[test]
fn an_older_count_does_not_take_the_place_of_a_newer_one() {
    let mut view = of_anna();
    view.list(listed(9, 5, 1));
    view.take(&read_state(6, 8, (2, 0)));
    assert_eq!(unread(&view), (3, 1), "the list was newer, and no more than 3 messages are behind 6");
    view.take(&read_state(8, 9, (1, 0)));
    view.list(listed(9, 3, 0));
    assert_eq!(unread(&view), (1, 0), "the list was made before");
    view.list(listed(10, 1, 0));
    assert_eq!(unread(&view), (1, 0), "9 was read, and 10 has come");
}

#[test]
fn the_line_stands_above_what_was_new_as_soon_as_that_is_held_and_stays() {
    let mut view = of_anna();
    view.list(listed(100, 60, 0));
    view.draw_line(ROOM);
    view.mark_read(ROOM);
    let line = |view: &View| view.room(ROOM).unwrap().line();
    view.take_history(ROOM, None, history(51..=100, true));
    assert_eq!(line(&view), None, "it is further up");
    view.take_history(ROOM, Some(Seq(51)), history(1..=50, false));
    assert_eq!(line(&view), Some(Seq(41)));
    view.take(&Event::Message(message(ROOM, 101, 1)));
    assert_eq!(line(&view), Some(Seq(41)));
    view.draw_line(ROOM);
    assert_eq!(line(&view), Some(Seq(101)), "it is drawn anew when somebody looks again");
    view.mark_read(ROOM);
    view.draw_line(ROOM);
    assert_eq!(line(&view), None);
}

#[test]
fn who_came_and_went_does_not_move_the_line() {
    let mut view = of_anna();
    view.list(listed(4, 1, 0));
    view.draw_line(ROOM);
    let joined = serde_json::json!({ "type": "system", "what": "joined" });
    let joined = Message { body: serde_json::from_value(joined).unwrap(), ..message(ROOM, 4, 1) };
    let messages = vec![message(ROOM, 2, 1), message(ROOM, 3, 1), joined];
    view.take_history(ROOM, None, HistoryResult { messages, has_more: true });
    assert_eq!(view.room(ROOM).unwrap().line(), Some(Seq(3)));
}

#[test]
fn the_server_is_told_once_what_was_read_and_what_came() {
    let mut view = of_anna();
    view.list(listed(9, 0, 0));
    assert!(!view.has_receipts() && receipts(&mut view).is_empty());
    view.take(&Event::Message(message(ROOM, 10, 1)));
    view.take(&Event::Message(message(ROOM, 11, 1)));
    assert!(view.has_receipts());
    assert_eq!(receipts(&mut view), [(None, Some(11))]);
    view.mark_read(ROOM);
    assert_eq!(receipts(&mut view), [(Some(11), None)], "what was read was delivered");
    assert!(!view.has_receipts());
    view.list(listed(11, 2, 0));
    assert_eq!(receipts(&mut view), [(Some(11), None)], "the first was lost");
    view.sending(params("one"));
    view.sent(ROOM, &name("one"), result(12));
    assert!(!view.has_receipts(), "who sends tells it so");
}
