//! A person before a screen: the `posthouse` command in a pseudo-terminal, and what the screen shows.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

use crate::binaries;
use crate::wait::until;

/// A command that runs in a terminal of its own. Dropping it kills it.
pub struct Pty {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    /// Ends when all that the program wrote is on the screen.
    reader: JoinHandle<()>,
}

impl Pty {
    /// Starts a `posthouse` command line on a screen of `rows` and `columns`.
    pub fn start(arguments: &[&str], config_dir: &Path, (rows, columns): (u16, u16)) -> Self {
        let pair = native_pty_system().openpty(size(rows, columns)).expect("a pseudo-terminal");
        let mut command = CommandBuilder::new(binaries::client());
        command.args(arguments);
        command.env("POSTHOUSE_CONFIG_DIR", config_dir);
        command.env("TZ", "UTC");
        command.env("TERM", "xterm-256color");
        let child = pair.slave.spawn_command(command).expect("the posthouse program starts");
        drop(pair.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(one(rows), one(columns), 0)));
        let mut written = pair.master.try_clone_reader().expect("what is written to the terminal");
        let shown = Arc::clone(&screen);
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            // The terminal is gone with its program.
            while let Ok(len @ 1..) = written.read(&mut piece) {
                shown.lock().expect("no reader panics").process(&piece[..len]);
            }
        });
        let keyboard = pair.master.take_writer().expect("a keyboard");
        Self { child, master: pair.master, keyboard, screen, reader }
    }

    /// Types.
    pub fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("the terminal takes keys");
        self.keyboard.flush().expect("the terminal takes keys");
    }

    /// What the screen shows.
    pub fn shown(&self) -> String {
        self.screen.lock().expect("no reader panics").screen().contents()
    }

    /// Whether the program has the screen for itself.
    pub fn is_taken_over(&self) -> bool {
        self.screen.lock().expect("no reader panics").screen().alternate_screen()
    }

    /// Waits until what is shown is as wanted, and answers it.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn until(&self, what: &str, is_wanted: impl Fn(&str) -> bool) -> String {
        let seen = std::cell::RefCell::new(String::new());
        let look = || {
            seen.replace(self.shown());
            is_wanted(&seen.borrow()).then(|| seen.borrow().clone())
        };
        let show = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| until(what, look)));
        show.unwrap_or_else(|_| panic!("there was no {what}; the screen shows:\n{}", seen.borrow()))
    }

    /// Waits until the text is shown.
    pub fn until_shown(&self, text: &str) -> String {
        self.until(text, |shown| shown.contains(text))
    }

    /// Makes the window another size.
    pub fn resize(&self, rows: u16, columns: u16) {
        self.screen.lock().expect("no reader panics").screen_mut().set_size(one(rows), one(columns));
        self.master.resize(size(rows, columns)).expect("another size");
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.process_id().expect("it was started")
    }

    /// Waits for its end and for the last that it wrote.
    pub fn ended(&mut self) -> ExitStatus {
        let status = until("end of the command", || self.child.try_wait().expect("it is this test's child"));
        until("end of what it wrote", || self.reader.is_finished().then_some(()));
        status
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(rows: u16, cols: u16) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}

fn one(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).expect("a screen has rows and columns")
}
