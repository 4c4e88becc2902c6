//! `posthouse --json`: every command that there is prints objects, one a line.

use std::cell::RefCell;
use std::collections::BTreeSet;

use posthouse_e2e::terminal::{Said, Terminal};
use posthouse_e2e::{Appliance, BoxAuthority, PASSWORD, Server, Site};
use posthouse_protocol::appliance::Settings;
use serde_json::{Value, json};

/// Commands that are not tried here, and why.
const LEFT_OUT: [(&str, &str); 4] = [
    ("chat", "it is for people"),
    ("completions", "it prints a script"),
    ("discover", "tests/discovery has networks with boxes, and reads its objects"),
    ("update check", "it asks an update URL by HTTPS, and prints what `update status` does"),
];

/// Whoever types, and which commands they have tried.
struct Typist {
    site: Site,
    url: String,
    commands: BTreeSet<String>,
    tried: RefCell<BTreeSet<String>>,
}

impl Typist {
    /// Of a server with an authority, and with a test for an updater.
    fn new() -> (Self, Server, BoxAuthority) {
        let site = Site::new();
        let authority = BoxAuthority::start(&site, "{}");
        let state = json!({"current": {"kind": "factory", "version": "0.1.0"}, "previous": {"version": "0"}});
        std::fs::write(site.path("status.json"), state.to_string()).expect("written");
        let mut command = authority.command(&site);
        command.arg("--update-inbox").arg(site.path("inbox")).arg("--update-status").arg(site.path("status.json"));
        let server = Server::start(command, site.admin_socket()).expect("it starts");
        let commands = commands(&Terminal::new(site.path("anyone")));
        (Self { url: server.url().to_string(), site, commands, tried: RefCell::default() }, server, authority)
    }

    fn person(&self, name: &str) -> Terminal {
        Terminal::new(self.site.path(&format!("home-of-{name}")))
    }

    /// Of the words of a command line, the one `@name` is a file of the site, `@socket` the administration socket and `@url` the
    /// server.
    fn words(&self, line: &str) -> Vec<String> {
        let word = |word: &str| match word.strip_prefix('@') {
            Some("socket") => self.site.admin_socket().display().to_string(),
            Some("url") => self.url.clone(),
            Some(name) => self.site.path(name).display().to_string(),
            None => word.to_owned(),
        };
        line.split_whitespace().map(word).collect()
    }

    /// Notes that the command of these words was tried.
    fn note(&self, words: &[String]) {
        let is_meant = |command: &&String| words.join(" ").starts_with(*command);
        let command = self.commands.iter().filter(is_meant).max_by_key(|command| command.len());
        self.tried.borrow_mut().insert(command.unwrap_or_else(|| panic!("{words:?} is no command")).clone());
    }

    /// The objects that a command prints: one at least.
    fn objects(&self, who: &Terminal, line: &str, input: &str) -> Vec<Value> {
        let words = self.words(line);
        self.note(&words);
        let arguments: Vec<&str> = ["--json"].into_iter().chain(words.iter().map(String::as_str)).collect();
        let Said { code, out, err } = who.run_with_input(&arguments, input);
        assert_eq!(code, Some(0), "{line}: {err}");
        let objects: Vec<Value> = out.lines().map(|object| object_in(object, line)).collect();
        assert!(!objects.is_empty(), "{line} prints nothing");
        objects
    }

    /// The first of them.
    fn object(&self, who: &Terminal, line: &str) -> Value {
        self.objects(who, line, "").remove(0)
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.site.path(name), content).expect("written");
    }

    /// An updater that has taken what was asked of it.
    fn take_request(&self) {
        std::fs::remove_file(self.site.path("inbox/request")).expect("a request");
    }
}

fn object_in(text: &str, line: &str) -> Value {
    let object: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"));
    assert!(object.is_object(), "{line}: {text}");
    object
}

/// Every command that does something, as the helps list them: clap makes these of its own definition.
fn commands(terminal: &Terminal) -> BTreeSet<String> {
    let (mut found, mut below) = (BTreeSet::new(), vec![Vec::new()]);
    while let Some(command) = below.pop() {
        let words: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let help = terminal.run(&words).ok();
        let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        let names = list.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()));
        let before = below.len();
        below.extend(names.filter(|name| *name != "help").map(|name| [&command[..], &[name.to_owned()]].concat()));
        let usage = help.lines().find(|line| line.starts_with("Usage:")).expect("a usage");
        if below.len() == before || !usage.contains("<COMMAND>") {
            found.insert(command.join(" "));
        }
    }
    found
}

#[test]
fn every_command_prints_objects() {
    let (typist, server, _authority) = Typist::new();
    let anna = typist.person("anna");
    accounts(&typist, &anna);
    messages(&typist, &anna);
    groups(&typist, &anna);
    listening(&typist, &anna);
    devices_and_invites(&typist, &anna);
    the_site_and_trust(&typist, &anna, &server);
    files(&typist, &anna);
    updates(&typist, &anna);
    claiming(&typist);
    let mut tried = typist.tried.take();
    for (command, why) in LEFT_OUT {
        assert!(tried.insert(command.to_owned()), "{command} was tried: {why}");
    }
    assert_eq!(tried, typist.commands, "what was tried (left) against what the helps list (right)");
    server.assert_undisturbed();
}

