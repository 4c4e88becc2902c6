//! What is on the screen. Reads the app, and tells it only how large its scrollback is and what can be seen of it.

use jiff::Timestamp;
use posthouse_client::view::Room;
use posthouse_protocol::{ConversationId, PresenceStatus, TimestampMs};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};
use tokio::time::Instant;

use super::app::{App, Connection, Sheet};
use super::text::{INDENT, cut, one_line, width, wrap};
use crate::cli::called;

/// The list of conversations, with the line beside it.
const LIST_COLUMNS: u16 = 22;

/// Below this many columns the messages have them all.
const LIST_FROM_COLUMNS: u16 = 60;

/// Rows that a long text may take while it is written.
const INPUT_ROWS_MAX: usize = 6;

/// Below this nothing can be shown that makes sense.
const SIZE_MIN: (u16, u16) = (20, 5);

pub fn draw(frame: &mut Frame, app: &mut App) {
    let area = frame.area();
    if area.width < SIZE_MIN.0 || area.height < SIZE_MIN.1 {
        return frame.render_widget(Paragraph::new("too small"), area);
    }
    let prompt_columns = usize::from(area.width).saturating_sub(2);
    let input = app.editor.layout(prompt_columns);
    let rows_max = INPUT_ROWS_MAX.min(usize::from(area.height) / 3).max(1);
    let input_rows = u16::try_from(input.rows.len().min(rows_max)).unwrap_or(1);
    let rows = [Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1), Constraint::Length(input_rows)];
    let [head, middle, status, prompt] = Layout::vertical(rows).areas(area);
    let messages = if area.width >= LIST_FROM_COLUMNS {
        let [list, messages] =
            Layout::horizontal([Constraint::Length(LIST_COLUMNS), Constraint::Fill(1)]).areas(middle);
        draw_list(frame, list, app);
        messages
    } else {
        middle
    };
    draw_messages(frame, messages, app);
    draw_head(frame, head, app);
    draw_status(frame, status, app);
    let first = (input.cursor.0 + 1).saturating_sub(usize::from(input_rows));
    for (at, row) in input.rows.iter().skip(first).take(usize::from(input_rows)).enumerate() {
        let mark = if first + at == 0 { "> " } else { "  " };
        let y = prompt.y + u16::try_from(at).unwrap_or_default();
        frame.buffer_mut().set_stringn(
            prompt.x,
            y,
            format!("{mark}{row}"),
            prompt.width.into(),
            ratatui::style::Style::new(),
        );
    }
    let (x, y) = (u16::try_from(input.cursor.1 + 2), u16::try_from(input.cursor.0 - first));
    frame.set_cursor_position((prompt.x + x.unwrap_or(2), prompt.y + y.unwrap_or(0)));
    if let Some(sheet) = &app.sheet {
        draw_sheet(frame, area, sheet);
    }
}

fn draw_head(frame: &mut Frame, area: Rect, app: &App) {
    let conversation = app.open.and_then(|id| app.view.room(id)).map(|room| name(app, room) + &about(app, room));
    let conversation = conversation.unwrap_or_else(|| "Posthouse".to_owned());
    let now = wall_clock();
    let has_news = |(id, room): &&(ConversationId, &Room)| {
        let unread = app.view.unread(*id);
        Some(*id) != app.open && unread.messages > 0 && (unread.mentions > 0 || !room.is_muted(now))
    };
    let elsewhere = app.view.rooms().iter().filter(has_news).count();
    let right = match elsewhere {
        0 => String::new(),
        1 => "1 other conversation has news ".to_owned(),
        count => format!("{count} other conversations have news "),
    };
    bar(frame, area, app, &format!(" {conversation}"), &right);
}

/// A line in reverse, its right end only as far as there is room.
fn bar(frame: &mut Frame, area: Rect, app: &App, left: &str, right: &str) {
    let columns = usize::from(area.width);
    let left = cut(left, columns);
    let room = columns - width(&left);
    let right = if width(right) < room { right } else { "" };
    let gap = " ".repeat(room - width(right));
    frame.buffer_mut().set_line(
        area.x,
        area.y,
        &Line::styled(format!("{left}{gap}{right}"), app.palette.bar()),
        area.width,
    );
}

