//! `POSTHOUSE.TXT` on the boot partition, for whoever has no monitor and puts the card into a PC: what it says, and when it is written.
//!
//! The card wears by writes, so that nothing is told that changes by itself (clients, temperature), and a report that stands there
//! already is not written again. A box that has an owner writes nothing for months; one that has none writes 8 KiB for each new
//! code, every 15 minutes: 0.8 MB a day, of a card that takes terabytes.

use std::time::{Duration, Instant};

use posthouse_protocol::appliance::{Language, Ownership};

use super::picture::{Condition, Picture};
use super::words;

/// Its name in the root folder of the boot partition.
pub const NAME: &str = "POSTHOUSE.TXT";

/// At most one write in this time.
const PAUSE: Duration = Duration::from_secs(60);

/// By these Windows' Notepad knows a file as UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Of a line that fills the file up to its length.
const FILLER_COLUMNS: usize = 78;

/// What of the report lies on the card, and since when.
#[derive(Default)]
pub struct Report {
    /// As far as it is known.
    on_card: Option<Vec<u8>>,
    /// Whether it told a code.
    told_code: bool,
    written: Option<Instant>,
}

impl Report {
    /// With what the card has from before.
    pub fn new(on_card: Vec<u8>) -> Self {
        Self { on_card: Some(on_card), ..Self::default() }
    }

    /// What is to be written now, if anything. A box that is only just starting is not reported: in a minute it is what it is.
    pub fn due(&self, picture: &Picture, now: Instant) -> Option<Vec<u8>> {
        if picture.condition == Condition::Starting {
            return None;
        }
        // A code that is used up goes at once.
        let is_used_up = self.told_code && picture.code().is_none();
        let is_early = self.written.is_some_and(|written| now.duration_since(written) < PAUSE);
        if is_early && !is_used_up {
            return None;
        }
        let bytes = to_length(&text(picture), self.on_card.as_ref()?.len());
        (Some(&bytes) != self.on_card.as_ref()).then_some(bytes)
    }

    /// It was tried; the card has it, unless that failed.
    pub fn wrote(&mut self, bytes: Vec<u8>, picture: &Picture, now: Instant) {
        self.on_card = Some(bytes);
        self.told_code = picture.code().is_some();
        self.written = Some(now);
    }

    /// Later once more.
    pub fn failed(&mut self, now: Instant) {
        self.written = Some(now);
    }
}

/// The report in both languages, the owner's first.
fn text(picture: &Picture) -> String {
    let second = match picture.language {
        Language::English => Language::Chinese,
        Language::Chinese => Language::English,
    };
    [picture.language, second].map(|language| section(picture, language)).join("\n\n--------\n\n")
}

fn section(picture: &Picture, language: Language) -> String {
    let mut lines = vec![
        words::either(language, "Posthouse: report of the box", "Posthouse：本机报告").to_owned(),
        format!("{}{}", words::either(language, "State: ", "状态："), words::condition(picture.condition, language)),
    ];
    let mut paragraph = |title: Option<String>, content: Vec<String>| {
        if title.is_some() || !content.is_empty() {
            lines.push(String::new());
        }
        lines.extend(title);
        lines.extend(content.into_iter().map(|line| format!("  {line}")));
    };
    if !picture.links.is_empty() {
        paragraph(Some(words::open_in_browser(language).to_owned()), picture.links.clone());
    }
    if let Some(ownership) = words::ownership(&picture.ownership, language) {
        paragraph(Some(ownership), picture.code().map(str::to_owned).into_iter().collect());
    }
    if matches!(picture.ownership, Ownership::Unclaimed { .. }) {
        let advice = words::either(
            language,
            "Open the first address above and type the code in.",
            "打开上面的第一个地址，输入认领码。",
        );
        paragraph(None, vec![advice.to_owned()]);
    }
    if let Some(fingerprint) = picture.fingerprint {
        paragraph(Some(words::fingerprint(language).to_owned()), vec![fingerprint.to_string()]);
    }
    if let Some(wireless) = words::wireless(&picture.wireless, language) {
        paragraph(Some(wireless), Vec::new());
    }
    let notes: Vec<String> = picture.notes.iter().map(|note| words::note(note, language)).collect();
    if notes.is_empty() {
        paragraph(Some(words::either(language, "No problems.", "没有发现问题。").to_owned()), Vec::new());
    } else {
        paragraph(Some(words::either(language, "What to know or do:", "需要知道或处理的事项：").to_owned()), notes);
    }
    paragraph(Some(words::light(language).to_owned()), Vec::new());
    lines.join("\n")
}

