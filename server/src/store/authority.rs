//! Who may do what, as far as it is decided by the writer's state: one function for each rule.
//!
//! What an account is no member of does not exist for it: the answer is the same, word for word.

use posthouse_protocol::{AccountId, ConversationId};

use super::command::Refusal;
use super::state::{Conversation, State};

/// The conversation, for one of its members.
pub(super) fn as_member(
    state: &mut State,
    account_id: AccountId,
    conversation_id: ConversationId,
) -> Result<&mut Conversation, Refusal> {
    let conversation = state.conversations.get_mut(&conversation_id);
    conversation
        .filter(|conversation| conversation.members.binary_search(&account_id).is_ok())
        .ok_or(Refusal::NoSuchConversation)
}
