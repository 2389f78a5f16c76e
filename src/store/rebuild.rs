//! The tables at a start: trusted where that is safe, else built anew from a snapshot and the log.
//!
//! They are trusted only if the last stop was clean or the machine was not booted since, their row
//! counts are those noted beside them, and the log reaches back to where they stand. In every other
//! case, and on any error or panic of their engine, they are set aside. Never a refusal to start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use super::handover::Handover;
use super::host::Host;
use super::key::{self, COUNTED, Key};
use super::log::{Log, Segments};
use super::marker::Marker;
use super::snapshot::{Snapshot, Source};
use super::staged::{Staged, Totals};
use super::tables::{Batch, Memory, Tables};
use super::warmth::Warmth;
use super::window::Window;
use super::{Error, fold, redrives};
use crate::domain::record::Entry;
use crate::domain::{Offset, Timestamp};

/// Version of the tables' layout. Another one is not read but rebuilt.
const SCHEMA: u64 = 1;

/// Steps of filling an engine that a start waits for.
const STEPS_AT_ONCE: usize = 8;

/// Records folded at once while replaying.
const REPLAY_BATCH: usize = 4_096;

/// What the tables are opened with.
#[derive(Debug)]
pub(crate) struct Builder<'a> {
    pub(crate) host: &'a Arc<dyn Host>,
    pub(crate) dir: &'a Path,
    pub(crate) cache_bytes: u64,
    pub(crate) marker: &'a Marker,
    /// Newest first.
    pub(crate) snapshots: &'a [Snapshot],
}

impl Builder<'_> {
    /// Opens the tables and brings them to the end of the log. While they are looked over, what is
    /// kept in memory is filled.
    pub(crate) fn open(
        &self,
        log: &mut Log,
        warmth: &mut Warmth<'_>,
    ) -> Result<Box<dyn Tables>, Error> {
        let built = self.trusted(log, warmth).or_else(|error| match error {
            Error::Newer(_) => Err(error),
            error => {
                tracing::warn!(%error, "the tables are rebuilt from snapshot and log");
                self.rebuilt(log)
            }
        });
        match built {
            Err(error @ Error::Newer(_)) => Err(error),
            Err(error) => {
                tracing::error!(%error, "the tables live in memory until the next start");
                self.marker.disown();
                self.in_memory(log)
            }
            built => built,
        }
    }

    /// Builds tables in memory from the newest snapshot that is whole, and the log behind it.
    pub(crate) fn in_memory(&self, log: &mut Log) -> Result<Box<dyn Tables>, Error> {
        let (tables, as_of) = self.newest_whole()?;
        let oldest = log.segments().oldest();
        if as_of < oldest {
            tracing::error!(
                from = as_of,
                to = oldest,
                "no snapshot reaches to where the log begins: what changed in between is missing"
            );
        }
        log.not_before(as_of, self.dir);
        redrives::name_letters(&tables)?;
        replay(&tables, &log.segments(), as_of)?;
        Ok(Box::new(tables))
    }

    fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The order matters: tables of another boot are out of the way before the marker says this
    /// one.
    fn trusted(&self, log: &mut Log, warmth: &mut Warmth<'_>) -> Result<Box<dyn Tables>, Error> {
        if self.marker.tells_of_another_boot(&**self.host) {
            tracing::warn!("the last stop was a power cut");
            self.set_aside()?;
        }
        self.marker.set(&**self.host)?;
        let tables = self.host.open_tables(&self.state(), self.cache_bytes)?;
        let Some(applied) = check_beside(&*tables, warmth)? else {
            return self.filled(tables, log);
        };
        let oldest = log.segments().oldest();
        if applied < oldest {
            return Err(Error::Tables(format!(
                "they are at {applied}, the log begins at {oldest}"
            )));
        }
        log.not_before(applied, self.dir);
        redrives::name_letters(&*tables)?;
        replay(&*tables, &log.segments(), applied)?;
        Ok(tables)
    }

    fn rebuilt(&self, log: &mut Log) -> Result<Box<dyn Tables>, Error> {
        self.set_aside()?;
        self.marker.set(&**self.host)?;
        let tables = self.host.open_tables(&self.state(), self.cache_bytes)?;
        self.filled(tables, log)
    }

    /// Builds tables from a snapshot and the log, in memory: that is many times faster than in the
    /// engine, which gets few rows at once and many from the keeper while the hub runs.
    fn filled(&self, engine: Box<dyn Tables>, log: &mut Log) -> Result<Box<dyn Tables>, Error> {
        let handover = Handover::new(self.in_memory(log)?, engine);
        for _ in 0..STEPS_AT_ONCE {
            if !handover.settle() {
                break;
            }
        }
        Ok(Box::new(handover))
    }

    /// The rows of the newest snapshot that is whole, and its offset; without one, no rows.
    fn newest_whole(&self) -> Result<(Memory, Offset), Error> {
        for snapshot in self.snapshots {
            match load(&**self.host, snapshot) {
                Ok(tables) => return Ok((tables, snapshot.as_of)),
                Err(error) => tracing::error!(%error, "a snapshot cannot be used"),
            }
        }
        let tables = Memory::default();
        let schema = (key::meta(key::SCHEMA).0, Some(key::number_row(SCHEMA)));
        tables.apply(&Batch::from([schema]))?;
        Ok((tables, 0))
    }

    /// Keeps the newest set of broken tables for a report, and no more than one.
    fn set_aside(&self) -> Result<(), Error> {
        let (state, aside) = (self.state(), self.dir.join("state.broken"));
        let failed = |error: std::io::Error| Error::io(&state, &error);
        let names = self.host.names(self.dir).map_err(failed)?;
        if names.iter().any(|name| name == "state") {
            if names.iter().any(|name| name == "state.broken") {
                self.host.remove_dir(&aside).map_err(failed)?;
            }
            self.host.rename(&state, &aside).map_err(failed)?;
            self.host.sync_dir(self.dir).map_err(failed)?;
        }
        Ok(())
    }
}

