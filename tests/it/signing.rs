//! Signatures as receivers verify them, secrets that change under way, and that none of them is
//! ever kept in the open.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Method;
use serde_json::{Value, json};

use crate::support::hub::{event, id_of, items, wish};
use crate::support::process::{code, hub as process, run, stderr};
use crate::support::receiver::Request;
use crate::support::tls::Authority;
use crate::support::{Api, Receiver, Reply, TestHub, eventually};

/// Ed25519 keys of RFC 8032, 7.1, test 1, as the standard writes them.
const PRIVATE: &str =
    "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGg==";
const PUBLIC: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// A wish that is signed.
fn signed(receiver: &Receiver, how: Value) -> Value {
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["signing"] = json!({ "standard_webhooks": how });
    wanted
}

/// The next delivery of an event that is published now.
async fn next(api: &Api, receiver: &Receiver) -> Request {
    let before = receiver.count();
    let id = uuid::Uuid::now_v7().to_string();
    api.publish(&event(&id, "a.b", json!({"text": "Euro € 😀"}))).await;
    receiver.wait_for(before + 1).await.remove(before)
}

fn signatures(request: &Request) -> Vec<String> {
    request.header("webhook-signature").split(' ').map(str::to_owned).collect()
}

/// Verifies with the reference library of the standard.
fn verifies(secret: &str, request: &Request) -> bool {
    let webhook = standardwebhooks::Webhook::new(secret).expect("a secret in the agreed form");
    webhook.verify(&request.body, &request.headers).is_ok()
}

/// Verifies one `v1a` signature of a delivery by another implementation than the hub's.
fn verifies_v1a(public: &str, request: &Request) -> bool {
    let key = BASE64.decode(public.strip_prefix("whpk_").expect("a public key")).expect("base64");
    let key = ed25519_compact::PublicKey::from_slice(&key).expect("32 bytes");
    let head = format!("{}.{}.", request.header("webhook-id"), request.header("webhook-timestamp"));
    let content = [head.as_bytes(), &request.body].concat();
    signatures(request).iter().filter_map(|one| one.strip_prefix("v1a,")).any(|one| {
        let signature = BASE64.decode(one).expect("base64");
        let signature = ed25519_compact::Signature::from_slice(&signature).expect("64 bytes");
        key.verify(content.as_slice(), &signature).is_ok()
    })
}

