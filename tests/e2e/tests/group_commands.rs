//! Groups from the command line.

use posthouse_e2e::terminal::Terminal;
use posthouse_e2e::{PASSWORD, Server, Site};
use serde_json::Value;

#[test]
fn a_group_is_made_used_and_left_from_the_command_line() {
    let (site, server) = Site::with_accounts(&["anna", "ben", "carl"]);
    let [anna, ben, carl] = ["anna", "ben", "carl"].map(|name| logged_in(&site, &server, name));
    assert_eq!(anna.run(&["group", "create", "The Board 驿站", "ben"]).ok(), "Group The Board 驿站 made, #1.");
    assert!(anna.run(&["send", "the board 驿站", "hello", "all"]).ok().starts_with("Sent, number 2 of"));
    assert!(ben.run(&["send", "#1", "hello"]).ok().starts_with("Sent, number 3 of"));
    assert_eq!(anna.run(&["group", "add", "#1", "carl", "ben"]).ok(), "Added: carl.");
    assert_eq!(anna.run(&["group", "add", "#1", "ben"]).ok(), "All of them were members already.");
    assert_eq!(anna.run(&["group", "members", "#1"]).ok(), "anna  owner\nben  member\ncarl  member");
    anna.run(&["group", "role", "#1", "ben", "admin"]).ok();
    ben.run(&["group", "rename", "#1", "Board"]).ok();
    ben.run(&["group", "set", "Board", "--announcement-only", "true", "--history", "all"]).ok();
    let refused = carl.run(&["send", "Board", "hello"]).refused(1);
    assert!(refused.contains("your role in this group does not allow that"), "{refused}");
    ben.run(&["group", "remove", "Board", "carl"]).ok();
    anna.run(&["group", "leave", "Board"]).ok();
    let said = ben.run(&["read", "Board"]).ok();
    let said: Vec<&str> = said.lines().map(|line| line.splitn(3, "  ").nth(2).expect("a number and a time")).collect();
    let expected = [
        "anna made the group The Board 驿站 with ben",
        "anna: hello all",
        "ben: hello",
        "anna added carl",
        "anna made ben an admin",
        "ben called the group Board",
        "ben let only admins send and showed newcomers the history",
        "ben removed carl",
        "anna left; ben is the owner now",
    ];
    assert_eq!(said, expected);
    assert_eq!(ben.run(&["conversations"]).ok(), "Board  #1  (9 messages)");
    let listed: Value = serde_json::from_str(&ben.run(&["--json", "conversations"]).ok()).expect("JSON");
    assert_eq!((&listed["group"]["title"], &listed["group"]["role"]), (&"Board".into(), &"owner".into()));
    let member = ben.run(&["--json", "group", "members", "Board"]).ok();
    assert_eq!(member, r#"{"account_id":2,"username":"ben","role":"owner"}"#);
    for gone in
        [&["read", "#1"][..], &["group", "members", "#1"], &["group", "leave", "Board"], &["send", "Board", "x"]]
    {
        carl.run(gone).refused(1);
    }
}

#[test]
fn a_name_is_an_account_before_it_is_a_title_and_titles_that_are_not_unique_are_asked_for_by_number() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let [anna, ben] = ["anna", "ben"].map(|name| logged_in(&site, &server, name));
    anna.run(&["group", "create", "Ben"]).ok();
    anna.run(&["send", "Ben", "for ben alone"]).ok();
    assert!(ben.run(&["read", "anna"]).ok().ends_with("anna: for ben alone"));
    anna.run(&["group", "create", "Twins"]).ok();
    anna.run(&["group", "create", "twins"]).ok();
    let line = anna.run(&["send", "Twins", "x"]).refused(1);
    assert!(line.contains("2 groups are called Twins: name one of '#") && line.contains("'#3'"), "{line}");
    anna.run(&["send", "#3", "x"]).ok();
    for (arguments, complaint) in [
        (
            &["send", "nobody's", "x"][..],
            "no conversation with nobody's: there is no such account, and no group of yours",
        ),
        (&["group", "leave", "ben's"], "you are in no group called ben's"),
        (&["group", "add", "#9", "ben"], "no group #9: there is no such conversation"),
        (&["group", "add", "#3", "nobody"], "there is no account nobody"),
        (&["group", "create", "x", "nobody"], "no group was made: there is no account nobody"),
        (&["group", "remove", "#3", "ben"], "nobody was removed: there is no such member"),
    ] {
        let line = anna.run(arguments).refused(1);
        assert!(line.contains(complaint), "{complaint}: {line}");
    }
    server.assert_undisturbed();
}

#[test]
fn a_group_larger_than_a_request_and_one_for_everybody_are_made_at_once() {
    let (site, server) = Site::with_accounts(&["anna"]);
    let socket = site.admin_socket().display().to_string();
    let names: Vec<String> = (1..=130).map(|number| format!("n{number}")).collect();
    let file = site.path("accounts");
    let list: Vec<String> = names.iter().map(|name| format!("{name}:{PASSWORD}")).collect();
    std::fs::write(&file, list.join("\n")).expect("a list");
    let anna = logged_in(&site, &server, "anna");
    anna.run(&["user", "import", "--admin-socket", &socket, &file.display().to_string()]).ok();
    let mut create = vec!["group", "create", "Large"];
    create.extend(names.iter().map(String::as_str));
    anna.run(&create).ok();
    assert_eq!(anna.run(&["group", "members", "Large"]).ok().lines().count(), 131);
    let everybody = ["group", "everybody", "--admin-socket", &socket, "All hands", "n7"];
    assert_eq!(anna.run(&everybody).ok(), "Everybody is in group #2, 130 of them anew.");
    assert_eq!(anna.run(&everybody).ok(), "Everybody is in group #2, 0 of them anew.");
    anna.run(&["user", "add", "--admin-socket", &socket, "late"]).ok();
    let members = anna.run(&["group", "members", "All hands"]).ok();
    assert_eq!((members.lines().count(), members.lines().last()), (132, Some("late  member")));
    let missing = ["group", "everybody", "--admin-socket", &socket, "All hands", "nobody"];
    assert!(anna.run(&missing).refused(1).contains("there is no account nobody"));
}

fn logged_in(site: &Site, server: &Server, name: &str) -> Terminal {
    let terminal = Terminal::new(site.path(&format!("home-of-{name}")));
    let url = server.url().to_string();
    terminal.run_with_input(&["login", "--server", &url, "--password-stdin", name], PASSWORD).ok();
    terminal
}
