//! Looking a data directory over, and mending what can be mended. Every frame and every snapshot is
//! read and checked.

use std::path::Path;
use std::sync::Arc;

use super::host::Host;
use super::log::{Quarantine, Recovered, Segment, Segments, Step, recover};
use super::machine::Machine;
use super::rebuild::verify as read_snapshot;
use super::{Damage, Error};

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Segments.
    pub segments: usize,
    /// Records in whole frames.
    pub records: u64,
    /// Bytes of whole frames and headers.
    pub bytes: u64,
    /// Bytes of a torn write behind the last whole frame: left out at the next start, or a group
    /// that a running hub is writing.
    pub torn_bytes: u64,
    /// Snapshots that are whole.
    pub snapshots: usize,
    /// Snapshots that cannot be used, and why.
    pub broken_snapshots: Vec<String>,
    /// Damage that was known before.
    pub known: Vec<Damage>,
    /// Damage that was not.
    pub new: Vec<Damage>,
}

/// Reads all of a data directory and changes nothing. A hub may be running on it.
pub fn verify(data_dir: &Path) -> Result<Findings, Error> {
    look(&machine(), data_dir, false)
}

/// Does what a start does about damage, and more: reads every frame, copies what is damaged into
/// quarantine, writes footers anew, and takes unusable snapshots out of the way. No hub may be
/// running: the caller holds the lock.
pub fn repair(data_dir: &Path) -> Result<Findings, Error> {
    repair_on(&machine(), data_dir)
}

/// Repairs on any machine.
pub fn repair_on(host: &Arc<dyn Host>, data_dir: &Path) -> Result<Findings, Error> {
    look(host, data_dir, true)
}

fn machine() -> Arc<dyn Host> {
    Arc::new(Machine)
}

/// Looks a data directory over on any machine. `mends`: what can be mended is.
pub(super) fn look(host: &Arc<dyn Host>, data_dir: &Path, mends: bool) -> Result<Findings, Error> {
    let (dir, aside) = (data_dir.join("log"), data_dir.join("quarantine"));
    let quarantine = Arc::new(match mends {
        true => Quarantine::open(host.clone(), aside.clone()),
        false => Quarantine::dry(host.clone(), aside.clone()),
    });
    let known = quarantine.list();
    let mut found = Findings { known, ..Findings::default() };
    let Recovered { segments, torn_bytes, .. } = recover(&**host, &dir, &quarantine, mends)?;
    let segments = Segments::new(segments, quarantine.clone());
    found.torn_bytes = torn_bytes;
    for segment in segments.all() {
        let (holes, records) = walk(&segments, &segment);
        found.segments += 1;
        found.bytes += segment.readable();
        found.records += records;
        // A segment without damage that reading it had to find out is as it should be.
        if mends && holes == 0 && !segment.has_index() {
            // What is sealed no start looks at again: it has to be on disk.
            let sealed = segment.write_last_again().and_then(|()| segment.seal());
            sealed.map_err(|error| Error::io(segment.path(), &error))?;
        }
    }
    look_at_snapshots(&**host, data_dir, mends, &mut found)?;
    found.new = quarantine.list().split_off(found.known.len());
    Ok(found)
}

/// Checks frame after frame. How many holes there are, and how many records.
fn walk(segments: &Segments, segment: &Segment) -> (usize, u64) {
    let mut walk = segment.walk(segment.header.data_start(), segment.readable());
    let (mut next, mut holes, mut records) = (segment.first(), 0, 0);
    while next < segment.next() {
        let position = walk.position();
        match walk.step() {
            Step::Frame(header, _) if header.lsn == next => {
                next = header.end();
                records += u64::from(header.count);
            }
            Step::Frame(..) | Step::Bad | Step::End => {
                walk.seek(position);
                let hole = segment.hole(&mut walk, next, segment.next());
                segments.report(segment, hole);
                next = hole.to;
                holes += 1;
            }
        }
    }
    (holes, records)
}

fn look_at_snapshots(
    host: &dyn Host,
    data_dir: &Path,
    mends: bool,
    found: &mut Findings,
) -> Result<(), Error> {
    let dir = data_dir.join("snapshots");
    let mut names = host.names(&dir).map_err(|error| Error::io(&dir, &error))?;
    names.sort();
    for name in names.iter().filter(|name| name.ends_with(".snap")) {
        let path = dir.join(name);
        match read_snapshot(host, &path) {
            Ok(_) => found.snapshots += 1,
            Err(error @ Error::Newer(_)) => return Err(error),
            Err(error) => {
                found.broken_snapshots.push(error.to_string());
                if mends {
                    let aside = data_dir.join("quarantine");
                    host.create_dir(&aside)
                        .and_then(|()| host.rename(&path, &aside.join(name)))
                        .map_err(|error| Error::io(&path, &error))?;
                }
            }
        }
    }
    Ok(())
}
