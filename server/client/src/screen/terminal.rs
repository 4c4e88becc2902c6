//! The terminal, from its being taken over to its being given back, whatever happens in between.

use std::io::{IsTerminal, Write, stdin, stdout};

use anyhow::{Context, bail};
use crossterm::event::{DisableBracketedPaste, DisableFocusChange, EnableBracketedPaste, EnableFocusChange};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

/// A terminal that is this program's until it is dropped.
pub struct Screen {
    pub terminal: Terminal<CrosstermBackend<std::io::BufWriter<std::io::Stdout>>>,
}

/// A frame's worth: what is drawn goes to the terminal at once, and not a piece at a time.
const FRAME_LEN: usize = 64 * 1024;

impl Screen {
    /// Takes the terminal over.
    pub fn open() -> anyhow::Result<Self> {
        if !stdin().is_terminal() || !stdout().is_terminal() {
            bail!("chat needs a terminal: in scripts use `posthouse send`, `read` and `listen`");
        }
        // A panic's message belongs on the screen that stays, and also a build that aborts must leave that in order.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            hook(panic);
        }));
        let taken = Self::take();
        if taken.is_err() {
            give_back();
        }
        taken.context("cannot use this terminal")
    }

    fn take() -> std::io::Result<Self> {
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste, EnableFocusChange)?;
        let writer = std::io::BufWriter::with_capacity(FRAME_LEN, stdout());
        Ok(Self { terminal: Terminal::new(CrosstermBackend::new(writer))? })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    // A terminal that is gone needs nothing.
    let _ = execute!(stdout(), DisableFocusChange, DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
    let _ = disable_raw_mode();
    let _ = stdout().flush();
}
