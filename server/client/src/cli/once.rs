//! Calls that make something, and make it once however often it takes to ask: their parameters name it by a `client_msg_id`.

use std::time::Duration;

use anyhow::{Context, bail};
use posthouse_client::{Client, ClientError, Inbox, Item, Link, Login, Start, Transport};
use posthouse_protocol::Method;

use super::chat::logged_out;

/// For how long a call that was cut off is repeated: a server that restarts is back by then, and a person still sits there.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is said of what a call did not make.
pub struct Words {
    /// When the server refused.
    pub refused: &'static str,
    /// When its answer did not come: it may be made.
    pub unknown: &'static str,
}

/// Calls on the connection that there is, and where that ends before the answer, on others.
pub async fn call<M: Method>(
    transport: Transport,
    client: &Client,
    params: &M::Params,
    words: &Words,
) -> anyhow::Result<M::Result> {
    match client.call::<M>(params).await {
        Err(ClientError::Disconnected(_)) => {
            again::<M>(transport, &Login::load()?, params).await.context(words.unknown)
        }
        result @ Err(ClientError::Answer(_)) => result.context(words.unknown),
        result => result.context(words.refused),
    }
}

async fn again<M: Method>(transport: Transport, login: &Login, params: &M::Params) -> anyhow::Result<M::Result> {
    let (link, inbox) = Link::start_by(transport, login.server.clone(), login.token.clone(), Start::Now);
    let mut trouble = None;
    let answer = async {
        tokio::select! {
            answer = link.call_until_answered::<M>(params) => Ok(answer?),
            () = followed(inbox, &mut trouble) => bail!(logged_out(login)),
        }
    };
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => match trouble {
            Some(trouble) => bail!("no answer within {} s: {trouble}", PATIENCE.as_secs()),
            None => bail!("no answer within {} s", PATIENCE.as_secs()),
        },
    }
}

/// Takes what comes until the device is logged out, and keeps why there was no connection last.
async fn followed(mut inbox: Inbox, trouble: &mut Option<ClientError>) {
    loop {
        match inbox.next().await {
            Some(Item::Offline { error, .. }) => *trouble = Some(error),
            Some(Item::LoggedOut) | None => return,
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use posthouse_client::new_client_msg_id;
    use posthouse_protocol::{ConversationId, Send, SendParams, Token, Username};
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stays_silent_is_not_waited_for_for_ever() {
        // The system accepts for it, and it says nothing.
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server = format!("http://{}", silent.local_addr().expect("an address")).parse().expect("an address");
        let login =
            Login { server, username: Username::new("anna").expect("a user name"), token: Token("0".repeat(64)) };
        let params = SendParams::text(ConversationId(1), new_client_msg_id(), "hello");
        for transport in [Transport::WebSocket, Transport::EventStream] {
            let began = Instant::now();
            let call = again::<Send>(transport, &login, &params);
            let ended = tokio::time::timeout(10 * PATIENCE, call).await.expect("it does not hang");
            let why = ended.expect_err("nobody answers").to_string();
            assert!(why.starts_with("no answer within 30 s: cannot reach http://127.0.0.1:"), "{why}");
            assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
        }
    }
}
