//! A disk whose power can be cut: processes run over a preloaded library that notes how to undo
//! what is not on the disk yet, and the cut takes back what the dice say. It must never be cut
//! while a process runs.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::journal::{self, Note};
use crate::rollback::{Loss, roll_back};

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A directory on a disk of the test's own.
pub(crate) struct Disk {
    /// The directory, without symbolic links in it.
    dir: PathBuf,
    journals: Vec<PathBuf>,
    lying: bool,
    /// The journals.
    scratch: TempDir,
    cuts: usize,
}

impl Disk {
    /// What is in the directory now is on the disk.
    pub(crate) fn new(dir: &Path) -> Self {
        let scratch = tempfile::tempdir().expect("a directory");
        let dir = dir.canonicalize().expect("a directory that is there");
        Self { dir, journals: Vec::new(), lying: false, scratch, cuts: 0 }
    }

    /// From now on syncs are answered with yes and do nothing.
    pub(crate) fn lie(&mut self) {
        self.lying = true;
    }

    /// The environment of the next process that works on the directory.
    pub(crate) fn environment(&mut self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        let name = format!("journal-{}-{}", self.cuts, self.journals.len());
        let journal = self.scratch.path().join(name);
        let mut environment = vec![
            ("LD_PRELOAD", text(library())),
            ("POWER_CUT_DIR", text(&self.dir)),
            ("POWER_CUT_JOURNAL", text(&journal)),
        ];
        if self.lying {
            environment.push(("POWER_CUT_LYING", "yes".to_owned()));
        }
        self.journals.push(journal);
        environment
    }

    /// Cuts the power: what was not synced is lost as far as told, and the kernel boots anew.
    /// Answers in how many pages of which top directory something was lost.
    pub(crate) fn cut(&mut self, loss: &mut Loss) -> BTreeMap<String, usize> {
        let mut unsynced = journal::unsynced(&self.journals);
        let mut lost = BTreeMap::new();
        for (path, inode) in files_under(&self.dir) {
            let Some(notes) = unsynced.remove(&inode) else { continue };
            let pages = self.roll_back(&path, notes, loss);
            let place = path.strip_prefix(&self.dir).expect("a file of the directory");
            let place = place.iter().next().expect("a name").to_string_lossy().into_owned();
            *lost.entry(place).or_default() += pages;
        }
        for journal in self.journals.drain(..).filter(|journal| journal.exists()) {
            std::fs::remove_file(journal).expect("the journal removed");
        }
        self.boot_anew();
        self.cuts += 1;
        lost.retain(|_, pages| *pages > 0);
        lost
    }

    fn roll_back(&self, path: &Path, notes: Vec<Note>, loss: &mut Loss) -> usize {
        let file = OpenOptions::new().read(true).write(true).open(path).expect("a file");
        roll_back(&file, notes, loss)
    }

    /// The kernel's boot id cannot be changed, so what was noted of it is made another one's.
    fn boot_anew(&self) {
        let marker = self.dir.join("running");
        let Ok(noted) = std::fs::read_to_string(&marker) else { return };
        let boot = std::fs::read_to_string(BOOT_ID).expect("a boot id");
        let before = uuid::Uuid::now_v7().to_string();
        std::fs::write(&marker, noted.replace(boot.trim(), &before)).expect("the marker written");
    }
}

/// The library, built by whoever comes first.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let new = scratch.join(format!("power_cut-{}.so", std::process::id()));
        build(&new);
        // Other tests may be about to do the same: each finds a whole file.
        let library = scratch.join("power_cut.so");
        std::fs::rename(&new, &library).expect("renamed");
        library
    })
}

fn build(library: &Path) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/crash/power_cut.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-U_FORTIFY_SOURCE", "-fvisibility=hidden", "-pthread"])
        .args(["-Wall", "-Wextra", "-Werror", "-o"])
        .args([library.as_os_str(), source.as_ref()])
        .output()
        .expect("a C compiler");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

