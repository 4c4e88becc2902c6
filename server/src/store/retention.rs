//! What a site keeps no longer: records that are older than its administrator wants, bodies and all.
//!
//! Age is counted in hours of serving ([`super::expiry`]), so that no jump of the clock erases anything. Records go in
//! their order, up to a floor: a client that stood before it is told to begin anew. The applier calls it with its
//! checkpoints, and nothing that waits for an acknowledgement waits for it.

use std::collections::BTreeMap;

use posthouse_protocol::{Message, limits};
use redb::ReadableTable;

use super::record::{Audience, Malformed, decode_json, known_message};
use super::rows::{RetentionRow, RowKey, pair_key};
use super::tables::{Tables, split_stored};
use super::{authority, expiry};

/// Records erased in one checkpoint, and their bytes. Most boxes have fewer in five minutes, so that it keeps up; a
/// site that begins to erase is through with a million in a few hours.
pub(super) const ERASED_MAX: usize = 16 * 1024;
const ERASED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How far erasing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Erased {
    /// The last record that is no longer kept.
    pub floor: u64,
    /// Whether there is more that is too old.
    pub has_more: bool,
}

/// Erases some of what is too old.
pub(super) fn run(tables: &mut Tables<'_>) -> Result<Erased, redb::Error> {
    let floor = floor(tables)?;
    let Some(days) = days(tables)? else { return Ok(Erased { floor, has_more: false }) };
    let horizon = expiry::older_than(&tables.meta, &tables.hours, u64::from(days) * 24)?;
    if horizon <= floor {
        return Ok(Erased { floor, has_more: false });
    }
    let (mut old, mut bytes) = (Vec::new(), 0);
    for entry in tables.log.range(floor + 1..=horizon)?.take(ERASED_MAX) {
        let (gseq, stored) = entry?;
        bytes += stored.value().len();
        old.push((gseq.value(), stored.value().to_vec()));
        if bytes >= ERASED_BYTES_MAX {
            break;
        }
    }
    let mut heads = BTreeMap::new();
    for (gseq, stored) in &old {
        erase(tables, *gseq, stored, &mut heads)?;
    }
    for (conversation_id, (seq, counted)) in heads {
        let key = RowKey::erased(conversation_id);
        tables.rows.insert((key.table, &*key.key), pair_key(seq, counted).as_slice())?;
    }
    let floor = old.last().map_or(horizon, |(gseq, _)| *gseq);
    tables.meta.insert("floor", floor)?;
    Ok(Erased { floor, has_more: floor < horizon })
}

/// The last record that is no longer kept.
pub(super) fn floor(tables: &Tables<'_>) -> Result<u64, redb::Error> {
    Ok(tables.meta.get("floor")?.map_or(0, |floor| floor.value()))
}

fn days(tables: &Tables<'_>) -> Result<Option<u32>, redb::Error> {
    let key = RowKey::retention();
    let Some(stored) = tables.rows.get((key.table, &*key.key))? else { return Ok(None) };
    let row: RetentionRow = decode_json("the retention", stored.value()).map_err(corrupted)?;
    Ok(row.days)
}

type Heads = BTreeMap<posthouse_protocol::ConversationId, (u64, u64)>;

/// Erases a record with all that hangs on it, and notes where its conversation stood then.
fn erase(tables: &mut Tables<'_>, gseq: u64, stored: &[u8], heads: &mut Heads) -> Result<(), redb::Error> {
    let malformed = || redb::Error::Corrupted(format!("record {gseq} is cut short"));
    let (audience, frame) = split_stored(stored).ok_or_else(malformed)?;
    let (kind, id) = audience.parts();
    let place = tables.audience.remove((kind, id, gseq))?.map(|place| place.value());
    if let (Audience::Conversation(conversation_id), Some((seq, counted, _))) = (audience, place) {
        heads.insert(conversation_id, (seq, counted));
    }
    if let Some(message) = known_message(frame).map_err(corrupted)? {
        forget(tables, &message)?;
    }
    tables.log.remove(gseq)?;
    Ok(())
}

/// What is stored of a message beside its record.
fn forget(tables: &mut Tables<'_>, message: &Message) -> Result<(), redb::Error> {
    let versions = if message.edited_ts.is_some() { limits::EDITS_MAX } else { 0 };
    let versions = (1..=versions).map(|version| RowKey::version(message.message_id, version));
    let reactions = message.reactions.iter().map(|one| RowKey::reaction(message.message_id, &one.emoji));
    let mentioned = message.mentions.iter().flat_map(authority::mentioned);
    let mentions = mentioned.map(|account| RowKey::mention(message.conversation_id, account, message.seq));
    for key in versions.chain(reactions).chain(mentions) {
        tables.rows.remove((key.table, &*key.key))?;
    }
    if let Some(name) = &message.client_msg_id {
        let name = (message.sender.account_id.0, name.as_str());
        // After its seven days the name may have been given to another message.
        let stands_for = tables.sent.get(name)?.map(|sent| sent.value().0);
        if stands_for == Some(message.message_id.0) {
            tables.sent.remove(name)?;
        }
    }
    Ok(())
}

fn corrupted(malformed: Malformed) -> redb::Error {
    redb::Error::Corrupted(malformed.0)
}
