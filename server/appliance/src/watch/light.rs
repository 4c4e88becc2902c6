//! The green light of the board. Patterns are the kernel's: nobody has to wake up for them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::picture::Condition;

/// Where the kernel has its lights.
const LIGHTS: &str = "sys/class/leds";

/// What the activity light is called: by the device trees of today, and by older ones of Raspberry Pi.
const NAMES: [&str; 2] = ["ACT", "led0"];

/// What the light does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Two beats, a pause: the device tree's own, so that it beats from the kernel's start on.
    Heartbeat,
    /// On.
    Steady,
    /// On and off, in milliseconds.
    Blink { on_ms: u32, off_ms: u32 },
}

/// How the box is, to be seen from across the room.
pub fn pattern(condition: Condition) -> Pattern {
    match condition {
        Condition::Starting => Pattern::Heartbeat,
        Condition::Ready => Pattern::Steady,
        Condition::NoNetwork => Pattern::Blink { on_ms: 100, off_ms: 1900 },
        Condition::Fault => Pattern::Blink { on_ms: 100, off_ms: 100 },
    }
}

/// The light of the box whose file system begins at `root`; nothing on a machine without one.
pub fn find(root: &Path) -> Option<PathBuf> {
    NAMES.iter().map(|name| root.join(LIGHTS).join(name)).find(|light| light.join("trigger").exists())
}

/// Sets it.
///
/// # Errors
/// When the kernel refuses: it has no such trigger.
pub fn set(light: &Path, pattern: Pattern) -> io::Result<()> {
    let write = |file: &str, value: &str| fs::write(light.join(file), value);
    match pattern {
        Pattern::Heartbeat => write("trigger", "heartbeat"),
        Pattern::Steady => {
            write("trigger", "none")?;
            let brightest = fs::read_to_string(light.join("max_brightness")).unwrap_or_else(|_| "1".to_owned());
            write("brightness", brightest.trim())
        }
        Pattern::Blink { on_ms, off_ms } => {
            // The files of the times come with the trigger.
            write("trigger", "timer")?;
            write("delay_on", &on_ms.to_string())?;
            write("delay_off", &off_ms.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pattern, find, pattern, set};
    use crate::watch::picture::Condition;

    #[test]
    fn each_condition_looks_different() {
        let all = [Condition::Starting, Condition::Ready, Condition::NoNetwork, Condition::Fault];
        let patterns: Vec<Pattern> = all.into_iter().map(pattern).collect();
        for (at, one) in patterns.iter().enumerate() {
            assert!(!patterns[..at].contains(one), "{one:?} twice");
        }
    }

    #[test]
    fn the_kernel_s_files_get_the_pattern() {
        let root = tempfile::tempdir().expect("a folder");
        assert_eq!(find(root.path()), None);
        let light = root.path().join("sys/class/leds/ACT");
        std::fs::create_dir_all(&light).expect("made");
        let read = |file: &str| std::fs::read_to_string(light.join(file)).expect("there");
        for (file, content) in [("trigger", "[heartbeat] none timer\n"), ("max_brightness", "255\n")] {
            std::fs::write(light.join(file), content).expect("written");
        }
        assert_eq!(find(root.path()).as_ref(), Some(&light));
        set(&light, Pattern::Steady).expect("set");
        assert_eq!((read("trigger"), read("brightness")), ("none".to_owned(), "255".to_owned()));
        set(&light, Pattern::Blink { on_ms: 100, off_ms: 1900 }).expect("set");
        assert_eq!(
            (read("trigger"), read("delay_on"), read("delay_off")),
            ("timer".into(), "100".into(), "1900".into())
        );
        set(&light, Pattern::Heartbeat).expect("set");
        assert_eq!(read("trigger"), "heartbeat");
        std::fs::remove_dir_all(&light).expect("gone");
        set(&light, Pattern::Steady).expect_err("no light");
    }
}
