//! An acknowledgement is a promise about the disk: seen from outside, in the system calls.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::hub::event;
use crate::support::mqtt::{BOTH, Client};
use crate::support::{Process, eventually};

/// A hub whose system calls are written down.
struct Traced {
    strace: Child,
    trace: PathBuf,
}

impl Traced {
    /// From now on the calls of some kinds are written down, with all that strace's options show.
    async fn start(hub: &mut Process, dir: &Path, options: &[&str]) -> Self {
        let (pid, trace) = (hub.pid().as_raw_nonzero(), dir.join("trace"));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o"]).arg(&trace).args(["-p", &pid.to_string()]).args(options);
        let strace = strace.stderr(Stdio::null()).spawn().expect("strace");
        let started = Self { strace, trace };
        eventually("every thread is traced", async || {
            let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
            let traced = |thread: std::io::Result<std::fs::DirEntry>| {
                let path = thread.expect("a thread").path().join("status");
                let status = std::fs::read_to_string(path);
                status.is_ok_and(|status| !status.contains("TracerPid:\t0\n"))
            };
            threads.into_iter().all(traced).then_some(())
        })
        .await;
        started
    }

    /// Stops tracing; the hub goes on. The lines.
    fn end(mut self) -> Vec<String> {
        // It may have ended with the hub.
        let _ended = kill_process(Pid::from_child(&self.strace), Signal::INT);
        self.strace.wait().expect("strace ends with what it traced");
        let trace = std::fs::read_to_string(&self.trace).expect("the trace");
        trace.lines().map(str::to_owned).collect()
    }
}

/// Whether before each line that has a mark in it, and after the last such line, a sync returned.
/// How many there are.
fn acknowledged_after_a_sync(lines: &[String], mark: &str) -> usize {
    let (mut synced, mut acknowledged) = (false, 0);
    for line in lines {
        if line.contains("fdatasync") && line.trim_end().ends_with("= 0") {
            synced = true;
        } else if line.contains(mark) {
            assert!(std::mem::take(&mut synced), "answered before a sync: {line}");
            acknowledged += 1;
        }
    }
    acknowledged
}

const ANSWERS: &str = "trace=fdatasync,write,writev,sendto,sendmsg";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_acknowledged_only_after_the_fdatasync() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut hub = Process::dev(&dir.path().join("data"));
    let traced = Traced::start(&mut hub, dir.path(), &["-e", ANSWERS, "-s", "16"]).await;
    for number in 0..10 {
        hub.api().publish(&event(&number.to_string(), "a.b", json!(number))).await;
    }
    let acknowledged = acknowledged_after_a_sync(&traced.end(), "\"HTTP/1.1 201");
    assert_eq!(acknowledged, 10, "all answers were seen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_acknowledged_only_after_the_fdatasync() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut hub = Process::dev(&dir.path().join("data"));
    let traced = Traced::start(&mut hub, dir.path(), &["-e", ANSWERS, "-s", "16", "-xx"]).await;
    for version in BOTH {
        let mut client = Client::login(hub.mqtt, version, "publisher").await;
        for number in 0..10 {
            client.publish("a/b", &[number]).await;
        }
    }
    // PUBACK, two bytes, packet 7.
    let acknowledged = acknowledged_after_a_sync(&traced.end(), r#""\x40\x02\x00\x07"#);
    assert_eq!(acknowledged, 20, "all answers were seen");
}

/// Group commits and segments so far.
async fn written(hub: &Process) -> (usize, usize) {
    let metrics = hub.api().get("/metrics").await.text();
    let commits = |line: &str| line.strip_prefix("tidings_store_commits_total ")?.parse().ok();
    let status = hub.api().get("/v1/status").await.expect(200);
    let segments = status["log"]["segments"].as_u64().expect("a number");
    let segments = usize::try_from(segments).expect("few");
    (metrics.lines().find_map(commits).expect("the metric"), segments)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_group_commit_is_one_fdatasync_and_none_is_missing() {
    let dir = tempfile::tempdir().expect("a directory");
    let small = [("TIDINGS__LOG__SEGMENT_SIZE", "64KiB")];
    let mut hub = Process::start(&dir.path().join("data"), &["serve", "--dev"], &small);
    hub.api().publish(&event("first", "a.b", json!(0))).await;
    let options = ["-y", "-e", "trace=fsync,fdatasync,sync_file_range,msync,sync,syncfs"];
    let traced = Traced::start(&mut hub, dir.path(), &options).await;
    let (commits, segments) = written(&hub).await;
    let mut load = JoinSet::new();
    for number in 0..200 {
        let api = hub.api();
        let posted = event(&number.to_string(), "a.b", Value::from("x".repeat(1_000)));
        load.spawn(async move { api.publish(&posted).await });
    }
    assert_eq!(load.join_all().await.len(), 200);
    let (commits_after, segments_after) = written(&hub).await;
    let lines = traced.end();
    assert_eq!(written(&hub).await, (commits_after, segments_after), "nothing else was written");
    let (commits, changes) = (commits_after - commits, segments_after - segments);
    assert!(commits > 0 && changes > 1, "{commits} commits, {changes} changes of segment");
    let syncs = |of: &str, call: &str| {
        lines.iter().filter(|line| line.contains(call) && line.contains(of)).count()
    };
    // A change of segment seals the old one (a sync of its own), has the new one on disk before it
    // gets its name, and the name before it gets a frame.
    assert_eq!(syncs(".seg>", "fdatasync("), commits + changes, "{lines:#?}");
    assert_eq!(syncs(".new>", "fdatasync("), changes, "{lines:#?}");
    assert_eq!(syncs("/log>", "fsync("), changes, "{lines:#?}");
    assert_eq!(syncs(".seg>", " fsync(") + syncs(".seg>", "sync_file_range("), 0, "{lines:#?}");
}
