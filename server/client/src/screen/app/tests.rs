//! Keys in, the screen out, without a terminal.

use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use posthouse_client::{ClientError, Item};
use posthouse_protocol::{
    ConversationId, ErrorBody, ErrorCode, Event, HistoryResult, Message, MessagesVersionsParams, Push, Seq,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;
use tokio::time::{Duration, Instant};

use super::{App, Outcome, Request, Sheet};
use crate::screen::deed::{Deed, Done};
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
    app.sheet = Some(Sheet::help());
    assert!(shown(&mut app, 80, 24).contains("Ctrl-R"));
    shown(&mut app, 20, 5);
}

#[test]
fn what_a_message_has_said_is_asked_for_and_lies_over_the_screen_until_the_next_key() {
    let mut app = app(3);
    write(&mut app, "/versions last");
    assert!(shown(&mut app, 80, 24).contains("Nothing that is loaded was edited"));
    assert_eq!(app.requests.pop_front(), None);
    app.editor.take();
    write(&mut app, "/versions 2");
    let Some(Request::Deed(deed, _)) = app.requests.pop_back() else { panic!("it is asked for") };
    assert!(matches!(*deed, Deed::Versions(Seq(2), MessagesVersionsParams { after: None, .. })), "{deed:?}");
    let version = |version: u32, text: &str| {
        let ts = 1_795_363_973_632_u64 + u64::from(version) * 60_000;
        let body = json!({ "type": "text", "text": text });
        serde_json::from_value(json!({ "version": version, "ts": ts, "body": body })).unwrap()
    };
    let long = format!("hostile \u{1b}[2J {}\n2026-11-22 16:11  I resign", "word ".repeat(100));
    let versions = vec![version(1, "line 1, as it was"), version(2, &long), version(3, "line 2")];
    app.on_outcome(Outcome::Done("versions 2".to_owned(), Ok(Done::Versions(Seq(2), versions))));
    let screen = shown(&mut app, 80, 24);
    assert!(screen.contains("Message 2, newest first") && screen.contains("2026-11-22 16:15  line 2"), "{screen}");
    assert!(screen.contains("hostile ␛[2J word") && screen.contains("16:13  line 1, as it was"), "{screen}");
    assert!(screen.find("16:15") < screen.find("16:13"), "{screen}");
    for looks_like_another in ["│ word", "│ 2026-11-22 16:11"] {
        assert!(!screen.contains(looks_like_another), "{screen}");
    }
    for (columns, rows) in [(1, 1), (3, 3), (20, 5), (200, 60)] {
        shown(&mut app, columns, rows);
    }
    press(&mut app, KeyCode::Esc, KeyModifiers::NONE);
    assert!(!shown(&mut app, 80, 24).contains("newest first"));
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
    assert_eq!(app.editor.take(), "/fly ben", "it stays to be mended");
    write(&mut app, &"x".repeat(16 * 1024 + 1));
    assert_eq!(app.requests.pop_front(), None);
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
    assert_eq!(asked(&mut app), [""; 0]);
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

fn event(app: &mut App, name: &str, data: &serde_json::Value) {
    let event = serde_json::from_value(json!({ "event": name, "data": data })).unwrap();
    app.on_item(Item::Event(Push { cursor: None, event }));
}

fn asked(app: &mut App) -> Vec<String> {
    std::iter::from_fn(|| app.requests.pop_front()).map(|request| format!("{request:?}")).collect()
}

#[test]
fn a_message_is_shown_with_all_that_belongs_to_it() {
    let mut app = app(3);
    let reply = json!({
        "message_id": 4, "conversation_id": ROOM, "seq": 4, "ts": 1_795_363_973_640_u64,
        "sender": { "account_id": 2, "username": "ben" }, "body": { "type": "text", "text": "Anna, yes" },
        "reply_to": 2, "mentions": { "accounts": [1] }, "edited_ts": 1_795_363_973_650_u64,
        "reactions": [{ "emoji": "👍", "count": 2, "accounts": [1, 2] }, { "emoji": "🎉", "count": 1, "accounts": [2] }],
    });
    event(&mut app, "message", &reply);
    let screen = shown(&mut app, 80, 24);
    let at =
        |text: &str| screen.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}\n{screen}"));
    let quote = at("┌ ben: line 2");
    assert_eq!([at("16:12 ben: Anna, yes  (edited)"), at("[👍 2]  🎉 1")], [quote + 1, quote + 2], "{screen}");
    event(
        &mut app,
        "message_recalled",
        &json!({ "conversation_id": ROOM, "message_id": 2, "seq": 2, "by": 9, "ts": 5 }),
    );
    let screen = shown(&mut app, 80, 24);
    assert!(screen.contains("ben: (recalled by somebody)") && screen.contains("┌ ben: (recalled)"), "{screen}");
}

