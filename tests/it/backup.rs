//! Backups: taken while the hub works, restored elsewhere, rehearsed, refused when they are not
//! whole; and the store mended offline.

use std::path::Path;

use http::Method;
use serde_json::json;

use crate::support::hub::history;
use crate::support::process::{code, run, stderr, stdout};
use crate::support::wait::eventually;
use crate::support::{Process, Receiver, Reply};

async fn publish(hub: &Process, id: &str) {
    let event = json!({
        "specversion": "1.0", "id": id, "source": "/backup", "type": "backup.test", "data": id,
    });
    hub.api().publish(&event).await;
}

async fn ids(hub: &Process) -> Vec<String> {
    let text = |event: serde_json::Value| event["id"].as_str().expect("an id").to_owned();
    history(&hub.api()).await.into_iter().map(text).filter(|id| id.starts_with('e')).collect()
}

async fn good(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments).await;
    assert_eq!(code(&output), 0, "{arguments:?}: {}{}", stdout(&output), stderr(&output));
    stdout(&output)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_hub_goes_on_where_the_backup_stood() {
    let (dir, other) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
    let target = Receiver::answering(|_, _| Reply::Status(503)).await;
    let hub = Process::dev(dir.path());
    let wish = json!({
        "filter": {"topic": "backup/#"}, "sink": {"http": {"url": target.url("/")}},
        "lease_seconds": 3600, "policy": {"retry": vec!["100ms"; 32]},
    });
    let made = hub.api().json(Method::PUT, "/v1/subscriptions/s", &wish).await.expect(201);
    for n in 0..20 {
        publish(&hub, &format!("e{n}")).await;
    }
    eventually("a delivery fails and waits", async || (target.count() > 0).then_some(())).await;
    let file = other.path().join("backup.tar");
    let name = file.to_str().expect("text");
    good(dir.path(), &["backup", name]).await;
    publish(&hub, "e-after").await;
    hub.kill();
    let found = good(other.path(), &["restore", "--verify", name]).await;
    assert!(found.contains("every checksum good"), "{found}");
    let restored = other.path().join("data");
    good(&restored, &["restore", name]).await;
    let taken = Receiver::answering(|_, _| Reply::Status(200)).await;
    let hub = Process::dev(&restored);
    let expected: Vec<String> = (0..20).map(|n| format!("e{n}")).collect();
    assert_eq!(ids(&hub).await, expected);
    let held = hub.api().get("/v1/subscriptions/s").await.expect(200);
    assert_eq!(held["expires_at"], made["expires_at"], "the lease is the one that was granted");
    let moved = json!({"sink": {"http": {"url": taken.url("/")}}});
    let headers = [("content-type", "application/merge-patch+json")];
    let path = "/v1/subscriptions/s";
    hub.api().send(Method::PATCH, path, &headers, moved.to_string()).await.expect(200);
    eventually("every event arrives at last", async || (taken.count() >= 20).then_some(())).await;
    hub.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_taken_of_a_stopped_hub_too_and_only_into_an_empty_directory_restored() {
    let (dir, other) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
    let hub = Process::dev(dir.path());
    publish(&hub, "e1").await;
    hub.kill();
    let file = other.path().join("backup.tar");
    let name = file.to_str().expect("text");
    good(dir.path(), &["backup", name]).await;
    let refused = run(dir.path(), &["restore", name]).await;
    assert_eq!(code(&refused), 1);
    assert!(stderr(&refused).contains("not empty"), "{}", stderr(&refused));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_not_whole_is_refused() {
    let (dir, other) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
    let hub = Process::dev(dir.path());
    publish(&hub, "e1").await;
    let file = other.path().join("backup.tar");
    let name = file.to_str().expect("text");
    good(dir.path(), &["backup", name]).await;
    hub.kill();
    let whole = std::fs::read(&file).expect("readable");
    for cut in [0, 600, whole.len() / 2, whole.len() - 2_000] {
        std::fs::write(&file, &whole[..cut]).expect("written");
        for arguments in [&["restore", "--verify", name][..], &["restore", name]] {
            let refused = run(&other.path().join("data"), arguments).await;
            assert_eq!(code(&refused), 1, "cut at {cut}: {}", stderr(&refused));
        }
    }
    for place in [700, whole.len() / 3] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        std::fs::write(&file, &damaged).expect("written");
        let refused = run(other.path(), &["restore", "--verify", name]).await;
        assert_eq!(code(&refused), 1, "a flipped bit at {place}: {}", stderr(&refused));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_starts_is_told_by_check_and_mended_by_repair() {
    let dir = tempfile::tempdir().expect("a directory");
    let hub = Process::dev(dir.path());
    for n in 0..20 {
        publish(&hub, &format!("e{n}")).await;
    }
    hub.kill();
    let log = dir.path().join("log").join(format!("{:020}.seg", 0));
    let mut bytes = std::fs::read(&log).expect("readable");
    let at = bytes.windows(3).position(|found| found == b"e10").expect("an event's id");
    bytes[at] ^= 0xff;
    std::fs::write(&log, &bytes).expect("written");
    let told = run(dir.path(), &["check", "--dev"]).await;
    assert_eq!(code(&told), 1);
    assert!(stdout(&told).contains("damage: 00000000000000000000.seg"), "{}", stdout(&told));
    let hub = Process::dev(dir.path());
    assert_eq!(ids(&hub).await.len(), 19, "everything else is kept");
    publish(&hub, "e-new").await;
    hub.kill();
    good(dir.path(), &["repair"]).await;
    let told = good(dir.path(), &["check", "--dev"]).await;
    assert!(told.contains("known damage"), "{told}");
}
