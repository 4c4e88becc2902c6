//! When something is done without anybody asking for it, as pure code: looking, downloading, installing.
//!
//! Each box looks and installs at a moment of its own within the time that there is, so that they don't all come at once. People
//! are told half a day ahead at least.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use posthouse_protocol::appliance::Window;

use super::kept::Kept;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// A version is known for so long before it is installed by itself.
pub const NOTICE_MS: u64 = 12 * HOUR_MS;

/// So often the box looks, and each box up to a quarter later.
const LOOK_EVERY_MS: u64 = 12 * HOUR_MS;

/// What was asked for without effect is asked for again after so long.
const ASK_AGAIN_MS: u64 = 20 * HOUR_MS;

/// No clock that has gone wrong keeps a box from updates for longer than this.
const POSTPONED_MS_MAX: u64 = posthouse_protocol::update::POSTPONED_DAYS_MAX as u64 * DAY_MS;

/// What a box goes by.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// When updates are installed.
    pub window: Window,
    /// Whose time that is.
    pub zone: TimeZone,
}

/// How things are.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    /// Milliseconds since 1970.
    pub ms: u64,
    /// What is remembered.
    pub kept: &'a Kept,
    /// Whether what was found is installed without anybody asking for it.
    pub is_automatic: bool,
    /// Whether the updater has something else to do.
    pub is_busy: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// See what there is.
    Look,
    /// Fetch it, so that nothing is to be waited for when it is due.
    Download,
    /// Hand it to the updater.
    Install,
    /// Wait.
    Nothing,
}

impl Schedule {
    /// What to do now.
    pub fn step(&self, now: Now<'_>) -> Step {
        let Now { ms, kept, is_automatic, is_busy } = now;
        if is_look_due(kept, ms) {
            return Step::Look;
        }
        let Some(found) = kept.found.as_ref().filter(|_| is_automatic && !is_busy) else { return Step::Nothing };
        let was_asked = kept
            .asked
            .is_some_and(|asked| asked.identity == found.identity && !has_passed(asked.at_ms, ASK_AGAIN_MS, ms));
        if was_asked {
            return Step::Nothing;
        }
        if found.bundle.is_none() {
            return Step::Download;
        }
        let is_due = self.due_ms(kept, ms).is_some_and(|due| due <= ms) && self.is_open(ms);
        if is_due { Step::Install } else { Step::Nothing }
    }

    /// When what was found is installed by itself: a moment of this box's own in the first window after the notice and after
    /// what it was postponed to. In the past where the box was off then: the next window will do.
    pub fn due_ms(&self, kept: &Kept, now_ms: u64) -> Option<u64> {
        let found = kept.found.as_ref()?;
        // What a clock ahead of its time has seen was found now.
        let noticed = found.found_ms.min(now_ms).saturating_add(NOTICE_MS);
        let earliest = noticed.max(postponed_until(kept, now_ms).unwrap_or_default());
        let minutes = u64::from(self.window.minutes());
        // Not in its last quarter, so that a trial ends before the window does.
        let own = kept.seed % (minutes * 3 / 4).max(1);
        let start = self.local(earliest)?.date();
        let of_day = |day: jiff::civil::Date| {
            let from = day.at(0, 0, 0, 0).checked_add(i64::from(self.window.from).minutes()).ok()?;
            let at = from.to_zoned(self.zone.clone()).ok()?.checked_add(i64::try_from(own).ok()?.minutes()).ok()?;
            u64::try_from(at.timestamp().as_millisecond()).ok()
        };
        // A window that reaches over midnight began yesterday.
        let days = [start.yesterday().ok()?, start, start.tomorrow().ok()?];
        days.into_iter().filter_map(of_day).find(|due| *due >= earliest)
    }

    /// Whether the window is open.
    pub fn is_open(&self, now_ms: u64) -> bool {
        let minute = |now: Zoned| u16::from(now.hour().unsigned_abs()) * 60 + u16::from(now.minute().unsigned_abs());
        self.local(now_ms).is_some_and(|now| self.window.contains(minute(now)))
    }

    /// A moment as people on the spot write it.
    pub fn shown(&self, ms: u64) -> String {
        self.local(ms).map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M").to_string())
    }

    fn local(&self, ms: u64) -> Option<Zoned> {
        let at = Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
        Some(at.to_zoned(self.zone.clone()))
    }
}

/// Until when nothing is installed by itself, if that is still to come.
pub fn postponed_until(kept: &Kept, now_ms: u64) -> Option<u64> {
    kept.postponed_until_ms.filter(|until| (now_ms..=now_ms.saturating_add(POSTPONED_MS_MAX)).contains(until))
}

/// So many days from now.
pub fn in_days(days: u32, now_ms: u64) -> u64 {
    now_ms.saturating_add(u64::from(days) * DAY_MS)
}

/// The day, counted from 1970 in UTC.
pub fn day(now_ms: u64) -> u64 {
    now_ms / DAY_MS
}

fn is_look_due(kept: &Kept, now_ms: u64) -> bool {
    let every = LOOK_EVERY_MS + kept.seed % (LOOK_EVERY_MS / 4);
    kept.checked_ms.is_none_or(|checked| has_passed(checked, every, now_ms))
}

/// Whether so long has passed; a moment that is still to come was told by a clock that was wrong.
fn has_passed(since_ms: u64, span_ms: u64, now_ms: u64) -> bool {
    now_ms < since_ms || now_ms - since_ms >= span_ms
}

#[cfg(test)]
mod tests {
    use posthouse_updater::Sha256;

    use super::super::kept::{Asked, Found};
    use super::*;

