//! User names: what may be one and when two are the same.

use serde::{Deserialize, Serialize};

use crate::{limits, visible};

/// A name to log in with: 1 to [`limits::USERNAME_CHARS_MAX`] letters or digits of any script, and
/// `.`, `-`, `_` between them. Kept in lower case, so that `Anna` and `anna` are one account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, schemars(extend("minLength" = 1, "maxLength" = limits::USERNAME_CHARS_MAX)))]
pub struct Username(String);

impl Username {
    /// Parses a name as a person types it.
    pub fn new(value: &str) -> Result<Self, NameError> {
        let folded = value.trim().to_lowercase();
        let chars = folded.chars().count();
        if chars == 0 {
            return Err(NameError::Empty);
        }
        if chars > limits::USERNAME_CHARS_MAX {
            return Err(NameError::TooLong);
        }
        if let Some(bad) = folded.chars().find(|c| !c.is_alphanumeric() && !".-_".contains(*c)) {
            return Err(NameError::Character(bad));
        }
        if !folded.starts_with(char::is_alphanumeric) {
            return Err(NameError::Start);
        }
        Ok(Self(folded))
    }

    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Username {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Username {
    type Err = NameError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Self::new(value)
    }
}

impl TryFrom<String> for Username {
    type Error = NameError;

    fn try_from(value: String) -> Result<Self, Self::Error> {
        Self::new(&value)
    }
}

impl From<Username> for String {
    fn from(name: Username) -> Self {
        name.0
    }
}

/// Why a text is no user name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is left after white space.
    #[error("a user name must not be empty")]
    Empty,
    /// More than [`limits::USERNAME_CHARS_MAX`] characters.
    #[error("a user name has at most {} characters", limits::USERNAME_CHARS_MAX)]
    TooLong,
    /// A character that is neither letter nor digit nor `.`, `-`, `_`.
    #[error("a user name has letters, digits, '.', '-' and '_' only, not {0:?}")]
    Character(char),
    /// Begins with `.`, `-` or `_`.
    #[error("a user name starts with a letter or a digit")]
    Start,
}

/// A name to be shown: 1 to [`limits::DISPLAY_NAME_CHARS_MAX`] characters on one line, one of them visible, without those that
/// control a terminal or the direction of the text around it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, schemars(extend("minLength" = 1, "maxLength" = limits::DISPLAY_NAME_CHARS_MAX)))]
pub struct DisplayName(String);

impl DisplayName {
    /// Parses a name as a person types it; white space around it is left out.
    pub fn new(value: &str) -> Result<Self, DisplayNameError> {
        let name = Self::stored(value)?;
        if visible::shows(name.as_str()) { Ok(name) } else { Err(DisplayNameError) }
    }

    /// One that is there already: once it did not have to show.
    fn stored(value: &str) -> Result<Self, DisplayNameError> {
        let value = value.trim();
        let steers = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let chars = value.chars().count();
        if chars == 0 || chars > limits::DISPLAY_NAME_CHARS_MAX || value.contains(steers) {
            return Err(DisplayNameError);
        }
        Ok(Self(value.to_owned()))
    }

    /// The name as it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for DisplayName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for DisplayName {
    type Err = DisplayNameError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Self::new(value)
    }
}

impl TryFrom<String> for DisplayName {
    type Error = DisplayNameError;

    fn try_from(value: String) -> Result<Self, Self::Error> {
        Self::stored(&value)
    }
}

impl From<DisplayName> for String {
    fn from(name: DisplayName) -> Self {
        name.0
    }
}

/// A text that is no display name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a display name has 1 to {} characters, one of them visible, without control characters",
    limits::DISPLAY_NAME_CHARS_MAX
)]
pub struct DisplayNameError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_script_are_folded_to_lower_case() {
        assert_eq!(Username::new(" Anna ").as_ref().map(Username::as_str), Ok("anna"));
        assert_eq!(Username::new("王小明").as_ref().map(Username::as_str), Ok("王小明"));
        assert_eq!(Username::new("o.b-c_1").as_ref().map(Username::as_str), Ok("o.b-c_1"));
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_reason() {
        assert_eq!(Username::new("  "), Err(NameError::Empty));
        assert_eq!(Username::new(&"x".repeat(33)), Err(NameError::TooLong));
        assert_eq!(Username::new("a b"), Err(NameError::Character(' ')));
        assert_eq!(Username::new("a\u{202e}b"), Err(NameError::Character('\u{202e}')));
        assert_eq!(Username::new("-rf"), Err(NameError::Start));
    }

    #[test]
    fn a_display_name_is_one_line_that_steers_nothing() {
        assert_eq!(DisplayName::new(" 王小明 (Sales) ").as_ref().map(DisplayName::as_str), Ok("王小明 (Sales)"));
        for bad in ["", "  ", "a\nb", "a\u{1b}[2J", "a\u{202e}b", "a\u{2066}b", &"x".repeat(65)] {
            assert_eq!(DisplayName::new(bad), Err(DisplayNameError), "{bad:?}");
        }
    }
}