#[test]
fn the_newest_own_message_says_how_far_it_has_come() {
    let mut app = app(1);
    write(&mut app, "hello");
    let name = sent(&mut app).client_msg_id;
    let result = serde_json::from_value(json!({ "message_id": 9, "seq": 2, "ts": 1_795_363_973_700_u64 })).unwrap();
    app.on_outcome(Outcome::Sent(ROOM, name, Ok(result)));
    assert!(!shown(&mut app, 80, 24).contains('✓'), "stored is what all are");
    let mark = |read: u64| {
        json!({ "conversation_id": ROOM, "marks": [
        { "account_id": 1, "read": 2, "delivered": 2 }, { "account_id": 2, "read": read, "delivered": 2 },
    ] })
    };
    event(&mut app, "receipts", &mark(1));
    assert!(shown(&mut app, 80, 24).contains("✓ delivered"));
    event(&mut app, "receipts", &mark(2));
    assert!(shown(&mut app, 80, 24).contains("✓✓ read"));
    event(&mut app, "receipts", &mark(1));
    assert!(shown(&mut app, 80, 24).contains("✓✓ read"), "nothing goes back");
}

#[test]
fn the_other_is_seen_to_come_to_write_and_to_go() {
    let mut app = app(1);
    event(&mut app, "presence", &json!({ "account_id": 2, "status": "online" }));
    let screen = shown(&mut app, 80, 24);
    assert!(screen.contains("ben  ● online") && screen.contains("▸●ben"), "{screen}");
    event(&mut app, "typing", &json!({ "conversation_id": ROOM, "account_id": 2 }));
    assert!(shown(&mut app, 80, 24).contains("ben is typing …"));
    event(&mut app, "message", &serde_json::to_value(message(2, "so")).unwrap());
    assert!(!shown(&mut app, 80, 24).contains("typing"));
    event(&mut app, "typing", &json!({ "conversation_id": ROOM, "account_id": 2 }));
    app.on_time(Instant::now() + Duration::from_secs(7));
    assert!(!shown(&mut app, 80, 24).contains("typing"));
    event(&mut app, "presence", &json!({ "account_id": 2, "status": "away" }));
    assert!(shown(&mut app, 80, 24).contains("▸◐ben"));
}

#[test]
fn writing_is_told_at_the_pace_that_is_wanted_and_commands_are_not() {
    let mut app = app(1);
    "hello".chars().for_each(|letter| press(&mut app, KeyCode::Char(letter), KeyModifiers::NONE));
    assert_eq!(asked(&mut app), [format!("Typing({ROOM:?})")]);
    let mut app = self::app(1);
    "/mute".chars().for_each(|letter| press(&mut app, KeyCode::Char(letter), KeyModifiers::NONE));
    assert_eq!(asked(&mut app), [""; 0]);
}

#[test]
fn what_comes_while_nobody_looks_stays_unread_below_a_line() {
    let mut app = app(1);
    app.on_terminal(TerminalEvent::FocusLost);
    event(&mut app, "message", &serde_json::to_value(message(2, "psst")).unwrap());
    event(&mut app, "message", &serde_json::to_value(message(3, "you there?")).unwrap());
    assert_eq!(app.view.unread(ROOM).messages, 2);
    app.on_terminal(TerminalEvent::FocusGained);
    assert_eq!(app.view.unread(ROOM).messages, 0);
    let screen = shown(&mut app, 80, 24);
    let at =
        |text: &str| screen.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}\n{screen}"));
    assert_eq!(at("── new ") + 1, at("ben: psst"), "{screen}");
    app.on_time(Instant::now() + Duration::from_secs(299));
    assert_eq!(asked(&mut app).iter().filter(|it| it.starts_with("Presence")).count(), 0);
    app.on_time(Instant::now() + Duration::from_secs(301));
    assert!(asked(&mut app).contains(&"Presence(Away)".to_owned()));
    press(&mut app, KeyCode::Left, KeyModifiers::NONE);
    app.on_time(Instant::now());
    assert!(asked(&mut app).contains(&"Presence(Online)".to_owned()));
    let error = ClientError::Disconnected("gone".to_owned());
    app.on_item(Item::Offline { error, retry_in: Duration::from_secs(1) });
    let idle = Instant::now() + Duration::from_secs(301);
    app.on_time(idle);
    assert_eq!(app.next_tick(idle), Some(Duration::from_millis(250)), "it waits, and is not due for ever");
}

