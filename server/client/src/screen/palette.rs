//! How things look. Where colours are not wanted (`NO_COLOR`, <https://no-color.org>), nothing is told by colour alone
//! anyway.

use ratatui::style::{Color, Modifier, Style};

/// Those that can be read on a dark and on a light background.
const NAMES: [Color; 6] = [Color::Cyan, Color::Green, Color::Magenta, Color::Yellow, Color::Blue, Color::LightRed];

#[derive(Clone, Copy)]
pub struct Palette {
    has_colors: bool,
}

impl Palette {
    /// As the environment wants it: any value but an empty one means no colours.
    pub fn of_environment() -> Self {
        Self { has_colors: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    #[cfg(test)]
    pub fn without_colors() -> Self {
        Self { has_colors: false }
    }

    /// Somebody's name, the same each time.
    pub fn name(self, account_id: u64) -> Style {
        let index = usize::try_from(account_id).unwrap_or_default() % NAMES.len();
        self.colored(NAMES[index]).add_modifier(Modifier::BOLD)
    }

    pub fn own_name(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub fn quiet(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub fn unread(self) -> Style {
        self.colored(Color::Green).add_modifier(Modifier::BOLD)
    }

    /// What mentions the reader.
    pub fn called(self) -> Style {
        self.colored(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    pub fn wrong(self) -> Style {
        self.colored(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub fn good(self) -> Style {
        self.colored(Color::Green)
    }

    pub fn bar(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn colored(self, color: Color) -> Style {
        if self.has_colors { Style::new().fg(color) } else { Style::new() }
    }
}
