//! A simulated disk: files, directories and tables, each with what is durable and what is not yet.
//! Never here: faults by chance (those are `machine`'s).

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::content::{Content, PAGE};
use crate::dice::Dice;
use crate::shelf::Shelf;

/// A directory's number and a name in it.
type Name = (u64, String);
type Names = BTreeMap<Name, Node>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(u64),
    Dir(u64),
}

/// A change of names. Whole on disk or not at all.
#[derive(Debug)]
struct Renaming {
    from: Option<Name>,
    to: Option<Name>,
    node: Node,
}

#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    live: Names,
    durable: Names,
    /// Changes of names that are not on disk yet, oldest first.
    pending: Vec<Renaming>,
    files: BTreeMap<u64, Content>,
    shelves: BTreeMap<u64, Shelf>,
    /// The file in which an engine keeps what is in a directory.
    engines: BTreeMap<u64, u64>,
    nodes: u64,
    /// Pages that there are.
    pub(crate) pages: usize,
}

impl Disk {
    pub(crate) fn new(root: &Path, pages: usize) -> Self {
        let (live, durable) = (Names::new(), Names::new());
        Self {
            root: root.to_owned(),
            live,
            durable,
            pending: vec![],
            files: BTreeMap::new(),
            shelves: BTreeMap::new(),
            engines: BTreeMap::new(),
            nodes: 0,
            pages,
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn file(&mut self, file: u64) -> &mut Content {
        self.files.get_mut(&file).expect("files stay until the machine stops")
    }

    /// What a file holds.
    pub(crate) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let file = self.open(path).ok()?;
        self.files.get(&file).map(|content| content.live().to_vec())
    }

    pub(crate) fn sync(&mut self, file: u64) {
        self.file(file).sync();
        let shelf = self.engines.get(&file).and_then(|dir| self.shelves.get_mut(dir));
        shelf.into_iter().for_each(Shelf::sync);
    }

    /// Opens or begins the tables in a directory, and answers its number.
    pub(crate) fn tables(&mut self, dir: &Path) -> io::Result<u64> {
        let number = self.create_dir(dir)?;
        let path = dir.join("db");
        let file = self.open(&path).or_else(|_| self.create(&path))?;
        self.engines.insert(file, number);
        self.shelves.entry(number).or_default();
        Ok(number)
    }

    pub(crate) fn shelf(&mut self, dir: u64) -> &mut Shelf {
        self.shelves.get_mut(&dir).expect("the tables were opened")
    }

    pub(crate) fn free(&self) -> usize {
        let used: usize = self.live.values().map(|node| self.size(*node)).sum();
        self.pages.saturating_sub(used)
    }

    pub(crate) fn used(&self) -> usize {
        self.live.values().map(|node| self.size(*node)).sum()
    }

    fn size(&self, node: Node) -> usize {
        match node {
            Node::File(file) => self.files[&file].pages(),
            Node::Dir(_) => 0,
        }
    }

    pub(crate) fn write(&mut self, file: u64, bytes: &[u8], position: usize) -> io::Result<()> {
        let free = self.free();
        let content = self.file(file);
        let fitting = content.fitting(bytes.len(), position, free);
        content.write(&bytes[..fitting], position);
        if fitting < bytes.len() { Err(full()) } else { Ok(()) }
    }

    pub(crate) fn open(&self, path: &Path) -> io::Result<u64> {
        match self.live.get(&self.name(path)?) {
            Some(Node::File(file)) => Ok(*file),
            Some(Node::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(crate) fn create(&mut self, path: &Path) -> io::Result<u64> {
        if let Ok(file) = self.open(path) {
            self.file(file).set_len(0);
            return Ok(file);
        }
        let name = self.name(path)?;
        if self.free() == 0 {
            return Err(full());
        }
        self.nodes += 1;
        self.files.insert(self.nodes, Content::default());
        self.change(None, Some(name), Node::File(self.nodes));
        Ok(self.nodes)
    }

    /// Makes a directory and those above it, and answers its number.
    pub(crate) fn create_dir(&mut self, dir: &Path) -> io::Result<u64> {
        let mut at = 0;
        for part in self.parts(dir) {
            let name = (at, part);
            at = match self.live.get(&name) {
                Some(Node::Dir(dir)) => *dir,
                Some(Node::File(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
                None => {
                    self.nodes += 1;
                    self.change(None, Some(name), Node::Dir(self.nodes));
                    self.nodes
                }
            };
        }
        Ok(at)
    }

    pub(crate) fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        let Ok(dir) = self.dir(dir) else { return Ok(vec![]) };
        Ok(children(&self.live, dir).into_iter().map(|(name, _)| name.1).collect())
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.name(from)?, self.name(to)?);
        let node = *self.live.get(&from).ok_or(io::ErrorKind::NotFound)?;
        if let Some(Node::Dir(dir)) = self.live.get(&to)
            && !children(&self.live, *dir).is_empty()
        {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.change(Some(from), Some(to), node);
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let node = Node::File(self.open(path)?);
        let name = self.name(path)?;
        self.change(Some(name), None, node);
        Ok(())
    }

    pub(crate) fn remove_dir(&mut self, dir: &Path) -> io::Result<()> {
        let (number, name) = (self.dir(dir)?, self.name(dir)?);
        for (name, node) in children(&self.live, number) {
            match node {
                Node::File(_) => self.change(Some(name), None, node),
                Node::Dir(_) => self.remove_dir(&dir.join(&name.1))?,
            }
        }
        self.change(Some(name), None, Node::Dir(number));
        Ok(())
    }

    /// The number of a directory that there is.
    pub(crate) fn dir(&self, dir: &Path) -> io::Result<u64> {
        let mut at = 0;
        for part in self.parts(dir) {
            match self.live.get(&(at, part)) {
                Some(Node::Dir(dir)) => at = *dir,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => return Err(io::ErrorKind::NotFound.into()),
            }
        }
        Ok(at)
    }

    pub(crate) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let dir = self.dir(dir)?;
        for renaming in std::mem::take(&mut self.pending) {
            match renaming.touches(dir) {
                true => renaming.apply(&mut self.durable),
                false => self.pending.push(renaming),
            }
        }
        Ok(())
    }

    /// The machine loses its power: of what is not durable, `kept` in a thousand is kept.
    pub(crate) fn cut(&mut self, dice: &mut Dice, kept: u64) {
        for renaming in std::mem::take(&mut self.pending) {
            if dice.chance(kept) {
                renaming.apply(&mut self.durable);
            }
        }
        self.live = reachable(&self.durable);
        self.durable.clone_from(&self.live);
        for content in self.files.values_mut() {
            content.cut(dice, kept);
        }
        for shelf in self.shelves.values_mut() {
            shelf.cut(dice);
        }
        self.forget();
    }

    /// The process is killed: the machine keeps everything, the tables' engine may lose a tail.
    pub(crate) fn kill(&mut self, dice: &mut Dice) {
        for shelf in self.shelves.values_mut() {
            shelf.kill(dice);
        }
        self.forget();
    }

    fn forget(&mut self) {
        let named = |node: Node| {
            let pending = self.pending.iter().any(|renaming| renaming.node == node);
            pending || [&self.live, &self.durable].iter().any(|names| holds(names, node))
        };
        let files: Vec<u64> = self.files.keys().copied().collect();
        let gone: Vec<u64> = files.into_iter().filter(|file| !named(Node::File(*file))).collect();
        for file in gone {
            self.files.remove(&file);
        }
    }

    fn change(&mut self, from: Option<Name>, to: Option<Name>, node: Node) {
        let renaming = Renaming { from, to, node };
        renaming.apply(&mut self.live);
        self.pending.push(renaming);
    }

    fn name(&self, path: &Path) -> io::Result<Name> {
        let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.dir(dir)?, name.to_string_lossy().into_owned()))
    }

    /// The parts of a path below the root; what is above it is there.
    fn parts(&self, path: &Path) -> Vec<String> {
        let below = path.strip_prefix(&self.root).unwrap_or(Path::new(""));
        let normal = |part: Component<'_>| part.as_os_str().to_string_lossy().into_owned();
        below.components().map(normal).collect()
    }
}

impl Renaming {
    fn touches(&self, dir: u64) -> bool {
        [&self.from, &self.to].into_iter().flatten().any(|name| name.0 == dir)
    }

    fn apply(&self, names: &mut Names) {
        if let Some(from) = &self.from
            && names.get(from) == Some(&self.node)
        {
            names.remove(from);
        }
        if let Some(to) = &self.to {
            names.insert(to.clone(), self.node);
        }
    }
}

fn holds(names: &Names, node: Node) -> bool {
    names.values().any(|held| *held == node)
}

fn children(names: &Names, dir: u64) -> Vec<(Name, Node)> {
    let own = |(name, node): (&Name, &Node)| (name.clone(), *node);
    names.range((dir, String::new())..(dir + 1, String::new())).map(own).collect()
}

/// The names whose directories are there.
fn reachable(names: &Names) -> Names {
    let (mut found, mut open) = (Names::new(), vec![0]);
    while let Some(dir) = open.pop() {
        for (name, node) in children(names, dir) {
            if let Node::Dir(dir) = node {
                open.push(dir);
            }
            found.insert(name, node);
        }
    }
    found
}

pub(crate) fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

/// Bytes of so many pages.
pub(crate) fn bytes(pages: usize) -> u64 {
    u64::try_from(pages * PAGE).expect("disks are small here")
}

#[test]
fn a_name_that_was_not_synced_may_be_gone() {
    let file = Path::new("/sim/log/a");
    let mut disk = Disk::new(Path::new("/sim"), 9);
    disk.create_dir(Path::new("/sim/log")).expect("made");
    disk.sync_dir(Path::new("/sim")).expect("synced");
    let number = disk.create(file).expect("made");
    disk.file(number).write(b"content", 0);
    disk.file(number).sync();
    disk.cut(&mut Dice::new(1), 0);
    assert!(disk.open(file).is_err(), "its content was synced, its name was not");
    let number = disk.create(file).expect("made");
    disk.rename(file, Path::new("/sim/log/b")).expect("renamed");
    disk.sync_dir(Path::new("/sim/log")).expect("synced");
    disk.file(number).write(b"content", 0);
    disk.cut(&mut Dice::new(1), 0);
    let number = disk.open(Path::new("/sim/log/b")).expect("there");
    assert_eq!(
        (disk.file(number).len(), disk.names(Path::new("/sim/log")).expect("names").len()),
        (0, 1)
    );
}
