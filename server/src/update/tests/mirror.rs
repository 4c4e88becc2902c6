//! A web server by TLS, with an authority of its own, whose moods are those of the Internet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use posthouse_updater::Sha256;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// How the next request is answered.
#[derive(Clone, Debug)]
pub enum Mood {
    Well,
    /// The connection ends so many bytes into the body.
    BreaksAfter(usize),
    /// Nothing more comes after so many bytes of the body.
    StallsAfter(usize),
    /// It does not know what a range is.
    WithoutParts,
    /// Zeros, for ever.
    Endless,
    Status(u16),
    SendsOn(String),
    /// To itself.
    SendsOnForEver,
    /// The connection ends before an answer.
    Hangs,
}

/// What somebody asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub from: u64,
    pub if_range: Option<String>,
}

#[derive(Default)]
struct State {
    file: Vec<u8>,
    /// What it has from the next request on.
    next_file: Option<Vec<u8>>,
    moods: VecDeque<Mood>,
    asked: Vec<Asked>,
    sent: usize,
}

pub struct Mirror {
    state: Arc<Mutex<State>>,
    port: u16,
    authority: String,
}

impl Mirror {
    pub async fn with(file: &[u8]) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        let own_key = KeyPair::generate().expect("a key");
        let own = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let own = own.signed_by(&own_key, &issuer).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let own_key = PrivateKeyDer::try_from(own_key.serialize_der()).expect("a key");
        let config = config.expect("versions").with_no_client_auth().with_single_cert(vec![own.der().clone()], own_key);
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("they belong together")));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State { file: file.to_vec(), ..State::default() }));
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&serving)));
            }
        });
        Self { state, port, authority }
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}/updates/", self.port)
    }

    pub fn authority(&self) -> String {
        self.authority.clone()
    }

    /// For the next request.
    pub fn be(&self, mood: Mood) {
        self.lock().moods.push_back(mood);
    }

    /// After the next request.
    pub fn then_has(&self, file: &[u8]) {
        self.lock().next_file = Some(file.to_vec());
    }

    /// From now on, with nothing else in mind.
    pub fn has(&self, file: &[u8]) {
        let mut state = self.lock();
        state.moods.clear();
        state.next_file = None;
        state.file = file.to_vec();
    }

    pub fn etag(&self) -> String {
        etag(&self.lock().file)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.lock().asked.clone()
    }

    pub fn sent(&self) -> usize {
        self.lock().sent
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with it")
    }
}

fn etag(file: &[u8]) -> String {
    format!("\"{}\"", Sha256::of(file))
}

/// One request; whatever goes wrong with it ends it.
async fn serve(acceptor: TlsAcceptor, stream: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    let mut stream = acceptor.accept(stream).await.ok()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let header = |name: &str| head.lines().find_map(|line| line.to_lowercase().strip_prefix(name).map(str::to_owned));
    let range = header("range: bytes=")?;
    let (from, to) = range.split_once('-')?;
    let (from, to) = (from.parse::<usize>().ok()?, to.parse::<usize>().ok());
    let if_range = header("if-range: ");
    let (mood, file) = {
        let mut state = state.lock().ok()?;
        state.asked.push(Asked { from: from as u64, if_range: if_range.clone() });
        let served = (state.moods.pop_front().unwrap_or(Mood::Well), state.file.clone());
        if let Some(file) = state.next_file.take() {
            state.file = file;
        }
        served
    };
    let path = format!("/updates/stable/{}.phb", std::env::consts::ARCH);
    let found = head.starts_with(&format!("GET {path} "));
    let status = |status: u16, more: &str| format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n{more}\r\n");
    let answer = match &mood {
        _ if !found => status(404, ""),
        Mood::Hangs => return None,
        Mood::Status(number) => status(*number, ""),
        Mood::SendsOn(to) => status(302, &format!("location: {to}\r\n")),
        Mood::SendsOnForEver => {
            state.lock().ok()?.moods.push_back(mood.clone());
            status(307, &format!("location: {path}\r\n"))
        }
        Mood::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
            loop {
                stream.write_all(&[0; 64 * 1024]).await.ok()?;
            }
        }
        _ => String::new(),
    };
    if !answer.is_empty() {
        stream.write_all(answer.as_bytes()).await.ok()?;
        return stream.shutdown().await.ok();
    }
    let is_whole = matches!(mood, Mood::WithoutParts) || if_range.is_some_and(|etag_then| etag_then != etag(&file));
    let from = if is_whole { 0 } else { from.min(file.len()) };
    let body = &file[from..to.map_or(file.len(), |to| (to + 1).min(file.len())).max(from)];
    let body = if is_whole { &file[..] } else { body };
    let line = if is_whole { "200 OK".to_owned() } else { "206 Partial Content".to_owned() };
    let last = (from + body.len()).saturating_sub(1);
    let part = if is_whole { String::new() } else { format!("content-range: bytes {from}-{last}/{}\r\n", file.len()) };
    let head = format!("HTTP/1.1 {line}\r\netag: {}\r\n{part}content-length: {}\r\n\r\n", etag(&file), body.len());
    stream.write_all(head.as_bytes()).await.ok()?;
    let len = match mood {
        Mood::BreaksAfter(len) | Mood::StallsAfter(len) => len.min(body.len()),
        _ => body.len(),
    };
    stream.write_all(&body[..len]).await.ok()?;
    stream.flush().await.ok()?;
    state.lock().ok()?.sent += len;
    if matches!(mood, Mood::StallsAfter(_)) {
        std::future::pending::<()>().await;
    }
    stream.shutdown().await.ok()
}