fn name(app: &App, room: &Room) -> String {
    let Some(conversation) = room.conversation() else { return "…".to_owned() };
    let is_own = conversation.peer.is_some() && conversation.peer.as_ref() == app.view.me();
    let name = one_line(&called(conversation, |peer| app.view.people().name_of(peer)));
    if is_own { format!("{name} (notes to yourself)") } else { name }
}

/// How it is with the other, or how many there are.
fn about(app: &App, room: &Room) -> String {
    match (peer_status(app, room), room.conversation().and_then(|it| it.group.as_ref())) {
        (Some(PresenceStatus::Online), _) => "  ● online".to_owned(),
        (Some(PresenceStatus::Away), _) => "  ◐ away".to_owned(),
        (_, Some(group)) if group.member_count == 1 => "  1 member".to_owned(),
        (_, Some(group)) => format!("  {} members", group.member_count),
        _ => String::new(),
    }
}

/// None where there is no other.
fn peer_status(app: &App, room: &Room) -> Option<PresenceStatus> {
    let peer = room.conversation()?.peer.as_ref().filter(|peer| Some(*peer) != app.view.me())?;
    Some(app.view.people().status(peer.account_id))
}

fn draw_list(frame: &mut Frame, area: Rect, app: &App) {
    let rooms = app.view.rooms();
    let (height, columns) = (usize::from(area.height), usize::from(area.width) - 1);
    let here = rooms.iter().position(|(id, _)| Some(*id) == app.open).unwrap_or_default();
    // The open one is always to be seen.
    let first = (here + 1).saturating_sub(height);
    for (at, (id, room)) in rooms.iter().skip(first).take(height).enumerate() {
        let y = area.y + u16::try_from(at).unwrap_or_default();
        frame.buffer_mut().set_line(area.x, y, &entry(app, *id, room, columns), area.width);
    }
    for y in area.y..area.bottom() {
        frame.buffer_mut().set_string(area.right() - 1, y, "│", app.palette.quiet());
    }
}

fn entry(app: &App, id: ConversationId, room: &Room, columns: usize) -> Line<'static> {
    let is_open = Some(id) == app.open;
    let unread = app.view.unread(id);
    let calls = match unread.mentions {
        0 => String::new(),
        many @ 1..100 => format!(" @{many}"),
        _ => " @99+".to_owned(),
    };
    let count = match unread.messages {
        0 => String::new(),
        many @ 1..1000 => format!("{calls} {many} "),
        _ => format!("{calls} 999+ "),
    };
    let is_muted = room.is_muted(wall_clock());
    let marks = match (room.is_pinned(), is_muted) {
        (false, false) => "",
        (true, false) => " ▴",
        (false, true) => " ø",
        (true, true) => " ▴ø",
    };
    let count = if count.is_empty() && !marks.is_empty() { " ".to_owned() } else { count };
    let count = format!("{marks}{count}");
    let name = cut(&name(app, room), columns.saturating_sub(2 + width(&count)));
    let gap = " ".repeat(columns.saturating_sub(2 + width(&name) + width(&count)));
    let there = match peer_status(app, room) {
        Some(PresenceStatus::Online) => "●",
        Some(PresenceStatus::Away) => "◐",
        _ => " ",
    };
    let mark = if is_open { "▸" } else { " " };
    let style = match (is_open, unread.messages > 0) {
        (_, true) if is_muted && unread.mentions == 0 => app.palette.quiet(),
        (_, true) => app.palette.unread(),
        (true, _) => app.palette.own_name(),
        (false, _) => ratatui::style::Style::new(),
    };
    let there = Span::styled(there, app.palette.good());
    Line::from(vec![Span::raw(mark), there, Span::styled(name + &gap, style), Span::styled(count, style)])
}

/// What people set for themselves ends by the clock on the wall.
fn wall_clock() -> TimestampMs {
    TimestampMs(u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default())
}

