//! A snapshot's file: all rows of the tables as they were before one offset of the log.
//!
//! | bytes | header |
//! |---|---|
//! | 8 | magic `TIDSNAP1` |
//! | 4 | version of this format: 1 |
//! | 4 | level: which record versions may be inside (`codec::LEVEL`) |
//! | 8 | offset: the rows are the fold of all records before it |
//! | 8 | when it was begun, Unix milliseconds |
//! | 16 | the release that wrote it, padded with zeros |
//! | 4 | crc32 of these |
//!
//! Then blocks: length u32, crc32 u32, and that many bytes of rows (key length u32, key, row length
//! u32, row). A block of length zero ends the file; behind it stands the number of rows u64 and the
//! crc32 of these 8 bytes. All numbers are little-endian. A file without that end is no snapshot.

use std::io;
use std::path::{Path, PathBuf};

use crate::domain::Offset;
use crate::store::Error;
use crate::store::codec;
use crate::store::host::{Host, HostFile, read_full};
use crate::store::tables::Rows;

/// Length of a header.
const HEADER: usize = 52;

/// Longest block that is read. Blocks are written at about a hundredth of it.
const BLOCK_MAX: u32 = 64 << 20;

const MAGIC: [u8; 8] = *b"TIDSNAP1";
const VERSION: u32 = 1;

/// A snapshot that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The rows are the fold of all records before it.
    pub(crate) as_of: Offset,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// When it was begun, Unix milliseconds.
    pub(crate) at: i64,
}

/// Writes a snapshot, block by block.
#[derive(Debug)]
pub(super) struct Sink {
    file: Box<dyn HostFile>,
    position: u64,
    rows: u64,
    block: Vec<u8>,
}

impl Sink {
    pub(super) fn begin(file: Box<dyn HostFile>, as_of: Offset, at: i64) -> io::Result<Self> {
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&codec::LEVEL.to_le_bytes());
        header.extend_from_slice(&as_of.to_le_bytes());
        header.extend_from_slice(&at.to_le_bytes());
        let release = env!("CARGO_PKG_VERSION").bytes().chain(std::iter::repeat(0));
        header.extend(release.take(16));
        let crc = crc32fast::hash(&header);
        header.extend_from_slice(&crc.to_le_bytes());
        file.write_all_at(&header, 0)?;
        Ok(Self { file, position: HEADER as u64, rows: 0, block: Vec::new() })
    }

    /// Writes rows as one block.
    pub(super) fn write(&mut self, rows: &Rows) -> io::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        self.block.clear();
        self.block.extend_from_slice(&[0; 8]);
        for (key, row) in rows {
            for part in [key, row] {
                let length = u32::try_from(part.len()).map_err(io::Error::other)?;
                self.block.extend_from_slice(&length.to_le_bytes());
                self.block.extend_from_slice(part);
            }
        }
        let length = u32::try_from(self.block.len() - 8).map_err(io::Error::other)?;
        let crc = crc32fast::hash(&self.block[8..]);
        self.block[..4].copy_from_slice(&length.to_le_bytes());
        self.block[4..8].copy_from_slice(&crc.to_le_bytes());
        self.file.write_all_at(&self.block, self.position)?;
        self.position += self.block.len() as u64;
        self.rows += rows.len() as u64;
        Ok(())
    }

    /// Writes the end and waits until all is on disk. How many bytes there are.
    pub(super) fn finish(self) -> io::Result<u64> {
        let rows = self.rows.to_le_bytes();
        let mut end = vec![0; 4];
        end.extend_from_slice(&rows);
        end.extend_from_slice(&crc32fast::hash(&rows).to_le_bytes());
        self.file.write_all_at(&end, self.position)?;
        self.file.sync_data()?;
        Ok(self.position + end.len() as u64)
    }
}

