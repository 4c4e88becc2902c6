//! What can be seen of a text: a name that shows as nothing tells nobody who it is.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Characters that are neither white space nor for control and show as nothing: `Default_Ignorable_Code_Point` of
/// Unicode (`DerivedCoreProperties.txt` of version 16), with the marks of interlinear annotations behind U+FFF8 and
/// the blank pattern of Braille.
const INVISIBLE: [RangeInclusive<char>; 18] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{202a}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{2800}'..='\u{2800}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

fn is_visible(c: char) -> bool {
    !c.is_whitespace() && !c.is_control() && !INVISIBLE.iter().any(|range| range.contains(&c))
}

/// Whether something of a text shows.
pub(crate) fn shows(text: &str) -> bool {
    text.chars().any(is_visible)
}

/// Whether a text may stand under a message: what can be seen, with what joins and varies emoji (Unicode Technical
/// Standard 51, §1.4) and nothing else that can't.
pub fn is_emoji(text: &str) -> bool {
    let within = |c: char| matches!(c, '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0020}'..='\u{e007f}');
    shows(text) && text.chars().all(|c| is_visible(c) || within(c))
}

/// Reads what somebody wants as a name or a title now. More is asked of it than of one that is stored, which may be
/// from before that was asked.
pub(crate) fn wanted<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(deserializer)?.parse().map_err(Error::custom)
}

/// The same where it may be left out.
pub(crate) fn wanted_or_none<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse()).transpose().map_err(Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AccountsUpdateParams, ConversationsCreateParams, ConversationsUpdateParams, DisplayName, DisplayNameError,
        Title, TitleError, strict,
    };

    const NOTHING: [&str; 6] =
        ["\u{200b}\u{200b}", "\u{200e}\u{2060}", "\u{3164}", "\u{2800} \u{2800}", "\u{ad}", "\u{feff}"];

    #[test]
    fn a_name_or_a_title_that_shows_as_nothing_is_refused_unless_it_is_there_already() {
        for text in NOTHING {
            assert_eq!(DisplayName::new(text), Err(DisplayNameError), "{text:?}");
            assert_eq!(Title::new(text), Err(TitleError::Empty), "{text:?}");
            let (name, title) = (format!(r#"{{"display_name":"{text}"}}"#), format!(r#"{{"title":"{text}"}}"#));
            assert!(strict::from_str::<AccountsUpdateParams>(&name).is_err(), "{text:?}");
            assert!(strict::from_str::<ConversationsCreateParams>(&title).is_err(), "{text:?}");
            let update = format!(r#"{{"conversation_id":1,"title":"{text}"}}"#);
            assert!(strict::from_str::<ConversationsUpdateParams>(&update).is_err(), "{text:?}");
            let stored = format!("\"{text}\"");
            assert!(serde_json::from_str::<DisplayName>(&stored).is_ok(), "{text:?}");
            assert!(serde_json::from_str::<Title>(&stored).is_ok(), "{text:?}");
        }
        for text in ["王小明", "é", "\u{200f}שלום", "👩\u{200d}💻", "می\u{200c}خواهم", "।", "ㅋ"]
        {
            assert!(DisplayName::new(text).is_ok() && Title::new(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn an_emoji_is_what_can_be_seen_with_what_joins_and_varies_it() {
        let england = "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}";
        for text in ["👍", "👍🏽", "❤\u{fe0f}", "1\u{fe0f}\u{20e3}", "👩\u{200d}👧", "🇨🇭", england, "e\u{301}", "+1"]
        {
            assert!(is_emoji(text), "{text:?}");
        }
        for text in ["", "\u{202e}abc", "👍\u{200b}", "\u{200d}", "\u{fe0f}", "a b", "a\n", "\u{2066}👍", "\u{200e}a"]
        {
            assert!(!is_emoji(text), "{text:?}");
        }
        assert!(NOTHING.iter().all(|text| !is_emoji(text)));
    }
}
