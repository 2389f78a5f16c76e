//! The state as it will be once the group under way is on disk: the tables, over them what groups
//! before it wrote that are on their way to the disk, and over these what its own earlier commands
//! wrote. Thrown away whole if the group cannot be written.

use std::sync::Arc;

use super::Error;
use super::codec;
use super::key::{self, COUNTED, Key, Table};
use super::tables::{Batch, Rows, Tables};
use super::window::{Print, Window};
use crate::domain::command::{Refusal, View};
use crate::domain::gap::Gap;
use crate::domain::job::Job;
use crate::domain::record::{Record, Token};
use crate::domain::replay::Replay;
use crate::domain::subscription::Subscription;
use crate::domain::{Offset, Timestamp, letter};

/// Most due or owned subscriptions that one command ends.
const DUE_MAX: usize = 256;

/// Most jobs that are looked at; far above what there may be.
const JOBS_SCAN_MAX: usize = 1 << 16;

/// Row counts of the counted tables, and what else is small enough to be kept at hand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) rows: [u64; COUNTED.len()],
    pub(crate) next_number: u32,
}

/// The tables with a group's writes over them.
pub(crate) struct Staged<'a> {
    tables: &'a dyn Tables,
    /// Writes of earlier groups that the tables may not have yet, oldest first.
    under: Vec<Arc<Batch>>,
    window: &'a mut Window,
    prints: Vec<Print>,
    writes: Batch,
    totals: Totals,
    next: Offset,
    newest: Timestamp,
}

/// What a group leaves behind once it is on disk.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) writes: Batch,
    pub(crate) totals: Totals,
    /// What stands for its events in the window, to be taken out if it cannot be written.
    pub(crate) prints: Vec<Print>,
}

impl<'a> Staged<'a> {
    pub(crate) fn new(
        tables: &'a dyn Tables,
        window: &'a mut Window,
        totals: Totals,
        next: Offset,
        newest: Timestamp,
    ) -> Self {
        let (under, prints, writes) = (Vec::new(), Vec::new(), Batch::new());
        Self { tables, under, window, prints, writes, totals, next, newest }
    }

    /// Puts writes of earlier groups under this one's, oldest first.
    pub(crate) fn over(self, under: Vec<Arc<Batch>>) -> Self {
        Self { under, ..self }
    }

    /// Counts a record in: it has the next offset.
    pub(crate) fn advance(&mut self, record: &Record, at: Timestamp) {
        if let Record::Event(event) = record {
            self.prints.extend(self.window.insert(&event.source, &event.id, self.next));
        }
        self.next += 1;
        self.newest = at;
    }

    /// The group's writes, row counts among them.
    pub(crate) fn finish(mut self) -> Outcome {
        if !self.writes.is_empty() {
            for (table, rows) in COUNTED.iter().zip(self.totals.rows) {
                self.writes.insert(key::rows(*table).0, Some(key::number_row(rows)));
            }
            let next_number = u64::from(self.totals.next_number);
            self.writes.insert(key::meta(key::NEXT_NUMBER).0, Some(key::number_row(next_number)));
        }
        Outcome { writes: self.writes, totals: self.totals, prints: self.prints }
    }

    /// One row.
    pub(crate) fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Error> {
        let layers = std::iter::once(&self.writes).chain(self.under.iter().rev().map(|it| &**it));
        match layers.into_iter().find_map(|layer| layer.get(&key.0)) {
            Some(row) => Ok(row.clone()),
            None => self.tables.get(key),
        }
    }

    /// Writes a row.
    pub(crate) fn put(&mut self, table: Table, key: Key, row: Vec<u8>) -> Result<(), Error> {
        if let Some(slot) = counter(table)
            && self.get(&key)?.is_none()
        {
            self.totals.rows[slot] += 1;
        }
        self.writes.insert(key.0, Some(row));
        Ok(())
    }

    /// Removes a row.
    pub(crate) fn remove(&mut self, table: Table, key: Key) -> Result<(), Error> {
        if let Some(slot) = counter(table)
            && self.get(&key)?.is_some()
        {
            self.totals.rows[slot] -= 1;
        }
        self.writes.insert(key.0, None);
        Ok(())
    }

