//! The way out of one connection: from its mailbox, or from the log when it fell behind, to PUBLISH
//! packets. Nothing is dropped for being slow: a slow socket fills the output, the mailbox turns
//! behind, and the log keeps the rest.
//!
//! Back to live without loss and without a double: (1) the mailbox takes items again, (2) the
//! router's position P is read, (3) the log is read on to P, (4) from then the mailbox is the
//! source and what it holds below the cursor is skipped. No loss: the router tells its position
//! before it pushes a batch, so a batch whose pushes met a mailbox still behind lies below P and
//! is read from the log; every later batch finds the mailbox live. A mailbox that overflows says
//! which event was the first that it let go of, and the log is read from there. No double: all that
//! was read from the log is below the cursor, the mailbox's items are compared with it, and it
//! never goes back.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::BytesMut;

use crate::domain::Offset;
use crate::domain::gap::missing;
use crate::domain::record::Entry;
use crate::store::{self, Reader, Stretch};
use crate::telemetry::Metrics;

use super::encode;
use super::handshake::Client;
use super::io::OUTPUT_MAX;
use super::mailbox::{Item, Mailbox, Taken};
use super::render::{qos, render};
use super::router::Router;
use super::subscriptions::Subscriptions;

/// Items moved out of the mailbox at once.
const TAKE: usize = 32;

/// Most records read from the log at once.
const BATCH: usize = 64;

/// Bytes of events that wait here to be written, however slow the client; one event may exceed it.
const READY_MAX: usize = OUTPUT_MAX;

type Reading = Pin<Box<dyn Future<Output = Batch> + Send>>;

/// What a read of the log gave.
pub(super) type Batch = Result<Stretch, store::Error>;

/// What one connection is about to send.
pub(super) struct Outbound {
    mailbox: Arc<Mailbox>,
    router: Arc<Router>,
    reader: Reader,
    ready: VecDeque<Item>,
    /// All before it was considered.
    cursor: Offset,
    source: Source,
    /// Records to read from the log at once: fewer where the events are large.
    batch: usize,
    reading: Option<Reading>,
    window: Window,
}

/// Where the next events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Mailbox,
    /// The log; up to an offset once the mailbox is live again.
    Log {
        until: Option<Offset>,
    },
}

/// Packet identifiers that the client has not acknowledged.
#[derive(Debug)]
struct Window {
    open: VecDeque<u16>,
    last: u16,
    size: usize,
}

impl Outbound {
    pub(super) fn new(
        mailbox: Arc<Mailbox>,
        router: Arc<Router>,
        reader: Reader,
        window: u16,
    ) -> Self {
        Self {
            mailbox,
            router,
            reader,
            ready: VecDeque::new(),
            cursor: 0,
            source: Source::Mailbox,
            batch: BATCH,
            reading: None,
            window: Window { open: VecDeque::new(), last: 0, size: usize::from(window) },
        }
    }

    /// The client has a message. Identifiers that are not open are ignored.
    pub(super) fn acknowledged(&mut self, id: u16) {
        self.window.close(id);
    }

    /// Writes what may be written now. `true`: there is more, but the output is full.
    pub(super) fn fill(&mut self, out: &mut BytesMut, client: &Client, metrics: &Metrics) -> bool {
        loop {
            if out.len() >= OUTPUT_MAX {
                return true;
            }
            let Some(item) = self.next() else { return false };
            let Some(event) = item.entry.event() else { continue };
            if !client.caller.grants.may_receive(event.topic.as_str()) {
                continue;
            }
            let qos = qos(event).min(item.qos);
            let id = if qos == 0 { Some(0) } else { self.window.open() };
            let Some(id) = id else {
                self.ready.push_front(item);
                return false;
            };
            let rendered = render(event, client.version);
            if encode::publish(out, &rendered, client.version, qos, id, client.packet_max) {
                metrics.broker_messages_out.inc();
            } else {
                self.window.close(id);
                metrics.broker_messages_dropped.inc();
            }
        }
    }

    /// Whether `read` has something to do: the connection is behind and has sent what it had.
    pub(super) fn wants_log(&self) -> bool {
        self.source != Source::Mailbox && self.ready.is_empty()
    }

    /// Reads on in the log. Safe to drop: the read goes on at the next call.
    pub(super) async fn read(&mut self) -> Batch {
        let (reader, cursor, count) = (&self.reader, self.cursor, self.batch);
        let reading = self.reading.get_or_insert_with(|| {
            let reader = reader.clone();
            Box::pin(async move { reader.read_on(cursor, count).await })
        });
        let batch = reading.await;
        self.reading = None;
        batch
    }

