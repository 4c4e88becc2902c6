//! Whom an account has to do with: what they are called, and whether they are there.
//!
//! Messages and conversations name an account by its user name alone; the rest of it is asked for, and told when it changes.

use std::collections::{BTreeMap, BTreeSet};

use posthouse_protocol::{
    Account, AccountId, AccountStatus, Body, Message, PresenceNow, PresenceStatus, Profile, SystemBody, Username,
};
use unicode_width::UnicodeWidthChar;

/// What a display name may not have to be shown without the user name: it could look as if more than a name stood there. The last
/// ones are empty and count as letters or signs.
const MISLEADING: [char; 16] = [
    '(',
    ')',
    '@',
    '#',
    ':',
    '（',
    '）',
    '＠',
    '＃',
    '：',
    '\u{2800}',
    '\u{3164}',
    '\u{115f}',
    '\u{1160}',
    '\u{ffa0}',
    '\u{1d159}',
];

/// Those that were heard of.
#[derive(Default)]
pub struct People {
    persons: BTreeMap<AccountId, Person>,
    /// How many have each display name, in lower case.
    display_names: BTreeMap<String, usize>,
    /// Whose profiles are to be asked for.
    unknown: BTreeSet<AccountId>,
    /// Who is not offline, as far as the server tells.
    present: BTreeMap<AccountId, PresenceStatus>,
}

struct Person {
    username: Username,
    display_name: Option<String>,
    has_departed: bool,
    /// Whether the server has told the rest.
    is_told: bool,
}

impl People {
    /// Somebody is heard of.
    pub fn meet(&mut self, account: &Account) {
        let Account { account_id, username } = account;
        if !self.persons.contains_key(account_id) {
            let username = username.clone();
            let person = Person { username, display_name: None, has_departed: false, is_told: false };
            self.persons.insert(*account_id, person);
            self.unknown.insert(*account_id);
        }
    }

    /// All that a message names.
    pub fn meet_all_in(&mut self, message: &Message) {
        self.meet(&message.sender);
        match &message.body {
            Body::System(SystemBody::Created { members, .. } | SystemBody::Added { members }) => {
                members.iter().for_each(|member| self.meet(member));
            }
            Body::System(SystemBody::Removed { member } | SystemBody::Role { member, .. }) => self.meet(member),
            Body::System(SystemBody::Left { new_owner }) => new_owner.iter().for_each(|owner| self.meet(owner)),
            _ => {}
        }
    }

    /// How an account is now. One that was not heard of is asked for once it is.
    pub fn tell(&mut self, profile: &Profile) {
        let Some(person) = self.persons.get_mut(&profile.account_id) else { return };
        let called = profile.display_name.as_ref().map(|name| one_spaced(name.as_str()));
        let before = std::mem::replace(&mut person.display_name, called.clone());
        (person.has_departed, person.is_told) = (profile.status == AccountStatus::Departed, true);
        self.unknown.remove(&profile.account_id);
        if let Some(count) = before.and_then(|name| self.display_names.get_mut(&name.to_lowercase())) {
            *count -= 1;
        }
        if let Some(name) = called {
            *self.display_names.entry(name.to_lowercase()).or_default() += 1;
        }
    }

    /// What was asked for. It may have been told meanwhile how somebody is now.
    pub fn fill(&mut self, profiles: &[Profile]) {
        let is_told = |people: &Self, id| people.persons.get(&id).is_none_or(|person| person.is_told);
        for profile in profiles {
            if !is_told(self, profile.account_id) {
                self.tell(profile);
            }
        }
    }

    /// Whose profiles are to be asked for; each once.
    pub fn take_unknown(&mut self) -> Vec<AccountId> {
        std::mem::take(&mut self.unknown).into_iter().collect()
    }

    /// What was asked for may be lost with a connection.
    pub fn ask_again(&mut self) {
        let untold = self.persons.iter().filter(|(_, person)| !person.is_told);
        self.unknown = untold.map(|(id, _)| *id).collect();
    }

    /// Who was heard of is somebody else in another database.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// All that are there, in the place of what was known before.
    pub fn set_present(&mut self, accounts: &[PresenceNow]) {
        self.present.clear();
        accounts.iter().for_each(|now| self.come_or_go(*now));
    }

    pub(super) fn come_or_go(&mut self, now: PresenceNow) {
        match now.status {
            PresenceStatus::Offline => self.present.remove(&now.account_id),
            status => self.present.insert(now.account_id, status),
        };
    }

    /// What somebody is called: by the display name, and by the user name, too, where that display name could be taken for another's
    /// name.
    pub fn name(&self, id: AccountId) -> String {
        let Some(person) = self.persons.get(&id) else { return "somebody".to_owned() };
        match &person.display_name {
            Some(name) if is_plain(name) && self.display_names.get(&name.to_lowercase()) == Some(&1) => {
                person.marked(name.clone())
            }
            _ => person.full_name(),
        }
    }

