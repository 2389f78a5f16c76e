//! Damage of every kind: the store opens, keeps all that is still readable, reports the rest, and
//! never gives an offset twice.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::host::Host;
use super::log::{Quarantine, Recovered, Step, recover};
use super::machine::Machine;
use super::tests::{Open, config, expected, put, segments, start, start_with};
use super::*;
use crate::config::Size;
use crate::domain::command::Expect;

/// Events in several segments, and the directory as a kill would leave it.
pub(super) async fn killed(count: usize) -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(dir.path());
    store.ask(put("kept", Expect::Nothing)).await.expect("created");
    for index in 0..count {
        store.publish(&index.to_string()).await;
    }
    let copy = copy_of(dir.path());
    store.stop().await;
    copy
}

/// The same after a clean stop.
async fn stopped(count: usize) -> TempDir {
    let dir = killed(count).await;
    start(dir.path()).stop().await;
    dir
}

pub(super) fn copy_of(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    let mut copying = std::process::Command::new("cp");
    let done = copying.arg("-a").arg(dir.join(".")).arg(copy.path()).status();
    assert!(done.expect("cp").success());
    copy
}

/// Positions and lengths of the frames of a segment.
fn frames(path: &Path) -> Vec<(u64, u64)> {
    let host: Arc<dyn Host> = Arc::new(Machine);
    let quarantine = Quarantine::dry(host.clone(), PathBuf::from("/nowhere"));
    let dir = path.parent().expect("a directory");
    let Recovered { segments, .. } = recover(&*host, dir, &quarantine, false).expect("read");
    let segment = segments.iter().find(|segment| segment.path() == path).expect("it is there");
    let mut walk = segment.walk(segment.header.data_start(), segment.readable());
    let mut found = Vec::new();
    loop {
        let position = walk.position();
        match walk.step() {
            Step::Frame(header, _) => found.push((position, header.frame_bytes())),
            Step::Bad | Step::End => return found,
        }
    }
}

fn write(path: &Path, bytes: &[u8], position: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("opens");
    FileExt::write_all_at(&file, bytes, position).expect("written");
}

/// What is damaged, offsets from and to.
fn lost(store: &Open) -> Vec<(u64, u64)> {
    let shared = &store.reader.0;
    let range = |damage: Damage| (damage.from_offset, damage.to_offset);
    shared.segments.damage().into_iter().map(range).collect()
}

/// Everything is there but the events of some offsets (offset 0 is the subscription).
async fn check(dir: &Path, count: usize, gap: std::ops::Range<u64>) {
    for pass in ["first", "second"] {
        let store = start(dir);
        let kept = |id: &String| {
            let offset = id.parse::<u64>().expect("a number") + 1;
            !gap.contains(&offset)
        };
        let expected: Vec<String> = expected(count).into_iter().filter(kept).collect();
        assert_eq!(store.ids().await, expected, "{pass} start");
        let told = if gap.is_empty() { vec![] } else { vec![(gap.start, gap.end)] };
        assert_eq!(lost(&store), told, "{pass} start");
        assert!(store.reader.subscription("kept").await.expect("readable").is_some());
        store.stop().await;
    }
    let store = start(dir);
    let (offset, duplicate) = store.publish("new").await;
    assert!(offset > count as u64 && !duplicate, "no offset is given twice");
    assert_eq!(store.ids().await.last().map(String::as_str), Some("new"));
    store.stop().await;
    let store = start(dir);
    store.ids().await;
    assert_eq!(lost(&store).len(), usize::from(!gap.is_empty()), "told once");
    store.stop().await;
}

#[tokio::test]
async fn a_torn_tail_is_left_out_and_the_rest_kept() {
    let dir = killed(20).await;
    for torn in [1, 39, 41, 500] {
        let copy = copy_of(dir.path());
        let last = segments(copy.path()).pop().expect("a segment");
        let (position, bytes) = *frames(&last).last().expect("a frame");
        write(&last, &[0; 600][..torn], position + bytes - torn as u64);
        // The tables know nothing of the frame that was cut short: it was never acknowledged.
        std::fs::remove_dir_all(copy.path().join("state")).expect("removed");
        let store = start(copy.path());
        assert_eq!(store.ids().await, expected(19), "cut by {torn}");
        assert_eq!(store.publish("new").await, (20, false));
        assert_eq!(lost(&store), []);
        store.stop().await;
    }
}