    /// Takes over what was read. Tells of how many offsets the log no longer has the records.
    pub(super) fn resume(&mut self, stretch: Stretch, filters: &Subscriptions) -> u64 {
        let Stretch { entries, to } = stretch;
        let read = entries.len();
        let gaps = missing(self.cursor, &entries, to);
        let used = self.keep(entries, filters);
        if used == read {
            self.cursor = self.cursor.max(to);
        }
        let before = gaps.iter().filter(|missing| missing.to <= self.cursor);
        let gap = before.map(|missing| missing.count()).sum();
        let at_the_tail = used == read && read < self.batch;
        self.batch = if used < read { used } else { (2 * self.batch).min(BATCH) };
        let Source::Log { until } = self.source else { return gap };
        let until = until.or_else(|| at_the_tail.then(|| self.go_live()));
        self.source = match until {
            Some(position) if self.cursor >= position => Source::Mailbox,
            until => Source::Log { until },
        };
        gap
    }

    /// Keeps the events that the client asked for, until they are enough. Tells how many records
    /// were considered.
    fn keep(&mut self, batch: Vec<Entry>, filters: &Subscriptions) -> usize {
        let (mut used, mut bytes) = (0, 0);
        for entry in batch {
            if bytes >= READY_MAX {
                break;
            }
            used += 1;
            self.cursor = entry.offset + 1;
            let granted = entry.event().and_then(|event| filters.granted(entry.offset, event));
            if let Some(qos) = granted {
                bytes += entry.weight();
                self.ready.push_back(Item { entry, qos });
            }
        }
        used
    }

    fn go_live(&self) -> Offset {
        self.mailbox.go_live();
        self.router.position()
    }

    fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            if self.source != Source::Mailbox {
                return None;
            }
            match self.mailbox.take(TAKE, READY_MAX, &mut self.ready) {
                Taken::Nothing => return None,
                Taken::Behind(oldest) => {
                    self.cursor = self.cursor.max(oldest);
                    self.source = Source::Log { until: None };
                }
                Taken::Some => {
                    let cursor = self.cursor;
                    self.ready.retain(|item| item.entry.offset >= cursor);
                    if let Some(last) = self.ready.back() {
                        self.cursor = last.entry.offset + 1;
                    }
                }
            }
        }
    }
}

impl Window {
    /// A free identifier, if the client takes one more message.
    fn open(&mut self) -> Option<u16> {
        if self.open.len() >= self.size {
            return None;
        }
        loop {
            self.last = self.last.checked_add(1).unwrap_or(1);
            if !self.open.contains(&self.last) {
                self.open.push_back(self.last);
                return Some(self.last);
            }
        }
    }

    fn close(&mut self, id: u16) {
        if let Some(at) = self.open.iter().position(|open| *open == id) {
            self.open.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::domain::record::{Progress, Record};
    use crate::domain::samples::at;

    #[test]
    fn a_window_hands_out_each_identifier_once_and_no_more_than_its_size() {
        let mut window = Window { open: VecDeque::new(), last: u16::MAX - 1, size: 3 };
        assert_eq!((window.open(), window.open(), window.open()), (Some(65_535), Some(1), Some(2)));
        assert_eq!(window.open(), None);
        window.close(7);
        assert_eq!(window.open(), None);
        window.close(1);
        window.last = u16::MAX - 1;
        assert_eq!(window.open(), Some(1), "65535 is still open");
    }

    #[tokio::test]
    async fn offsets_that_the_log_no_longer_has_are_counted_wherever_they_were() {
        let dir = tempfile::tempdir().expect("directory");
        let sources = config::Sources { data_dir: Some(dir.path().into()), ..Default::default() };
        let config = config::load(&sources).expect("reference").config;
        let metrics = Arc::new(Metrics::default());
        let reader = store::open(&config, metrics.clone()).expect("opens").0.reader;
        let router = Arc::new(Router::new(reader.clone(), metrics));
        let mailbox = Arc::new(Mailbox::new("".into(), 2));
        let filters = Subscriptions::new(router.clone(), mailbox.clone(), 1);
        let mut outbound = Outbound::new(mailbox, router, reader, 1);
        (outbound.cursor, outbound.source) = (3, Source::Log { until: Some(40) });
        let entry = |offset| {
            let record = Record::Progress(Arc::new(Progress::default()));
            Entry { offset, at: at(0), record }
        };
        let mut resume = |offsets: &[Offset], to| {
            let entries = offsets.iter().copied().map(entry).collect();
            let gap = outbound.resume(Stretch { entries, to }, &filters);
            (gap, outbound.cursor)
        };
        assert_eq!(resume(&[5, 6, 9], 10), (4, 10));
        assert_eq!(resume(&[10, 11], 12), (0, 12));
        assert_eq!(resume(&[], 40), (28, 40));
    }
}
