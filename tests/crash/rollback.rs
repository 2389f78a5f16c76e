//! What a power cut leaves of one file: each page, each length and each truncation that was not
//! synced is on the disk or is not. What was synced is never touched.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::dice::Dice;
use crate::journal::{Kind, Note, index};

/// Unit in which the kernel writes back.
const PAGE: u64 = 4096;

/// Unit that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// How much of what was not synced is lost.
pub(crate) enum Loss {
    /// All of it.
    Everything,
    /// What the dice say.
    Some(Dice),
}

impl Loss {
    fn coin(&mut self) -> bool {
        match self {
            Self::Everything => true,
            Self::Some(dice) => dice.one_in(2),
        }
    }

    /// A length between the one on disk and the one that was wanted.
    fn length(&mut self, durable: u64, wanted: u64) -> u64 {
        match self {
            Self::Everything => durable,
            Self::Some(dice) => match dice.between(0, 2) {
                0 => durable,
                1 => wanted,
                _ => dice.between(durable, wanted).next_multiple_of(PAGE).min(wanted),
            },
        }
    }

    /// A page as the disk has it: new, old, or torn where a sector ends.
    fn page(&mut self, old: &[u8], new: &[u8]) -> Vec<u8> {
        match self {
            Self::Everything => old.to_vec(),
            Self::Some(dice) => match dice.between(0, 2) {
                0 => old.to_vec(),
                1 => new.to_vec(),
                _ => {
                    let sectors = old.chunks(SECTOR).zip(new.chunks(SECTOR));
                    let torn = sectors.map(|(old, new)| if dice.one_in(2) { old } else { new });
                    torn.collect::<Vec<_>>().concat()
                }
            },
        }
    }
}

/// Takes back what is lost of a file. Answers in how many pages the disk differs from what the
/// process had seen.
pub(crate) fn roll_back(file: &File, notes: Vec<Note>, loss: &mut Loss) -> usize {
    let seen = content(file);
    let notes = without_truncations(file, notes, loss);
    if let Some(first) = notes.first() {
        lose_pages(file, &notes, first.length, loss);
    }
    let left = content(file);
    let pages = seen.len().max(left.len()).div_ceil(index(PAGE));
    let page = |text: &[u8], n: usize| {
        let text = text.get(n * index(PAGE)..).unwrap_or_default();
        text[..text.len().min(index(PAGE))].to_vec()
    };
    (0..pages).filter(|n| page(&seen, *n) != page(&left, *n)).count()
}

/// Decides about truncations, all of a file's together. Lost, all that followed them is lost with
/// them, for the blocks that they freed are not given out before; kept, what came before them is
/// kept. Answers with the notes that are still to be decided.
fn without_truncations(file: &File, mut notes: Vec<Note>, loss: &mut Loss) -> Vec<Note> {
    let truncates = |note: &Note| note.kind != Kind::Write;
    let (first, last) = (notes.iter().position(truncates), notes.iter().rposition(truncates));
    let (Some(first), Some(last)) = (first, last) else { return notes };
    if !loss.coin() {
        return notes.split_off(last + 1);
    }
    for note in notes.split_off(first).iter().rev() {
        file.write_all_at(&note.old, note.start).expect("old bytes written");
        file.set_len(note.length).expect("the old length set");
    }
    notes
}

fn lose_pages(file: &File, notes: &[Note], durable: u64, loss: &mut Loss) {
    let wanted = content(file).len() as u64;
    let mut pages = BTreeMap::<u64, &[u8]>::new();
    for note in notes {
        for page in note.start / PAGE..note.end.div_ceil(PAGE) {
            let old = note.old.get(index(page * PAGE - note.start)..).unwrap_or_default();
            // The first note says what was on disk; later ones what was only seen.
            pages.entry(page).or_insert(&old[..old.len().min(index(PAGE))]);
        }
    }
    for (page, old) in pages {
        let new = read_page(file, page);
        let old = [old, &vec![0; index(PAGE) - old.len()]].concat();
        file.write_all_at(&loss.page(&old, &new), page * PAGE).expect("a page written");
    }
    let length = loss.length(durable, wanted.max(durable));
    file.set_len(length).expect("a length set");
}

fn read_page(file: &File, page: u64) -> Vec<u8> {
    let (mut text, mut got) = (vec![0; index(PAGE)], 0);
    loop {
        match file.read_at(&mut text[got..], page * PAGE + got as u64).expect("a page read") {
            0 => return text,
            bytes => got += bytes,
        }
    }
}

fn content(file: &File) -> Vec<u8> {
    let length = file.metadata().expect("a length").len();
    let mut text = vec![0; index(length)];
    file.read_exact_at(&mut text, 0).expect("the file read");
    text
}
