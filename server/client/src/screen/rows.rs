//! The messages of a conversation as rows.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use posthouse_client::view::{Outgoing, OutgoingState, Place};
use posthouse_protocol::{Account, Body, Message, MessageId, NewBody, TimestampMs};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::scrollback::Look;
use super::text::{INDENT, cut, one_line, printable, width, wrap};
use crate::cli::{happened, said};

/// Columns that a text gets at least behind a name; with less it begins in the next row.
const TEXT_COLUMNS_MIN: usize = 12;

impl Look<'_> {
    /// At least one.
    pub fn rows(&self, place: Place) -> Vec<Line<'static>> {
        match place {
            Place::Message(seq) => self.room.message(seq).map_or_else(|| vec![Line::default()], |it| self.message(it)),
            Place::Outgoing(index) => {
                self.room.outgoing().get(index).map_or_else(|| vec![Line::default()], |it| self.outgoing(it))
            }
        }
    }

    fn message(&self, message: &Message) -> Vec<Line<'static>> {
        let time = local(message.ts, self.zone);
        let mut rows = self.rules(message, time.as_ref());
        let clock = match time {
            _ if self.shows_numbers => format!("{:>5}", message.seq.0),
            Some(time) => time.strftime("%H:%M").to_string(),
            None => "--:--".to_owned(),
        };
        if let Body::System(what) = &message.body {
            rows.extend(self.told(
                &clock,
                &format!("{} {}", self.name(&message.sender), happened(what, |account| self.name(account))),
            ));
            return rows;
        }
        let is_mine = self.view.is_mine(message);
        let name = if is_mine { self.palette.own_name() } else { self.palette.name(message.sender.account_id.0) };
        let name = Span::styled(self.name(&message.sender), name);
        rows.extend(message.reply_to.map(|id| self.quote(id)));
        let (text, style) = match &message.body {
            Body::Recalled { by, .. } if *by == message.sender.account_id => {
                ("(recalled)".to_owned(), self.palette.quiet())
            }
            Body::Recalled { by, .. } => {
                (format!("(recalled by {})", self.view.people().name(*by)), self.palette.quiet())
            }
            body if self.view.calls_me(message) && !is_mine => (said(body).to_owned(), self.palette.called()),
            body => (said(body).to_owned(), Style::new()),
        };
        let edited = if message.edited_ts.is_some() { "  (edited)" } else { "" };
        rows.extend(self.lines(&clock, &name, &(text + edited), style));
        rows.extend(self.reactions(message));
        rows.extend(self.came_to(message));
        rows
    }

    fn name(&self, account: &Account) -> String {
        one_line(&self.view.people().name_of(account))
    }

    /// What stands above a message that begins a day, or what is new.
    fn rules(&self, message: &Message, time: Option<&Zoned>) -> Vec<Line<'static>> {
        let mut rows = Vec::new();
        let above = match self.room.above(Place::Message(message.seq)) {
            Some(Place::Message(seq)) => self.room.message(seq),
            _ => None,
        };
        let day_above = above.and_then(|above| local(above.ts, self.zone)).map(|time| time.date());
        if let Some(time) = time.filter(|time| above.is_none() || day_above != Some(time.date())) {
            rows.push(self.rule(&time.strftime("%A, %Y-%m-%d").to_string(), self.palette.quiet()));
        }
        if self.room.line() == Some(message.seq) {
            rows.push(self.rule("new", self.palette.unread()));
        }
        rows
    }

    /// What a message answers, on one row.
    fn quote(&self, id: MessageId) -> Line<'static> {
        let quoted = match self.room.by_id(id) {
            Some(message) => format!("{}: {}", self.name(&message.sender), said(&message.body)),
            None => "(an earlier message)".to_owned(),
        };
        let text = cut(&one_line(&quoted), self.columns.saturating_sub(INDENT.len() + 2));
        Line::styled(format!("{INDENT}┌ {text}"), self.palette.quiet())
    }

    /// What stands below a message; one's own in brackets.
    fn reactions(&self, message: &Message) -> Vec<Line<'static>> {
        let me = self.view.me().map(|me| me.account_id);
        let shown = message.reactions.iter().map(|one| {
            let is_mine = me.is_some_and(|me| one.accounts.contains(&me));
            let text = format!("{} {}", printable(&one.emoji), one.count);
            if is_mine { format!("[{text}]") } else { text }
        });
        let shown: Vec<String> = shown.collect();
        let columns = self.columns.saturating_sub(INDENT.len());
        let rows = if shown.is_empty() { Vec::new() } else { wrap(&shown.join("  "), columns, columns) };
        rows.into_iter().map(|row| Line::raw(format!("{INDENT}{row}"))).collect()
    }

    /// How many the newest of one's own messages has come to.
    fn came_to(&self, message: &Message) -> Option<Line<'static>> {
        let newest = self.room.messages().rev().find(|it| self.view.is_mine(it) && it.text().is_some())?;
        if newest.seq != message.seq || !self.room.outgoing().is_empty() {
            return None;
        }
        let is_direct = self.room.conversation()?.peer.is_some();
        let said = match self.room.come_to(message) {
            (0, 0) => return None,
            (0, _) if is_direct => "✓ delivered".to_owned(),
            (0, got) => format!("✓ delivered to {got}"),
            _ if is_direct => "✓✓ read".to_owned(),
            (read, _) => format!("✓✓ read by {read}"),
        };
        Some(Line::styled(format!("{INDENT}{said}"), self.palette.quiet()))
    }

    fn outgoing(&self, outgoing: &Outgoing) -> Vec<Line<'static>> {
        let NewBody::Text { text } = &outgoing.params.body;
        let me = self.view.me().map_or_else(String::new, |me| self.name(me));
        let name = Span::styled(me, self.palette.own_name());
        let mut rows: Vec<_> = outgoing.params.reply_to.map(|id| self.quote(id)).into_iter().collect();
        match &outgoing.state {
            OutgoingState::Sending => rows.extend(self.lines("  …  ", &name, text, Style::new())),
            OutgoingState::Failed(reason) => {
                rows.extend(self.lines("  ✗  ", &name, text, Style::new()));
                let said = format!("not sent: {} (Ctrl-R sends it again)", one_line(reason));
                let said = wrap(&said, self.columns.saturating_sub(INDENT.len()), self.columns.saturating_sub(6));
                rows.extend(said.into_iter().map(|it| Line::styled(format!("{INDENT}{it}"), self.palette.wrong())));
            }
        }
        rows
    }

    /// What nobody wrote.
    fn told(&self, clock: &str, text: &str) -> Vec<Line<'static>> {
        let columns = self.columns.saturating_sub(INDENT.len());
        let rows = wrap(&printable(text), columns, columns).into_iter().enumerate();
        let head = |index| if index == 0 { format!("{clock} ") } else { INDENT.to_owned() };
        rows.map(|(index, row)| Line::styled(head(index) + &row, self.palette.quiet())).collect()
    }

    fn lines(&self, clock: &str, name: &Span<'static>, text: &str, style: Style) -> Vec<Line<'static>> {
        let columns = self.columns.saturating_sub(INDENT.len());
        let name = Span::styled(cut(&name.content, columns.saturating_sub(2)), name.style);
        let left = columns.saturating_sub(width(&name.content) + 2);
        let first = if left < TEXT_COLUMNS_MIN { 0 } else { left };
        let mut texts = wrap(&printable(text), first, columns).into_iter();
        let mut head = vec![Span::styled(format!("{clock} "), self.palette.quiet()), name, Span::raw(": ")];
        head.extend(texts.next().map(|text| Span::styled(text, style)));
        let rest = texts.map(|text| Line::from(vec![Span::raw(INDENT), Span::styled(text, style)]));
        std::iter::once(Line::from(head)).chain(rest).collect()
    }

    fn rule(&self, title: &str, style: Style) -> Line<'static> {
        let title = cut(&format!("── {title} "), self.columns);
        let rest = "─".repeat(self.columns.saturating_sub(width(&title)));
        Line::styled(title + &rest, style)
    }
}

fn local(time: TimestampMs, zone: &TimeZone) -> Option<Zoned> {
    let ms = i64::try_from(time.0).ok()?;
    Some(Timestamp::from_millisecond(ms).ok()?.to_zoned(zone.clone()))
}
