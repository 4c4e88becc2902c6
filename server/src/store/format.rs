//! What this build writes into a database, and from when on a release before it can no longer read that.
//!
//! A release on trial may have to go: until it is confirmed it writes only what the release before it can read. What takes that
//! away is a [`Raise`]: it runs once the release is confirmed, in one durable transaction with the number that older releases
//! refuse by, so that nothing of it is there without the number.

use redb::{Database, ReadableDatabase, ReadableTable};

use super::StoreError;
use super::tables::{META, Tables};

/// What this build writes once it is confirmed.
pub const SCHEMA: u64 = if cfg!(feature = "next-schema") { 3 } else { 2 };

/// The oldest schema that can make sense of what this build writes while it is on trial.
pub const MIN_READER: u64 = 2;

/// The oldest schema that this build can read; nothing older was released.
pub(super) const SCHEMA_MIN: u64 = 2;

/// A change after which nothing below a schema can read the database.
pub(super) struct Raise {
    /// That schema.
    pub to: u64,
    /// Makes the change.
    pub run: fn(&mut Tables<'_>) -> Result<(), redb::Error>,
}

/// Those of this build, in the order of their schemas.
#[cfg(not(feature = "next-schema"))]
pub(super) const RAISES: &[Raise] = &[];

/// Stands for what a release to come may do; only tests build it.
#[cfg(feature = "next-schema")]
pub(super) const RAISES: &[Raise] = &[Raise { to: SCHEMA, run: mark }];

/// Writes a row that says so.
#[cfg(any(feature = "next-schema", test))]
pub(super) fn mark(tables: &mut Tables<'_>) -> Result<(), redb::Error> {
    let key = super::rows::RowKey::new(super::rows::RowTable::Setting, *b"next-schema");
    tables.rows.insert((key.table, &*key.key), b"{}".as_slice())?;
    Ok(())
}

/// Whether something is left to be done once the release is confirmed.
pub(super) fn has_raises(database: &Database, raises: &[Raise]) -> Result<bool, StoreError> {
    let min_reader = min_reader(database)?;
    Ok(raises.iter().any(|raise| raise.to > min_reader))
}

/// The oldest schema that can read the database when nothing is left to be done.
pub(super) fn needs(database: &Database, raises: &[Raise]) -> Result<u32, StoreError> {
    let needs = raises.iter().map(|raise| raise.to).fold(min_reader(database)?, u64::max);
    Ok(u32::try_from(needs).unwrap_or(u32::MAX))
}

fn min_reader(database: &Database) -> Result<u64, StoreError> {
    let txn = database.begin_read().map_err(StoreError::database)?;
    let meta = txn.open_table(META).map_err(StoreError::database)?;
    Ok(meta.get("min_reader").map_err(StoreError::database)?.map_or(0, |found| found.value()))
}

/// Does what is left to be done, all of it or nothing; durable when this returns. Gives what the database asks of its readers
/// then, if that is another than before.
pub(super) fn raise(database: &Database, raises: &[Raise]) -> Result<Option<u64>, StoreError> {
    if !has_raises(database, raises)? {
        return Ok(None);
    }
    // It waits for the applier's transaction, as that will wait for this one.
    let mut txn = database.begin_write().map_err(StoreError::database)?;
    // As at a checkpoint.
    txn.set_quick_repair(true);
    let to = change(&txn, raises).map_err(StoreError::database)?;
    txn.commit().map_err(StoreError::database)?;
    Ok(Some(to))
}

fn change(txn: &redb::WriteTransaction, raises: &[Raise]) -> Result<u64, redb::Error> {
    let mut tables = Tables::open(txn)?;
    let number = |tables: &Tables<'_>, name| -> Result<u64, redb::Error> {
        Ok(tables.meta.get(name)?.map_or(0, |found| found.value()))
    };
    let mut min_reader = number(&tables, "min_reader")?;
    for raise in raises.iter().filter(|raise| raise.to > min_reader).collect::<Vec<_>>() {
        (raise.run)(&mut tables)?;
        min_reader = raise.to;
    }
    let schema = number(&tables, "schema")?.max(min_reader);
    tables.meta.insert("min_reader", min_reader)?;
    tables.meta.insert("schema", schema)?;
    Ok(min_reader)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use posthouse_protocol::{AccountId, DisplayName, Username};
    use redb::{Builder, TableDefinition};
    use tokio::sync::oneshot::Receiver;

    use super::*;
    use crate::store::rows::{RowKey, RowTable};
    use crate::store::{AccountAdd, AccountRename, FILE_NAME, Store, StoreParts, database, tables};

    /// What a release to come does.
    const NEXT: &[Raise] = &[Raise { to: SCHEMA + 1, run: mark }];