fn accounts(typist: &Typist, anna: &Terminal) {
    let made = typist.objects(anna, "user add --admin-socket @socket --role owner --password-stdin anna", PASSWORD);
    assert_eq!(made[0]["username"], "anna");
    let made = typist.object(anna, "user add --admin-socket @socket dora");
    assert_eq!(made["password"].as_str().map(str::len), Some(19));
    typist.write("people", &format!("ben:{PASSWORD},carl:{PASSWORD}"));
    assert_eq!(typist.object(anna, "user import --admin-socket @socket @people"), json!({"made": 2, "kept": 0}));
    let login = typist.objects(anna, "login --server @url --password-stdin anna", PASSWORD);
    assert_eq!(login, [json!({"username": "anna", "server": typist.url})], "a token is never shown");
    assert_eq!(typist.object(anna, "account rename Anna")["display_name"], "Anna");
    assert_eq!(typist.object(anna, "account me")["role"], "owner");
    assert_eq!(typist.object(anna, "account show ben")["username"], "ben");
    assert_eq!(typist.objects(anna, "account search", "").len(), 4);
    assert!(typist.object(anna, "account create emma")["password"].is_string());
    assert_eq!(typist.object(anna, "account role emma administrator")["role"], "administrator");
    assert_eq!(typist.object(anna, "account disable emma")["status"], "disabled");
    assert_eq!(typist.object(anna, "account enable emma")["status"], "active");
    assert!(typist.object(anna, "account reset emma")["password"].is_string());
    assert_eq!(typist.object(anna, "account depart emma")["status"], "departed");
    assert!(typist.object(anna, "account devices anna")["device_id"].is_u64());
    assert_eq!(typist.object(anna, "account sign-out carl"), json!({}));
    typist.write("people.csv", "username\nfay\n");
    assert_eq!(typist.objects(anna, "account import @people.csv", "").last(), Some(&json!({"made": 1, "kept": 0})));
}

fn messages(typist: &Typist, anna: &Terminal) {
    let sent = typist.object(anna, "send --mention ben ben lunhc?");
    assert_eq!(sent["seq"], 1);
    assert!(typist.object(anna, "edit ben 1 lunch?")["edited_ts"].is_u64());
    let versions = typist.objects(anna, "versions ben 1", "");
    let said: Vec<_> = versions.iter().map(|version| (&version["version"], &version["body"]["text"])).collect();
    assert_eq!(said, [(&json!(1), &json!("lunhc?")), (&json!(2), &json!("lunch?"))]);
    assert_eq!(typist.object(anna, "react ben 1 👍")["reactions"][0]["count"], 1);
    assert_eq!(typist.object(anna, "reply --mention-all ben 1 noon?")["seq"], 2);
    let read = typist.objects(anna, "read ben --mark-read", "");
    assert_eq!(read[0]["mentions"]["accounts"].as_array().map(Vec::len), Some(1));
    assert_eq!((&read[1]["mentions"]["all"], &read[1]["reply_to"]), (&json!(true), &sent["message_id"]));
    let marks = typist.objects(anna, "receipts ben", "");
    assert_eq!((&marks[0]["username"], &marks[0]["read"], &marks[1]["read"]), (&json!("anna"), &json!(2), &json!(0)));
    let marks = typist.objects(anna, "receipts ben 1", "");
    assert_eq!((marks.len(), &marks[0]["username"], &marks[0]["state"]), (1, &json!("ben"), &json!("waiting")));
    assert!(typist.object(anna, "recall ben 2")["recalled_ts"].is_u64());
    assert!(typist.object(anna, "mute ben 8h")["muted_until"].is_u64());
    assert_eq!(typist.object(anna, "unmute ben")["muted"], false);
    assert_eq!(typist.object(anna, "pin ben")["pinned"], true);
    let listed = typist.object(anna, "conversations");
    assert_eq!((&listed["peer"]["username"], &listed["last_seq"]), (&json!("ben"), &json!(2)));
    assert_eq!(typist.object(anna, "unpin ben")["pinned"], false);
}

fn groups(typist: &Typist, anna: &Terminal) {
    assert!(typist.object(anna, "group create Board ben")["conversation_id"].is_u64());
    assert_eq!(typist.object(anna, "group add Board carl")["added"][0]["username"], "carl");
    assert_eq!(typist.objects(anna, "group members Board", "").len(), 3);
    assert_eq!(typist.object(anna, "group role Board ben admin"), json!({}));
    assert_eq!(typist.object(anna, "group set Board --announcement-only false"), json!({}));
    assert_eq!(typist.object(anna, "group rename Board Council"), json!({}));
    assert_eq!(typist.object(anna, "group remove Council carl"), json!({}));
    assert_eq!(typist.object(anna, "group leave Council"), json!({}));
    assert!(typist.object(anna, "group everybody --admin-socket @socket All anna")["conversation_id"].is_u64());
}

