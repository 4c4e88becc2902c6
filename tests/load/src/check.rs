//! What every load ends with: the server is killed and started again, and must have exactly what it
//! acknowledged, once and in order.

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use posthouse_protocol::{ConversationId, History, HistoryParams, Seq, limits};

use crate::dialect::{Person, number_of};
use crate::line::Line;
use crate::process::Process;
use crate::site::Site;

/// Conversations that are read at once.
const READERS: usize = 16;

/// What a load sent into one conversation.
pub struct Sent {
    /// A member.
    pub reader: Person,
    /// Where to.
    pub conversation: u64,
    /// Messages that were in it before.
    pub before: u64,
    /// The numbers of the messages that were acknowledged, in their order.
    pub numbers: Vec<u64>,
}

/// Kills the server, starts it again and reads everything back.
///
/// # Errors
/// Where something is missing, doubled or out of order.
pub async fn kill_and_read_back(server: Process, site: &Site, cores: &str, sent: &[Sent]) -> anyhow::Result<()> {
    server.kill()?;
    let server = Process::server(&site.data_dir(), cores).context("after it was killed")?;
    let checks = stream::iter(sent).map(|sent| read_back(&server, sent)).buffer_unordered(READERS);
    checks.try_collect::<Vec<()>>().await?;
    server.stop()
}

async fn read_back(server: &Process, sent: &Sent) -> anyhow::Result<()> {
    let mut line = Line::open(server.address(), server.dialect(), &sent.reader).await?;
    let mut left = sent.numbers.as_slice();
    let mut before: Option<Seq> = None;
    loop {
        let conversation_id = ConversationId(sent.conversation);
        // One more than was sent, so that one too many is seen.
        let limit = u32::try_from(left.len() + 1)?.min(limits::HISTORY_LIMIT_MAX);
        let params = HistoryParams { before, limit: Some(limit), ..HistoryParams::newest(conversation_id) };
        let page = line.call::<History>(&params).await?;
        for message in page.messages.iter().rev() {
            let (conversation, seq) = (sent.conversation, message.seq.0);
            let Some((expected, rest)) = left.split_last() else {
                ensure!(seq == sent.before, "conversation {conversation} has more than was sent: seq {seq}");
                return Ok(());
            };
            let found = number_of(message)?;
            ensure!(found == *expected, "conversation {conversation} has {found} where {expected} was acknowledged");
            let due = sent.before + u64::try_from(left.len())?;
            ensure!(seq == due, "conversation {conversation}: message {found} has seq {seq}, not {due}");
            left = rest;
        }
        let first = page.messages.first().map(|message| message.seq);
        if first.is_none() || !page.has_more {
            ensure!(left.is_empty(), "conversation {} lost {} messages", sent.conversation, left.len());
            ensure!(sent.before == 0, "conversation {} lost what it had before", sent.conversation);
            return Ok(());
        }
        before = first;
    }
}
