//! `posthouse`, as a person types it.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use posthouse_client::Client;
use posthouse_e2e::terminal::{Running, Terminal};
use posthouse_e2e::{Device, PASSWORD, Server, Site, binaries};
use posthouse_protocol::{
    Login, LoginParams, Presence, PresenceParams, PresenceStatus, Receipt, ReceiptParams, Seq, Typing, TypingParams,
};
use serde_json::Value;

#[test]
fn an_account_is_made_logged_in_and_used_by_the_command_alone() {
    let (site, server) = Site::with_accounts(&[]);
    let [anna, ben] = ["anna", "ben"].map(|name| Terminal::new(site.path(name)));
    let socket = site.admin_socket().display().to_string();
    let said = anna.run_with_input(&["user", "add", "--admin-socket", &socket, "--password-stdin", "anna"], PASSWORD);
    assert_eq!(said.ok(), "Account anna made.");
    let made_up = ben.run(&["user", "add", "--admin-socket", &socket, "ben"]).ok();
    let password = made_up.strip_prefix("Account ben made. Password: ").expect("a made-up password").to_owned();

    let url = server.url().to_string();
    let said = anna.run_with_input(&["login", "--server", &url, "--password-stdin", "Anna"], PASSWORD);
    assert_eq!(said.ok(), format!("Logged in as anna at {url}."));
    ben.run_with_input(&["login", "--server", &url, "--password-stdin", "ben"], &format!("{password}\n")).ok();
    let mode = std::fs::metadata(anna.login_file()).expect("the log-in is kept").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "a token is its owner's alone");

    assert!(
        anna.run(&["send", "ben", "你好,", "Ben!", "👋"]).ok().starts_with("Sent, number 1 of this conversation, at ")
    );
    assert!(ben.run(&["send", "anna", "--", "-v is no option here"]).ok().starts_with("Sent, number 2 "));
    let read = anna.run(&["read", "ben"]).ok();
    let lines: Vec<_> = read.lines().collect();
    assert_eq!(lines.len(), 2, "{read}");
    assert!(lines[0].ends_with("  anna: 你好, Ben! 👋"), "{read}");
    assert!(lines[1].ends_with("  ben: -v is no option here"), "{read}");
    assert_eq!(ben.run(&["conversations"]).ok(), "anna  (2 messages)");
    assert_eq!(anna.run(&["conversations"]).ok(), "ben  (2 messages, 1 unread)");
    assert_eq!(ben.run(&["read", "anna", "--limit", "1"]).ok().lines().count(), 1);
    server.assert_undisturbed();
}

