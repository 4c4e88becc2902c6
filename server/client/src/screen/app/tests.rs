//! Keys in, the screen out, without a terminal.

use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use posthouse_client::{ClientError, Item};
use posthouse_protocol::{ConversationId, ErrorBody, ErrorCode, Event, HistoryResult, Message, Push, Seq};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;
use tokio::time::{Duration, Instant};

use super::{App, Outcome, Request};
use crate::screen::draw::draw;
use crate::screen::palette::Palette;

const ROOM: ConversationId = ConversationId(7);

/// Anna, connected, with Ben's conversation of so many messages open.
fn app(messages: u64) -> App {
    let mut app = App::new("http://box".to_owned(), None, Palette::without_colors(), TimeZone::UTC);
    app.on_item(Item::Online);
    app.on_outcome(Outcome::Me(serde_json::from_value(json!({ "account_id": 1, "username": "anna" })).unwrap()));
    let conversation = json!({
        "conversation_id": ROOM, "kind": "direct", "last_seq": messages,
        "peer": { "account_id": 2, "username": "ben" },
    });
    app.on_outcome(Outcome::Listed(vec![serde_json::from_value(conversation).unwrap()]));
    app.on_outcome(Outcome::ListEnded(Ok(())));
    assert_eq!(app.requests.pop_front(), Some(Request::List));
    assert_eq!(app.requests.pop_front(), Some(Request::History(ROOM, None)));
    let first = messages.saturating_sub(49).max(1);
    let page = (first..=messages).map(|seq| message(seq, &format!("line {seq}"))).collect();
    app.on_outcome(Outcome::History(ROOM, None, Ok(HistoryResult { messages: page, has_more: first > 1 })));
    app.on_time(Instant::now());
    app.requests.clear();
    app
}

fn message(seq: u64, text: &str) -> Message {
    let message = json!({
        "message_id": seq, "conversation_id": ROOM, "seq": seq, "ts": 1_795_363_973_632_u64 + seq,
        "sender": { "account_id": 2, "username": "ben" }, "body": { "type": "text", "text": text },
    });
    serde_json::from_value(message).unwrap()
}

fn shown(app: &mut App, columns: u16, rows: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(frame, app)).unwrap();
    terminal.backend().to_string()
}

fn press(app: &mut App, code: KeyCode, modifiers: KeyModifiers) {
    app.on_terminal(TerminalEvent::Key(KeyEvent::new(code, modifiers)));
}

fn write(app: &mut App, text: &str) {
    text.chars().for_each(|letter| press(app, KeyCode::Char(letter), KeyModifiers::NONE));
    press(app, KeyCode::Enter, KeyModifiers::NONE);
}

/// What is to be asked is compared as it is shown.
impl PartialEq for Request {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}

fn sent(app: &mut App) -> posthouse_protocol::SendParams {
    loop {
        match app.requests.pop_front() {
            Some(Request::Send(send)) => return *send,
            Some(Request::Typing(_)) => {}
            other => panic!("a message was to be sent, not {other:?}"),
        }
    }
}

#[test]
fn a_refused_message_says_why_and_goes_again_under_the_same_name() {
    let mut app = app(1);
    write(&mut app, "hello");
    let params = sent(&mut app);
    assert!(shown(&mut app, 80, 24).contains("…   anna: hello"));
    let error = ClientError::Refused(ErrorBody::new(ErrorCode::InvalidParams, "not so"));
    app.on_outcome(Outcome::Sent(ROOM, params.client_msg_id.clone(), Err(error)));
    let screen = shown(&mut app, 80, 24);
    assert!(screen.contains("✗   anna: hello") && screen.contains("not sent: not so (Ctrl-R"), "{screen}");
    press(&mut app, KeyCode::Char('r'), KeyModifiers::CONTROL);
    assert_eq!(sent(&mut app).client_msg_id, params.client_msg_id);
    let result = serde_json::from_value(json!({ "message_id": 9, "seq": 2, "ts": 1_795_363_973_632_u64 })).unwrap();
    app.on_outcome(Outcome::Sent(ROOM, params.client_msg_id, Ok(result)));
    let screen = shown(&mut app, 80, 24);
    assert!(screen.contains("16:12 anna: hello") && !screen.contains('…'), "{screen}");
}

