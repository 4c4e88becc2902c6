//! Coming into a conversation and going out of it: what all commands share that let somebody in or out.
//!
//! Who comes in is told first (`conversation_added`, on all devices) and then sees the message that says so; who
//! goes out sees that message as the last one and is told then (`conversation_removed`).

use std::collections::HashMap;
use std::sync::Arc;

use posthouse_protocol::{
    Account, AccountId, AccountStatus, Body, ConversationAdded, ConversationId, ConversationKind, ConversationRemoved,
    ConversationUpdated, Event, HistoryAccess, MemberRole, SystemBody,
};

use super::messages::NewMessage;
use super::{Group, NewRecord};
use crate::store::StoreError;
use crate::store::membership::MembershipRow;
use crate::store::record::{Audience, Place, Recipients, decode_json};
use crate::store::rows::{ConversationRow, MarkRow, Row, RowKey};
use crate::store::state::{Conversation, GroupState};

impl Group<'_> {
    /// Lets accounts in that exist and are in no such list twice; those with a role are told here, all others are
    /// members. Says nothing in the conversation itself.
    pub(super) fn enter(
        &mut self,
        conversation_id: ConversationId,
        accounts: &[AccountId],
        roles: &HashMap<AccountId, MemberRole>,
    ) -> Result<(), StoreError> {
        let gseq = self.next_gseq();
        let last = self.conversation_mut(conversation_id).last_seq;
        let history = self.group_of(conversation_id).map_or(HistoryAccess::FromJoining, |group| group.settings.history);
        for account_id in accounts {
            let mut row = self.membership(*account_id, conversation_id)?.unwrap_or_else(MembershipRow::never);
            row.enter(history, gseq, self.now);
            row.role = roles.get(account_id).copied().unwrap_or(MemberRole::Member);
            let conversation = self.conversation_mut(conversation_id);
            conversation.sight.enter(*account_id, &row);
            if let Some(group) = &mut conversation.group {
                group.set_role(*account_id, row.role);
            }
            self.put(Row::json(RowKey::membership(*account_id, conversation_id), &row));
            self.put(Row::plain(RowKey::member(conversation_id, *account_id), []));
            // What was said before somebody came is nothing that they have still to read.
            if last > 0 {
                let mark = MarkRow { read: last, delivered: last };
                self.put(Row::plain(RowKey::mark(conversation_id, *account_id), mark.to_bytes()));
            }
        }
        let conversation = self.conversation_mut(conversation_id);
        let mut members = [&conversation.members, accounts].concat();
        members.sort_unstable();
        conversation.members = members.into();
        let members = Arc::clone(&conversation.members);
        self.state.members.set(conversation_id, members);
        self.store_group(conversation_id)?;
        for account_id in accounts {
            let added = self.as_added(conversation_id, *account_id);
            self.tell(*account_id, Event::ConversationAdded(added));
        }
        Ok(())
    }

    /// Ends a member's stay with what `actor` did as the last message that it sees.
    pub(super) fn exit(
        &mut self,
        conversation_id: ConversationId,
        account_id: AccountId,
        actor: AccountId,
        what: SystemBody,
    ) -> Result<(), StoreError> {
        let row = self.membership(account_id, conversation_id)?;
        let mut row = row.ok_or_else(|| StoreError::Content(format!("member {account_id} has no membership")))?;
        row.exit(self.say(conversation_id, actor, what));
        self.put(Row::json(RowKey::membership(account_id, conversation_id), &row));
        self.remove(RowKey::member(conversation_id, account_id));
        let conversation = self.conversation_mut(conversation_id);
        conversation.members = conversation.members.iter().copied().filter(|member| *member != account_id).collect();
        conversation.sight.exit(account_id);
        if let Some(group) = &mut conversation.group {
            group.set_role(account_id, MemberRole::Member);
        }
        let members = Arc::clone(&conversation.members);
        self.state.members.set(conversation_id, members);
        self.store_group(conversation_id)?;
        self.tell(account_id, Event::ConversationRemoved(ConversationRemoved { conversation_id }));
        Ok(())
    }

    /// Gives a member a role and tells it.
    pub(super) fn set_role(
        &mut self,
        conversation_id: ConversationId,
        account_id: AccountId,
        role: MemberRole,
    ) -> Result<(), StoreError> {
        let row = self.membership(account_id, conversation_id)?;
        let mut row = row.ok_or_else(|| StoreError::Content(format!("member {account_id} has no membership")))?;
        row.role = role;
        self.put(Row::json(RowKey::membership(account_id, conversation_id), &row));
        if let Some(group) = &mut self.conversation_mut(conversation_id).group {
            group.set_role(account_id, role);
        }
        let (title, announcement_only, history) = (None, None, None);
        let updated = ConversationUpdated { conversation_id, title, announcement_only, history, role: Some(role) };
        self.tell(account_id, Event::ConversationUpdated(updated));
        Ok(())
    }

    /// Who owns the group once its owner is gone: the admin who has been in it for longest, or else the member. Who can't log in
    /// comes after all others.
    pub(super) fn heir(
        &mut self,
        conversation_id: ConversationId,
        owner: AccountId,
    ) -> Result<Option<AccountId>, StoreError> {
        let conversation = self.conversation_mut(conversation_id);
        let admins = conversation.group.as_ref().map_or(&[][..], |group| &group.roles);
        let mut candidates: Vec<AccountId> = admins.iter().map(|(admin, _)| *admin).filter(|id| *id != owner).collect();
        if candidates.is_empty() {
            candidates = conversation.members.iter().copied().filter(|member| *member != owner).collect();
        }
        let mut first = None;
        for candidate in candidates {
            let entered = self.membership(candidate, conversation_id)?.map_or(u64::MAX, |row| row.entered);
            let standing = self.state.standings.get(&candidate);
            let is_away = standing.is_none_or(|standing| standing.status != AccountStatus::Active);
            first = first.into_iter().chain([(is_away, entered, candidate)]).min();
        }
        Ok(first.map(|(_, _, heir)| heir))
    }

    /// Puts into the conversation what `actor`, who is an account, did there. It does not count as unread.
    pub(super) fn say(&mut self, conversation_id: ConversationId, actor: AccountId, what: SystemBody) -> u64 {
        let (body, sent, reply_to, mentions) = (Body::System(what), None, None, None);
        let message = NewMessage { sender: actor, sent, body, reply_to, mentions };
        let sent = self.message(conversation_id, message, false, None);
        sent.expect("the command checked that both exist").message_id.0
    }

    /// Tells all members what has changed.
    pub(super) fn tell_members(&mut self, conversation_id: ConversationId, event: Event) {
        let conversation = self.conversation_mut(conversation_id);
        let (seq, counted) = (conversation.last_seq, conversation.last_counted);
        let recipients = Recipients::Accounts(conversation.members.clone());
        let place = Place { seq, counted, is_message: false };
        let audience = Audience::Conversation(conversation_id);
        self.record(NewRecord { audience, place, ts: self.now, sent: None, recipients, origin: None }, |_| event);
    }

    /// Writes a group's row as the state has it; the row's other fields stay.
    pub(super) fn store_group(&mut self, conversation_id: ConversationId) -> Result<(), StoreError> {
        let Some(group) = self.group_of(conversation_id) else { return Ok(()) };
        let settings = group.settings.clone();
        let member_count = self.conversation_mut(conversation_id).members.len() as u64;
        let key = RowKey::conversation(conversation_id);
        let stored = self.overlay.row(&key)?;
        let missing = || StoreError::Content(format!("conversation {conversation_id} has no row"));
        let mut row: ConversationRow = decode_json("a conversation", &stored.ok_or_else(missing)?)?;
        if let Some(group) = &mut row.group {
            (group.settings, group.member_count) = (settings, member_count);
        }
        self.put(Row::json(key, &row));
        Ok(())
    }

    /// The accounts as others see them.
    pub(super) fn accounts(&self, accounts: &[AccountId]) -> Vec<Account> {
        accounts.iter().filter_map(|account| self.state.accounts.get(account).cloned()).collect()
    }

    fn tell(&mut self, account_id: AccountId, event: Event) {
        let (audience, place) = (Audience::Account(account_id), Place::default());
        let recipients = Recipients::Accounts([account_id].into());
        self.record(NewRecord { audience, place, ts: self.now, sent: None, recipients, origin: None }, |_| event);
    }

    fn as_added(&self, conversation_id: ConversationId, account_id: AccountId) -> ConversationAdded {
        let conversation = &self.state.conversations[&conversation_id];
        let other = conversation.members.iter().find(|member| **member != account_id).unwrap_or(&account_id);
        let is_direct = conversation.kind == ConversationKind::Direct;
        let peer = self.state.accounts.get(other).filter(|_| is_direct).cloned();
        let group = conversation.group.as_ref().map(|group| group.info(account_id, conversation.members.len()));
        ConversationAdded { conversation_id, kind: conversation.kind, peer, group }
    }

    fn membership(
        &mut self,
        account_id: AccountId,
        conversation_id: ConversationId,
    ) -> Result<Option<MembershipRow>, StoreError> {
        let stored = self.overlay.row(&RowKey::membership(account_id, conversation_id))?;
        Ok(stored.map(|stored| decode_json("a membership", &stored)).transpose()?)
    }

    fn group_of(&self, conversation_id: ConversationId) -> Option<&GroupState> {
        self.state.conversations.get(&conversation_id)?.group.as_deref()
    }

    /// A conversation that the command has found before.
    fn conversation_mut(&mut self, conversation_id: ConversationId) -> &mut Conversation {
        self.state.conversations.get_mut(&conversation_id).expect("the command found or made it")
    }
}

