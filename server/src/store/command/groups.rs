//! Groups: what their members do with them.

use std::collections::HashMap;

use posthouse_protocol::{
    Account, AccountId, AccountRole, AccountStatus, Body, ClientMsgId, ConversationId, ConversationKind,
    ConversationUpdated, Event, HistoryAccess, MemberRole, SystemBody, Title, limits,
};

use super::messages::NewMessage;
use super::{Decision, Group, Refusal, Write};
use crate::store::record::{Audience, SentName, encode_json};
use crate::store::rows::{ConversationRow, GroupRow, GroupSettings, Row, RowKey, Unknown};
use crate::store::sight::Sight;
use crate::store::state::{Conversation, Standing};
use crate::store::{StoreError, authority};

/// Makes a group.
pub struct GroupCreate {
    /// Who owns it.
    pub owner: AccountId,
    /// What it is.
    pub settings: GroupSettings,
    /// Who is in it beside the owner, at most [`limits::MEMBERS_CHANGE_MAX`].
    pub members: Vec<AccountId>,
    /// The owner's own name for it; the message that says that it was made bears it.
    pub client_msg_id: Option<ClientMsgId>,
}

impl Write for GroupCreate {
    type Output = ConversationId;

    fn decide(self, group: &mut Group<'_>) -> Decision<ConversationId> {
        let fingerprint = self.fingerprint();
        let Self { owner, settings, members, client_msg_id } = self;
        let sent = client_msg_id.map(|client_msg_id| SentName { sender: owner, client_msg_id, fingerprint });
        if let Some(sent) = &sent
            && let Some((gseq, first)) = group.overlay.sent(owner, &sent.client_msg_id)?
        {
            // A retry gets the first try's answer and changes nothing.
            let made = group.overlay.record(gseq)?.map(|(audience, _)| audience);
            return match made {
                Some(Audience::Conversation(made)) if first == fingerprint => Ok(Ok(made)),
                _ => Ok(Err(Refusal::ClientMsgIdUsed)),
            };
        }
        if let Err(refusal) = check_accounts(group, members.iter().chain([&owner])) {
            return Ok(Err(refusal));
        }
        let members: Vec<AccountId> = sorted(members).into_iter().filter(|member| *member != owner).collect();
        Ok(Ok(group.create_group(owner, GroupRow::new(settings), &members, sent)?))
    }
}

impl GroupCreate {
    /// Tells another group under the same name from a retry, as that of a message does.
    fn fingerprint(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&encode_json(&self.settings));
        for member in sorted(self.members.clone()) {
            hasher.update(&member.0.to_le_bytes());
        }
        hasher.finalize()
    }
}

/// Adds members to a group. Those who are members stay as they are.
pub struct MembersAdd {
    /// Must be its owner or an admin.
    pub actor: AccountId,
    /// Where to.
    pub conversation_id: ConversationId,
    /// Whom, at most [`limits::MEMBERS_CHANGE_MAX`].
    pub members: Vec<AccountId>,
}

impl Write for MembersAdd {
    type Output = Vec<Account>;

    fn decide(self, group: &mut Group<'_>) -> Decision<Vec<Account>> {
        let conversation = match authority::as_adder(group.state, self.actor, self.conversation_id) {
            Ok((conversation, _)) => conversation,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let members = sorted(self.members);
        let new: Vec<AccountId> = members.into_iter().filter(|member| !conversation.has(*member)).collect();
        if let Err(refusal) = check_accounts(group, &new) {
            return Ok(Err(refusal));
        }
        if conversation.members.len() + new.len() > limits::GROUP_MEMBERS_MAX {
            return Ok(Err(Refusal::GroupFull));
        }
        Ok(Ok(group.add_members(self.conversation_id, self.actor, &new)?))
    }
}

/// Removes a member from a group.
pub struct MemberRemove {
    /// Must have a higher role.
    pub actor: AccountId,
    /// Where from.
    pub conversation_id: ConversationId,
    /// Whom.
    pub member: AccountId,
}

impl Write for MemberRemove {
    type Output = ();

