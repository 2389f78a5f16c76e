//! Whatever lies in the data directory, the store opens over it or names the release that is
//! needed, and afterwards works. It never panics and never hangs.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tempfile::TempDir;

use super::damage_tests::{copy_of, kept_small, killed};
use super::tests::{config, segments, start};
use super::*;
use crate::telemetry::Metrics;

/// Longer than any start takes, on any machine.
const HANGS: Duration = Duration::from_secs(60);

/// What is done to a file. An `Index` is a place in it.
#[derive(Debug, Clone)]
enum Blow {
    Overwrite(Index, Vec<u8>),
    Cut(Index),
    Extend(Vec<u8>),
    /// A part of it again somewhere else: bytes that were valid once.
    Move(Index, Index, usize),
    Replace(Vec<u8>),
}

impl Blow {
    fn strike(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            bytes.push(0);
        }
        let length = bytes.len();
        match self {
            Self::Overwrite(at, with) => put(bytes, at.index(length), with),
            Self::Cut(at) => bytes.truncate(at.index(length)),
            Self::Extend(by) => bytes.extend_from_slice(by),
            Self::Move(from, to, size) => {
                let from = from.index(length);
                let part = bytes[from..length.min(from + size)].to_vec();
                put(bytes, to.index(length), &part);
            }
            Self::Replace(with) => bytes.clone_from(with),
        }
    }
}

fn put(bytes: &mut [u8], at: usize, part: &[u8]) {
    let length = part.len().min(bytes.len() - at);
    bytes[at..at + length].copy_from_slice(&part[..length]);
}

fn junk() -> impl Strategy<Value = Vec<u8>> {
    let start = select(vec![&b""[..], b"TIDINGS1", b"TDF1", b"TIDSNAP1", b"{\"file\":"]);
    (start, vec(any::<u8>(), 0..300)).prop_map(|(start, rest)| [start, &rest].concat())
}

fn blow() -> impl Strategy<Value = Blow> {
    prop_oneof![
        4 => (any::<Index>(), junk()).prop_map(|(at, with)| Blow::Overwrite(at, with)),
        2 => any::<Index>().prop_map(Blow::Cut),
        1 => junk().prop_map(Blow::Extend),
        2 => (any::<Index>(), any::<Index>(), 1..9_000_usize)
            .prop_map(|(from, to, size)| Blow::Move(from, to, size)),
        1 => junk().prop_map(Blow::Replace),
    ]
}

/// The name of a file that the store might look at.
fn name() -> impl Strategy<Value = String> {
    let number = prop_oneof![0..400_u64, Just(1 << 40), Just(1 << 62)];
    prop_oneof![
        3 => number.clone().prop_map(|number| format!("log/{number:020}.seg")),
        1 => number.clone().prop_map(|number| format!("log/{number:020}.spare")),
        2 => number.prop_map(|number| format!("snapshots/{number:020}.snap")),
        1 => Just("running".to_owned()),
        1 => select(vec!["quarantine/a.json", "quarantine/b.json"]).prop_map(str::to_owned),
        1 => select(vec!["state/db", "state/conf", "state/snap.00", "state/snap.1.generating"])
            .prop_map(str::to_owned),
    ]
}

/// Opens the store, publishes, reads back, and does so again after a stop.
fn opens_and_works(dir: &Path) {
    let (config, path) = (config(dir), dir.to_owned());
    let (done, outcome) = channel();
    let work = std::thread::spawn(move || {
        let worked = match open(&config, Arc::new(Metrics::default())) {
            Ok(opened) => {
                drop(opened);
                let runtime = tokio::runtime::Builder::new_current_thread().build();
                runtime.expect("a runtime").block_on(works(&path));
                Ok(())
            }
            Err(Error::Newer(_)) => Ok(()),
            Err(other) => Err(other),
        };
        // Nobody waits any more where it took too long.
        let _late = done.send(worked);
    });
    let worked = outcome.recv_timeout(HANGS);
    assert!(!matches!(worked, Err(std::sync::mpsc::RecvTimeoutError::Timeout)), "it hangs");
    work.join().expect("no panic");
    worked.expect("told").expect("opens or names a newer release");
}

async fn works(dir: &Path) {
    for id in ["hostile-1", "hostile-2"] {
        let store = start(dir);
        let (offset, duplicate) = store.publish(id).await;
        assert!(!duplicate, "{id}");
        let read = store.reader.read(offset, 1).await.expect("readable");
        let event = read.first().and_then(|entry| entry.event()).expect("it is there");
        assert_eq!(event.id, id);
        store.reader.subscriptions(None, 100).await.expect("readable");
        store.stop().await;
    }
}

fn write(dir: &Path, name: &str, bytes: &[u8]) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    std::fs::write(path, bytes).expect("written");
}

/// A store with segments, snapshots, tables, a quarantine and retention behind it.
fn lived_in() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async { kept_small(dir.path()).await.stop().await });
    let path = segments(dir.path()).remove(1);
    let mut bytes = std::fs::read(&path).expect("read");
    bytes[20_000..20_100].fill(0);
    std::fs::write(&path, bytes).expect("written");
    runtime.block_on(async {
        let store = start(dir.path());
        store.ids().await;
        store.stop().await;
    });
    dir
}

fn files(dir: &Path) -> Vec<String> {
    let mut found = vec!["running".to_owned()];
    for folder in ["log", "snapshots", "quarantine", "state"] {
        for entry in std::fs::read_dir(dir.join(folder)).expect("there") {
            let entry = entry.expect("read");
            if entry.file_type().expect("known").is_file() {
                found.push(format!("{folder}/{}", entry.file_name().to_string_lossy()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn the_store_opens_on_arbitrary_files() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) };
    proptest!(config, |(files in vec((name(), vec(any::<u8>(), 0..6_000), junk()), 1..5))| {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, rest, start) in &files {
            write(dir.path(), name, &[&start[..], rest].concat());
        }
        opens_and_works(dir.path());
    });
}

#[test]
fn the_store_opens_on_files_of_its_own_however_they_were_mangled() {
    let source = lived_in();
    let names = files(source.path());
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) };
    let blows = vec((any::<Index>(), blow()), 1..6);
    proptest!(config, |(blows in blows)| {
        let copy = copy_of(source.path());
        for (which, blow) in &blows {
            let name = &names[which.index(names.len())];
            let mut bytes = std::fs::read(copy.path().join(name)).unwrap_or_default();
            blow.strike(&mut bytes);
            write(copy.path(), name, &bytes);
        }
        opens_and_works(copy.path());
    });
}

#[test]
fn a_file_with_a_name_from_far_away_does_not_hold_up_a_start() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let source = runtime.block_on(killed(20));
    for first in [1 << 40, 1 << 62, u64::MAX] {
        let copy = copy_of(source.path());
        write(copy.path(), &format!("log/{first:020}.seg"), &[7; 100]);
        opens_and_works(copy.path());
    }
}

#[test]
fn a_report_with_any_numbers_is_no_harm() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8) };
    proptest!(config, |(numbers in any::<[u64; 4]>())| {
        let dir = tempfile::tempdir().expect("a directory");
        let [a, b, c, d] = numbers;
        let report = serde_json::json!({
            "file": "00000000000000000000.seg", "from_byte": a, "to_byte": b,
            "from_offset": c, "to_offset": d, "found_at": "2026-01-01T00:00:00Z",
        });
        write(dir.path(), "quarantine/a.json", report.to_string().as_bytes());
        opens_and_works(dir.path());
    });
}