#[tokio::test]
async fn a_damaged_frame_costs_itself_alone_wherever_it_is() {
    let clean = stopped(300).await;
    let killed = killed(300).await;
    for source in [&clean, &killed] {
        let paths = segments(source.path());
        assert!(paths.len() > 2, "several segments");
        for (which, path) in paths.iter().enumerate() {
            let copy = copy_of(source.path());
            let path = copy.path().join("log").join(path.file_name().expect("a name"));
            let all = frames(&path);
            let before: usize = paths[..which].iter().map(|path| frames(path).len()).sum();
            let middle = all.len() / 2;
            write(&path, b"damage", all[middle].0 + 100);
            let offset = (before + middle) as u64;
            check(copy.path(), 300, offset..offset + 1).await;
        }
    }
}

#[tokio::test]
async fn any_zeroed_page_costs_no_more_than_the_frames_in_it() {
    let source = stopped(120).await;
    let path = segments(source.path()).remove(0);
    let all = frames(&path);
    for page in 0..(64 << 10) / 4_096 {
        let copy = copy_of(source.path());
        let target = copy.path().join("log").join(path.file_name().expect("a name"));
        let (from, to) = (page * 4_096, (page + 1) * 4_096);
        write(&target, &[0; 4_096], from);
        let hit = |(position, bytes): &(u64, u64)| *position < to && position + bytes > from;
        let first = all.iter().position(hit).unwrap_or(0) as u64;
        let count = all.iter().filter(|frame| hit(frame)).count() as u64;
        // The subscription is the first record; the tables still have it.
        check(copy.path(), 120, first..first + count).await;
    }
}

#[tokio::test]
async fn a_missing_segment_is_a_gap() {
    let source = stopped(300).await;
    let paths = segments(source.path());
    let frames: Vec<u64> = paths.iter().map(|path| frames(path).len() as u64).collect();
    std::fs::remove_file(&paths[1]).expect("removed");
    check(source.path(), 300, frames[0]..frames[0] + frames[1]).await;
}

#[tokio::test]
async fn a_missing_last_segment_is_a_gap_that_the_tables_know_of() {
    let source = stopped(300).await;
    let paths = segments(source.path());
    let last = frames(&paths[paths.len() - 1]).len() as u64;
    std::fs::remove_file(&paths[paths.len() - 1]).expect("removed");
    check(source.path(), 300, 301 - last..301).await;
}

#[tokio::test]
async fn damage_is_copied_into_quarantine_with_a_report() {
    let source = stopped(50).await;
    let path = segments(source.path()).remove(0);
    let (position, bytes) = frames(&path)[7];
    write(&path, b"damage", position + 50);
    let store = start(source.path());
    store.ids().await;
    store.stop().await;
    let stem = format!("{}-{position}-7", path.file_name().expect("a name").to_string_lossy());
    let copy = std::fs::read(source.path().join(format!("quarantine/{stem}.bin"))).expect("there");
    assert_eq!(copy.len() as u64, bytes);
    assert_eq!(&copy[50..56], b"damage");
    let report = std::fs::read(source.path().join(format!("quarantine/{stem}.json")));
    let report: serde_json::Value = serde_json::from_slice(&report.expect("there")).expect("JSON");
    assert_eq!((&report["from_offset"], &report["to_offset"]), (&7.into(), &8.into()));
}

/// Snapshots and retention at once: small limits, and the keeper has nothing more to do.
pub(super) async fn kept_small(dir: &Path) -> Open {
    let mut config = config(dir);
    config.log.snapshot_every = Size(64 << 10);
    config.log.retention_bytes = Size(256 << 10);
    let mut store = start_with(&config);
    for index in 0..1_000 {
        store.publish(&index.to_string()).await;
        if index % 50 == 0 {
            store.ask(put(&format!("s{index}"), Expect::Nothing)).await.expect("created");
            while store.keeper.turn() {}
        }
    }
    store
}

