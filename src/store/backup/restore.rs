//! Reading a backup: into an empty data directory, or only to see whether it could be.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::archive::{Archive, Manifest};
use crate::store::Error;
use crate::store::host::{Host, read_full};
use crate::store::key::{COUNTED, Key};
use crate::store::log::{Log, Quarantine};
use crate::store::machine::Machine;
use crate::store::marker::Marker;
use crate::store::rebuild::Builder;
use crate::store::seal_key;
use crate::store::snapshot;
use crate::store::verify::{Findings, look};

/// Copied at once.
const CHUNK: usize = 1 << 20;

/// What a rehearsal found.
#[derive(Debug)]
pub struct Rehearsed {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// What is in it.
    pub findings: Findings,
    /// Rows of the tables that were built from it.
    pub rows: u64,
}

/// Does all that a restore and a start would do, in memory, and changes nothing: every byte is
/// checked, every frame read, the tables are built.
pub fn rehearse(backup: &Path) -> Result<Rehearsed, Error> {
    let archive = Archive::open(backup)?;
    let manifest = archive.manifest.clone();
    let host: Arc<dyn Host> = Arc::new(archive);
    let findings = look(&host, Path::new(""), false)?;
    let quarantine = Arc::new(Quarantine::dry(host.clone(), "quarantine".into()));
    let mut log = Log::read(&host, Path::new("log"), quarantine)?;
    let snapshots = snapshot::list(&*host, Path::new("snapshots"))?;
    let marker = Marker::new(Path::new(""));
    let builder = Builder {
        host: &host,
        dir: Path::new(""),
        cache_bytes: 0,
        marker: &marker,
        snapshots: &snapshots,
    };
    let tables = builder.in_memory(&mut log)?;
    let mut rows = 0;
    for table in COUNTED {
        rows += tables.count(&Key::of(table))?;
    }
    if log.next() != manifest.next_offset {
        return Err(Error::Backup(format!(
            "the log ends at offset {}, the manifest says {}",
            log.next(),
            manifest.next_offset
        )));
    }
    Ok(Rehearsed { manifest, findings, rows })
}

/// Reads a backup into a data directory that holds nothing yet but, maybe, its sealing key. The
/// caller has its lock.
pub fn restore(backup: &Path, data_dir: &Path) -> Result<Manifest, Error> {
    let archive = Archive::open(backup)?;
    let machine: Arc<dyn Host> = Arc::new(Machine);
    let failed = |error: io::Error| Error::io(data_dir, &error);
    let names = machine.names(data_dir).map_err(failed)?;
    if let Some(name) = names.iter().find(|name| *name != "lock" && *name != seal_key::FILE) {
        return Err(Error::Backup(format!(
            "{} is not empty: it holds {name:?}; restore into an empty directory",
            data_dir.display()
        )));
    }
    for folder in ["log", "snapshots"] {
        machine.create_dir(&data_dir.join(folder)).map_err(failed)?;
    }
    for path in archive.paths() {
        let target = data_dir.join(path);
        copy(&archive, &*machine, path, &target).map_err(|error| Error::io(&target, &error))?;
    }
    for folder in ["log", "snapshots", "."] {
        machine.sync_dir(&data_dir.join(folder)).map_err(failed)?;
    }
    // Seals the segments, so that the first start need not read them all.
    look(&machine, data_dir, true)?;
    Ok(archive.manifest)
}

fn copy(archive: &Archive, machine: &dyn Host, from: &Path, to: &Path) -> io::Result<()> {
    let source = Host::open(archive, from)?;
    let target = machine.create(to)?;
    let mut chunk = vec![0; CHUNK];
    let mut position = 0;
    loop {
        let read = read_full(&*source, &mut chunk, position)?;
        if read == 0 {
            return target.sync_data();
        }
        target.write_all_at(&chunk[..read], position)?;
        position += read as u64;
    }
}