#[test]
fn commands_act_on_the_message_that_they_name_and_a_wrong_one_stays_to_be_mended() {
    let mut app = app(3);
    write(&mut app, "/reply last @ben yes");
    let reply = sent(&mut app);
    assert_eq!((reply.reply_to.unwrap().0, &reply.body), (3, &posthouse_protocol::NewBody::text("@ben yes")));
    assert_eq!(reply.mentions.unwrap().accounts, [posthouse_protocol::AccountId(2)]);
    write(&mut app, "/react 2 +1");
    let deeds = asked(&mut app);
    assert!(deeds.len() == 1 && deeds[0].contains("message_id: MessageId(2), emoji: \"👍\", add: true"), "{deeds:?}");
    for (wrong, said) in [
        ("/reply 99 hello", "Message 99 is not loaded"),
        ("/reply hello", "/reply 12 TEXT"),
        ("/edit 2 mine now", "Message 2 is not yours"),
        ("/recall last", "There is none yet"),
        ("/group leave", "That is for groups"),
    ] {
        write(&mut app, wrong);
        assert!(shown(&mut app, 80, 24).contains(said), "{wrong}");
        assert_eq!((asked(&mut app), app.editor.text()), (Vec::new(), wrong));
        app.editor.take();
    }
    let refused = ClientError::Refused(ErrorBody::new(ErrorCode::LimitReached, "too many emoji"));
    app.on_outcome(Outcome::Done("/react 2 🎉".to_owned(), Err(refused)));
    assert!(shown(&mut app, 80, 24).contains("/react was refused: too many emoji"));
    assert_eq!(app.editor.text(), "/react 2 🎉");
    assert!(shown(&mut app, 80, 24).contains("    3 ben: line 3"), "numbers are shown while one is named");
}

#[test]
fn an_edit_begins_with_what_was_said_and_a_draft_stays_with_whom_it_is_for() {
    let mut app = app(1);
    write(&mut app, "lunch");
    let name = sent(&mut app).client_msg_id;
    let result = serde_json::from_value(json!({ "message_id": 9, "seq": 2, "ts": 1_795_363_973_700_u64 })).unwrap();
    app.on_outcome(Outcome::Sent(ROOM, name, Ok(result)));
    write(&mut app, "/edit last");
    assert_eq!(app.editor.text(), "/edit 2 lunch");
    app.editor.take();
    app.editor.insert("for ben");
    let other = json!({ "conversation_id": 8, "kind": "direct", "last_seq": 0, "peer": { "account_id": 3, "username": "carl" } });
    app.on_outcome(Outcome::Opened(serde_json::from_value(other).unwrap()));
    assert_eq!(app.editor.text(), "");
    app.open(ROOM);
    assert_eq!(app.editor.text(), "for ben");
}

fn profile(id: u64, username: &str, display_name: &str, status: &str) -> serde_json::Value {
    json!({ "account_id": id, "username": username, "display_name": display_name, "role": "member", "status": status })
}

#[test]
fn people_are_called_by_their_display_names_and_who_has_departed_is_marked() {
    let mut app = App::new("http://box".to_owned(), None, Palette::without_colors(), TimeZone::UTC);
    app.on_item(Item::Online);
    app.on_outcome(Outcome::Me(serde_json::from_value(json!({ "account_id": 1, "username": "anna" })).unwrap()));
    let conversation = json!({
        "conversation_id": ROOM, "kind": "direct", "last_seq": 1, "peer": { "account_id": 2, "username": "ben" },
    });
    app.on_outcome(Outcome::Listed(vec![serde_json::from_value(conversation).unwrap()]));
    app.open(ROOM);
    app.on_outcome(Outcome::History(
        ROOM,
        None,
        Ok(HistoryResult { messages: vec![message(1, "hello")], has_more: false }),
    ));
    app.on_time(Instant::now());
    let asked_for = |app: &mut App| asked(app).into_iter().filter(|it| it.starts_with("Profiles")).collect::<Vec<_>>();
    assert_eq!(asked_for(&mut app), ["Profiles([AccountId(1), AccountId(2)])"], "all at once");
    app.on_time(Instant::now());
    assert_eq!(asked_for(&mut app), [""; 0], "and once");
    let profiles = [profile(1, "anna", "Anna Berg", "active"), profile(2, "ben", "Ben Berg", "active")];
    app.on_outcome(Outcome::Profiles(profiles.map(|profile| serde_json::from_value(profile).unwrap()).into()));
    event(&mut app, "typing", &json!({ "conversation_id": ROOM, "account_id": 2 }));
    write(&mut app, "hi");
    let screen = shown(&mut app, 80, 24);
    for said in ["▸ Ben Berg ", "16:12 Ben Berg: hello", "…   Anna Berg: hi", "Ben Berg is typing …"] {
        assert!(screen.contains(said), "{said}\n{screen}");
    }
    app.open = None;
    let error = ClientError::Refused(ErrorBody::new(ErrorCode::NotFound, "nobody"));
    app.on_outcome(Outcome::NotOpened("ben berg".to_owned(), error));
    assert_eq!(app.open, Some(ROOM), "a conversation opens by what it is called");
    event(&mut app, "account_updated", &profile(2, "ben", "anna", "active"));
    assert!(shown(&mut app, 80, 24).contains("16:12 anna (ben): hello"));
    event(&mut app, "account_updated", &profile(2, "ben", "Ben Berg", "departed"));
    let screen = shown(&mut app, 80, 24);
    assert!(screen.contains("▸ Ben Berg (departed)") && screen.contains("Ben Berg (departed): hello"), "{screen}");
}
