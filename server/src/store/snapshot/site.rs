//! What is set for the whole site.

use super::Snapshot;
use crate::store::StoreError;
use crate::store::record::decode_json;
use crate::store::rows::{RetentionRow, RowKey};
use crate::store::tables::row;

impl Snapshot {
    /// For how many days of serving the site keeps what was said; `None`: for ever.
    pub fn retention_days(&self) -> Result<Option<u32>, StoreError> {
        let Some(found) = row(&self.txn, &RowKey::retention())? else { return Ok(None) };
        let found: RetentionRow = decode_json("the retention", &found)?;
        Ok(found.days)
    }
}
