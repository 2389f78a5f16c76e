//! A group: commands that were decided together, on their way to the disk as one frame.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Semaphore, oneshot};

use super::submit::{Answer, Failure};
use crate::domain::command::{Refusal, Reply};
use crate::domain::record::Entry;
use crate::domain::{Offset, Timestamp};
use crate::store::Error;
use crate::store::log::HEADER;
use crate::store::staged::Totals;
use crate::store::tables::Batch;
use crate::store::window::Print;

/// Most commands of one group.
pub(super) const COMMANDS_MAX: usize = 512;

/// A group of about this size takes no further command.
const BYTES_MAX: usize = 1 << 20;

/// A buffer that grew beyond this for one large group is not kept.
const BUFFER_KEPT_MAX: usize = 4 << 20;

/// What the tail let go of, with its weight. Dropped when there is time.
pub(super) type LetGo = Vec<(usize, Entry)>;

/// Commands that were decided together.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The records' bytes, behind room for the header.
    pub(super) frame: Vec<u8>,
    pub(super) entries: Vec<Entry>,
    pub(super) waiting: Vec<(oneshot::Sender<Answer>, Result<Reply, Refusal>)>,
    /// The commands' share of the queue's room, which is given back with the answers.
    pub(super) share: usize,
    pub(super) at: Timestamp,
    /// Offset after its last record.
    pub(super) next: Offset,
    /// Counts failures: what was decided upon a group that failed fails too.
    pub(super) generation: u64,
    pub(super) totals: Totals,
    /// What its commands wrote, in the parts in which they were decided.
    pub(super) parts: Vec<Arc<Pending>>,
    pub(super) let_go: LetGo,
}

/// What those who decide later must know of commands that are not yet in the tables.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) writes: Arc<Batch>,
    pub(super) prints: Vec<Print>,
    /// It is in the tables now.
    done: AtomicBool,
}

impl Pending {
    pub(super) fn new(writes: Batch, prints: Vec<Print>) -> Self {
        Self { writes: Arc::new(writes), prints, done: AtomicBool::new(false) }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }
}

impl Group {
    /// Makes the group empty for the next one; its buffers are kept.
    pub(super) fn clear(&mut self) {
        self.frame.clear();
        self.frame.shrink_to(BUFFER_KEPT_MAX);
        self.frame.resize(HEADER, 0);
        self.entries.clear();
        self.waiting.clear();
        self.parts.clear();
        self.let_go.clear();
    }

    /// All that its commands wrote.
    pub(super) fn writes(&self) -> Cow<'_, Batch> {
        let mut parts = self.parts.iter().map(|part| &*part.writes).filter(|it| !it.is_empty());
        match (parts.next(), parts.next()) {
            (None, _) => Cow::Owned(Batch::new()),
            (Some(only), None) => Cow::Borrowed(only),
            (Some(_), Some(_)) => {
                let all = self.parts.iter().flat_map(|part| part.writes.iter());
                Cow::Owned(all.map(|(key, row)| (key.clone(), row.clone())).collect())
            }
        }
    }

    /// Its writes are in the tables.
    pub(super) fn set_done(&self) {
        for part in &self.parts {
            part.done.store(true, Ordering::Release);
        }
    }

    /// Whether nobody waits for it.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether it takes no further command.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= COMMANDS_MAX || self.frame.len() >= BYTES_MAX
    }

    /// Tells every waiter what came of its command, and gives their room back.
    pub(super) fn answer(&mut self, room: &Semaphore, outcome: &Result<(), Error>) {
        room.add_permits(std::mem::take(&mut self.share));
        for (answer, decided) in self.waiting.drain(..) {
            let told = match outcome {
                Ok(()) => decided.map_err(Failure::Refused),
                Err(error) => Err(Failure::Store(error.clone())),
            };
            // A waiter that is gone does not need the answer.
            let _ = answer.send(told);
        }
    }
}
