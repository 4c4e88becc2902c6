//! Entries as bytes of the log: kind, length, content; numbers little-endian.

use bytes::{Buf, BufMut, Bytes};
use posthouse_protocol::{AccountId, ClientMsgId, TimestampMs};

use super::record::{Audience, Entry, Malformed, Place, Record, Rewrite, SentName};
use super::rows::{Row, RowKey};

const RECORD: u8 = 1;
const ROW: u8 = 2;
const REWRITE: u8 = 3;
const ROW_REMOVED: u8 = 4;

/// Flags of a record.
const IS_MESSAGE: u8 = 1;
const HAS_NAME: u8 = 2;

/// Appends an entry to a group's payload.
pub(super) fn encode(entry: &Entry, payload: &mut Vec<u8>) {
    payload.put_u8(match entry {
        Entry::Record(_) => RECORD,
        Entry::Rewrite(_) => REWRITE,
        Entry::Row(_) => ROW,
        Entry::RowRemoved(_) => ROW_REMOVED,
    });
    let length_at = payload.len();
    payload.put_u32_le(0);
    match entry {
        Entry::Record(record) => put_record(payload, record),
        Entry::Rewrite(rewrite) => {
            payload.put_u64_le(rewrite.gseq);
            put_audience(payload, rewrite.audience);
            payload.put_slice(&rewrite.frame);
        }
        Entry::Row(row) => {
            put_key(payload, &row.key);
            payload.put_slice(&row.value);
        }
        Entry::RowRemoved(key) => put_key(payload, key),
    }
    let length = u32::try_from(payload.len() - length_at - 4).expect("a frame of the protocol bounds an entry");
    payload[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
}

fn put_record(payload: &mut Vec<u8>, record: &Record) {
    payload.put_u64_le(record.gseq);
    put_audience(payload, record.audience);
    let named = if record.sent.is_some() { HAS_NAME } else { 0 };
    payload.put_u8(named | if record.place.is_message { IS_MESSAGE } else { 0 });
    for number in [record.place.seq, record.place.counted, record.ts.0] {
        payload.put_u64_le(number);
    }
    if let Some(sent) = &record.sent {
        payload.put_u64_le(sent.sender.0);
        payload.put_u32_le(sent.fingerprint);
        put_bytes(payload, sent.client_msg_id.as_str().as_bytes());
    }
    payload.put_slice(&record.frame);
}

fn put_audience(payload: &mut Vec<u8>, audience: Audience) {
    let (kind, id) = audience.parts();
    payload.put_u8(kind);
    payload.put_u64_le(id);
}

fn put_key(payload: &mut Vec<u8>, key: &RowKey) {
    payload.put_u8(key.table);
    put_bytes(payload, &key.key);
}

fn put_bytes(payload: &mut Vec<u8>, bytes: &[u8]) {
    payload.put_u16_le(u16::try_from(bytes.len()).expect("keys are short"));
    payload.put_slice(bytes);
}

/// Reads the entries of a group.
pub(super) fn decode(payload: Vec<u8>) -> Result<Vec<Entry>, Malformed> {
    let mut rest = Bytes::from(payload);
    let mut entries = Vec::new();
    while rest.has_remaining() {
        let cut = || Malformed("an entry of the log is cut short".to_owned());
        let kind = rest.try_get_u8().map_err(|_| cut())?;
        let length = usize::try_from(rest.try_get_u32_le().map_err(|_| cut())?).map_err(|_| cut())?;
        if length > rest.len() {
            return Err(cut());
        }
        let body = rest.split_to(length);
        let unreadable = || Malformed(format!("the log has an entry (kind {kind}) that this version can't read"));
        entries.push(take_entry(kind, body).ok_or_else(unreadable)?);
    }
    Ok(entries)
}

fn take_entry(kind: u8, mut body: Bytes) -> Option<Entry> {
    Some(match kind {
        RECORD => Entry::Record(take_record(body)?),
        REWRITE => {
            let gseq = body.try_get_u64_le().ok()?;
            let audience = take_audience(&mut body)?;
            Entry::Rewrite(Rewrite { gseq, audience, frame: body })
        }
        ROW => {
            let key = take_key(&mut body)?;
            Entry::Row(Row { key, value: body })
        }
        ROW_REMOVED => {
            let key = take_key(&mut body)?;
            if body.has_remaining() {
                return None;
            }
            Entry::RowRemoved(key)
        }
        _ => return None,
    })
}

fn take_record(mut body: Bytes) -> Option<Record> {
    let gseq = body.try_get_u64_le().ok()?;
    let audience = take_audience(&mut body)?;
    let flags = body.try_get_u8().ok().filter(|flags| flags & !(IS_MESSAGE | HAS_NAME) == 0)?;
    let mut number = || body.try_get_u64_le().ok();
    let (seq, counted, ts) = (number()?, number()?, TimestampMs(number()?));
    let sent = if flags & HAS_NAME > 0 { Some(take_name(&mut body)?) } else { None };
    let place = Place { seq, counted, is_message: flags & IS_MESSAGE > 0 };
    Some(Record { gseq, audience, place, ts, sent, frame: body })
}

fn take_name(body: &mut Bytes) -> Option<SentName> {
    let sender = AccountId(body.try_get_u64_le().ok()?);
    let fingerprint = body.try_get_u32_le().ok()?;
    let id = String::from_utf8(take_bytes(body)?.to_vec()).ok()?;
    Some(SentName { sender, client_msg_id: ClientMsgId::new(id).ok()?, fingerprint })
}

fn take_audience(body: &mut Bytes) -> Option<Audience> {
    Audience::from_parts(body.try_get_u8().ok()?, body.try_get_u64_le().ok()?)
}

fn take_key(body: &mut Bytes) -> Option<RowKey> {
    let table = body.try_get_u8().ok()?;
    Some(RowKey { table, key: take_bytes(body)? })
}

fn take_bytes(body: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(body.try_get_u16_le().ok()?);
    (length <= body.len()).then(|| body.split_to(length))
}

#[cfg(test)]
mod tests {
    use posthouse_protocol::ConversationId;
    use proptest::prelude::*;

    use super::*;

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        let audience = || {
            prop_oneof![
                any::<u64>().prop_map(|id| Audience::Conversation(ConversationId(id))),
                any::<u64>().prop_map(|id| Audience::Account(AccountId(id))),
                Just(Audience::Site),
            ]
        };
        let named = (any::<u64>(), "[a-z0-9-]{1,64}", any::<u32>()).prop_map(|(sender, id, fingerprint)| {
            let client_msg_id = ClientMsgId::new(id).expect("1 to 64 bytes");
            SentName { sender: AccountId(sender), client_msg_id, fingerprint }
        });
        let record = (any::<[u64; 4]>(), any::<bool>(), audience(), proptest::option::of(named), bytes()).prop_map(
            |([gseq, seq, counted, ts], is_message, audience, sent, frame)| {
                let place = Place { seq, counted, is_message };
                Entry::Record(Record { gseq, audience, place, ts: TimestampMs(ts), sent, frame })
            },
        );
        let rewrite = (any::<u64>(), audience(), bytes())
            .prop_map(|(gseq, audience, frame)| Entry::Rewrite(Rewrite { gseq, audience, frame }));
        // Of later versions, too.
        let key = || (any::<u8>(), bytes()).prop_map(|(table, key)| RowKey { table, key });
        let row = (key(), bytes()).prop_map(|(key, value)| Entry::Row(Row { key, value }));
        let removed = key().prop_map(Entry::RowRemoved);
        proptest::collection::vec(prop_oneof![record, rewrite, row, removed], 0..8)
    }

    proptest! {
        #[test]
        fn a_group_comes_back_as_it_was(entries in entries()) {
            let mut payload = Vec::new();
            entries.iter().for_each(|entry| encode(entry, &mut payload));
            prop_assert_eq!(decode(payload).expect("reads"), entries);
        }

        #[test]
        fn bytes_of_any_kind_are_read_or_refused_but_never_trusted(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(payload);
        }
    }

    #[test]
    fn a_group_cut_short_is_refused() {
        let mut payload = Vec::new();
        encode(&Entry::RowRemoved(RowKey::username("anna")), &mut payload);
        for cut in 1..payload.len() {
            assert!(decode(payload[..cut].to_vec()).is_err(), "cut at {cut}");
        }
    }
}
