//! Whom a text calls by `@name`.

use posthouse_protocol::{Account, Mentions, limits};

/// Those members that it names; `@all` are all of them.
pub fn mentions(text: &str, members: &[&Account]) -> Option<Mentions> {
    let mut called = Mentions::default();
    for word in text.split_whitespace() {
        let Some(name) = word.strip_prefix('@') else { continue };
        let is = |account: &&&Account, name: &str| account.username.as_str().eq_ignore_ascii_case(name);
        // What ends a sentence may also end a name.
        let bare = name.trim_end_matches(|c: char| !c.is_alphanumeric());
        let find = |name: &str| members.iter().find(|account| is(account, name));
        match find(name).or_else(|| find(bare)) {
            Some(account) if !called.accounts.contains(&account.account_id) => called.accounts.push(account.account_id),
            Some(_) => {}
            None => called.all |= bare == "all",
        }
    }
    called.accounts.truncate(limits::MENTIONS_MAX);
    (called != Mentions::default()).then_some(called)
}

#[cfg(test)]
mod tests {
    use posthouse_protocol::{AccountId, Username};

    use super::*;

    #[test]
    fn members_are_called_by_their_names_and_nobody_else_is() {
        let account = |id, name| Account { account_id: AccountId(id), username: Username::new(name).unwrap() };
        let members = [account(1, "anna"), account(2, "ben"), account(3, "ben.")];
        let of = |text| mentions(text, &members.iter().collect::<Vec<_>>());
        let called = |ids: &[u64], all| Some(Mentions { accounts: ids.iter().map(|id| AccountId(*id)).collect(), all });
        assert_eq!(of("@Anna, @ben! @anna"), called(&[1, 2], false));
        assert_eq!(of("@ben."), called(&[3], false));
        assert_eq!(of("@all: lunch"), called(&[], true));
        for nobody in ["anna", "a@anna", "@carl @", "", "@annabelle"] {
            assert_eq!(of(nobody), None, "{nobody}");
        }
    }
}
