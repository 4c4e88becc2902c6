//! Who may do what, as far as it is decided by the writer's state: one function for each rule.
//!
//! What an account is no member of does not exist for it: the answer is the same, word for word.

use posthouse_protocol::{AccountId, AccountRole, AccountStatus, Body, ConversationId, MemberRole, Mentions, Message};

use super::command::Refusal;
use super::state::{Conversation, GroupState, Standing, State};

/// The conversation, for one of its members.
pub(super) fn as_member(
    state: &State,
    account_id: AccountId,
    conversation_id: ConversationId,
) -> Result<&Conversation, Refusal> {
    let conversation = state.conversations.get(&conversation_id);
    conversation.filter(|conversation| conversation.has(account_id)).ok_or(Refusal::NoSuchConversation)
}

/// Who may send: every member, or in a group for announcements only its owner and admins.
pub(super) fn as_sender(
    state: &State,
    account_id: AccountId,
    conversation_id: ConversationId,
) -> Result<&Conversation, Refusal> {
    let conversation = as_member(state, account_id, conversation_id)?;
    match &conversation.group {
        Some(group) if group.settings.announcement_only && group.role(account_id) < MemberRole::Admin => {
            Err(Refusal::NotAllowed)
        }
        _ => Ok(conversation),
    }
}

/// The group, for one of its members.
pub(super) fn as_group_member(
    state: &State,
    account_id: AccountId,
    conversation_id: ConversationId,
) -> Result<(&Conversation, &GroupState), Refusal> {
    let conversation = as_member(state, account_id, conversation_id)?;
    let group = conversation.group.as_deref().ok_or(Refusal::NotAGroup)?;
    Ok((conversation, group))
}

/// The group, for its owner and its admins: they change its title and settings.
pub(super) fn as_admin(
    state: &State,
    account_id: AccountId,
    conversation_id: ConversationId,
) -> Result<(&Conversation, &GroupState), Refusal> {
    let found = as_group_member(state, account_id, conversation_id)?;
    if found.1.role(account_id) < MemberRole::Admin { Err(Refusal::NotAllowed) } else { Ok(found) }
}

/// Who may add members: owner and admins, but where everybody is in anyway.
pub(super) fn as_adder(
    state: &State,
    account_id: AccountId,
    conversation_id: ConversationId,
) -> Result<(&Conversation, &GroupState), Refusal> {
    let found = as_admin(state, account_id, conversation_id)?;
    if found.1.everybody { Err(Refusal::EverybodyStays) } else { Ok(found) }
}

/// Who may remove `member`: whoever has a higher role, from admin on.
pub(super) fn may_remove(
    state: &State,
    account_id: AccountId,
    conversation_id: ConversationId,
    member: AccountId,
) -> Result<(), Refusal> {
    let (conversation, group) = as_adder(state, account_id, conversation_id)?;
    check_other(conversation, account_id, member)?;
    if group.role(account_id) > group.role(member) { Ok(()) } else { Err(Refusal::NotAllowed) }
}

/// Who may give `member` another role: the owner.
pub(super) fn may_set_role(
    state: &State,
    account_id: AccountId,
    conversation_id: ConversationId,
    member: AccountId,
) -> Result<(), Refusal> {
    let (conversation, group) = as_group_member(state, account_id, conversation_id)?;
    if group.role(account_id) != MemberRole::Owner {
        return Err(Refusal::NotAllowed);
    }
    check_other(conversation, account_id, member)
}

/// Who may leave: every member, but where everybody is in.
pub(super) fn may_leave(state: &State, account_id: AccountId, conversation_id: ConversationId) -> Result<(), Refusal> {
    let (_, group) = as_group_member(state, account_id, conversation_id)?;
    if group.everybody { Err(Refusal::EverybodyStays) } else { Ok(()) }
}

/// The other one is in it, too, and is another one.
fn check_other(conversation: &Conversation, account_id: AccountId, member: AccountId) -> Result<(), Refusal> {
    if !conversation.has(member) {
        return Err(Refusal::NoSuchMember);
    }
    if member == account_id { Err(Refusal::Oneself) } else { Ok(()) }
}

/// The actor looks after accounts: an owner or an administrator, who may log in.
pub(super) fn as_administrator(standing: Option<Standing>) -> Result<AccountRole, Refusal> {
    match standing {
        Some(Standing {
            role: role @ (AccountRole::Owner | AccountRole::Administrator),
            status: AccountStatus::Active,
        }) => Ok(role),
        _ => Err(Refusal::Forbidden),
    }
}

/// The actor may act on this account: an owner on every one, an administrator on those of members.
pub(super) fn over_account(state: &State, actor: AccountId, account_id: AccountId) -> Result<(), Refusal> {
    let role = as_administrator(state.standings.get(&actor).copied())?;
    let standing = state.standings.get(&account_id).ok_or(Refusal::NoSuchAccount)?;
    may_act_on(role, standing.role)
}

/// The actor may make accounts with this role, or give it.
pub(super) fn gives_role(state: &State, actor: AccountId, role: AccountRole) -> Result<(), Refusal> {
    may_act_on(as_administrator(state.standings.get(&actor).copied())?, role)
}

/// What an owner may on every account, an administrator may on those of members.
pub(super) fn may_act_on(actor: AccountRole, role: AccountRole) -> Result<(), Refusal> {
    match (actor, role) {
        (AccountRole::Owner, _) => Ok(()),
        (AccountRole::Administrator, AccountRole::Member | AccountRole::Unknown) => Ok(()),
        _ => Err(Refusal::Forbidden),
    }
}

/// There is another owner, so that this account may cease to be one.
pub(super) fn leaves_an_owner(state: &State, account_id: AccountId) -> Result<(), Refusal> {
    let is_owner =
        |standing: &Standing| *standing == Standing { role: AccountRole::Owner, status: AccountStatus::Active };
    let is_one = state.standings.get(&account_id).is_some_and(is_owner);
    let others = state.standings.iter().any(|(other, standing)| *other != account_id && is_owner(standing));
    if is_one && !others { Err(Refusal::LastOwner) } else { Ok(()) }
}

/// Who may recall what somebody wrote: its author, until it is late, and at any time the owner and admins of the
/// group.
pub(super) fn may_recall(
    state: &State,
    account_id: AccountId,
    message: &Message,
    is_late: bool,
) -> Result<(), Refusal> {
    if matches!(message.body, Body::System(_)) {
        return Err(Refusal::NotTheAuthor);
    }
    if as_admin(state, account_id, message.conversation_id).is_ok() {
        return Ok(());
    }
    match (message.sender.account_id == account_id, is_late) {
        (false, _) => Err(Refusal::NotTheAuthor),
        (true, true) => Err(Refusal::RecallLate),
        (true, false) => Ok(()),
    }
}

/// Under whose names a message's mentions are kept; all members together have the number 0.
pub(super) fn mentioned(mentions: &Mentions) -> impl Iterator<Item = AccountId> + '_ {
    mentions.accounts.iter().copied().chain(mentions.all.then_some(AccountId(0)))
}

/// Whom a message may call: members.
pub(super) fn may_mention(state: &State, conversation_id: ConversationId, mentions: &Mentions) -> Result<(), Refusal> {
    let conversation = state.conversations.get(&conversation_id).ok_or(Refusal::NoSuchConversation)?;
    let is_member = |account: &AccountId| conversation.members.binary_search(account).is_ok();
    if mentions.accounts.iter().all(is_member) { Ok(()) } else { Err(Refusal::MentionedStranger) }
}