#[cfg(test)]
mod tests {
    use posthouse_protocol::{HistoryAccess, Title, Username};

    use crate::store::{
        AccountAdd, AccountDisable, GroupCreate, GroupLeave, GroupRole, GroupSettings, Store, StoreParts, Write,
    };

    use super::*;

    async fn write<W: Write>(store: &Store, command: W) -> W::Output {
        store.write(command).await.expect("stored").expect("allowed").into_inner()
    }

    /// Anna has a group with Ben, Carl and Dora, who came in that order; she leaves it. Gives who owns it then.
    async fn heir(admins: &[usize], disabled: &[usize]) -> usize {
        let folder = tempfile::tempdir().expect("a folder");
        let StoreParts { store, published, .. } = Store::open(folder.path()).expect("opens");
        let _forwarded = published.forwarded();
        let mut people = Vec::new();
        for name in ["anna", "ben", "carl", "dora"] {
            let username = Username::new(name).expect("a name");
            people.push(write(&store, AccountAdd::by_machine(username, String::new())).await.account_id);
        }
        let owner = people[0];
        let title = Title::new("Board").expect("a title");
        let settings = GroupSettings { title, announcement_only: false, history: HistoryAccess::All };
        let members = people[1..].to_vec();
        let conversation_id = write(&store, GroupCreate { owner, settings, members, client_msg_id: None }).await;
        for admin in admins {
            let (actor, member, role) = (owner, people[*admin], MemberRole::Admin);
            write(&store, GroupRole { actor, conversation_id, member, role }).await;
        }
        for account in disabled {
            write(&store, AccountDisable { actor: owner, account_id: people[*account] }).await;
        }
        write(&store, GroupLeave { account_id: owner, conversation_id }).await;
        for (number, account) in people.into_iter().enumerate().skip(1) {
            let found =
                store.read(move |snapshot| snapshot.conversation(account, conversation_id)).await.expect("read");
            if found.and_then(|found| found.group).is_some_and(|group| group.role == MemberRole::Owner) {
                return number;
            }
        }
        panic!("nobody owns the group");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_group_goes_to_who_is_in_it_for_longest_and_can_log_in_if_somebody_can() {
        assert_eq!(heir(&[], &[]).await, 1);
        assert_eq!(heir(&[], &[1]).await, 2, "Ben can't log in");
        assert_eq!(heir(&[], &[1, 2, 3]).await, 1, "nobody can");
        assert_eq!(heir(&[2, 3], &[]).await, 2, "admins come before members");
        assert_eq!(heir(&[2, 3], &[2]).await, 3, "Carl can't log in");
        assert_eq!(heir(&[2], &[2]).await, 2, "he is the only admin");
    }
}
