//! Taking a backup of a store that goes on working: segments only grow, and what is held is not
//! recycled, so it is enough to know how far each one reached at one moment.

use std::io::{self, Read, Write};
use std::sync::Arc;

use super::archive::{FORMAT, MANIFEST, Manifest, Member};
use crate::store::Error;
use crate::store::host::{Host, HostFile, read_full};
use crate::store::log::Segment;
use crate::store::machine::Machine;
use crate::store::reader::Shared;
use crate::store::rebuild;

/// Writes a backup of all records before the offset that the log has reached now.
pub(crate) fn write_backup(shared: &Shared, out: impl Write) -> Result<Manifest, Error> {
    let host: Arc<dyn Host> = Arc::new(Machine);
    // The snapshots first: the log reaches back to each that is there, now and later.
    let snapshots = shared.snapshots.lock().expect("no panic while they are held").clone();
    let extent = |segment: Arc<Segment>| {
        let (bytes, next) = segment.extent();
        (segment, bytes, next)
    };
    let segments: Vec<_> = shared.segments.all().into_iter().map(extent).collect();
    let mut backup = Backup {
        tar: tar::Builder::new(out),
        manifest: Manifest {
            format: FORMAT,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            taken_at_millis: host.now().as_millisecond(),
            oldest_offset: segments.first().map_or(0, |(segment, ..)| segment.first()),
            next_offset: segments.last().map_or(0, |(.., next)| *next),
            files: Vec::new(),
        },
    };
    let whole = snapshots.iter().find(|held| rebuild::verify(&*host, &held.path).is_ok());
    if let Some(snapshot) = whole {
        let name = format!("snapshots/{:020}.snap", snapshot.as_of);
        let file = host.open(&snapshot.path).map_err(|e| Error::io(&snapshot.path, &e))?;
        backup.add(&name, snapshot.bytes, &OfFile(&*file))?;
    }
    for (segment, bytes, _) in &segments {
        let name = format!("log/{:020}.seg", segment.first());
        backup.add(&name, *bytes, &OfSegment(segment))?;
    }
    backup.finish()
}

/// A backup that is being written.
struct Backup<W: Write> {
    tar: tar::Builder<W>,
    manifest: Manifest,
}

impl<W: Write> Backup<W> {
    fn add(&mut self, name: &str, bytes: u64, from: &dyn Bytes) -> Result<(), Error> {
        let hasher = crc32fast::Hasher::new();
        let mut content = Content { from, position: 0, end: bytes, hasher };
        let written = self.tar.append_data(&mut header(bytes), name, &mut content);
        written.map_err(|error| Error::Backup(format!("{name}: {error}")))?;
        let crc32 = content.hasher.finalize();
        self.manifest.files.push(Member { path: name.to_owned(), bytes, crc32 });
        Ok(())
    }

    fn finish(mut self) -> Result<Manifest, Error> {
        let failed = |error: io::Error| Error::Backup(format!("{MANIFEST}: {error}"));
        let text = serde_json::to_vec_pretty(&self.manifest)
            .map_err(|error| Error::Backup(error.to_string()))?;
        let mut header = header(text.len() as u64);
        self.tar.append_data(&mut header, MANIFEST, text.as_slice()).map_err(failed)?;
        self.tar.into_inner().and_then(|mut out| out.flush()).map_err(failed)?;
        Ok(self.manifest)
    }
}

/// Something that can be read at a position.
trait Bytes {
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize>;
}

struct OfFile<'a>(&'a dyn HostFile);

impl Bytes for OfFile<'_> {
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        read_full(self.0, into, position)
    }
}

struct OfSegment<'a>(&'a Segment);

impl Bytes for OfSegment<'_> {
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(into, position)
    }
}

/// What is read of a file, summed up on the way.
struct Content<'a> {
    from: &'a dyn Bytes,
    position: u64,
    end: u64,
    hasher: crc32fast::Hasher,
}

impl Read for Content<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let most = into.len().min(left);
        let part = &mut into[..most];
        if self.from.read_at(part, self.position)? < most {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += most as u64;
        self.hasher.update(part);
        Ok(most)
    }
}

fn header(bytes: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes);
    header.set_mode(0o600);
    header
}
