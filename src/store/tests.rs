//! The store as its users see it: what was acknowledged is there, whatever happened to the files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use super::*;
use crate::config::{self, Config, Size, Sources};
use crate::domain::cloudevents;
use crate::domain::command::{Actor, Change, Command, Expect, Put, Refusal, Reply};
use crate::domain::samples::wish;
use crate::domain::vault::Vault;
use crate::telemetry::Metrics;

pub(super) struct Open {
    pub(super) reader: Reader,
    submit: Submit,
    thread: JoinHandle<Result<(), Error>>,
    pub(super) keeper: Keeper,
    _lock: Lock,
}

pub(super) fn config(dir: &Path) -> Config {
    let sources = Sources { data_dir: Some(dir.to_owned()), ..Sources::default() };
    let mut config = config::load(&sources).expect("reference").config;
    config.log.segment_size = Size(64 << 10);
    config
}

/// A vault for stores that are opened on machines of tests.
pub(super) fn vault() -> Arc<Vault> {
    Arc::new(Vault::new(&[7; 32]))
}

pub(super) fn start(dir: &Path) -> Open {
    start_with(&config(dir))
}

pub(super) fn start_with(config: &Config) -> Open {
    let (store, lock) = open(config, Arc::new(Metrics::default())).expect("opens");
    let Store { reader, submit, writer, keeper, .. } = store;
    let thread = std::thread::spawn(move || writer.run());
    Open { reader, submit, thread, keeper, _lock: lock }
}

impl Open {
    pub(super) async fn stop(self) {
        self.submit.close();
        self.thread.join().expect("no panic").expect("clean stop");
    }

    pub(super) async fn ask(&self, command: Command) -> Answer {
        let pending = self.submit.send(command).await.expect("running");
        pending.await.expect("answered")
    }

    pub(super) async fn publish(&self, id: &str) -> (u64, bool) {
        match self.ask(Command::Publish(Arc::new(event(id)))).await {
            Ok(Reply::Published { offset, duplicate }) => (offset, duplicate),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn ids(&self) -> Vec<String> {
        let (mut ids, mut next) = (Vec::new(), 0);
        loop {
            let entries = self.reader.read(next, 100).await.expect("readable");
            let Some(last) = entries.last() else { return ids };
            next = last.offset + 1;
            ids.extend(entries.iter().filter_map(|entry| Some(entry.event()?.id.to_string())));
        }
    }
}

pub(super) fn event(id: &str) -> crate::domain::event::Event {
    let filler = "x".repeat(500);
    let text = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"a.b","data":{{"filler":"{filler}"}}}}"#
    );
    cloudevents::parse(text.as_bytes()).expect("valid")
}

pub(super) fn put(id: &str, expect: Expect) -> Command {
    let actor = Actor { owner: None, admin: true };
    Command::Put(Box::new(Put { id: id.to_owned(), wish: wish(), actor, expect }))
}

pub(super) fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("log")).expect("log");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

pub(super) fn expected(count: usize) -> Vec<String> {
    (0..count).map(|index| index.to_string()).collect()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("directory");
    let store = start(dir.path());
    for index in 0..300 {
        assert_eq!(store.publish(&index.to_string()).await, (index, false));
    }
    assert_eq!(store.publish("7").await, (7, true));
    store.stop().await;
    assert!(segments(dir.path()).len() > 1, "several segments");
    let store = start(dir.path());
    assert_eq!(store.ids().await, expected(300));
    assert_eq!(store.publish("299").await, (299, true), "the window is rebuilt");
    assert_eq!(store.publish("300").await, (300, false));
    store.stop().await;
}

#[tokio::test]
async fn tables_that_are_missing_or_broken_are_rebuilt_from_the_log() {
    let ruin: [fn(&Path); 3] = [
        |state| std::fs::remove_dir_all(state).expect("removed"),
        |state| std::fs::write(state.join("db"), b"garbage").expect("written"),
        |state| std::fs::write(state.join("conf"), b"garbage").expect("written"),
    ];
    for ruin in ruin {
        let dir = tempfile::tempdir().expect("directory");
        let store = start(dir.path());
        store.ask(put("one", Expect::Nothing)).await.expect("created");
        store.ask(put("two", Expect::Nothing)).await.expect("created");
        let actor = Actor { owner: None, admin: true };
        let delete = Command::Change { id: "one".to_owned(), actor, change: Change::Delete };
        store.ask(delete).await.expect("deleted");
        let before = store.reader.subscriptions(None, 10).await.expect("readable");
        let counts = store.reader.counts();
        store.stop().await;
        ruin(&dir.path().join("state"));
        let store = start(dir.path());
        let after = store.reader.subscriptions(None, 10).await.expect("readable");
        assert_eq!(after, before);
        assert_eq!(store.reader.counts().subscriptions, counts.subscriptions);
        assert_eq!(after.len(), 1);
        store.stop().await;
    }
}

