//! Words for what the protocol tells, for lines and for the screen.

use posthouse_protocol::{
    Account, AccountRole, AccountStatus, Body, Conversation, HistoryAccess, MemberRole, Message, Profile, SystemBody,
};

/// Stands for a message that this version can't show.
const NEWER_KIND: &str = "(a kind of message that a newer version shows)";

/// What a conversation is called by those who name it.
pub fn title(conversation: &Conversation) -> String {
    match (&conversation.peer, &conversation.group) {
        (Some(peer), _) => peer.username.to_string(),
        (None, Some(group)) => group.title.to_string(),
        (None, None) => format!("conversation {}", conversation.conversation_id),
    }
}

/// What a conversation is called by those who read, where people are called so.
pub fn called(conversation: &Conversation, name: impl Fn(&Account) -> String) -> String {
    conversation.peer.as_ref().map_or_else(|| title(conversation), name)
}

/// What a body says. It may hold what steers a terminal.
pub fn said(body: &Body) -> &str {
    match body {
        Body::Text { text } => text,
        Body::Recalled { .. } => "(recalled)",
        Body::System(_) | Body::Unknown(_) => NEWER_KIND,
    }
}

/// What stands behind a message's text. It may hold what steers a terminal.
pub fn marks(message: &Message) -> String {
    let edited = message.edited_ts.map(|_| "  (edited)".to_owned());
    let reactions = message.reactions.iter().map(|one| format!("  {} {}", one.emoji, one.count));
    edited.into_iter().chain(reactions).collect()
}

/// What happened to a group, behind the name of who did it, where people are called so.
pub fn happened(what: &SystemBody, name: impl Fn(&Account) -> String) -> String {
    match what {
        SystemBody::Created { title, members } if members.is_empty() => format!("made the group {title}"),
        SystemBody::Created { title, members } => format!("made the group {title} with {}", names(members, name)),
        SystemBody::Added { members } => format!("added {}", names(members, name)),
        SystemBody::Joined => "joined".to_owned(),
        SystemBody::Removed { member } => format!("removed {}", name(member)),
        SystemBody::Left { new_owner: None } => "left".to_owned(),
        SystemBody::Left { new_owner: Some(owner) } => format!("left; {} is the owner now", name(owner)),
        SystemBody::Role { member, role: MemberRole::Owner } => format!("made {} the owner", name(member)),
        SystemBody::Role { member, role: MemberRole::Admin } => format!("made {} an admin", name(member)),
        SystemBody::Role { member, role: MemberRole::Member } => format!("made {} a member again", name(member)),
        SystemBody::Updated { title, announcement_only, history } => {
            let title = title.as_ref().map(|title| format!("called the group {title}"));
            let sending = announcement_only.map(|only| if only { "let only admins send" } else { "let everyone send" });
            let history = history.map(|history| match history {
                HistoryAccess::All => "showed newcomers the history",
                HistoryAccess::FromJoining => "hid the history from newcomers",
            });
            let parts = title.into_iter().chain([sending, history].into_iter().flatten().map(str::to_owned));
            parts.collect::<Vec<_>>().join(" and ")
        }
    }
}

/// Who, in one line, where they are called so.
pub fn names(accounts: &[Account], name: impl Fn(&Account) -> String) -> String {
    accounts.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// What a member is called.
pub fn role_name(role: MemberRole) -> &'static str {
    match role {
        MemberRole::Member => "member",
        MemberRole::Admin => "admin",
        MemberRole::Owner => "owner",
    }
}

/// An account on one line: its names, and what is not as usual.
pub fn described(profile: &Profile) -> String {
    let mut line = profile.username.to_string();
    if let Some(display_name) = &profile.display_name {
        line.push_str(&format!("  {display_name}"));
    }
    let role = match profile.role {
        AccountRole::Owner => Some("owner"),
        AccountRole::Administrator => Some("administrator"),
        AccountRole::Member | AccountRole::Unknown => None,
    };
    let status = match profile.status {
        AccountStatus::Active => None,
        AccountStatus::Disabled => Some("disabled"),
        AccountStatus::Departed => Some("departed"),
        AccountStatus::Unknown => Some("not active"),
    };
    for mark in [role, status].into_iter().flatten() {
        line.push_str(&format!("  ({mark})"));
    }
    line
}
