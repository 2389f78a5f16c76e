//! An acknowledgement is a promise about the disk: seen from outside, in the system calls.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::hub::event;
use crate::support::{Process, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_acknowledged_only_after_the_fdatasync() {
    let dir = tempfile::tempdir().expect("a directory");
    let trace = dir.path().join("trace");
    let mut hub = Process::dev(&dir.path().join("data"));
    let pid = hub.pid().as_raw_nonzero();
    let mut strace = Command::new("strace")
        .args(["-f", "-e", "trace=fdatasync,write,writev,sendto,sendmsg", "-s", "16", "-o"])
        .arg(&trace)
        .args(["-p", &pid.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .expect("strace");
    eventually("every thread is traced", async || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
        let traced = |thread: std::io::Result<std::fs::DirEntry>| {
            let status = std::fs::read_to_string(thread.expect("a thread").path().join("status"));
            status.is_ok_and(|status| !status.contains("TracerPid:\t0\n"))
        };
        threads.into_iter().all(traced).then_some(())
    })
    .await;
    for number in 0..10 {
        hub.api().publish(&event(&number.to_string(), "a.b", json!(number))).await;
    }
    hub.terminate();
    hub.ended().await;
    strace.wait().expect("strace ends with what it traced");
    let (mut synced, mut acknowledged) = (false, 0);
    for line in std::fs::read_to_string(&trace).expect("the trace").lines() {
        if line.contains("fdatasync") && line.trim_end().ends_with("= 0") {
            synced = true;
        } else if line.contains("\"HTTP/1.1 201") {
            assert!(std::mem::take(&mut synced), "answered before a sync: {line}");
            acknowledged += 1;
        }
    }
    assert_eq!(acknowledged, 10, "all answers were seen");
}
