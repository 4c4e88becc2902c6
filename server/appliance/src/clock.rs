//! `posthouse-box clock`: sets the clock by what the owner's device said when it claimed the box.
//!
//! The server may not set the clock, and leaves the time in a file. Nobody vouches for what that file says, so that this program
//! decides for itself: only where no time server has set the clock, only forward, only to a time at which this image can be in use, and
//! once until the machine is off. posthouse-clock.path starts it, as the server's user with the right to set the clock and no other.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use nix::fcntl::OFlag;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};
use nix::unistd::{Uid, geteuid};
use thiserror::Error;

/// What the server leaves: milliseconds since 1970, and a line's end.
const REQUEST: &str = "run/posthouse/clock-request";

/// More than any such number has, in bytes.
const REQUEST_LEN_MAX: u64 = 32;

/// systemd-timesyncd touches it each time that it has set the clock by a server (systemd-timesyncd(8)).
const SYNCHRONISED: &str = "run/systemd/timesync/synchronized";

/// Says that the clock was set by a request. In memory, so until the machine is off.
const SET: &str = "run/posthouse-clock/set";

/// For so long after its build an image may be put on a card: 20 years. Cards and boards do not last longer.
const USE_MAX: Duration = Duration::from_secs(20 * 365 * 24 * 3_600);

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where the box's file system begins
    #[arg(long, env = "POSTHOUSE_ROOT", default_value = "/")]
    root: PathBuf,
}

/// Why the clock stays as it is. None of it is the box's fault.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
enum Stays {
    #[error("a time server has set it")]
    Synchronised,
    #[error("the time asked for is before this image was built")]
    BeforeBuild,
    #[error("the time asked for is behind the clock, which runs on from the last known time")]
    Behind,
    #[error("the time asked for is too far ahead")]
    TooFarAhead,
    #[error("it was set like this before, since the machine was switched on")]
    SetBefore,
}

/// What the box knows of the time by itself.
struct Known {
    is_synchronised: bool,
    /// Since 1970.
    built: Duration,
    /// The clock's time, since 1970. At the start it was set to the last known time.
    now: Duration,
}

/// Takes the request, and sets the clock or says why not.
///
/// # Errors
/// The request is none, can't be removed, or the kernel refuses.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let known = Known {
        is_synchronised: options.root.join(SYNCHRONISED).exists(),
        built: built()?,
        now: since_1970(SystemTime::now())?,
    };
    match follow(&options.root, geteuid(), &known)? {
        Ok(asked) => {
            clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::from(asked)).context("cannot set the clock")?;
            println!("the clock is set by what the owner's device said");
        }
        Err(reason) => println!("the clock stays: {reason}"),
    }
    Ok(())
}

/// When this image was built: every file of it is as old as that at most.
fn built() -> anyhow::Result<Duration> {
    let program = std::env::current_exe().and_then(fs::metadata).context("cannot look at this program's file")?;
    since_1970(program.modified().context("this program's file has no time")?)
}

fn since_1970(time: SystemTime) -> anyhow::Result<Duration> {
    time.duration_since(SystemTime::UNIX_EPOCH).context("a time before 1970")
}

/// Everything but setting the clock: which may be done at once to the time that is returned.
fn follow(root: &Path, server: Uid, known: &Known) -> anyhow::Result<Result<Duration, Stays>> {
    let asked = take(&root.join(REQUEST), server)?;
    if let Err(reason) = decide(asked, known) {
        return Ok(Err(reason));
    }
    // Before the clock is set: whatever happens then, there is no second time.
    match File::create_new(root.join(SET)) {
        Ok(_) => Ok(Ok(asked)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Err(Stays::SetBefore)),
        Err(error) => Err(error).with_context(|| format!("cannot make /{SET}")),
    }
}

/// Whether the clock may be set to a time, since 1970.
fn decide(asked: Duration, known: &Known) -> Result<(), Stays> {
    if known.is_synchronised {
        Err(Stays::Synchronised)
    } else if asked < known.built {
        Err(Stays::BeforeBuild)
    } else if asked < known.now {
        Err(Stays::Behind)
    } else if asked > known.built + USE_MAX {
        Err(Stays::TooFarAhead)
    } else {
        Ok(())
    }
}

/// Reads a request and removes it, whatever it says: one that stays would start this program for ever.
fn take(file: &Path, server: Uid) -> anyhow::Result<Duration> {
    let asked = read(file, server);
    fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    asked.with_context(|| format!("{} is no request", file.display()))
}