    fn decide(self, group: &mut Group<'_>) -> Decision<()> {
        let Self { actor, conversation_id, member } = self;
        if let Err(refusal) = authority::may_remove(group.state, actor, conversation_id, member) {
            return Ok(Err(refusal));
        }
        let Some(account) = group.state.accounts.get(&member).cloned() else { return Ok(Err(Refusal::NoSuchMember)) };
        group.exit(conversation_id, member, actor, SystemBody::Removed { member: account })?;
        Ok(Ok(()))
    }
}

/// Leaves a group. An owner who does hands it over: see [`Group::heir`].
pub struct GroupLeave {
    /// Who leaves.
    pub account_id: AccountId,
    /// What.
    pub conversation_id: ConversationId,
}

impl Write for GroupLeave {
    type Output = ();

    fn decide(self, group: &mut Group<'_>) -> Decision<()> {
        let Self { account_id, conversation_id } = self;
        if let Err(refusal) = authority::may_leave(group.state, account_id, conversation_id) {
            return Ok(Err(refusal));
        }
        group.leave(conversation_id, account_id)?;
        Ok(Ok(()))
    }
}

/// Takes an account out of some of its groups, the one for everybody among them: it departs. Says of how many; to be
/// repeated while it is as many as one command may change. What it owns is handed over as when an owner leaves.
pub struct GroupsLeave {
    /// Whose person is gone.
    pub account_id: AccountId,
}

impl Write for GroupsLeave {
    type Output = usize;

    fn decide(self, group: &mut Group<'_>) -> Decision<usize> {
        let Self { account_id } = self;
        let is_in = |conversation: &&Conversation| conversation.group.is_some() && conversation.has(account_id);
        let conversations = group.state.conversations.iter().filter(|(_, conversation)| is_in(conversation));
        let mut left: Vec<ConversationId> = conversations.map(|(conversation_id, _)| *conversation_id).collect();
        left.sort_unstable();
        left.truncate(limits::MEMBERS_CHANGE_MAX);
        for conversation_id in &left {
            group.leave(*conversation_id, account_id)?;
        }
        Ok(Ok(left.len()))
    }
}

/// Gives a member another role.
pub struct GroupRole {
    /// Must be the owner.
    pub actor: AccountId,
    /// Where.
    pub conversation_id: ConversationId,
    /// Whose.
    pub member: AccountId,
    /// Which. `Owner` makes an admin of the actor.
    pub role: MemberRole,
}

impl Write for GroupRole {
    type Output = ();

    fn decide(self, group: &mut Group<'_>) -> Decision<()> {
        let Self { actor, conversation_id, member, role } = self;
        if let Err(refusal) = authority::may_set_role(group.state, actor, conversation_id, member) {
            return Ok(Err(refusal));
        }
        let Some(account) = group.state.accounts.get(&member).cloned() else { return Ok(Err(Refusal::NoSuchMember)) };
        let roles = group.state.conversations[&conversation_id].group.as_ref();
        if roles.is_some_and(|group| group.role(member) == role) {
            return Ok(Ok(()));
        }
        group.say(conversation_id, actor, SystemBody::Role { member: account, role });
        group.set_role(conversation_id, member, role)?;
        if role == MemberRole::Owner {
            group.set_role(conversation_id, actor, MemberRole::Admin)?;
        }
        Ok(Ok(()))
    }
}

/// Changes a group's title and settings; what is `None` stays.
pub struct GroupUpdate {
    /// Must be its owner or an admin.
    pub actor: AccountId,
    /// Which.
    pub conversation_id: ConversationId,
    /// Its title.
    pub title: Option<Title>,
    /// Whether only the owner and admins may send.
    pub announcement_only: Option<bool>,
    /// What those see who join from now on.
    pub history: Option<HistoryAccess>,
}

impl Write for GroupUpdate {
    type Output = ();