#[tokio::test]
async fn a_power_cut_has_the_tables_rebuilt() {
    let dir = tempfile::tempdir().expect("directory");
    let store = start(dir.path());
    store.ask(put("one", Expect::Nothing)).await.expect("created");
    store.stop().await;
    std::fs::write(dir.path().join("running"), "another boot").expect("written");
    let store = start(dir.path());
    assert!(dir.path().join("state.broken").exists(), "the old tables are kept for a look");
    assert!(store.reader.subscription("one").await.expect("readable").is_some());
    store.stop().await;
}

#[tokio::test]
async fn commands_of_one_group_see_each_other() {
    let dir = tempfile::tempdir().expect("directory");
    let (store, _lock) = open(&config(dir.path()), Arc::new(Metrics::default())).expect("opens");
    let queue = |command| store.submit.offer(command).expect("room");
    let answers = [
        queue(put("one", Expect::Nothing)),
        queue(put("one", Expect::Nothing)),
        queue(put("one", Expect::Version(1))),
        queue(put("one", Expect::Version(1))),
        queue(Command::Publish(Arc::new(event("1")))),
        queue(Command::Publish(Arc::new(event("1")))),
    ];
    let thread = std::thread::spawn(move || store.writer.run());
    let mut seen = Vec::new();
    for answer in answers {
        seen.push(answer.await.expect("answered"));
    }
    assert!(matches!(&seen[0], Ok(Reply::Subscription { created: true, .. })), "{:?}", seen[0]);
    assert!(matches!(&seen[1], Err(Failure::Refused(Refusal::Taken(_)))), "{:?}", seen[1]);
    assert!(matches!(&seen[2], Ok(Reply::Subscription { created: false, .. })), "{:?}", seen[2]);
    assert!(
        matches!(&seen[3], Err(Failure::Refused(Refusal::VersionMismatch(2)))),
        "{:?}",
        seen[3]
    );
    let published = |offset, duplicate| Reply::Published { offset, duplicate };
    assert!(matches!(&seen[4], Ok(reply) if *reply == published(2, false)), "{:?}", seen[4]);
    assert!(matches!(&seen[5], Ok(reply) if *reply == published(2, true)), "{:?}", seen[5]);
    store.submit.close();
    thread.join().expect("no panic").expect("clean stop");
}

#[tokio::test]
async fn a_second_process_is_kept_out_and_told_who_is_in() {
    let dir = tempfile::tempdir().expect("directory");
    let _lock = Lock::take(dir.path()).expect("free");
    let error = Lock::take(dir.path()).expect_err("taken");
    assert!(matches!(&error, Error::Locked(who) if who.contains(&std::process::id().to_string())));
}

/// After a power cut the engine gets few rows at the start and the rest while the hub runs.
#[tokio::test]
async fn tables_on_their_way_into_the_engine_are_whole_and_survive_every_end() {
    const COUNT: usize = 800;
    let dir = tempfile::tempdir().expect("directory");
    let store = start(dir.path());
    for index in 0..COUNT {
        store.ask(put(&format!("s{index:03}"), Expect::Nothing)).await.expect("created");
    }
    store.stop().await;
    let gone = dir.path().join("state.broken");
    let power_cut = || std::fs::write(dir.path().join("running"), "another boot").expect("written");
    let all = async |store: &Open| {
        let held = store.reader.subscriptions(None, 2 * COUNT).await.expect("readable");
        held.into_iter().map(|held| held.id).collect::<Vec<_>>()
    };
    power_cut();
    let mut expected: Vec<_> = (0..COUNT).map(|index| format!("s{index:03}")).collect();
    for end in ["killed", "stopped", "settled"] {
        let mut store = start(dir.path());
        assert_eq!(all(&store).await, expected, "{end}");
        let added = format!("t{}", expected.len());
        store.ask(put(&added, Expect::Nothing)).await.expect("created");
        expected.push(added);
        if end == "settled" {
            while store.keeper.turn() {}
            std::fs::remove_dir_all(&gone).expect("it was set aside");
        }
        assert_eq!(store.reader.counts().subscriptions, expected.len() as u64, "{end}");
        let killed = super::damage_tests::copy_of(dir.path());
        store.stop().await;
        if end == "killed" {
            std::fs::remove_dir_all(dir.path()).expect("removed");
            std::fs::rename(killed.keep(), dir.path()).expect("renamed");
        }
    }
    let store = start(dir.path());
    assert_eq!(all(&store).await, expected);
    assert!(!gone.exists(), "what the engine was given whole is trusted");
    store.stop().await;
}
