//! The footer that seals a segment: what is in it, so that opening need not read it.
//!
//! It stands at the very end of the file: first the sparse index, then a trailer of fixed length.
//!
//! | bytes | index entry, about one for each 64 KiB of frames |
//! |---|---|
//! | 8 | offset of the first record of a frame |
//! | 8 | position of that frame in the file |
//! | 8 | the newest time of any record up to and including that frame, Unix milliseconds |
//!
//! | bytes | trailer |
//! |---|---|
//! | 8 | magic `TIDSEAL2` |
//! | 8 | salt of the segment: a recycled file's old footer is not taken for its own |
//! | 8 | offset of the first record |
//! | 8 | offset after the last record |
//! | 8 | number of records |
//! | 8 | position after the last frame |
//! | 8 | time of the first frame |
//! | 8 | time of the last frame |
//! | 8 | the newest time of any record of the log up to here: where `from=<time>` is searched |
//! | 4 | number of index entries |
//! | 4 | crc32 of the index |
//! | 4 | crc32 of the trailer so far |
//!
//! All numbers are little-endian.

use super::frame::Salt;
use crate::domain::Offset;

/// Length of a trailer.
pub(crate) const TRAILER: usize = 84;

/// Length of an index entry.
pub(crate) const MARK: usize = 24;

const MAGIC: [u8; 8] = *b"TIDSEAL2";

/// An entry of the sparse index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) offset: Offset,
    pub(crate) position: u64,
    pub(crate) latest: i64,
}

/// What a trailer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) first: Offset,
    pub(crate) next: Offset,
    pub(crate) count: u64,
    pub(crate) data_end: u64,
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
    pub(crate) latest: i64,
    pub(crate) marks: u32,
    pub(crate) marks_crc: u32,
}

/// Bytes of a footer with so many index entries.
pub(crate) fn length(marks: usize) -> u64 {
    (marks * MARK + TRAILER) as u64
}

/// Index entries as bytes.
pub(crate) fn marks_to_bytes(marks: &[Mark]) -> Vec<u8> {
    let mut out = Vec::with_capacity(marks.len() * MARK);
    for mark in marks {
        out.extend_from_slice(&mark.offset.to_le_bytes());
        out.extend_from_slice(&mark.position.to_le_bytes());
        out.extend_from_slice(&mark.latest.to_le_bytes());
    }
    out
}

/// Reads index entries; `None` if they are not those that the footer speaks of.
pub(crate) fn marks_from_bytes(bytes: &[u8], footer: &Footer) -> Option<Vec<Mark>> {
    let (marks, rest) = bytes.as_chunks::<MARK>();
    let whole = rest.is_empty()
        && u32::try_from(marks.len()).ok()? == footer.marks
        && crc32fast::hash(bytes) == footer.marks_crc;
    let mark = |bytes: &[u8; MARK]| Mark {
        offset: u64_at(bytes, 0),
        position: u64_at(bytes, 8),
        latest: i64_at(bytes, 16),
    };
    whole.then(|| marks.iter().map(mark).collect())
}

impl Footer {
    /// The trailer's bytes.
    pub(crate) fn to_bytes(self, salt: Salt) -> Vec<u8> {
        let mut out = Vec::with_capacity(TRAILER);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&salt);
        for number in [self.first, self.next, self.count, self.data_end] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for time in [self.first_at, self.last_at, self.latest] {
            out.extend_from_slice(&time.to_le_bytes());
        }
        out.extend_from_slice(&self.marks.to_le_bytes());
        out.extend_from_slice(&self.marks_crc.to_le_bytes());
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a trailer and the salt in it; `None`: these bytes are not one.
    pub(crate) fn from_bytes(bytes: &[u8; TRAILER]) -> Option<(Self, Salt)> {
        let (body, crc) = bytes.split_at(TRAILER - 4);
        if body[..8] != MAGIC || crc32fast::hash(body).to_le_bytes() != crc {
            return None;
        }
        let salt = *body[8..].first_chunk()?;
        let footer = Self {
            first: u64_at(body, 16),
            next: u64_at(body, 24),
            count: u64_at(body, 32),
            data_end: u64_at(body, 40),
            first_at: i64_at(body, 48),
            last_at: i64_at(body, 56),
            latest: i64_at(body, 64),
            marks: u32_at(body, 72),
            marks_crc: u32_at(body, 76),
        };
        (footer.first <= footer.next).then_some((footer, salt))
    }
}

/// The number at a place; zero where the bytes end too early.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(u64_at(bytes, at).to_le_bytes())
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer(marks: &[Mark]) -> Footer {
        Footer {
            first: 7,
            next: 90,
            count: 80,
            data_end: 70_000,
            first_at: -5,
            last_at: 9,
            latest: 11,
            marks: u32::try_from(marks.len()).expect("few"),
            marks_crc: crc32fast::hash(&marks_to_bytes(marks)),
        }
    }

    #[test]
    fn a_footer_is_read_as_it_was_written_and_any_flipped_bit_is_seen() {
        let marks = [
            Mark { offset: 7, position: 4_160, latest: -5 },
            Mark { offset: 60, position: 69_000, latest: 11 },
        ];
        let written = footer(&marks);
        let bytes: [u8; TRAILER] = written.to_bytes(*b"saltsalt").try_into().expect("its length");
        assert_eq!(Footer::from_bytes(&bytes), Some((written, *b"saltsalt")));
        assert_eq!(marks_from_bytes(&marks_to_bytes(&marks), &written), Some(marks.to_vec()));
        for bit in 0..TRAILER * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Footer::from_bytes(&flipped), None, "bit {bit}");
        }
        let mut index = marks_to_bytes(&marks);
        index[3] ^= 1;
        assert_eq!(marks_from_bytes(&index, &written), None);
    }
}
