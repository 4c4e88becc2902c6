//! Groups: making them, who is in them, who may do what there.

use serde::{Deserialize, Serialize};

use crate::method::methods;
use crate::{Account, ClientMsgId, ConversationId, ConversationKind, Empty, PageToken, Title, Username};

methods! {
    /// Makes a group; who makes it owns it.
    ConversationsCreate = "conversations.create", ConversationsCreateParams => ConversationsCreateResult;
    /// Changes a group's title or settings.
    ConversationsUpdate = "conversations.update", ConversationsUpdateParams => Empty;
    /// Who is in a conversation, page by page.
    ConversationsMembers = "conversations.members", ConversationsMembersParams => ConversationsMembersResult;
    /// Adds members to a group.
    ConversationsAdd = "conversations.add", ConversationsAddParams => ConversationsAddResult;
    /// Removes a member from a group.
    ConversationsRemove = "conversations.remove", ConversationsRemoveParams => Empty;
    /// Gives a member another role.
    ConversationsRole = "conversations.role", ConversationsRoleParams => Empty;
    /// Leaves a group.
    ConversationsLeave = "conversations.leave", ConversationsLeaveParams => Empty;
}

/// What a group is beside a conversation, as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GroupInfo {
    /// What it is called; others may be called the same.
    pub title: Title,
    /// Whether only the owner and admins may send.
    pub announcement_only: bool,
    /// What who joins from now on sees of what was said before.
    pub history: HistoryAccess,
    /// Whether it is the one that every account is in.
    pub everybody: bool,
    /// How many are in it.
    pub member_count: u64,
    /// What the reader may do there.
    pub role: MemberRole,
}

/// What a member may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MemberRole {
    /// Read, and send where it is not for announcements only.
    #[default]
    Member,
    /// Also: send announcements, change title and settings, add members and remove those who are no admins.
    Admin,
    /// Everything. A group that has members has one owner.
    Owner,
}

/// What a new member sees of what was said before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HistoryAccess {
    /// Everything, from the group's beginning.
    All,
    /// Nothing. Who comes back sees again what they saw, and not what was said while they were away.
    #[default]
    FromJoining,
}

/// A member of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Member {
    /// Who.
    #[serde(flatten)]
    pub account: Account,
    /// What they may do; `member` in a direct conversation.
    pub role: MemberRole,
}

/// Parameters of `conversations.create`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConversationsCreateParams {
    /// What it is to be called.
    #[serde(deserialize_with = "crate::visible::wanted")]
    pub title: Title,
    /// Who is in it from the beginning beside its owner, at most [`crate::limits::MEMBERS_CHANGE_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(test, schemars(length(max = crate::limits::MEMBERS_CHANGE_MAX)))]
    pub members: Vec<Username>,
    /// Whether only the owner and admins may send; by default all may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcement_only: Option<bool>,
    /// By default `from_joining`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryAccess>,
    /// The caller's own name for what it makes, as in `send`: the same again makes no second group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_msg_id: Option<ClientMsgId>,
}

/// Result of `conversations.create`. What it is comes as `conversation_added`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConversationsCreateResult {
    /// Names it from now on.
    pub conversation_id: ConversationId,
}

/// Parameters of `conversations.update`: what is left out stays.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConversationsUpdateParams {
    /// Which.
    pub conversation_id: ConversationId,
    /// What it is to be called.
    #[serde(default, deserialize_with = "crate::visible::wanted_or_none", skip_serializing_if = "Option::is_none")]
    pub title: Option<Title>,
    /// Whether only the owner and admins may send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcement_only: Option<bool>,
    /// What those see who join from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryAccess>,
}

/// Parameters of `conversations.members`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConversationsMembersParams {
    /// Whose members.
    pub conversation_id: ConversationId,
    /// `next` of the page before; without it, the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<PageToken>,
    /// How many at most: 1 to [`crate::limits::PAGE_LIMIT_MAX`], by default [`crate::limits::PAGE_LIMIT_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(range(min = 1, max = crate::limits::PAGE_LIMIT_MAX)))]
    pub limit: Option<u32>,
}

/// Result of `conversations.members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConversationsMembersResult {
    /// In the order of their `account_id`.
    pub members: Vec<Member>,
    /// Where the next page begins; none behind the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<PageToken>,
}

