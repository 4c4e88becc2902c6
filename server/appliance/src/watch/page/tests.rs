//! What a person sees on a console: the page's bytes go through a terminal, and what stands there is looked at.

use std::num::NonZeroU16;
use std::time::Duration;

use posthouse_protocol::Fingerprint;
use posthouse_protocol::appliance::{Language, Ownership, Settings, Status};

use super::{Eyes, page};
use crate::watch::picture::{Picture, Server};
use crate::watch::qr;
use crate::watch::senses::Senses;

const LINES: NonZeroU16 = NonZeroU16::new(25).expect("some");
const COLUMNS: NonZeroU16 = NonZeroU16::new(80).expect("some");
const CODE: &str = "7K2M-Q9XD-4TRW";

fn status() -> Status {
    Status {
        version: "0.1.0".to_owned(),
        site_name: Some("第三中学".to_owned()),
        language: Language::Chinese,
        names: vec!["posthouse.local".to_owned()],
        addresses: vec!["192.168.1.20".parse().expect("one"), "fd00:12:34::20".parse().expect("one")],
        fingerprint: Some(Fingerprint::from_sha256([0xa5; 32])),
        ownership: Ownership::Unclaimed { code: CODE.to_owned() },
        clients: 12,
        time_synchronised: true,
        free_bytes: Some(27_149_000_000),
        rescue: None,
        warnings: Vec::new(),
    }
}

fn senses() -> Senses {
    Senses { temperature_c: Some(48), ..Senses::default() }
}

fn picture(status: &Status, senses: &Senses) -> Picture {
    Picture::new(Server::Serves(status), senses, Duration::from_secs(300))
}

/// A terminal of the smallest screen after the page was written to it, over what a kernel wrote.
fn seen(picture: &Picture, eyes: Eyes) -> vt100::Parser {
    let mut terminal = vt100::Parser::new(LINES, COLUMNS, 100);
    for line in 0..30 {
        terminal.process(
            format!("[   1.{line:06}] usb 1-1: something is wrong with this device, again and again\r\n").as_bytes(),
        );
    }
    let scrolled = scrollback(&mut terminal);
    terminal.process(page(picture, eyes).as_bytes());
    assert_eq!(scrollback(&mut terminal), scrolled, "the page scrolls:\n{}", terminal.screen().contents());
    terminal
}

fn scrollback(terminal: &mut vt100::Parser) -> usize {
    terminal.screen_mut().set_scrollback(usize::MAX);
    let lines = terminal.screen().scrollback();
    terminal.screen_mut().set_scrollback(0);
    lines
}

/// The code's cells: those on white.
fn code_of(terminal: &vt100::Parser) -> Vec<String> {
    let screen = terminal.screen();
    let row = |row| {
        let cells = (0..80).filter_map(|column| screen.cell(row, column));
        let white = cells.filter(|cell| cell.bgcolor() == vt100::Color::Idx(7));
        white
            .map(|cell| if cell.has_contents() { cell.contents().to_owned() } else { " ".to_owned() })
            .collect::<String>()
    };
    (0..25).map(row).filter(|row| !row.is_empty()).collect()
}

#[test]
fn a_screen_shows_what_a_person_needs_in_letters_that_its_font_has() {
    let terminal = seen(&picture(&status(), &senses()), Eyes::Screen);
    let text = terminal.screen().contents();
    let shown = [
        "Posthouse 0.1.0 - ????",
        "ready",
        "http://posthouse.local/",
        "http://192.168.1.20/",
        "http://[fd00:12:34::20]/",
        CODE,
        "a5a5 a5a5 a5a5 a5a5",
        "Clients: 12",
        "48 C",
        "27.1 GB",
    ];
    for shown in shown {
        assert!(text.contains(shown), "no {shown} in:\n{text}");
    }
    assert_eq!(text.matches("a5a5").count(), 16, "the whole fingerprint");
    assert!(!text.contains("usb 1-1"), "the kernel's words are still there:\n{text}");
    assert!(text.chars().all(|character| character.is_ascii() || "█▀▄".contains(character)), "{text}");
    assert!(terminal.screen().hide_cursor());
}

