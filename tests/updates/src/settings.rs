//! What a service's unit file means to the supervisor: the settings that decide when what is started, killed and started
//! again, with systemd's defaults (man systemd.service, systemd.unit).

use std::time::Duration;

use crate::unit_file::{CommandLine, UnitFile};

/// systemd's own, where a unit says nothing (`DefaultTimeoutStartSec=`, `DefaultTimeoutStopSec=`).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(90);
const DEFAULT_RESTART_WAIT: Duration = Duration::from_millis(100);
const DEFAULT_START_LIMIT_INTERVAL: Duration = Duration::from_secs(10);
const DEFAULT_START_LIMIT_BURST: usize = 5;

/// What these say about starting and stopping is followed; a key of the same kind that is not here is not understood, so
/// that a test never passes by ignoring it.
const FOLLOWED: [&str; 21] = [
    "ConditionPathExists",
    "Environment",
    "ExecStart",
    "ExecStartPre",
    "ExecStopPost",
    "KillMode",
    "LoadCredential",
    "Restart",
    "RestartMaxDelaySec",
    "RestartSec",
    "RestartSteps",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "StandardOutput",
    "StartLimitBurst",
    "StartLimitIntervalSec",
    "TimeoutSec",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "Type",
    "WatchdogSec",
];
const KINDS: [&str; 20] = [
    "BindsTo",
    "BusName",
    "Condition",
    "Exec",
    "FinalKill",
    "GuessMain",
    "Kill",
    "LoadCredential",
    "NotifyAccess",
    "PIDFile",
    "PartOf",
    "RemainAfter",
    "Restart",
    "RuntimeDirectory",
    "SendSIG",
    "StandardOutput",
    "StartLimit",
    "SuccessExit",
    "Timeout",
    "Watchdog",
];

/// When a service counts as started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// When it says so.
    Notify,
    /// When it has ended well.
    Oneshot,
    /// At once.
    Simple,
}

/// When a service is started again by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    No,
    /// When it has failed.
    OnFailure,
    /// Whatever it ended by.
    Always,
}

/// One service's settings. A time-out that is [`Duration::MAX`] never comes.
#[derive(Clone, Debug)]
pub struct Settings {
    pub kind: Kind,
    pub before_start: Vec<CommandLine>,
    pub start: Vec<CommandLine>,
    pub after_stop: Vec<CommandLine>,
    pub environment: Vec<(String, String)>,
    pub runtime_directories: Vec<String>,
    /// Names, and the files whose content they have.
    pub credentials: Vec<(String, String)>,
    pub condition_path: Option<String>,
    /// The file that what it prints goes to.
    pub output: Option<String>,
    pub start_timeout: Duration,
    pub stop_timeout: Duration,
    pub watchdog: Option<Duration>,
    pub restart: Restart,
    pub restart_wait: RestartWait,
    pub start_limit: Option<(usize, Duration)>,
}

/// How long it waits before it is started again.
#[derive(Clone, Copy, Debug)]
pub struct RestartWait {
    pub first: Duration,
    pub steps: u32,
    pub most: Duration,
}

impl Settings {
    /// Reads those of a service's unit file.
    ///
    /// # Panics
    /// When it says something about starting or stopping that is not followed here.
    pub fn read(file: &UnitFile) -> Self {
        for key in file.keys("Unit").chain(file.keys("Service")) {
            let known = FOLLOWED.contains(&key) || !KINDS.iter().any(|kind| key.starts_with(kind));
            assert!(known, "the supervisor does not know what {key}= means: teach it");
        }
        let last = |key| file.last("Service", key);
        let kind = match last("Type") {
            Some("notify") => Kind::Notify,
            Some("oneshot") => Kind::Oneshot,
            None | Some("simple" | "exec") => Kind::Simple,
            Some(other) => panic!("Type={other} is not known here"),
        };
        let restart = match last("Restart") {
            None | Some("no") => Restart::No,
            Some("on-failure") => Restart::OnFailure,
            Some("always") => Restart::Always,
            Some(other) => panic!("Restart={other} is not known here"),
        };
        assert!(matches!(last("KillMode"), None | Some("control-group")), "KillMode= is not known here");
        let endless = |span: Duration| if span.is_zero() { Duration::MAX } else { span };
        let both = file.span("Service", "TimeoutSec").map(endless);
        // What ends by itself may take as long as it likes.
        let start_default = if kind == Kind::Oneshot { Duration::MAX } else { DEFAULT_TIMEOUT };
        Self {
            kind,
            before_start: file.commands("Service", "ExecStartPre"),
            start: file.commands("Service", "ExecStart"),
            after_stop: file.commands("Service", "ExecStopPost"),
            environment: file.all("Service", "Environment").into_iter().flat_map(variables).collect(),
            runtime_directories: words(file, "RuntimeDirectory"),
            credentials: file.all("Service", "LoadCredential").into_iter().map(credential).collect(),
            condition_path: file.last("Unit", "ConditionPathExists").map(str::to_owned),
            output: last("StandardOutput").and_then(output),
            start_timeout: file.span("Service", "TimeoutStartSec").map(endless).or(both).unwrap_or(start_default),
            stop_timeout: file.span("Service", "TimeoutStopSec").map(endless).or(both).unwrap_or(DEFAULT_TIMEOUT),
            watchdog: file.span("Service", "WatchdogSec").filter(|span| !span.is_zero() && *span != Duration::MAX),
            restart,
            restart_wait: RestartWait::read(file),
            start_limit: start_limit(file),
        }
    }
}