#[tokio::test]
async fn retention_keeps_the_log_small_and_snapshots_make_up_for_what_went() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = kept_small(dir.path()).await;
    let oldest = store.reader.oldest_offset();
    assert!(oldest > 100, "{oldest}");
    assert!(store.reader.counts().log_bytes <= 512 << 10);
    let before = store.reader.subscriptions(None, 100).await.expect("readable");
    assert_eq!(before.len(), 20);
    store.stop().await;
    let ruin: [fn(&Path); 4] = [
        |_| {},
        |dir| std::fs::remove_dir_all(dir.join("state")).expect("removed"),
        |dir| std::fs::write(dir.join("running"), "another boot").expect("written"),
        |dir| {
            std::fs::remove_dir_all(dir.join("state")).expect("removed");
            let entries = std::fs::read_dir(dir.join("snapshots")).expect("there");
            let mut paths: Vec<PathBuf> =
                entries.map(|entry| entry.expect("read").path()).collect();
            paths.sort();
            assert_eq!(paths.len(), 2, "the two newest are kept");
            let newest = OpenOptions::new().write(true).open(&paths[1]).expect("opens");
            newest.set_len(newest.metadata().expect("length").len() - 9).expect("cut");
        },
    ];
    for (which, ruin) in ruin.into_iter().enumerate() {
        let copy = copy_of(dir.path());
        ruin(copy.path());
        let store = start(copy.path());
        let after = store.reader.subscriptions(None, 100).await.expect("readable");
        assert_eq!(after, before, "ruin {which}");
        assert_eq!(store.reader.oldest_offset(), oldest);
        store.stop().await;
    }
}

#[tokio::test]
async fn a_broken_newest_snapshot_is_made_up_for_by_the_older_one_where_the_log_begins() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = kept_small(dir.path()).await;
    let before = store.reader.subscriptions(None, 100).await.expect("readable");
    let counts = store.reader.counts();
    let held = store.reader.0.snapshots.lock().expect("no panic").clone();
    let [newest, older] = held.as_slice() else { panic!("two snapshots: {held:?}") };
    let (newest, older) = (newest.clone(), older.clone());
    store.stop().await;
    // Nothing before the older snapshot is left but what shares a file with what comes after it.
    let first = |path: &Path| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let paths = segments(dir.path());
    for pair in paths.windows(2) {
        if first(&pair[1]).expect("a segment") <= older.as_of {
            std::fs::remove_file(&pair[0]).expect("removed");
        }
    }
    let oldest = first(&segments(dir.path())[0]).expect("a segment");
    assert!(0 < oldest && oldest <= older.as_of && older.as_of < newest.as_of, "{oldest}");
    let length = newest.bytes;
    let breaks: [&dyn Fn(&Path); 5] = [
        &|path| write(path, b"damage", 20),
        &|path| write(path, b"damage", length / 2),
        &|path| write(path, b"damage", length - 6),
        &|path| std::fs::write(path, b"").expect("emptied"),
        &|path| std::fs::remove_file(path).expect("removed"),
    ];
    for (which, ruin) in breaks.into_iter().enumerate() {
        let copy = copy_of(dir.path());
        ruin(&copy.path().join("snapshots").join(newest.path.file_name().expect("a name")));
        match which % 2 {
            0 => std::fs::remove_dir_all(copy.path().join("state")).expect("removed"),
            _ => std::fs::write(copy.path().join("state/db"), "garbage").expect("written"),
        }
        let store = start(copy.path());
        let after = store.reader.subscriptions(None, 100).await.expect("readable");
        assert_eq!(after, before, "break {which}");
        assert_eq!(store.reader.counts().subscriptions, counts.subscriptions, "break {which}");
        assert_eq!(store.reader.oldest_offset(), oldest, "break {which}");
        assert_eq!(lost(&store), [], "break {which}");
        assert_eq!(store.ids().await.last().map(String::as_str), Some("999"), "break {which}");
        assert!(!store.publish("new").await.1, "break {which}");
        store.stop().await;
    }
}

