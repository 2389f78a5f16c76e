//! Bytes that nobody wrote: headers, frames and footers are decoded without a panic, and what was
//! changed is never taken for what was written.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::footer::{self, Footer, Mark, TRAILER};
use super::frame::{self, HEADER};
use super::header::{COPY, Found, Header, REACH};
use super::segment::{Opened, Segment};
use super::walk::Step;
use crate::store::Error;
use crate::store::machine::Machine;

/// A sealed frame of a body.
fn sealed(body: &[u8], count: u32, lsn: u64, at: i64, salt: [u8; 8]) -> Vec<u8> {
    let mut bytes = [&[0; HEADER][..], body].concat();
    frame::fill(&mut bytes, count, lsn, lsn, at);
    frame::seal(&mut bytes, &salt);
    bytes
}

/// A number that means something, one at the very end, or any.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..9_000_u64, u64::MAX - 99..=u64::MAX, any::<u64>()]
}

/// What is read of a frame's bytes; `None` if they are not taken for one.
fn taken(bytes: &[u8], salt: [u8; 8]) -> Option<frame::Header> {
    let (head, body) = bytes.split_first_chunk::<HEADER>()?;
    let header = frame::read_header(head)?;
    let body = body.get(..usize::try_from(header.body_bytes).ok()?)?;
    frame::is_whole(&header, head, body, &salt).then_some(header)
}

/// Opens a file as a segment and does with it all that a start and a reader do.
fn read_through(dir: &Path, bytes: &[u8], first: u64) {
    let path = dir.join(format!("{first:020}.seg"));
    std::fs::write(&path, bytes).expect("written");
    match Segment::open(&Machine, &path, first) {
        Ok(Opened::Segment(segment)) => {
            let mut walk = segment.walk(segment.header.data_start(), segment.capacity());
            let mut next = segment.first();
            while let Step::Frame(header, _) = walk.step() {
                next = header.end();
            }
            walk.search(next);
            segment.has_index();
            segment.after_latest(0);
            let (from, until) = (segment.first(), segment.next());
            // Records of a newer release are refused; nothing else is.
            let read = segment.read(from, until, 100, 1 << 20);
            assert!(matches!(read, Ok(_) | Err(Error::Newer(_))), "{read:?}");
        }
        Ok(Opened::Headless(_)) | Err(Error::Newer(_)) => {}
        Err(other) => panic!("{other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, ..ProptestConfig::with_cases(256)
    })]

    #[test]
    fn arbitrary_bytes_are_no_frame(bytes in vec(any::<u8>(), 0..400), salt: [u8; 8]) {
        prop_assert_eq!(taken(&bytes, salt), None);
        let marked = [b"TDF1", &bytes[..]].concat();
        prop_assert_eq!(taken(&marked, salt), None);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && crate::store::codec::decode(&mut rest).is_ok() {}
    }

    #[test]
    fn a_frame_whose_bytes_were_changed_is_not_taken(
        body in vec(any::<u8>(), 1..600),
        (count, lsn, at) in (1..1_000_u32, 0..1_u64 << 60, any::<i64>()),
        salt: [u8; 8],
        changes in vec((any::<Index>(), 1..=u8::MAX), 1..4),
        other: [u8; 8],
    ) {
        let whole = sealed(&body, count, lsn, at, salt);
        let header = taken(&whole, salt).expect("as it was written");
        prop_assert_eq!((header.count, header.lsn, header.at_millis), (count, lsn, at));
        if other != salt {
            prop_assert_eq!(taken(&whole, other), None, "a frame of another segment");
        }
        prop_assert_eq!(taken(&whole[..whole.len() - 1], salt), None, "cut short");
        let mut changed = whole.clone();
        for (at, by) in changes {
            changed[at.index(whole.len())] ^= by;
        }
        if changed != whole {
            prop_assert_eq!(taken(&changed, salt), None);
        }
    }

    #[test]
    fn a_header_whose_bytes_were_changed_is_not_taken_for_another(
        first: u64,
        salt: [u8; 8],
        changes in vec((any::<Index>(), any::<u8>()), 0..40),
    ) {
        let header = Header::new(first, salt);
        let mut bytes = vec![0; REACH];
        for copy in [0, usize::try_from(COPY).expect("small")] {
            bytes[copy..copy + header.to_bytes().len()].copy_from_slice(&header.to_bytes());
        }
        for (at, to) in changes {
            bytes[at.index(REACH)] = to;
        }
        match Header::find(&bytes) {
            Found::Header(found) => prop_assert_eq!(found, header),
            Found::Newer(_) | Found::Nothing => {}
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_header_and_no_footer(bytes in vec(any::<u8>(), 0..REACH)) {
        prop_assert_eq!(Header::find(&bytes), Found::Nothing);
        if let Some(trailer) = bytes.first_chunk::<TRAILER>() {
            prop_assert_eq!(Footer::from_bytes(trailer), None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, ..ProptestConfig::with_cases(128)
    })]

    /// The checksums are right, and the numbers are anything.
    #[test]
    fn a_footer_with_any_numbers_is_read_without_a_panic(
        (first, next, count, data_end) in (number(), number(), number(), number()),
        times: [i64; 3],
        marks in vec((any::<u64>(), any::<u64>(), any::<i64>()), 0..4),
        count_of_marks in proptest::option::of(any::<u32>()),
        frames in vec(vec(any::<u8>(), 1..100), 0..4),
    ) {
        let salt = *b"saltsalt";
        let marks: Vec<Mark> = marks
            .into_iter()
            .map(|(offset, position, latest)| Mark { offset, position, latest })
            .collect();
        let index = footer::marks_to_bytes(&marks);
        let own = u32::try_from(marks.len()).expect("few");
        let footer = Footer {
            first,
            next,
            count,
            data_end,
            first_at: times[0],
            last_at: times[1],
            latest: times[2],
            marks: count_of_marks.unwrap_or(own),
            marks_crc: crc32fast::hash(&index),
        };
        let header = Header::new(first, salt);
        let mut bytes = vec![0; 4_160];
        bytes[..52].copy_from_slice(&header.to_bytes());
        bytes[4_096..4_148].copy_from_slice(&header.to_bytes());
        for (at, body) in (0..).zip(&frames) {
            bytes.extend(sealed(body, 1, first.saturating_add(at), 0, salt));
        }
        bytes.extend(index);
        bytes.extend(footer.to_bytes(salt));
        let dir = tempfile::tempdir().expect("a directory");
        read_through(dir.path(), &bytes, first);
    }
}
