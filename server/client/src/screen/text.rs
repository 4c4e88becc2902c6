//! Texts of others on this terminal: what may be shown of them, how wide it is, where a line ends.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Where a text of several lines goes on: in `chat` below its beginning, behind the time.
pub const INDENT: &str = "      ";

/// Columns of a tab.
const TAB: &str = "    ";

/// A text that can't steer the terminal that shows it: neither by control characters nor by those that change the
/// direction of what stands around them. Ends of lines stay.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push('\n'),
            '\t' => shown.push_str(TAB),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => shown.push(char::REPLACEMENT_CHARACTER),
            // Unicode has a picture of each of these.
            '\0'..'\u{20}' => shown.push(char::from_u32(u32::from(c) + 0x2400).unwrap_or(char::REPLACEMENT_CHARACTER)),
            '\u{7f}' => shown.push('\u{2421}'),
            c if c.is_control() => shown.push(char::REPLACEMENT_CHARACTER),
            c => shown.push(c),
        }
    }
    shown
}

/// The same of what has to stay on its line, such as a name.
pub fn one_line(text: &str) -> String {
    printable(text).replace('\n', " ")
}

/// The same of what stands behind something on its line: what follows in further lines is moved in, so that it can't be taken for
/// another's.
pub fn indented(text: &str) -> String {
    printable(text).replace('\n', &format!("\n{INDENT}"))
}

/// What a person typed or pasted, without what can't be typed.
pub fn typed(text: &str) -> String {
    let lines = text.replace("\r\n", "\n").replace('\r', "\n").replace('\t', TAB);
    lines.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}

/// Columns.
pub fn width(text: &str) -> usize {
    text.width()
}

/// As much of a line as fits, with a mark where something was cut off.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut shown = String::new();
    for grapheme in text.graphemes(true) {
        if width(&shown) + width(grapheme) + 1 > columns {
            break;
        }
        shown.push_str(grapheme);
    }
    if columns > 0 {
        shown.push('…');
    }
    shown
}

/// Breaks a text between words where it can. The first line has `first` columns, all others have `columns`.
pub fn wrap(text: &str, first: usize, columns: usize) -> Vec<String> {
    let columns = columns.max(2);
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), columns.saturating_sub(first));
    for (number, paragraph) in text.split('\n').enumerate() {
        if number > 0 {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        for word in paragraph.split_word_bounds() {
            let wide = width(word);
            if used + wide <= columns {
                line.push_str(word);
                used += wide;
                continue;
            }
            let is_space = word.chars().all(char::is_whitespace);
            if is_space || wide <= columns {
                lines.push(std::mem::take(&mut line));
                used = 0;
                if !is_space {
                    line.push_str(word);
                    used = wide;
                }
                continue;
            }
            for grapheme in word.graphemes(true) {
                if used + width(grapheme) > columns {
                    lines.push(std::mem::take(&mut line));
                    used = 0;
                }
                line.push_str(grapheme);
                used += width(grapheme);
            }
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_steer_the_terminal_is_replaced() {
        assert_eq!(printable("a\u{1b}[2J\u{7}b\r\nc\u{202e}d 你好\tx"), "a␛[2J␇b␍\nc\u{fffd}d 你好    x");
        assert_eq!(printable("\u{9b}31m\u{7f}\0"), "\u{fffd}31m␡␀");
        assert_eq!(typed("a\r\nb\rc\u{1b}[31m\td"), "a\nb\nc[31m    d");
    }

    #[test]
    fn further_lines_are_moved_in_and_a_name_has_none() {
        assert_eq!(indented("a\n\n99  ben: b\r\u{1b}"), "a\n      \n      99  ben: b␍␛");
        assert_eq!(one_line("a\nb\r\u{202e}"), "a b␍\u{fffd}");
    }

    #[test]
    fn lines_break_between_words_and_between_wide_characters() {
        assert_eq!(wrap("one two three", 20, 20), ["one two three"]);
        assert_eq!(wrap("one two three", 8, 8), ["one two ", "three"]);
        assert_eq!(wrap("one two three", 4, 8), ["one ", "two ", "three"]);
        assert_eq!(wrap("你好世界", 5, 5), ["你好", "世界"]);
        assert_eq!(wrap("abcdefghij", 4, 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("a\n\nb", 4, 4), ["a", "", "b"]);
        assert_eq!(wrap("", 4, 4), [""]);
        // A family is one picture of two columns, which is never torn.
        assert_eq!(wrap("👨‍👩‍👧👨‍👩‍👧", 3, 3), ["👨‍👩‍👧", "👨‍👩‍👧"]);
        assert!(wrap("你好", 0, 0).iter().all(|line| width(line) <= 2));
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(cut("anna", 4), "anna");
        assert_eq!(cut("annabelle", 4), "ann…");
        assert_eq!(cut("你好世界", 4), "你…");
        assert_eq!(cut("anna", 0), "");
    }
}