fn listening(typist: &Typist, anna: &Terminal) {
    let words = typist.words("listen");
    typist.note(&words);
    let listening = anna.start(&["--json", "listen"], "");
    let ben = typist.person("ben");
    typist.objects(&ben, "login --server @url --password-stdin ben", PASSWORD);
    let heard = || {
        typist.object(&ben, "send anna hello");
        let text = listening.out.text();
        text.lines().find(|line| line.contains(r#""hello""#)).map(str::to_owned)
    };
    let line = posthouse_e2e::wait::until("a message", heard);
    assert_eq!(object_in(&line, "listen")["body"]["text"], "hello");
    listening.interrupt();
    assert_eq!(listening.ended().code, Some(0));
}

fn devices_and_invites(typist: &Typist, anna: &Terminal) {
    let invite = typist.object(anna, "invite create --uses 2");
    assert_eq!(typist.object(anna, "invite list")["uses_left"], 2);
    let gus = typist.person("gus");
    let accept =
        format!("invite accept --server @url --password-stdin {} gus", invite["code"].as_str().expect("a code"));
    assert_eq!(typist.objects(&gus, &accept, PASSWORD)[0]["username"], "gus");
    assert_eq!(typist.object(anna, &format!("invite revoke {}", invite["invite"]["invite_id"])), json!({}));
    assert_eq!(typist.object(&gus, "devices")["is_current"], true);
    assert_eq!(typist.object(&gus, "devices revoke --others"), json!({}));
    let passwords = format!("{PASSWORD}\nanother horse\n");
    assert_eq!(typist.objects(&gus, "passwd --password-stdin", &passwords), [json!({})]);
    assert_eq!(typist.object(&gus, "logout"), json!({}));
}

fn the_site_and_trust(typist: &Typist, anna: &Terminal, server: &Server) {
    assert_eq!(typist.object(anna, "site retention --admin-socket @socket 90"), json!({"days": 90}));
    let certificate = typist.object(anna, "site certificate --admin-socket @socket");
    let (url, pin) = (format!("https://{}", server.secure_address()), certificate["fingerprint"].as_str());
    let hal = typist.person("hal");
    let login = format!("login --server {url} --fingerprint {} --password-stdin ben", pin.expect("an authority"));
    typist.objects(&hal, &login, PASSWORD);
    assert_eq!(typist.object(&hal, "trust list")["fingerprint"], certificate["fingerprint"]);
    assert_eq!(typist.object(&hal, &format!("trust forget {url}")), json!({}));
}

fn files(typist: &Typist, anna: &Terminal) {
    typist.write("posthouse.toml", "host_name = \"office\"\n");
    assert_eq!(typist.object(anna, "provision check @posthouse.toml")["problems"], json!([]));
    assert!(typist.object(anna, "provision schema")["properties"]["host_name"].is_object());
    let passphrase = "correct horse\n";
    let signed = |line: &str| typist.objects(anna, line, passphrase).remove(0);
    assert_eq!(signed("release keygen --name anna --passphrase-stdin @anna.key")["name"], "anna");
    let root = "release root --test --threshold 1 --out @root.json @anna.key.pub";
    assert_eq!(typist.object(anna, root)["threshold"], 1);
    assert!(signed("release sign --key @anna.key --passphrase-stdin @root.json")["signed_by"].is_string());
    typist.write("posthoused", &"a server\n".repeat(1000));
    let bundle =
        "release bundle --root @root.json --seq 7 --version 0.2.0 --schema 1 --min-reader 1 --out @new.phb @posthoused";
    assert_eq!(typist.object(anna, bundle)["version"], "0.2.0");
    signed("release sign --key @anna.key --passphrase-stdin @new.phb");
    assert_eq!(typist.object(anna, "release inspect @new.phb")["signed_by"], json!(["anna"]));
}

fn updates(typist: &Typist, anna: &Terminal) {
    assert_eq!(typist.object(anna, "update status")["current"]["version"], "0.1.0");
    assert_eq!(typist.object(anna, "update history"), json!({"history": []}));
    assert!(typist.object(anna, "update postpone 3")["source"]["postponed_until_ms"].is_u64());
    let pushed = typist.object(anna, "update push --only @new.phb");
    let bundle = pushed["bundle"].as_str().expect("its hash");
    assert!(typist.object(anna, &format!("update apply --no-wait --bundle {bundle}"))["current"].is_object());
    typist.take_request();
    assert!(typist.object(anna, "update rollback --no-wait")["current"].is_object());
    typist.take_request();
}

fn claiming(typist: &Typist) {
    let appliance = Appliance::new();
    let server = appliance.start(&Settings::default());
    let claim = format!("claim --server {} --code {} --password-stdin ida", server.url(), appliance.code());
    let claimed = typist.objects(&typist.person("ida"), &claim, PASSWORD);
    assert_eq!(claimed[0]["account"]["username"], "ida");
    assert!(claimed[0]["sheet"]["backup_key"].is_string());
}
