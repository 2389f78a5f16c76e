//! Tables: an index over the log that can be thrown away and rebuilt (in a new directory). Five
//! calls, so that the engine behind them can change, and a plain map that does the same in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::Error;
use super::key::Key;

/// Writes that become visible together: a row, or `None` to remove it.
pub type Batch = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Rows in key order.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// An ordered map of bytes to bytes.
pub trait Tables: Send + Sync + std::fmt::Debug {
    /// Makes all writes of a batch visible, or none.
    fn apply(&self, batch: &Batch) -> Result<(), Error>;
    /// One row.
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Error>;
    /// At most `max` rows with `from <= key < to`, in key order or against it.
    fn scan(&self, from: &Key, to: &Key, max: usize, backwards: bool) -> Result<Rows, Error>;
    /// How many keys begin with a prefix.
    fn count(&self, prefix: &Key) -> Result<u64, Error>;
    /// Writes out what is still in memory, as far as the engine can.
    fn close(&self) -> Result<(), Error>;
    /// Brings tables that are still on their way to their place one bounded step further. `true`:
    /// there is more to do.
    fn settle(&self) -> bool {
        false
    }
}

/// Tables in memory: while others are built anew, where the disk has no room for any, and in tests.
#[derive(Debug, Default)]
pub struct Memory(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Clone for Memory {
    /// A copy of all rows as they are now.
    fn clone(&self) -> Self {
        Self(Mutex::new(self.map().clone()))
    }
}

impl Memory {
    fn map(&self) -> std::sync::MutexGuard<'_, BTreeMap<Vec<u8>, Vec<u8>>> {
        self.0.lock().expect("no panic while the map is held")
    }
}

impl Tables for Memory {
    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        let mut map = self.map();
        for (key, row) in batch {
            match row {
                Some(row) => map.insert(key.clone(), row.clone()),
                None => map.remove(key),
            };
        }
        Ok(())
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.map().get(&key.0).cloned())
    }

    fn scan(&self, from: &Key, to: &Key, max: usize, backwards: bool) -> Result<Rows, Error> {
        let map = self.map();
        let own = |(key, row): (&Vec<u8>, &Vec<u8>)| (key.clone(), row.clone());
        if from >= to {
            return Ok(Rows::new());
        }
        let range = map.range(from.0.clone()..to.0.clone());
        Ok(match backwards {
            false => range.take(max).map(own).collect(),
            true => range.rev().take(max).map(own).collect(),
        })
    }

    fn count(&self, prefix: &Key) -> Result<u64, Error> {
        let map = self.map();
        Ok(map.range(prefix.0.clone()..prefix.clone().end().0).count() as u64)
    }

    fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}
