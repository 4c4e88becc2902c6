//! The line, or lines, that a person writes.

use unicode_segmentation::UnicodeSegmentation;

use super::text::{typed, width};

/// Texts that the arrow keys bring back.
const HISTORY_LEN_MAX: usize = 200;

/// A text with a cursor, and the texts before it.
#[derive(Default)]
pub struct Editor {
    text: String,
    /// In bytes, at the beginning of a grapheme or at the end.
    cursor: usize,
    history: Vec<String>,
    /// Which text of the history is shown, counted from its end; 0 is the one that is being written.
    back: usize,
    /// What was being written when the history was entered.
    draft: String,
}

/// An editor as it is shown in some number of columns.
pub struct Layout {
    /// Its rows.
    pub rows: Vec<String>,
    /// Row and column of the cursor.
    pub cursor: (usize, usize),
}

impl Editor {
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn before_cursor(&self) -> &str {
        &self.text[..self.cursor]
    }

    pub fn insert(&mut self, text: &str) {
        let text = typed(text);
        self.text.insert_str(self.cursor, &text);
        self.cursor += text.len();
        self.back = 0;
    }

    /// Puts another text in the place of the last `len` bytes before the cursor.
    pub fn replace_before(&mut self, len: usize, text: &str) {
        self.text.replace_range(self.cursor - len..self.cursor, text);
        self.cursor = self.cursor - len + text.len();
    }

    /// Takes the text out, and remembers it.
    pub fn take(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        (self.cursor, self.back) = (0, 0);
        if !text.trim().is_empty() && self.history.last() != Some(&text) {
            self.history.push(text.clone());
            if self.history.len() > HISTORY_LEN_MAX {
                self.history.remove(0);
            }
        }
        text
    }

    /// Puts another text in the place of this one, which it answers.
    pub fn swap(&mut self, text: String) -> String {
        (self.cursor, self.back) = (text.len(), 0);
        std::mem::replace(&mut self.text, text)
    }

    pub fn left(&mut self) {
        self.cursor -= self.before_cursor().graphemes(true).next_back().map_or(0, str::len);
    }

    pub fn right(&mut self) {
        self.cursor += self.text[self.cursor..].graphemes(true).next().map_or(0, str::len);
    }

    pub fn word_left(&mut self) {
        let words = self.text[..self.cursor].split_word_bound_indices();
        self.cursor = words.rev().find(|(_, word)| !word.trim().is_empty()).map_or(0, |(at, _)| at);
    }

    pub fn word_right(&mut self) {
        let words = self.text[self.cursor..].split_word_bound_indices();
        let end = words.map(|(at, word)| (at + word.len(), word)).find(|(_, word)| !word.trim().is_empty());
        self.cursor = end.map_or(self.text.len(), |(end, _)| self.cursor + end);
    }

    pub fn home(&mut self) {
        self.cursor = self.before_cursor().rfind('\n').map_or(0, |at| at + 1);
    }

    pub fn end(&mut self) {
        self.cursor = self.text[self.cursor..].find('\n').map_or(self.text.len(), |at| self.cursor + at);
    }

    pub fn delete_left(&mut self) {
        let end = self.cursor;
        self.left();
        self.text.replace_range(self.cursor..end, "");
    }

    pub fn delete_right(&mut self) {
        let len = self.text[self.cursor..].graphemes(true).next().map_or(0, str::len);
        self.text.replace_range(self.cursor..self.cursor + len, "");
    }

    pub fn delete_word_left(&mut self) {
        let end = self.cursor;
        self.word_left();
        self.text.replace_range(self.cursor..end, "");
    }

    pub fn delete_to_home(&mut self) {
        let end = self.cursor;
        self.home();
        self.text.replace_range(self.cursor..end, "");
    }

    pub fn delete_to_end(&mut self) {
        let start = self.cursor;
        self.end();
        self.text.replace_range(start..self.cursor, "");
        self.cursor = start;
    }

