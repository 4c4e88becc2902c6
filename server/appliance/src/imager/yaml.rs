//! As much of YAML as Raspberry Pi Imager writes: maps, lists and texts. No anchors, no tags, no second document: what a small
//! program writes has none, and each of them is a way to make a short file mean much.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Deeper than any file of Imager's.
const DEPTH_MAX: usize = 16;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub value: Value,
    /// In bytes of the text.
    pub at: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text {
        text: String,
        /// Its bytes, without quotation marks; missing where other bytes than these would change what it is (it is not quoted).
        inner: Option<Range<usize>>,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// What is wrong, and at which byte.
#[derive(Debug, PartialEq, Eq)]
pub struct YamlError {
    pub at: usize,
    pub what: String,
}

/// Reads a text; an empty one is an empty map.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut reader = Reader { parser: Parser::new_from_str(text), text, places };
    let node = loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            Event::StreamEnd => return Ok(Node { value: Value::Map(Vec::new()), at: 0 }),
            event => break reader.node(event, span, 0)?,
        }
    };
    loop {
        match reader.next()? {
            (Event::DocumentEnd | Event::Nothing, _) => {}
            (Event::StreamEnd, _) => return Ok(node),
            (_, span) => return Err(reader.object(span, "a second document begins here")),
        }
    }
}

impl Node {
    /// The text; a map or a list is none.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The entries; whatever is no map has none.
    pub fn entries(&self) -> &[(Node, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(found, _)| found.text() == Some(key)).map(|(_, value)| value)
    }
}

struct Reader<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    text: &'t str,
    /// The byte that each character begins at: the parser counts characters.
    places: Vec<usize>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), YamlError> {
        match self.parser.next() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => Err(YamlError { at: self.byte(error.marker().index()), what: error.info().to_owned() }),
            None => Err(YamlError { at: self.text.len(), what: "it ends too early".to_owned() }),
        }
    }

    fn byte(&self, character: usize) -> usize {
        self.places.get(character).copied().unwrap_or(self.text.len())
    }

    fn object(&self, span: Span, what: &str) -> YamlError {
        YamlError { at: self.byte(span.start.index()), what: what.to_owned() }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, YamlError> {
        if depth > DEPTH_MAX {
            return Err(self.object(span, "this is nested too deeply"));
        }
        let at = self.byte(span.start.index());
        let value = match event {
            Event::Scalar(text, style, 0, None) => {
                let quoted = matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
                let inner = at + 1..self.byte(span.end.index()).saturating_sub(1);
                let inner = Some(inner).filter(|inner| quoted && inner.start <= inner.end);
                Value::Text { text: text.into_owned(), inner }
            }
            Event::SequenceStart(0, None) => Value::List(self.list(depth)?),
            Event::MappingStart(0, None) => Value::Map(self.map(depth)?),
            _ => return Err(self.object(span, "anchors, aliases and tags are not understood")),
        };
        Ok(Node { value, at })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(Node, Node)>, YamlError> {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (event, span) => self.node(event, span, depth + 1)?,
            };
            if entries
                .iter()
                .any(|(known, _)| known.value == key.value || known.text().is_some_and(|t| Some(t) == key.text()))
            {
                return Err(YamlError { at: key.at, what: "this key is there twice".to_owned() });
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push((key, value));
        }
    }
}
