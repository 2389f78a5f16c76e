//! Looking a log over without changing it: every frame is read and checked.

use std::path::Path;

use super::Error;
use super::log::segment_paths;
use super::segment::{SEGMENT_HEADER, Segment};

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Findings {
    /// Segments.
    pub segments: usize,
    /// Records in whole frames.
    pub records: u64,
    /// Bytes of whole frames and headers.
    pub bytes: u64,
    /// Bytes behind the last whole frame of the last segment: a torn write, cut at the next start,
    /// or a group that a running hub is writing.
    pub torn_bytes: u64,
}

/// Reads the whole log of a data directory. An error names the first place that is damaged.
pub fn verify(data_dir: &Path) -> Result<Findings, Error> {
    let dir = data_dir.join("log");
    let mut findings = Findings::default();
    if !dir.exists() {
        return Ok(findings);
    }
    let paths = segment_paths(&dir)?;
    let last = paths.len().saturating_sub(1);
    for (index, path) in paths.into_iter().enumerate() {
        let Some(segment) = Segment::open(path.clone())? else { continue };
        findings.segments += 1;
        let position = match walk(&segment, &mut findings) {
            Ok(position) => position,
            Err(Error::Damaged { position, .. }) if index == last => {
                match super::log::later_witness(&segment, position, segment.first)? {
                    Some(_) => return Err(Error::Damaged { path, position }),
                    None => position,
                }
            }
            Err(error) => return Err(error),
        };
        findings.bytes += position;
        let rest = segment.bytes() - position;
        if rest > 0 && index != last {
            return Err(Error::Damaged { path, position });
        }
        findings.torn_bytes = rest;
    }
    Ok(findings)
}

/// Checks frame after frame. The position behind the last one.
fn walk(segment: &Segment, findings: &mut Findings) -> Result<u64, Error> {
    let mut position = SEGMENT_HEADER;
    let mut next = segment.first;
    while let Some((header, head)) = segment.header_at(position)? {
        segment.body_at(position, &header, &head)?;
        if header.lsn != next {
            return Err(Error::Damaged { path: segment.path().to_owned(), position });
        }
        next = header.end();
        findings.records += u64::from(header.count);
        position += header.frame_bytes();
    }
    Ok(position)
}
