//! What expires: the names of sent messages (`sent`), so that the table does not grow for ever.
//!
//! Age is counted in hours of serving, kept in the database, and never by the wall clock: a clock that
//! jumps or is not set, as on a Pi without network, can't make anything expire early. While the box is off
//! nothing ages, so that seven days are always at least seven days.
//!
//! The applier calls it with its checkpoints: nothing that waits for an acknowledgement waits for it, and
//! what is not removed because of a crash is removed later.

use std::time::{Duration, Instant};

use redb::ReadableTable;

use super::tables::Tables;

/// A retry is recognised for this long at least (`PROTOCOL.md` promises it).
const SENT_KEPT_HOURS: u64 = 7 * 24;

/// Names looked at in one checkpoint. Some 24,000 messages fit the log between two, so that the search keeps up
/// with any load.
const LOOKED_AT_MAX: usize = 32 * 1024;

const HOUR_MS: u64 = 3_600_000;

/// How far the search for expired names is; kept in memory, a start begins anew.
pub(super) struct Expiry {
    counted_until: Instant,
    /// The last name that was looked at; `None` between two rounds.
    position: Option<(u64, String)>,
    /// Names of messages up to this record are expired, and gone once the round is through.
    horizon: u64,
}

impl Expiry {
    pub fn new() -> Self {
        Self { counted_until: Instant::now(), position: None, horizon: 0 }
    }

    /// Counts the time and removes some of what has expired.
    pub fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        let elapsed = self.counted_until.elapsed();
        self.counted_until += elapsed;
        count(tables, elapsed)?;
        let horizon = older_than(&tables.meta, &tables.hours, SENT_KEPT_HOURS)?;
        if self.position.is_none() && horizon > self.horizon {
            self.horizon = horizon;
            self.position = Some((0, String::new()));
        }
        if let Some(position) = self.position.take() {
            self.position = sweep(tables, &position, self.horizon, LOOKED_AT_MAX)?;
        }
        Ok(())
    }
}

/// Adds to the time of serving, and notes at the beginning of each hour which record was the last: 140 KB a year, kept
/// for good, because a site may decide later for how long it keeps what was said.
fn count(tables: &mut Tables<'_>, elapsed: Duration) -> Result<(), redb::Error> {
    let before = tables.meta.get("served_ms")?.map_or(0, |served| served.value());
    let served = before.saturating_add(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
    tables.meta.insert("served_ms", served)?;
    let hour = served / HOUR_MS;
    if tables.hours.get(hour)?.is_none() {
        let last = tables.log.last()?.map_or(0, |(gseq, _)| gseq.value());
        tables.hours.insert(hour, last)?;
    }
    Ok(())
}

/// The last record that is older than so many hours of serving, read at any time.
pub(super) fn older_than(
    meta: &impl ReadableTable<&'static str, u64>,
    table: &impl ReadableTable<u64, u64>,
    hours: u64,
) -> Result<u64, redb::Error> {
    let hour = meta.get("served_ms")?.map_or(0, |served| served.value()) / HOUR_MS;
    // What came at the end of an hour is not yet so old as its beginning: one hour more.
    let Some(oldest) = hour.checked_sub(hours + 1) else { return Ok(0) };
    Ok(table.range(..=oldest)?.next_back().transpose()?.map_or(0, |(_, gseq)| gseq.value()))
}

/// Looks at up to `most` names behind `position`; gives where to go on, if not at the end.
fn sweep(
    tables: &mut Tables<'_>,
    position: &(u64, String),
    horizon: u64,
    most: usize,
) -> Result<Option<(u64, String)>, redb::Error> {
    let mut last = None;
    let mut expired = Vec::new();
    for entry in tables.sent.range((position.0, position.1.as_str())..)?.take(most) {
        let (key, value) = entry?;
        let (sender, id) = key.value();
        if value.value().0 <= horizon {
            expired.push((sender, id.to_owned()));
        }
        last = Some((sender, id.to_owned()));
    }
    for (sender, id) in &expired {
        tables.sent.remove((*sender, id.as_str()))?;
    }
    // Where nothing but the position itself is left, the round is through.
    Ok(last.filter(|last| last != position))
}

#[cfg(test)]
mod tests {
    use redb::{Builder, Database, backends::InMemoryBackend};

    use super::*;
    use crate::store::record::Audience;

    fn with_tables<T>(database: &Database, work: impl FnOnce(&mut Tables<'_>) -> Result<T, redb::Error>) -> T {
        let txn = database.begin_write().expect("a transaction");
        let result = work(&mut Tables::open(&txn).expect("tables")).expect("no failure");
        txn.commit().expect("committed");
        result
    }

    #[test]
    fn a_name_is_kept_for_seven_days_of_serving_and_removed_soon_after() {
        let database = Builder::new().create_with_backend(InMemoryBackend::new()).expect("a database");
        let hours = |hours: u64| Duration::from_millis(hours * HOUR_MS);
        let named = |database: &Database| {
            with_tables(database, |tables| {
                let ids = tables.sent.iter()?.map(|entry| Ok(entry?.0.value().1.to_owned()));
                ids.collect::<Result<Vec<_>, redb::Error>>()
            })
        };
        for (gseq, id) in [(1, "first"), (2, "second")] {
            with_tables(&database, |tables| {
                tables.store(gseq, Audience::Site, b"{}")?;
                tables.sent.insert((7, id), (gseq, 0))?;
                count(tables, hours(24))
            });
        }
        // 24 and 0 hours old: the first at most until 168 have passed.
        let expire = |served: u64| {
            with_tables(&database, |tables| {
                count(tables, hours(served))?;
                let horizon = older_than(&tables.meta, &tables.hours, SENT_KEPT_HOURS)?;
                let mut position = Some((0, String::new()));
                while let Some(from) = position {
                    position = sweep(tables, &from, horizon, 1)?;
                }
                Ok(())
            });
            named(&database)
        };
        assert_eq!(expire(SENT_KEPT_HOURS - 24), ["first", "second"]);
        assert_eq!(expire(1), ["second"], "seven days and an hour");
        assert_eq!(expire(23), ["second"]);
        assert_eq!(expire(1), Vec::<String>::new());
    }
}
