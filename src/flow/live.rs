//! Following the log as it grows.

use std::time::Duration;

use tokio::time::sleep;

use crate::domain::Offset;
use crate::store::{Reader, Stretch};

/// Entries taken at once.
pub(super) const BATCH: usize = 512;

/// Pause before a failed read of the log is repeated.
pub(super) const READ_PAUSE: Duration = Duration::from_secs(1);

/// The log's next stretch, as soon as there is one.
pub(super) async fn next_batch(reader: Reader, from: Offset) -> Stretch {
    loop {
        match reader.read_on(from, BATCH).await {
            Ok(stretch) if stretch.to == from => reader.changed(from).await,
            Ok(stretch) => return stretch,
            Err(error) => {
                tracing::error!(%error, from, "the log cannot be read; delivery waits");
                sleep(READ_PAUSE).await;
            }
        }
    }
}