fn secret_of(subscription: &Value) -> Option<String> {
    subscription["signing"]["standard_webhooks"]["secret"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v1_verifies_with_the_reference_library_at_each_attempt() {
    let hub = TestHub::start().await;
    let receiver = Receiver::scripted(vec![Reply::Status(503)]).await;
    let made = hub.api.subscribe(&signed(&receiver, json!({}))).await;
    let secret = secret_of(&made).expect("shown once");
    next(&hub.api, &receiver).await;
    for request in receiver.wait_for(2).await {
        assert!(verifies(&secret, &request));
        assert!(!verifies("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", &request));
    }
    let shown = hub.api.get(&format!("/v1/subscriptions/{}", id_of(&made))).await.expect(200);
    assert_eq!(shown["signing"], json!({"standard_webhooks": {"scheme": "v1"}}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v1a_verifies_with_the_public_key_that_is_always_shown() {
    let mut hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let path = "/v1/subscriptions/s";
    let wanted = signed(&receiver, json!({"scheme": "v1a"}));
    let made = hub.api.json(Method::PUT, path, &wanted).await.expect(201);
    assert_eq!(secret_of(&made), None, "nobody else needs the private key");
    let public = made["signing"]["standard_webhooks"]["public_key"].as_str().expect("shown");
    assert!(verifies_v1a(public, &next(&hub.api, &receiver).await));
    hub.restart().await;
    let shown = hub.api.get(path).await.expect(200);
    assert_eq!(shown["signing"], made["signing"]);
    let request = next(&hub.api, &receiver).await;
    assert!(verifies_v1a(public, &request) && !verifies_v1a(PUBLIC, &request));

    let given = signed(&receiver, json!({"secret": PRIVATE}));
    let made = hub.api.json(Method::PUT, path, &given).await.expect(200);
    let expected = json!({"standard_webhooks": {"scheme": "v1a", "public_key": PUBLIC}});
    assert_eq!(made["signing"], expected);
    assert!(verifies_v1a(PUBLIC, &next(&hub.api, &receiver).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_secrets_sign_until_the_overlap_is_over() {
    let mut hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let made = hub.api.subscribe(&signed(&receiver, json!({}))).await;
    let first = secret_of(&made).expect("shown once");
    let path = format!("/v1/subscriptions/{}", id_of(&made));
    let rotate = format!("{path}/rotate-secret");
    let rotated = hub.api.post(&rotate, &json!({"overlap": "4s"})).await;
    assert_eq!(rotated.header("etag"), Some("\"2\""));
    let rotated = rotated.expect(200);
    let second = secret_of(&rotated).expect("shown once");
    assert_ne!(first, second);
    assert!(rotated["signing"]["standard_webhooks"]["overlap_until"].is_string(), "{rotated}");
    hub.restart().await;
    let request = next(&hub.api, &receiver).await;
    assert_eq!(signatures(&request).len(), 2, "{request:?}");
    assert!(verifies(&first, &request) && verifies(&second, &request));
    let newest_first = signatures(&request).remove(0);
    let request = eventually("the overlap is over", async || {
        let request = next(&hub.api, &receiver).await;
        (signatures(&request).len() == 1).then_some(request)
    })
    .await;
    assert!(!verifies(&first, &request) && verifies(&second, &request));
    assert_ne!(newest_first, "", "one of each");
    let shown = hub.api.get(&path).await.expect(200);
    assert_eq!(shown["signing"], json!({"standard_webhooks": {"scheme": "v1"}}));

    // By default both sign for a day, and one may well be of the other scheme.
    let moved = hub.api.post(&rotate, &json!({"secret": PRIVATE})).await.expect(200);
    assert_eq!(moved["signing"]["standard_webhooks"]["public_key"], PUBLIC);
    let request = next(&hub.api, &receiver).await;
    let schemes: Vec<_> = signatures(&request).iter().map(|it| it[..3].to_owned()).collect();
    assert_eq!(schemes, ["v1a", "v1,"]);
    assert!(verifies(&second, &request) && verifies_v1a(PUBLIC, &request));
    hub.api.post(&rotate, &json!({"secret": PRIVATE, "overlap": "0s"})).await.expect(200);
    let request = next(&hub.api, &receiver).await;
    assert_eq!(signatures(&request).len(), 1);
    assert!(verifies_v1a(PUBLIC, &request));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_is_refused_as_other_changes_are() {
    let hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let rotate = async |path: &str, body: Value| hub.api.post(path, &body).await;
    let unknown = rotate("/v1/subscriptions/none/rotate-secret", json!({})).await;
    assert_eq!(unknown.expect_problem(404)["code"], "E-SUBSCRIPTION-UNKNOWN");
    let plain = hub.api.subscribe(&wish("a/b", &receiver.url("/"))).await;
    let path = format!("/v1/subscriptions/{}/rotate-secret", id_of(&plain));
    let unsigned = rotate(&path, json!({})).await.expect_problem(409);
    assert_eq!(unsigned["code"], "E-SUBSCRIPTION-UNSIGNED");
    let made = hub.api.subscribe(&signed(&receiver, json!({}))).await;
    let path = format!("/v1/subscriptions/{}/rotate-secret", id_of(&made));
    for (body, pointer) in [
        (json!({"overlap": "31d"}), "/overlap"),
        (json!({"overlap": "soon"}), "/overlap"),
        (json!({"secret": "whsec_AAEC"}), "/secret"),
        (json!({"days": 1}), "/days"),
    ] {
        let problem = rotate(&path, body).await.expect_problem(400);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
}

/// Every file below a directory in which some bytes stand.
fn files_with(dir: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_with(&path, bytes));
        } else if std::fs::read(&path).expect("a file").windows(bytes.len()).any(|it| it == bytes) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_stands_in_the_open_in_any_file() {
    let mut hub = TestHub::with(&[("log.snapshot_every", "1B")]).await;
    let receiver = Receiver::start().await;
    let (certificate, key) = Authority::new().certify("hub.lan");
    let given = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0LW51bWJlci1vbmU=";
    let mut wanted = signed(&receiver, json!({ "secret": given }));
    wanted["sink"]["http"]["headers"] = json!({"x-api-key": "hidden-header", "x-plain": "seen-it"});
    wanted["sink"]["http"]["auth"] = json!({"basic": {"user": "u", "password": "hidden-pass"}});
    let id = id_of(&hub.api.subscribe(&wanted).await);
    let mut other = signed(&receiver, json!({ "secret": PRIVATE }));
    other["sink"]["http"] = json!({
        "url": "https://127.0.0.1:1/", "auth": {"bearer": {"token": "hidden-token"}},
        "tls": {"certificate": certificate, "key": key},
    });
    hub.api.subscribe(&other).await;
    let made = hub.api.post(&format!("/v1/subscriptions/{id}/rotate-secret"), &json!({})).await;
    let made = secret_of(&made.expect(200)).expect("shown once");
    next(&hub.api, &receiver).await;
    let backup = hub.api.get("/v1/backup").await.body;
    hub.restart().await;
    next(&hub.api, &receiver).await;
    hub.stop().await;
    std::fs::write(hub.dir().join("backup.tar"), &backup).expect("written");
    assert!(!files_with(hub.dir(), b"seen-it").is_empty(), "what is no secret is found");
    let decoded =
        |text: &str| BASE64.decode(text.split_once('_').expect("a prefix").1).expect("it");
    let secrets = [
        given.as_bytes()[6..].to_vec(),
        decoded(given),
        made.as_bytes()[6..].to_vec(),
        decoded(&made),
        PRIVATE.as_bytes()[5..].to_vec(),
        decoded(PRIVATE)[..32].to_vec(),
        key.lines().nth(1).expect("a line").as_bytes().to_vec(),
        b"hidden-".to_vec(),
    ];
    for secret in &secrets {
        let found = files_with(hub.dir(), secret);
        assert_eq!(found, Vec::<String>::new(), "{}", String::from_utf8_lossy(secret));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_sealing_key_deliveries_fail_visibly_until_it_is_back() {
    let mut hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let mut wanted = signed(&receiver, json!({}));
    wanted["policy"]["retry"] = json!(["50ms"]);
    let made = hub.api.subscribe(&wanted).await;
    let (id, secret) = (id_of(&made), secret_of(&made).expect("shown once"));
    hub.stop().await;
    let (key, away) = (hub.dir().join("seal.key"), hub.dir().join("away"));
    std::fs::rename(&key, &away).expect("moved");
    hub.start_again().await;
    hub.api.publish(&event("lost", "a.b", json!(1))).await;
    let path = format!("/v1/dead-letters?subscription={id}");
    let letter = eventually("a dead letter", async || {
        items(&hub.api.get(&path).await.expect(200)).into_iter().next()
    })
    .await;
    assert!(letter.to_string().contains("sealed with another key"), "{letter}");
    let status = hub.api.get(&format!("/v1/subscriptions/{id}")).await.expect(200);
    assert_eq!(status["state"], "active", "the target is not to blame: {status}");
    assert!(status["status"]["last_error"].to_string().contains("sealed"), "{status}");
    assert_eq!(receiver.count(), 0);
    hub.stop().await;
    std::fs::rename(&away, &key).expect("moved");
    hub.start_again().await;
    assert!(verifies(&secret, &next(&hub.api, &receiver).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_secret_mends_what_was_sealed_with_a_lost_key() {
    let mut hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let id = id_of(&hub.api.subscribe(&signed(&receiver, json!({}))).await);
    hub.stop().await;
    std::fs::remove_file(hub.dir().join("seal.key")).expect("removed");
    hub.start_again().await;
    let rotated = hub.api.post(&format!("/v1/subscriptions/{id}/rotate-secret"), &json!({})).await;
    let secret = secret_of(&rotated.expect(200)).expect("shown once");
    let request = next(&hub.api, &receiver).await;
    assert!(verifies(&secret, &request));
    assert_eq!(signatures(&request).len(), 1, "the lost one signs no more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_restored_beside_the_key_that_it_does_not_hold() {
    let mut hub = TestHub::start().await;
    let receiver = Receiver::start().await;
    let made = hub.api.subscribe(&signed(&receiver, json!({}))).await;
    let secret = secret_of(&made).expect("shown once");
    let backup = hub.api.get("/v1/backup").await.body;
    hub.stop().await;
    let (dir, file) = (tempfile::tempdir().expect("one"), hub.dir().join("backup.tar"));
    std::fs::write(&file, &backup).expect("written");
    std::fs::copy(hub.dir().join("seal.key"), dir.path().join("seal.key")).expect("copied");
    let restored = run(dir.path(), &["restore", file.to_str().expect("text")]).await;
    assert_eq!(code(&restored), 0, "{}", stderr(&restored));
    let hub = TestHub::open(dir, true, &[]).await;
    assert!(verifies(&secret, &next(&hub.api, &receiver).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealing_key_that_others_can_read_or_nobody_can_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().expect("a directory");
    let data = dir.path().join("data");
    std::fs::create_dir(&data).expect("a directory");
    let path = data.join("seal.key");
    let check = async |text: &str, mode: u32, words: &str| {
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
        let command = process(&data, &["serve", "--dev"], &[]);
        let output = crate::support::process::finish(command).await;
        assert_eq!(code(&output), 78, "{}", stderr(&output));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
        assert!(!stderr(&output).contains("secret-key"), "{}", stderr(&output));
        let checked = run(&data, &["check"]).await;
        assert_eq!(code(&checked), 78, "{}", stderr(&checked));
    };
    check("secret-key", 0o600, "32 bytes").await;
    check(&"ab".repeat(32), 0o644, "others may read it").await;
}
