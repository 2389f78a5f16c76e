//! Tables on their way from memory into their engine. They are served from memory as soon as they
//! are built; the engine is filled behind them, step by step, and takes over once it has every row.
//!
//! Until then it has no schema, so that a start after a crash does not trust it but builds anew.

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::Error;
use super::key::{Key, Table};
use super::tables::{Batch, Rows, Tables};

/// Rows that the engine is given at once: it frees memory only between batches.
const STEP: usize = 256;

/// Tables in memory, and the engine that gets them.
#[derive(Debug)]
pub(crate) struct Handover {
    engine: Box<dyn Tables>,
    /// Guards memory; held for writing while the engine takes a batch.
    state: RwLock<State>,
}

#[derive(Debug)]
enum State {
    Moving {
        memory: Box<dyn Tables>,
        /// The engine has the rows before this key, but for those of `Table::Meta`.
        to: Key,
    },
    /// The engine failed; the rows stay in memory.
    Stuck(Box<dyn Tables>),
    Done,
}

impl Handover {
    /// Begins to give an empty engine what is in memory.
    pub(crate) fn new(memory: Box<dyn Tables>, engine: Box<dyn Tables>) -> Self {
        let state = RwLock::new(State::Moving { memory, to: Key(vec![0]) });
        Self { engine, state }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect("no panic while it is held")
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().expect("no panic while it is held")
    }

    fn reading<T>(&self, from: impl Fn(&dyn Tables) -> T) -> T {
        match &*self.read() {
            State::Moving { memory, .. } | State::Stuck(memory) => from(&**memory),
            State::Done => from(&*self.engine),
        }
    }

    /// One step. `Ok(true)`: there is more to do.
    fn step(&self, memory: &dyn Tables, to: &mut Key) -> Result<bool, Error> {
        let rows = memory.scan(to, &Key(vec![u8::MAX]), STEP, false)?;
        let is_last = rows.is_empty();
        let batch: Batch = match rows.last() {
            Some((last, _)) => {
                *to = Key(last.clone()).zero();
                rows.into_iter().filter(|(key, _)| !is_meta(key)).map(written).collect()
            }
            // All at once, the schema among them.
            None => {
                let meta = Key::of(Table::Meta);
                memory
                    .scan(&meta, &meta.clone().end(), usize::MAX, false)?
                    .into_iter()
                    .map(written)
                    .collect()
            }
        };
        self.engine.apply(&batch)?;
        Ok(!is_last)
    }
}

impl Tables for Handover {
    fn apply(&self, batch: &Batch) -> Result<(), Error> {
        if matches!(&*self.read(), State::Done) {
            return self.engine.apply(batch);
        }
        let mut state = self.write();
        match &*state {
            State::Done => self.engine.apply(batch),
            State::Stuck(memory) => memory.apply(batch),
            State::Moving { memory, to } => {
                memory.apply(batch)?;
                let is_there = |key: &[u8]| key < to.0.as_slice() && !is_meta(key);
                let there = batch.iter().filter(|(key, _)| is_there(key));
                let there: Batch = there.map(|(key, row)| (key.clone(), row.clone())).collect();
                if there.is_empty() {
                    return Ok(());
                }
                if let Err(error) = self.engine.apply(&there) {
                    get_stuck(&mut state, &error);
                }
                Ok(())
            }
        }
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Error> {
        self.reading(|tables| tables.get(key))
    }

    fn scan(&self, from: &Key, to: &Key, max: usize, backwards: bool) -> Result<Rows, Error> {
        self.reading(|tables| tables.scan(from, to, max, backwards))
    }

    fn count(&self, prefix: &Key) -> Result<u64, Error> {
        self.reading(|tables| tables.count(prefix))
    }

    /// What is not in the engine yet is built anew by the next start.
    fn close(&self) -> Result<(), Error> {
        match &*self.read() {
            State::Moving { .. } | State::Stuck(_) => Ok(()),
            State::Done => self.engine.close(),
        }
    }

    fn settle(&self) -> bool {
        if matches!(&*self.read(), State::Done | State::Stuck(_)) {
            return false;
        }
        let mut state = self.write();
        let State::Moving { memory, to } = &mut *state else { return false };
        match self.step(&**memory, to) {
            Ok(true) => true,
            Ok(false) => {
                let memory = std::mem::replace(&mut *state, State::Done);
                // Freeing all rows takes a while.
                drop(state);
                drop(memory);
                false
            }
            Err(error) => {
                get_stuck(&mut state, &error);
                false
            }
        }
    }
}

fn get_stuck(state: &mut State, error: &Error) {
    tracing::error!(%error, "the tables live in memory until the next start");
    if let State::Moving { memory, .. } = std::mem::replace(state, State::Done) {
        *state = State::Stuck(memory);
    }
}

fn is_meta(key: &[u8]) -> bool {
    key.first() == Some(&Table::Meta.byte())
}

fn written((key, row): (Vec<u8>, Vec<u8>)) -> (Vec<u8>, Option<Vec<u8>>) {
    (key, Some(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tables::Memory;

    fn all(tables: &dyn Tables) -> Rows {
        tables.scan(&Key(vec![0]), &Key(vec![u8::MAX]), usize::MAX, false).expect("readable")
    }

    fn row(table: Table, number: u32, text: &str) -> (Vec<u8>, Option<Vec<u8>>) {
        (Key::of(table).number(number).0, Some(text.as_bytes().to_vec()))
    }

    fn filled(rows: u32) -> Memory {
        let memory = Memory::default();
        let names = [Table::Cursor, Table::Meta, Table::Token];
        let rows = (0..rows).flat_map(|number| names.map(|table| row(table, number, "old")));
        memory.apply(&rows.collect()).expect("applied");
        memory
    }

    #[test]
    fn what_changes_on_the_way_is_in_the_engine_in_the_end() {
        let handover = Handover::new(Box::new(filled(1_000)), Box::new(Memory::default()));
        let engine = &*handover.engine;
        let expected = filled(1_000);
        let mut step = 0;
        while handover.settle() {
            step += 1;
            // Some before and some behind where the engine is, some new, some removed.
            let mut batch = Batch::from(
                [Table::Cursor, Table::Meta, Table::Token]
                    .map(|table| row(table, step * 71, "new")),
            );
            batch.insert(Key::of(Table::Cursor).number(step * 37).0, None);
            batch.insert(Key::of(Table::Token).number(1_000 - step * 37).0, None);
            batch.extend([
                row(Table::Gap, step, "added"),
                row(Table::Cursor, 5_000 + step, "added"),
            ]);
            handover.apply(&batch).expect("applied");
            expected.apply(&batch).expect("applied");
            assert_eq!(all(&handover), all(&expected), "step {step}");
            let schema = engine.count(&Key::of(Table::Meta)).expect("counted");
            assert_eq!(schema, 0, "before all else is there it must not be trusted");
        }
        assert!(step > 10);
        assert_eq!(all(engine), all(&expected));
        handover.apply(&Batch::from([row(Table::Gap, 9_999, "later")])).expect("applied");
        assert_eq!(all(engine), all(&handover));
    }
}