fn read(file: &Path, server: Uid) -> anyhow::Result<Duration> {
    // What lies there must not lead elsewhere, nor keep its reader waiting.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(file)?;
    let metadata = opened.metadata()?;
    ensure!(metadata.is_file(), "it is not a file");
    ensure!(metadata.uid() == server.as_raw(), "it is user {}'s, and the server is user {server}", metadata.uid());
    let mut text = String::new();
    opened.take(REQUEST_LEN_MAX).read_to_string(&mut text)?;
    let milliseconds = text.strip_suffix('\n').context("it has no end")?;
    Ok(Duration::from_millis(milliseconds.parse().context("it is no number of milliseconds")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    /// In seconds since 1970.
    const BUILT: u64 = 1_790_000_000;

    /// A box that was flashed a day after its build and is on for an hour. Its clock began at the build.
    fn unset() -> Known {
        Known { is_synchronised: false, built: seconds(BUILT), now: seconds(BUILT + 3_600) }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A box's folders in `/run`.
    struct Device(TempDir);

    impl Device {
        fn new() -> Self {
            let device = Self(TempDir::new().expect("a folder"));
            for file in [REQUEST, SET] {
                fs::create_dir_all(device.path(file).parent().expect("a folder")).expect("made");
            }
            device
        }

        fn path(&self, file: &str) -> PathBuf {
            self.0.path().join(file)
        }

        fn ask(&self, text: impl AsRef<[u8]>) {
            fs::write(self.path(REQUEST), text).expect("written");
        }

        fn follow(&self, known: &Known) -> anyhow::Result<Result<Duration, Stays>> {
            let followed = follow(self.0.path(), geteuid(), known);
            assert!(self.path(REQUEST).symlink_metadata().is_err(), "the request is used up");
            followed
        }
    }

    #[test]
    fn a_clock_is_set_forward_only_and_only_to_a_time_of_this_image() {
        let day = seconds(BUILT + 24 * 3_600);
        assert_eq!(decide(day, &unset()), Ok(()));
        assert_eq!(decide(day, &Known { is_synchronised: true, ..unset() }), Err(Stays::Synchronised));
        // A Pi that knows nothing begins in the past.
        let ignorant = Known { now: seconds(0), ..unset() };
        assert_eq!(decide(seconds(BUILT - 1), &ignorant), Err(Stays::BeforeBuild));
        assert_eq!(decide(seconds(BUILT), &ignorant), Ok(()));
        assert_eq!(decide(seconds(BUILT + 3_599), &unset()), Err(Stays::Behind));
        assert_eq!(decide(seconds(BUILT + 3_600), &unset()), Ok(()));
        assert_eq!(decide(seconds(BUILT) + USE_MAX, &unset()), Ok(()));
        assert_eq!(decide(seconds(BUILT + 1) + USE_MAX, &unset()), Err(Stays::TooFarAhead));
        assert_eq!(decide(Duration::from_millis(u64::MAX), &unset()), Err(Stays::TooFarAhead));
    }

    #[test]
    fn a_clock_is_set_once_until_the_machine_is_off() {
        let device = Device::new();
        device.ask("1790086400500\n");
        let asked = device.follow(&unset()).expect("a request");
        assert_eq!(asked, Ok(Duration::from_millis(1_790_086_400_500)));
        device.ask("1790086500000\n");
        assert_eq!(device.follow(&unset()).expect("a request"), Err(Stays::SetBefore));
        fs::remove_file(device.path(SET)).expect("as a new boot has it");
        device.ask("1790086500000\n");
        assert_eq!(device.follow(&unset()).expect("a request"), Ok(seconds(1_790_086_500)));
    }

    #[test]
    fn a_time_that_cannot_be_does_not_use_up_the_one_time() {
        let device = Device::new();
        device.ask("1000\n");
        assert_eq!(device.follow(&unset()).expect("a request"), Err(Stays::BeforeBuild));
        device.ask("1790086400000\n");
        assert!(device.follow(&unset()).expect("a request").is_ok());
    }

    #[test]
    fn what_is_no_number_is_no_request() {
        let device = Device::new();
        let (long, digits) = ("1".repeat(64) + "\n", "1790086400000");
        for odd in ["", "\n", "x\n", "-1\n", "1.5\n", "18446744073709551616\n", digits, long.as_str()] {
            device.ask(odd);
            assert!(device.follow(&unset()).is_err(), "{odd:?}");
        }
        device.ask(b"\xff\n");
        assert!(device.follow(&unset()).is_err(), "no text");
        assert!(!device.path(SET).exists());
    }

    #[test]
    fn only_a_file_of_the_servers_own_is_a_request() {
        let device = Device::new();
        let request = device.path(REQUEST);
        device.ask("1790086400000\n");
        let other = Uid::from_raw(geteuid().as_raw() + 1);
        let refused = follow(device.0.path(), other, &unset()).expect_err("somebody else's");
        assert!(format!("{refused:#}").contains("and the server is user"), "{refused:#}");
        assert!(!request.exists(), "it is removed all the same");

        let elsewhere = device.path("elsewhere");
        fs::write(&elsewhere, "1790086400000\n").expect("written");
        symlink(&elsewhere, &request).expect("a link");
        assert!(device.follow(&unset()).is_err(), "a link");
        assert!(elsewhere.exists());

        nix::unistd::mkfifo(&request, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert!(device.follow(&unset()).is_err(), "a pipe");
        assert!(follow(device.0.path(), geteuid(), &unset()).is_err(), "nothing");
        assert!(!device.path(SET).exists());
    }
}
