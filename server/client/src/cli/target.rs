//! How a person names a conversation: `#7`, somebody's user name, or a group's title.

use anyhow::{Context, bail};
use posthouse_client::{Client, ClientError};
use posthouse_protocol::{
    Conversation, ConversationId, ConversationsDirect, ConversationsDirectParams, ConversationsGet,
    ConversationsGetParams, ConversationsList, ConversationsListParams, ErrorCode, Title, TitleError, Username,
};

#[derive(Clone)]
pub enum Target {
    Number(ConversationId),
    Name(Title),
}

impl std::str::FromStr for Target {
    type Err = TitleError;

    fn from_str(value: &str) -> Result<Self, TitleError> {
        match value.strip_prefix('#').and_then(|number| number.parse().ok()) {
            Some(number) => Ok(Self::Number(ConversationId(number))),
            None => Title::new(value).map(Self::Name),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "#{number}"),
            Self::Name(name) => f.write_str(name.as_str()),
        }
    }
}

impl Target {
    /// The conversation. A user's name comes before a title, so that nobody gets what is meant for another by calling
    /// a group like them.
    pub async fn find(&self, client: &Client) -> anyhow::Result<ConversationId> {
        let name = match self {
            Self::Number(number) => return Ok(*number),
            Self::Name(name) => name,
        };
        if let Ok(username) = Username::new(name.as_str()) {
            match client.call::<ConversationsDirect>(&ConversationsDirectParams { username }).await {
                Ok(conversation) => return Ok(conversation.conversation_id),
                Err(ClientError::Refused(error)) if error.code == ErrorCode::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("no conversation with {name}")),
            }
        }
        let found = by_title(client, name).await?;
        found.with_context(|| format!("no conversation with {name}: there is no such account, and no group of yours"))
    }

    /// The group: a title means nothing else here.
    pub async fn find_group(&self, client: &Client) -> anyhow::Result<ConversationId> {
        match self {
            Self::Number(number) => {
                let params = ConversationsGetParams { conversation_id: *number };
                let found = client.call::<ConversationsGet>(&params).await;
                Ok(found.with_context(|| format!("no group #{number}"))?.conversation_id)
            }
            Self::Name(title) => {
                by_title(client, title).await?.with_context(|| format!("you are in no group called {title}"))
            }
        }
    }
}

/// The only group of that title.
async fn by_title(client: &Client, title: &Title) -> anyhow::Result<Option<ConversationId>> {
    let wanted = title.as_str().to_lowercase();
    let is_meant = |conversation: &Conversation| {
        conversation.group.as_ref().is_some_and(|group| group.title.as_str().to_lowercase() == wanted)
    };
    let (mut found, mut params) = (Vec::new(), ConversationsListParams::default());
    loop {
        let page = client.call::<ConversationsList>(&params).await?;
        found.extend(page.conversations.iter().filter(|one| is_meant(one)).map(|one| one.conversation_id));
        params.after = page.next;
        if params.after.is_none() {
            break;
        }
    }
    if found.len() > 1 {
        let numbers: Vec<String> = found.iter().map(|id| format!("'#{id}'")).collect();
        bail!("{} groups are called {title}: name one of {}", found.len(), numbers.join(", "));
    }
    Ok(found.pop())
}