/// The snapshots of a directory, newest first. Only their headers are looked at; a file without a
/// readable header is left out.
pub(crate) fn list(host: &dyn Host, dir: &Path) -> Result<Vec<Snapshot>, Error> {
    let names = host.names(dir).map_err(|error| Error::io(dir, &error))?;
    let mut found = Vec::new();
    for name in names.iter().filter(|name| name.ends_with(".snap")) {
        let path = dir.join(name);
        match Source::open(host, &path) {
            Ok(source) => found.push(source.snapshot),
            Err(error @ Error::Newer(_)) => return Err(error),
            Err(error) => tracing::error!(%error, "a snapshot cannot be used"),
        }
    }
    found.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.as_of));
    Ok(found)
}

/// Reads a snapshot, block by block, each one checked.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) snapshot: Snapshot,
    file: Box<dyn HostFile>,
    position: u64,
    rows: u64,
}

impl Source {
    /// Opens a snapshot's file.
    pub(crate) fn open(host: &dyn Host, path: &Path) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::io(path, &error);
        let file = host.open(path).map_err(failed)?;
        let bytes = file.length().map_err(failed)?;
        let mut header = [0; HEADER];
        let read = read_full(&*file, &mut header, 0).map_err(failed)?;
        let number = |at: usize| u64::from_le_bytes(chunk(&header, at));
        let (body, crc) = header.split_at(HEADER - 4);
        if read < HEADER || body[..8] != MAGIC || crc32fast::hash(body).to_le_bytes() != crc {
            return Err(unusable(path, "its header is damaged"));
        }
        let version = u32::from_le_bytes(chunk(&header, 8));
        if version > VERSION || u32::from_le_bytes(chunk(&header, 12)) > codec::LEVEL {
            let release = String::from_utf8_lossy(&body[32..48]).replace('\0', "");
            return Err(Error::Newer(format!(
                "{} was written by Tidings {release}; install that release or a later one",
                path.display()
            )));
        }
        let at = i64::from_le_bytes(chunk(&header, 24));
        let snapshot = Snapshot { as_of: number(16), path: path.to_owned(), bytes, at };
        Ok(Self { snapshot, file, position: HEADER as u64, rows: 0 })
    }

    /// The next rows; empty at the end, which is there only if the file is whole.
    pub(crate) fn next(&mut self) -> Result<Rows, Error> {
        let mut head = [0; 8];
        self.read(&mut head[..4])?;
        let length = u32::from_le_bytes(chunk(&head, 0));
        if length == 0 {
            return self.end();
        }
        if length > BLOCK_MAX {
            return Err(self.damaged());
        }
        self.read(&mut head[4..])?;
        let mut block = vec![0; usize::try_from(length).map_err(|_| self.damaged())?];
        self.read(&mut block)?;
        if crc32fast::hash(&block).to_le_bytes() != head[4..] {
            return Err(self.damaged());
        }
        let mut rows = Rows::new();
        let mut rest = block.as_slice();
        while !rest.is_empty() {
            let pair = part(&mut rest).zip(part(&mut rest));
            rows.push(pair.ok_or_else(|| self.damaged())?);
        }
        self.rows += rows.len() as u64;
        Ok(rows)
    }

    fn end(&mut self) -> Result<Rows, Error> {
        let mut end = [0; 12];
        self.read(&mut end)?;
        let (rows, crc) = end.split_at(8);
        let whole = crc32fast::hash(rows).to_le_bytes() == crc && rows == self.rows.to_le_bytes();
        if whole { Ok(Rows::new()) } else { Err(self.damaged()) }
    }

    fn read(&mut self, into: &mut [u8]) -> Result<(), Error> {
        match read_full(&*self.file, into, self.position) {
            Ok(read) if read == into.len() => {
                self.position += into.len() as u64;
                Ok(())
            }
            Ok(_) => Err(unusable(&self.snapshot.path, "it ends too early")),
            Err(error) => Err(Error::io(&self.snapshot.path, &error)),
        }
    }

    fn damaged(&self) -> Error {
        unusable(&self.snapshot.path, &format!("it is damaged near byte {}", self.position))
    }
}

fn part(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let (length, behind) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (part, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some(part.to_vec())
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::Tables(format!("{}: {why}", path.display()))
}
