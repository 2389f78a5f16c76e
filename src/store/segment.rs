//! One file of the log: a header and frames. Reading is safe from any thread; only the writer
//! appends.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::frame::{self, HEADER, Header, Salt};
use super::{Error, codec};
use crate::clock;
use crate::domain::record::Entry;
use crate::domain::{Offset, Timestamp};

/// Length of a segment's header: magic, version, first offset, salt, crc32 of these.
pub(crate) const SEGMENT_HEADER: u64 = HEADER_BYTES as u64;

const HEADER_BYTES: usize = 32;

const MAGIC: [u8; 8] = *b"TIDINGS1";
const VERSION: u32 = 1;

/// Distance between entries of the sparse index.
const INDEX_STEP: u64 = 64 << 10;

/// A segment, open for reading.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Offset of its first record.
    pub(crate) first: Offset,
    salt: Salt,
    path: PathBuf,
    file: File,
    /// Bytes that are known to be on disk; readers stop there.
    readable: AtomicU64,
    /// (lsn, position) of some frames in order; built by whoever reads first. Guards memory only.
    index: Mutex<Vec<(Offset, u64)>>,
}

impl Segment {
    /// Makes a new, empty segment. The caller syncs the directory.
    pub(crate) fn create(dir: &Path, first: Offset) -> Result<Self, Error> {
        let path = path_of(dir, first);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| Error::io(&path, &error))?;
        let salt = clock::random();
        file.write_all_at(&header_bytes(first, salt), 0)
            .and_then(|()| file.sync_data())
            .map_err(|error| Error::io(&path, &error))?;
        Ok(Self::new(first, salt, path, file, SEGMENT_HEADER))
    }

    /// Opens a segment. `None`: its header was never written whole, so it holds nothing.
    pub(crate) fn open(path: PathBuf) -> Result<Option<Self>, Error> {
        let failed = |error: &std::io::Error| Error::io(&path, error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| failed(&error))?;
        let length = file.metadata().map_err(|error| failed(&error))?.len();
        if length < SEGMENT_HEADER {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0).map_err(|error| failed(&error))?;
        let (body, crc) = header.split_at(28);
        if crc32fast::hash(body).to_le_bytes() != crc {
            return if length == SEGMENT_HEADER { Ok(None) } else { Err(damaged(&path, 0)) };
        }
        let version = u32::from_le_bytes([body[8], body[9], body[10], body[11]]);
        if body[..8] != MAGIC || version != VERSION {
            let detail = format!(
                "{} has format version {version}; a newer release of Tidings wrote it",
                path.display()
            );
            return Err(Error::Newer(detail));
        }
        let first = body[12..20].iter().rev().fold(0, |all, byte| (all << 8) | u64::from(*byte));
        let mut salt = Salt::default();
        salt.copy_from_slice(&body[20..28]);
        Ok(Some(Self::new(first, salt, path, file, length)))
    }

    fn new(first: Offset, salt: Salt, path: PathBuf, file: File, readable: u64) -> Self {
        let index = Mutex::new(Vec::new());
        Self { first, salt, path, file, readable: AtomicU64::new(readable), index }
    }

    /// Bytes that can be read.
    pub(crate) fn bytes(&self) -> u64 {
        self.readable.load(Ordering::Acquire)
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Seals a frame, writes it behind the readable part and waits until it is on disk. After a
    /// failed write it is cut off again. A failed sync is not survivable on this file.
    pub(crate) fn append(&self, frame: &mut [u8]) -> Result<(), Error> {
        frame::seal(frame, &self.salt);
        let position = self.bytes();
        if let Err(error) = self.file.write_all_at(frame, position) {
            let cut = self.file.set_len(position);
            cut.map_err(|error| Error::Fatal(format!("{}: {error}", self.path.display())))?;
            return Err(Error::io(&self.path, &error));
        }
        self.file.sync_data().map_err(|error| {
            Error::Fatal(format!("fdatasync of {} failed: {error}", self.path.display()))
        })?;
        self.readable.store(position + frame.len() as u64, Ordering::Release);
        Ok(())
    }

    /// Brings what is in the file to the disk, and the file's length.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(|error| Error::io(&self.path, &error))
    }

    /// What distinguishes this segment's frames.
    pub(crate) fn salt(&self) -> &Salt {
        &self.salt
    }

    /// Cuts everything from a position on.
    pub(crate) fn cut(&self, position: u64) -> Result<(), Error> {
        self.file
            .set_len(position)
            .and_then(|()| self.file.sync_all())
            .map_err(|error| Error::io(&self.path, &error))?;
        self.readable.store(position, Ordering::Release);
        Ok(())
    }

    /// Reads entries from `from` on, until `max` entries or about `bytes_max` bytes are read or the
    /// segment ends.
    pub(crate) fn read(
        &self,
        from: Offset,
        max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut position = self.position_before(from);
        while let Some((header, head)) = self.header_at(position)? {
            if header.end() > from {
                let body = self.body_at(position, &header, &head)?;
                bytes += body.len();
                self.decode(position, &header, &body, from, &mut entries)?;
            }
            if entries.len() >= max || bytes >= bytes_max {
                break;
            }
            position += header.frame_bytes();
        }
        entries.truncate(max);
        Ok(entries)
    }

    /// The header of the frame at a position; `None` at the end of the readable part.
    pub(crate) fn header_at(&self, position: u64) -> Result<Option<(Header, [u8; HEADER])>, Error> {
        if position + HEADER as u64 > self.bytes() {
            return Ok(None);
        }
        let mut head = [0; HEADER];
        self.file
            .read_exact_at(&mut head, position)
            .map_err(|error| Error::io(&self.path, &error))?;
        let header = frame::read_header(&head).ok_or_else(|| damaged(&self.path, position))?;
        self.note(header.lsn, position);
        Ok(Some((header, head)))
    }

    /// A frame's records as bytes, checked.
    pub(crate) fn body_at(
        &self,
        position: u64,
        header: &Header,
        head: &[u8; HEADER],
    ) -> Result<Vec<u8>, Error> {
        if position + header.frame_bytes() > self.bytes() {
            return Err(damaged(&self.path, position));
        }
        let length =
            usize::try_from(header.body_bytes).map_err(|_| damaged(&self.path, position))?;
        let mut body = vec![0; length];
        self.file
            .read_exact_at(&mut body, position + HEADER as u64)
            .map_err(|error| Error::io(&self.path, &error))?;
        match frame::is_whole(header, head, &body, &self.salt) {
            true => Ok(body),
            false => Err(damaged(&self.path, position)),
        }
    }

    fn decode(
        &self,
        position: u64,
        header: &Header,
        body: &[u8],
        from: Offset,
        entries: &mut Vec<Entry>,
    ) -> Result<(), Error> {
        let at = Timestamp::from_millisecond(header.at_millis)
            .map_err(|_| damaged(&self.path, position))?;
        let mut rest = body;
        for offset in header.lsn..header.end() {
            let record = codec::decode(&mut rest).map_err(|error| match error {
                codec::Error::Newer { .. } => Error::Newer(error.to_string()),
                codec::Error::Malformed(_) => damaged(&self.path, position),
            })?;
            if offset >= from {
                entries.push(Entry { offset, at, record });
            }
        }
        Ok(())
    }

    fn position_before(&self, from: Offset) -> u64 {
        let index = self.index.lock().expect("no panic while the index is held");
        let before = index.partition_point(|(lsn, _)| *lsn <= from);
        before.checked_sub(1).map_or(SEGMENT_HEADER, |last| index[last].1)
    }

    fn note(&self, lsn: Offset, position: u64) {
        let mut index = self.index.lock().expect("no panic while the index is held");
        if index.last().map_or(SEGMENT_HEADER, |(_, last)| *last) + INDEX_STEP <= position {
            index.push((lsn, position));
        }
    }
}

/// The path of the segment that begins with an offset.
pub(crate) fn path_of(dir: &Path, first: Offset) -> PathBuf {
    dir.join(format!("{first:020}.seg"))
}

fn header_bytes(first: Offset, salt: Salt) -> Vec<u8> {
    let mut header = Vec::from(MAGIC);
    header.extend_from_slice(&VERSION.to_le_bytes());
    header.extend_from_slice(&first.to_le_bytes());
    header.extend_from_slice(&salt);
    let crc = crc32fast::hash(&header);
    header.extend_from_slice(&crc.to_le_bytes());
    header
}

fn damaged(path: &Path, position: u64) -> Error {
    Error::Damaged { path: path.to_owned(), position }
}
