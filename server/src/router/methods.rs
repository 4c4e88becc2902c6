//! The table of methods: each with what it is for the store and for the order of calls.

use posthouse_protocol::{
    AccountsCreate, AccountsDepart, AccountsDevices, AccountsDisable, AccountsEnable, AccountsGet, AccountsImport,
    AccountsMe, AccountsReset, AccountsRole, AccountsSearch, AccountsSignOut, AccountsUpdate, Connect,
    ConversationsAdd, ConversationsCreate, ConversationsDirect, ConversationsGet, ConversationsLeave,
    ConversationsList, ConversationsMembers, ConversationsMute, ConversationsPin, ConversationsRemove,
    ConversationsRole, ConversationsUpdate, DevicesList, DevicesRevoke, History, InvitesAccept, InvitesCreate,
    InvitesList, InvitesRevoke, Login, Logout, MessagesEdit, MessagesReact, MessagesRecall, MessagesVersions,
    PasswordChange, Ping, Presence, Receipt, ReceiptsGet, Send, Sync, Typing,
};

use super::call::{Entry, change, open, ordered, read};

/// All of them. The most frequent come first: it is searched from its beginning.
const METHODS: &[Entry] = &[
    ordered::<Send>(),
    open::<Ping>(),
    open::<Connect>(),
    read::<Sync>(),
    read::<Receipt>(),
    read::<History>(),
    ordered::<MessagesReact>(),
    ordered::<MessagesEdit>(),
    ordered::<MessagesRecall>(),
    read::<MessagesVersions>(),
    read::<ReceiptsGet>(),
    read::<Typing>(),
    read::<Presence>(),
    ordered::<ConversationsMute>(),
    ordered::<ConversationsPin>(),
    open::<Login>(),
    read::<ConversationsList>(),
    read::<ConversationsGet>(),
    change::<ConversationsDirect>(),
    read::<ConversationsMembers>(),
    change::<ConversationsCreate>(),
    change::<ConversationsUpdate>(),
    change::<ConversationsAdd>(),
    change::<ConversationsRemove>(),
    change::<ConversationsRole>(),
    change::<ConversationsLeave>(),
    read::<AccountsMe>(),
    read::<AccountsGet>(),
    read::<AccountsSearch>(),
    change::<AccountsUpdate>(),
    change::<AccountsCreate>(),
    change::<AccountsDisable>(),
    change::<AccountsEnable>(),
    change::<AccountsReset>(),
    change::<AccountsRole>(),
    change::<AccountsDepart>(),
    change::<AccountsImport>(),
    read::<AccountsDevices>(),
    change::<AccountsSignOut>(),
    read::<DevicesList>(),
    change::<DevicesRevoke>(),
    change::<Logout>(),
    open::<PasswordChange>(),
    change::<InvitesCreate>(),
    read::<InvitesList>(),
    change::<InvitesRevoke>(),
    open::<InvitesAccept>(),
];

/// The method of that name.
pub fn method(name: &str) -> Option<&'static Entry> {
    METHODS.iter().find(|entry| entry.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_listed_once() {
        for entry in METHODS {
            assert_eq!(METHODS.iter().filter(|other| other.name == entry.name).count(), 1, "{}", entry.name);
        }
    }
}
