//! The probe's account: by it the box's updater looks, from outside, whether a release that is on trial serves.
//!
//! It stands apart from everybody: its row is none of the accounts', its number is none that is ever given, and it is in the
//! state by its one conversation alone. So nothing finds it that looks for people, and whoever names it is told that there is no
//! such account. `server/updater/PROBE.md` says what it is used for; the numbers and the name are part of that contract.

use std::sync::Arc;

use posthouse_protocol::{Account, AccountId, ConversationId, ConversationKind, Username, limits};

use super::sight::Sight;
use super::state::{Conversation, State};

/// The name that nobody else can take.
pub const USERNAME: &str = "posthouse-probe";

/// Its account.
pub const ACCOUNT: AccountId = AccountId(limits::NUMBER_MAX);

/// The one conversation that it is in, and that nobody else is ever in.
pub const CONVERSATION: ConversationId = ConversationId(limits::NUMBER_MAX);

/// As it sees itself.
pub(super) fn account() -> Account {
    Account { account_id: ACCOUNT, username: Username::new(USERNAME).expect("it is one, which a test looks at") }
}

impl State {
    /// Whether nobody can be called that any more.
    pub fn is_taken(&self, username: &Username) -> bool {
        username.as_str() == USERNAME || self.usernames.contains_key(username.as_str())
    }

    /// An account, of a person or the probe's.
    pub fn sender(&self, account_id: AccountId) -> Option<Account> {
        if account_id == ACCOUNT { Some(account()) } else { self.accounts.get(&account_id).cloned() }
    }

    /// Adds the probe's conversation, as it is before its messages are counted; its number does not count.
    pub fn open_probe_conversation(&mut self, members: Arc<[AccountId]>, sight: Sight) {
        let (kind, group) = (ConversationKind::Direct, None);
        let (last_seq, last_counted, last_ts, last_sender) = (0, 0, 0, None);
        self.members.set(CONVERSATION, Arc::clone(&members));
        let conversation = Conversation { kind, group, members, sight, last_seq, last_counted, last_ts, last_sender };
        self.conversations.insert(CONVERSATION, conversation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_of_the_probe_names_this_account_and_this_conversation() {
        let contract = include_str!("../../updater/PROBE.md");
        assert_eq!(account().username.as_str(), USERNAME);
        for word in [format!("\"username\":\"{USERNAME}\""), format!("\"conversation_id\":{CONVERSATION}")] {
            assert!(contract.contains(&word), "{word}");
        }
    }
}
