//! What the writer reads: the database, and over it what is in the log and not yet in the database.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState as QuickState;
use posthouse_protocol::{AccountId, ClientMsgId};
use redb::{Database, ReadOnlyTable, ReadableDatabase};

use super::StoreError;
use super::expiry;
use super::highest::{Highest, beginning};
use super::record::{Audience, Entry, Malformed, SentName};
use super::rows::RowKey;
use super::tables::{HOURS, LOG, META, ROWS, SENT, split_stored};

/// See the module. The writer tells it of every entry ([`Overlay::add`]) and of how far the database has come.
pub(super) struct Overlay {
    database: Arc<Database>,
    /// The frame of the log that is being made.
    number: u64,
    reader: Option<Reader>,
    sent: Recent<(AccountId, ClientMsgId), (u64, u32)>,
    highest: Highest,
    records: Recent<u64, (Audience, Bytes), QuickState>,
    /// `None` stands for a row that was removed.
    rows: Recent<RowKey, Option<Bytes>>,
}

/// One state of the database.
struct Reader {
    sent: ReadOnlyTable<(u64, &'static str), (u64, u32)>,
    log: ReadOnlyTable<u64, &'static [u8]>,
    rows: ReadOnlyTable<(u8, &'static [u8]), &'static [u8]>,
}

impl Overlay {
    pub fn new(database: Arc<Database>) -> Self {
        let (sent, records, rows) = (Recent::default(), Recent::default(), Recent::default());
        Self { database, number: 0, reader: None, sent, highest: Highest::default(), records, rows }
    }

    /// A group begins, which will be frame `number`; the database has everything up to frame `applied`.
    pub fn begin(&mut self, number: u64, applied: u64) {
        self.number = number;
        self.reader = None;
        self.sent.forget(applied);
        self.records.forget(applied);
        self.rows.forget(applied);
    }

    /// The group ends: the database's pages are held no longer.
    pub fn end(&mut self) {
        self.reader = None;
    }

    /// Remembers an entry until the database has it.
    pub fn add(&mut self, entry: &Entry) {
        match entry {
            Entry::Record(record) => {
                if let Some(SentName { sender, client_msg_id, fingerprint }) = &record.sent {
                    self.highest.add(*sender, client_msg_id);
                    self.sent.put(self.number, (*sender, client_msg_id.clone()), (record.gseq, *fingerprint));
                }
                self.records.put(self.number, record.gseq, (record.audience, record.frame.clone()));
            }
            Entry::Rewrite(rewrite) => {
                self.records.put(self.number, rewrite.gseq, (rewrite.audience, rewrite.frame.clone()));
            }
            Entry::Row(row) => self.rows.put(self.number, row.key.clone(), Some(row.value.clone())),
            Entry::RowRemoved(key) => self.rows.put(self.number, key.clone(), None),
        }
    }

    /// The record that was stored under that name, and the fingerprint of what it said.
    pub fn sent(&mut self, sender: AccountId, id: &ClientMsgId) -> Result<Option<(u64, u32)>, StoreError> {
        let (reader, database) = (&mut self.reader, &self.database);
        if self.highest.is_passed(sender, id, || open(reader, database)?.highest(sender))? {
            return Ok(None);
        }
        let key = (sender, id.clone());
        if let Some(found) = self.sent.find(&key) {
            return Ok(Some(*found));
        }
        let stored = self.reader()?.sent.get((sender.0, id.as_str())).map_err(StoreError::database)?;
        Ok(stored.map(|stored| stored.value()))
    }

    /// A record as it reads now.
    pub fn record(&mut self, gseq: u64) -> Result<Option<(Audience, Bytes)>, StoreError> {
        if let Some(found) = self.records.find(&gseq) {
            return Ok(Some(found.clone()));
        }
        let Some(stored) = self.reader()?.log.get(gseq).map_err(StoreError::database)? else { return Ok(None) };
        let split = split_stored(stored.value()).map(|(audience, frame)| (audience, Bytes::copy_from_slice(frame)));
        let malformed = || Malformed(format!("record {gseq} has no audience"));
        Ok(Some(split.ok_or_else(malformed)?))
    }

    /// A row as it is now.
    pub fn row(&mut self, key: &RowKey) -> Result<Option<Bytes>, StoreError> {
        if let Some(found) = self.rows.find(key) {
            return Ok(found.clone());
        }
        let stored = self.reader()?.rows.get((key.table, &*key.key)).map_err(StoreError::database)?;
        Ok(stored.map(|stored| Bytes::copy_from_slice(stored.value())))
    }

    /// The last record that is older than this many hours of serving.
    pub fn served_horizon(&self, hours: u64) -> Result<u64, StoreError> {
        let txn = self.database.begin_read().map_err(StoreError::database)?;
        let table = txn.open_table(HOURS).map_err(StoreError::database)?;
        let meta = txn.open_table(META).map_err(StoreError::database)?;
        expiry::older_than(&meta, &table, hours).map_err(StoreError::database)
    }

    fn reader(&mut self) -> Result<&Reader, StoreError> {
        open(&mut self.reader, &self.database)
    }
}

fn open<'a>(reader: &'a mut Option<Reader>, database: &Database) -> Result<&'a Reader, StoreError> {
    if reader.is_none() {
        let txn = database.begin_read().map_err(StoreError::database)?;
        *reader = Some(Reader {
            sent: txn.open_table(SENT).map_err(StoreError::database)?,
            log: txn.open_table(LOG).map_err(StoreError::database)?,
            rows: txn.open_table(ROWS).map_err(StoreError::database)?,
        });
    }
    Ok(reader.as_ref().expect("it was opened above"))
}

