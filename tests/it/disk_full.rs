//! A disk that is really full: a small file system of the test's own, filled up while the hub takes
//! events, and emptied again. Nobody is told yes for nothing, and no restart is needed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::hub::{event, history, wish};
use crate::support::process;
use crate::support::{Process, Receiver, eventually};

/// Mounts the file system that only the hub sees, and becomes the hub.
const MOUNTED: &str = "mount -t tmpfs -o size=64m tidings \"$0\" && exec \"$@\"";

/// A hub on a file system of 64 MiB. User and mount namespaces let any user have one.
fn hub(dir: &Path, floor: &str) -> Process {
    let environment = [("TIDINGS__LOG__DISK_FLOOR", floor)];
    let plain = process::hub(&dir.join("data"), &["serve", "--dev"], &environment);
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", MOUNTED]).arg(dir);
    command.arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Process::of(command)
}

/// Takes all the room that is left. Answers the path of what took it.
fn fill_up(dir: &Path) -> PathBuf {
    let path = dir.join("ballast");
    let mut file = File::create(&path).expect("room for a name");
    for size in [1 << 20, 4_096] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    path
}

/// Posts events, numbered on, until `enough` says so of the number that is acknowledged and that of
/// refusals. A refusal says that there is no room.
async fn publish(
    hub: &Process,
    acknowledged: &mut BTreeSet<u32>,
    enough: impl Fn(usize, usize) -> bool,
) {
    let (mut taken, mut refused) = (0, 0);
    let mut number = acknowledged.last().map_or(0, |last| last + 1_000);
    eventually("enough answers", async || {
        let posted = event(&number.to_string(), "a.b", json!("x".repeat(2_000)));
        let answer = hub.api().post_event(&posted).await;
        match answer.status.as_u16() {
            201 => {
                acknowledged.insert(number);
                taken += 1;
            }
            _ => {
                assert_eq!(answer.expect_problem(507)["code"], "E-STORE-FULL");
                refused += 1;
            }
        }
        number += 1;
        enough(taken, refused).then_some(())
    })
    .await;
}

async fn stored(hub: &Process) -> BTreeSet<u32> {
    let number = |event: serde_json::Value| event["id"].as_str().and_then(|id| id.parse().ok());
    history(&hub.api()).await.into_iter().filter_map(number).collect()
}

/// The hub is filled up twice: what helped once has to help again.
async fn check(floor: &str) {
    let dir = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start().await;
    let mut hub = hub(dir.path(), floor);
    let inside = PathBuf::from(format!("/proc/{}/root", hub.pid().as_raw_nonzero()));
    let inside = inside.join(dir.path().strip_prefix("/").expect("an absolute path"));
    hub.api().subscribe(&wish("a/#", &receiver.url("/"))).await;
    let mut acknowledged = BTreeSet::new();
    for round in 0..2 {
        publish(&hub, &mut acknowledged, |taken, _| taken == 50).await;
        let ballast = fill_up(&inside);
        publish(&hub, &mut acknowledged, |_, refused| refused == 20).await;
        assert!(stored(&hub).await.is_superset(&acknowledged), "{floor}: readable while full");
        std::fs::remove_file(ballast).expect("removed");
        publish(&hub, &mut acknowledged, |taken, _| taken == 50).await;
        let ready = async || (hub.api().get("/readyz").await.status.as_u16() == 200).then_some(());
        eventually("the hub is ready again", ready).await;
        assert_eq!(stored(&hub).await, acknowledged, "{floor}, round {round}");
    }
    eventually("every acknowledged event is delivered", async || {
        let id = |request: &crate::support::receiver::Request| {
            request.json()["id"].as_str().and_then(|id| id.parse::<u32>().ok())
        };
        let delivered: BTreeSet<u32> = receiver.requests().iter().filter_map(id).collect();
        delivered.is_superset(&acknowledged).then_some(())
    })
    .await;
    hub.terminate();
    assert_eq!(hub.ended().await.code(), Some(0), "it is the process that was started");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_survived_by_the_floor() {
    check("4MiB").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_in_the_middle_of_a_write_is_survived_without_a_floor() {
    check("0B").await;
}
