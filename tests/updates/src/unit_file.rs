//! Reads unit files as systemd does (man systemd.syntax, systemd.time, systemd.service): sections, lines that go on, spans
//! of time, command lines. It knows no unit's meaning.

use std::path::Path;
use std::time::Duration;

/// A unit file's settings, in their order.
#[derive(Clone, Debug, Default)]
pub struct UnitFile {
    settings: Vec<(String, String, String)>,
}

/// A command of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// Whether its failure counts for nothing (`-`).
    pub may_fail: bool,
    /// The program and its arguments.
    pub words: Vec<String>,
}

impl UnitFile {
    /// Reads a file.
    ///
    /// # Panics
    /// When it is not there or not in the form of a unit file.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::parse(&text)
    }

    /// Reads its text.
    ///
    /// # Panics
    /// When it is not in the form of a unit file.
    pub fn parse(text: &str) -> Self {
        let (mut file, mut section, mut open) = (Self::default(), String::new(), String::new());
        for line in text.lines().map(str::trim) {
            // A comment may stand between the lines of one setting.
            if line.starts_with(['#', ';']) || (line.is_empty() && open.is_empty()) {
                continue;
            }
            if let Some(begun) = line.strip_suffix('\\') {
                open = open + begun + " ";
                continue;
            }
            let whole = std::mem::take(&mut open) + line;
            if let Some(name) = whole.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.clone_into(&mut section);
                continue;
            }
            let (key, value) = whole.split_once('=').unwrap_or_else(|| panic!("no setting: {whole}"));
            file.settings.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
        }
        file
    }

    /// The keys of a section.
    pub fn keys(&self, section: &str) -> impl Iterator<Item = &str> {
        self.settings.iter().filter(move |(of, _, _)| of == section).map(|(_, key, _)| key.as_str())
    }

    /// All values of a list: an empty one empties it.
    pub fn all(&self, section: &str, key: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for (_, _, value) in self.settings.iter().filter(|(of, name, _)| of == section && name == key) {
            if value.is_empty() { values.clear() } else { values.push(value.as_str()) }
        }
        values
    }

    /// The value that counts: the last.
    pub fn last(&self, section: &str, key: &str) -> Option<&str> {
        self.all(section, key).pop()
    }

    /// A span of time.
    pub fn span(&self, section: &str, key: &str) -> Option<Duration> {
        self.last(section, key).map(span)
    }

    /// The commands of a setting.
    pub fn commands(&self, section: &str, key: &str) -> Vec<CommandLine> {
        self.all(section, key).into_iter().map(command_line).collect()
    }
}

/// A span of time; without a unit these are seconds.
fn span(text: &str) -> Duration {
    if text == "infinity" {
        return Duration::MAX;
    }
    let mut whole = Duration::ZERO;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().unwrap_or_else(|_| panic!("no span of time: {text}"));
        let after = rest[digits..].trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        whole += match &after[..letters] {
            "" | "s" | "sec" => Duration::from_secs(number),
            "us" => Duration::from_micros(number),
            "ms" => Duration::from_millis(number),
            "m" | "min" => Duration::from_secs(60 * number),
            "h" => Duration::from_secs(3600 * number),
            "d" => Duration::from_secs(24 * 3600 * number),
            unit => panic!("no unit of time: {unit} in {text}"),
        };
        rest = after[letters..].trim_start();
    }
    whole
}

fn command_line(text: &str) -> CommandLine {
    let command = text.trim_start_matches(['-', '+', '!', ':']);
    let prefix = &text[..text.len() - command.len()];
    assert!(!command.contains(['"', '\'']), "quotes are not read here: {text}");
    let words = command.split_whitespace().map(|word| word.replace("%%", "%")).collect();
    CommandLine { may_fail: prefix.contains('-'), words }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_systemd_reads_them() {
        let file = UnitFile::parse(
            "[Unit]\n# why\nAfter=a\nAfter=b\n\n[Service]\nExecStartPre=+/bin/pick \\\n  # between\n  --now\nTimeoutStartSec=1min 30s\n\
             Environment=A=1\nEnvironment=\nEnvironment=B=2=3\n",
        );
        assert_eq!(file.all("Unit", "After"), ["a", "b"]);
        assert_eq!(file.all("Service", "Environment"), ["B=2=3"]);
        assert_eq!(file.span("Service", "TimeoutStartSec"), Some(Duration::from_secs(90)));
        let [pick] = &file.commands("Service", "ExecStartPre")[..] else { panic!("one command") };
        assert_eq!(pick, &CommandLine { may_fail: false, words: vec!["/bin/pick".into(), "--now".into()] });
        assert_eq!(file.last("Service", "After"), None);
    }

    #[test]
    fn spans_have_units_or_are_seconds() {
        let ms = |text| span(text).as_millis();
        assert_eq!(
            (ms("90"), ms("1s"), ms("200ms"), ms("2min"), ms("1h 1 s")),
            (90_000, 1000, 200, 120_000, 3_601_000)
        );
        assert_eq!((span("infinity"), span("0")), (Duration::MAX, Duration::ZERO));
    }

    #[test]
    fn a_minus_lets_a_command_fail() {
        assert!(command_line("-+/bin/false").may_fail);
        assert!(!command_line("+/bin/false").may_fail);
    }
}
