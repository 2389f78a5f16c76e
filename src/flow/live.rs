//! Following the log as it grows.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::domain::Offset;
use crate::domain::record::Entry;
use crate::store::Reader;

/// Entries taken at once.
pub(super) const BATCH: usize = 512;

/// Pause before a failed read of the log is repeated.
pub(super) const READ_PAUSE: Duration = Duration::from_secs(1);

/// The next entries of the log, as soon as there are any.
pub(super) async fn next_batch(reader: Reader, from: Offset) -> Vec<Arc<Entry>> {
    loop {
        match reader.read(from, BATCH).await {
            Ok(batch) if batch.is_empty() => reader.changed(from).await,
            Ok(batch) => return batch,
            Err(error) => {
                tracing::error!(%error, from, "the log cannot be read; delivery waits");
                sleep(READ_PAUSE).await;
            }
        }
    }
}
