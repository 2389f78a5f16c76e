//! The simulated machine as the store sees it. Never here: what becomes of a call, which is
//! `machine`'s.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tidings::store::{self, Batch, Host, HostFile, Key, Rows, Tables};

use crate::machine::{Machine, broken};

/// One process's way to the machine.
#[derive(Debug, Clone)]
pub(crate) struct Faulty {
    machine: Machine,
    process: u64,
}

#[derive(Debug)]
struct File {
    host: Faulty,
    file: u64,
    name: String,
}

#[derive(Debug)]
struct Shelved {
    host: Faulty,
    dir: u64,
}

impl Faulty {
    /// For the process that runs now.
    pub(crate) fn new(machine: &Machine) -> Self {
        Self { machine: machine.clone(), process: machine.process() }
    }

    fn file(&self, file: u64, path: &Path) -> Box<dyn HostFile> {
        Box::new(File { host: self.clone(), file, name: short(path) })
    }
}

impl Host for Faulty {
    fn open(&self, path: &Path) -> io::Result<Box<dyn HostFile>> {
        let mut state = self.machine.state();
        match state.enter(self.process, &format!("  open {}", short(path)))? {
            true => Err(broken()),
            false => state.disk.open(path).map(|file| self.file(file, path)),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn HostFile>> {
        let mut state = self.machine.state();
        let last = state.enter(self.process, &format!("  create {}", short(path)))?;
        state.plain(last, |disk| disk.create(path)).map(|file| self.file(file, path))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.machine.state();
        let last = state.enter(self.process, &format!("  create_dir {}", short(dir)))?;
        state.plain(last, |disk| disk.create_dir(dir)).map(drop)
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.machine.state();
        if state.enter(self.process, &format!("  names {}", short(dir)))? {
            return Err(broken());
        }
        let mut names = state.disk.names(dir)?;
        // The order of names in a directory is nobody's promise.
        for at in 1..names.len() {
            let other = state.dice.index(at + 1);
            names.swap(at, other);
        }
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.machine.state();
        let call = format!("  rename {} {}", short(from), short(to));
        let last = state.enter(self.process, &call)?;
        state.plain(last, |disk| disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.machine.state();
        let last = state.enter(self.process, &format!("  remove {}", short(path)))?;
        state.plain(last, |disk| disk.remove(path))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.machine.state();
        let last = state.enter(self.process, &format!("  remove_dir {}", short(dir)))?;
        state.plain(last, |disk| disk.remove_dir(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.machine.state();
        let last = state.enter(self.process, &format!("  sync_dir {}", short(dir)))?;
        state.sync_dir(last, dir)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let mut state = self.machine.state();
        match state.enter(self.process, "  free_bytes")? {
            true => Err(broken()),
            false => Ok(state.free_bytes()),
        }
    }

    fn now(&self) -> Timestamp {
        self.machine.now()
    }

    fn boot_id(&self) -> Option<String> {
        Some(self.machine.state().boot_id())
    }

    fn open_tables(&self, dir: &Path, _: u64) -> Result<Box<dyn Tables>, store::Error> {
        let mut state = self.machine.state();
        let last = state.enter(self.process, "  open_tables").map_err(no_tables)?;
        let dir = state.plain(last, |disk| disk.tables(dir)).map_err(no_tables)?;
        let faults = state.faults.tables;
        if state.dice.chance(faults) {
            return Err(no_tables(state.fire()));
        }
        match state.disk.shelf(dir).open() {
            Some(_) => Ok(Box::new(Shelved { host: self.clone(), dir })),
            None => Err(store::Error::Tables("the engine found garbage".to_owned())),
        }
    }
}

impl HostFile for File {
    fn length(&self) -> io::Result<u64> {
        let mut state = self.host.machine.state();
        state.look(self.host.process)?;
        Ok(wide(state.disk.file(self.file).len()))
    }

    fn read_at(&self, into: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.host.machine.state();
        state.look(self.host.process)?;
        Ok(state.disk.file(self.file).read(into, narrow(position)))
    }

    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut state = self.host.machine.state();
        let call = format!("  write {} {position}+{}", self.name, bytes.len());
        let last = state.enter(self.host.process, &call)?;
        state.write(last, self.file, bytes, narrow(position))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.host.machine.state();
        let last = state.enter(self.host.process, &format!("  sync {}", self.name))?;
        state.sync(last, self.file)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.host.machine.state();
        let last = state.enter(self.host.process, &format!("  set_len {} {length}", self.name))?;
        let file = self.file;
        state.plain(last, |disk| {
            disk.file(file).set_len(narrow(length));
            Ok(())
        })
    }
}

impl Tables for Shelved {
    fn apply(&self, batch: &Batch) -> Result<(), store::Error> {
        let mut state = self.host.machine.state();
        let last = state.enter(self.host.process, "  apply").map_err(no_tables)?;
        if !last || state.dice.chance(500) {
            state.disk.shelf(self.dir).apply(batch);
        }
        if last { Err(no_tables(broken())) } else { Ok(()) }
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, store::Error> {
        self.host.machine.state().disk.shelf(self.dir).rows().get(key)
    }

    fn scan(
        &self,
        from: &Key,
        to: &Key,
        max: usize,
        backwards: bool,
    ) -> Result<Rows, store::Error> {
        self.host.machine.state().disk.shelf(self.dir).rows().scan(from, to, max, backwards)
    }

    fn count(&self, prefix: &Key) -> Result<u64, store::Error> {
        self.host.machine.state().disk.shelf(self.dir).rows().count(prefix)
    }

    fn close(&self) -> Result<(), store::Error> {
        let mut state = self.host.machine.state();
        let last = state.enter(self.host.process, "  close tables").map_err(no_tables)?;
        if last {
            return Err(no_tables(broken()));
        }
        state.disk.shelf(self.dir).close();
        Ok(())
    }
}

fn no_tables(error: io::Error) -> store::Error {
    store::Error::Tables(error.to_string())
}

/// The last two parts of a path.
fn short(path: &Path) -> String {
    let parts: Vec<_> = path.iter().collect();
    let last: PathBuf = parts[parts.len().saturating_sub(2)..].iter().collect();
    last.display().to_string()
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).expect("lengths fit")
}

fn narrow(position: u64) -> usize {
    usize::try_from(position).expect("files are small here")
}
