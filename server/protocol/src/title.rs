//! Titles of groups.

use serde::{Deserialize, Serialize};

use crate::{limits, visible};

/// What a group is called: 1 to [`limits::TITLE_CHARS_MAX`] characters on one line, one of them visible, kept as
/// they are but for white space around them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, schemars(extend("minLength" = 1, "maxLength" = limits::TITLE_CHARS_MAX)))]
pub struct Title(String);

/// Characters that turn the direction of what stands around them (Unicode Standard Annex 9, §2): a title with
/// them can be made to look like another.
const TURNING: [char; 9] =
    ['\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}'];

impl Title {
    /// Parses a title as a person types it.
    ///
    /// # Errors
    /// Why it is none.
    pub fn new(value: &str) -> Result<Self, TitleError> {
        let title = Self::stored(value)?;
        if visible::shows(title.as_str()) { Ok(title) } else { Err(TitleError::Empty) }
    }

    /// One that is there already: once it did not have to show.
    fn stored(value: &str) -> Result<Self, TitleError> {
        let title = value.trim();
        if title.is_empty() {
            return Err(TitleError::Empty);
        }
        if title.chars().count() > limits::TITLE_CHARS_MAX {
            return Err(TitleError::TooLong);
        }
        let is_refused = |c: &char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || TURNING.contains(c);
        match title.chars().find(is_refused) {
            Some(bad) => Err(TitleError::Character(bad)),
            None => Ok(Self(title.to_owned())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Title {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Title {
    type Err = TitleError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Self::new(value)
    }
}

impl TryFrom<String> for Title {
    type Error = TitleError;

    fn try_from(value: String) -> Result<Self, Self::Error> {
        Self::stored(&value)
    }
}

impl From<Title> for String {
    fn from(title: Title) -> Self {
        title.0
    }
}

/// Why a text is no title.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TitleError {
    /// Nothing of it can be seen.
    #[error("a title must not be empty, or look so")]
    Empty,
    /// More than [`limits::TITLE_CHARS_MAX`] characters.
    #[error("a title has at most {} characters", limits::TITLE_CHARS_MAX)]
    TooLong,
    /// A line end, a control character, or one that turns the direction of writing.
    #[error("a title is one line without control characters, not with {0:?}")]
    Character(char),
}