    /// 2026-11-23 00:00 UTC.
    const MIDNIGHT: u64 = 20_780 * DAY_MS;

    fn schedule(window: &str, zone: &str) -> Schedule {
        let zone = TimeZone::posix(zone).expect("a zone");
        Schedule { window: window.parse().expect("a window"), zone }
    }

    fn kept(found_ms: u64, seed: u64) -> Kept {
        let found = Found {
            identity: Sha256::of(b"release"),
            version: "2".to_owned(),
            generation: 1,
            seq: 2,
            notes: String::new(),
            length: 7,
            found_ms,
            etag: None,
            bundle: Some(Sha256::of(b"bundle")),
        };
        Kept { seed, checked_ms: Some(found_ms), found: Some(found), ..Kept::default() }
    }

    fn now(ms: u64, kept: &Kept) -> Now<'_> {
        Now { ms, kept, is_automatic: true, is_busy: false }
    }

    #[test]
    fn a_version_is_due_in_the_first_window_after_its_notice_by_local_time() {
        let berlin = schedule("03:00-05:00", "CET-1");
        let at = |hours: u64| MIDNIGHT + hours * HOUR_MS;
        // Found at noon in Berlin: the notice ends at midnight there.
        assert_eq!(berlin.due_ms(&kept(at(11), 90), at(12)), Some(at(24 + 2)), "its own minute is 0 of 90");
        assert_eq!(berlin.due_ms(&kept(at(11), 30), at(12)), Some(at(24 + 2) + 30 * MINUTE_MS));
        // Found in the window itself: not today.
        assert_eq!(berlin.due_ms(&kept(at(2), 90), at(2)), Some(at(24 + 2)));
        let shanghai = schedule("03:00-05:00", "CST-8");
        assert_eq!(shanghai.due_ms(&kept(at(0), 90), at(1)), Some(at(19)));
        // Over midnight.
        let late = schedule("23:00-01:00", "UTC0");
        assert_eq!(late.due_ms(&kept(at(0), 75), at(1)), Some(at(23) + 75 * MINUTE_MS));
        assert_eq!(
            late.due_ms(&kept(at(12), 75), at(13)),
            Some(at(24) + 15 * MINUTE_MS),
            "last evening's, after midnight"
        );
    }

    #[test]
    fn it_is_installed_when_it_is_due_and_only_in_the_window() {
        let utc = schedule("03:00-05:00", "UTC0");
        let kept = kept(MIDNIGHT, 90);
        let step = |hours: u64, minutes: u64| {
            let ms = MIDNIGHT + hours * HOUR_MS + minutes * MINUTE_MS;
            let kept = Kept { checked_ms: Some(ms), ..kept.clone() };
            utc.step(now(ms, &kept))
        };
        assert_eq!(step(3, 30), Step::Nothing, "the notice has not passed");
        assert_eq!(step(26, 59), Step::Nothing);
        assert_eq!(step(27, 0), Step::Install);
        assert_eq!(step(28, 59), Step::Install, "also where the box came late");
        assert_eq!(step(29, 0), Step::Nothing, "the window is over");
        assert_eq!(step(24 * 5 + 4, 0), Step::Install, "a box that was off for days");
    }

    #[test]
    fn whoever_says_no_is_heard() {
        let utc = schedule("00:00-00:00", "UTC0");
        let mut kept = kept(MIDNIGHT, 1080);
        let ms = MIDNIGHT + 3 * DAY_MS;
        kept.checked_ms = Some(ms);
        assert_eq!(utc.step(now(ms, &kept)), Step::Install);
        assert_eq!(utc.step(Now { is_automatic: false, ..now(ms, &kept) }), Step::Nothing);
        assert_eq!(utc.step(Now { is_busy: true, ..now(ms, &kept) }), Step::Nothing);
        kept.postponed_until_ms = Some(in_days(2, ms));
        assert_eq!(utc.step(now(ms, &kept)), Step::Nothing);
        assert!(utc.due_ms(&kept, ms).is_some_and(|due| due >= in_days(2, ms)));
        // Told by a clock that was ten years ahead.
        kept.postponed_until_ms = Some(in_days(3650, ms));
        assert_eq!(utc.step(now(ms, &kept)), Step::Install);
        let identity = kept.found.as_ref().expect("there").identity;
        kept.asked = Some(Asked { identity, at_ms: ms });
        assert_eq!(utc.step(now(ms, &kept)), Step::Nothing, "it was asked for already");
        kept.asked = Some(Asked { identity: Sha256::of(b"another"), at_ms: ms });
        assert_eq!(utc.step(now(ms, &kept)), Step::Install);
    }

    #[test]
    fn boxes_look_twice_a_day_and_not_all_at_once() {
        let utc = schedule("03:00-05:00", "UTC0");
        let looks = |seed, hours: u64| {
            let kept = Kept { seed, checked_ms: Some(MIDNIGHT), ..Kept::default() };
            utc.step(now(MIDNIGHT + hours * HOUR_MS, &kept)) == Step::Look
        };
        assert!(!looks(0, 11) && looks(0, 12));
        assert!(!looks(2 * HOUR_MS, 13) && looks(2 * HOUR_MS, 14));
        let early = Kept { checked_ms: Some(MIDNIGHT + 3650 * DAY_MS), ..Kept::default() };
        assert_eq!(utc.step(now(MIDNIGHT, &early)), Step::Look, "a clock that was wrong hides nothing");
        let mut found = kept(MIDNIGHT, 0);
        found.found.as_mut().expect("there").bundle = None;
        assert_eq!(utc.step(now(MIDNIGHT, &found)), Step::Download);
    }
}
