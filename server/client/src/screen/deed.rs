//! What a command asks of the server, and what came of it.

use posthouse_client::{ClientError, Link};
use posthouse_protocol::{
    Account, AccountId, Body, ConversationId, ConversationsAdd, ConversationsAddParams, ConversationsCreate,
    ConversationsCreateParams, ConversationsLeave, ConversationsLeaveParams, ConversationsMute,
    ConversationsMuteParams, ConversationsPin, ConversationsPinParams, ConversationsRemove, ConversationsRemoveParams,
    ConversationsUpdate, ConversationsUpdateParams, Event, MessageEdited, MessageRecalled, MessagesEdit,
    MessagesEditParams, MessagesReact, MessagesReactParams, MessagesRecall, MessagesRecallParams, MessagesVersions,
    MessagesVersionsParams, Reaction, Seq, Version,
};

/// One change, or a look at those before. That of a message names also its place, for the event that other devices get and this
/// one does not.
#[derive(Clone, Debug)]
pub enum Deed {
    Edit(Seq, MessagesEditParams),
    Versions(Seq, MessagesVersionsParams),
    Recall(Seq, AccountId, MessagesRecallParams),
    React(Seq, MessagesReactParams),
    Mute(ConversationsMuteParams),
    Pin(ConversationsPinParams),
    Create(ConversationsCreateParams),
    Add(ConversationsAddParams),
    Remove(ConversationsRemoveParams),
    Rename(ConversationsUpdateParams),
    Leave(ConversationsLeaveParams),
}

/// What came of it.
pub enum Done {
    /// As other devices are told.
    Event(Event),
    Reactions(ConversationId, Seq, Vec<Reaction>),
    /// Oldest first.
    Versions(Seq, Vec<Version>),
    Made(ConversationId),
    Added(Vec<Account>),
    Said(String),
}

impl Deed {
    pub async fn carry_out(self, link: &Link) -> Result<Done, ClientError> {
        Ok(match self {
            Self::Edit(seq, params) => {
                let edited_ts = link.call::<MessagesEdit>(&params).await?.edited_ts;
                let MessagesEditParams { conversation_id, message_id, body } = params;
                let body = Body::from(body);
                Done::Event(Event::MessageEdited(MessageEdited { conversation_id, message_id, seq, body, edited_ts }))
            }
            Self::Versions(seq, mut params) => {
                let mut versions = Vec::new();
                loop {
                    let page = link.call::<MessagesVersions>(&params).await?;
                    versions.extend(page.versions);
                    params.after = versions.last().map(|version| version.version);
                    if !page.has_more || params.after.is_none() {
                        break Done::Versions(seq, versions);
                    }
                }
            }
            Self::Recall(seq, by, params) => {
                let ts = link.call::<MessagesRecall>(&params).await?.recalled_ts;
                let MessagesRecallParams { conversation_id, message_id } = params;
                Done::Event(Event::MessageRecalled(MessageRecalled { conversation_id, message_id, seq, by, ts }))
            }
            Self::React(seq, params) => {
                let now = link.call::<MessagesReact>(&params).await?;
                Done::Reactions(params.conversation_id, seq, now.reactions)
            }
            Self::Mute(params) => Done::Event(Event::Preferences(link.call::<ConversationsMute>(&params).await?)),
            Self::Pin(params) => Done::Event(Event::Preferences(link.call::<ConversationsPin>(&params).await?)),
            Self::Create(params) => {
                Done::Made(link.call_until_answered::<ConversationsCreate>(&params).await?.conversation_id)
            }
            Self::Add(params) => match link.call::<ConversationsAdd>(&params).await?.added.as_slice() {
                [] => Done::Said("All of them were members already.".to_owned()),
                added => Done::Added(added.to_vec()),
            },
            Self::Remove(params) => {
                link.call::<ConversationsRemove>(&params).await?;
                Done::Said(format!("{} is no longer a member.", params.member))
            }
            Self::Rename(params) => {
                link.call::<ConversationsUpdate>(&params).await?;
                Done::Said("The group is called so now.".to_owned())
            }
            Self::Leave(params) => {
                link.call::<ConversationsLeave>(&params).await?;
                Done::Said("You have left the group.".to_owned())
            }
        })
    }
}