/// Parameters of `conversations.add`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConversationsAddParams {
    /// Where to.
    pub conversation_id: ConversationId,
    /// Whom: 1 to [`crate::limits::MEMBERS_CHANGE_MAX`]. Who is a member already stays one.
    #[cfg_attr(test, schemars(length(min = 1, max = crate::limits::MEMBERS_CHANGE_MAX)))]
    pub members: Vec<Username>,
}

/// Result of `conversations.add`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConversationsAddResult {
    /// Who was no member before, in the order of their `account_id`.
    pub added: Vec<Account>,
}

/// Parameters of `conversations.remove`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConversationsRemoveParams {
    /// Where from.
    pub conversation_id: ConversationId,
    /// Whom; not oneself.
    pub member: Username,
}

/// Parameters of `conversations.role`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConversationsRoleParams {
    /// Where.
    pub conversation_id: ConversationId,
    /// Whose; not one's own.
    pub member: Username,
    /// `owner` hands the group over: who was the owner is an admin then.
    pub role: MemberRole,
}

/// Parameters of `conversations.leave`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConversationsLeaveParams {
    /// Which.
    pub conversation_id: ConversationId,
}

/// What happened to a group, as a message in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum SystemBody {
    /// The sender made it.
    Created {
        /// What it was called then.
        title: Title,
        /// Who was in it from the beginning, beside the sender.
        members: Vec<Account>,
    },
    /// The sender added members.
    Added {
        /// Whom.
        members: Vec<Account>,
    },
    /// The sender joined the group for everybody, being new on this site.
    Joined,
    /// The sender removed a member.
    Removed {
        /// Whom.
        member: Account,
    },
    /// The sender left.
    Left {
        /// The next owner, where the sender was the owner and somebody is left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        new_owner: Option<Account>,
    },
    /// The sender changed title or settings.
    Updated {
        /// The new title.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<Title>,
        /// Whether only the owner and admins may send from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        announcement_only: Option<bool>,
        /// What those see who join from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        history: Option<HistoryAccess>,
    },
    /// The sender gave a member another role; with `owner`, the sender is an admin from now on.
    Role {
        /// Whom.
        member: Account,
        /// Which.
        role: MemberRole,
    },
}

/// The data of `conversation_added`: the account is in a conversation from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConversationAdded {
    /// Names it in `send` and `history`.
    pub conversation_id: ConversationId,
    /// What it is.
    pub kind: ConversationKind,
    /// The other member of a direct conversation; oneself, in a conversation with oneself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Account>,
    /// Of a group, as it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupInfo>,
}

/// The data of `conversation_updated`: what has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConversationUpdated {
    /// Which.
    pub conversation_id: ConversationId,
    /// The new title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Title>,
    /// Whether only the owner and admins may send from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcement_only: Option<bool>,
    /// What those see who join from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryAccess>,
    /// What the reader may do there from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<MemberRole>,
}

/// The data of `conversation_removed`: the account is in a conversation no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConversationRemoved {
    /// Which.
    pub conversation_id: ConversationId,
}

#[cfg(test)]
mod tests {
    use crate::{Body, Title, TitleError};

    #[test]
    fn a_change_of_a_later_version_is_kept_as_it_is() {
        for json in [
            r#"{"type":"system","what":"left"}"#,
            r#"{"type":"system","what":"joined"}"#,
            r#"{"type":"system","what":"exploded","why":["x"]}"#,
        ] {
            let body: Body = serde_json::from_str(json).expect("reads");
            assert_eq!(matches!(body, Body::Unknown(_)), json.contains("exploded"), "{body:?}");
            let again = serde_json::to_value(&body).expect("serialises");
            assert_eq!(again, serde_json::from_str::<serde_json::Value>(json).expect("JSON"));
        }
    }

    #[test]
    fn a_title_is_a_line_of_any_script_without_what_could_hide_in_it() {
        assert_eq!(Title::new("  驿站 · Board 🏇 ").as_ref().map(Title::as_str), Ok("驿站 · Board 🏇"));
        assert!(Title::new(&"字".repeat(100)).is_ok());
        for (text, error) in [
            ("", TitleError::Empty),
            (" \t\u{3000}", TitleError::Empty),
            ("a\nb", TitleError::Character('\n')),
            ("a\u{202e}b", TitleError::Character('\u{202e}')),
            (&"字".repeat(101), TitleError::TooLong),
        ] {
            assert_eq!(Title::new(text), Err(error), "{text:?}");
        }
    }
}
