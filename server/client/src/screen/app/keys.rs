//! What each key does.

use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::time::Instant;

use super::{App, Leaving, Sheet};

impl App {
    /// Something came from the terminal.
    pub fn on_terminal(&mut self, event: TerminalEvent) {
        match event {
            // Windows tells also of keys that are let go.
            TerminalEvent::Key(key) if key.kind != KeyEventKind::Release => self.on_key(key),
            TerminalEvent::Paste(text) => {
                self.look_again(Instant::now());
                self.editor.insert(&text);
            }
            TerminalEvent::FocusGained => self.look_again(Instant::now()),
            TerminalEvent::FocusLost => self.look_away(),
            _ => {}
        }
    }

    fn on_key(&mut self, key: KeyEvent) {
        self.notice = None;
        self.look_again(Instant::now());
        let is_tab = matches!(key.code, KeyCode::Tab | KeyCode::BackTab);
        if !is_tab {
            self.completion = None;
        }
        if self.sheet.take().is_some() && matches!(key.code, KeyCode::Esc | KeyCode::F(1)) {
            return;
        }
        let (control, alt) = (key.modifiers.contains(KeyModifiers::CONTROL), key.modifiers.contains(KeyModifiers::ALT));
        let leaves = control && matches!(key.code, KeyCode::Char('c' | 'd' | 'q'));
        if leaves {
            return self.leave(key.code == KeyCode::Char('d'));
        }
        self.leaving = Leaving::No;
        // AltGr comes as both, and writes.
        match (control && !alt, alt && !control, key.code) {
            (true, _, KeyCode::Char(letter)) => self.on_control(letter),
            (true, _, KeyCode::Left) | (_, true, KeyCode::Left | KeyCode::Char('b')) => self.editor.word_left(),
            (true, _, KeyCode::Right) | (_, true, KeyCode::Right | KeyCode::Char('f')) => self.editor.word_right(),
            (true, _, KeyCode::Home) => self.scroll_up(usize::MAX),
            (true, _, KeyCode::End) => self.go_to_newest(),
            (_, true, KeyCode::Enter) => self.editor.insert("\n"),
            (_, true, KeyCode::Up) => self.step(-1),
            (_, true, KeyCode::Down) => self.step(1),
            (_, true, KeyCode::Backspace) => self.editor.delete_word_left(),
            (_, true, _) => {}
            (_, _, code) => self.on_plain(code),
        }
    }

    fn on_control(&mut self, letter: char) {
        match letter {
            'a' => self.editor.home(),
            'e' => self.editor.end(),
            'b' => self.editor.left(),
            'f' => self.editor.right(),
            'h' => self.editor.delete_left(),
            'j' => self.editor.insert("\n"),
            'k' => self.editor.delete_to_end(),
            'n' => self.step(1),
            'p' => self.step(-1),
            'r' => self.resend(),
            'u' => self.editor.delete_to_home(),
            'w' => self.editor.delete_word_left(),
            _ => {}
        }
    }

    fn on_plain(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char(letter) => {
                self.editor.insert(letter.encode_utf8(&mut [0; 4]));
                self.say_typing(Instant::now());
            }
            KeyCode::Enter => self.submit(),
            KeyCode::Tab => self.complete(1),
            KeyCode::BackTab => self.complete(-1),
            KeyCode::Backspace => self.editor.delete_left(),
            KeyCode::Delete => self.editor.delete_right(),
            KeyCode::Left => self.editor.left(),
            KeyCode::Right => self.editor.right(),
            KeyCode::Home => self.editor.home(),
            KeyCode::End => self.editor.end(),
            KeyCode::Up => self.editor.up(),
            KeyCode::Down => self.editor.down(),
            KeyCode::PageUp => self.scroll_up(self.page()),
            KeyCode::PageDown => self.scroll_down(self.page()),
            KeyCode::Esc => self.go_to_newest(),
            KeyCode::F(1) => self.sheet = Some(Sheet::help()),
            _ => {}
        }
    }

    /// At once when nothing would be lost by it, else when asked twice.
    pub(super) fn leave(&mut self, only_if_empty: bool) {
        if only_if_empty && !self.editor.text().is_empty() {
            return self.editor.delete_right();
        }
        let open = self.view.unacknowledged();
        if open == 0 || self.leaving == Leaving::Asked {
            self.leaving = Leaving::Yes;
            return;
        }
        self.leaving = Leaving::Asked;
        let messages = if open == 1 { "1 message is" } else { &format!("{open} messages are") };
        self.notice = Some(format!("{messages} not sent yet: once more to leave without."));
    }
}
