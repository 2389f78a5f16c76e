//! What an engine for tables keeps in one directory, and what becomes of it when the process or the
//! machine dies. Like sled it is no truth: a kill may take a tail, a power cut makes garbage.

use tidings::store::{Batch, Memory, Tables};

use crate::dice::Dice;

#[derive(Debug, Default)]
pub(crate) struct Shelf {
    /// What is on disk.
    base: Memory,
    /// What was written since.
    journal: Vec<Batch>,
    /// How much of it the engine has passed on to the machine.
    passed: usize,
    /// What reads see.
    now: Memory,
    /// It cannot be opened any more.
    broken: bool,
}

impl Shelf {
    /// The rows; `None` if the engine does not open.
    pub(crate) fn open(&mut self) -> Option<&Memory> {
        (!self.broken).then_some(&self.now)
    }

    pub(crate) fn rows(&self) -> &Memory {
        &self.now
    }

    pub(crate) fn apply(&mut self, batch: &Batch) {
        apply(&self.now, batch);
        self.journal.push(batch.clone());
    }

    /// The engine passes on all that it holds.
    pub(crate) fn close(&mut self) {
        self.passed = self.journal.len();
    }

    /// What was passed on is on disk.
    pub(crate) fn sync(&mut self) {
        for batch in self.journal.drain(..std::mem::take(&mut self.passed)) {
            apply(&self.base, &batch);
        }
    }

    /// A kill: all of it is there, or a tail that was not passed on is missing.
    pub(crate) fn kill(&mut self, dice: &mut Dice) {
        let kept = match dice.chance(500) {
            true => self.journal.len(),
            false => self.passed + dice.index(self.journal.len() - self.passed + 1),
        };
        self.journal.truncate(kept);
        self.passed = kept;
        self.now = self.base.clone();
        for batch in &self.journal {
            apply(&self.now, batch);
        }
    }

    /// A power cut: what was written since the last sync is there in part, or all is gone, or it
    /// does not open.
    pub(crate) fn cut(&mut self, dice: &mut Dice) {
        if self.journal.is_empty() {
            return;
        }
        self.broken = dice.chance(150);
        self.now = match dice.chance(200) {
            true => Memory::default(),
            false => self.base.clone(),
        };
        let kept = dice.pick(&[500, 900, 990]);
        for batch in std::mem::take(&mut self.journal) {
            let holes = batch.into_iter().filter(|_| dice.chance(kept)).collect();
            apply(&self.now, &holes);
        }
        self.base = self.now.clone();
        self.passed = 0;
    }
}

fn apply(rows: &Memory, batch: &Batch) {
    rows.apply(batch).expect("memory takes every batch");
}
