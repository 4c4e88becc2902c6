//! Which language a page is in, and how it is put together from its parts.
//!
//! A page has a file in each language, with `{names}` where something is put in. What is put in is text, and never becomes
//! markup, unless it is made of such files itself.

use hyper::Uri;
use hyper::header::{ACCEPT_LANGUAGE, HeaderMap};
use posthouse_protocol::appliance::Language;

use crate::page::escape;

const LAYOUT: &str = include_str!("layout.html");

/// A part of a page, in both languages.
pub struct Words {
    english: &'static str,
    chinese: &'static str,
}

/// The files `pages/en/NAME.html` and `pages/zh/NAME.html`.
macro_rules! words {
    ($($constant:ident = $name:literal;)*) => {
        $(pub const $constant: Words = Words {
            english: include_str!(concat!("pages/en/", $name, ".html")),
            chinese: include_str!(concat!("pages/zh/", $name, ".html")),
        };)*

        #[cfg(test)]
        const ALL: &[(&str, Words)] = &[$(($name, $constant)),*];
    };
}

words! {
    CLAIM = "claim";
    SHEET = "sheet";
    HOME = "home";
    MESSAGE = "message";
    TRUST = "trust";
    WITHOUT = "without";
    WINDOWS = "windows";
    MACOS = "macos";
    IPHONE = "iphone";
    ANDROID = "android";
    LINUX = "linux";
    RECOVER = "recover";
}

/// Something to be put into a page.
pub enum Part {
    /// Text, as it is.
    Text(String),
    /// A part of a page.
    Markup(String),
}

impl Part {
    /// Text.
    pub fn text(text: &dyn std::fmt::Display) -> Self {
        Self::Text(text.to_string())
    }

    /// Nothing.
    pub fn nothing() -> Self {
        Self::Markup(String::new())
    }
}

/// Both languages of a short text.
pub fn either(language: Language, english: &str, chinese: &str) -> String {
    match language {
        Language::English => english,
        Language::Chinese => chinese,
    }
    .to_owned()
}

/// What a request asks for: by `?lang=` first, then by what its browser prefers, then as the box is set.
pub fn asked_for(uri: &Uri, headers: &HeaderMap, of_the_box: Language) -> Language {
    by_query(uri).or_else(|| by_browser(headers)).unwrap_or(of_the_box)
}

fn by_query(uri: &Uri) -> Option<Language> {
    let mut pairs = form_urlencoded::parse(uri.query()?.as_bytes());
    pairs.find(|(name, _)| name == "lang").and_then(|(_, value)| by_tag(&value))
}

/// The best of `Accept-Language` (RFC 9110, §12.5.4) that pages are written in.
fn by_browser(headers: &HeaderMap) -> Option<Language> {
    let header = headers.get(ACCEPT_LANGUAGE)?.to_str().ok()?;
    let offers = header.split(',').filter_map(|offer| {
        let (tag, rest) = offer.split_once(';').unwrap_or((offer, ""));
        let weight = rest.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.parse::<f32>().ok())?;
        Some((by_tag(tag.trim())?, weight)).filter(|(_, weight)| *weight > 0.0)
    });
    // Of equals the first.
    let better = |best: Option<(Language, f32)>, next: (Language, f32)| match best {
        Some(best) if best.1 >= next.1 => Some(best),
        _ => Some(next),
    };
    offers.fold(None, better).map(|(language, _)| language)
}

fn by_tag(tag: &str) -> Option<Language> {
    match tag.split('-').next()?.to_ascii_lowercase().as_str() {
        "en" => Some(Language::English),
        "zh" => Some(Language::Chinese),
        _ => None,
    }
}

impl Words {
    /// In that language, with its parts put in.
    pub fn fill(&self, language: Language, parts: &[(&str, Part)]) -> String {
        let words = match language {
            Language::English => self.english,
            Language::Chinese => self.chinese,
        };
        fill(words, parts)
    }
}

/// A whole page around its main part, whose heading is its title.
pub fn whole(language: Language, site: Option<&str>, main: String) -> String {
    let heading = main.split_once("<h1>").and_then(|(_, rest)| rest.split_once("</h1>")).map(|(heading, _)| heading);
    let parts = [
        ("lang", Part::text(&either(language, "en", "zh"))),
        ("title", Part::Markup(heading.unwrap_or("Posthouse").to_owned())),
        ("site", Part::text(&site.map(|site| format!("{site} · ")).unwrap_or_default())),
        ("version", Part::text(&crate::VERSION)),
        ("main", Part::Markup(main)),
    ];
    fill(LAYOUT, &parts)
}

/// Puts each part where its name stands. What was put in is not looked at again.
fn fill(words: &str, parts: &[(&str, Part)]) -> String {
    let mut filled = String::new();
    let mut rest = words;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let (name, after) = after.split_once('}').expect("a test closes every brace");
        let (_, part) = parts.iter().find(|(known, _)| *known == name).expect("a test fills every page");
        match part {
            Part::Text(text) => filled.push_str(&escape(text)),
            Part::Markup(markup) => filled.push_str(markup),
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(words: &str) -> BTreeSet<&str> {
        words.split('{').skip(1).map(|rest| rest.split_once('}').expect("a closed brace").0).collect()
    }

    #[test]
    fn a_page_says_the_same_in_both_languages() {
        for (page, Words { english, chinese }) in ALL {
            assert_eq!(names(english), names(chinese), "{page}");
            let tags = |words: &str| words.matches('<').count();
            assert_eq!(tags(english), tags(chinese), "{page}");
            assert!(chinese.chars().any(|c| ('\u{4e00}'..'\u{a000}').contains(&c)), "{page}");
        }
    }

    #[test]
    fn what_is_put_in_is_text() {
        let parts = [("a", Part::text(&"<{b}>")), ("b", Part::Markup("<i>".to_owned()))];
        assert_eq!(fill("{a}{b} end", &parts), "&lt;{b}&gt;<i> end");
        let page = whole(Language::Chinese, Some("<茶馆>"), "<h1>标题</h1>".to_owned());
        assert!(page.contains("<title>标题 – Posthouse</title>") && page.contains("&lt;茶馆&gt; · "), "{page}");
        assert!(page.contains(r#"<html lang="zh">"#), "{page}");
    }

    #[test]
    fn a_language_is_chosen_by_the_reader_then_the_browser_then_the_box() {
        let chosen = |path: &str, accepted: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(accepted) = accepted {
                headers.insert(ACCEPT_LANGUAGE, accepted.parse().expect("a header"));
            }
            asked_for(&path.parse().expect("a path"), &headers, Language::Chinese)
        };
        for (path, accepted, expected) in [
            ("/", None, Language::Chinese),
            ("/", Some("de"), Language::Chinese),
            ("/", Some("de, en-GB;q=0.7, zh;q=0.3"), Language::English),
            ("/", Some("en;q=0.2,zh-CN;q=0.9"), Language::Chinese),
            ("/", Some("en, zh"), Language::English),
            ("/", Some("en;q=0"), Language::Chinese),
            ("/", Some("en;q=x"), Language::Chinese),
            ("/claim?lang=en", Some("zh"), Language::English),
            ("/claim?x=1&lang=zh", Some("en"), Language::Chinese),
            ("/claim?lang=tlh", Some("en"), Language::English),
        ] {
            assert_eq!(chosen(path, accepted), expected, "{path} {accepted:?}");
        }
    }
}
