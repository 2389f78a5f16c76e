//! Opening the segments of a directory. Sealed ones are known by their footers; in the others every
//! frame is read. A torn tail (a last write that was cut short) is left out and overwritten later;
//! damage, which later frames tell from it, is reported and passed over.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entries::Hole;
use super::quarantine::Quarantine;
use super::segment::{Opened, Segment};
use super::spares::first_of;
use super::walk::Step;
use crate::domain::Offset;
use crate::store::Error;
use crate::store::host::Host;

/// Fewest bytes of a record: more offsets than this allows cannot have been in a file.
const RECORD_BYTES_MIN: u64 = 6;

/// Longest file that a release of format version 1 left behind when it died while making it.
const STUB_MAX: u64 = 32;

/// What a directory holds.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Offset after the last record.
    pub(crate) next: Offset,
    /// Bytes of a torn write behind the last whole frame; zero if there are none.
    pub(crate) torn_bytes: u64,
    /// Retired files.
    pub(crate) spares: Vec<PathBuf>,
}

/// Opens all segments. `mends`: footers that are missing are written.
pub(crate) fn recover(
    host: &dyn Host,
    dir: &Path,
    quarantine: &Quarantine,
    mends: bool,
) -> Result<Recovered, Error> {
    let Listing { segments, spares } = list(host, dir, mends)?;
    let mut found = Recovered { spares, ..Recovered::default() };
    let (mut latest, mut begun) = (i64::MIN, false);
    let hollow = segments.last().is_some_and(|(first, path)| is_hollow(host, path, *first));
    for (at, (first, path)) in segments.iter().enumerate() {
        let follows = segments.get(at + 1).filter(|_| !(hollow && at + 2 == segments.len()));
        let until = follows.map(|(first, _)| *first);
        if hollow && at + 1 == segments.len() && found.next > *first {
            if mends {
                host.remove(path).map_err(|error| Error::io(path, &error))?;
            }
            continue;
        }
        let opened = match Segment::open(host, path, *first) {
            // A running hub let it go while it was looked at.
            Err(Error::Gone(_)) if !mends => continue,
            opened => opened?,
        };
        if std::mem::replace(&mut begun, true) && found.next < *first {
            quarantine.take_file(path, missing(found.next, *first));
        }
        match opened {
            Opened::Headless(length) if until.is_none() && length <= STUB_MAX => {
                if mends {
                    host.remove(path).map_err(|error| Error::io(path, &error))?;
                }
            }
            Opened::Headless(length) => {
                let most = first.saturating_add(length / RECORD_BYTES_MIN);
                let to = until.unwrap_or(most);
                let hole = Hole { from_byte: 0, to_byte: length, from: *first, to };
                quarantine.take_file(path, hole);
                found.next = to;
            }
            Opened::Segment(segment) => {
                segment.after_latest(latest);
                if !segment.is_sealed() {
                    found.torn_bytes = read_frames(&segment, until, quarantine);
                    if until.is_some() && mends {
                        seal(&segment);
                    }
                }
                found.next = segment.next();
                latest = segment.latest();
                found.segments.push(Arc::from(segment));
            }
        }
    }
    Ok(found)
}

/// Whether a segment was made and never written to. Then it says nothing of how far the one before
/// it reaches: the process may have gone on there, or have died before it could go on here.
fn is_hollow(host: &dyn Host, path: &Path, first: Offset) -> bool {
    match Segment::open(host, path, first) {
        Ok(Opened::Segment(segment)) if !segment.is_sealed() => {
            let mut walk = segment.walk(segment.readable(), segment.capacity());
            let begins = matches!(walk.step(), Step::Frame(header, _) if header.lsn == first);
            !begins && walk.search(first).is_none()
        }
        Ok(Opened::Segment(_) | Opened::Headless(_)) | Err(_) => false,
    }
}

struct Listing {
    segments: Vec<(Offset, PathBuf)>,
    spares: Vec<PathBuf>,
}

fn list(host: &dyn Host, dir: &Path, mends: bool) -> Result<Listing, Error> {
    let names = host.names(dir).map_err(|error| Error::io(dir, &error))?;
    let mut listing = Listing { segments: Vec::new(), spares: Vec::new() };
    for name in names {
        let path = dir.join(name);
        let extension = path.extension().and_then(|extension| extension.to_str());
        match (extension, first_of(&path)) {
            (Some("seg"), Some(first)) => listing.segments.push((first, path)),
            (Some("spare"), _) => listing.spares.push(path),
            (Some("new"), _) if mends => {
                host.remove(&path).map_err(|error| Error::io(&path, &error))?;
            }
            (_, _) => {}
        }
    }
    listing.segments.sort();
    Ok(listing)
}

/// Takes in every whole frame. Answers how many bytes of a torn write follow.
fn read_frames(segment: &Segment, until: Option<Offset>, quarantine: &Quarantine) -> u64 {
    let bound = until.unwrap_or(Offset::MAX);
    let mut walk = segment.walk(segment.readable(), segment.capacity());
    let mut next = segment.first();
    while next < bound {
        let position = walk.position();
        match walk.step() {
            Step::Frame(header, _) if header.lsn == next => {
                segment.extend(&header, position);
                next = header.end();
            }
            Step::Frame(..) | Step::Bad | Step::End => {
                walk.seek(position);
                let witness = walk.search(next).filter(|header| header.lsn < bound);
                let hole = |to_byte, to| Hole { from_byte: position, to_byte, from: next, to };
                match (witness, until) {
                    (Some(header), _) => {
                        quarantine.take(segment, hole(walk.position(), header.lsn));
                        next = header.lsn;
                    }
                    (None, Some(until)) => {
                        quarantine.take(segment, hole(segment.capacity(), until));
                        next = until;
                    }
                    (None, None) => return torn_bytes(segment, position, next),
                }
            }
        }
    }
    segment.end_at(next.min(bound));
    0
}

/// How many bytes of a write that was cut short stand at a position.
fn torn_bytes(segment: &Segment, position: u64, next: Offset) -> u64 {
    let mut walk = segment.walk(position, segment.capacity());
    let torn = match segment.header.version {
        1 => segment.capacity() - position,
        _ => walk.torn_bytes(next),
    };
    if torn > 0 {
        let path = segment.path().display();
        tracing::warn!(segment = %path, position, torn, "a torn write is left out of the log");
    }
    torn
}

fn missing(from: Offset, to: Offset) -> Hole {
    Hole { from_byte: 0, to_byte: 0, from, to }
}

fn seal(segment: &Segment) {
    if let Err(error) = segment.seal() {
        let path = segment.path().display();
        tracing::warn!(%error, segment = %path, "a segment cannot be sealed; it is read anew");
    }
}
