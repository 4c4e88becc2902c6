//! A damaged database is either served whole or refused with the way out, and never changed by a refusal.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use posthouse_e2e::random::Random;
use posthouse_e2e::wait::within;
use posthouse_e2e::{Device, Server, Site, Stopped, binaries};
use posthouse_protocol::{ConversationId, History, HistoryParams, Message, Send, SendParams, Token, limits};

/// Bytes that are flipped in each of the two databases; `POSTHOUSE_TEST_FLIPS` asks for more.
const FLIPS: usize = 12;

/// Of the file's start, where the headers are, every so many bytes are flipped as well.
const HEADER_LEN: usize = 320;
const HEADER_STEP: usize = 27;

/// The database among the files of the store.
const DATABASE: usize = 0;

/// Up to this length the server checks the whole file at each start.
const CHECKED_LEN_MAX: usize = 64 * 1024 * 1024;

/// A database and what was acknowledged in it.
struct Sample {
    /// The database, then its log's files.
    files: [Vec<u8>; 3],
    token: Token,
    conversation: ConversationId,
    history: Vec<Message>,
    ending: Ending,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Stopped,
    Killed,
}

impl Sample {
    async fn new(ending: Ending) -> Self {
        let (site, server) = Site::with_accounts(&["anna", "ben"]);
        let anna = Device::log_in(&server.url(), "anna").await;
        let conversation = anna.direct("ben").await;
        for number in 0..40 {
            anna.send(conversation, &format!("message {number} {}", "x".repeat(number * 50))).await;
        }
        let history = anna.history(conversation).await;
        let token = anna.token.clone();
        match ending {
            Ending::Stopped => {
                tokio::task::spawn_blocking(move || server.stop()).await.expect("the end");
            }
            Ending::Killed => server.kill(),
        }
        let files = site.store().map(|path| std::fs::read(path).expect("a file of the store"));
        Self { files, token, conversation, history, ending }
    }

    /// Whether a history has all that was acknowledged. Where the log is damaged after a kill, its last group
    /// may be gone: it looks like one that was under way and never acknowledged.
    fn holds(&self, kept: &[Message], damaged_file: usize) -> bool {
        let (_, all_but_the_last) = self.history.split_last().expect("a history");
        let may_lose = damaged_file != DATABASE && matches!(self.ending, Ending::Killed);
        kept == self.history || (may_lose && kept == all_but_the_last)
    }

    /// Starts a server on damaged bytes and asserts that it serves everything or refuses as it should. Says
    /// whether it served.
    async fn outcome(&self, damaged: &[u8], damage: &str) -> bool {
        self.outcome_of(DATABASE, damaged, damage).await
    }

    /// The same, with another file of the store.
    async fn outcome_of(&self, file: usize, damaged: &[u8], damage: &str) -> bool {
        let mut files = self.files.clone();
        files[file] = damaged.to_vec();
        let site = Site::with_store(&files);
        match site.try_start() {
            Ok(server) => {
                let anna = Device::connect(&server.url(), self.token.clone()).await;
                let kept = anna.history(self.conversation).await;
                assert!(self.holds(&kept, file), "{damage}: it has {} of {} messages", kept.len(), self.history.len());
                anna.send(self.conversation, "and it goes on").await;
                true
            }
            Err(stopped) => {
                let named = if file == DATABASE { "posthouse.redb" } else { "posthouse.wal." };
                assert_refused(&site, named, &stopped, damage);
                for (path, content) in site.store().iter().zip(&files) {
                    let left = std::fs::read(path).expect("the file is there");
                    assert!(left == *content, "{damage}: {} is left as it is", path.display());
                }
                false
            }
        }
    }
}

