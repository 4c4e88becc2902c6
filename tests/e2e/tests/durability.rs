//! What says *sent* survives a kill at any moment; what does not may or may not be there, once.

use std::collections::{HashMap, HashSet};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use posthouse_client::{ClientError, new_client_msg_id};
use posthouse_e2e::random::Random;
use posthouse_e2e::wait::{until, within};
use posthouse_e2e::{Device, Site};
use posthouse_protocol::{ClientMsgId, ConversationId, Message, SendResult};

/// How often the server is killed; `POSTHOUSE_TEST_CYCLES` asks for more.
const CYCLES: usize = 5;

/// Most acknowledgements in a cycle. With texts of some KiB on average that is more than one of the log's
/// segments holds, so that kills also hit the change to the next.
const KILL_AFTER_MAX: usize = 900;

/// Sends under way at once from each device.
const PIPELINE: usize = 12;

/// Who sends to whom.
const PAIRS: [(&str, &str); 4] = [("anna", "ben"), ("ben", "anna"), ("ben", "carl"), ("carl", "anna")];

/// One try to send.
#[derive(Clone)]
struct Sent {
    conversation: ConversationId,
    id: ClientMsgId,
    text: String,
    /// The acknowledgement, if one came.
    result: Option<SendResult>,
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_messages_survive_being_killed_at_any_moment() {
    let mut random = Random::new();
    let cycles = std::env::var("POSTHOUSE_TEST_CYCLES").ok().and_then(|n| n.parse().ok()).unwrap_or(CYCLES);
    let (site, mut server) = Site::with_accounts(&["anna", "ben", "carl"]);
    let mut devices = Vec::new();
    for (sender, _) in PAIRS {
        devices.push(Device::log_in(&server.url(), sender).await);
    }
    let mut sent: HashMap<ClientMsgId, Sent> = HashMap::new();
    for cycle in 0..cycles {
        let kill_after = random.within(1, KILL_AFTER_MAX);
        let unanswered: Vec<Sent> = sent.values().filter(|sent| sent.result.is_none()).cloned().collect();
        for try_ in send_until_killed(server, &devices, kill_after, unanswered).await {
            sent.insert(try_.id.clone(), try_);
        }
        server = site.start();
        let mut again = Vec::new();
        for device in devices {
            again.push(Device::connect(&server.url(), device.token).await);
        }
        devices = again;
        let acknowledged = sent.values().filter(|sent| sent.result.is_some()).count();
        println!("cycle {cycle}: killed after {kill_after} more acknowledgements, {acknowledged} of {}", sent.len());
        assert!(acknowledged >= kill_after);
        for (device, (_, peer)) in devices.iter().zip(PAIRS) {
            let conversation = device.direct(peer).await;
            assert_holds(&device.history(conversation).await, conversation, &sent);
        }
    }
    server.assert_undisturbed();
}

/// Has all devices send as fast as they can, kills the server after a number of acknowledgements, and
/// returns every try. What the last cycle left unanswered is tried again first.
async fn send_until_killed(
    server: posthouse_e2e::Server,
    devices: &[Device],
    kill_after: usize,
    unanswered: Vec<Sent>,
) -> Vec<Sent> {
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut senders = Vec::new();
    for (device, (_, peer)) in devices.iter().zip(PAIRS) {
        let conversation = device.direct(peer).await;
        for lane in 0..PIPELINE {
            let client = device.client.clone();
            let acknowledged = Arc::clone(&acknowledged);
            // Whoever sent it first: only that account may use its name again.
            let mut retries = unanswered.clone();
            retries
                .retain(|sent| lane == 0 && sent.text.starts_with(&format!("{} to {peer} ", device.account.username)));
            // Some are short, some of the longest kind.
            let padding = "x".repeat([0, 10, 5_000, 16_000][lane % 4]);
            let text = format!("{} to {peer} 信 {padding}", device.account.username);
            senders.push(tokio::spawn(async move {
                let mut tries = Vec::new();
                loop {
                    let mut next = retries.pop().unwrap_or_else(|| {
                        let id = new_client_msg_id();
                        Sent { conversation, text: format!("{text} {}", id.as_str()), id, result: None }
                    });
                    let params =
                        posthouse_protocol::SendParams::text(next.conversation, next.id.clone(), next.text.clone());
                    match client.call::<posthouse_protocol::Send>(&params).await {
                        Ok(result) => {
                            next.result = Some(result);
                            tries.push(next);
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(ClientError::Disconnected(_)) => {
                            tries.push(next);
                            return tries;
                        }
                        Err(other) => panic!("neither an answer nor a broken connection: {other}"),
                    }
                }
            }));
        }
    }
    tokio::task::spawn_blocking(move || {
        until("acknowledgement", || (acknowledged.load(Ordering::Relaxed) >= kill_after).then_some(()));
        server.kill();
    })
    .await
    .expect("the server was killed");
    let mut tries = Vec::new();
    for sender in senders {
        tries.extend(sender.await.expect("a sender's end"));
    }
    tries
}

/// Every acknowledged message once, as acknowledged; nothing that nobody sent; no gap; no step back in time.
fn assert_holds(history: &[Message], conversation: ConversationId, sent: &HashMap<ClientMsgId, Sent>) {
    for (index, message) in history.iter().enumerate() {
        assert_eq!(message.seq.0, u64::try_from(index).expect("a usize fits") + 1, "no gap and no repetition");
        let id = message.client_msg_id.as_ref().expect("a client sent it");
        let try_ = sent.get(id).expect("somebody sent it");
        assert_eq!(message.conversation_id, try_.conversation);
        assert!(message.text() == Some(try_.text.as_str()), "{:?} is as it was sent", try_.id);
        if let Some(result) = try_.result {
            assert_eq!((message.message_id, message.seq, message.ts), (result.message_id, result.seq, result.ts));
        }
    }
    assert!(history.windows(2).all(|pair| pair[0].ts <= pair[1].ts), "time does not go back");
    let kept: HashSet<&ClientMsgId> = history.iter().filter_map(|message| message.client_msg_id.as_ref()).collect();
    assert_eq!(kept.len(), history.len(), "nothing is there twice");
    for try_ in sent.values().filter(|try_| try_.conversation == conversation && try_.result.is_some()) {
        assert!(kept.contains(&try_.id), "{:?} was acknowledged and is lost", try_.id);
    }
}

/// As [`Site::command`], by a shell that has the kernel refuse every write that lies further than 8 MiB into a file.
fn with_short_files(site: &Site) -> Command {
    let server = site.command();
    let mut command = Command::new("sh");
    // In blocks of 512 bytes.
    command.args(["-c", r#"trap "" XFSZ && ulimit -f 16384 && exec "$0" "$@""#]);
    command.arg(server.get_program()).args(server.get_args()).args(["--requests-per-s", "100000"]);
    for variable in server.get_envs().filter_map(|(name, value)| value.is_none().then_some(name)) {
        command.env_remove(variable);
    }
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_write_its_log_ends_and_has_what_it_acknowledged() {
    let (site, server) = Site::with_accounts(&["anna"]);
    tokio::task::spawn_blocking(move || server.stop()).await.expect("the end");
    let server = posthouse_e2e::Server::start(with_short_files(&site), site.admin_socket()).expect("it starts");
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let text = format!("{number} {}", "x".repeat(16_000));
        let params = posthouse_protocol::SendParams::text(notes, new_client_msg_id(), text.clone());
        match within("answer or end", anna.client.call::<posthouse_protocol::Send>(&params)).await {
            Ok(result) => acknowledged.push((result.message_id, text)),
            Err(ClientError::Disconnected(_) | ClientError::Refused(_)) => break,
            Err(other) => panic!("{other}"),
        }
    }
    let ended = tokio::task::spawn_blocking(move || server.ended()).await.expect("the end");
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("the log could not be written: File too large"), "{}", ended.log);
    assert!(acknowledged.len() > 100, "it served before: {}", acknowledged.len());

    let server = site.start();
    let anna = Device::connect(&server.url(), anna.token).await;
    let history = anna.history(notes).await;
    let kept: Vec<_> =
        history.iter().map(|message| (message.message_id, message.text().expect("a text").to_owned())).collect();
    assert!(kept.len() <= acknowledged.len() + 1, "{} of {}", kept.len(), acknowledged.len());
    assert!(kept.starts_with(&acknowledged), "{} of {}", kept.len(), acknowledged.len());
    server.assert_undisturbed();
}
