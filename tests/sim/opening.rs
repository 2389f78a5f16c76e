//! How a history's process opens the store, dying on the way now and then, and what it finds there.
//! Never here: what is right (that is the oracle's).

use std::sync::Arc;

use tidings::domain::Offset;
use tidings::domain::record::Entry;

use crate::audit;
use crate::history::History;
use crate::host::Faulty;
use crate::machine::Death;
use crate::oracle::Fault;
use crate::setting;

/// Times that a process may die while it opens the store, before it is left alone.
const OPENINGS_MAX: u64 = 4;

impl History {
    /// Opens the store and looks at all of it. The process may die on the way, a few times.
    pub(crate) fn open(&mut self) -> Result<(), Fault> {
        for attempt in 1..=OPENINGS_MAX {
            match (attempt == OPENINGS_MAX, self.dice.chance(200)) {
                (true, _) => self.heal(),
                (false, true) => self.machine.light(self.dice.below(80)),
                (false, false) => {}
            }
            self.machine.tell("open");
            let host = Arc::new(Faulty::new(&self.machine));
            match setting::open(host, &self.config) {
                Ok(store) if !self.machine.is_dead() => {
                    self.store = Some(store);
                    let looked = self.look();
                    if !self.machine.is_dead() {
                        return looked;
                    }
                    self.fail_opening();
                }
                Err(error) if self.machine.fired() == 0 && !self.machine.is_dead() => {
                    return Err(format!("the store does not open: {error}"));
                }
                opened => {
                    self.machine.tell(&format!("  opened {}", opened.is_ok()));
                    drop(opened);
                    self.fail_opening();
                }
            }
        }
        Err("the store does not open on a healthy machine".to_owned())
    }

    /// Opens the store on a healthy machine whose disk is damaged, and reads all that there is.
    pub(crate) fn open_damaged(&mut self) -> Result<Vec<Entry>, Fault> {
        let host = Arc::new(Faulty::new(&self.machine));
        let store = setting::open(host, &self.config);
        let store = store.map_err(|error| format!("the store does not open: {error}"))?;
        let reader = &store.reader;
        let (mut found, mut next) = (Vec::new(), reader.oldest_offset());
        loop {
            let entries = self.runtime.block_on(reader.read(next, 10));
            let entries = entries.map_err(|error| format!("{next} cannot be read: {error}"))?;
            let Some(last) = entries.last() else { break };
            next = last.offset + 1;
            found.extend(entries);
        }
        self.store = Some(store);
        Ok(found)
    }

    pub(crate) fn oldest(&self) -> Offset {
        self.store.as_ref().expect("open").reader.oldest_offset()
    }

    fn fail_opening(&mut self) {
        self.seen.failed_openings += 1;
        let death = self.dice.pick(&[Death::Kill, Death::PowerCut]);
        self.die(death);
    }

    fn look(&mut self) -> Result<(), Fault> {
        let store = self.store.as_ref().expect("just opened");
        let (runtime, reader) = (&self.runtime, &store.reader);
        let acknowledged = self.oracle.model.next;
        let tail = audit::read(runtime, reader, acknowledged, &mut self.dice)?;
        self.seen.found_unacknowledged += u64::try_from(tail.len()).expect("lengths fit");
        self.oracle.find(&tail)?;
        self.oracle.model.forgotten = reader.oldest_offset();
        audit::whole(runtime, reader, &self.oracle.model, &mut self.dice)?;
        self.read_to = reader.next_offset();
        self.check_retention()
    }
}