impl Settings {
    /// Puts another span in the place of the unit's own.
    ///
    /// # Panics
    /// When the unit has no such span.
    pub fn set(&mut self, unit: &str, key: &str, span: Duration) {
        match key {
            "TimeoutStartSec" => self.start_timeout = span,
            "TimeoutStopSec" => self.stop_timeout = span,
            "WatchdogSec" if self.watchdog.is_some() => self.watchdog = Some(span),
            "RestartSec" => self.restart_wait.first = span,
            _ => panic!("{unit} has no {key}="),
        }
    }
}

impl RestartWait {
    fn read(file: &UnitFile) -> Self {
        let steps = file.last("Service", "RestartSteps").map_or(0, |text| text.parse().expect("a number of steps"));
        let first = file.span("Service", "RestartSec").unwrap_or(DEFAULT_RESTART_WAIT);
        Self { first, steps, most: file.span("Service", "RestartMaxDelaySec").unwrap_or(Duration::MAX) }
    }

    /// Before restart number `number`, counted from 1: as `service_restart_usec_next` of systemd has it, which grows the
    /// wait by the same factor at each step.
    pub fn before(self, number: u32) -> Duration {
        let Self { first, steps, most } = self;
        if number <= 1 || steps == 0 || first.is_zero() || most == Duration::MAX || first >= most {
            return first;
        }
        if number > steps {
            return most;
        }
        let grown = most.as_secs_f64() / first.as_secs_f64();
        first.mul_f64(grown.powf(f64::from(number - 1) / f64::from(steps)))
    }
}

fn start_limit(file: &UnitFile) -> Option<(usize, Duration)> {
    let interval = file.span("Unit", "StartLimitIntervalSec").unwrap_or(DEFAULT_START_LIMIT_INTERVAL);
    let burst = file.last("Unit", "StartLimitBurst").map(|text| text.parse().expect("a number of starts"));
    let burst = burst.unwrap_or(DEFAULT_START_LIMIT_BURST);
    (!interval.is_zero() && burst > 0).then_some((burst, interval))
}

fn credential(text: &str) -> (String, String) {
    let (name, path) = text.split_once(':').expect("a credential has a name and a path");
    (name.to_owned(), path.to_owned())
}

/// Only a file matters here; else it goes to the log.
fn output(text: &str) -> Option<String> {
    let known = ["inherit", "journal", "null"].contains(&text);
    let file = text.strip_prefix("truncate:");
    assert!(known || file.is_some(), "StandardOutput={text} is not known here");
    file.map(str::to_owned)
}

fn words(file: &UnitFile, key: &str) -> Vec<String> {
    file.all("Service", key).into_iter().flat_map(str::split_whitespace).map(str::to_owned).collect()
}

fn variables(line: &str) -> impl Iterator<Item = (String, String)> {
    let pairs = line.split_whitespace().map(|pair| pair.split_once('=').expect("NAME=VALUE"));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(service: &str) -> Settings {
        Settings::read(&UnitFile::parse(&format!("[Unit]\n[Service]\nExecStart=/bin/true\n{service}")))
    }

    #[test]
    fn waits_grow_by_steps_to_the_longest() {
        let wait = settings("Restart=always\nRestartSec=1s\nRestartSteps=6\nRestartMaxDelaySec=30s").restart_wait;
        let waits: Vec<_> = (1..=8).map(|number| wait.before(number).as_millis()).collect();
        assert_eq!(waits, [1000, 1762, 3107, 5477, 9654, 17_019, 30_000, 30_000]);
    }

    #[test]
    fn a_zero_means_what_systemd_takes_it_for() {
        let given = settings("TimeoutStartSec=0\nWatchdogSec=0\nRestartSec=0");
        assert_eq!(
            (given.start_timeout, given.watchdog, given.restart_wait.first),
            (Duration::MAX, None, Duration::ZERO)
        );
        let file = UnitFile::parse("[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/true");
        assert_eq!(Settings::read(&file).start_limit, None);
        assert_eq!(settings("").start_limit, Some((5, Duration::from_secs(10))));
    }

    #[test]
    #[should_panic(expected = "RestartPreventExitStatus= means")]
    fn what_it_does_not_know_it_does_not_ignore() {
        settings("RestartPreventExitStatus=1");
    }
}
