//! Connections that end between a request and its answer: what the request made is there once, and the command knows it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use posthouse_e2e::terminal::Terminal;
use posthouse_e2e::{PASSWORD, Site};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Passes everything on, but the first answer that begins so: instead of that it closes the connection.
struct Proxy {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
}

impl Proxy {
    async fn before(server: SocketAddr, answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, cuts) = (listener.local_addr().expect("an address"), Arc::default());
        let counted = Arc::clone(&cuts);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server, answer, Arc::clone(&counted)));
            }
        });
        Self { address, cuts }
    }

    fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

async fn pass(client: TcpStream, server: SocketAddr, answer: &str, cuts: Arc<AtomicUsize>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let requests = tokio::io::copy(&mut from_client, &mut to_server);
    let answers = async {
        // From the beginning on, so that it is found however it is cut into pieces.
        let mut said = Vec::new();
        loop {
            let begin = said.len();
            if from_server.read_buf(&mut said).await.is_ok_and(|len| len == 0) {
                return;
            }
            let is_meant = said.windows(answer.len()).any(|part| part == answer.as_bytes());
            if is_meant && cuts.fetch_add(1, Ordering::Relaxed) == 0 {
                return;
            }
            if to_client.write_all(&said[begin..]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = requests => {}
        () = answers => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_whose_acknowledgement_was_cut_off_is_sent_once_and_the_command_succeeds() {
    for transport in ["websocket", "sse"] {
        let (site, server) = Site::with_accounts(&["anna", "ben"]);
        let proxy = Proxy::before(server.address(), r#""result":{"message_id""#).await;
        let anna = logged_in(&site, &proxy);
        let sent = anna.run(&["--transport", transport, "send", "ben", "hello"]).ok();
        assert!(sent.starts_with("Sent, number 1 of"), "{sent}");
        assert_eq!(anna.run(&["read", "ben"]).ok().lines().count(), 1);
        assert!(proxy.cuts() > 1, "the first answer was cut off");

        let proxy = Proxy::before(server.address(), r#""result":{"message_id""#).await;
        let anna = logged_in(&site, &proxy);
        let replied = anna.run(&["--json", "--transport", transport, "reply", "ben", "1", "world"]).ok();
        assert!(replied.contains(r#""seq":2,"#), "{replied}");
        assert_eq!(anna.run(&["read", "ben"]).ok().lines().count(), 2);
        assert!(proxy.cuts() > 1, "the first answer was cut off");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_answer_was_cut_off_is_made_once_and_the_command_succeeds() {
    let (site, server) = Site::with_accounts(&["anna", "ben"]);
    let proxy = Proxy::before(server.address(), r#""result":{"conversation_id""#).await;
    let anna = logged_in(&site, &proxy);
    assert_eq!(anna.run(&["group", "create", "Board", "ben"]).ok(), "Group Board made, #1.");
    assert_eq!(anna.run(&["conversations"]).ok().lines().count(), 1);
    assert!(proxy.cuts() > 1, "the first answer was cut off");
}

fn logged_in(site: &Site, proxy: &Proxy) -> Terminal {
    let terminal = Terminal::new(site.path("home-of-anna"));
    let url = format!("http://{}", proxy.address);
    terminal.run_with_input(&["login", "--server", &url, "--password-stdin", "anna"], PASSWORD).ok();
    terminal
}
