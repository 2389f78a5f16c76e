//! What one simulated file holds: what reads see, what is on the platter, and what is on the way
//! between them. Never here: names, faults.

use std::collections::{BTreeMap, BTreeSet};

use crate::dice::Dice;

/// What the disk writes whole or not at all.
const SECTOR: usize = 512;

/// What the file system allots.
pub(crate) const PAGE: usize = 4_096;

#[derive(Debug, Default)]
pub(crate) struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Every state that an unsynced sector was in since the last sync, oldest first.
    dirty: BTreeMap<usize, Vec<Vec<u8>>>,
    /// Every length that the file had since the last sync, but for the durable one.
    lengths: Vec<usize>,
    /// Pages that take room.
    allotted: BTreeSet<usize>,
}

impl Content {
    pub(crate) fn len(&self) -> usize {
        self.live.len()
    }

    pub(crate) fn pages(&self) -> usize {
        self.allotted.len()
    }

    pub(crate) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(crate) fn read(&self, into: &mut [u8], position: usize) -> usize {
        let Some(rest) = self.live.get(position..) else { return 0 };
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        count
    }

    /// How many of the bytes fit if so many more pages are free.
    pub(crate) fn fitting(&self, bytes: usize, position: usize, mut free: usize) -> usize {
        if bytes == 0 {
            return 0;
        }
        for page in position / PAGE..=(position + bytes - 1) / PAGE {
            if !self.allotted.contains(&page) {
                if free == 0 {
                    return (page * PAGE).saturating_sub(position);
                }
                free -= 1;
            }
        }
        bytes
    }

    pub(crate) fn write(&mut self, bytes: &[u8], position: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = position + bytes.len();
        if end > self.live.len() {
            self.live.resize(end, 0);
            self.lengths.push(end);
        }
        self.live[position..end].copy_from_slice(bytes);
        self.allotted.extend(position / PAGE..=(end - 1) / PAGE);
        self.soil(position, end);
    }

    pub(crate) fn set_len(&mut self, length: usize) {
        let before = self.live.len();
        self.live.resize(length, 0);
        self.lengths.push(length);
        self.allotted.retain(|page| page * PAGE < length);
        if length < before {
            self.soil(length, before);
        }
    }

    pub(crate) fn sync(&mut self) {
        if !self.lengths.is_empty() {
            self.durable.resize(self.live.len(), 0);
        }
        for sector in std::mem::take(&mut self.dirty).into_keys() {
            let to = ((sector + 1) * SECTOR).min(self.durable.len());
            let from = (sector * SECTOR).min(to);
            self.durable[from..to].copy_from_slice(&self.live[from..to]);
        }
        self.lengths.clear();
    }

    /// What a failed sync leaves: nothing is dirty any more, some of it is on disk, and the rest
    /// will never be, though reads go on showing it.
    pub(crate) fn sync_failed(&mut self, dice: &mut Dice, kept: u64) {
        self.durable = self.torn(dice, kept);
        self.dirty.clear();
        self.lengths.clear();
        if self.durable.len() != self.live.len() {
            self.lengths.push(self.live.len());
        }
    }

    /// What a power cut leaves.
    pub(crate) fn cut(&mut self, dice: &mut Dice, kept: u64) {
        self.durable = self.torn(dice, kept);
        self.live.clone_from(&self.durable);
        self.dirty.clear();
        self.lengths.clear();
        self.allotted = (0..self.live.len().div_ceil(PAGE)).collect();
    }

    /// Changes what is on disk behind everyone's back.
    pub(crate) fn damage(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.live);
        self.durable.clone_from(&self.live);
        self.allotted = (0..self.live.len().div_ceil(PAGE)).collect();
    }

    fn soil(&mut self, from: usize, to: usize) {
        for sector in from / SECTOR..=(to - 1) / SECTOR {
            let mut image = vec![0; SECTOR];
            let _ = self.read(&mut image, sector * SECTOR);
            self.dirty.entry(sector).or_default().push(image);
        }
    }

    /// The durable content with each unsynced sector in one of the states that it was in.
    fn torn(&self, dice: &mut Dice, kept: u64) -> Vec<u8> {
        let mut found = self.durable.clone();
        if !self.lengths.is_empty() {
            let last = self.lengths.len() - 1;
            let length = match (dice.chance(kept), dice.index(last + 1)) {
                (true, _) => self.lengths[last],
                (false, 0) => self.durable.len(),
                (false, index) => self.lengths[index - 1],
            };
            found.resize(length, 0);
        }
        for (sector, images) in &self.dirty {
            let last = images.len() - 1;
            let image = match (dice.chance(kept), dice.index(last + 1)) {
                (true, _) => &images[last],
                (false, 0) => continue,
                (false, index) => &images[index - 1],
            };
            let from = (sector * SECTOR).min(found.len());
            let to = (from + SECTOR).min(found.len());
            found[from..to].copy_from_slice(&image[..to - from]);
        }
        found
    }
}

#[test]
fn what_was_not_synced_is_in_one_of_the_states_that_it_was_in() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let mut file = Content::default();
        file.write(&[1; 600], 0);
        file.sync();
        file.write(&[2; 600], 0);
        file.write(&[3; 600], 0);
        file.cut(&mut Dice::new(seed), 400);
        let state = |at: usize| file.live()[at];
        assert_eq!((file.len(), state(0), state(599)), (600, state(511), state(512)));
        seen.insert((state(0), state(512)));
    }
    assert_eq!(seen.len(), 9, "{seen:?}");
}

#[test]
fn a_failed_sync_leaves_pages_that_no_later_sync_writes() {
    let mut file = Content::default();
    file.write(&[1; 512], 0);
    file.sync();
    file.write(&[2; 512], 0);
    file.sync_failed(&mut Dice::new(0), 0);
    file.sync();
    assert_eq!(file.live()[0], 2, "reads still see it");
    file.cut(&mut Dice::new(0), 1_000);
    assert_eq!(file.live()[0], 1);
}
