//! What Tab makes of the beginning of a name.

use super::command::BEGINNINGS;
use super::text::cut;

/// What is put under messages most.
const EMOJI: [&str; 6] = ["👍 ", "❤️ ", "😂 ", "🎉 ", "👀 ", "✅ "];

/// What can be completed to.
#[derive(Clone)]
pub struct Name {
    /// As it is written.
    pub typed: String,
    /// As people know it: somebody's display name, with the user name.
    pub shown: String,
}

impl Name {
    /// Whether it begins so, or a word of a display name does.
    fn begins(&self, lower: &str) -> bool {
        let shown = self.shown.to_lowercase();
        let has_word =
            self.shown != self.typed && (shown.starts_with(lower) || shown.split(' ').any(|it| it.starts_with(lower)));
        has_word || self.typed.to_lowercase().starts_with(lower)
    }
}

/// The ends that a word can have; Tab goes round them.
pub struct Completion {
    candidates: Vec<Name>,
    index: usize,
    replaced_len: usize,
}

impl Completion {
    /// Of the word before the cursor; none where no name begins so.
    pub fn of(before: &str, names: &[Name]) -> Option<Self> {
        let (begin, is_whole) = match before.strip_prefix("/open ").or_else(|| before.strip_prefix("/o ")) {
            Some(name) => (name, true),
            None => (last_word(before), false),
        };
        let (mark, word) = match begin.strip_prefix('@') {
            Some(word) => ("@", word),
            None => ("", begin),
        };
        if word.is_empty() && mark.is_empty() && !is_whole && !before.starts_with('/') {
            return None;
        }
        let word = word.to_lowercase();
        let fits = names.iter().filter(|name| name.begins(&word));
        let with_mark =
            |Name { typed, shown }: &Name| Name { typed: format!("{mark}{typed} "), shown: format!("{mark}{shown}") };
        let mut candidates: Vec<Name> = fits.map(with_mark).collect();
        let mut replaced_len = begin.len();
        if before.starts_with('/') && BEGINNINGS.iter().any(|it| it.starts_with(before) && *it != before) {
            let fits = BEGINNINGS.iter().filter(|it| it.starts_with(before) && **it != before);
            candidates = fits.map(|it| as_typed(it)).collect();
            replaced_len = before.len();
        } else if begin.is_empty() && before.starts_with("/react ") && before.split(' ').count() == 3 {
            candidates = EMOJI.map(as_typed).to_vec();
        }
        if candidates.is_empty() {
            return None;
        }
        Some(Self { candidates, index: 0, replaced_len })
    }

    /// The one after, or before.
    pub fn next(mut self, by: isize) -> Self {
        self.replaced_len = self.text().len();
        let len = self.candidates.len();
        self.index = (self.index + len).saturating_add_signed(by) % len;
        self
    }

    /// How many bytes before the cursor it takes the place of.
    pub fn replaced_len(&self) -> usize {
        self.replaced_len
    }

    pub fn text(&self) -> &str {
        &self.candidates[self.index].typed
    }

    /// Whether there is another to go on to.
    pub fn is_choice(&self) -> bool {
        self.candidates.len() > 1
    }

    /// What there is to choose from, where it is more than one.
    pub fn choices(&self, columns: usize) -> Option<String> {
        let all: Vec<&str> = self.candidates.iter().map(|candidate| candidate.shown.trim()).collect();
        (all.len() > 1).then(|| cut(&all.join("  "), columns))
    }
}

fn as_typed(text: &str) -> Name {
    Name { typed: text.to_owned(), shown: text.to_owned() }
}

/// Behind the last space, or from the `@` on that begins a name there.
fn last_word(before: &str) -> &str {
    let word = before.rsplit(char::is_whitespace).next().unwrap_or_default();
    match word.rfind('@') {
        Some(at) if !word[..at].ends_with(|c: char| c.is_ascii_alphanumeric()) => &word[at..],
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_found_by_their_display_names_and_shown_with_both() {
        let name = |typed: &str, shown: &str| Name { typed: typed.to_owned(), shown: shown.to_owned() };
        let names = [
            name("wxm", "王小明 (wxm)"),
            name("ben", "Ben Berg (ben)"),
            name("berta", "berta"),
            name("B of 7", "B of 7"),
        ];
        let first = Completion::of("hi @be", &names).expect("two names");
        assert_eq!((first.text(), first.choices(80).as_deref()), ("@ben ", Some("@Ben Berg (ben)  @berta")));
        assert_eq!(Completion::of("@王", &names).expect("a name").text(), "@wxm ");
        assert_eq!(Completion::of("/open ben berg", &names).expect("a name").text(), "ben ");
        assert!(Completion::of("@of", &names).is_none());
    }

    #[test]
    fn tab_goes_round_the_names_that_begin_so() {
        let names = ["anna", "andré", "ben", "王小明", "Board of 7"].map(as_typed);
        let first = Completion::of("hi @An", &names).expect("two names");
        assert_eq!((first.text(), first.replaced_len()), ("@anna ", 3));
        assert_eq!(first.choices(80).as_deref(), Some("@anna  @andré"));
        let second = first.next(1);
        assert_eq!((second.text(), second.replaced_len()), ("@andré ", 6));
        assert_eq!(second.next(1).next(-1).text(), "@andré ");
        assert_eq!(Completion::of("王", &names).expect("a name").text(), "王小明 ");
        assert_eq!(Completion::of("你好@王", &names).expect("a name").text(), "@王小明 ");
        assert_eq!(Completion::of("/open board o", &names).expect("a title").text(), "Board of 7 ");
        assert_eq!(Completion::of("/op", &names).expect("a command").text(), "/open ");
        assert_eq!(Completion::of("/open ", &names).expect("all").candidates.len(), 5);
        let emoji = Completion::of("/react last ", &names).expect("emoji");
        assert_eq!((emoji.text(), emoji.replaced_len()), ("👍 ", 0));
        assert_eq!(Completion::of("/reply ", &names).expect("a word").text(), "/reply last ");
        assert_eq!(Completion::of("/group add an", &names).expect("a name").text(), "anna ");
        for none in ["", "hi ", "x", "/x", "a@an"] {
            assert!(Completion::of(none, &names).is_none(), "{none}");
        }
    }
}
