//! Reading: the log from any offset, and the tables. Never waits for the writer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};

use super::Error;
use super::backup::{Manifest, write_backup};
use super::codec;
use super::floor::Floor;
use super::hold::holds;
use super::key::{Key, Table};
use super::log::{Segments, Spares};
use super::resume::Resume;
use super::retention::Pin;
use super::snapshot::{self, Images};
use super::staged::{self, Totals, counter};
use super::status::{Disk, Snapshot, StoreStatus};
use super::tables::Tables;
use super::tail::Tail;
use crate::domain::delivery::{DeadLetter, Retry};
use crate::domain::record::{Entry, Record, Token};
use crate::domain::subscription::Subscription;
use crate::domain::{Offset, Timestamp};

/// What readers and the writer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) tables: Box<dyn Tables>,
    pub(crate) segments: Segments,
    pub(crate) tail: Tail,
    /// All tokens, for checks that must not wait. Guards memory only.
    pub(crate) tokens: RwLock<HashMap<String, Arc<Token>>>,
    /// As of the last group. Guards memory only.
    pub(crate) totals: Mutex<Totals>,
    /// The image that a snapshot is made of.
    pub(crate) images: Images,
    pub(crate) spares: Arc<Spares>,
    /// The snapshots that there are, newest first. Guards memory only.
    pub(crate) snapshots: Mutex<Vec<snapshot::Snapshot>>,
    pub(crate) floor: Arc<Floor>,
}

impl Shared {
    /// Who needs the log from where.
    pub(crate) fn pins(&self) -> Result<Vec<Pin>, Error> {
        holds(&*self.tables)
    }
}

/// Reads the store. Clones share it.
#[derive(Debug, Clone)]
pub struct Reader(pub(crate) Arc<Shared>);

/// Where a page of dead letters goes on: time, subscription's number, event's offset.
pub type DeadLetterKey = (Timestamp, u32, Offset);

/// How many there are of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Subscriptions, ended ones included.
    pub subscriptions: u64,
    /// Deliveries waiting for a retry.
    pub retries: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Jobs, ended ones included.
    pub jobs: u64,
    /// Tokens.
    pub tokens: u64,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
}

/// What a read of the log gave.
#[derive(Debug)]
pub struct Stretch {
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// All before it was looked for: what no entry stands for is not in the log any more.
    pub to: Offset,
}

impl Reader {
    /// One past the newest record that is on disk.
    pub fn next_offset(&self) -> Offset {
        self.0.tail.next()
    }

    /// When the newest record was written, as far as that is in memory.
    pub fn newest(&self) -> Option<Timestamp> {
        self.0.tail.last().map(|entry| entry.at)
    }

    /// The oldest record that there is.
    pub fn oldest_offset(&self) -> Offset {
        self.0.segments.oldest()
    }

    /// Entries from `from` on, at most `max`, from memory or disk. Empty only at the end of the
    /// log, or for `max` zero. Below the oldest record it begins with that.
    pub async fn read(&self, from: Offset, max: usize) -> Result<Vec<Entry>, Error> {
        if let Some(entries) = self.0.tail.read(from, max) {
            return Ok(entries);
        }
        self.blocking(move |shared| shared.segments.read(from, max)).await
    }

    /// As `read`, and how far that reached: offsets that are gone are passed over, be it in front
    /// of the entries, between them, or up to the end of the log.
    pub async fn read_on(&self, from: Offset, max: usize) -> Result<Stretch, Error> {
        // Asked first: what is written meanwhile was not looked for.
        let next = self.next_offset();
        let entries = self.read(from, max).await?;
        let to = entries.last().map_or(next.max(from), |last| last.offset + 1);
        Ok(Stretch { entries, to })
    }

    /// Waits until the log reaches past an offset. Safe to drop half-way.
    pub async fn changed(&self, from: Offset) {
        let mut next = self.0.tail.watch();
        // The sender lives in `Shared`, which `self` holds: waiting cannot fail.
        let _ = next.wait_for(|next| *next > from).await;
    }

    /// Offset of the first record written at or after a time; the end of the log if there is none.
    pub async fn offset_at(&self, time: Timestamp) -> Result<Offset, Error> {
        let next = self.next_offset();
        let found = self.blocking(move |shared| shared.segments.offset_at(time)).await?;
        Ok(found.unwrap_or(next))
    }

    /// A subscription by id.
    pub async fn subscription(&self, id: &str) -> Result<Option<Subscription>, Error> {
        let key = Key::of(Table::Subscription).text(id);
        self.blocking(move |shared| {
            let row = shared.tables.get(&key)?;
            row.map(|row| staged::subscription(&row)).transpose()
        })
        .await
    }

    /// Subscriptions in the order of their ids, after one of them, at most `max`.
    pub async fn subscriptions(
        &self,
        after: Option<String>,
        max: usize,
    ) -> Result<Vec<Subscription>, Error> {
        self.blocking(move |shared| {
            let start = Key::of(Table::Subscription);
            let from = match &after {
                Some(id) => start.clone().text(id).zero(),
                None => start.clone(),
            };
            let rows = shared.tables.scan(&from, &start.end(), max, false)?;
            rows.iter().map(|(_, row)| staged::subscription(row)).collect()
        })
        .await
    }

