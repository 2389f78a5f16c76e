//! Where delivery goes on after a start: read from the tables once, before anything is written.

use std::collections::HashMap;
use std::thread;

use super::Error;
use super::key::{self, Key, Table};
use super::reader::{Shared, retry};
use super::staged;
use super::tables::Rows;
use crate::domain::Offset;
use crate::domain::delivery::Retry;
use crate::domain::gap::Gap;
use crate::domain::replay::Replay;
use crate::domain::subscription::Subscription;

/// Fewer rows than this are not worth another thread.
const ROWS_PER_THREAD_MIN: usize = 1_024;

/// Most threads that read rows.
const THREADS_MAX: usize = 4;

/// Where delivery goes on after a start.
#[derive(Debug)]
pub struct Resume {
    /// The state below is that before this offset.
    pub as_of: Offset,
    /// Every event before this offset was matched.
    pub matched: Offset,
    /// Cursors of lanes that lag.
    pub cursors: HashMap<u32, Offset>,
    /// Every subscription.
    pub subscriptions: Vec<Subscription>,
    /// Every delivery that waits.
    pub retries: Vec<Retry>,
    /// Replays under way.
    pub replays: Vec<Replay>,
    /// What subscriptions passed over.
    pub gaps: HashMap<u32, Gap>,
}

impl Resume {
    pub(super) fn read(shared: &Shared) -> Result<Self, Error> {
        let all = |table| {
            let start = Key::of(table);
            shared.tables.scan(&start, &start.clone().end(), usize::MAX, false)
        };
        let matched = shared.tables.get(&key::meta(key::MATCHED))?;
        let cursor = |(key, row): &(Vec<u8>, Vec<u8>)| {
            Some((key::trailing_number(key)?, key::read_number(row)?))
        };
        let gap = |(key, row): &(Vec<u8>, Vec<u8>)| {
            Some((key::trailing_number(key)?, key::read_gap(row)?))
        };
        let replay =
            |(key, row): &(Vec<u8>, Vec<u8>)| key::read_replay(key::trailing_number(key)?, row);
        let retries = all(Table::Retry)?;
        Ok(Self {
            as_of: shared.tail.next(),
            matched: matched.and_then(|row| key::read_number(&row)).unwrap_or(0),
            cursors: all(Table::Cursor)?.iter().filter_map(cursor).collect(),
            subscriptions: subscriptions(&all(Table::Subscription)?)?,
            retries: retries.iter().map(|(_, row)| retry(row)).collect::<Result<_, _>>()?,
            replays: all(Table::Replay)?.iter().filter_map(replay).collect(),
            gaps: all(Table::Gap)?.iter().filter_map(gap).collect(),
        })
    }
}

/// Reads rows on all cores: most of it is parsing filters and addresses.
fn subscriptions(rows: &Rows) -> Result<Vec<Subscription>, Error> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let share = rows.len().div_ceil(threads).max(ROWS_PER_THREAD_MIN);
    let read = |rows: &[(Vec<u8>, Vec<u8>)]| -> Result<Vec<Subscription>, Error> {
        rows.iter().map(|(_, row)| staged::subscription(row)).collect()
    };
    let (own, others) = rows.split_at(share.min(rows.len()));
    thread::scope(|scope| {
        let parts: Vec<_> =
            others.chunks(share).map(|rows| scope.spawn(move || read(rows))).collect();
        let mut subscriptions = read(own)?;
        for part in parts {
            let panicked = |_| Error::Fatal("reading subscriptions panicked".to_owned());
            subscriptions.extend(part.join().map_err(panicked)??);
        }
        Ok(subscriptions)
    })
}