    /// Rows whose keys begin with a prefix, at most `max`.
    pub(crate) fn scan(&self, from: Key, to: &Key, max: usize) -> Result<Rows, Error> {
        let range = from.0.clone()..to.0.clone();
        let layers = self.under.iter().map(|it| &**it).chain(std::iter::once(&self.writes));
        let over: Vec<_> = layers.flat_map(|layer| layer.range(range.clone())).collect();
        let held = self.tables.scan(&from, to, max + over.len(), false)?;
        let mut merged: std::collections::BTreeMap<Vec<u8>, Vec<u8>> = held.into_iter().collect();
        for (key, row) in over {
            match row {
                Some(row) => merged.insert(key.clone(), row.clone()),
                None => merged.remove(key),
            };
        }
        Ok(merged.into_iter().take(max).collect())
    }

    /// Takes note of a number that is given.
    pub(crate) fn use_number(&mut self, number: u32) {
        self.totals.next_number = self.totals.next_number.max(number.saturating_add(1));
    }

    /// A subscription by number.
    pub(crate) fn by_number(&self, number: u32) -> Result<Option<Subscription>, Error> {
        let Some(id) = self.get(&Key::of(Table::Number).number(number))? else { return Ok(None) };
        let key = Key(std::iter::once(Table::Subscription.byte()).chain(id).collect());
        self.get(&key)?.map(|row| subscription(&row)).transpose()
    }

    /// The replay of a subscription that is under way.
    pub(crate) fn replay_of(&self, number: u32) -> Result<Option<Replay>, Error> {
        let row = self.get(&Key::of(Table::Replay).number(number))?;
        Ok(row.and_then(|row| key::read_replay(number, &row)))
    }

    /// Once it was told that a lease is expiring, the index has its end.
    pub(crate) fn is_expiry_told(&self, held: &Subscription) -> Result<bool, Error> {
        let Some(lease) = held.lease else { return Ok(false) };
        let key = Key::of(Table::Lease).time(lease.expires_at).number(held.number);
        Ok(self.get(&key)?.is_some())
    }

    fn numbered_in(&self, rows: Rows) -> Result<Vec<Subscription>, Error> {
        let mut found = Vec::with_capacity(rows.len());
        for number in rows.iter().filter_map(|(key, _)| key::trailing_number(key)) {
            found.extend(self.by_number(number)?);
        }
        Ok(found)
    }
}

