//! The messages of a conversation as rows, and which of them are on the screen.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use posthouse_client::view::{Outgoing, OutgoingState, Place, Room, View};
use posthouse_protocol::{Body, Message, NewBody, TimestampMs};
use ratatui::text::{Line, Span};

use super::palette::Palette;
use super::text::{cut, printable, width, wrap};
use crate::cli::{happened, marks, said};

/// Where the text of a message goes on: below its beginning, behind the time.
const INDENT: &str = "      ";

/// Columns that a text gets at least behind a name; with less it begins in the next row.
const TEXT_COLUMNS_MIN: usize = 12;

/// What rows are made of, beside the conversation.
pub struct Look<'a> {
    pub view: &'a View,
    pub room: &'a Room,
    pub columns: usize,
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

impl Look<'_> {
    /// At least one.
    fn rows(&self, place: Place) -> Vec<Line<'static>> {
        match place {
            Place::Message(seq) => self.room.message(seq).map_or_else(|| vec![Line::default()], |it| self.message(it)),
            Place::Outgoing(index) => {
                self.room.outgoing().get(index).map_or_else(|| vec![Line::default()], |it| self.outgoing(it))
            }
        }
    }

    fn message(&self, message: &Message) -> Vec<Line<'static>> {
        let mut rows = Vec::new();
        let time = local(message.ts, self.zone);
        let above = match self.room.above(Place::Message(message.seq)) {
            Some(Place::Message(seq)) => self.room.message(seq),
            _ => None,
        };
        let day = |time: &Option<Zoned>| time.as_ref().map(Zoned::date);
        let is_new_day = above.is_none_or(|above| day(&local(above.ts, self.zone)) != day(&time));
        if let (true, Some(time)) = (is_new_day, &time) {
            rows.push(self.rule(&time.strftime("%A, %Y-%m-%d").to_string(), self.palette.quiet()));
        }
        if self.room.line() == Some(message.seq) {
            rows.push(self.rule("new", self.palette.unread()));
        }
        let clock = time.map_or_else(|| "--:--".to_owned(), |time| time.strftime("%H:%M").to_string());
        if let Body::System(what) = &message.body {
            rows.extend(self.told(&clock, &format!("{} {}", message.sender.username, happened(what))));
            return rows;
        }
        let is_mine = self.view.is_mine(message);
        let name = if is_mine { self.palette.own_name() } else { self.palette.name(message.sender.account_id.0) };
        let name = Span::styled(message.sender.username.to_string(), name);
        rows.extend(self.lines(&clock, &name, &format!("{}{}", said(&message.body), marks(message))));
        rows
    }

    fn outgoing(&self, outgoing: &Outgoing) -> Vec<Line<'static>> {
        let NewBody::Text { text } = &outgoing.params.body;
        let me = self.view.me().map_or_else(String::new, |me| me.username.to_string());
        let name = Span::styled(me, self.palette.own_name());
        match &outgoing.state {
            OutgoingState::Sending => self.lines("  …  ", &name, text),
            OutgoingState::Failed(reason) => {
                let mut rows = self.lines("  ✗  ", &name, text);
                let said = format!("not sent: {} (Ctrl-R sends it again)", printable(reason).replace('\n', " "));
                let said = wrap(&said, self.columns.saturating_sub(INDENT.len()), self.columns.saturating_sub(6));
                rows.extend(said.into_iter().map(|it| Line::styled(format!("{INDENT}{it}"), self.palette.wrong())));
                rows
            }
        }
    }

    /// What nobody wrote.
    fn told(&self, clock: &str, text: &str) -> Vec<Line<'static>> {
        let columns = self.columns.saturating_sub(INDENT.len());
        let rows = wrap(&printable(text), columns, columns).into_iter().enumerate();
        let head = |index| if index == 0 { format!("{clock} ") } else { INDENT.to_owned() };
        rows.map(|(index, row)| Line::styled(head(index) + &row, self.palette.quiet())).collect()
    }

    fn lines(&self, clock: &str, name: &Span<'static>, text: &str) -> Vec<Line<'static>> {
        let columns = self.columns.saturating_sub(INDENT.len());
        let name = Span::styled(cut(&name.content, columns.saturating_sub(2)), name.style);
        let left = columns.saturating_sub(width(&name.content) + 2);
        let first = if left < TEXT_COLUMNS_MIN { 0 } else { left };
        let mut texts = wrap(&printable(text), first, columns).into_iter();
        let mut head = vec![Span::styled(format!("{clock} "), self.palette.quiet()), name, Span::raw(": ")];
        head.extend(texts.next().map(Span::raw));
        let rest = texts.map(|text| Line::raw(format!("{INDENT}{text}")));
        std::iter::once(Line::from(head)).chain(rest).collect()
    }

    fn rule(&self, title: &str, style: ratatui::style::Style) -> Line<'static> {
        let title = cut(&format!("── {title} "), self.columns);
        let rest = "─".repeat(self.columns.saturating_sub(width(&title)));
        Line::styled(title + &rest, style)
    }
}

fn local(time: TimestampMs, zone: &TimeZone) -> Option<Zoned> {
    let ms = i64::try_from(time.0).ok()?;
    Some(Timestamp::from_millisecond(ms).ok()?.to_zoned(zone.clone()))
}