/// All regular files with their inodes, in the order of their paths.
fn files_under(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let mut files = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).expect("a readable directory") {
            let path = entry.expect("an entry").path();
            let found = path.symlink_metadata().expect("an entry that stays");
            if found.is_dir() {
                open.push(path);
            } else if found.is_file() {
                files.insert(path, found.ino());
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    /// Runs shell commands, each one process, over the disk in its directory.
    fn run(disk: &mut Disk, commands: &[&str]) {
        for command in commands {
            let environment = disk.environment();
            let mut words = command.split('|');
            let program = words.next().expect("a program");
            let mut process = Command::new(program);
            let done = process.args(words).current_dir(&disk.dir).envs(environment).status();
            assert!(done.expect(program).success(), "{command}");
        }
    }

    fn read(disk: &Disk, name: &str) -> String {
        std::fs::read_to_string(disk.dir.join(name)).expect(name)
    }

    /// `before` is on disk, then the commands run, then all that was not synced is lost.
    fn check(before: &str, commands: &[&str], after: &str) {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("file"), before).expect("written");
        let mut disk = Disk::new(dir.path());
        run(&mut disk, commands);
        disk.cut(&mut Loss::Everything);
        let left = read(&disk, "file");
        assert!(left == after, "{commands:?} left {} bytes: {left:.40?}", left.len());
    }

    #[test]
    fn what_was_not_synced_is_lost_and_nothing_else() {
        let append = "sh|-c|printf new >> file";
        let replace = "sh|-c|printf new > file";
        let overwrite = "sh|-c|printf NEW 1<> file";
        check("old", &[append], "old");
        check("old", &[append, "sync|-d|file"], "oldnew");
        check("old", &[append, "sync|file", append], "oldnew");
        check("old", &[replace], "old");
        check("old", &[replace, append, overwrite], "old");
        check("old", &[replace, append, "sync|-d|file", overwrite], "newnew");
        check("old and more", &[overwrite], "old and more");
        check("old and more", &[overwrite, "sync|-d|file", replace], "NEW and more");
        check("old", &["truncate|-s|9|file"], "old");
        check("old", &["truncate|-s|1|file", append], "old");
        check("old", &["truncate|-s|1|file", "sync|-d|file", append], "o");
        let long = "long".repeat(5000);
        check(&long, &["truncate|-s|7000|file", overwrite, append], &long);
        check(&long, &["truncate|-s|7000|file", "sync|-d|file", append], &long[..7000]);
        check(&long, &["dd|if=/dev/zero|of=file|bs=100|count=90|conv=notrunc|status=none"], &long);
        // Names are durable at once, content is not.
        check("old", &["cp|file|copy", "mv|copy|file"], "");
        check("old", &["cp|file|copy", "sync|-d|copy", "mv|copy|file", append], "old");
        check("old", &[replace, "rm|file", "sh|-c|printf x > file", "sync|-d|file"], "x");
    }

    #[test]
    fn a_lying_sync_makes_nothing_durable() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut disk = Disk::new(dir.path());
        disk.lie();
        run(&mut disk, &["sh|-c|printf new > file", "sync|-d|file"]);
        disk.cut(&mut Loss::Everything);
        assert_eq!(read(&disk, "file"), "");
    }

    #[test]
    fn the_dice_lose_tear_and_keep_but_never_touch_what_was_synced() {
        let mut seen = BTreeMap::<_, usize>::new();
        for seed in 0..20 {
            let dir = tempfile::tempdir().expect("a directory");
            std::fs::write(dir.path().join("file"), "a".repeat(9000)).expect("written");
            let mut disk = Disk::new(dir.path());
            let over = "dd|if=/dev/zero|of=file|bs=4096|seek=1|count=3|conv=notrunc|status=none";
            run(&mut disk, &[over]);
            disk.cut(&mut Loss::Some(Dice::new(seed)));
            let left = read(&disk, "file");
            assert!((9000..=4 * 4096).contains(&left.len()), "{} bytes", left.len());
            assert!(left[..4096].bytes().all(|byte| byte == b'a'), "seed {seed}");
            for sector in left.as_bytes()[4096..8192].chunks(512) {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "seed {seed}");
            }
            let old = left[4096..8192].bytes().filter(|byte| *byte == b'a').count();
            let fate = [(4096, "lost"), (0, "kept")].into_iter().find(|(count, _)| *count == old);
            *seen.entry(fate.map_or("torn", |(_, fate)| fate)).or_default() += 1;
        }
        assert_eq!(seen.len(), 3, "{seen:?}");
    }
}