impl View for Staged<'_> {
    fn subscription(&self, id: &str) -> Result<Option<Subscription>, Refusal> {
        let row = self.get(&Key::of(Table::Subscription).text(id)).map_err(unreadable)?;
        row.map(|row| subscription(&row)).transpose().map_err(unreadable)
    }

    fn numbered(&self, number: u32) -> Result<Option<Subscription>, Refusal> {
        self.by_number(number).map_err(unreadable)
    }

    fn gap(&self, number: u32) -> Result<Option<Gap>, Refusal> {
        let row = self.get(&Key::of(Table::Gap).number(number)).map_err(unreadable)?;
        Ok(row.and_then(|row| key::read_gap(&row)))
    }

    fn replay(&self, number: u32) -> Result<Option<Replay>, Refusal> {
        self.replay_of(number).map_err(unreadable)
    }

    fn subscription_count(&self) -> usize {
        let slot = counter(Table::Subscription).expect("subscriptions are counted");
        usize::try_from(self.totals.rows[slot]).unwrap_or(usize::MAX)
    }

    fn owned_by(&self, token: &str) -> Result<Vec<Subscription>, Refusal> {
        let prefix = Key::of(Table::Owner).text(token).zero();
        let rows = self.scan(prefix.clone(), &prefix.end(), DUE_MAX).map_err(unreadable)?;
        self.numbered_in(rows).map_err(unreadable)
    }

    fn due(&self, now: Timestamp, ended_before: Timestamp) -> Result<Vec<Subscription>, Refusal> {
        let until = |table, time| {
            let to = Key::of(table).time(time).end();
            self.scan(Key::of(table), &to, DUE_MAX).map_err(unreadable)
        };
        let mut rows = until(Table::Lease, now)?;
        rows.extend(until(Table::Ended, ended_before)?);
        self.numbered_in(rows).map_err(unreadable)
    }

    fn letter(&self, id: letter::Id) -> Result<Option<Offset>, Refusal> {
        let row = self.get(&Key::of(Table::Letter).delivery(id)).map_err(unreadable)?;
        Ok(row.and_then(|row| key::read_letter(&row)).map(|(_, place)| place))
    }

    fn letter_count(&self) -> u64 {
        self.totals.rows[counter(Table::DeadLetter).expect("dead letters are counted")]
    }

    fn oldest_letters(&self, max: usize) -> Result<Vec<(letter::Id, Timestamp)>, Refusal> {
        let start = Key::of(Table::DeadLetter);
        let rows = self.scan(start.clone(), &start.end(), max).map_err(unreadable)?;
        let read = |(key, _): &(Vec<u8>, Vec<u8>)| {
            Some((key::trailing_delivery(key)?, key::leading_time(key)?))
        };
        Ok(rows.iter().filter_map(read).collect())
    }

    fn is_redriven(&self, id: letter::Id) -> Result<bool, Refusal> {
        let row = self.get(&Key::of(Table::Redriven).delivery(id)).map_err(unreadable)?;
        Ok(row.is_some())
    }

    fn job(&self, id: Offset) -> Result<Option<Job>, Refusal> {
        let row = self.get(&Key::of(Table::Job).offset(id)).map_err(unreadable)?;
        row.map(|row| job(&row)).transpose().map_err(unreadable)
    }

    fn jobs(&self) -> Result<Vec<Job>, Refusal> {
        let start = Key::of(Table::Job);
        let rows = self.scan(start.clone(), &start.end(), JOBS_SCAN_MAX).map_err(unreadable)?;
        rows.iter().map(|(_, row)| job(row)).collect::<Result<_, _>>().map_err(unreadable)
    }

    fn expiry_told(&self, held: &Subscription) -> Result<bool, Refusal> {
        self.is_expiry_told(held).map_err(unreadable)
    }

    fn has_token(&self, id: &str) -> Result<bool, Refusal> {
        let row = self.get(&Key::of(Table::Token).text(id)).map_err(unreadable)?;
        Ok(row.is_some())
    }

    fn seen(&self, source: &str, id: &str) -> Option<Offset> {
        self.window.find(source, id)
    }

    fn next_number(&self) -> u32 {
        self.totals.next_number
    }

    fn next_offset(&self) -> Offset {
        self.next
    }

    fn newest(&self) -> Timestamp {
        self.newest
    }
}

/// Reads a subscription's row.
pub(crate) fn subscription(row: &[u8]) -> Result<Subscription, Error> {
    match codec::from_bytes(row) {
        Ok(Record::Subscription(subscription)) => Ok(Arc::unwrap_or_clone(subscription)),
        Ok(_) => Err(Error::Tables("a row is of another kind".to_owned())),
        Err(error) => Err(Error::Tables(error.to_string())),
    }
}

/// Reads a token's row.
pub(crate) fn token(row: &[u8]) -> Result<Token, Error> {
    match codec::from_bytes(row) {
        Ok(Record::Token(token)) => Ok(Arc::unwrap_or_clone(token)),
        Ok(_) => Err(Error::Tables("a row is of another kind".to_owned())),
        Err(error) => Err(Error::Tables(error.to_string())),
    }
}

/// Reads a job's row.
pub(crate) fn job(row: &[u8]) -> Result<Job, Error> {
    match codec::from_bytes(row) {
        Ok(Record::Job(job)) => Ok(Arc::unwrap_or_clone(job)),
        Ok(_) => Err(Error::Tables("a row is of another kind".to_owned())),
        Err(error) => Err(Error::Tables(error.to_string())),
    }
}

/// The slot of a counted table in `Totals::rows`.
pub(crate) fn counter(table: Table) -> Option<usize> {
    COUNTED.iter().position(|counted| *counted == table)
}

fn unreadable(error: Error) -> Refusal {
    Refusal::Unreadable(error.to_string())
}
