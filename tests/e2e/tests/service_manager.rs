//! systemd's side: sockets that it holds, what it is told, and the page of a box that cannot chat. The
//! test stands in for systemd, with the same environment and the same descriptors.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use posthouse_client::new_client_msg_id;
use posthouse_e2e::wait::{BOUND, until, within};
use posthouse_e2e::{Device, Server, Site, binaries};
use posthouse_protocol::appliance::Status;
use posthouse_protocol::{Send, SendParams};

#[test]
fn the_service_manager_hears_ready_alive_and_stopping() {
    let Some(()) = with_systemd() else { return };
    let site = Site::new();
    let manager = Manager::new(&site);
    let server = manager.watch(&site);
    for _ in 0..4 {
        assert_eq!(manager.next(), "WATCHDOG=1");
    }
    let stopped = server.stop();
    assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
    let last = until("notice of the stop", || Some(manager.next()).filter(|notice| notice != "WATCHDOG=1"));
    assert!(last.contains("STOPPING=1"), "{last}");
}

#[test]
fn a_deaf_server_is_not_called_alive_until_it_hears_again() {
    let Some(()) = with_systemd() else { return };
    let site = Site::new();
    let manager = Manager::new(&site);
    let server = manager.watch(&site);
    assert_eq!(manager.next(), "WATCHDOG=1");

    let deaf = Stopped::threads(&server, &["network"]);
    let unheard = || server.log().count("the server does not answer at its own door");
    let before = unheard();
    until("a knock that nobody hears", || (unheard() > before).then_some(()));
    manager.forget();
    until("more of them", || (unheard() > before + 3).then_some(()));
    assert!(manager.is_quiet(), "a deaf server is called alive");
    drop(deaf);
    manager.socket.set_nonblocking(false).expect("a mode");
    assert_eq!(manager.next(), "WATCHDOG=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_card_stalls_is_called_alive() {
    let Some(()) = with_systemd() else { return };
    let site = Site::new();
    let manager = Manager::new(&site);
    let server = manager.watch(&site);
    server.add_account("anna");
    let anna = Device::log_in(&server.url(), "anna").await;
    let notes = anna.direct("anna").await;
    anna.send(notes, "before").await;

    // To the rest of the server a thread that waits for the card without end is one that does not run.
    let stalled = Stopped::threads(&server, &["store-writer", "store-applier"]);
    let client = anna.client.clone();
    let sending = tokio::spawn(async move {
        let params = SendParams::text(notes, new_client_msg_id(), "during");
        client.call::<Send>(&params).await
    });
    manager.forget();
    manager.socket.set_nonblocking(false).expect("a mode");
    for _ in 0..10 {
        assert_eq!(manager.next(), "WATCHDOG=1");
    }
    assert!(!sending.is_finished(), "the card did not stall: this test shows nothing");
    drop(stalled);
    within("acknowledgement", sending).await.expect("it does not panic").expect("it is acknowledged");
}

#[test]
fn without_a_watchdog_only_ready_and_stopping_are_said() {
    let Some(()) = with_systemd() else { return };
    let site = Site::new();
    let manager = Manager::new(&site);
    let mut command = site.command();
    command.env("NOTIFY_SOCKET", site.path("notify"));
    let stopped = Server::start(command, site.admin_socket()).expect("the server starts").stop();
    assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
    assert!(manager.next().contains("READY=1"));
    assert!(manager.next().contains("STOPPING=1"));
    assert!(manager.is_quiet());
}

#[test]
fn a_server_that_cannot_serve_never_says_ready() {
    let Some(()) = with_systemd() else { return };
    let site = Site::with_database(b"no database");
    let manager = Manager::new(&site);
    let mut command = site.command();
    command.env("NOTIFY_SOCKET", site.path("notify"));
    assert!(Server::start(command, site.admin_socket()).is_err());
    assert!(manager.is_quiet());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_behind_a_held_socket_refuses_nobody() {
    let Some(()) = with_systemd() else { return };
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    let mut server = start_behind(&listener, &site);
    assert_eq!(server.address(), address, "the server serves on the socket that it was given");
    server.add_account("anna");
    let mut anna = Device::log_in(&server.url(), "anna").await;

    // Visitors come one after the other. Each is answered: by the server that stops, or by the next.
    let done = Arc::new(AtomicBool::new(false));
    let visitors = [(); 4].map(|()| {
        let done = Arc::clone(&done);
        std::thread::spawn(move || {
            let mut answers = Vec::new();
            while !done.load(Ordering::Relaxed) {
                answers.push(ask(address));
            }
            answers
        })
    });
    for _ in 0..3 {
        assert_eq!(server.stop().status.code(), Some(0));
        let waiting = std::thread::spawn(move || ask(address));
        server = start_behind(&listener, &site);
        let answer = waiting.join().expect("nobody is refused");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        anna = Device::connect(&server.url(), anna.token).await;
    }
    done.store(true, Ordering::Relaxed);
    let answers = visitors.map(|visitor| visitor.join().expect("nobody is refused")).concat();
    println!("{} visits", answers.len());
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    anna.send(anna.direct("anna").await, "still here").await;
}

#[test]
fn a_passed_socket_that_is_not_for_listening_is_refused() {
    let Some(()) = with_systemd() else { return };
    let site = Site::new();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let stopped = Server::start(behind(socket.into(), &site), site.admin_socket()).err().expect("it must refuse");
    assert_eq!(stopped.status.code(), Some(1), "{stopped:?}");
    assert!(stopped.log.contains("systemd passed a socket that is not TCP"), "{}", stopped.log);
}

#[test]
fn an_address_in_use_is_named() {
    let site = Site::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let mut command = Command::new(binaries::server());
    command.arg("--data-dir").arg(site.data_dir()).args(["--listen", &address]);
    let stopped = Server::start(command, site.admin_socket()).err().expect("it must refuse");
    assert_eq!(stopped.status.code(), Some(1), "{stopped:?}");
    let message = format!("cannot listen on {address} (--listen names another): Address already in use");
    assert!(stopped.log.contains(&message), "{}", stopped.log);
}

#[test]
fn a_box_that_cannot_chat_shows_why_and_leaves_its_data_alone() {
    let site = Site::with_database(b"no database");
    let reason = site.path("reason");
    std::fs::write(&reason, "the card is <worn> out\n").expect("a reason");
    let status = site.path("status.json");
    let mut command = site.command();
    command.arg("--rescue-file").arg(&reason).arg("--status-file").arg(&status);
    let server = Server::start(command, site.admin_socket()).expect("the rescue page is served");
    for (path, shown) in [("/", "the card is &lt;worn&gt; out"), ("/healthz", r#""status":"rescue""#)] {
        let answer = server.get(path);
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(shown), "{answer}");
    }
    assert!(server.get("/ws").starts_with("HTTP/1.1 503 "));
    // Who shows the box without a log-in reads it here.
    let told = until("status", || serde_json::from_slice::<Status>(&std::fs::read(&status).ok()?).ok());
    assert_eq!(told.rescue.as_deref(), Some("the card is <worn> out"));
    assert!(!told.version.is_empty() && !told.names.is_empty(), "{told:?}");
    assert_eq!(server.stop().status.code(), Some(0));
    assert_eq!(std::fs::read(site.database()).expect("the file"), b"no database");
}

#[test]
fn a_box_whose_database_is_refused_shows_which_file_and_what_to_do() {
    let site = Site::with_database(b"no database");
    let mut command = site.command();
    let status = site.path("status.json");
    command.arg("--rescue-file").arg(site.path("reason")).arg("--status-file").arg(&status);
    let server = Server::start(command, site.admin_socket()).expect("the rescue page is served");
    let told = until("status", || serde_json::from_slice::<Status>(&std::fs::read(&status).ok()?).ok());
    assert!(told.rescue.is_some_and(|reason| reason.contains("is damaged")), "the status says why");
    let page = server.get("/");
    let file = site.database().display().to_string();
    for part in ["HTTP/1.1 503 ", file.as_str(), "is damaged", "move it away", "What to do"] {
        assert!(page.contains(part), "no {part:?}: {page}");
    }
    assert!(server.get("/healthz").contains(r#""status":"rescue""#));
    assert_eq!(server.stop().status.code(), Some(0));
    assert_eq!(std::fs::read(site.database()).expect("the file"), b"no database");
}

#[test]
fn a_box_whose_card_takes_no_more_writing_says_so() {
    let (site, server) = Site::with_accounts(&["anna"]);
    assert_eq!(server.stop().status.code(), Some(0));
    let inside = site.command();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "--", "sh", "-c"]);
    command.arg(r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@""#).arg(site.data_dir());
    command.arg(inside.get_program()).args(inside.get_args());
    for variable in inside.get_envs().filter_map(|(name, value)| value.is_none().then_some(name)) {
        command.env_remove(variable);
    }
    command.arg("--rescue-file").arg(site.path("reason"));
    let server = Server::start(command, site.admin_socket()).expect("the rescue page is served");
    let page = server.get("/");
    let file = site.database().display().to_string();
    for part in [file.as_str(), "Read-only file system", "Have its file system checked", "What to do"] {
        assert!(page.contains(part), "no {part:?}: {page}");
    }
}

/// Nothing, said loudly, where the server was built without the feature.
fn with_systemd() -> Option<()> {
    let there = binaries::has_systemd();
    if !there {
        println!("LEFT OUT: {} was built without the feature systemd", binaries::server().display());
    }
    there.then_some(())
}

/// The socket on which a service manager is told things.
struct Manager {
    socket: UnixDatagram,
}

/// Threads of a server that stand still until this is dropped, which only the thread that made it may do.
struct Stopped(Vec<Pid>);

impl Stopped {
    fn threads(server: &Server, names: &[&str]) -> Self {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.id())).expect("the server runs");
        let mut stopped = Self(Vec::new());
        for task in tasks {
            let task = task.expect("a thread").path();
            let name = std::fs::read_to_string(task.join("comm")).expect("its name");
            if names.contains(&name.trim_end()) {
                let id = task.file_name().and_then(|id| id.to_str()).and_then(|id| id.parse().ok()).expect("a number");
                let id = Pid::from_raw(id);
                ptrace::seize(id, ptrace::Options::empty()).expect("a test may trace its child");
                ptrace::interrupt(id).expect("traced");
                waitpid(id, Some(WaitPidFlag::__WALL)).expect("it stops");
                stopped.0.push(id);
            }
        }
        assert!(stopped.0.len() >= names.len(), "not all of {names:?} are there");
        stopped
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for id in &self.0 {
            // A server that was killed meanwhile has no threads.
            let _ = ptrace::detach(*id, None);
        }
    }
}

impl Manager {
    fn new(site: &Site) -> Self {
        let socket = UnixDatagram::bind(site.path("notify")).expect("a socket");
        socket.set_read_timeout(Some(BOUND)).expect("a time-out");
        Self { socket }
    }

    /// Starts a server that has to show every 600 ms that it is alive, and hears that it is ready.
    fn watch(&self, site: &Site) -> Server {
        let mut command = site.command();
        command.env("NOTIFY_SOCKET", site.path("notify")).env("WATCHDOG_USEC", "600000");
        let server = Server::start(command, site.admin_socket()).expect("the server starts");
        assert!(self.next().contains("READY=1"), "the first that is said");
        server
    }

    /// Drops what was said so far.
    fn forget(&self) {
        while !self.is_quiet() {}
    }

    fn next(&self) -> String {
        let mut notice = [0; 4096];
        let len = self.socket.recv(&mut notice).expect("the service manager is told something");
        String::from_utf8(notice[..len].to_vec()).expect("a text")
    }

    /// Whether nothing has been said that was not heard.
    fn is_quiet(&self) -> bool {
        self.socket.set_nonblocking(true).expect("a mode");
        self.socket.recv(&mut [0; 1]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

fn start_behind(listener: &TcpListener, site: &Site) -> Server {
    let socket = listener.try_clone().expect("a descriptor");
    Server::start(behind(socket.into(), site), site.admin_socket()).expect("the server starts")
}

/// The server's command line with a socket as its descriptor 3, as systemd passes it: `LISTEN_PID` has to be the
/// server's own, which only the process itself knows before it becomes the server.
fn behind(socket: OwnedFd, site: &Site) -> Command {
    let server = site.command();
    let mut command = Command::new("sh");
    command.args(["-c", r#"LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@" 3<&0 </dev/null"#]);
    command.arg(server.get_program()).args(server.get_args()).stdin(Stdio::from(socket));
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// The answer to one request, as far as it came.
fn ask(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("nobody is refused");
    stream.set_read_timeout(Some(BOUND)).expect("a time-out");
    let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    match asked.and_then(|()| stream.read_to_string(&mut answer)) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock) => panic!("no answer came"),
        _ => answer,
    }
}
