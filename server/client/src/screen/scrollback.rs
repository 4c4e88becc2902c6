//! Which rows of a conversation are on the screen.

use jiff::tz::TimeZone;
use posthouse_client::view::{Place, Room, View};
use ratatui::text::Line;

use super::palette::Palette;

/// What rows are made of, beside the conversation.
pub struct Look<'a> {
    pub view: &'a View,
    pub room: &'a Room,
    pub columns: usize,
    /// Whether messages show their numbers in the place of their times.
    pub shows_numbers: bool,
    pub palette: Palette,
    pub zone: &'a TimeZone,
}

/// Which row is the last one on the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scroll {
    /// The place and its row; none while the newest message is to be seen.
    bottom: Option<(Place, usize)>,
}

impl Scroll {
    pub fn is_at_newest(self) -> bool {
        self.bottom.is_none()
    }

    pub fn up(&mut self, look: &Look, rows: usize) {
        let Some((mut place, mut row)) = self.bottom(look) else { return };
        let mut left = rows;
        while left > row {
            let Some(above) = look.room.above(place) else { break };
            left -= row + 1;
            place = above;
            row = look.rows(place).len() - 1;
        }
        self.bottom = Some((place, row.saturating_sub(left)));
    }

    pub fn down(&mut self, look: &Look, rows: usize) {
        let Some((mut place, row)) = self.bottom else { return };
        let mut row = row + rows;
        loop {
            let height = look.rows(place).len();
            if row < height {
                break;
            }
            row -= height;
            match look.room.below(place) {
                Some(below) => place = below,
                None => return self.bottom = None,
            }
        }
        let is_last = look.room.below(place).is_none() && row + 1 == look.rows(place).len();
        self.bottom = (!is_last).then_some((place, row));
    }

    /// The rows that are on a screen of this height, and whether the oldest message that is held is among them.
    pub fn shown(&mut self, look: &Look, height: usize) -> (Vec<Line<'static>>, bool) {
        let (rows, reaches_top) = self.gather(look, height);
        if rows.len() >= height || self.bottom.is_none() {
            return (rows, reaches_top);
        }
        // Above the oldest message there is nothing to see.
        self.down(look, height - rows.len());
        self.gather(look, height)
    }

    fn gather(self, look: &Look, height: usize) -> (Vec<Line<'static>>, bool) {
        let Some((mut place, row)) = self.bottom(look) else { return (Vec::new(), true) };
        let mut rows: Vec<_> = look.rows(place).into_iter().take(row + 1).rev().collect();
        while rows.len() < height {
            let Some(above) = look.room.above(place) else { break };
            place = above;
            rows.extend(look.rows(place).into_iter().rev());
        }
        rows.truncate(height);
        rows.reverse();
        (rows, look.room.above(place).is_none())
    }

    fn bottom(self, look: &Look) -> Option<(Place, usize)> {
        let is_there = |(place, _): &(Place, usize)| match place {
            Place::Message(seq) => look.room.message(*seq).is_some(),
            Place::Outgoing(index) => *index < look.room.outgoing().len(),
        };
        self.bottom.filter(is_there).or_else(|| {
            let last = look.room.last()?;
            Some((last, look.rows(last).len() - 1))
        })
    }
}
