//! What is decided while the disk is busy: it stands or falls with what it was decided upon.

use std::io;
use std::path::Path;
use std::sync::{Condvar, Mutex};

use super::*;
use crate::domain::Timestamp;
use crate::domain::command::{Command, Expect, Reply};
use crate::store::host::HostFile;
use crate::store::machine::Machine;
use crate::store::tables::Tables;
use crate::store::tests::{config, event, put, vault};
use crate::store::writer::{Failure, Pending};
use crate::store::{Reader, Store, open_on};

/// A disk whose writes can be held up, and then fail.
#[derive(Debug, Default)]
pub(in crate::store::writer) struct Gate {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    shut: bool,
    waits: bool,
    fails: bool,
}

#[derive(Debug)]
pub(in crate::store::writer) struct Gated(pub(in crate::store::writer) Arc<Gate>);

#[derive(Debug)]
struct GatedFile(Box<dyn HostFile>, Arc<Gate>);

impl Gate {
    pub(in crate::store::writer) fn shut(&self) {
        self.state.lock().expect("no panic").shut = true;
    }

    pub(in crate::store::writer) fn until_somebody_waits(&self) {
        let state = self.state.lock().expect("no panic");
        drop(self.moved.wait_while(state, |state| !state.waits).expect("no panic"));
    }

    pub(in crate::store::writer) fn release(&self, fails: bool) {
        *self.state.lock().expect("no panic") = State { shut: false, waits: false, fails };
        self.moved.notify_all();
    }

    fn pass(&self) -> io::Result<()> {
        let mut state = self.state.lock().expect("no panic");
        state.waits = state.shut;
        self.moved.notify_all();
        state = self.moved.wait_while(state, |state| state.shut).expect("no panic");
        match std::mem::take(&mut state.fails) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl Host for Gated {
    fn open(&self, path: &Path) -> io::Result<Box<dyn HostFile>> {
        Machine.open(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn HostFile>> {
        let file = Machine.create(path)?;
        match path.extension().is_some_and(|extension| extension == "new") {
            true => Ok(Box::new(GatedFile(file, self.0.clone()))),
            false => Ok(file),
        }
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        Machine.create_dir(dir)
    }
    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        Machine.names(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Machine.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        Machine.remove(path)
    }
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        Machine.remove_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        Machine.sync_dir(dir)
    }
    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        Machine.free_bytes(dir)
    }
    fn now(&self) -> Timestamp {
        Machine.now()
    }
    fn boot_id(&self) -> Option<String> {
        Machine.boot_id()
    }
    fn open_tables(&self, dir: &Path, cache_bytes: u64) -> Result<Box<dyn Tables>, Error> {
        Machine.open_tables(dir, cache_bytes)
    }
}

impl HostFile for GatedFile {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }
    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(into, position)
    }
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.1.pass()?;
        self.0.write_all_at(bytes, position)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

pub(in crate::store::writer) fn publish(id: &str) -> Command {
    Command::Publish(Arc::new(event(id)))
}

pub(in crate::store::writer) fn stored(offset: u64, duplicate: bool) -> Result<Reply, String> {
    Ok(Reply::Published { offset, duplicate })
}

pub(in crate::store::writer) fn answer(pending: Pending) -> Result<Reply, String> {
    match pending.blocking_recv().expect("answered") {
        Ok(reply) => Ok(reply),
        Err(Failure::Store(Error::Full(_))) => Err("full".to_owned()),
        Err(other) => panic!("{other:?}"),
    }
}

/// Holds the disk up while `a` is written, has three commands decided meanwhile, and lets the write
/// go on or fail. The answers of all four, then those of `afterwards`.
fn decided_meanwhile(fails: bool, afterwards: &[&str]) -> (Vec<Result<Reply, String>>, Reader) {
    let dir = tempfile::tempdir().expect("a directory");
    let gate = Arc::new(Gate::default());
    let host = Arc::new(Gated(gate.clone()));
    let opened = open_on(host, &config(dir.path()), Arc::new(Metrics::default()), vault());
    let Store { reader, submit, writer, .. } = opened.expect("opens");
    let core = &writer.core;
    let answers = std::thread::scope(|scope| {
        let threads = [(), ()].map(|()| scope.spawn(|| core.work()));
        let offer = |command| submit.offer(command).expect("room");
        assert_eq!(answer(offer(publish("first"))), stored(0, false));
        gate.shut();
        let mut pending = vec![offer(publish("a"))];
        gate.until_somebody_waits();
        let meanwhile = [publish("b"), publish("a"), put("s", Expect::Nothing)];
        pending.extend(meanwhile.map(offer));
        while core.slot().as_ref().is_none_or(|group| group.waiting.len() < 3) {
            std::thread::yield_now();
        }
        gate.release(fails);
        let mut answers: Vec<_> = pending.into_iter().map(answer).collect();
        answers.extend(afterwards.iter().map(|id| answer(offer(publish(id)))));
        submit.close();
        for thread in threads {
            thread.join().expect("no panic").expect("a clean end");
        }
        answers
    });
    (answers, reader)
}

#[test]
fn what_was_decided_upon_a_group_that_failed_fails_too_and_may_come_again() {
    let (answers, reader) = decided_meanwhile(true, &["b", "a", "a"]);
    assert_eq!(answers[..4], [(); 4].map(|()| Err("full".to_owned())));
    assert_eq!(answers[4..], [stored(1, false), stored(2, false), stored(2, true)]);
    assert_eq!(reader.counts().subscriptions, 0);
    assert_eq!(reader.next_offset(), 3);
}

#[test]
fn what_was_decided_upon_a_group_that_is_written_follows_it() {
    let (answers, reader) = decided_meanwhile(false, &["c"]);
    assert_eq!(answers[..3], [stored(1, false), stored(2, false), stored(1, true)]);
    assert!(matches!(answers[3], Ok(Reply::Subscription { created: true, .. })));
    assert_eq!(reader.counts().subscriptions, 1);
    // The subscription's record is at offset 3.
    assert_eq!(answers[4], stored(4, false));
}

#[tokio::test]
async fn the_queue_has_room_for_so_many_commands_and_none_once_the_writer_is_gone() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut config = config(dir.path());
    config.log.queue_max = 2;
    let opened = open_on(Arc::new(Machine), &config, Arc::new(Metrics::default()), vault());
    let Store { submit, mut writer, .. } = opened.expect("opens");
    let _first = submit.offer(publish("1")).expect("room");
    let second = submit.offer(publish("2")).expect("room");
    assert!(matches!(submit.offer(publish("3")), Err(Error::Busy)));
    assert!(!writer.turn().expect("served"));
    assert!(second.await.expect("answered").is_ok());
    let _kept =
        [submit.offer(publish("3")), submit.offer(publish("4"))].map(|it| it.expect("room"));
    let (waited, ()) = tokio::join!(submit.send(publish("5")), async { drop(writer) });
    assert!(matches!(waited, Err(Error::Closed)));
    assert!(matches!(submit.offer(publish("6")), Err(Error::Closed)));
}
