//! `posthouse chat`, on a screen.

use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use posthouse_e2e::pty::Pty;
use posthouse_e2e::terminal::Terminal;
use posthouse_e2e::{Device, PASSWORD, Server, Site};
use posthouse_protocol::{
    Event, Presence, PresenceParams, PresenceStatus, Receipt, ReceiptParams, Seq, Typing, TypingParams,
};

const SIZE: (u16, u16) = (24, 80);
const PAGE_UP: &str = "\u{1b}[5~";
const ESCAPE: &str = "\u{1b}";
const CONTROL_C: &str = "\u{3}";
const CONTROL_N: &str = "\u{e}";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_arrives_once_also_over_a_restart_and_history_scrolls() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let home = logged_in(&site, &server, "anna");
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let conversation = ben.direct("anna").await;
    for number in 1..=120 {
        ben.send(conversation, &format!("line {number:03}")).await;
    }
    let mut screen = Pty::start(&["chat", "ben"], &home, SIZE);
    screen.until("newest message", |shown| shown.contains("line 120") && shown.contains("● anna at http"));
    screen.keys("你好, Ben 👋\r");
    assert_eq!(ben.next_message().await.text(), Some("你好, Ben 👋"));
    screen.until("acknowledged message", |shown| shown.contains("anna: 你好, Ben 👋") && !shown.contains('…'));

    // What would clear the screen is shown and does nothing.
    ben.send(conversation, "\u{1b}[2Jred\u{7}").await;
    screen.until("harmless text", |shown| shown.contains("␛[2Jred␇") && shown.contains("line 120"));

    // Pages of history come as one scrolls.
    until_scrolled_to(&mut screen, "line 001");
    screen.until("history alone", |shown| shown.contains("older messages") && !shown.contains("line 120"));
    ben.send(conversation, "below").await;
    screen.keys(ESCAPE);
    screen.until_shown("ben: below");

    let address = server.address();
    server.kill();
    screen.until_shown("reconnecting");
    screen.keys("while away\r");
    screen.until_shown("…   anna: while away");
    screen.keys(CONTROL_C);
    screen.until_shown("1 message is not sent yet");
    let server = Server::start(site.command_at(address), site.admin_socket()).expect("the server starts again");
    let shown = screen.until("acknowledgement", |shown| {
        shown.contains(" anna: while away") && shown.contains("● anna at") && !shown.contains('…')
    });
    assert_eq!(shown.matches("while away").count(), 1, "{shown}");
    let ben = Device::connect(&server.url(), ben.token).await;
    let history = ben.history(conversation).await;
    assert_eq!(history.iter().filter(|message| message.text() == Some("while away")).count(), 1);

    screen.resize(12, 40);
    let shown = screen.until("small screen", |shown| shown.contains("while away") && !shown.contains('│'));
    assert!(shown.lines().all(|line| line.chars().count() <= 40), "{shown}");
    screen.keys(CONTROL_C);
    assert!(screen.ended().success());
    assert!(!screen.is_taken_over(), "the terminal is given back");
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn news_of_other_conversations_are_marked_and_names_complete() {
    let (site, server) = Site::with_accounts(&["anna", "ben", "carl"]);
    let home = logged_in(&site, &server, "anna");
    let [ben, carl] = [Device::log_in(&server.url(), "ben").await, Device::log_in(&server.url(), "carl").await];
    ben.send(ben.direct("anna").await, "hello from ben").await;
    carl.send(carl.direct("anna").await, "old").await;
    let mut screen = Pty::start(&["chat", "ben"], &home, SIZE);
    screen.until("both conversations", |shown| shown.contains("hello from ben") && shown.contains("  carl"));
    carl.send(carl.direct("anna").await, "news from carl").await;
    let shown = screen.until("unread marks", |shown| {
        let is_marked = shown.lines().any(|line| line.starts_with("  carl ") && line.contains(" 2 │"));
        is_marked && shown.contains("1 other conversation has news")
    });
    assert!(!shown.contains("news from carl"), "{shown}");
    // His is the first of the list now.
    screen.keys("\u{10}");
    let shown =
        screen.until("his conversation", |shown| shown.contains("news from carl") && shown.contains("carl: old"));
    assert!(shown.contains("── new ─") && !shown.contains("other conversation"), "{shown}");
    screen.keys(CONTROL_N);
    screen.until_shown("hello from ben");
    screen.keys("/op\tca\t\r");
    screen.until_shown("news from carl");
    screen.keys("@be\tyou?");
    screen.until_shown("> @ben you?");
    screen.keys("\u{15}/open nobody\r");
    screen.until_shown("Nobody and no conversation of yours is called nobody.");
    kill(Pid::from_raw(screen.id().try_into().expect("a process id")), Signal::SIGTERM).expect("it runs");
    assert!(screen.ended().success());
    assert!(!screen.is_taken_over(), "the terminal is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_who_is_there_and_who_has_read_is_told_both_ways() {
    let (site, server) = Site::with_accounts(&["anna", "ben", "carl"]);
    let home = logged_in(&site, &server, "anna");
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let conversation_id = ben.direct("anna").await;
    ben.send(conversation_id, "one").await;
    let second = ben.send(conversation_id, "two").await;
    let mut screen = Pty::start(&["chat", "carl"], &home, SIZE);
    screen.until("what came before", |shown| {
        shown.lines().any(|line| line.starts_with("  ben ") && line.contains(" 2 │"))
    });
    let event = until_event(&mut ben, |event| matches!(event, Event::Receipts(_))).await;
    let Event::Receipts(receipts) = event else { unreachable!("it was looked for") };
    assert_eq!((receipts.marks[0].read, receipts.marks[0].delivered), (Seq(0), second.seq), "it came and was not read");
    screen.keys("/open ben\r");
    let shown = screen.until_shown("ben: two");
    assert!(shown.contains("── new ─"), "{shown}");
    let is_read =
        |event: &Event| matches!(event, Event::Receipts(it) if it.marks.iter().any(|mark| mark.read == second.seq));
    until_event(&mut ben, is_read).await;

    let present =
        ben.client.call::<Presence>(&PresenceParams { status: PresenceStatus::Online }).await.expect("the answer");
    assert_eq!(present.accounts.len(), 1, "anna is there");
    screen.until_shown("ben  ● online");
    ben.client.call::<Typing>(&TypingParams { conversation_id }).await.expect("it is taken");
    screen.until_shown("ben is typing …");
    ben.send(conversation_id, "three").await;
    screen.until("three", |shown| shown.contains("ben: three") && !shown.contains("typing"));
    screen.keys("hello");
    until_event(&mut ben, |event| matches!(event, Event::Typing(_))).await;
    screen.keys("\r");
    let hello = loop {
        let message = ben.next_message().await;
        if message.text() == Some("hello") {
            break message;
        }
    };
    let receipt = |read, delivered| ReceiptParams { conversation_id, read, delivered };
    ben.client.call::<Receipt>(&receipt(None, Some(hello.seq))).await.expect("it is taken");
    screen.until_shown("✓ delivered");
    ben.client.call::<Receipt>(&receipt(Some(hello.seq), None)).await.expect("it is taken");
    screen.until_shown("✓✓ read");
    screen.keys(CONTROL_C);
    assert!(screen.ended().success());
    let gone = |event: &Event| matches!(event, Event::Presence(now) if now.status == PresenceStatus::Offline);
    until_event(&mut ben, gone).await;
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_change_messages_and_groups_and_say_what_was_wrong() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let home = logged_in(&site, &server, "anna");
    let mut ben = Device::log_in(&server.url(), "ben").await;
    let conversation_id = ben.direct("anna").await;
    let lunch = ben.send(conversation_id, "Lunch?").await;
    let mut screen = Pty::start(&["chat", "ben"], &home, SIZE);
    screen.until_shown("ben: Lunch?");
    screen.keys("/reply last at noon, @ben\r");
    let reply = ben.next_message().await;
    assert_eq!((reply.reply_to, reply.text()), (Some(lunch.message_id), Some("at noon, @ben")));
    assert_eq!(reply.mentions.map(|it| it.accounts), Some(vec![ben.account.account_id]));
    screen.until("quoted answer", |shown| shown.contains("┌ ben: Lunch?") && shown.contains("anna: at noon, @ben"));
    screen.keys("/react 1 +1\r");
    until_event(&mut ben, |event| matches!(event, Event::Reaction(it) if it.emoji == "👍" && it.added)).await;
    screen.until_shown("[👍 1]");
    screen.keys("/edit last\r");
    screen.until_shown("> /edit 2 at noon, @ben");
    screen.keys("!\r");
    until_event(&mut ben, |event| matches!(event, Event::MessageEdited(it) if it.seq == reply.seq)).await;
    screen.until_shown("anna: at noon, @ben!  (edited)");
    screen.keys("/versions last\r");
    screen.until("what it has said", |shown| {
        let (now, before) = (shown.find("  at noon, @ben! "), shown.find("  at noon, @ben "));
        shown.contains("Message 2, newest first") && now.is_some() && now < before
    });
    screen.keys(ESCAPE);
    screen.until("no sheet", |shown| !shown.contains("newest first"));
    screen.keys("/recall 1\r");
    screen.until("refusal, with the command to be mended", |shown| {
        shown.contains("/recall was refused: ") && shown.contains("> /recall 1")
    });
    screen.keys("\u{15}/recall last\r");
    until_event(&mut ben, |event| matches!(event, Event::MessageRecalled(it) if it.seq == reply.seq)).await;
    screen.until_shown("anna: (recalled)");

    screen.keys("/group create \"Board of 7\" ben\r");
    screen.until_shown("Board of 7  2 members");
    screen.keys("/mute 2h\r");
    screen.until("muted group", |shown| shown.contains("muted and not pinned") && shown.contains('ø'));
    screen.keys("/group leave\r");
    screen.until("end of the group", |shown| !shown.contains("members") && !shown.contains('ø'));
    screen.keys(CONTROL_C);
    assert!(screen.ended().success());
    server.assert_undisturbed();
}

/// Waits for an event of this kind, passing over the others.
async fn until_event(device: &mut Device, is_wanted: impl Fn(&Event) -> bool) -> Event {
    loop {
        let event = device.next_event().await;
        if is_wanted(&event) {
            return event;
        }
    }
}

#[test]
fn without_a_terminal_or_a_log_in_chat_says_what_to_do() {
    let (site, server) = Site::with_accounts(&["anna"]);
    let home = logged_in(&site, &server, "anna");
    let line = Terminal::new(home.clone()).run(&["chat"]).refused(1);
    assert!(line.contains("chat needs a terminal") && line.contains("listen"), "{line}");
    let line = Terminal::new(home).run(&["--json", "chat"]).refused(1);
    assert!(line.contains("listen --json"), "{line}");
    let mut screen = Pty::start(&["chat"], &site.path("stranger"), SIZE);
    assert_eq!(screen.ended().exit_code(), 1);
    screen.until_shown("not logged in: run `posthouse login");
}

/// Pages up until the text is on the screen. Each key waits for what the one before it did: at the oldest message that
/// is held, that is the next page from the server.
fn until_scrolled_to(screen: &mut Pty, text: &str) {
    loop {
        let before = screen.shown();
        if before.contains(text) {
            return;
        }
        screen.keys(PAGE_UP);
        screen.until("older row", |shown| shown != before);
    }
}

fn logged_in(site: &Site, server: &Server, name: &str) -> PathBuf {
    let home = site.path(&format!("home-of-{name}"));
    let url = server.url().to_string();
    let login = ["login", "--server", &url, "--password-stdin", name];
    Terminal::new(home.clone()).run_with_input(&login, PASSWORD).ok();
    home
}
