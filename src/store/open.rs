//! Opening: the lock, the log, the tables over it, and what is kept in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};

use super::floor::Floor;
use super::host::Host;
use super::keeper::Keeper;
use super::key::{Key, Table};
use super::lock::Lock;
use super::log::{self, Log, Quarantine};
use super::machine::Machine;
use super::marker::Marker;
use super::reader::{Reader, Shared};
use super::rebuild::{Builder, read_totals};
use super::snapshot::{self, Images};
use super::tables::Tables;
use super::tail::Tail;
use super::warmth::Warmth;
use super::writer::{Deps, Submit, Writer};
use super::{Error, seal_key, staged};
use crate::config::Config;
use crate::domain::record::Token;
use crate::domain::vault::Vault;
use crate::telemetry::Metrics;

/// A segment ends at this part of the age at which events go, so that they go about then also
/// where there are few.
const ROLLS_PER_AGE: u32 = 8;

/// The store, open.
#[derive(Debug)]
pub struct Store {
    /// For reading.
    pub reader: Reader,
    /// For changing.
    pub submit: Submit,
    /// What changes.
    pub writer: Writer,
    /// What takes snapshots and lets old records go.
    pub keeper: Keeper,
    /// What opens the secrets that the writer seals.
    pub vault: Arc<Vault>,
}

/// Opens the store in the configured directory, or begins one. The lock keeps other processes out
/// as long as it lives.
pub fn open(config: &Config, metrics: Arc<Metrics>) -> Result<(Store, Lock), Error> {
    let lock = Lock::take(&config.data.dir)?;
    let vault = seal_key::vault(config)?;
    Ok((open_on(Arc::new(Machine), config, metrics, vault)?, lock))
}

/// Opens the store on any machine. Nobody else may have it open.
pub fn open_on(
    host: Arc<dyn Host>,
    config: &Config,
    metrics: Arc<Metrics>,
    vault: Arc<Vault>,
) -> Result<Store, Error> {
    let dir = &config.data.dir;
    host.create_dir(dir).map_err(|error| Error::io(dir, &error))?;
    let quarantine = Arc::new(Quarantine::open(host.clone(), dir.join("quarantine")));
    let limits = log::Limits {
        segment_size: config.log.segment_size.0,
        roll_after: config.log.retention_age.0 / ROLLS_PER_AGE,
    };
    let mut log = Log::open(&host, &dir.join("log"), quarantine, limits)?;
    let marker = Marker::new(dir);
    snapshot::remove_partial(&*host, &dir.join("snapshots"));
    let snapshots = snapshot::list(&*host, &dir.join("snapshots"))?;
    let builder = Builder {
        host: &host,
        dir,
        cache_bytes: config.tables.cache.0,
        marker: &marker,
        snapshots: &snapshots,
    };
    let segments = log.segments();
    let tail = Tail::new(segments.end(), config.log.tail_cache.bytes());
    let mut warmth = Warmth::new(&segments, &tail, config.events.dedup_window);
    let tables = builder.open(&mut log, &mut warmth)?;
    let window = warmth.finish()?;
    if let Some(newest) = snapshots.first() {
        log.not_before(newest.as_of, dir);
    }
    let floor =
        Arc::new(Floor::new(host.clone(), metrics.clone(), dir.clone(), config.log.disk_floor.0));
    let shared = Arc::new(Shared {
        tokens: RwLock::new(read_tokens(&*tables)?),
        totals: Mutex::new(read_totals(&*tables)?),
        tables,
        images: Images::default(),
        tail,
        segments,
        spares: log.spares(),
        snapshots: Mutex::new(snapshots),
        floor: floor.clone(),
    });
    let keeper = Keeper::new(host.clone(), config, shared.clone(), metrics.clone());
    let rules = config.rules();
    let deps = Deps { host, log, shared: shared.clone(), window, rules, metrics, marker, floor };
    let (writer, submit) = Writer::new(deps, vault.clone(), &config.log);
    Ok(Store { reader: Reader(shared), submit, writer, keeper, vault })
}

fn read_tokens(tables: &dyn Tables) -> Result<HashMap<String, Arc<Token>>, Error> {
    let start = Key::of(Table::Token);
    let rows = tables.scan(&start, &start.clone().end(), usize::MAX, false)?;
    let read = |(_, row): &(Vec<u8>, Vec<u8>)| {
        let token = staged::token(row)?;
        Ok((token.id.clone(), Arc::new(token)))
    };
    rows.iter().map(read).collect()
}