/// Reads a snapshot to its end. How many rows it has.
pub(crate) fn verify(host: &dyn Host, path: &Path) -> Result<u64, Error> {
    let mut source = Source::open(host, path)?;
    let mut rows = 0;
    loop {
        match source.next()?.len() {
            0 => return Ok(rows),
            more => rows += more as u64,
        }
    }
}

/// Reads a snapshot's rows, each block checked.
fn load(host: &dyn Host, snapshot: &Snapshot) -> Result<Memory, Error> {
    let (tables, mut source) = (Memory::default(), Source::open(host, &snapshot.path)?);
    loop {
        let rows = source.next()?;
        if rows.is_empty() {
            break;
        }
        tables.apply(&rows.into_iter().map(|(key, row)| (key, Some(row))).collect())?;
    }
    let applied = (key::meta(key::APPLIED).0, Some(key::number_row(snapshot.as_of)));
    tables.apply(&Batch::from([applied]))?;
    tracing::info!(as_of = snapshot.as_of, "the tables are built from a snapshot and the log");
    Ok(tables)
}

/// Compares what the tables say of themselves with what they hold. The offset to replay from;
/// `None`: they are empty.
fn check(tables: &dyn Tables) -> Result<Option<Offset>, Error> {
    let Some(schema) = number(tables, &key::meta(key::SCHEMA))? else {
        if !tables.scan(&Key(vec![0]), &Key(vec![u8::MAX]), 1, false)?.is_empty() {
            return Err(Error::Tables("they have no schema".to_owned()));
        }
        return Ok(None);
    };
    if schema != SCHEMA {
        return Err(Error::Tables(format!("they have schema {schema}, not {SCHEMA}")));
    }
    for table in COUNTED {
        let held = tables.count(&Key::of(table))?;
        let noted = number(tables, &key::rows(table))?.unwrap_or(0);
        if held != noted {
            return Err(Error::Tables(format!("{table:?} holds {held} rows, not {noted}")));
        }
    }
    number(tables, &key::meta(key::APPLIED))
}

/// As `check`, on a thread of its own: nearly every page of the tables is read for it.
fn check_beside(tables: &dyn Tables, warmth: &mut Warmth<'_>) -> Result<Option<Offset>, Error> {
    thread::scope(|scope| {
        let checked = scope.spawn(|| check(tables));
        warmth.fill();
        let panicked = |_| Error::Tables("counting their rows panicked".to_owned());
        checked.join().map_err(panicked)?
    })
}

/// Folds the log from an offset on into the tables.
pub(crate) fn replay(
    tables: &dyn Tables,
    segments: &Segments,
    applied: Offset,
) -> Result<(), Error> {
    let mut window = Window::new(0);
    let (mut next, mut newest) = (applied, Timestamp::UNIX_EPOCH);
    loop {
        let entries = segments.read(next, REPLAY_BATCH)?;
        if entries.is_empty() {
            return Ok(());
        }
        let totals = read_totals(tables)?;
        let mut staged = Staged::new(tables, &mut window, totals, next, newest);
        for Entry { offset, at, record } in &entries {
            fold::apply(&mut staged, *offset, *at, record)?;
            (next, newest) = (offset + 1, *at);
        }
        let mut writes = staged.finish().writes;
        writes.insert(key::meta(key::APPLIED).0, Some(key::number_row(next)));
        tables.apply(&writes)?;
    }
}

/// The row counts and numbers that the tables note.
pub(crate) fn read_totals(tables: &dyn Tables) -> Result<Totals, Error> {
    let mut totals = Totals::default();
    for (slot, table) in COUNTED.iter().enumerate() {
        totals.rows[slot] = number(tables, &key::rows(*table))?.unwrap_or(0);
    }
    let next_number = number(tables, &key::meta(key::NEXT_NUMBER))?.unwrap_or(0);
    totals.next_number = u32::try_from(next_number)
        .map_err(|_| Error::Tables(format!("next_number is {next_number}")))?;
    Ok(totals)
}

fn number(tables: &dyn Tables, key: &Key) -> Result<Option<u64>, Error> {
    Ok(tables.get(key)?.and_then(|row| key::read_number(&row)))
}
