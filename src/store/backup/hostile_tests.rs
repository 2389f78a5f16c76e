//! Backups that are none, or are no more what they were: a rehearsal says so and never panics.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::archive::{FORMAT, MANIFEST, Manifest, Member};
use super::{rehearse, write_backup};
use crate::store::damage_tests::kept_small;

/// The bytes of a backup of a store with snapshots and several segments.
fn taken() -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = kept_small(dir.path()).await;
        let mut bytes = Vec::new();
        write_backup(&store.reader.0, &mut bytes).expect("taken");
        store.stop().await;
        bytes
    })
}

/// Rehearses bytes as a backup; whether they pass for one.
fn passes(dir: &Path, bytes: &[u8]) -> bool {
    let path = dir.join("backup.tar");
    std::fs::write(&path, bytes).expect("written");
    rehearse(&path).is_ok()
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

#[test]
fn arbitrary_bytes_are_no_backup() {
    let dir = tempfile::tempdir().expect("a directory");
    proptest!(config(64), |(bytes in vec(any::<u8>(), 0..4_000))| {
        prop_assert!(!passes(dir.path(), &bytes));
    });
}

#[test]
fn a_backup_whose_content_was_changed_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let whole = taken();
    assert!(passes(dir.path(), &whole), "as it was taken");
    let headers = {
        let mut archive = tar::Archive::new(&whole[..]);
        let raw = |entry: std::io::Result<tar::Entry<'_, _>>| {
            let entry = entry.expect("whole");
            (entry.raw_file_position(), entry.size())
        };
        archive.entries().expect("a tar file").map(raw).collect::<Vec<_>>()
    };
    proptest!(config(24), |(at: Index, by in 1..=u8::MAX, member: Index, cut: Index)| {
        // The manifest is the last one: it has no checksum, so its changes need only not panic.
        let (position, length) = headers[member.index(headers.len() - 1)];
        let inside = usize::try_from(length).expect("small");
        let place = usize::try_from(position).expect("small") + at.index(inside);
        let mut changed = whole.clone();
        changed[place] ^= by;
        prop_assert!(!passes(dir.path(), &changed), "byte {place}");
        let mut anywhere = whole.clone();
        anywhere[at.index(whole.len())] ^= by;
        let _either = passes(dir.path(), &anywhere);
        let until = cut.index(usize::try_from(headers[headers.len() - 1].0).expect("small"));
        prop_assert!(!passes(dir.path(), &whole[..until]), "cut at {until}");
    });
}

/// Every checksum is right, and the files are anything.
#[test]
fn a_backup_of_arbitrary_files_is_rehearsed_without_a_panic() {
    let dir = tempfile::tempdir().expect("a directory");
    let name = prop_oneof![
        3 => (0..5_u64).prop_map(|number| format!("log/{number:020}.seg")),
        2 => (0..5_u64).prop_map(|number| format!("snapshots/{number:020}.snap")),
        1 => "[a-z./]{1,30}",
    ];
    let files = vec((name, vec(any::<u8>(), 0..5_000)), 0..4);
    proptest!(config(64), |(files in files, oldest: u64, next: u64, millis: i64)| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut manifest = Manifest {
            format: FORMAT,
            release: "0.1.0".to_owned(),
            taken_at_millis: millis,
            oldest_offset: oldest,
            next_offset: next,
            files: Vec::new(),
        };
        let mut add = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes).is_ok()
        };
        for (name, bytes) in &files {
            if add(name, bytes) {
                let (path, crc32) = (name.clone(), crc32fast::hash(bytes));
                manifest.files.push(Member { path, bytes: bytes.len() as u64, crc32 });
            }
        }
        add(MANIFEST, &serde_json::to_vec(&manifest).expect("JSON"));
        let _either = passes(dir.path(), &tar.into_inner().expect("in memory"));
    });
}
