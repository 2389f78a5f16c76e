//! The commands for people at a shell: check, publish, tail.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::json;

use crate::support::Process;
use crate::support::hub::history;
use crate::support::process::{code, finish, run, stderr, stdout, tidings};

async fn publish(dir: &Path, arguments: &[&str]) {
    let output = run(dir, &[&["publish"], arguments].concat()).await;
    assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
}

/// `publish TOPIC --data -` with a text on standard input.
async fn publish_piped(dir: &Path, topic: &str, text: &'static str) -> Output {
    let mut command = tidings(&["publish", topic, "--data", "-", "--data-dir"]);
    command.arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    let wait = move || child.wait_with_output().expect("its output");
    tokio::task::spawn_blocking(wait).await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_sends_text_files_and_standard_input() {
    let dir = tempfile::tempdir().expect("a directory");
    let hub = Process::dev(dir.path());
    publish(dir.path(), &["shell/text", "--data", "hello"]).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "{\"n\": 1}").expect("written");
    let at_file = format!("@{}", file.path().display());
    publish(dir.path(), &["shell/file", "--data", &at_file]).await;
    let piped = publish_piped(dir.path(), "shell/pipe", "from a pipe").await;
    assert_eq!(code(&piped), 0, "{}", stderr(&piped));
    let stored = history(&hub.api()).await;
    let data = |topic: &str| {
        let found = stored.iter().find(|event| event["topic"] == topic);
        found.unwrap_or_else(|| panic!("no {topic} in {stored:?}"))["data"].clone()
    };
    assert_eq!(data("shell/text"), "hello");
    assert_eq!(data("shell/file"), json!({"n": 1}));
    assert_eq!(data("shell/pipe"), "from a pipe");
    let refused = run(dir.path(), &["publish", "a/#", "--data", "x"]).await;
    assert_ne!(code(&refused), 0);
    assert!(!stderr(&refused).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_prints_events_that_match() {
    let dir = tempfile::tempdir().expect("a directory");
    let _hub = Process::dev(dir.path());
    for (topic, text) in [("tail/1", "first"), ("other/1", "other"), ("tail/2", "second")] {
        publish(dir.path(), &[topic, "--data", text]).await;
    }
    let arguments = ["tail", "tail/+", "--from", "earliest", "--count", "2"];
    let output = run(dir.path(), &arguments).await;
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("first") && text.contains("second"), "{text}");
    assert!(!text.contains("other"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_works_on_a_hub_that_asks_for_credentials() {
    let dir = tempfile::tempdir().expect("a directory");
    let _hub = Process::start(dir.path(), &["serve"], &[]);
    publish(dir.path(), &["shell/1", "--data", "hello"]).await;
    let arguments = ["tail", "--from", "earliest", "--count", "1"];
    let output = run(dir.path(), &arguments).await;
    assert!(stdout(&output).contains("hello"), "{}", stderr(&output));
    assert_secrets_are_private(dir.path());
}

/// No file in the data directory can be read by others.
fn assert_secrets_are_private(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    for entry in std::fs::read_dir(dir).expect("the directory") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode();
        let content = std::fs::read(entry.path()).unwrap_or_default();
        if content.windows(4).any(|four| four == b"tdg_") {
            assert_eq!(mode & 0o077, 0, "{} is {mode:o}", entry.path().display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_without_a_hub_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = run(dir.path(), &["publish", "a", "--data", "x"]).await;
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    assert!(!stderr(&output).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_reads_configuration_and_store_without_starting() {
    let dir = tempfile::tempdir().expect("a directory");
    Process::dev(dir.path()).kill();
    let good = run(dir.path(), &["check"]).await;
    assert_eq!(code(&good), 0, "{}", stderr(&good));
    let file = dir.path().join("mine.toml");
    std::fs::write(&file, "[lease]\nmax = \"9d\"\n").expect("written");
    let config = file.to_str().expect("UTF-8");
    let printed = run(dir.path(), &["check", "--print", "--config", config]).await;
    assert_eq!(code(&printed), 0, "{}", stderr(&printed));
    assert!(stdout(&printed).contains("9d") && stdout(&printed).contains("mine.toml"));
    std::fs::write(&file, "[lease]\nmx = \"9d\"\n").expect("written");
    let mut command = tidings(&["check", "--config", config]);
    command.arg("--data-dir").arg(dir.path());
    let bad = finish(command).await;
    assert_eq!(code(&bad), 78);
    assert!(stderr(&bad).contains("lease.m"), "{}", stderr(&bad));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_hub_counts_as_stopped() {
    let dir = tempfile::tempdir().expect("a directory");
    Process::dev(dir.path()).kill();
    assert!(dir.path().join("control.json").exists(), "a kill leaves it behind");
    let refused = run(dir.path(), &["publish", "a", "--data", "x"]).await;
    assert_eq!(code(&refused), 1, "{}", stderr(&refused));
    assert!(stderr(&refused).contains("no hub runs over"), "{}", stderr(&refused));
    let made = run(dir.path(), &["token", "create", "me", "--allow", "admin"]).await;
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    let listed = run(dir.path(), &["token", "list"]).await;
    assert!(stdout(&listed).contains("me"), "{}", stderr(&listed));
    let absent = dir.path().join("absent");
    assert_eq!(code(&run(&absent, &["publish", "a"]).await), 1);
    assert!(!absent.exists(), "looking for a hub makes no directory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_says_why_it_ended_early() {
    let dir = tempfile::tempdir().expect("a directory");
    let environment = [("TIDINGS__HTTP__STREAMS_MAX", "1")];
    let mut hub = Process::start(dir.path(), &["serve", "--dev"], &environment);
    publish(dir.path(), &["a", "--data", "only"]).await;
    let mut command = tidings(&["tail", "--from", "earliest", "--count", "2", "--data-dir"]);
    command.arg(dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut first = command.spawn().expect("the binary");
    let mut printed = std::io::BufReader::new(first.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut printed, &mut String::new()).expect("an event");
    let second = run(dir.path(), &["tail", "--count", "1"]).await;
    assert_eq!(code(&second), 1);
    assert!(stderr(&second).contains("all streams are taken"), "{}", stderr(&second));
    hub.terminate();
    assert_eq!(hub.ended().await.code(), Some(0));
    let first = first.wait_with_output().expect("its output");
    assert_eq!(code(&first), 1);
    assert!(stderr(&first).contains("1 of 2"), "{}", stderr(&first));
}
