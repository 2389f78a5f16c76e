//! The corpus of old files: what a release wrote is read for ever. Directories under
//! `tests/corpus/` are never changed, only added to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Error, decode, describe};
use crate::config::{self, Sources};
use crate::domain::command::{Actor, Change, Command};
use crate::domain::record::{Entry, Record};
use crate::domain::{Offset, Timestamp};
use crate::store;
use crate::store::tests::start;
use crate::telemetry::Metrics;

/// Every data directory of the corpus. A later format is one line more.
const CORPUS: [&str; 2] = ["v1/every", "v1/hub"];

/// Lengths of the headers of a segment and of a frame in format version 1.
const SEGMENT_HEADER_V1: usize = 32;
const FRAME_HEADER_V1: usize = 40;

#[tokio::test]
async fn what_older_releases_wrote_is_read_for_ever() {
    for name in CORPUS {
        let dir = tempfile::tempdir().expect("directory");
        copy_log(&corpus(name), dir.path());
        let sources = Sources { data_dir: Some(dir.path().to_owned()), ..Sources::default() };
        let config = config::load(&sources).expect("reference").config;
        let (opened, _lock) = store::open(&config, Arc::new(Metrics::default())).expect(name);
        let (mut found, mut next) = (Vec::new(), 0);
        loop {
            let entries = opened.reader.read(next, 100).await.expect("readable");
            let Some(last) = entries.last() else { break };
            next = last.offset + 1;
            found.extend(entries.iter().map(|entry| line(entry.offset, entry.at, &entry.record)));
        }
        assert_same(name, &found);
    }
}

#[tokio::test]
async fn a_secret_that_an_old_file_has_in_the_open_is_sealed_when_it_is_next_written() {
    let dir = tempfile::tempdir().expect("directory");
    copy_log(&corpus("v1/hub"), dir.path());
    let store = start(dir.path());
    let open = async || {
        let entries = store.reader.read(0, 1_000).await.expect("readable");
        let held = entries.iter().filter_map(|entry| match &entry.record {
            Record::Subscription(held) => Some((held.id.clone(), held.wish.is_open())),
            _ => None,
        });
        held.collect::<BTreeMap<_, _>>()
    };
    let before = open().await;
    assert!(before.values().any(|is_open| *is_open), "{before:?}");
    let actor = || Actor { owner: None, admin: true };
    for (id, is_open) in before {
        let command = Command::Change { id: id.clone(), actor: actor(), change: Change::Pause };
        let changed = store.ask(command).await;
        let ended = store.ask(Command::Sweep).await;
        let held = store.reader.subscription(&id).await.expect("readable");
        if let Some(held) = held.filter(|_| is_open) {
            assert!(!held.wish.is_open(), "{id}: {changed:?} {ended:?}");
        }
    }
    store.stop().await;
}

#[test]
fn every_record_of_format_version_1_is_decoded_on_its_own() {
    for name in CORPUS.iter().filter(|name| name.starts_with("v1/")) {
        let mut found = Vec::new();
        for path in segments(&corpus(name)) {
            let text = std::fs::read(path).expect("a segment");
            found.extend(
                entries_v1(&text)
                    .expect("whole")
                    .iter()
                    .map(|entry| line(entry.offset, entry.at, &entry.record)),
            );
        }
        assert_same(name, &found);
    }
}

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("log")).expect("a log");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// Opening may write: the corpus itself stays as it is.
fn copy_log(from: &Path, to: &Path) {
    std::fs::create_dir(to.join("log")).expect("a directory");
    for path in segments(from) {
        let name = path.file_name().expect("a file");
        std::fs::copy(&path, to.join("log").join(name)).expect("a copy");
    }
}

fn line(offset: Offset, at: Timestamp, record: &Record) -> Value {
    json!({ "offset": offset, "at": at.as_millisecond(), "record": describe::record(record) })
}

/// Compares with the expected text: one JSON object a line.
fn assert_same(name: &str, found: &[Value]) {
    let path = corpus(name).join("records.jsonl");
    let text = std::fs::read_to_string(path).expect("the expected text");
    let parse = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
    let expected: Vec<Value> = text.lines().map(parse).collect();
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{name}");
    }
    assert_eq!(found.len(), expected.len(), "{name}");
}

/// Format version 1 without the store's own reader: headers, then frames of records.
fn entries_v1(text: &[u8]) -> Result<Vec<Entry>, Error> {
    let number =
        |bytes: &[u8]| bytes.iter().rev().fold(0, |all, byte| (all << 8) | u64::from(*byte));
    let mut rest = &text[SEGMENT_HEADER_V1..];
    let mut entries = Vec::new();
    while let Some((head, after)) = rest.split_at_checked(FRAME_HEADER_V1) {
        let length = usize::try_from(number(&head[4..8])).expect("small");
        let (mut body, after) = after.split_at(length);
        rest = after;
        let first = number(&head[16..24]);
        let millis = i64::try_from(number(&head[32..40])).expect("after 1970");
        let at = Timestamp::from_millisecond(millis).expect("in range");
        for offset in first..first + number(&head[12..16]) {
            entries.push(Entry { offset, at, record: decode(&mut body)? });
        }
        assert!(head.starts_with(b"TDF1") && body.is_empty(), "a frame of format version 1");
    }
    Ok(entries)
}
