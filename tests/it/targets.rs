//! The address guard: where webhooks may never go unless `--dev` says so.

use serde_json::{Value, json};

use crate::support::hub::{event, id_of, items, wish};
use crate::support::process::{code, run, stderr, stdout};
use crate::support::{Api, Receiver, TestHub, eventually};

/// A hub without `--dev`, and its administrator's client.
async fn guarded(keys: &[(&str, &str)]) -> (TestHub, Api) {
    let dir = tempfile::tempdir().expect("a directory");
    let made = run(dir.path(), &["token", "create", "root", "--allow", "admin"]).await;
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    let token = crate::support::process::token_in(&stdout(&made));
    let hub = TestHub::open(dir, false, keys).await;
    let api = hub.api.with_token(&token);
    (hub, api)
}

/// Asserts that nothing is sent to a URL: refused at once, or a dead letter with the same code.
async fn assert_refused(api: &Api, url: &str) {
    let topic = uuid::Uuid::now_v7().to_string();
    let answer = api.post("/v1/subscriptions", &wish(&topic, url)).await;
    if answer.status.is_client_error() {
        let problem = answer.value();
        assert!(problem.to_string().contains("E-ADDRESS-REFUSED"), "{url}: {problem}");
        return;
    }
    let id = id_of(&answer.expect(201));
    let mut sent: Value = event(&topic, "a.b", json!(1));
    sent["topic"] = json!(topic);
    api.publish(&sent).await;
    let letter = eventually(&format!("a dead letter for {url}"), async || {
        let path = format!("/v1/dead-letters?subscription={id}");
        items(&api.get(&path).await.expect(200)).into_iter().next()
    })
    .await;
    assert!(letter.to_string().contains("E-ADDRESS-REFUSED"), "{url}: {letter}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loopback_targets_are_refused_without_dev() {
    let (hub, api) = guarded(&[]).await;
    let receiver = Receiver::start().await;
    let port = receiver.url("");
    let port = port.rsplit(':').next().expect("a port");
    for host in ["127.0.0.1", "127.1.2.3", "localhost", "[::1]", "[::ffff:127.0.0.1]"] {
        assert_refused(&api, &format!("http://{host}:{port}/")).await;
    }
    assert_refused(&api, &format!("http://{}/v1/events", hub.http())).await;
    assert_eq!(receiver.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn special_addresses_are_refused_even_if_listed() {
    let keys = [("net.allow", "0.0.0.0/0, ::/0")];
    let (_hub, api) = guarded(&keys).await;
    for host in
        ["169.254.169.254", "0.0.0.0", "224.0.0.1", "[fe80::1]", "[ff02::1]", "[::]", "127.0.0.1"]
    {
        assert_refused(&api, &format!("http://{host}/")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_targets_are_refused_unless_listed() {
    let (_hub, api) = guarded(&[("net.allow", "10.9.0.0/16")]).await;
    for host in ["10.0.0.1", "192.168.0.1", "172.16.0.1", "[fd00::1]"] {
        assert_refused(&api, &format!("http://{host}/")).await;
    }
}
