//! The tables in sled. Guarded: whatever sled does, the answer is an error and a rebuild, never a
//! refusal to start.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::Error;
use super::key::Key;
use super::tables::{Batch, Rows, Tables};

/// How often sled writes its buffers out by itself.
const FLUSH_EVERY_MS: u64 = 500;

/// Tables in one sled tree.
#[derive(Debug)]
pub(crate) struct Sled(sled::Db);

impl Sled {
    /// Opens the tables in a directory. Half-written snapshots, over which sled never opens again,
    /// are removed first; a panic inside sled becomes an error.
    pub(crate) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, Error> {
        remove_half_snapshots(dir)?;
        let config = sled::Config::new()
            .path(dir)
            .cache_capacity(cache_bytes)
            .flush_every_ms(Some(FLUSH_EVERY_MS))
            .use_compression(false);
        guarded(|| config.open()).map(Self)
    }
}

impl Tables for Sled {
    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        let mut writes = sled::Batch::default();
        for (key, row) in batch {
            match row {
                Some(row) => writes.insert(key.as_slice(), row.as_slice()),
                None => writes.remove(key.as_slice()),
            }
        }
        guarded(|| self.0.apply_batch(writes))
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Error> {
        Ok(guarded(|| self.0.get(&key.0))?.map(|row| row.to_vec()))
    }

    fn scan(&self, from: &Key, to: &Key, max: usize, backwards: bool) -> Result<Rows, Error> {
        if from >= to {
            return Ok(Rows::new());
        }
        guarded(|| {
            let range = self.0.range(from.0.as_slice()..to.0.as_slice());
            let own = |row: Result<(sled::IVec, sled::IVec), sled::Error>| {
                row.map(|(key, row)| (key.to_vec(), row.to_vec()))
            };
            match backwards {
                false => range.take(max).map(own).collect(),
                true => range.rev().take(max).map(own).collect(),
            }
        })
    }

    fn count(&self, prefix: &Key) -> Result<u64, Error> {
        guarded(|| {
            let mut count = 0;
            for row in self.0.scan_prefix(&prefix.0) {
                row?;
                count += 1;
            }
            Ok(count)
        })
    }

    fn close(&self) -> Result<(), Error> {
        guarded(|| self.0.flush()).map(|_bytes| ())
    }
}

fn guarded<T>(call: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::Tables(error.to_string())),
        Err(_panic) => Err(Error::Tables("sled panicked".to_owned())),
    }
}

fn remove_half_snapshots(dir: &Path) -> Result<(), Error> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Ok(()) };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if name.is_some_and(|name| name.starts_with("snap.") && name.ends_with(".generating")) {
            std::fs::remove_file(&path).map_err(|error| Error::io(&path, &error))?;
        }
    }
    Ok(())
}
