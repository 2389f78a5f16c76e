//! The tables as they were before one offset, read piece by piece while the writer goes on.
//!
//! The reader goes through the tables in the order of their keys. Before the writer changes a row
//! that was not read yet, it leaves the old one here, so that what is read in the end is the state
//! at one moment.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;

use crate::store::Error;
use crate::store::key::Key;
use crate::store::tables::{Batch, Rows, Tables};

/// Rows that are read at once. The writer waits meanwhile, for well under a millisecond.
const STEP_ROWS: usize = 256;

/// The image that is being read, if one is. The writer holds it while it changes the tables.
#[derive(Debug, Default)]
pub(crate) struct Images(Mutex<Option<Image>>);

#[derive(Debug, Default)]
struct Image {
    /// Keys before this one were read.
    position: Vec<u8>,
    /// Rows that were changed before they were read, as they were.
    before: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Images {
    /// Begins an image of the tables as they are now. What `at` answers is of the same moment.
    pub(crate) fn begin<T>(&self, at: impl FnOnce() -> T) -> T {
        let mut held = self.lock();
        *held = Some(Image::default());
        at()
    }

    /// Forgets the image.
    pub(crate) fn end(&self) {
        *self.lock() = None;
    }

    /// Changes the tables, and what is said of them: `noted` is called once they are changed.
    pub(crate) fn change(
        &self,
        tables: &dyn Tables,
        batch: &Batch,
        noted: impl FnOnce(),
    ) -> Result<(), Error> {
        let mut held = self.lock();
        if let Some(image) = held.as_mut() {
            image.keep(tables, batch)?;
        }
        if !batch.is_empty() {
            tables.apply(batch)?;
        }
        noted();
        Ok(())
    }

    /// The next rows of the image; `None` at its end.
    pub(crate) fn step(&self, tables: &dyn Tables) -> Result<Option<Rows>, Error> {
        let mut held = self.lock();
        let Some(image) = held.as_mut() else { return Ok(None) };
        let (from, end) = (Key(image.position.clone()), Key(vec![u8::MAX]));
        let mut rows = tables.scan(&from, &end, STEP_ROWS, false)?;
        // Up to which key this step tells everything.
        let until = match rows.last() {
            Some((last, _)) if rows.len() == STEP_ROWS => Key(last.clone()).zero(),
            Some(_) | None => end.clone(),
        };
        let behind = image.before.split_off(&until.0);
        let before = std::mem::replace(&mut image.before, behind);
        if !before.is_empty() {
            let mut merged: BTreeMap<Vec<u8>, Vec<u8>> = rows.into_iter().collect();
            for (key, row) in before {
                match row {
                    Some(row) => merged.insert(key, row),
                    None => merged.remove(&key),
                };
            }
            rows = merged.into_iter().collect();
        }
        let is_over = from == end;
        image.position = until.0;
        Ok((!is_over).then_some(rows))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Image>> {
        self.0.lock().expect("no panic while the image is held")
    }
}

impl Image {
    fn keep(&mut self, tables: &dyn Tables, batch: &Batch) -> Result<(), Error> {
        let unread = (Bound::Included(self.position.clone()), Bound::Unbounded);
        for key in batch.range(unread).map(|(key, _)| key) {
            if !self.before.contains_key(key) {
                self.before.insert(key.clone(), tables.get(&Key(key.clone()))?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tables::Memory;

    fn key(number: u32) -> Vec<u8> {
        [&[b'S'][..], &number.to_be_bytes()].concat()
    }

    #[test]
    fn an_image_is_of_one_moment_whatever_changes_meanwhile() {
        let (tables, images) = (Memory::default(), Images::default());
        let row = |number: u32| (key(number), Some(vec![1]));
        tables.apply(&(0..2_000).step_by(2).map(row).collect()).expect("in memory");
        let all = |tables: &Memory| {
            tables.scan(&Key(vec![0]), &Key(vec![u8::MAX]), usize::MAX, false).expect("in memory")
        };
        let expected = all(&tables);
        images.begin(|| ());
        let (mut found, mut turn) = (Rows::new(), 0_u32);
        while let Some(rows) = images.step(&tables).expect("in memory") {
            found.extend(rows);
            turn += 1;
            // Rows everywhere: some removed, some changed, some new, some twice.
            let changes = (0..200).map(|n| n * 10 + turn).map(|n| {
                let row = (n % 3 > 0).then(|| vec![u8::try_from(turn).unwrap_or(0)]);
                (key(n), row)
            });
            images.change(&tables, &changes.collect(), || ()).expect("in memory");
        }
        assert!(turn > 3, "several steps");
        assert_eq!(found, expected);
        assert_ne!(all(&tables), expected);
    }
}
