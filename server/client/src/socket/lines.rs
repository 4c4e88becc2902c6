//! Server-sent events out of bytes (WHATWG HTML, §9.2.6), as far as a Posthouse server writes them.

/// One event of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct StreamEvent {
    /// `open`, `close`, or nothing for a frame of the protocol.
    pub name: String,
    pub data: String,
}

/// Takes bytes in pieces of any size, gives events.
#[derive(Default)]
pub(super) struct EventLines {
    /// What came and makes no whole line yet.
    rest: Vec<u8>,
    /// The event whose end has not come.
    event: StreamEvent,
    has_data: bool,
}

/// A line that is longer is none of a Posthouse server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineTooLong;

impl EventLines {
    /// The events that a piece completes.
    pub fn take(&mut self, piece: &[u8], line_len_max: usize) -> Result<Vec<StreamEvent>, LineTooLong> {
        let mut events = Vec::new();
        self.rest.extend_from_slice(piece);
        let mut taken = 0;
        while let Some(len) = self.rest[taken..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.rest[taken..taken + len]).into_owned();
            taken += len + 1;
            events.extend(self.line(line.strip_suffix('\r').unwrap_or(&line)));
        }
        self.rest.drain(..taken);
        if self.rest.len() > line_len_max { Err(LineTooLong) } else { Ok(events) }
    }

    fn line(&mut self, line: &str) -> Option<StreamEvent> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.has_data = true;
                self.event.data.push_str(value);
            }
            // A comment (no name), an id (the protocol's cursor says the same), a field of later versions.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "event: open\ndata: {\"a\":1}\n\n: alive\n\nid: 7-41\ndata: 你好\n\ndata: one\r\ndata:two\r\n\r\n\
                          event: close\n\nretry: 5\ndata\n\n";

    fn expected() -> Vec<StreamEvent> {
        [("open", "{\"a\":1}"), ("", "你好"), ("", "one\ntwo"), ("", "")]
            .map(|(name, data)| StreamEvent { name: name.to_owned(), data: data.to_owned() })
            .into()
    }

    #[test]
    fn events_are_the_same_however_their_bytes_are_cut() {
        for len in 1..=STREAM.len() {
            let mut lines = EventLines::default();
            let pieces = STREAM.as_bytes().chunks(len);
            let events: Vec<_> = pieces.flat_map(|piece| lines.take(piece, 100).expect("short lines")).collect();
            assert_eq!(events, expected(), "pieces of {len}");
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = EventLines::default();
        assert_eq!(lines.take(&[b'x'; 100], 100), Ok(Vec::new()));
        assert_eq!(lines.take(b"x", 100), Err(LineTooLong));
    }
}