    /// Dead letters, newest first, before one of them, at most `max`.
    pub async fn dead_letters(
        &self,
        before: Option<DeadLetterKey>,
        max: usize,
    ) -> Result<Vec<DeadLetter>, Error> {
        self.blocking(move |shared| {
            let start = Key::of(Table::DeadLetter);
            let to = match before {
                Some((at, number, offset)) => start.clone().time(at).number(number).offset(offset),
                None => start.clone().end(),
            };
            let rows = shared.tables.scan(&start, &to, max, true)?;
            rows.iter().map(|(_, row)| dead_letter(row)).collect()
        })
        .await
    }

    /// Deliveries of one subscription that wait, at most `max`.
    pub async fn retries(&self, subscription: u32, max: usize) -> Result<Vec<Retry>, Error> {
        let prefix = Key::of(Table::Retry).number(subscription);
        self.blocking(move |shared| {
            let rows = shared.tables.scan(&prefix, &prefix.clone().end(), max, false)?;
            rows.iter().map(|(_, row)| retry(row)).collect()
        })
        .await
    }

    /// The delivery of one event to one subscription, if it waits.
    pub async fn retry(&self, subscription: u32, offset: Offset) -> Result<Option<Retry>, Error> {
        let key = Key::of(Table::Retry).number(subscription).offset(offset);
        self.blocking(move |shared| shared.tables.get(&key)?.map(|row| retry(&row)).transpose())
            .await
    }

    /// Where delivery goes on. Asked once, before anything is written.
    pub async fn resume(&self) -> Result<Resume, Error> {
        self.blocking(Resume::read).await
    }

    /// Writes a backup of everything before the offset that the log has reached now; the hub goes
    /// on meanwhile.
    pub async fn backup(
        &self,
        out: impl std::io::Write + Send + 'static,
    ) -> Result<Manifest, Error> {
        self.blocking(move |shared| write_backup(shared, out)).await
    }

    /// A token by id, from memory.
    pub fn token(&self, id: &str) -> Option<Arc<Token>> {
        self.tokens_held().get(id).cloned()
    }

    /// All tokens in the order of their ids.
    pub fn tokens(&self) -> Vec<Arc<Token>> {
        let mut tokens: Vec<Arc<Token>> = self.tokens_held().values().cloned().collect();
        tokens.sort_by(|one, other| one.id.cmp(&other.id));
        tokens
    }

    /// How the log stands on its disk.
    pub fn store_status(&self) -> StoreStatus {
        let shared = &self.0;
        let snapshots = shared.snapshots.lock().expect("no panic while they are held");
        let shown = |held: &snapshot::Snapshot| Snapshot {
            as_of: held.as_of,
            bytes: held.bytes,
            at: Timestamp::from_millisecond(held.at).unwrap_or(Timestamp::UNIX_EPOCH),
        };
        StoreStatus {
            oldest_offset: self.oldest_offset(),
            next_offset: self.next_offset(),
            bytes: shared.segments.bytes(),
            segments: shared.segments.count() as u64,
            snapshots: snapshots.iter().rev().map(shown).collect(),
            damage: shared.segments.damage(),
            disk: Disk {
                free_bytes: shared.floor.free(),
                floor_bytes: shared.floor.bytes(),
                refusing: shared.floor.is_refusing(),
            },
        }
    }

    /// How many there are of what.
    pub fn counts(&self) -> Counts {
        let totals = self.0.totals.lock().expect("no panic while totals are held");
        let rows = |table| counter(table).map_or(0, |slot| totals.rows[slot]);
        Counts {
            subscriptions: rows(Table::Subscription),
            retries: rows(Table::Retry),
            dead_letters: rows(Table::DeadLetter),
            jobs: rows(Table::Job),
            tokens: rows(Table::Token),
            log_bytes: self.0.segments.bytes(),
        }
    }

    fn tokens_held(&self) -> std::sync::RwLockReadGuard<'_, HashMap<String, Arc<Token>>> {
        self.0.tokens.read().expect("no panic while tokens are held")
    }

    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let shared = self.0.clone();
        match tokio::task::spawn_blocking(move || call(&shared)).await {
            Ok(result) => result,
            Err(error) if error.is_cancelled() => Err(Error::Closed),
            Err(error) => Err(Error::Fatal(error.to_string())),
        }
    }
}

pub(crate) fn retry(row: &[u8]) -> Result<Retry, Error> {
    match codec::from_bytes(row) {
        Ok(Record::Retry(retry)) => Ok(Arc::unwrap_or_clone(retry)),
        other => Err(Error::Tables(format!("a retry's row reads as {other:?}"))),
    }
}

pub(super) fn dead_letter(row: &[u8]) -> Result<DeadLetter, Error> {
    match codec::from_bytes(row) {
        Ok(Record::DeadLetter(letter)) => Ok(Arc::unwrap_or_clone(letter)),
        other => Err(Error::Tables(format!("a dead letter's row reads as {other:?}"))),
    }
}