#[tokio::test]
async fn check_finds_what_repair_mends() {
    let dir = tempfile::tempdir().expect("a directory");
    kept_small(dir.path()).await.stop().await;
    assert_eq!(verify(dir.path()).expect("read").new, []);
    let path = segments(dir.path()).remove(0);
    write(&path, b"damage", frames(&path)[3].0 + 60);
    let length = std::fs::metadata(&path).expect("there").len();
    write(&path, b"damage", length - 20);
    let entries = std::fs::read_dir(dir.path().join("snapshots")).expect("there");
    let snapshot = entries.map(|entry| entry.expect("read").path()).next().expect("one");
    write(&snapshot, b"damage", 200);
    let before = verify(dir.path()).expect("read");
    assert_eq!((before.new.len(), before.known.len()), (1, 0));
    assert_eq!((before.snapshots, before.broken_snapshots.len()), (1, 1));
    assert!(!dir.path().join("quarantine").exists(), "check changes nothing");
    assert_eq!(repair(dir.path()).expect("mended").new.len(), 1);
    let after = verify(dir.path()).expect("read");
    assert_eq!((after.new.len(), after.known.len()), (0, 1));
    assert_eq!((after.snapshots, after.broken_snapshots.len()), (1, 0));
    assert_eq!(after.records, before.records);
}

/// Offsets that are read in pages of so many entries, and the offsets that are told as lost.
fn read_in_pages(dir: &Path, page: usize) -> (Vec<u64>, Vec<std::ops::Range<u64>>) {
    let host: Arc<dyn Host> = Arc::new(Machine);
    let quarantine = Quarantine::dry(host.clone(), PathBuf::from("/nowhere"));
    let log = dir.join("log");
    let Recovered { segments, .. } = recover(&*host, &log, &quarantine, false).expect("read");
    let [segment] = &segments[..] else { panic!("one segment") };
    let (mut next, mut offsets, mut lost) = (segment.first(), Vec::new(), Vec::new());
    loop {
        let (entries, holes) = segment.read(next, u64::MAX, page, 1 << 20).expect("readable");
        lost.extend(holes.into_iter().flat_map(|hole| hole.from..hole.to));
        offsets.extend(entries.iter().map(|entry| entry.offset));
        match offsets.last() {
            Some(last) if *last + 1 < segment.next() => next = *last + 1,
            _ => break,
        }
    }
    lost.sort_unstable();
    lost.dedup();
    let ranges = lost.chunk_by(|one, other| one + 1 == *other);
    (offsets, ranges.map(|range| range[0]..range[range.len() - 1] + 1).collect())
}

#[tokio::test]
async fn two_threads_read_what_one_reads_around_any_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut one_segment = config(dir.path());
    one_segment.log.segment_size = Size(8 << 20);
    let store = start_with(&one_segment);
    for index in 0..4_000 {
        store.publish(&index.to_string()).await;
    }
    let unsealed = copy_of(dir.path());
    store.stop().await;
    for dir in [unsealed, dir] {
        let path = segments(dir.path()).pop().expect("a segment");
        let all = frames(&path);
        assert_eq!(read_in_pages(dir.path(), 4_096), ((0..4_000).collect(), vec![]));
        // About where the halves of the first two reads meet, and a stretch of many frames.
        for (position, bytes) in [&all[800..803], &all[1_590..1_620], &all[2_400..3_300]].concat() {
            write(&path, &vec![0; bytes.try_into().expect("short")], position);
        }
        let (offsets, lost) = read_in_pages(dir.path(), 4_096);
        assert_eq!(lost, [800..803, 1_590..1_620, 2_400..3_300]);
        assert_eq!(offsets.len(), 4_000 - 3 - 30 - 900);
        assert_eq!((offsets, lost), read_in_pages(dir.path(), 10));
        // More at the front than two threads read at once: what is behind it is still there.
        let first = all[0].0;
        write(&path, &vec![0; (all[3_500].0 - first).try_into().expect("short")], first);
        let (offsets, lost) = read_in_pages(dir.path(), 4_096);
        let gone = 0..3_500;
        assert_eq!(lost, [gone]);
        assert_eq!(offsets, (3_500..4_000).collect::<Vec<_>>());
    }
}