    /// A row up, or the text before in the history.
    pub fn up(&mut self) {
        if self.before_cursor().contains('\n') {
            let column = self.column();
            self.home();
            self.cursor -= 1;
            self.home();
            return self.go_to_column(column);
        }
        if self.back < self.history.len() {
            if self.back == 0 {
                self.draft.clone_from(&self.text);
            }
            self.back += 1;
            self.recall();
        }
    }

    /// A row down, or the text behind in the history.
    pub fn down(&mut self) {
        if self.text[self.cursor..].contains('\n') {
            let column = self.column();
            self.end();
            self.cursor += 1;
            return self.go_to_column(column);
        }
        if self.back > 0 {
            self.back -= 1;
            self.recall();
        }
    }

    fn recall(&mut self) {
        self.text = match self.back {
            0 => std::mem::take(&mut self.draft),
            back => self.history[self.history.len() - back].clone(),
        };
        self.cursor = self.text.len();
    }

    fn column(&self) -> usize {
        width(self.before_cursor().rsplit('\n').next().unwrap_or_default())
    }

    fn go_to_column(&mut self, column: usize) {
        while self.column() < column && self.text[self.cursor..].chars().next().is_some_and(|c| c != '\n') {
            self.right();
        }
    }

    /// Broken at the width, wherever that is: what is being written does not jump.
    pub fn layout(&self, columns: usize) -> Layout {
        let columns = columns.max(3);
        let (mut rows, mut row, mut used, mut cursor) = (Vec::new(), String::new(), 0, (0, 0));
        for (at, grapheme) in self.text.grapheme_indices(true) {
            // The last column is the cursor's.
            let is_full = used + width(grapheme) >= columns;
            if is_full && grapheme != "\n" {
                rows.push(std::mem::take(&mut row));
                used = 0;
            }
            if at == self.cursor {
                cursor = (rows.len(), used);
            }
            if grapheme == "\n" {
                rows.push(std::mem::take(&mut row));
                used = 0;
            } else {
                row.push_str(grapheme);
                used += width(grapheme);
            }
        }
        if self.cursor == self.text.len() {
            cursor = (rows.len(), used);
        }
        rows.push(row);
        Layout { rows, cursor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn editor(text: &str) -> Editor {
        let mut editor = Editor::default();
        editor.insert(text);
        editor
    }

    #[test]
    fn editing_goes_by_what_a_reader_takes_for_a_character() {
        let mut line = editor("你好 👨‍👩‍👧!");
        line.left();
        line.delete_left();
        assert_eq!(line.text(), "你好 !", "a family goes as one");
        line.word_left();
        line.delete_right();
        assert_eq!(line.text(), "你 !");
        line.home();
        line.delete_left();
        line.insert("a\u{1b}");
        line.end();
        line.delete_right();
        assert_eq!(line.text(), "a你 !");
        line.delete_word_left();
        line.delete_word_left();
        assert_eq!(line.text(), "a");
        line.delete_to_home();
        assert_eq!(line.text(), "");
    }

    #[test]
    fn the_history_comes_back_and_the_draft_is_not_lost() {
        let mut line = editor("one");
        assert_eq!(line.take(), "one");
        line.insert("two\nlines");
        line.take();
        line.insert("draft");
        line.up();
        assert_eq!(line.text(), "two\nlines");
        line.up();
        line.up();
        line.up();
        assert_eq!(line.text(), "one");
        line.down();
        line.down();
        assert_eq!(line.text(), "draft");
        line.down();
        assert_eq!(line.text(), "draft");
    }

    #[test]
    fn rows_break_at_the_width_and_the_cursor_is_where_it_writes() {
        let line = editor("你好世界");
        let layout = line.layout(6);
        assert_eq!((layout.rows, layout.cursor), (vec!["你好".to_owned(), "世界".to_owned()], (1, 4)));
        let mut line = editor("one\n\ntwo");
        line.up();
        assert_eq!(line.layout(20).cursor, (1, 0));
        line.up();
        assert_eq!(line.layout(20).cursor, (0, 0));
        line.down();
        line.down();
        line.end();
        assert_eq!(line.layout(20).cursor, (2, 3));
        line.home();
        line.delete_to_end();
        assert_eq!(line.text(), "one\n\n");
    }
}
