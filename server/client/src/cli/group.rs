//! Commands for groups.

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use posthouse_client::view::People;
use posthouse_client::{Client, Transport, new_client_msg_id};
use posthouse_protocol::{
    ConversationId, ConversationsAdd, ConversationsAddParams, ConversationsCreate, ConversationsCreateParams,
    ConversationsLeave, ConversationsLeaveParams, ConversationsMembers, ConversationsMembersParams,
    ConversationsRemove, ConversationsRemoveParams, ConversationsRole, ConversationsRoleParams, ConversationsUpdate,
    ConversationsUpdateParams, HistoryAccess, MemberRole, Title, Username, limits,
};

use super::chat::connect;
use super::once::{self, Words};
use super::output::Output;
use super::people::ask;
use super::target::Target;

#[derive(Subcommand)]
pub enum GroupCommand {
    /// Make a group; you own it
    Create {
        /// What it is to be called
        title: Title,
        /// Who is in it beside you
        members: Vec<Username>,
        /// Only you and admins may send
        #[arg(long)]
        announcement_only: bool,
        /// What those see who join later
        #[arg(long, value_enum, default_value_t = History::FromJoining)]
        history: History,
    },
    /// Add members
    Add {
        /// Title or '#number'
        group: Target,
        /// Whom
        #[arg(required = true, num_args = 1..)]
        members: Vec<Username>,
    },
    /// Remove a member
    Remove {
        /// Title or '#number'
        group: Target,
        /// Whom
        member: Username,
    },
    /// Leave; an owner's group goes to the admin, or else the member, who has been in it for longest
    Leave {
        /// Title or '#number'
        group: Target,
    },
    /// Change the title
    Rename {
        /// Title or '#number'
        group: Target,
        /// The new title
        title: Title,
    },
    /// Change who may send, or what those see who join later
    Set {
        /// Title or '#number'
        group: Target,
        /// Whether only the owner and admins may send
        #[arg(long, value_name = "true|false", required_unless_present = "history")]
        announcement_only: Option<bool>,
        /// What those see who join from now on
        #[arg(long, value_enum)]
        history: Option<History>,
    },
    /// List who is in it
    Members {
        /// Title or '#number'
        group: Target,
    },
    /// Give a member another role; `owner` hands the group over
    Role {
        /// Title or '#number'
        group: Target,
        /// Whose
        member: Username,
        /// Which
        role: Role,
    },
    /// Make the group that every account is in, on the server's own machine
    #[cfg(unix)]
    Everybody {
        #[command(flatten)]
        socket: super::user::Socket,
        /// Only its owner and admins may send
        #[arg(long)]
        announcement_only: bool,
        /// What newcomers see
        #[arg(long, value_enum, default_value_t = History::All)]
        history: History,
        /// What it is to be called
        title: Title,
        /// Who is to own it
        owner: Username,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub enum History {
    All,
    FromJoining,
}

impl From<History> for HistoryAccess {
    fn from(history: History) -> Self {
        match history {
            History::All => Self::All,
            History::FromJoining => Self::FromJoining,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub enum Role {
    Member,
    Admin,
    Owner,
}

impl From<Role> for MemberRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Member => Self::Member,
            Role::Admin => Self::Admin,
            Role::Owner => Self::Owner,
        }
    }
}

pub async fn run(command: GroupCommand, transport: Transport, output: Output) -> anyhow::Result<()> {
    match command {
        GroupCommand::Create { title, members, announcement_only, history } => {
            let announcement_only = Some(announcement_only);
            let params = ConversationsCreateParams {
                title,
                members,
                announcement_only,
                history: Some(history.into()),
                client_msg_id: Some(new_client_msg_id()),
            };
            create(transport, params, output).await
        }
        GroupCommand::Add { group, members } => add(transport, &group, &members, output).await,
        GroupCommand::Remove { group, member } => {
            let (client, _events) = connect(transport).await?;
            let conversation_id = group.find_group(&client).await?;
            let params = ConversationsRemoveParams { conversation_id, member };
            client.call::<ConversationsRemove>(&params).await.context("nobody was removed")?;
            output.done("Removed.");
            Ok(())
        }
        GroupCommand::Leave { group } => {
            let (client, _events) = connect(transport).await?;
            let conversation_id = group.find_group(&client).await?;
            client.call::<ConversationsLeave>(&ConversationsLeaveParams { conversation_id }).await?;
            output.done("You have left.");
            Ok(())
        }
        GroupCommand::Rename { group, title } => {
            let changes = Changes { title: Some(title), ..Changes::default() };
            update(transport, &group, changes, output).await
        }
        GroupCommand::Set { group, announcement_only, history } => {
            let changes = Changes { title: None, announcement_only, history: history.map(Into::into) };
            update(transport, &group, changes, output).await
        }
        GroupCommand::Members { group } => members(transport, &group, output).await,
        GroupCommand::Role { group, member, role } => {
            let (client, _events) = connect(transport).await?;
            let conversation_id = group.find_group(&client).await?;
            let params = ConversationsRoleParams { conversation_id, member, role: role.into() };
            client.call::<ConversationsRole>(&params).await.context("the role was not changed")?;
            output.done("Changed.");
            Ok(())
        }
        #[cfg(unix)]
        GroupCommand::Everybody { socket, announcement_only, history, title, owner } => {
            let (announcement_only, history) = (Some(announcement_only), Some(history.into()));
            let params = posthouse_protocol::admin::GroupEverybodyParams { title, owner, announcement_only, history };
            output.everybody(&socket.open()?.group_for_everybody(&params)?);
            Ok(())
        }
    }
}

async fn create(transport: Transport, mut params: ConversationsCreateParams, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    // More than one request takes are added behind.
    let later = params.members.split_off(params.members.len().min(limits::MEMBERS_CHANGE_MAX));
    let words = Words {
        refused: "no group was made",
        unknown: "it is not known whether the group was made (`posthouse conversations` shows it)",
    };
    let made = once::call::<ConversationsCreate>(transport, &client, &params, &words).await?;
    output.created(&params.title, &made);
    if later.is_empty() {
        return Ok(());
    }
    // The connection may have ended meanwhile.
    let (client, _events) = connect(transport).await.context("only the first members were added")?;
    add_all(&client, made.conversation_id, &later).await.map(drop)
}

async fn add(transport: Transport, group: &Target, members: &[Username], output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    let conversation_id = group.find_group(&client).await?;
    let added = add_all(&client, conversation_id, members).await?;
    let mut people = People::default();
    ask(&client, &mut people, added.iter(), output).await;
    output.added(&added, &people);
    Ok(())
}

async fn add_all(
    client: &Client,
    conversation_id: ConversationId,
    members: &[Username],
) -> anyhow::Result<Vec<posthouse_protocol::Account>> {
    let mut added = Vec::new();
    for members in members.chunks(limits::MEMBERS_CHANGE_MAX) {
        let params = ConversationsAddParams { conversation_id, members: members.to_vec() };
        let result = client.call::<ConversationsAdd>(&params).await;
        added.extend(result.with_context(|| format!("{} were added, and then no more", added.len()))?.added);
    }
    Ok(added)
}

/// What is to be changed; the rest stays.
#[derive(Default)]
struct Changes {
    title: Option<Title>,
    announcement_only: Option<bool>,
    history: Option<HistoryAccess>,
}

async fn update(transport: Transport, group: &Target, changes: Changes, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    let conversation_id = group.find_group(&client).await?;
    let Changes { title, announcement_only, history } = changes;
    let params = ConversationsUpdateParams { conversation_id, title, announcement_only, history };
    client.call::<ConversationsUpdate>(&params).await.context("nothing was changed")?;
    output.done("Changed.");
    Ok(())
}

async fn members(transport: Transport, group: &Target, output: Output) -> anyhow::Result<()> {
    let (client, _events) = connect(transport).await?;
    let conversation_id = group.find_group(&client).await?;
    let mut params = ConversationsMembersParams { conversation_id, after: None, limit: None };
    let mut people = People::default();
    loop {
        let page = client.call::<ConversationsMembers>(&params).await?;
        ask(&client, &mut people, page.members.iter().map(|member| &member.account), output).await;
        page.members.iter().for_each(|member| output.member(member, &people));
        if page.next.is_none() {
            return Ok(());
        }
        params.after = page.next;
    }
}
