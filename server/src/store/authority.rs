//! Who may do what, as far as it is decided by the writer's state: one function for each rule.
//!
//! What an account is no member of does not exist for it: the answer is the same, word for word.

use posthouse_protocol::{AccountId, ConversationId, MemberRole};

use super::command::Refusal;
use super::state::{Conversation, GroupState, State};

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
