//! What is set for the whole site.

use super::{Decision, Group, Write};
use crate::store::record::decode_json;
use crate::store::rows::{RetentionRow, Row, RowKey};

/// Sets for how many days of serving the site keeps what was said; `None`: for ever.
pub struct RetentionSet {
    /// See [`posthouse_protocol::limits::RETENTION_DAYS_MIN`].
    pub days: Option<u32>,
}

impl Write for RetentionSet {
    type Output = ();

    fn decide(self, group: &mut Group<'_>) -> Decision<()> {
        let key = RowKey::retention();
        let stored = group.overlay.row(&key)?;
        let mut row: RetentionRow = match &stored {
            Some(stored) => decode_json("the retention", stored)?,
            None => RetentionRow::default(),
        };
        row.days = self.days;
        group.put(Row::json(key, &row));
        Ok(Ok(()))
    }
}