    /// Changes a database that no server has open.
    fn edit<T>(folder: &Path, work: impl FnOnce(&mut Tables<'_>) -> T) -> T {
        let database = Builder::new().open(folder.join(FILE_NAME)).expect("opens");
        let txn = database.begin_write().expect("a transaction");
        let made = work(&mut Tables::open(&txn).expect("tables"));
        txn.commit().expect("committed");
        made
    }

    fn noted(folder: &Path) -> u64 {
        edit(folder, |tables| tables.meta.get("min_reader").expect("read").expect("there").value())
    }

    async fn write_something(store: &Store, name: &str) {
        let add = AccountAdd::by_machine(Username::new(name).expect("a name"), "hash".to_owned());
        store.write(add).await.expect("stored").expect("not refused");
    }

    async fn stop(store: Store, ended: Receiver<Result<(), StoreError>>) {
        store.stop().await;
        drop(store);
        ended.await.expect("told").expect("a clean end");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_release_can_be_gone_back_from_until_it_is_confirmed_and_not_from_then_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let StoreParts { store, ended, .. } = Store::open(folder.path()).expect("opens");
        write_something(&store, "anna").await;
        stop(store, ended).await;
        assert_eq!(noted(folder.path()), MIN_READER, "what was written can be read by the release before");

        let StoreParts { store, ended, .. } = Store::open(folder.path()).expect("opens");
        write_something(&store, "ben").await;
        let database = store.database.clone();
        assert!(has_raises(&database, NEXT).expect("read"));
        assert_eq!(needs(&database, &[]).expect("read"), u32::try_from(MIN_READER).expect("small"));
        assert_eq!(
            needs(&database, NEXT).expect("read"),
            u32::try_from(SCHEMA + 1).expect("small"),
            "it comes to that"
        );
        assert_eq!(raise(&database, NEXT).expect("durable"), Some(SCHEMA + 1));
        assert_eq!(raise(&database, NEXT).expect("nothing to do"), None, "once and for all");
        drop(database);
        // It goes on serving, on what it has changed.
        write_something(&store, "carl").await;
        stop(store, ended).await;
        assert_eq!(noted(folder.path()), SCHEMA + 1);
        let refused = Store::open(folder.path()).map(drop).expect_err("this build is the older one now").to_string();
        assert!(refused.contains("needs a newer posthoused"), "{refused}");
        let found = edit(folder.path(), |tables| {
            let marked = RowKey::new(RowTable::Setting, *b"next-schema");
            let marked = tables.rows.get((marked.table, &*marked.key)).expect("read").is_some();
            (marked, tables.rows.get((RowTable::Username as u8, b"carl".as_slice())).expect("read").is_some())
        });
        assert_eq!(found, (true, true), "nothing is lost");
    }

    #[test]
    fn what_fails_changes_nothing() {
        let database = Builder::new().create_with_backend(redb::backends::InMemoryBackend::new()).expect("a database");
        database::initialise(&database).expect("initialised");
        let fails: fn(&mut Tables<'_>) -> Result<(), redb::Error> = |tables| {
            mark(tables)?;
            Err(redb::Error::Corrupted("the disk is full".to_owned()))
        };
        let raises = [Raise { to: SCHEMA + 1, run: mark }, Raise { to: SCHEMA + 2, run: fails }];
        assert!(raise(&database, &raises).is_err());
        assert!(database::check_versions(&database, Path::new("x")).is_ok(), "the release before can read it");
        let txn = database.begin_read().expect("a snapshot");
        let marked = RowKey::new(RowTable::Setting, *b"next-schema");
        assert_eq!(tables::row(&txn, &marked).expect("read"), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_later_release_wrote_on_trial_survives_the_one_that_was_gone_back_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let StoreParts { store, ended, .. } = Store::open(folder.path()).expect("opens");
        write_something(&store, "anna").await;
        stop(store, ended).await;
        // A later release: a field in a row, another role, a row of a name that nobody knows, a table.
        let key = RowKey::account(AccountId(1));
        edit(folder.path(), |tables| {
            let stored = tables.rows.get((key.table, &*key.key)).expect("read").expect("there").value().to_vec();
            let stored = String::from_utf8(stored).expect("text").replacen("\"owner\"", "\"auditor\"", 1);
            let with_field = stored.replacen('{', "{\"shoe_size\":38,", 1);
            tables.rows.insert((key.table, &*key.key), with_field.as_bytes()).expect("written");
            mark(tables).expect("written");
        });
        let later: TableDefinition<'_, u64, u64> = TableDefinition::new("later");
        let database = Builder::new().open(folder.path().join(FILE_NAME)).expect("opens");
        let txn = database.begin_write().expect("a transaction");
        txn.open_table(later).expect("a table").insert(1, 2).expect("written");
        txn.commit().expect("committed");
        drop(database);

        let StoreParts { store, ended, .. } = Store::open(folder.path()).expect("opens");
        let display_name = Some(DisplayName::new("Anna B.").expect("a name"));
        let rename = AccountRename { account_id: AccountId(1), display_name };
        store.write(rename).await.expect("stored").expect("not refused");
        stop(store, ended).await;
        let row = edit(folder.path(), |tables| {
            tables.rows.get((key.table, &*key.key)).expect("read").expect("there").value().to_vec()
        });
        let row: serde_json::Value = serde_json::from_slice(&row).expect("JSON");
        assert_eq!((&row["shoe_size"], &row["role"]), (&38.into(), &"auditor".into()));
        assert_eq!(row["display_name"], "Anna B.");
        let database = Builder::new().open(folder.path().join(FILE_NAME)).expect("opens");
        let txn = database.begin_read().expect("a snapshot");
        assert_eq!(txn.open_table(later).expect("it is there").get(1).expect("read").expect("there").value(), 2);
    }
}