    /// The same of an account, which may not have been heard of.
    pub fn name_of(&self, account: &Account) -> String {
        let is_met = self.persons.contains_key(&account.account_id);
        if is_met { self.name(account.account_id) } else { account.username.to_string() }
    }

    /// Both names of somebody, for where the user name may be wanted.
    pub fn full_name(&self, account: &Account) -> String {
        let person = self.persons.get(&account.account_id);
        person.map_or_else(|| account.username.to_string(), Person::full_name)
    }

    /// The same of whoever has this user name, where they were heard of.
    pub fn full_name_by(&self, username: &str) -> Option<String> {
        let person = self.persons.values().find(|person| person.username.as_str() == username);
        person.map(Person::full_name)
    }

    /// Whether somebody is there.
    pub fn status(&self, id: AccountId) -> PresenceStatus {
        self.present.get(&id).copied().unwrap_or(PresenceStatus::Offline)
    }
}

impl Person {
    fn full_name(&self) -> String {
        let username = self.username.as_str();
        self.marked(match &self.display_name {
            None => username.to_owned(),
            Some(name) if name.to_lowercase() == username => name.clone(),
            Some(name) => format!("{name} ({username})"),
        })
    }

    fn marked(&self, name: String) -> String {
        if self.has_departed { name + " (departed)" } else { name }
    }
}

/// What stands far to the right could be cut off.
fn one_spaced(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a display name looks like no user name, which is one word, and like nothing else than a name.
fn is_plain(name: &str) -> bool {
    let misleads = |c: char| MISLEADING.contains(&c) || c.width().unwrap_or_default() == 0;
    let words = name.split(' ').filter(|word| word.contains(char::is_alphanumeric));
    words.count() > 1 && !name.contains(misleads)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(id: u64, username: &str, display_name: &str) -> Profile {
        let names = serde_json::json!({ "account_id": id, "username": username, "display_name": display_name });
        let rest = serde_json::json!({ "role": "member", "status": "active" });
        let both = names.as_object().unwrap().clone().into_iter().chain(rest.as_object().unwrap().clone());
        serde_json::from_value(both.collect()).unwrap()
    }

    #[test]
    fn a_display_name_that_another_could_have_stands_beside_the_user_name() {
        let mut people = People::default();
        let mut name = |display_name: &str| {
            let profile = profile(2, "ben", display_name);
            people.meet(&profile.account());
            people.tell(&profile);
            (people.name(AccountId(2)), people.full_name(&profile.account()))
        };
        assert_eq!(name("Ben  Berg"), ("Ben Berg".to_owned(), "Ben Berg (ben)".to_owned()));
        assert_eq!(name("Ben"), ("Ben".to_owned(), "Ben".to_owned()));
        for imitation in [
            "anna",
            "Anna",
            "王小明",
            "anna \u{3164}",
            "an\u{200b}na b",
            "anna .",
            "Anna Berg (anna)",
            "anna: I resign",
        ] {
            assert_eq!(name(imitation).0, format!("{imitation} (ben)"));
        }
    }

    #[test]
    fn two_of_the_same_display_name_are_told_apart_while_they_have_it() {
        let mut people = People::default();
        for profile in [profile(1, "anna", "Anna Berg"), profile(2, "ben", "anna berg")] {
            people.meet(&profile.account());
            people.tell(&profile);
        }
        assert_eq!(people.name(AccountId(1)), "Anna Berg (anna)");
        people.tell(&profile(2, "ben", "Ben Berg"));
        assert_eq!([1, 2].map(|id| people.name(AccountId(id))), ["Anna Berg", "Ben Berg"]);
        people.tell(&Profile { status: AccountStatus::Departed, ..profile(2, "ben", "Ben Berg") });
        assert_eq!(people.name(AccountId(2)), "Ben Berg (departed)");
    }

    #[test]
    fn each_is_asked_for_once_on_a_connection_and_what_was_told_meanwhile_stays() {
        let mut people = People::default();
        let [anna, ben] = [profile(1, "anna", "Anna Berg"), profile(2, "ben", "Ben Berg")];
        people.tell(&anna);
        assert_eq!(
            (people.name(AccountId(1)), people.name_of(&anna.account())),
            ("somebody".to_owned(), "anna".to_owned())
        );
        [&anna, &ben].into_iter().for_each(|profile| people.meet(&profile.account()));
        assert_eq!(people.take_unknown(), [AccountId(1), AccountId(2)]);
        people.meet(&ben.account());
        assert_eq!(people.take_unknown(), []);
        people.tell(&profile(1, "anna", "Anna Weiss"));
        people.ask_again();
        assert_eq!(people.take_unknown(), [AccountId(2)]);
        people.fill(&[anna, ben]);
        assert_eq!([1, 2].map(|id| people.name(AccountId(id))), ["Anna Weiss", "Ben Berg"]);
        people.ask_again();
        assert_eq!(people.take_unknown(), []);
    }
}
