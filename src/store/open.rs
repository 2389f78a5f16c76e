//! Opening: the lock, the log, the tables over it, and what is kept in memory.
//!
//! The tables are trusted only where that is safe: after a power cut (the last stop was not clean
//! and the kernel's boot id changed), on any error, panic or mismatch they are set aside and built
//! anew from the log.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use super::key::{self, COUNTED, Key, Table};
use super::lock::Lock;
use super::log::{Log, Segments};
use super::reader::{Reader, Shared};
use super::sled_tables::Sled;
use super::staged::{self, Staged, Totals};
use super::tables::{Batch, Memory, Tables};
use super::tail::Tail;
use super::window::Window;
use super::writer::{Submit, Writer};
use super::{Error, fold};
use crate::clock;
use crate::config::Config;
use crate::domain::command::Rules;
use crate::domain::lease::Bounds;
use crate::domain::record::{Entry, Record};
use crate::domain::{Offset, Timestamp};
use crate::telemetry::Metrics;

/// Version of the tables' layout. Another one is not read but rebuilt.
const SCHEMA: u64 = 1;

/// Records folded at once while replaying.
const REPLAY_BATCH: usize = 4_096;

/// The store, open.
#[derive(Debug)]
pub struct Store {
    /// For reading.
    pub reader: Reader,
    /// For changing.
    pub submit: Submit,
    /// The thread that changes.
    pub writer: Writer,
    /// Keeps other processes out as long as it lives.
    pub lock: Lock,
}

/// Opens the store in the configured directory, or begins one.
pub fn open(config: &Config, metrics: Arc<Metrics>) -> Result<Store, Error> {
    let dir = &config.data.dir;
    let lock = Lock::take(dir)?;
    let log = Log::open(&dir.join("log"), config.log.segment_size.0)?;
    let marker = Marker::new(dir);
    let tables = open_tables(dir, config.tables.cache.0, &log, &marker)?;
    let totals = read_totals(&*tables)?;
    let shared = Arc::new(Shared {
        tokens: RwLock::new(read_tokens(&*tables)?),
        tables,
        segments: log.segments(),
        tail: Tail::new(log.next(), config.log.tail_cache.bytes()),
        totals: Mutex::new(totals),
    });
    let mut window = Window::new(config.events.dedup_window);
    warm(&log, &shared.tail, &mut window, config.events.dedup_window)?;
    metrics.store_log_bytes.set(i64::try_from(shared.segments.bytes()).unwrap_or(i64::MAX));
    let (writer, submit) =
        Writer::new(log, shared.clone(), window, rules(config), metrics, &config.log, marker);
    Ok(Store { reader: Reader(shared), submit, writer, lock })
}

fn rules(config: &Config) -> Rules {
    Rules {
        lease: Bounds {
            min: config.lease.min.0,
            max: config.lease.max.0,
            default: config.lease.default.0,
        },
        ended_keep: config.subscriptions.ended_keep.0,
        subscriptions_max: config.subscriptions.count_max,
    }
}

fn open_tables(
    dir: &Path,
    cache_bytes: u64,
    log: &Log,
    marker: &Marker,
) -> Result<Box<dyn Tables>, Error> {
    let state = dir.join("state");
    let opened = open_on_disk(&state, cache_bytes, log, marker).or_else(|error| {
        if matches!(error, Error::Damaged { .. } | Error::Newer(_)) {
            return Err(error);
        }
        tracing::warn!(%error, "the tables are rebuilt from the log");
        set_aside(&state)?;
        open_on_disk(&state, cache_bytes, log, marker)
    });
    match opened {
        Err(error @ (Error::Damaged { .. } | Error::Newer(_))) => Err(error),
        Err(error) => {
            tracing::error!(%error, "the tables live in memory until the next start");
            fold_all(Box::new(Memory::default()), log)
        }
        opened => opened,
    }
}

/// The order matters: tables of another boot are out of the way before the marker says this one.
fn open_on_disk(
    state: &Path,
    cache_bytes: u64,
    log: &Log,
    marker: &Marker,
) -> Result<Box<dyn Tables>, Error> {
    if marker.tells_of_another_boot() {
        tracing::warn!("the last stop was a power cut: the tables are rebuilt from the log");
        set_aside(state)?;
    }
    marker.set()?;
    fold_all(Box::new(Sled::open(state, cache_bytes)?), log)
}

/// Brings tables to the end of the log.
fn fold_all(tables: Box<dyn Tables>, log: &Log) -> Result<Box<dyn Tables>, Error> {
    let applied = check(&*tables, log.next())?;
    replay(&*tables, &log.segments(), applied)?;
    Ok(tables)
}

/// Compares what the tables say of themselves with what they hold. The offset to replay from.
fn check(tables: &dyn Tables, next: Offset) -> Result<Offset, Error> {
    let Some(schema) = number(tables, &key::meta(key::SCHEMA))? else {
        if !tables.scan(&Key(vec![0]), &Key(vec![u8::MAX]), 1, false)?.is_empty() {
            return Err(Error::Tables("they have no schema".to_owned()));
        }
        let row = (key::meta(key::SCHEMA).0, Some(key::number_row(SCHEMA)));
        tables.apply(&Batch::from([row]))?;
        return Ok(0);
    };
    if schema != SCHEMA {
        return Err(Error::Tables(format!("they have schema {schema}, not {SCHEMA}")));
    }
    let applied = number(tables, &key::meta(key::APPLIED))?.unwrap_or(0);
    if applied > next {
        return Err(Error::Tables(format!("they are at {applied}, the log ends at {next}")));
    }
    for table in COUNTED {
        let held = tables.count(&Key::of(table))?;
        let noted = number(tables, &key::rows(table))?.unwrap_or(0);
        if held != noted {
            return Err(Error::Tables(format!("{table:?} holds {held} rows, not {noted}")));
        }
    }
    Ok(applied)
}

