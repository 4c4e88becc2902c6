//! What is set for the whole site.

use posthouse_protocol::admin::Retention;
use posthouse_protocol::{ErrorBody, limits};

use super::{Router, invalid};
use crate::store::{Committed, RetentionSet, Snapshot};

impl Router {
    /// For how long the site keeps what was said.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn retention(&self) -> Result<Retention, ErrorBody> {
        Ok(Retention { days: self.inner.read(Snapshot::retention_days).await? })
    }

    /// Sets that.
    ///
    /// # Errors
    /// `invalid_params` for days out of bounds.
    pub async fn set_retention(&self, retention: Retention) -> Result<Committed<Retention>, ErrorBody> {
        let bounds = limits::RETENTION_DAYS_MIN..=limits::RETENTION_DAYS_MAX;
        if retention.days.is_some_and(|days| !bounds.contains(&days)) {
            return Err(invalid(format!("days: {} to {}", bounds.start(), bounds.end())));
        }
        let set = self.inner.write(RetentionSet { days: retention.days }).await?;
        Ok(set.map(|()| retention))
    }
}