#[test]
fn who_scrolled_up_stays_there_and_older_messages_are_asked_for_once() {
    let mut app = app(200);
    assert!(shown(&mut app, 80, 24).contains("line 200"));
    for _ in 0..5 {
        press(&mut app, KeyCode::PageUp, KeyModifiers::NONE);
        shown(&mut app, 80, 24);
    }
    let before = shown(&mut app, 80, 24);
    assert!(before.contains("line 151") && !before.contains("line 200"), "{before}");
    assert_eq!(app.requests.pop_front(), Some(Request::History(ROOM, Some(Seq(151)))));
    assert_eq!(app.requests.pop_front(), None);
    app.on_item(Item::Event(Push { cursor: None, event: Event::Message(message(201, "news")) }));
    let after = shown(&mut app, 80, 24);
    assert!(after.contains("line 151") && !after.contains("news"), "{after}");
    assert_eq!(app.view.unread(ROOM).messages, 1);
    press(&mut app, KeyCode::Esc, KeyModifiers::NONE);
    assert!(shown(&mut app, 80, 24).contains("news"));
    assert_eq!(app.view.unread(ROOM).messages, 0);
    // Page by page down again is the same end.
    press(&mut app, KeyCode::PageUp, KeyModifiers::NONE);
    assert!(!app.scroll.is_at_newest());
    press(&mut app, KeyCode::PageDown, KeyModifiers::NONE);
    assert!(app.scroll.is_at_newest());
}

#[test]
fn every_size_of_screen_is_drawn_with_wide_and_hostile_texts() {
    let mut app = app(3);
    let hostile = "你好世界 👨‍👩‍👧 \u{1b}[2J\u{202e}\u{7}\n".repeat(40) + &"x".repeat(500);
    app.on_item(Item::Event(Push { cursor: None, event: Event::Message(message(4, &hostile)) }));
    app.editor.insert(&hostile);
    for columns in 1..100 {
        for rows in [1, 2, 5, 6, 9, 24, 40] {
            let screen = shown(&mut app, columns, rows);
            assert!(!screen.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{columns} × {rows}");
            press(&mut app, KeyCode::PageUp, KeyModifiers::NONE);
        }
    }
    app.shows_help = true;
    assert!(shown(&mut app, 80, 24).contains("Ctrl-R"));
    shown(&mut app, 20, 5);
}

#[test]
fn leaving_asks_once_where_a_message_would_be_lost() {
    let mut app = app(1);
    write(&mut app, "hello");
    press(&mut app, KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(!app.is_over());
    assert!(shown(&mut app, 80, 24).contains("1 message is not sent yet"));
    press(&mut app, KeyCode::Char('x'), KeyModifiers::NONE);
    press(&mut app, KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(!app.is_over(), "another key takes it back");
    press(&mut app, KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert!(app.is_over());
}

#[test]
fn two_strokes_send_one_and_a_mistyped_command_sends_nothing() {
    let mut app = app(1);
    write(&mut app, "//etc");
    assert_eq!(sent(&mut app).body, posthouse_protocol::NewBody::text("/etc"));
    write(&mut app, "/fly ben");
    assert_eq!(app.requests.pop_front(), None);
    assert!(shown(&mut app, 80, 24).contains("There is no command /fly"));
    app.requests.clear();
    write(&mut app, &"x".repeat(16 * 1024 + 1));
    assert!(matches!(app.requests.pop_front(), None | Some(Request::Typing(_))));
    assert!(!app.editor.text().is_empty(), "what is too long stays to be cut");
}

#[test]
fn what_happens_to_a_group_stands_between_its_messages_until_one_is_out_of_it() {
    let mut app = app(1);
    let updated = json!({ "type": "system", "what": "updated", "title": "Board of 7" });
    let updated = Message { body: serde_json::from_value(updated).unwrap(), ..message(2, "") };
    app.on_item(Item::Event(Push { cursor: None, event: Event::Message(updated) }));
    assert!(shown(&mut app, 80, 24).contains("16:12 ben called the group Board of 7"));
    let gone = json!({ "event": "conversation_removed", "data": { "conversation_id": ROOM } });
    app.on_item(Item::Event(Push { cursor: None, event: serde_json::from_value(gone).unwrap() }));
    let screen = shown(&mut app, 80, 24);
    assert!(app.open.is_none() && screen.contains("You are no longer in that conversation"), "{screen}");
    app.requests.clear();
    write(&mut app, "hello");
    assert_eq!(app.requests.pop_front(), None);
}

#[test]
fn what_was_shown_is_told_once_after_a_moment() {
    let mut app = app(3);
    let receipts = |app: &mut App, after_ms: u64| {
        app.on_time(Instant::now() + Duration::from_millis(after_ms));
        std::iter::from_fn(|| app.requests.pop_front()).map(|request| format!("{request:?}")).collect::<Vec<_>>()
    };
    assert_eq!(receipts(&mut app, 0), [""; 0], "the server counted nothing as unread");
    for seq in 4..10 {
        app.on_item(Item::Event(Push { cursor: None, event: Event::Message(message(seq, "news")) }));
        assert_eq!(receipts(&mut app, 0), [""; 0]);
    }
    assert!(app.next_tick(Instant::now()).is_some_and(|wait| wait <= Duration::from_millis(500)));
    let told = receipts(&mut app, 600);
    assert!(told.len() == 1 && told[0].contains("read: Some(Seq(9))"), "{told:?}");
    assert_eq!(receipts(&mut app, 2_000), [""; 0]);
    assert!(app.next_tick(Instant::now()).is_some_and(|wait| wait > Duration::from_secs(60)), "nothing else is due");
}