#[test]
fn a_terminal_program_shows_chinese_where_that_is_wanted() {
    let terminal = seen(&picture(&status(), &senses()), Eyes::Serial);
    let text = terminal.screen().contents();
    for shown in ["第三中学", "已就绪", "认领码", CODE, "在线客户端：12"] {
        assert!(text.contains(shown), "no {shown} in:\n{text}");
    }
    assert!(!terminal.screen().hide_cursor(), "its user wants the cursor back");
    let english = Status { language: Language::English, ..status() };
    let text = seen(&picture(&english, &senses()), Eyes::Serial).screen().contents();
    assert!(text.contains("Claim code") && text.contains("第三中学"), "{text}");
}

#[test]
fn a_telephone_reads_the_address_off_both() {
    let longest = Status { names: vec![format!("{}.local", "n".repeat(63))], ..status() };
    for status in [status(), longest] {
        for eyes in [Eyes::Screen, Eyes::Serial] {
            let code = code_of(&seen(&picture(&status, &senses()), eyes));
            let expected = format!("http://{}/", status.names[0]).to_uppercase();
            assert_eq!(qr::tests::read(&code), Some(expected));
        }
    }
}

#[test]
fn an_owner_stands_where_the_code_stood() {
    let claimed = Status { ownership: Ownership::Claimed { owner: "anna".to_owned() }, ..status() };
    let text = seen(&picture(&claimed, &senses()), Eyes::Screen).screen().contents();
    assert!(text.contains("Owner: anna") && !text.contains(CODE), "{text}");
    let ownership = Ownership::Recovering { owner: "anna".to_owned(), code: CODE.to_owned() };
    let text = seen(&picture(&Status { ownership, ..status() }, &senses()), Eyes::Screen).screen().contents();
    assert!(text.contains("New password for anna") && text.contains(CODE), "{text}");
}

#[test]
fn what_has_no_room_is_counted_and_the_code_stays() {
    let problems =
        (1..=9).map(|line| format!("posthouse.toml, line {line}: {}", "this key is not known ".repeat(5))).collect();
    let senses = Senses { settings: Settings { problems, ..Settings::default() }, ..senses() };
    for eyes in [Eyes::Screen, Eyes::Serial] {
        let terminal = seen(&picture(&Status { language: Language::English, ..status() }, &senses), eyes);
        let text = terminal.screen().contents();
        assert!(text.contains(CODE) && text.contains("line 1:"), "{text}");
        let shown = text.matches("posthouse.toml, line").count();
        assert!(text.contains(&format!("! {} more: see POSTHOUSE.TXT", 9 - shown)), "{text}");
        assert!(qr::tests::read(&code_of(&terminal)).is_some(), "{text}");
    }
}

#[test]
fn what_the_screen_has_no_letters_for_is_only_counted_there() {
    let warnings = vec!["存储卡很慢。".to_owned(), "The card is slow.".to_owned()];
    let picture = picture(&Status { warnings, ..status() }, &senses());
    let text = seen(&picture, Eyes::Screen).screen().contents();
    assert!(text.contains("! The card is slow.\n! 1 more: see POSTHOUSE.TXT"), "{text}");
    let text = seen(&picture, Eyes::Serial).screen().contents();
    assert!(text.contains("! 存储卡很慢。\n! The card is slow.") && !text.contains("POSTHOUSE.TXT"), "{text}");
}

#[test]
fn a_box_that_says_nothing_yet_has_a_page() {
    let text =
        seen(&Picture::new(Server::Expected, &Senses::default(), Duration::ZERO), Eyes::Screen).screen().contents();
    assert!(text.starts_with("Posthouse\nstarting: please wait"), "{text}");
    let text =
        seen(&Picture::new(Server::Silent, &Senses::default(), Duration::ZERO), Eyes::Screen).screen().contents();
    assert!(text.contains("! There is no chat."), "{text}");
}

#[test]
fn others_words_steer_no_terminal() {
    let evil = "\x1b[2J\x1b]0;title\x07\r\n\u{202e}\u{9b}31m evil";
    let status = Status { site_name: Some(evil.to_owned()), warnings: vec![evil.to_owned()], ..status() };
    for eyes in [Eyes::Screen, Eyes::Serial] {
        let page = page(&picture(&status, &senses()), eyes);
        let ours = ["\x1b%G", "\x1b[?25l", "\x1b[0m", "\x1b[0;30;47m", "\x1b[H", "\x1b[K", "\x1b[J", "\r\n"];
        let rest = ours.iter().fold(page, |text, own| text.replace(own, ""));
        assert!(
            rest.contains("evil")
                && !rest.contains(|character: char| character.is_control() || character == '\u{202e}'),
            "{rest:?}"
        );
    }
}
