//! The page of a console: 80 columns and 24 lines, the last line of the smallest screen left to the cursor. Pure.
//!
//! The kernel's own font has no Chinese characters, and a better one would need a program that draws: on a screen the page is English,
//! with the QR code beside it. At the end of a serial line is a terminal program of today, with all characters and in UTF-8; the
//! code is drawn in half blocks for both, since one of blanks would need 33 lines. Who sees none of them has the address in letters.

use posthouse_protocol::appliance::Language;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::picture::Picture;
use super::{qr, words};

/// Columns that are written to; a character in the last one would have some terminals begin a new line.
const COLUMNS: usize = 79;

/// Lines that are written to.
pub const LINES_MAX: usize = 24;

/// Columns beside the code.
const BESIDE: usize = COLUMNS - qr::COLUMNS_MAX - 1;

/// Addresses that are shown; a box in many networks has more than a page has room for.
const LINKS_MAX: usize = 4;

/// What a page is looked at with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eyes {
    /// A monitor, by the kernel's own console: no characters but those of its font.
    Screen,
    /// A terminal program.
    Serial,
}

/// The page as the bytes to write, from the first column of the first line; what stood there before is written over.
pub fn page(picture: &Picture, eyes: Eyes) -> String {
    let language = match eyes {
        Eyes::Screen => Language::English,
        Eyes::Serial => picture.language,
    };
    let code = picture.links.first().and_then(|link| qr::rows(link)).unwrap_or_default();
    let beside = if code.is_empty() { COLUMNS } else { BESIDE };
    let mut lines = beside_code(picture, language, eyes, beside);
    lines.resize(lines.len().max(code.len()), String::new());
    let mut drawn: Vec<String> = lines
        .iter()
        .enumerate()
        .map(|(at, line)| match code.get(at) {
            // Black on white, whatever the terminal's colours are.
            Some(row) => {
                format!("{line}{}\x1b[0;30;47m{row}\x1b[0m", " ".repeat((beside + 1).saturating_sub(line.width())))
            }
            None => line.clone(),
        })
        .collect();
    drawn.extend(notes(picture, language, eyes, LINES_MAX.saturating_sub(drawn.len() + 1)));
    drawn.truncate(LINES_MAX);
    // UTF-8, characters as they are, the first place, and at the end a clean rest of the screen.
    let begin = match eyes {
        Eyes::Screen => "\x1b%G\x1b[?25l\x1b[0m\x1b[H",
        Eyes::Serial => "\x1b[0m\x1b[H",
    };
    let lines: String = drawn.iter().map(|line| format!("{line}\x1b[K\r\n")).collect();
    format!("{begin}{lines}\x1b[J")
}

/// What stands left of the code.
fn beside_code(picture: &Picture, language: Language, eyes: Eyes, width: usize) -> Vec<String> {
    let mut page = Lines { eyes, width, lines: Vec::new() };
    let mut title = format!("Posthouse {}", picture.version);
    if let Some(site) = &picture.site_name {
        title = format!("{} - {site}", title.trim_end());
    }
    page.add(title.trim_end(), 0);
    page.add(words::condition(picture.condition, language), 0);
    page.gap();
    if !picture.links.is_empty() {
        page.add(words::open_in_browser(language), 0);
        for link in picture.links.iter().take(LINKS_MAX) {
            page.add(link, 2);
        }
        page.gap();
    }
    if let Some(ownership) = words::ownership(&picture.ownership, language) {
        page.add(&ownership, 0);
        if let Some(code) = picture.code() {
            page.add(code, 2);
        }
        page.gap();
    }
    if let Some(fingerprint) = &picture.fingerprint {
        page.add(words::fingerprint(language), 0);
        let groups: Vec<String> = fingerprint.to_string().split(' ').map(str::to_owned).collect();
        for row in groups.chunks(8) {
            page.add(&row.join(" "), 2);
        }
        page.gap();
    }
    for pair in words::state(picture, language).chunks(2) {
        page.add(&pair.join("  "), 0);
    }
    page.lines
}

/// Below the code: as many notes as have room, and how many have not.
fn notes(picture: &Picture, language: Language, eyes: Eyes, room: usize) -> Vec<String> {
    if picture.notes.is_empty() {
        return Vec::new();
    }
    let mut page = Lines { eyes, width: COLUMNS, lines: vec![String::new()] };
    let texts = picture.notes.iter().map(|note| words::note(note, language));
    // What others said in Chinese would be a line of question marks.
    let texts: Vec<String> = texts.filter(|text| eyes == Eyes::Serial || text.is_ascii()).collect();
    let mut shown = 0;
    for text in &texts {
        let before = page.lines.len();
        page.add(&format!("! {text}"), 0);
        let is_last = shown + 1 == picture.notes.len();
        if page.lines.len() + usize::from(!is_last) > room {
            page.lines.truncate(before);
            break;
        }
        shown += 1;
    }
    if shown < picture.notes.len() {
        page.add(&words::more(picture.notes.len() - shown, language), 0);
    }
    page.lines
}

/// Lines of text, none wider than the width.
struct Lines {
    eyes: Eyes,
    width: usize,
    lines: Vec<String>,
}

impl Lines {
    fn add(&mut self, text: &str, indent: usize) {
        let text: String = text.chars().filter_map(|character| shown(character, self.eyes)).collect();
        let blanks = " ".repeat(indent);
        // Long words, and Chinese, which has no blanks, are cut where the line ends.
        let options = textwrap::Options::new(self.width).initial_indent(&blanks).subsequent_indent(&blanks);
        self.lines.extend(textwrap::wrap(text.trim(), options).into_iter().map(std::borrow::Cow::into_owned));
    }

    fn gap(&mut self) {
        self.lines.push(String::new());
    }
}

/// A character as these eyes may see it: what steers a terminal never comes from outside.
fn shown(character: char, eyes: Eyes) -> Option<char> {
    let width = character.width()?;
    match eyes {
        Eyes::Screen if !character.is_ascii() => Some('?'),
        Eyes::Screen | Eyes::Serial => (width > 0).then_some(character),
    }
}

#[cfg(test)]
mod tests;