/// As a Windows text file of exactly so many bytes: lines that others wrote are kept to one line each, what has no room is cut off, at
/// the end of a line where that is possible.
fn to_length(text: &str, length: usize) -> Vec<u8> {
    let mut bytes = BYTE_ORDER_MARK.as_bytes().to_vec();
    bytes.truncate(length);
    for line in text.lines() {
        let line: String = line.chars().filter(|character| !character.is_control()).collect();
        if bytes.len() + line.len() + 2 > length {
            break;
        }
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    // Short lines of blanks, so that no program shows one that is kilobytes wide.
    while bytes.len() < length {
        let room = length - bytes.len();
        let filler = room.min(FILLER_COLUMNS + 2);
        bytes.extend(std::iter::repeat_n(b' ', filler.saturating_sub(2)));
        bytes.extend_from_slice(&b"\r\n"[..filler.min(2)]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::{Report, to_length};
    use crate::watch::picture::{Condition, Picture, Server};
    use crate::watch::senses::Senses;
    use posthouse_protocol::Fingerprint;
    use posthouse_protocol::appliance::{Language, Ownership, Settings, Status};
    use std::time::{Duration, Instant};

    const LENGTH: usize = 8192;
    const CODE: &str = "7K2M-Q9XD-4TRW";

    fn status(ownership: Ownership) -> Status {
        Status {
            names: vec!["posthouse.local".to_owned()],
            addresses: vec!["192.168.1.20".parse().expect("an address")],
            fingerprint: Some(Fingerprint::from_sha256([0xa5; 32])),
            ownership,
            time_synchronised: true,
            ..Status::default()
        }
    }

    fn unclaimed() -> Status {
        status(Ownership::Unclaimed { code: CODE.to_owned() })
    }

    fn claimed() -> Status {
        status(Ownership::Claimed { owner: "anna".to_owned() })
    }

    fn picture(status: &Status) -> Picture {
        Picture::new(Server::Serves(status), &Senses::default(), Duration::ZERO)
    }

    fn fresh() -> Report {
        Report::new(vec![b' '; LENGTH])
    }

    fn written(report: &Report, picture: &Picture) -> String {
        String::from_utf8(report.due(picture, Instant::now()).expect("due")).expect("UTF-8")
    }

    #[test]
    fn it_tells_in_both_languages_what_a_person_needs() {
        let text = written(&fresh(), &picture(&unclaimed()));
        assert_eq!(text.len(), LENGTH);
        assert!(text.starts_with('\u{feff}'));
        assert!(text.split('\n').all(|line| line.is_empty() || line.ends_with('\r')), "CRLF throughout");
        let fingerprint = Fingerprint::from_sha256([0xa5; 32]).to_string();
        for told in ["http://posthouse.local/", "http://192.168.1.20/", CODE, &fingerprint] {
            assert_eq!(text.matches(told).count(), 2, "{told}");
        }
        assert!(text.find("State: ready") < text.find("状态：已就绪"));
        let chinese = Picture { language: Language::Chinese, ..picture(&unclaimed()) };
        let text = written(&fresh(), &chinese);
        assert!(text.find("状态：已就绪") < text.find("State: ready"));
    }

    #[test]
    fn wireless_and_files_in_error_are_named() {
        let settings = Settings {
            problems: vec!["posthouse.toml, line 7: no such\u{1b}[31m key".to_owned()],
            ..Settings::default()
        };
        let senses = Senses {
            settings,
            wireless: crate::watch::senses::Wireless::Searching(vec!["School".to_owned()]),
            ..Senses::default()
        };
        let status = claimed();
        let picture = Picture::new(Server::Serves(&status), &senses, Duration::ZERO);
        let text = written(&fresh(), &picture);
        assert!(text.contains("Wi-Fi: cannot join School."));
        assert!(text.contains("Settings file: posthouse.toml, line 7: no such[31m key\r\n"));
    }

    #[test]
    fn a_claimed_box_tells_no_code_and_forgets_the_old_one_at_once() {
        let (mut report, now) = (fresh(), Instant::now());
        let before = picture(&unclaimed());
        let bytes = report.due(&before, now).expect("due");
        report.wrote(bytes, &before, now);
        let after = picture(&claimed());
        let bytes = report.due(&after, now + Duration::from_secs(1)).expect("not in a minute");
        let text = String::from_utf8(bytes).expect("UTF-8");
        assert!(!text.contains(CODE) && text.contains("Owner: anna"));
    }

    #[test]
    fn it_is_written_when_it_changed_and_at_most_once_a_minute() {
        let (mut report, now) = (fresh(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        let ready = picture(&claimed());
        let bytes = report.due(&ready, now).expect("the first");
        report.wrote(bytes, &ready, now);
        assert_eq!(
            report.due(&Picture { clients: Some(7), temperature_c: Some(60), ..ready.clone() }, after(600)),
            None
        );
        let moved = Picture { links: vec!["http://192.168.1.21/".to_owned()], ..ready };
        assert_eq!(report.due(&moved, after(59)), None);
        let bytes = report.due(&moved, after(60)).expect("a minute later");
        report.failed(after(60));
        assert_eq!(report.due(&moved, after(61)), None);
        assert_eq!(report.due(&moved, after(120)), Some(bytes), "what failed is tried again");
    }

    #[test]
    fn what_lies_on_the_card_is_not_written_again_at_the_next_boot() {
        let ready = picture(&claimed());
        let bytes = fresh().due(&ready, Instant::now()).expect("due");
        assert_eq!(Report::new(bytes).due(&ready, Instant::now()), None);
    }

    #[test]
    fn a_box_that_starts_is_not_reported() {
        let starting = Picture { condition: Condition::Starting, ..picture(&claimed()) };
        assert_eq!(fresh().due(&starting, Instant::now()), None);
    }

    #[test]
    fn a_report_fits_its_file_whatever_it_has_to_tell() {
        let text = "é wird\n".repeat(40);
        for length in (0..300).chain([4096]) {
            let bytes = to_length(&text, length);
            assert_eq!(bytes.len(), length);
            if length >= 3 {
                String::from_utf8(bytes).expect("no character is cut in two");
            }
        }
    }
}