    fn decide(self, group: &mut Group<'_>) -> Decision<()> {
        let Self { actor, conversation_id, title, announcement_only, history } = self;
        let current = match authority::as_admin(group.state, actor, conversation_id) {
            Ok((_, current)) => current.settings.clone(),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let title = title.filter(|title| *title != current.title);
        let announcement_only = announcement_only.filter(|only| *only != current.announcement_only);
        let history = history.filter(|history| *history != current.history);
        if title.is_none() && announcement_only.is_none() && history.is_none() {
            return Ok(Ok(()));
        }
        let conversation = group.state.conversations.get_mut(&conversation_id);
        if let Some(changed) = conversation.and_then(|conversation| conversation.group.as_mut()) {
            changed.settings = GroupSettings {
                title: title.clone().unwrap_or(current.title),
                announcement_only: announcement_only.unwrap_or(current.announcement_only),
                history: history.unwrap_or(current.history),
            };
        }
        group.store_group(conversation_id)?;
        group.say(conversation_id, actor, SystemBody::Updated { title: title.clone(), announcement_only, history });
        let updated = ConversationUpdated { conversation_id, title, announcement_only, history, role: None };
        group.tell_members(conversation_id, Event::ConversationUpdated(updated));
        Ok(Ok(()))
    }
}

/// Makes the group that every account is in, if there is none yet. [`EverybodyFill`] lets those in who are there. One that
/// nobody owns, since all who were in it have departed, gets this owner.
pub struct EverybodyOpen {
    /// Who is to own it.
    pub owner: AccountId,
    /// What it is to be.
    pub settings: GroupSettings,
}

impl Write for EverybodyOpen {
    type Output = ConversationId;

    fn decide(self, group: &mut Group<'_>) -> Decision<ConversationId> {
        let existing = group.state.everybody;
        if let Some(existing) = existing.filter(|existing| group.owner_of(*existing).is_some()) {
            return Ok(Ok(existing));
        }
        if let Err(refusal) = check_accounts(group, [&self.owner]) {
            return Ok(Err(refusal));
        }
        if let Some(existing) = existing {
            group.join(existing, self.owner)?;
            return Ok(Ok(existing));
        }
        let everybody = GroupRow { everybody: true, ..GroupRow::new(self.settings) };
        Ok(Ok(group.create_group(self.owner, everybody, &[], None)?))
    }
}

/// Lets some of those into the group for everybody who are not in it; says how many. To be repeated until it is
/// none.
pub struct EverybodyFill;

impl Write for EverybodyFill {
    type Output = usize;