#[test]
fn messages_are_answered_edited_recalled_and_reacted_to_by_their_numbers() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let [anna, ben] = ["anna", "ben"].map(|name| logged_in(&site, &server, name));
    anna.run(&["send", "ben", "lunhc?"]).ok();
    let listening = ben.start(&["listen"], "");
    listening.err.find(|line| line.contains("Listening").then_some(())).expect("it says that it listens");
    assert_eq!(anna.run(&["edit", "ben", "1", "lunch", "today?"]).ok(), "Edited.");
    assert_eq!(ben.run(&["react", "anna", "1", "👍"]).ok(), "Added.");
    assert!(ben.run(&["reply", "anna", "1", "at", "noon"]).ok().starts_with("Sent, number 2 "));
    anna.run(&["send", "ben", "my password is 1234"]).ok();
    assert_eq!(anna.run(&["recall", "ben", "3"]).ok(), "Recalled.");
    let read = ben.run(&["read", "anna"]).ok();
    let lines: Vec<_> = read.lines().collect();
    assert!(lines[0].starts_with("1  ") && lines[0].ends_with("  anna: lunch today?  (edited)  👍 1"), "{read}");
    assert!(lines[1].ends_with("  ben: at noon"), "{read}");
    assert!(lines[2].ends_with("  anna: (recalled)"), "{read}");
    let replies = ben.run(&["--json", "read", "anna"]).ok();
    assert!(replies.lines().nth(1).is_some_and(|line| line.contains(r#""reply_to":"#)), "{replies}");
    for said in ["1  now: lunch today?", "1  ben: +👍", "3  was recalled"] {
        listening.out.find(|line| (line == said).then_some(())).expect("it is told as it happens");
    }
    let missing = anna.run(&["recall", "ben", "9"]).refused(1);
    assert_eq!(missing, "posthouse: there is no message 9 in the conversation with ben");
    anna.run(&["recall", "ben", "2"]).refused(1);
    assert_eq!(anna.run(&["react", "ben", "1", "👍", "--remove"]).ok(), "Taken away.");
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_and_no_name_of_a_device_looks_like_a_line_of_its_own() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let [anna, ben] = ["anna", "ben"].map(|name| logged_in(&site, &server, name));
    let listening = anna.start(&["listen"], "");
    listening.err.find(|line| line.contains("Listening").then_some(())).expect("it says that it listens");
    let forged = "multi\n99  2026-11-23 10:00:00  anna: I resign";
    ben.run(&["send", "anna", forged]).ok();
    ben.run(&["edit", "anna", "1", &format!("{forged}!")]).ok();
    listening.out.find(|line| line.starts_with("1  now: multi").then_some(())).expect("the edit");
    for said in [anna.run(&["read", "ben"]).ok(), anna.run(&["versions", "ben", "1"]).ok(), listening.out.text()] {
        assert!(said.contains("\n      99  2026") && !said.contains("\n99"), "{said}");
    }
    let (client, _events) = Client::open(&server.url()).await.expect("a connection");
    let username = "anna".parse().expect("a name");
    let params = LoginParams { username, password: PASSWORD.to_owned(), device: "phone\n7  laptop".to_owned() };
    client.call::<Login>(&params).await.expect("logged in");
    let devices = anna.run(&["devices"]).ok();
    assert!(devices.contains("  phone 7  laptop  last used ") && devices.lines().count() == 2, "{devices}");
    server.assert_undisturbed();
}

#[test]
fn people_are_shown_by_both_their_names_and_who_has_departed_is_marked() {
    let names = ["anna", "ben", "carl", "dora", "emil", "fritz", "gerd", "hans", "ida", "jan"];
    let (site, server) = Site::with_accounts(&names);
    let [anna, ben] = ["anna", "ben"].map(|name| logged_in(&site, &server, name));
    let listening = anna.start(&["listen"], "");
    listening.err.find(|line| line.contains("Listening").then_some(())).expect("it says that it listens");
    ben.run(&["account", "rename", "Ben Berg"]).ok();
    anna.run(&["group", "create", "Board", "ben", "carl"]).ok();
    ben.run(&["send", "anna", "hello"]).ok();
    listening.out.find(|line| line.ends_with("  Ben Berg (ben): hello").then_some(())).expect("the message");
    ben.run(&["account", "rename", "anna"]).ok();
    ben.run(&["send", "anna", "again"]).ok();
    listening.out.find(|line| line.ends_with("  anna (ben): again").then_some(())).expect("the message");
    ben.run(&["account", "rename", "Ben Berg"]).ok();
    let read = anna.run(&["read", "ben"]).ok();
    assert!(read.lines().all(|line| line.contains("  Ben Berg (ben): ")), "{read}");
    assert!(!anna.run(&["--json", "read", "ben"]).ok().contains("Berg"), "programs are given what the server gave");
    let read = anna.run(&["read", "Board"]).ok();
    assert!(read.ends_with("  anna made the group Board with Ben Berg (ben), carl"), "{read}");
    assert_eq!(anna.run(&["group", "members", "Board"]).ok(), "anna  owner\nBen Berg (ben)  member\ncarl  member");
    let receipts = anna.run(&["receipts", "Board", "1"]).ok();
    assert_eq!(receipts, "Ben Berg (ben)  not yet\ncarl  not yet");
    // So many are looked for on pages, where who has departed is left out.
    for name in &names[2..] {
        anna.run(&["send", name, "hello"]).ok();
    }
    anna.run(&["account", "depart", "ben"]).ok();
    let conversations = anna.run(&["conversations"]).ok();
    assert!(conversations.contains("\nBen Berg (ben) (departed)  (2 messages"), "{conversations}");
    assert!(conversations.contains("carl  (1 messages"), "{conversations}");
    server.assert_undisturbed();
}

#[test]
fn what_a_message_said_whom_it_mentions_and_who_has_read_it_is_shown_and_conversations_are_muted_and_pinned() {
    let (site, server) = Site::with_accounts(&["anna", "ben", "carl"]);
    let [anna, ben] = ["anna", "ben"].map(|name| logged_in(&site, &server, name));
    anna.run(&["group", "create", "Board", "ben", "carl"]).ok();
    assert!(anna.run(&["send", "--mention", "ben", "Board", "lunhc?"]).ok().starts_with("Sent, number 2 "));
    anna.run(&["edit", "Board", "2", "lunch?"]).ok();
    let versions = ben.run(&["versions", "Board", "2"]).ok();
    let lines: Vec<_> = versions.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("1  ") && lines[0].ends_with("  lunhc?"), "{versions}");
    assert!(lines[1].starts_with("2  ") && lines[1].ends_with("  lunch?"), "{versions}");
    assert!(ben.run(&["conversations"]).ok().ends_with("  (2 messages, 1 unread, 1 for you)"));
    anna.run(&["reply", "--mention-all", "Board", "2", "everybody?"]).ok();
    assert!(ben.run(&["conversations"]).ok().ends_with("  (3 messages, 2 unread, 2 for you)"));
    let nobody = anna.run(&["send", "--mention", "nobody", "Board", "hello"]).refused(1);
    assert!(nobody.starts_with("posthouse: account nobody: "), "{nobody}");

    assert_eq!(anna.run(&["receipts", "Board", "3"]).ok(), "ben  not yet\ncarl  not yet");
    ben.run(&["read", "Board", "--mark-read"]).ok();
    // The server gathers receipts for half a second.
    let has_read = || ben.run(&["conversations"]).ok().ends_with("  (3 messages)").then_some(());
    posthouse_e2e::wait::until("word that ben has read", has_read);
    assert_eq!(anna.run(&["receipts", "Board", "3"]).ok(), "ben  read\ncarl  not yet");
    let marks =
        "anna  read to 3, delivered to 3\nben  read to 3, delivered to 3\ncarl  nothing read, nothing delivered";
    assert_eq!(anna.run(&["receipts", "Board"]).ok(), marks);
    assert!(anna.run(&["receipts", "Board", "9"]).refused(1).contains("there is no message 9"));

    let muted = ben.run(&["mute", "Board", "8h"]).ok();
    assert!(muted.starts_with("Muted until 2") && muted.ends_with('.'), "{muted}");
    assert_eq!(ben.run(&["mute", "Board"]).ok(), "Muted.");
    assert_eq!(ben.run(&["pin", "Board"]).ok(), "Pinned.");
    assert!(ben.run(&["conversations"]).ok().ends_with("  (3 messages, muted, pinned)"));
    assert_eq!(ben.run(&["unmute", "Board"]).ok(), "Not muted any more.");
    assert_eq!(ben.run(&["unpin", "Board"]).ok(), "Not pinned any more.");
    assert!(ben.run(&["mute", "Board", "soon"]).refused(2).contains("30m, 8h, 2d"));
    assert!(ben.run(&["mute", "Board", "49710269d"]).refused(2).contains("too long: at most 3650d"));
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn listen_tells_programs_everything_and_people_what_concerns_them() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let ben = logged_in(&site, &server, "ben");
    let anna = Device::log_in(&server.url(), "anna").await;
    let conversation_id = anna.direct("ben").await;
    let text = ben.start(&["listen"], "");
    text.err.find(|line| line.contains("Listening").then_some(())).expect("it says that it listens");
    let json = ben.start(&["--json", "listen", "--presence"], "");
    let told = |event: &str| {
        let wanted = format!(r#"{{"event":"{event}","#);
        json.out.find(|line| line.starts_with(&wanted).then(|| line.to_owned())).unwrap_or_else(|| panic!("no {event}"))
    };
    // It takes part once it is connected; who has come before is told then.
    let online = PresenceParams { status: PresenceStatus::Online };
    anna.client.call::<Presence>(&online).await.expect("told");
    assert!(told("presence").contains(r#""status":"online""#));
    anna.client.call::<Typing>(&TypingParams { conversation_id }).await.expect("told");
    told("typing");
    ben.run(&["send", "anna", "hello"]).ok();
    let read = ReceiptParams { conversation_id, read: Some(Seq(1)), delivered: None };
    anna.client.call::<Receipt>(&read).await.expect("told");
    told("receipts");
    anna.send(conversation_id, "hello ben").await;
    ben.run(&["read", "anna", "--mark-read"]).ok();
    told("read_state");
    ben.run(&["pin", "anna"]).ok();
    told("preferences");
    let home = logged_in(&site, &server, "anna");
    home.run(&["edit", "ben", "2", "hello, ben"]).ok();
    home.run(&["react", "ben", "2", "👍"]).ok();
    home.run(&["recall", "ben", "2"]).ok();
    home.run(&["account", "rename", "Anna Berg"]).ok();
    home.run(&["group", "create", "Board", "ben"]).ok();
    home.run(&["group", "rename", "Board", "Council"]).ok();
    home.run(&["group", "remove", "Council", "ben"]).ok();
    for event in ["message_edited", "reaction", "message_recalled", "account_updated"] {
        told(event);
    }
    for event in ["conversation_added", "conversation_updated", "conversation_removed"] {
        told(event);
    }
    // A message comes as `read` shows it.
    let message = json.out.find(|line| line.contains("hello ben").then(|| line.to_owned())).expect("the message");
    assert!(message.starts_with(r#"{"message_id":"#), "{message}");
    text.out.find(|line| line.starts_with("You are in the group Board now, #").then_some(())).expect("ben is told");
    text.out.find(|line| line.ends_with(" no longer.").then_some(())).expect("ben is told");
    for lossy in ["typing", "presence", "receipts", "read_state"] {
        assert!(!text.out.text().contains(lossy), "{}", text.out.text());
    }
    server.assert_undisturbed();
}

#[test]
fn listen_shows_messages_as_they_come_until_interrupted() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let [anna, ben] = ["anna", "ben"].map(|name| logged_in(&site, &server, name));
    let (text, json) = (ben.start(&["listen"], ""), ben.start(&["--json", "listen"], ""));
    text.err.find(|line| line.contains("Listening").then_some(())).expect("it says that it listens");
    // The one with --json says nothing of itself: it shows the first of the messages that come after it connected.
    let first = posthouse_e2e::wait::until("message in both", || {
        anna.run(&["send", "ben", "are you there?"]).ok();
        (text.out.text().contains("are you there?") && json.out.text().contains("are you there?"))
            .then(|| text.out.text())
    });
    assert!(first.lines().all(|line| line.ends_with("  anna: are you there?")), "{first}");
    anna.run(&["send", "ben", "two\nlines and a bell \u{7}"]).ok();
    let line = text.out.find(|line| line.contains("lines and a bell").then(|| line.to_owned())).expect("the message");
    assert!(!line.contains('\u{7}'), "a message does not ring");
    let message = json.out.find(|line| line.contains("two").then(|| line.to_owned())).expect("the message");
    let message: Value = serde_json::from_str(&message).expect("JSON");
    assert_eq!(message["body"]["text"], "two\nlines and a bell \u{7}", "JSON has it as it was sent");
    text.interrupt();
    let said = text.ended();
    assert_eq!(said.code, Some(0), "an interrupt is how it ends: {said:?}");

    // A server that was away is no end, and nothing is missing or doubled behind it.
    let address = server.address();
    server.stop();
    json.err.find(|line| line.contains("offline").then_some(())).expect("it says so");
    let _server = Server::start(site.command_at(address), site.admin_socket()).expect("the server starts again");
    anna.run(&["send", "ben", "after the restart"]).ok();
    json.out.find(|line| line.contains("after the restart").then_some(())).expect("the message");
    assert_eq!(json.out.text().matches("after the restart").count(), 1);
    for line in json.out.text().lines().chain(json.err.text().lines()) {
        serde_json::from_str::<Value>(line).expect("an object a line, also for what is said about the connection");
    }
    json.interrupt();
    assert_eq!(json.ended().code, Some(0));
}

#[test]
fn completions_are_scripts_that_their_shells_read() {
    let site = Site::new();
    let terminal = Terminal::new(site.path("anyone"));
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = terminal.run(&["completions", shell]).ok();
        assert!(script.contains("posthouse") && script.contains("conversations"), "{shell}: {script}");
    }
    let script = terminal.run(&["completions", "bash"]).ok();
    let file = site.path("completions.bash");
    std::fs::write(&file, format!("{script}\ncomplete -p posthouse\n")).expect("written");
    let read = std::process::Command::new("bash").arg("--norc").arg(&file).output().expect("bash runs");
    assert!(String::from_utf8_lossy(&read.stdout).contains("_posthouse"), "{read:?}");
}

#[test]
fn long_messages_are_read_over_several_pages() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = logged_in(&site, &server, "anna");
    // Six bytes of JSON a character: only one such message fits into a page.
    let long = "\u{1}".repeat(16 * 1024);
    for _ in 0..3 {
        anna.run(&["send", "ben", &long]).ok();
    }
    for (limit, lines) in [("1", 1), ("2", 2), ("250", 3)] {
        assert_eq!(anna.run(&["read", "ben", "--limit", limit]).ok().lines().count(), lines);
    }
}

#[test]
fn output_that_nobody_reads_ends_the_command_quietly_and_a_full_disk_does_not() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let anna = logged_in(&site, &server, "anna");
    anna.run(&["send", "ben", "hello"]).ok();
    let mut command = std::process::Command::new(binaries::client());
    command.args(["read", "ben"]).env("POSTHOUSE_CONFIG_DIR", anna.login_file().parent().expect("its folder"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let said = command.stdout(writer).output().expect("the command runs");
    assert_eq!((said.status.code(), String::from_utf8_lossy(&said.stderr).as_ref()), (Some(0), ""));

    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("the device that is always full");
    let said = command.stdout(full).output().expect("the command runs");
    assert_eq!(said.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(complaint.starts_with("posthouse: cannot write the result: No space left"), "{complaint}");
}

#[test]
fn an_account_list_is_imported_whole_and_again_without_harm() {
    let (site, server) = Site::with_accounts(&[]);
    let socket = site.admin_socket().display().to_string();
    let terminal = Terminal::new(site.path("anyone"));
    let file = site.path("accounts");
    let path = file.display().to_string();
    let import = ["user", "import", "--admin-socket", &socket, &path];
    std::fs::write(&file, "anna:correct horse\n\nben:correct horse,王小明:correct horse\r\n").expect("a list");
    assert_eq!(terminal.run(&import).ok(), "Accounts made: 3; there already: 0.");
    std::fs::write(&file, "anna:another password,carl:correct horse").expect("a list");
    assert_eq!(terminal.run(&import).ok(), "Accounts made: 1; there already: 1.");
    for name in ["anna", "王小明", "carl"] {
        logged_in(&site, &server, name).run(&["conversations"]).ok();
    }
    // A bad entry is named by its number, without its password, and nothing of that file is made.
    for (list, complaint) in [
        ("dora:correct horse\nno password", "entry 2: NAME:PASSWORD was expected"),
        ("dora:correct horse\na b:secret word", "entry 2: a user name has letters"),
        ("dora:correct horse\n:secret word", "entry 2: a user name must not be empty"),
    ] {
        std::fs::write(&file, list).expect("a list");
        let line = terminal.run(&import).refused(1);
        assert!(line.contains(complaint) && !line.contains("secret word"), "{line}");
    }
    std::fs::write(&file, "erik:short").expect("a list");
    let line = terminal.run(&import).refused(1);
    assert!(line.contains("account erik") && line.contains("at least 8 characters"), "{line}");
    let json = terminal.run(&["--json", "user", "add", "--admin-socket", &socket, "dora"]);
    assert_eq!(json.code, Some(0), "dora was not made before: {json:?}");
}

#[test]
fn what_cannot_be_done_is_said_in_one_line_with_status_1() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let socket = site.admin_socket().display().to_string();
    let url = server.url().to_string();
    let stranger = Terminal::new(site.path("stranger"));
    let anna = logged_in(&site, &server, "anna");
    // A port of this machine where nobody listens.
    let unused = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let nobody = format!("http://{unused}");
    let missing = site.path("missing").display().to_string();
    let login = |terminal: &Terminal, server: &str, name: &str, password: &str| {
        terminal.run_with_input(&["login", "--server", server, "--password-stdin", name], password)
    };
    for (said, complaint) in [
        (stranger.run(&["read", "ben"]), "not logged in: run `posthouse login NAME`"),
        (login(&stranger, &url, "anna", "wrong horse"), "user name and password don't match"),
        (login(&stranger, &url, "nobody", PASSWORD), "user name and password don't match"),
        (login(&stranger, &nobody, "anna", PASSWORD), "cannot reach"),
        (anna.run(&["send", "nobody", "hello"]), "no conversation with nobody: there is no such account"),
        (anna.run(&["send", "ben", ""]), "the message was not sent: text: 1 to 16384 bytes"),
        (anna.run(&["send", "ben", &"x".repeat(16 * 1024 + 1)]), "the message was not sent: text: 1 to 16384 bytes"),
        (anna.run(&["user", "add", "--admin-socket", &socket, "anna"]), "the user name is taken"),
        (anna.run(&["user", "add", "--admin-socket", &missing, "carl"]), "is posthoused running"),
        (anna.run(&["user", "import", "--admin-socket", &socket, &missing]), "cannot read"),
        (
            anna.run_with_input(&["user", "add", "--admin-socket", &socket, "--password-stdin", "carl"], "short\n"),
            "a password has at least 8 characters",
        ),
    ] {
        let line = said.refused(1);
        assert!(line.contains(complaint), "{complaint}: {line}");
    }
    assert!(!stranger.login_file().exists(), "a log-in that failed leaves nothing");
    server.assert_undisturbed();
}

#[test]
fn without_a_terminal_the_other_way_to_give_a_password_is_named() {
    let site = Site::new();
    // Nothing is asked of a server before the password is there.
    let mut command = std::process::Command::new("setsid");
    command.arg("--wait").arg(binaries::client()).args(["login", "--server", "http://127.0.0.1:1", "anna"]);
    let line = Running::start(command, &site.path("anna"), PASSWORD).ended().refused(1);
    assert!(line.contains("cannot ask for the password") && line.contains("--password-stdin"), "{line}");
}

#[test]
fn what_was_mistyped_is_explained_with_status_2() {
    let site = Site::new();
    let terminal = Terminal::new(site.path("anyone"));
    for arguments in [
        &[][..],
        &["fly"],
        &["send", "ben"],
        &["send", "", "hello"],
        &["group", "create"],
        &["group", "add", "board"],
        &["group", "rename", "board", "a\nb"],
        &["group", "role", "board", "ben", "king"],
        &["group", "set", "board"],
        &["site", "retention", "7"],
        &["site", "retention", "never"],
        &["read"],
        &["read", "ben", "--limit", "0"],
        &["read", "ben", "--limit", "many"],
        &["login"],
        &["login", "--server", "ftp://box", "anna"],
        &["login", "--server", "http://box/ws", "anna"],
        &["user", "add", ""],
    ] {
        let explained = terminal.run(arguments).refused(2);
        assert!(explained.contains("--help") || explained.contains("Usage:"), "{arguments:?}: {explained}");
    }
}

#[test]
fn a_damaged_or_withdrawn_log_in_says_how_to_log_in_again() {
    let (site, server) = Site::with_accounts(&["anna"]);
    let anna = logged_in(&site, &server, "anna");
    let kept = std::fs::read_to_string(anna.login_file()).expect("the log-in");
    let mut login: Value = serde_json::from_str(&kept).expect("JSON");
    login["token"] = "f".repeat(64).into();
    std::fs::write(anna.login_file(), login.to_string()).expect("written");
    let line = anna.run(&["conversations"]).refused(1);
    assert!(line.contains(&format!("run `posthouse login --server {} anna`", server.url())), "{line}");
    std::fs::write(anna.login_file(), "{").expect("written");
    let line = anna.run(&["conversations"]).refused(1);
    assert!(line.contains("login.json is not a log-in") && line.contains("log in again"), "{line}");
    logged_in(&site, &server, "anna").run(&["conversations"]).ok();
}

#[test]
fn a_user_who_may_reach_the_administration_socket_but_is_not_the_administrator_is_refused() {
    const NOBODY: u32 = 65534;
    if !nix::unistd::geteuid().is_root() {
        println!("LEFT OUT: only root can be somebody else");
        return;
    }
    let (site, server) = Site::with_accounts(&[]);
    let open = site.path("open");
    std::fs::create_dir(&open).expect("a folder");
    let socket = open.join("admin.sock");
    std::fs::rename(site.admin_socket(), &socket).expect("moved");
    let program = open.join("posthouse");
    std::fs::copy(binaries::client(), &program).expect("a copy of the program");
    for path in [open.parent().expect("the site's folder"), &open, &socket] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).expect("its mode");
    }
    let mut command = std::process::Command::new(program);
    command.args(["user", "add", "--admin-socket"]).arg(&socket).arg("mallory").uid(NOBODY).gid(NOBODY);
    let line = Running::start(command, &open, "").ended().refused(1);
    assert!(line.contains("only root and the server's own user"), "{line}");
    server.assert_undisturbed();
}

fn logged_in(site: &Site, server: &Server, name: &str) -> Terminal {
    let terminal = Terminal::new(site.path(&format!("home-of-{name}")));
    let url = server.url().to_string();
    terminal.run_with_input(&["login", "--server", &url, "--password-stdin", name], PASSWORD).ok();
    terminal
}

#[test]
fn a_file_for_a_new_box_is_checked_before_its_card_goes_in() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("posthouse.toml");
    let check = |content: &[u8]| {
        std::fs::write(&path, content).expect("a file");
        Terminal::new(folder.path().into()).run(&["provision", "check", &path.display().to_string()])
    };
    let good = "\u{feff}host_name = \"office\"\r\nsite_name = \"驿站\"\r\nclaim_code = \"7KQM-2X4P-WHZD\"\r\n";
    assert_eq!(check(good.as_bytes()).ok(), "host name: office (office.local)\nsite name: 驿站\nclaim code: set");
    let said = check(b"host_name = \"office\"\n[wifi]\nssid = \"net\"\ncountry = \"XX\"\nhiden = true\n");
    assert_eq!(said.code, Some(1));
    assert!(said.err.ends_with(&format!("there are 2 mistakes in {}", path.display())), "{said:?}");
    assert!(said.out.contains("posthouse.toml, line 4: \"XX\" is no country"), "{said:?}");
    assert!(
        said.out.starts_with("host name: office (office.local)\nposthouse.toml"),
        "what is not used is shown: {said:?}"
    );
    assert!(
        said.out.contains("posthouse.toml, line 5: there is no setting \"hiden\" in [wifi] (did you mean hidden?)")
    );
    let said = check(&vec![b'#'; 1 << 20]);
    assert_eq!((said.code, said.out.lines().count()), (Some(1), 1), "{said:?}");
    let schema = Terminal::new(folder.path().into()).run(&["provision", "schema"]).ok();
    assert!(serde_json::from_str::<Value>(&schema).is_ok_and(|schema| schema["properties"]["host_name"].is_object()));
}
