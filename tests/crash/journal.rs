//! The journal of the preloaded library (`power_cut.c`), read back: which changes are not on the
//! disk yet. It never touches the files that the notes are about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const HEADER_WORDS: usize = 6;
const WORD: usize = 8;

/// What is about to happen to a file. The numbers are those of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its bytes from `start` to `end` are written.
    Write,
    /// Its bytes from `start` to `end` are cut off by the truncation that follows.
    Cut,
    /// It is truncated.
    Length,
}

/// How to undo one change.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) kind: Kind,
    /// Where the change begins; for writes the begin of a page.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The file's length before.
    pub(crate) length: u64,
    /// What was there from `start` on: whole pages, or up to the end of the file.
    pub(crate) old: Vec<u8>,
    /// Journal and position in it.
    at: (usize, u64),
}

/// The notes of files by inode, in order, without those that a sync made void. Each journal is that
/// of one process, oldest first.
pub(crate) fn unsynced(journals: &[PathBuf]) -> BTreeMap<u64, Vec<Note>> {
    let mut files = BTreeMap::<u64, Vec<Note>>::new();
    for (number, path) in journals.iter().enumerate() {
        read(number, path, &mut files);
    }
    files.retain(|_, notes| !notes.is_empty());
    files
}

fn read(number: usize, path: &Path, files: &mut BTreeMap<u64, Vec<Note>>) {
    // A process that was killed before it began has none.
    let text = std::fs::read(path).unwrap_or_default();
    let mut position = 0;
    // What follows the last whole note belongs to a change that was not made any more.
    while let Some((header, rest)) = header_at(&text[position..]) {
        let [kind, inode, start, end, length, bytes] = header;
        let Some(old) = rest.get(..index(bytes)) else { break };
        let notes = files.entry(inode).or_default();
        let at = (number, position as u64);
        let old = old.to_vec();
        match kind {
            1 => notes.push(Note { kind: Kind::Write, start, end, length, old, at }),
            2 => notes.push(Note { kind: Kind::Cut, start, end, length, old, at }),
            3 => notes.push(Note { kind: Kind::Length, start, end, length, old, at }),
            4 => notes.retain(|note| note.at >= (number, start)),
            5 => notes.clear(),
            other => panic!("{}: a note of kind {other} at {position}", path.display()),
        }
        position += HEADER_WORDS * WORD + index(bytes);
    }
}

fn header_at(text: &[u8]) -> Option<([u64; HEADER_WORDS], &[u8])> {
    let (header, rest) = text.split_at_checked(HEADER_WORDS * WORD)?;
    let (words, _) = header.as_chunks::<WORD>();
    let mut numbers = [0; HEADER_WORDS];
    for (number, word) in numbers.iter_mut().zip(words) {
        *number = u64::from_ne_bytes(*word);
    }
    Some((numbers, rest))
}

/// A number of bytes as an index.
pub(crate) fn index(bytes: u64) -> usize {
    usize::try_from(bytes).expect("files fit into memory")
}
