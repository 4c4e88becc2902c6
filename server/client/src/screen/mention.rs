//! Whom a text calls by `@name`.

use posthouse_protocol::{Account, Mentions, limits};
use unicode_width::UnicodeWidthChar;

/// Calls everybody, where no member has this name.
const ALL: &str = "all";

/// Those members that it names; `@all` are all of them. A name begins at any `@` that no letter or digit of ASCII stands before,
/// which would make it an address of mail, and is the longest one that follows.
pub fn mentions(text: &str, members: &[&Account]) -> Option<Mentions> {
    let mut called = Mentions::default();
    for (at, _) in text.match_indices('@') {
        if text[..at].ends_with(|c: char| c.is_ascii_alphanumeric()) {
            continue;
        }
        match names_of(&text[at + 1..]).find_map(|name| who(&name, members)) {
            Some(Called::Member(account)) if !called.accounts.contains(&account.account_id) => {
                called.accounts.push(account.account_id);
            }
            Some(Called::Member(_)) | None => {}
            Some(Called::All) => called.all = true,
        }
    }
    called.accounts.truncate(limits::MENTIONS_MAX);
    (called != Mentions::default()).then_some(called)
}

enum Called<'a> {
    Member(&'a Account),
    All,
}

fn who<'a>(name: &str, members: &[&'a Account]) -> Option<Called<'a>> {
    let member = members.iter().find(|account| account.username.as_str() == name);
    member.map(|account| Called::Member(account)).or_else(|| (name == ALL).then_some(Called::All))
}

/// What may be a user name at the beginning of a text, in lower case as they are, the longest first.
fn names_of(text: &str) -> impl Iterator<Item = String> {
    let ends = text.char_indices().map(|(at, c)| (at + c.len_utf8(), c)).take_while(|(_, c)| is_of_a_name(*c));
    let mut ends: Vec<usize> = ends.map(|(end, _)| end).take(limits::USERNAME_CHARS_MAX).collect();
    ends.reverse();
    ends.into_iter().filter(|end| !goes_on(&text[..*end], &text[*end..])).map(|end| text[..end].to_lowercase())
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || ".-_".contains(c)
}

/// Whether a name does not end where it seems to: another letter, digit or accent follows, at once or behind what may stand within
/// names. In scripts that put no spaces between words, and between such a script and another, a name ends anywhere.
fn goes_on(name: &str, behind: &str) -> bool {
    let last = name.chars().next_back();
    let next = behind.trim_start_matches(['.', '-', '_']).chars().next();
    let is_letter = |c: char| c.is_alphanumeric() || c.width() == Some(0);
    last.zip(next).is_some_and(|(last, next)| is_letter(next) && !is_unspaced(last) && !is_unspaced(next))
}

/// Thai and Lao, Burmese, Khmer, Chinese and Japanese; also Korean, which hangs its particles on names.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1100}'..='\u{11ff}' | '\u{1780}'..='\u{17ff}'
        | '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ffdc}'
        | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use posthouse_protocol::{AccountId, Username};

    use super::*;

    #[test]
    fn members_are_called_by_their_names_and_nobody_else_is() {
        let names = ["anna", "ben", "ben.", "émile", "王小明", "emil", "emil-k", "王"];
        let account =
            |(id, name): (u64, &str)| Account { account_id: AccountId(id), username: Username::new(name).unwrap() };
        let members: Vec<Account> = (1..).zip(names).map(account).collect();
        let of = |text| mentions(text, &members.iter().collect::<Vec<_>>());
        let called = |ids: &[u64], all| Some(Mentions { accounts: ids.iter().map(|id| AccountId(*id)).collect(), all });
        assert_eq!(of("@Anna, @ben! @anna"), called(&[1, 2], false));
        assert_eq!(of("@ben."), called(&[3], false));
        assert_eq!(of("@ben..."), called(&[3], false));
        assert_eq!(of("@all: lunch"), called(&[], true));
        assert_eq!(of("大家@All看一下"), called(&[], true));
        assert_eq!(of("(@emil) \"@anna\" /@ben\n@émile"), called(&[6, 1, 2, 4], false));
        assert_eq!(of("@Émile @ÉMILE"), called(&[4], false));
        assert_eq!(of("你好@emil看一下"), called(&[6], false));
        assert_eq!(
            of("请@王小明看一下"),
            called(&[5], false),
            "the longest name, and no member is called by a part of it"
        );
        assert_eq!(of("@王老师"), called(&[8], false));
        assert_eq!(of("@emil-k @emil-, @emil_"), called(&[7, 6], false));
        for nobody in
            ["anna", "a@anna", "9@anna.org", "@carl @", "", "@annabelle", "@emilx", "@emil2", "@emilé", "@emile\u{301}"]
        {
            assert_eq!(of(nobody), None, "{nobody}");
        }
        for nobody in ["@allow", "@emil-x", "@ben.anna", "@émilex", "@ anna"] {
            assert_eq!(of(nobody), None, "{nobody}");
        }
    }
}
