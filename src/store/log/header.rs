//! The header of a segment. From version 2 on it stands twice, in two pages of the file, so that no
//! single damaged page makes a whole segment unreadable.
//!
//! | bytes | at 0 and again at 4096 |
//! |---|---|
//! | 8 | magic `TIDINGS1` |
//! | 4 | version of this format: 2 |
//! | 4 | level: which record versions may be inside (`codec::LEVEL`) |
//! | 8 | offset of the first record |
//! | 8 | random salt of the frames' checksums |
//! | 16 | the release that wrote it, padded with zeros; stays at byte 32 in every later version |
//! | 4 | crc32 of these |
//!
//! Version 1 had magic, version, first offset, salt and crc32 in 32 bytes, and no second copy.

use super::footer::{u32_at, u64_at};
use super::frame::Salt;
use crate::domain::Offset;
use crate::store::codec;

/// Position of the second copy.
pub(crate) const COPY: u64 = 4_096;

/// Bytes that are read to find a header.
pub(crate) const REACH: usize = 4_096 + LENGTH;

const LENGTH: usize = 52;
const LENGTH_V1: usize = 32;
const MAGIC: [u8; 8] = *b"TIDINGS1";
const VERSION: u32 = 2;
const RELEASE: usize = 32;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) level: u32,
    pub(crate) first: Offset,
    pub(crate) salt: Salt,
    pub(crate) release: String,
}

/// What the beginning of a file turns out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A header.
    Header(Header),
    /// The header of a release that knows more than this one.
    Newer(String),
    /// Nothing that can be read.
    Nothing,
}

impl Header {
    /// The header of a new segment.
    pub(crate) fn new(first: Offset, salt: Salt) -> Self {
        let release = env!("CARGO_PKG_VERSION").to_owned();
        Self { version: VERSION, level: codec::LEVEL, first, salt, release }
    }

    /// One copy as bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LENGTH);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.level.to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out.extend(self.release.bytes().chain(std::iter::repeat(0)).take(LENGTH - 4 - RELEASE));
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Finds a header in the first `REACH` bytes of a file.
    pub(crate) fn find(bytes: &[u8]) -> Found {
        let copy = usize::try_from(COPY).ok().and_then(|copy| bytes.get(copy..));
        let copies = [bytes, copy.unwrap_or_default()].map(parse);
        let newer = |found: &Found| matches!(found, Found::Newer(_));
        let [one, other] = copies;
        match (one, other) {
            (Found::Header(header), _) | (_, Found::Header(header)) => Found::Header(header),
            (one, _) if newer(&one) => one,
            (_, other) => other,
        }
    }

    /// Position of the first frame.
    pub(crate) fn data_start(&self) -> u64 {
        match self.version {
            1 => LENGTH_V1 as u64,
            _ => COPY + 64,
        }
    }
}

fn parse(bytes: &[u8]) -> Found {
    let version = u32_at(bytes, 8);
    let length = if version == 1 { LENGTH_V1 } else { LENGTH };
    let (Some(copy), true) = (bytes.get(..length), bytes.starts_with(&MAGIC)) else {
        return Found::Nothing;
    };
    let release = copy.get(RELEASE..LENGTH - 4).map_or(String::new(), text);
    if version > VERSION {
        return Found::Newer(release);
    }
    let (body, crc) = copy.split_at(length - 4);
    if crc32fast::hash(body).to_le_bytes() != crc {
        return Found::Nothing;
    }
    let (level, first_at) = if version == 1 { (1, 12) } else { (u32_at(body, 12), 16) };
    let salt = body.get(first_at + 8..).and_then(<[u8]>::first_chunk);
    let header = Header {
        version,
        level,
        first: u64_at(body, first_at),
        salt: salt.copied().unwrap_or_default(),
        release,
    };
    if header.level > codec::LEVEL { Found::Newer(header.release) } else { Found::Header(header) }
}

fn text(padded: &[u8]) -> String {
    let end = padded.iter().position(|byte| *byte == 0).unwrap_or(padded.len());
    String::from_utf8_lossy(&padded[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &Header) -> Vec<u8> {
        let mut file = vec![0; REACH];
        let bytes = header.to_bytes();
        file[..bytes.len()].copy_from_slice(&bytes);
        file[4_096..].copy_from_slice(&bytes);
        file
    }

    #[test]
    fn one_damaged_page_leaves_the_other_copy() {
        let header = Header::new(77, *b"saltsalt");
        let whole = file(&header);
        for page in [0..4_096, 4_096..REACH] {
            let mut damaged = whole.clone();
            damaged[page].fill(0);
            assert_eq!(Header::find(&damaged), Found::Header(header.clone()));
        }
        assert_eq!(Header::find(&[]), Found::Nothing);
        assert_eq!(Header::find(&vec![0; REACH]), Found::Nothing);
    }

    #[test]
    fn a_newer_format_or_newer_records_are_refused_with_the_release_that_is_needed() {
        let mut header = Header::new(0, *b"saltsalt");
        header.release = "9.8.7".to_owned();
        header.level = codec::LEVEL + 1;
        assert_eq!(Header::find(&file(&header)), Found::Newer("9.8.7".to_owned()));
        header.level = codec::LEVEL;
        let mut bytes = file(&header);
        for copy in [0, 4_096] {
            bytes[copy + 8] = 3;
        }
        assert_eq!(Header::find(&bytes), Found::Newer("9.8.7".to_owned()));
    }
}
