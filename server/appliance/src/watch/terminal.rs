//! The consoles, and when a page is written to one. Each is opened for one write and closed again: whoever else uses it may
//! hang it up meanwhile.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use super::page::Eyes;
use super::senses::text_of;

/// What changes all the time, as a temperature does, is shown this often.
const CALM: Duration = Duration::from_secs(5);

/// What the kernel or a keyboard wrote across the page is written over after this time.
const REFRESH: Duration = Duration::from_secs(60);

/// The consoles that the kernel writes to, in one line.
const ACTIVE: &str = "sys/class/tty/console/active";

/// The screen that a monitor shows.
const SCREEN: &str = "tty1";

/// Which consoles show the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Consoles {
    /// The screen, and each serial console of the kernel.
    All,
    /// The screen only: somebody works at the serial console.
    Screen,
}

/// One console, and what it shows.
pub struct Terminal {
    path: PathBuf,
    /// What it is looked at with.
    pub eyes: Eyes,
    shown: Option<(String, Instant)>,
}

/// The consoles of the box whose file system begins at `root`.
pub fn find(root: &Path, wanted: Consoles) -> Vec<Terminal> {
    let terminal = |name: &str, eyes| Terminal { path: root.join("dev").join(name), eyes, shown: None };
    let active = text_of(&root.join(ACTIVE)).unwrap_or_default();
    let serial = active.split_whitespace().filter(|name| wanted == Consoles::All && !is_screen(name));
    let mut terminals: Vec<Terminal> = serial.map(|name| terminal(name, Eyes::Serial)).collect();
    terminals.push(terminal(SCREEN, Eyes::Screen));
    terminals
}

fn is_screen(name: &str) -> bool {
    name.strip_prefix("tty").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Terminal {
    /// Shows the page, if it is time to.
    ///
    /// # Errors
    /// When there is no such console, or it takes nothing. It is not tried again before the page is due anew.
    pub fn show(&mut self, page: String, now: Instant) -> io::Result<()> {
        if let Some((shown, since)) = &self.shown {
            let pause = if *shown == page { REFRESH } else { CALM };
            if now.duration_since(*since) < pause {
                return Ok(());
            }
        }
        let bytes = page.clone();
        self.shown = Some((page, now));
        // It must not become the terminal by which this process is hung up. In one write, which nobody else's falls into.
        let mut open = OpenOptions::new();
        open.write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(&self.path)?.write_all(bytes.as_bytes())
    }

    /// Its device.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::{Consoles, Eyes, find};
    use std::time::{Duration, Instant};

    #[test]
    fn the_kernel_s_consoles_are_found() {
        let root = tempfile::tempdir().expect("a folder");
        let found = |wanted| -> Vec<(String, Eyes)> {
            let terminals = find(root.path(), wanted);
            let name = |path: &std::path::Path| path.file_name().expect("a name").to_string_lossy().into_owned();
            terminals.iter().map(|terminal| (name(terminal.path()), terminal.eyes)).collect()
        };
        let screen = ("tty1".to_owned(), Eyes::Screen);
        assert_eq!(found(Consoles::All), std::slice::from_ref(&screen));
        std::fs::create_dir_all(root.path().join("sys/class/tty/console")).expect("made");
        std::fs::write(root.path().join("sys/class/tty/console/active"), "tty1 ttyS1 ttyAMA0\n").expect("written");
        let serial = |name: &str| (name.to_owned(), Eyes::Serial);
        assert_eq!(found(Consoles::All), [serial("ttyS1"), serial("ttyAMA0"), screen.clone()]);
        assert_eq!(found(Consoles::Screen), [screen]);
    }

    #[test]
    fn a_page_is_written_when_it_changed_and_now_and_then() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("dev/tty1");
        let mut terminals = find(root.path(), Consoles::All);
        let terminal = &mut terminals[0];
        let begin = Instant::now();
        terminal.show("one".to_owned(), begin).expect_err("no such console");
        std::fs::create_dir(root.path().join("dev")).expect("made");
        let mut shows = |page: &str, seconds: u64| {
            std::fs::write(&path, "").expect("cleared");
            terminal.show(page.to_owned(), begin + Duration::from_secs(seconds)).expect("shown");
            std::fs::read_to_string(&path).expect("there")
        };
        assert_eq!(shows("one", 59), "");
        assert_eq!(shows("one", 60), "one");
        assert_eq!(shows("two", 64), "");
        assert_eq!(shows("two", 65), "two");
        assert_eq!(shows("two", 124), "");
        assert_eq!(shows("two", 125), "two");
    }
}