impl Reader {
    /// The sender's highest name, by its beginning; 0 where there is none.
    fn highest(&self, sender: AccountId) -> Result<u128, StoreError> {
        let mut names = self.sent.range((sender.0, "")..(sender.0 + 1, "")).map_err(StoreError::database)?;
        let last = names.next_back().transpose().map_err(StoreError::database)?;
        Ok(last.map_or(0, |(name, _)| beginning(name.value().1)))
    }
}

/// Values by key, at least until the frame that they came with is in the database. They are forgotten together: one after the
/// other would cost as much as keeping them.
struct Recent<K, V, S = RandomState> {
    applied: u64,
    /// The newest comes first.
    parts: VecDeque<Part<K, V, S>>,
}

/// What came until its first frame was in the database: as much as the log holds, at most.
struct Part<K, V, S> {
    first: u64,
    last: u64,
    values: HashMap<K, V, S>,
}

impl<K, V, S> Default for Recent<K, V, S> {
    fn default() -> Self {
        Self { applied: 0, parts: VecDeque::new() }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher + Default> Recent<K, V, S> {
    fn put(&mut self, number: u64, key: K, value: V) {
        match self.parts.front_mut() {
            Some(part) if part.first > self.applied => {
                part.last = number;
                part.values.insert(key, value);
            }
            before => {
                let len = before.map_or(0, |part| part.values.len());
                let mut values = HashMap::with_capacity_and_hasher(len, S::default());
                values.insert(key, value);
                self.parts.push_front(Part { first: number, last: number, values });
            }
        }
    }

    fn find(&self, key: &K) -> Option<&V> {
        self.parts.iter().find_map(|part| part.values.get(key))
    }

    fn forget(&mut self, applied: u64) {
        self.applied = applied;
        while self.parts.pop_back_if(|part| part.last <= applied).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use posthouse_protocol::{ConversationId, TimestampMs};
    use proptest::prelude::*;
    use redb::Builder;
    use redb::backends::InMemoryBackend;

    use super::super::apply::{Batch, apply};
    use super::super::database::initialise;
    use super::super::record::{Place, Record};
    use super::super::tables::Tables;
    use super::*;

    /// What happens once a name was used.
    #[derive(Clone, Copy, Debug)]
    enum Then {
        Nothing,
        Applied,
        Restarted,
    }

    fn message(gseq: u64, sender: AccountId, client_msg_id: &ClientMsgId) -> Entry {
        Entry::Record(Record {
            gseq,
            audience: Audience::Conversation(ConversationId(1)),
            place: Place { seq: gseq, counted: gseq, is_message: true },
            ts: TimestampMs(0),
            sent: Some(SentName { sender, client_msg_id: client_msg_id.clone(), fingerprint: 0 }),
            frame: Bytes::new(),
        })
    }

    fn bring_in(database: &Database, last_number: u64, entries: Vec<Entry>) {
        let txn = database.begin_write().expect("a transaction");
        apply(&mut Tables::open(&txn).expect("tables"), &Batch { last_number, entries }).expect("applied");
        txn.commit().expect("committed");
    }

    fn uses() -> impl Strategy<Value = Vec<(u64, String, Then)>> {
        // Some differ only behind what names are compared by.
        let name = prop_oneof!["[ab]{1,3}", "[ab]{1,3}".prop_map(|end| format!("0123456789abcdef{end}"))];
        let then = prop_oneof![6 => Just(Then::Nothing), 2 => Just(Then::Applied), 1 => Just(Then::Restarted)];
        proptest::collection::vec((1..3_u64, name, then), 0..60)
    }

    proptest! {
        #[test]
        fn a_name_is_found_where_its_sender_has_used_it_and_nowhere_else(uses in uses()) {
            let database = Arc::new(Builder::new().create_with_backend(InMemoryBackend::new()).expect("a database"));
            initialise(&database).expect("initialised");
            let mut overlay = Overlay::new(Arc::clone(&database));
            let (mut used, mut pending, mut applied) = (HashMap::new(), Vec::new(), 0);
            for (number, (sender, name, then)) in (1..).zip(uses) {
                let (sender, id) = (AccountId(sender), ClientMsgId::new(name).expect("a name"));
                overlay.begin(number, applied);
                let expected = used.get(&(sender, id.clone())).map(|gseq| (*gseq, 0));
                prop_assert_eq!(overlay.sent(sender, &id).expect("reads"), expected);
                if expected.is_none() {
                    let entry = message(number, sender, &id);
                    overlay.add(&entry);
                    pending.push(entry);
                    used.insert((sender, id), number);
                }
                overlay.end();
                if !matches!(then, Then::Nothing) {
                    bring_in(&database, number, std::mem::take(&mut pending));
                    applied = number;
                }
                if matches!(then, Then::Restarted) {
                    overlay = Overlay::new(Arc::clone(&database));
                }
            }
        }
    }

    #[test]
    fn a_value_is_kept_until_the_frame_that_changed_it_last_is_applied() {
        let mut recent: Recent<_, _> = Recent::default();
        recent.put(1, "key", "old");
        recent.put(2, "other", "value");
        recent.put(3, "key", "new");
        recent.forget(2);
        assert_eq!(recent.find(&"key"), Some(&"new"));
        recent.forget(3);
        assert_eq!((recent.find(&"key"), recent.find(&"other")), (None, None));
        assert!(recent.parts.is_empty());
    }

    #[test]
    fn what_is_applied_is_forgotten_also_where_there_is_always_something_that_is_not() {
        let mut recent: Recent<_, _> = Recent::default();
        for number in 1..1000_u64 {
            recent.forget(number.saturating_sub(3));
            recent.put(number, number, "value");
            let kept: usize = recent.parts.iter().map(|part| part.values.len()).sum();
            assert!(kept <= 8, "{kept} at {number}");
            assert!((number.saturating_sub(2).max(1)..=number).all(|number| recent.find(&number).is_some()));
        }
    }
}
