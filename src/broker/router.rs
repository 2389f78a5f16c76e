//! The router: follows the log and puts each event into the mailboxes of the connections whose
//! filters match it. It keeps filters and nothing else; the log is its memory.
//!
//! Never here: a wait for a client, a copy of an event.

use std::cmp::{self, Reverse};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use crate::domain::Offset;
use crate::domain::event::Event;
use crate::domain::gap::{Missing, missing};
use crate::domain::record::Entry;
use crate::domain::topic::TopicFilter;
use crate::domain::trie::Trie;
use crate::store::{self, Reader, Stretch};
use crate::telemetry::Metrics;

use super::mailbox::Mailbox;

/// Records taken from the log at once.
const BATCH: usize = 128;

/// Shared by all connections.
#[derive(Debug)]
pub(super) struct Router {
    reader: Reader,
    metrics: Arc<Metrics>,
    /// Guards the filters: written by SUBSCRIBE and UNSUBSCRIBE, read once per event.
    trie: RwLock<Trie<Filing>>,
    position: AtomicU64,
}

/// What was agreed for one filter of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) qos: u8,
    pub(super) no_local: bool,
    /// Events before this offset were stored before the subscription was made.
    pub(super) since: Offset,
}

/// A connection filed under one of its filters.
#[derive(Debug)]
struct Filing {
    mailbox: Arc<Mailbox>,
    terms: Terms,
}

/// A connection has a filter once, so the connection is all that tells filings of a filter apart.
impl PartialEq for Filing {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.mailbox, &other.mailbox)
    }
}

impl Eq for Filing {}

impl PartialOrd for Filing {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Filing {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        Arc::as_ptr(&self.mailbox).cmp(&Arc::as_ptr(&other.mailbox))
    }
}

impl Terms {
    /// Whether an event is for the connection of a client with this identity.
    pub(super) fn admit(&self, offset: Offset, event: &Event, own: &str) -> bool {
        let local = || event.message.as_ref().is_some_and(|message| message.publisher == own);
        offset >= self.since && !(self.no_local && local())
    }
}

impl Router {
    pub(super) fn new(reader: Reader, metrics: Arc<Metrics>) -> Self {
        let position = AtomicU64::new(reader.next_offset());
        Self { reader, metrics, trie: RwLock::default(), position }
    }

    /// Files a connection under a filter; terms it had there (`held`) are replaced, but what it had
    /// a right to receive stays its right.
    ///
    /// The offset is read under the lock. An event at or after it becomes durable, and so is looked
    /// up, only after the filing can be seen; an event before it is kept out by `since`. So the
    /// subscription misses nothing from here on and gets nothing from before.
    pub(super) fn subscribe(
        &self,
        filter: &TopicFilter,
        mailbox: &Arc<Mailbox>,
        wanted: Terms,
        held: Option<Terms>,
    ) -> Terms {
        let mut trie = self.write();
        let since = held.map_or_else(|| self.reader.next_offset(), |held| held.since);
        let terms = Terms { since, ..wanted };
        let filing = Filing { mailbox: Arc::clone(mailbox), terms };
        if held.is_some() {
            trie.remove(filter, &filing);
        }
        trie.insert(filter, filing);
        terms
    }

    /// Takes a connection out from under filters.
    pub(super) fn unsubscribe<'a>(
        &self,
        filters: impl IntoIterator<Item = (&'a TopicFilter, Terms)>,
        mailbox: &Arc<Mailbox>,
    ) {
        let mut trie = self.write();
        for (filter, terms) in filters {
            trie.remove(filter, &Filing { mailbox: Arc::clone(mailbox), terms });
        }
    }

    /// All records before this offset are in the mailboxes, or are about to be put there.
    pub(super) fn position(&self) -> Offset {
        self.position.load(Ordering::Acquire)
    }

    /// Follows the log for as long as it can be read.
    pub(super) async fn run(&self) -> Result<(), store::Error> {
        let mut cursor = self.position();
        let mut touched = Vec::new();
        loop {
            let Stretch { entries: batch, to } = self.reader.read_on(cursor, BATCH).await?;
            if to == cursor {
                self.reader.changed(cursor).await;
                continue;
            }
            self.tell_missing(&missing(cursor, &batch, to));
            cursor = to;
            // Told before the first push: see `outbound` for what hangs on this order.
            self.position.store(cursor, Ordering::Release);
            for entry in &batch {
                self.fan_out(entry, &mut touched);
            }
            // Each connection is woken once for the whole batch.
            touched.drain(..).for_each(|mailbox: Arc<Mailbox>| mailbox.wake());
            tokio::task::yield_now().await;
        }
    }

    /// What the log no longer has reaches nobody: it is told, not skipped in silence.
    fn tell_missing(&self, gaps: &[Missing]) {
        for Missing { from, to } in gaps {
            tracing::warn!(from, to, "the log no longer has what was to be sent to MQTT clients");
        }
        self.metrics.broker_gap_offsets.inc_by(gaps.iter().map(|gap| gap.count()).sum());
    }

    fn fan_out(&self, entry: &Entry, touched: &mut Vec<Arc<Mailbox>>) {
        let Some(event) = entry.event() else { return };
        let trie = self.trie.read().unwrap_or_else(PoisonError::into_inner);
        // Gathered first: an owner that is quick must not see the event before its highest QoS.
        let mut hits: Vec<(&Arc<Mailbox>, u8)> = Vec::new();
        trie.matches(event.topic.as_str(), &mut |Filing { mailbox, terms }| {
            if terms.admit(entry.offset, event, &mailbox.identity) {
                hits.push((mailbox, terms.qos));
            }
        });
        hits.sort_unstable_by_key(|(mailbox, qos)| (Arc::as_ptr(mailbox), Reverse(*qos)));
        hits.dedup_by_key(|(mailbox, _)| Arc::as_ptr(mailbox));
        for (mailbox, qos) in hits {
            if mailbox.push(entry, qos) {
                touched.push(Arc::clone(mailbox));
            }
        }
    }

    fn write(&self) -> RwLockWriteGuard<'_, Trie<Filing>> {
        self.trie.write().unwrap_or_else(PoisonError::into_inner)
    }
}