/// Folds the log from an offset on into the tables.
fn replay(tables: &dyn Tables, segments: &Segments, applied: Offset) -> Result<(), Error> {
    let window = Window::new(0);
    let (mut next, mut newest) = (applied, Timestamp::UNIX_EPOCH);
    loop {
        let entries = segments.read(next, REPLAY_BATCH)?;
        if entries.is_empty() {
            return Ok(());
        }
        let totals = read_totals(tables)?;
        let mut staged = Staged::new(tables, &window, totals, next, newest);
        for Entry { offset, at, record } in &entries {
            fold::apply(&mut staged, *offset, *at, record)?;
            (next, newest) = (offset + 1, *at);
        }
        let mut writes = staged.finish().writes;
        writes.insert(key::meta(key::APPLIED).0, Some(key::number_row(next)));
        tables.apply(&writes)?;
    }
}

/// Fills the window and the tail from the end of the log.
fn warm(log: &Log, tail: &Tail, window: &mut Window, events: usize) -> Result<(), Error> {
    let segments = log.segments();
    let mut next = start_of_last(&segments, log.next(), events)?;
    while next < log.next() {
        let entries = segments.read(next, REPLAY_BATCH)?;
        let Some(last) = entries.last() else { return Ok(()) };
        next = last.offset + 1;
        for entry in &entries {
            if let Record::Event(event) = &entry.record {
                window.insert(&event.source, &event.id, entry.offset);
            }
        }
        tail.push(entries.into_iter().map(Arc::new).collect());
    }
    Ok(())
}

/// The offset from which on the log holds so many events, other records not counted.
fn start_of_last(segments: &Segments, end: Offset, events: usize) -> Result<Offset, Error> {
    let (oldest, step) = (segments.oldest(), u64::try_from(events).unwrap_or(u64::MAX).max(1));
    let (mut start, mut counted) = (end, 0);
    while start > oldest && counted < events {
        let from = start.saturating_sub(step).max(oldest);
        let mut next = from;
        while next < start {
            let entries = segments.read(next, REPLAY_BATCH)?;
            let Some(last) = entries.last() else { break };
            next = last.offset + 1;
            let before = |entry: &&Entry| entry.offset < start && entry.event().is_some();
            counted += entries.iter().filter(before).count();
        }
        start = from;
    }
    Ok(start)
}

fn read_totals(tables: &dyn Tables) -> Result<Totals, Error> {
    let mut totals = Totals::default();
    for (slot, table) in COUNTED.iter().enumerate() {
        totals.rows[slot] = number(tables, &key::rows(*table))?.unwrap_or(0);
    }
    let next_number = number(tables, &key::meta(key::NEXT_NUMBER))?.unwrap_or(0);
    totals.next_number = u32::try_from(next_number)
        .map_err(|_| Error::Tables(format!("next_number is {next_number}")))?;
    Ok(totals)
}

fn read_tokens(
    tables: &dyn Tables,
) -> Result<HashMap<String, Arc<crate::domain::record::Token>>, Error> {
    let start = Key::of(Table::Token);
    let rows = tables.scan(&start, &start.clone().end(), usize::MAX, false)?;
    let read = |(_, row): &(Vec<u8>, Vec<u8>)| {
        let token = staged::token(row)?;
        Ok((token.id.clone(), Arc::new(token)))
    };
    rows.iter().map(read).collect()
}

fn number(tables: &dyn Tables, key: &Key) -> Result<Option<u64>, Error> {
    Ok(tables.get(key)?.and_then(|row| key::read_number(&row)))
}

/// Keeps the newest set of broken tables for a report, and no more than one.
fn set_aside(state: &Path) -> Result<(), Error> {
    if !state.exists() {
        return Ok(());
    }
    let aside = state.with_extension("broken");
    if aside.exists() {
        std::fs::remove_dir_all(&aside).map_err(|error| Error::io(&aside, &error))?;
    }
    std::fs::rename(state, &aside).map_err(|error| Error::io(state, &error))
}

/// A file that is there while the store is open. It holds the kernel's boot id.
#[derive(Debug)]
pub(crate) struct Marker {
    path: PathBuf,
    state: PathBuf,
}

impl Marker {
    fn new(dir: &Path) -> Self {
        Self { path: dir.join("running"), state: dir.join("state") }
    }

    fn tells_of_another_boot(&self) -> bool {
        match (std::fs::read_to_string(&self.path), clock::boot_id()) {
            (Ok(noted), Some(boot)) => noted != boot,
            (Ok(_), None) => true,
            (Err(_), _) => false,
        }
    }

    /// On disk before the tables are touched: what a power cut leaves must be known as such.
    fn set(&self) -> Result<(), Error> {
        let write = || {
            let mut file = File::create(&self.path)?;
            file.write_all(clock::boot_id().unwrap_or_default().as_bytes())?;
            file.sync_all()?;
            self.path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
        };
        write().map_err(|error| Error::io(&self.path, &error))
    }

    /// Notes a clean stop, after what the tables' engine left in the page cache is on disk.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        // Tables that live in memory leave nothing behind.
        let Ok(entries) = std::fs::read_dir(&self.state) else { return Ok(()) };
        for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(|error| Error::io(&path, &error))?;
        }
        std::fs::remove_file(&self.path).map_err(|error| Error::io(&self.path, &error))
    }
}