fn assert_refused(site: &Site, named: &str, stopped: &Stopped, damage: &str) {
    assert!(!stopped.status.success(), "{damage}: {stopped:?}");
    assert_eq!(stopped.log.lines().count(), 1, "{damage}: one line: {}", stopped.log);
    let file = site.data_dir().join(named).display().to_string();
    assert!(stopped.log.contains(&file), "{damage}: the file is named: {}", stopped.log);
    assert!(stopped.log.contains("move it away to start with an empty one"), "{damage}: the way out: {}", stopped.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_database_is_refused_and_left_as_it_is() {
    let mut random = Random::new();
    let noise: Vec<u8> = (0..100_000).map(|_| random.number().to_le_bytes()[0]).collect();
    let sample = Sample::new(Ending::Stopped).await;
    let mut other_magic = sample.files[DATABASE].clone();
    other_magic[..4].copy_from_slice(b"SQLi");
    for (name, content) in [
        ("empty", &b""[..]),
        ("one byte", b"r"),
        ("text", b"This is not a database.\n"),
        ("zeros", &[0; 1 << 20]),
        ("noise", &noise),
        ("another magic number", &other_magic),
    ] {
        assert!(!sample.outcome(content, name).await, "{name} must be refused");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_database_is_refused_or_has_lost_nothing() {
    let mut random = Random::new();
    for ending in [Ending::Stopped, Ending::Killed] {
        let sample = Sample::new(ending).await;
        let whole = sample.files[DATABASE].len();
        let mut lengths = vec![1, 64, 4095, 4096, whole / 2, whole - 4096, whole - 1];
        lengths.extend((0..4).map(|_| random.within(1, whole)));
        for len in lengths {
            let damage = format!("{ending:?}, cut to {len} of {whole} bytes");
            let served = sample.outcome(&sample.files[DATABASE][..len], &damage).await;
            // After a kill the file's length is what counts, and its end may hold nothing.
            assert!(!served || matches!(ending, Ending::Killed), "{damage} must be refused");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_clean_stop_a_flipped_byte_is_refused_or_harmless() {
    flip_bytes(Ending::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_a_flipped_byte_is_refused_or_harmless() {
    flip_bytes(Ending::Killed).await;
}

async fn flip_bytes(ending: Ending) {
    let mut random = Random::new();
    let flips = std::env::var("POSTHOUSE_TEST_FLIPS").ok().and_then(|n| n.parse().ok()).unwrap_or(FLIPS);
    let sample = Sample::new(ending).await;
    // Zeros are mostly free pages, where a flip is harmless.
    let file = &sample.files[DATABASE];
    let used: Vec<usize> = (HEADER_LEN..file.len()).filter(|offset| file[*offset] != 0).collect();
    let mut offsets: Vec<usize> = (0..HEADER_LEN).step_by(HEADER_STEP).collect();
    offsets.extend((0..flips).map(|_| used[random.within(0, used.len())]));
    let mut refused = 0;
    for offset in &offsets {
        let mut damaged = file.clone();
        damaged[*offset] ^= 1 << random.within(0, 8);
        let damage = format!("{ending:?}, byte {offset} is {:#04x}, was {:#04x}", damaged[*offset], file[*offset]);
        refused += usize::from(!sample.outcome(&damaged, &damage).await);
    }
    println!("{refused} of {} were refused", offsets.len());
    assert!(refused > 0, "no flip of {} was noticed", offsets.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_damage_to_the_log_is_refused_or_looks_like_a_cut_last_group() {
    let mut random = Random::new();
    let sample = Sample::new(Ending::Killed).await;
    let segment = &sample.files[1];
    let used: Vec<usize> = (0..segment.len()).filter(|offset| segment[*offset] != 0).collect();
    assert!(!used.is_empty(), "nothing was logged");
    let mut refused = 0;
    for _ in 0..FLIPS {
        let offset = used[random.within(0, used.len())];
        let mut damaged = segment.clone();
        damaged[offset] ^= 1 << random.within(0, 8);
        refused += usize::from(!sample.outcome_of(1, &damaged, &format!("log, byte {offset}")).await);
    }
    println!("{refused} of {FLIPS} were refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_a_cut_off_log_is_refused() {
    let sample = Sample::new(Ending::Killed).await;
    let segment = &sample.files[1];
    let used = 1 + segment.iter().rposition(|byte| *byte != 0).expect("something was logged");
    for len in [0, 1, 4096, used / 2, used - 1, used, segment.len() - 4096, segment.len() - 1] {
        let damage = format!("log cut to {len} of {} bytes, {used} used", segment.len());
        assert!(!sample.outcome_of(1, &segment[..len], &damage).await, "{damage} must be refused");
    }
    let longer = [segment.as_slice(), &[0; 4096]].concat();
    assert!(!sample.outcome_of(1, &longer, "a longer log").await, "it is not the log that was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_the_database_nor_its_log_is_started_without_the_other() {
    let sample = Sample::new(Ending::Killed).await;
    for missing in 0..3 {
        let site = Site::with_store(&sample.files);
        std::fs::remove_file(&site.store()[missing]).expect("it was there");
        let stopped = site.try_start().err().expect("it must refuse");
        assert_eq!(stopped.log.lines().count(), 1, "{}", stopped.log);
        let named = site.store()[missing].display().to_string();
        assert!(stopped.log.contains(&named) && stopped.log.contains("move it away"), "{}", stopped.log);
        assert!(!site.store()[missing].exists(), "nothing was made in its place");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_pages_of_a_large_database_are_noticed_when_they_are_read_and_the_way_out_is_named() {
    let (site, server) = Site::with_accounts(&["anna"]);
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    for _ in 0..12 {
        // Six bytes of JSON a character.
        let params =
            |_| SendParams::text(notes, posthouse_client::new_client_msg_id(), "\u{1}".repeat(limits::TEXT_LEN_MAX));
        let sends = (0..50).map(params).map(|params| {
            let client = anna.client.clone();
            tokio::spawn(async move { client.call::<Send>(&params).await.expect("the acknowledgement") })
        });
        for send in sends.collect::<Vec<_>>() {
            within("acknowledgement", send).await.expect("a sender's end");
        }
    }
    tokio::task::spawn_blocking(move || server.stop()).await.expect("the end");
    let mut file = std::fs::read(site.database()).expect("the database");
    assert!(file.len() > CHECKED_LEN_MAX, "{} bytes", file.len());
    let middle = file.len() / 2;
    file[middle..middle + 256 * 1024].iter_mut().for_each(|byte| *byte ^= 0x5a);
    std::fs::write(site.database(), &file).expect("written");

    let log = match site.try_start() {
        Err(stopped) => {
            assert!(!stopped.status.success());
            assert!(stopped.log.contains(&site.database().display().to_string()), "{}", stopped.log);
            stopped.log
        }
        Ok(server) => {
            let anna = Device::connect(&server.url(), anna.token.clone()).await;
            let mut params = HistoryParams::newest(notes);
            let error = loop {
                match within("answer", anna.client.call::<History>(&params)).await {
                    Ok(page) => params.before = Some(page.messages.first().expect("it ends at the lost pages").seq),
                    Err(error) => break error,
                }
            };
            println!("{error}");
            server.log().find(|line| line.contains("ERROR").then(|| line.to_owned())).expect("it is in the log")
        }
    };
    let line = log.lines().find(|line| line.contains("ERROR")).expect("it is in the log");
    let way_out = "move it away to start with an empty one, in both cases together with its log (posthouse.wal.*)";
    assert!(line.contains("posthouse.redb") && line.contains(way_out), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_new_database_is_replaced() {
    let site = Site::new();
    std::fs::create_dir(site.data_dir()).expect("the data folder");
    let unfinished = site.data_dir().join("posthouse.new");
    std::fs::write(&unfinished, b"half of a database").expect("a leftover");
    let server = site.start();
    server.add_account("anna");
    assert!(!unfinished.exists(), "the leftover is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_folder_says_that_it_is_in_use() {
    let (site, server) = Site::with_accounts(&["anna"]);
    let stopped = site.try_start().err().expect("a second server must refuse");
    assert_eq!(stopped.status.code(), Some(1));
    let message = format!("{} is in use by another process: stop the other posthoused", site.database().display());
    assert!(stopped.log.contains(&message), "{}", stopped.log);
    // The first one keeps its database and its administration socket.
    server.add_account("ben");
    server.assert_undisturbed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_used_is_named_with_the_reason() {
    let site = Site::new();
    let file = site.path("file");
    std::fs::write(&file, b"no folder").expect("a file");
    let folder = site.path("read-only");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::set_permissions(&folder, Permissions::from_mode(0o555)).expect("its mode");
    for (data_dir, reason) in [(file.join("data"), "Not a directory"), (folder, "Permission denied")] {
        let mut command = Site::command_for(&data_dir);
        if nix::unistd::geteuid().is_root() {
            command = as_nobody(&site, &command);
        }
        let stopped = Server::start(command, site.admin_socket()).err().expect("it must refuse");
        assert_eq!(stopped.status.code(), Some(1), "{stopped:?}");
        assert_eq!(stopped.log.lines().count(), 1, "{}", stopped.log);
        assert!(stopped.log.contains(&format!("cannot use {}", data_dir.display())), "{}", stopped.log);
        assert_eq!(stopped.log.matches(reason).count(), 1, "{}", stopped.log);
        assert!(stopped.log.contains("name another --data-dir"), "{}", stopped.log);
    }
}

/// Root may write everywhere: the same command from a place where everyone can reach it, as a user who owns nothing.
fn as_nobody(site: &Site, command: &std::process::Command) -> std::process::Command {
    const NOBODY: u32 = 65534;
    let program = site.path("posthoused");
    if !program.exists() {
        std::fs::copy(binaries::server(), &program).expect("a copy of the program");
        let top = program.parent().expect("it lies in the site's folder");
        std::fs::set_permissions(top, Permissions::from_mode(0o755)).expect("its mode");
    }
    let mut as_nobody = std::process::Command::new(program);
    as_nobody.args(command.get_args()).uid(NOBODY).gid(NOBODY);
    as_nobody
}
