//! Reading dead letters and jobs, and when something is due to be forgotten.

use super::Error;
use super::key::{self, Key, Table};
use super::reader::{Reader, dead_letter};
use super::staged;
use super::tables::Tables;
use crate::domain::delivery::DeadLetter;
use crate::domain::job::Job;
use crate::domain::letter::Id;
use crate::domain::{Offset, Timestamp};

/// The oldest of what ends or is forgotten after a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dues {
    /// The next end of a lease.
    pub lease: Option<Timestamp>,
    /// The oldest end of a subscription.
    pub ended: Option<Timestamp>,
    /// The oldest dead letter.
    pub letter: Option<Timestamp>,
    /// The oldest end of a job.
    pub job: Option<Timestamp>,
}

impl Reader {
    /// A dead letter by name.
    pub async fn dead_letter(&self, id: Id) -> Result<Option<DeadLetter>, Error> {
        self.blocking(move |shared| {
            let row = shared.tables.get(&Key::of(Table::Letter).delivery(id))?;
            let place = row.and_then(|row| key::read_letter(&row));
            let Some((at, _)) = place else { return Ok(None) };
            letter_at(&*shared.tables, at, id)
        })
        .await
    }

    /// Dead letters by name, `from <= name < to`, at most `max`, each with the place of its record
    /// in the log.
    pub async fn letters(
        &self,
        from: Id,
        to: Id,
        max: usize,
    ) -> Result<Vec<(DeadLetter, Offset)>, Error> {
        self.blocking(move |shared| {
            let bound = |id| Key::of(Table::Letter).delivery(id);
            let rows = shared.tables.scan(&bound(from), &bound(to), max, false)?;
            let mut found = Vec::with_capacity(rows.len());
            for (key, row) in &rows {
                let (Some(id), Some((at, place))) =
                    (key::trailing_delivery(key), key::read_letter(row))
                else {
                    continue;
                };
                let letter = letter_at(&*shared.tables, at, id)?;
                found.extend(letter.map(|letter| (letter, place)));
            }
            Ok(found)
        })
        .await
    }

    /// How many deliveries of a subscription wait, counted up to `max`.
    pub async fn waiting(&self, subscription: u32, max: usize) -> Result<usize, Error> {
        let prefix = Key::of(Table::Retry).number(subscription);
        self.blocking(move |shared| {
            let rows = shared.tables.scan(&prefix, &prefix.clone().end(), max, false)?;
            Ok(rows.len())
        })
        .await
    }

    /// A job.
    pub async fn job(&self, id: Offset) -> Result<Option<Job>, Error> {
        self.blocking(move |shared| {
            let row = shared.tables.get(&Key::of(Table::Job).offset(id))?;
            row.map(|row| staged::job(&row)).transpose()
        })
        .await
    }

    /// All jobs, oldest first. Their number is bounded.
    pub async fn jobs(&self) -> Result<Vec<Job>, Error> {
        if self.counts().jobs == 0 {
            return Ok(vec![]);
        }
        self.blocking(|shared| jobs(&*shared.tables)).await
    }

    /// What ends or is forgotten next.
    pub async fn next_dues(&self) -> Result<Dues, Error> {
        self.blocking(|shared| {
            let first = |table| {
                let start = Key::of(table);
                let rows = shared.tables.scan(&start, &start.clone().end(), 1, false)?;
                Ok::<_, Error>(rows.first().and_then(|(key, _)| key::leading_time(key)))
            };
            let (lease, ended) = (first(Table::Lease)?, first(Table::Ended)?);
            let letter = first(Table::DeadLetter)?;
            let job = jobs(&*shared.tables)?.iter().filter_map(Job::ended_at).min();
            Ok(Dues { lease, ended, letter, job })
        })
        .await
    }
}

/// A letter may have been taken away since its name was read.
fn letter_at(tables: &dyn Tables, at: Timestamp, id: Id) -> Result<Option<DeadLetter>, Error> {
    let row = tables.get(&Key::of(Table::DeadLetter).time(at).delivery(id))?;
    row.map(|row| dead_letter(&row)).transpose()
}

fn jobs(tables: &dyn Tables) -> Result<Vec<Job>, Error> {
    let start = Key::of(Table::Job);
    let rows = tables.scan(&start, &start.clone().end(), usize::MAX, false)?;
    rows.iter().map(|(_, row)| staged::job(row)).collect()
}