    fn decide(self, group: &mut Group<'_>) -> Decision<usize> {
        let everybody = group.state.everybody.and_then(|id| Some((id, group.state.conversations.get(&id)?)));
        let Some((conversation_id, conversation)) = everybody else { return Ok(Ok(0)) };
        let may_join = |account: &AccountId| !conversation.has(*account) && group.state.can_join(*account);
        let missing = group.state.accounts.keys().copied().filter(may_join);
        let mut missing = sorted(missing.collect());
        let Some(owner) = group.owner_of(conversation_id) else {
            // Nobody is in it: who has the most to say on the site owns it, and lets the others in next.
            let standing = |account: &AccountId| group.state.standings.get(account).copied().unwrap_or_default();
            let rank = |account: &AccountId| {
                let Standing { role, status } = standing(account);
                let by_role = [AccountRole::Owner, AccountRole::Administrator].iter().position(|one| *one == role);
                (status != AccountStatus::Active, by_role.unwrap_or(usize::MAX), *account)
            };
            let Some(first) = missing.into_iter().min_by_key(rank) else { return Ok(Ok(0)) };
            group.join(conversation_id, first)?;
            return Ok(Ok(1));
        };
        missing.truncate(limits::MEMBERS_CHANGE_MAX);
        Ok(Ok(group.add_members(conversation_id, owner, &missing)?.len()))
    }
}

impl Group<'_> {
    fn create_group(
        &mut self,
        owner: AccountId,
        group: GroupRow,
        members: &[AccountId],
        sent: Option<SentName>,
    ) -> Result<ConversationId, StoreError> {
        let conversation_id = ConversationId(self.state.last_conversation + 1);
        let title = group.settings.title.clone();
        let row = ConversationRow {
            kind: ConversationKind::Group.into(),
            direct: None,
            group: Some(group),
            created: self.now,
            unknown: Unknown::new(),
        };
        self.put(Row::json(RowKey::conversation(conversation_id), &row));
        self.state.add_conversation(conversation_id, &row, [].into(), Sight::default());
        let all = [&[owner], members].concat();
        self.enter(conversation_id, &all, &HashMap::from([(owner, MemberRole::Owner)]))?;
        let body = Body::System(SystemBody::Created { title, members: self.accounts(members) });
        let created = NewMessage { sender: owner, sent, body, reply_to: None, mentions: None };
        self.message(conversation_id, created, false, None).expect("the owner is there, and the group was just made");
        Ok(conversation_id)
    }

    /// Lets those in who are no members; says so in the conversation if there are any.
    fn add_members(
        &mut self,
        conversation_id: ConversationId,
        actor: AccountId,
        new: &[AccountId],
    ) -> Result<Vec<Account>, StoreError> {
        let added = self.accounts(new);
        if !new.is_empty() {
            self.enter(conversation_id, new, &HashMap::new())?;
            self.say(conversation_id, actor, SystemBody::Added { members: added.clone() });
        }
        Ok(added)
    }

    /// Takes a member out of a group, of its own accord; its owner is followed by the heir.
    pub(super) fn leave(&mut self, conversation_id: ConversationId, account_id: AccountId) -> Result<(), StoreError> {
        let is_owner = self.owner_of(conversation_id) == Some(account_id);
        let heir = if is_owner { self.heir(conversation_id, account_id)? } else { None };
        let new_owner = heir.and_then(|heir| self.state.accounts.get(&heir).cloned());
        self.exit(conversation_id, account_id, account_id, SystemBody::Left { new_owner })?;
        heir.map_or(Ok(()), |heir| self.set_role(conversation_id, heir, MemberRole::Owner))
    }

    /// Lets a new account into the group for everybody, if there is one.
    pub(super) fn join_everybody(&mut self, account_id: AccountId) -> Result<(), StoreError> {
        self.state.everybody.map_or(Ok(()), |conversation_id| self.join(conversation_id, account_id))
    }

    /// Lets an account into a group by itself. Where nobody is left in the group, it owns it.
    fn join(&mut self, conversation_id: ConversationId, account_id: AccountId) -> Result<(), StoreError> {
        let is_owned = self.owner_of(conversation_id).is_some();
        let role = if is_owned { MemberRole::Member } else { MemberRole::Owner };
        self.enter(conversation_id, &[account_id], &HashMap::from([(account_id, role)]))?;
        self.say(conversation_id, account_id, SystemBody::Joined);
        Ok(())
    }

    fn owner_of(&self, conversation_id: ConversationId) -> Option<AccountId> {
        self.state.conversations.get(&conversation_id)?.group.as_ref()?.owner()
    }
}

/// In ascending order, each once.
fn sorted(mut accounts: Vec<AccountId>) -> Vec<AccountId> {
    accounts.sort_unstable();
    accounts.dedup();
    accounts
}

fn check_accounts<'a>(group: &Group<'_>, accounts: impl IntoIterator<Item = &'a AccountId>) -> Result<(), Refusal> {
    let exist = accounts.into_iter().all(|account| group.state.can_join(*account));
    if exist { Ok(()) } else { Err(Refusal::NoSuchAccount) }
}