fn draw_messages(frame: &mut Frame, area: Rect, app: &mut App) {
    app.area = (area.width.into(), area.height.into());
    let mut scroll = app.scroll;
    let Some((rows, reaches_top)) = app.look().map(|look| scroll.shown(&look, area.height.into())) else {
        let said = match (&app.connection, app.is_listed()) {
            (Connection::Connecting, _) => "Connecting …",
            (_, true) => "No conversation is open. /open NAME begins one with somebody.",
            _ => "Loading …",
        };
        return frame.render_widget(Paragraph::new(said).wrap(ratatui::widgets::Wrap { trim: true }), area);
    };
    app.scroll = scroll;
    // The newest stands right above where the next is written.
    let empty = usize::from(area.height) - rows.len();
    for (at, row) in rows.iter().enumerate() {
        let y = area.y + u16::try_from(empty + at).unwrap_or_default();
        frame.buffer_mut().set_line(area.x, y, row, area.width);
    }
    if reaches_top {
        app.on_top_shown();
    }
    if app.is_loading() {
        frame.buffer_mut().set_stringn(area.x, area.y, "loading …", area.width.into(), app.palette.quiet());
    }
}

fn draw_status(frame: &mut Frame, area: Rect, app: &App) {
    let columns = usize::from(area.width);
    let who = app.view.me().map_or_else(|| app.server.clone(), |me| format!("{} at {}", me.username, app.server));
    let (mark, style, said) = match &app.connection {
        Connection::Connecting => ("○ ", app.palette.wrong(), format!("connecting to {}", app.server)),
        Connection::Online => ("● ", app.palette.good(), who),
        Connection::Offline { reason, retry_at } => {
            let left = retry_at.saturating_duration_since(Instant::now());
            // Rounded up: nobody waits for 0 s.
            let s = left.as_millis().div_ceil(1000);
            let said = if s == 0 { "reconnecting …".to_owned() } else { format!("reconnecting in {s} s") };
            ("○ ", app.palette.wrong(), format!("{said}: {reason}"))
        }
    };
    let below = if app.scroll.is_at_newest() { "F1 help" } else { "older messages: Esc to the newest" };
    let choices = app.choices(columns.saturating_sub(2));
    let typing = app.open.and_then(|id| app.typing.line(id, app.view.people()));
    let said = app.notice.clone().or(choices).or(typing).unwrap_or(said);
    let said = cut(&one_line(&said), columns.saturating_sub(2));
    let room = columns - 2 - width(&said);
    let mut spans = vec![Span::styled(mark, style), Span::raw(said)];
    if width(below) < room {
        spans.push(Span::raw(" ".repeat(room - width(below))));
        spans.push(Span::styled(below, app.palette.quiet()));
    }
    frame.buffer_mut().set_line(area.x, area.y, &Line::from(spans), area.width);
}

fn draw_sheet(frame: &mut Frame, area: Rect, sheet: &Sheet) {
    // Two for the border, two between it and the text.
    let most = usize::from(area.width.saturating_sub(4));
    let lines: Vec<String> = sheet.text.lines().flat_map(|line| wrapped(line, most)).collect();
    let title = format!(" {} ", sheet.title);
    let widest = lines.iter().map(|line| width(line)).max().unwrap_or_default().max(width(&title));
    let columns = u16::try_from(widest + 4).unwrap_or(area.width).min(area.width);
    let rows = u16::try_from(lines.len() + 2).unwrap_or(area.height).min(area.height);
    let middle = Rect::new(area.x + (area.width - columns) / 2, area.y + (area.height - rows) / 2, columns, rows);
    frame.render_widget(Clear, middle);
    let block = Block::bordered().title(title).padding(ratatui::widgets::Padding::horizontal(1));
    frame.render_widget(Paragraph::new(lines.join("\n")).block(block), middle);
}

/// A line on as many rows as it takes. They are moved in behind the first, which a text of others could else pretend to be.
fn wrapped(line: &str, most: usize) -> Vec<String> {
    if width(line) <= most {
        return vec![line.to_owned()];
    }
    let columns = most.saturating_sub(INDENT.len());
    let rows = wrap(line, columns, columns).into_iter().enumerate();
    rows.map(|(index, row)| if index == 0 { row } else { format!("{INDENT}{row}") }).collect()
}
