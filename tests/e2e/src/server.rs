//! One run of `posthoused` as a process of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use posthouse_client::ServerUrl;
use posthouse_client::admin::Admin;
use posthouse_protocol::admin::AccountAddParams;
use posthouse_protocol::{Account, Username};

use crate::wait::{BOUND, until};
use crate::{Log, PASSWORD};

/// A server that serves. Dropping it kills it.
pub struct Server {
    child: Child,
    log: Log,
    address: SocketAddr,
    admin_socket: PathBuf,
}

/// A server that has ended.
#[derive(Debug)]
pub struct Stopped {
    /// How.
    pub status: ExitStatus,
    /// Everything that it wrote to standard error.
    pub log: String,
}

impl Server {
    /// Starts it and waits until it serves or ends.
    ///
    /// # Errors
    /// How it ended, where it refused to serve.
    ///
    /// # Panics
    /// When it does neither within the bound.
    pub fn start(mut command: Command, admin_socket: PathBuf) -> Result<Self, Stopped> {
        let child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the server's program starts");
        // From here on the process has an owner, who kills it if this test fails.
        let mut server = Self { child, log: Log::default(), address: ([127, 0, 0, 1], 0).into(), admin_socket };
        server.log = Log::follow(server.child.stderr.take().expect("it is piped"));
        match server.log.find(serving_address) {
            Some(address) => server.address = address,
            None => return Err(server.ended()),
        }
        until("answer to /healthz", || server.get("/healthz").starts_with("HTTP/1.1 ").then_some(()));
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as clients write it.
    pub fn url(&self) -> ServerUrl {
        format!("http://{}", self.address).parse().expect("an address")
    }

    /// Where it speaks TLS.
    pub fn secure_address(&self) -> SocketAddr {
        let address = self.log.find(secure_address);
        address.expect("the line that says so was read before")
    }

    /// Its administration socket.
    pub fn admin_socket(&self) -> &Path {
        &self.admin_socket
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Makes an account with [`PASSWORD`].
    pub fn add_account(&self, name: &str) -> Account {
        let username = Username::new(name).expect("a user name");
        let mut admin = Admin::open(&self.admin_socket).expect("the administration socket answers");
        admin
            .add_account(&AccountAddParams { username, password: PASSWORD.to_owned(), role: None })
            .expect("an account")
    }

    /// The whole answer to a GET, empty where the connection failed.
    pub fn get(&self, path: &str) -> String {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(BOUND))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().unwrap_or_default()
    }

    /// Asserts that it serves and met nothing that it had to log as an error.
    pub fn assert_undisturbed(&self) {
        let health = self.get("/healthz");
        assert!(health.contains(r#""status":"ok""#), "{health}");
        let log = self.log.text();
        assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the process is this test's own and not reaped yet");
    }

    /// Stops it as a service manager does and waits for its end.
    pub fn stop(self) -> Stopped {
        self.signal(Signal::SIGTERM);
        self.ended()
    }

    /// Kills it, as a power cut does to a process.
    pub fn kill(self) {
        self.signal(Signal::SIGKILL);
        self.ended();
    }

    /// Waits for its end.
    pub fn ended(mut self) -> Stopped {
        let status = until("end of the server", || self.child.try_wait().expect("it is this test's child"));
        Stopped { status, log: self.log.whole_text() }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("process ids are positive"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first address of the line that says that the server serves.
fn serving_address(line: &str) -> Option<SocketAddr> {
    let rest = line.split_once("serving ")?.1.split_once("addresses=[")?.1;
    rest.split([',', ']']).next()?.trim().parse().ok()
}

/// The same of HTTPS.
fn secure_address(line: &str) -> Option<SocketAddr> {
    line.split_once("secure_addresses=[")?.1.split([',', ']']).next()?.parse().ok()
}
