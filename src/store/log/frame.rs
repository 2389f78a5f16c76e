//! A frame: one group commit as bytes. Header, then records.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | magic `TDF1` |
//! | 4 | length of the records in bytes |
//! | 4 | crc32 of all that follows |
//! | 4 | number of records |
//! | 8 | lsn: offset of the first record |
//! | 8 | synced: every record before this offset was on disk when this frame was written |
//! | 8 | time of the commit, Unix milliseconds |
//!
//! All numbers are little-endian. `synced` is what tells a torn write from damage on recovery. The
//! checksum begins with the segment's random salt, so that no event's data can pass for a frame.

use crate::domain::Offset;

/// Length of a header.
pub(crate) const HEADER: usize = 40;

/// Longest records part. More is damage.
pub(crate) const BODY_MAX: u32 = 256 << 20;

const MAGIC: [u8; 4] = *b"TDF1";

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) body_bytes: u32,
    pub(crate) crc: u32,
    pub(crate) count: u32,
    pub(crate) lsn: Offset,
    pub(crate) synced: Offset,
    pub(crate) at_millis: i64,
}

impl Header {
    /// Offset of the first record after the frame.
    pub(crate) fn end(&self) -> Offset {
        self.lsn + u64::from(self.count)
    }

    /// Bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> u64 {
        u64::from(self.body_bytes) + HEADER as u64
    }
}

/// What distinguishes a segment's frames from bytes that look like frames.
pub(crate) type Salt = [u8; 8];

/// Fills in a frame's header but for its checksum, which depends on the segment. The first
/// `HEADER` bytes were left free for it.
pub(crate) fn fill(frame: &mut [u8], count: u32, lsn: Offset, synced: Offset, at_millis: i64) {
    assert!(frame.len() >= HEADER, "a frame has room for its header");
    let body = u32::try_from(frame.len() - HEADER).expect("checked against BODY_MAX");
    frame[12..16].copy_from_slice(&count.to_le_bytes());
    frame[16..24].copy_from_slice(&lsn.to_le_bytes());
    frame[24..32].copy_from_slice(&synced.to_le_bytes());
    frame[32..40].copy_from_slice(&at_millis.to_le_bytes());
    frame[0..4].copy_from_slice(&MAGIC);
    frame[4..8].copy_from_slice(&body.to_le_bytes());
}

/// Puts the checksum into a frame.
pub(crate) fn seal(frame: &mut [u8], salt: &Salt) {
    let crc = checksum(salt, &frame[12..HEADER], &frame[HEADER..]);
    frame[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// Reads a header. `None`: these bytes are not one.
pub(crate) fn read_header(bytes: &[u8; HEADER]) -> Option<Header> {
    let u32_at =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let u64_at = |at: usize| u64::from(u32_at(at)) | (u64::from(u32_at(at + 4)) << 32);
    let header = Header {
        body_bytes: u32_at(4),
        crc: u32_at(8),
        count: u32_at(12),
        lsn: u64_at(16),
        synced: u64_at(24),
        at_millis: i64::from_le_bytes(u64_at(32).to_le_bytes()),
    };
    let plausible = bytes[0..4] == MAGIC
        && header.body_bytes <= BODY_MAX
        && header.count > 0
        && header.synced <= header.lsn
        && header.lsn.checked_add(u64::from(header.count)).is_some();
    plausible.then_some(header)
}

/// Whether a frame's bytes are those that were written.
pub(crate) fn is_whole(header: &Header, head: &[u8; HEADER], body: &[u8], salt: &Salt) -> bool {
    checksum(salt, &head[12..], body) == header.crc
}

fn checksum(salt: &Salt, head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(salt);
    hasher.update(head);
    hasher.update(body);
    hasher.finalize()
}

/// Positions in `bytes` at which a frame might begin.
pub(crate) fn candidates(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.windows(MAGIC.len()).enumerate().filter(|(_, found)| *found == MAGIC).map(|(at, _)| at)
}
