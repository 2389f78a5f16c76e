//! The process: exit codes, signals, the drain, systemd, the demonstration.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::json;

use crate::support::hub::{event, wish};
use crate::support::process::{code, finish, run, stderr, tidings};
use crate::support::{Process, Receiver, Reply, in_time};

/// Runs `serve` with variables of the environment; it is expected to end by itself.
async fn serve(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = tidings(&["serve"]);
    command.args(arguments).arg("--data-dir").arg(dir);
    command.env("TIDINGS__HTTP__LISTEN", "127.0.0.1:0").env("TIDINGS__MQTT__LISTEN", "127.0.0.1:0");
    command.envs(environment.iter().copied());
    finish(command).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_data_ends_with_75() {
    let dir = tempfile::tempdir().expect("a directory");
    let hub = Process::dev(dir.path());
    let second = serve(dir.path(), &["--dev"], &[]).await;
    assert_eq!(code(&second), 75, "{}", stderr(&second));
    hub.api().publish(&event("1", "a.b", json!("the first one goes on"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_in_use_ends_with_69() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).expect("an address");
    for variable in ["TIDINGS__HTTP__LISTEN", "TIDINGS__MQTT__LISTEN"] {
        let dir = tempfile::tempdir().expect("a directory");
        let ended = serve(dir.path(), &["--dev"], &[(variable, &taken.1)]).await;
        assert_eq!(code(&ended), 69, "{variable}: {}", stderr(&ended));
        assert!(stderr(&ended).contains(&taken.1), "{}", stderr(&ended));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_configuration_ends_with_78_and_names_the_key() {
    let dir = tempfile::tempdir().expect("a directory");
    let check = async |variable: &str, value: &str, named: &str| {
        let ended = serve(dir.path(), &[], &[(variable, value)]).await;
        assert_eq!(code(&ended), 78, "{variable}: {}", stderr(&ended));
        assert!(stderr(&ended).contains(named), "{variable}: {}", stderr(&ended));
    };
    check("TIDINGS__HTTP__LISTN", "127.0.0.1:0", "http.listen").await;
    check("TIDINGS__LEASE__MAXIMUM", "1d", "lease.max").await;
    check("TIDINGS__LEASE__MAX", "soon", "TIDINGS__LEASE__MAX").await;
    check("TIDINGS__TELEMETRY__LOG_LEVEL", "tidings=loud", "telemetry.log_level").await;
    check("TIDINGS__NET__EXTRA_CA_FILE", "/nowhere/ca.pem", "net.extra_ca_file").await;
    let mut command = tidings(&["check", "--data-dir"]);
    command.arg(dir.path()).env("TIDINGS__NET__EXTRA_CA_FILE", "/nowhere/ca.pem");
    assert_eq!(code(&finish(command).await), 78);
    let open = [("TIDINGS__HTTP__LISTEN", "0.0.0.0:0")];
    let ended = serve(dir.path(), &["--dev"], &open).await;
    assert_eq!(code(&ended), 78, "{}", stderr(&ended));
    let file = dir.path().join("tidings.toml");
    std::fs::write(&file, "[http]\nlisten = 5\n").expect("written");
    let ended = serve(dir.path(), &["--config", file.to_str().expect("UTF-8")], &[]).await;
    assert_eq!(code(&ended), 78, "{}", stderr(&ended));
    assert!(stderr(&ended).contains("http.listen"), "{}", stderr(&ended));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_of_others_need_not_be_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().expect("a directory");
    let check = async |variable: &str, expected: i32| {
        let mut command = tidings(&["check", "--data-dir"]);
        command.arg(dir.path()).env(variable, std::ffi::OsStr::from_bytes(b"caf\xe9"));
        let ended = finish(command).await;
        assert_eq!(code(&ended), expected, "{variable}: {}", stderr(&ended));
    };
    check("LEGACY", 0).await;
    check("TIDINGS__DATA__DIR", 78).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_that_cannot_be_written_ends_with_73() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "not a directory").expect("written");
    let ended = serve(&file.join("data"), &["--dev"], &[]).await;
    assert_eq!(code(&ended), 73, "{}", stderr(&ended));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_command_line_ends_with_2_and_help_with_0() {
    for arguments in [&["serve", "--nonsense"][..], &["nonsense"], &["publish"]] {
        assert_eq!(code(&finish(tidings(arguments)).await), 2, "{arguments:?}");
    }
    for command in ["serve", "check", "token", "publish", "tail", "demo"] {
        assert_eq!(code(&finish(tidings(&[command, "--help"])).await), 0, "{command}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_drains_deliveries_under_way() {
    let dir = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::scripted(vec![Reply::After(Duration::from_secs(1), 200)]).await;
    let mut hub = Process::dev(dir.path());
    hub.api().subscribe(&wish("a/b", &receiver.url("/"))).await;
    hub.api().publish(&event("1", "a.b", json!(1))).await;
    receiver.wait_for(1).await;
    hub.terminate();
    assert_eq!(hub.ended().await.code(), Some(0));

    let hub = Process::dev(dir.path());
    hub.api().publish(&event("2", "a.b", json!(2))).await;
    let requests = receiver.wait_for(2).await;
    let ids: Vec<_> = requests.iter().map(|request| request.json()["id"].clone()).collect();
    assert_eq!(ids, ["1", "2"], "what was drained is not sent again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_stuck_target_for_ever() {
    let dir = tempfile::tempdir().expect("a directory");
    let receiver = Receiver::start().await;
    receiver.always(Reply::Stall);
    let environment = [("TIDINGS__DRAIN__TIMEOUT", "1s")];
    let mut hub = Process::start(dir.path(), &["serve", "--dev"], &environment);
    let mut wanted = wish("a/b", &receiver.url("/"));
    wanted["policy"]["timeout"] = json!("60s");
    hub.api().subscribe(&wanted).await;
    hub.api().publish(&event("1", "a.b", json!(1))).await;
    receiver.wait_for(1).await;
    hub.terminate();
    assert_eq!(hub.ended().await.code(), Some(0));
    receiver.always(Reply::Status(200));
    let _hub = Process::dev(dir.path());
    assert_eq!(receiver.wait_for(2).await[1].json()["id"], "1", "it is sent after the start");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sd_notify_tells_ready_and_stopping() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let wait_for = |state: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = socket.recv(&mut buffer).unwrap_or_else(|_| panic!("no {state}"));
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.lines().any(|line| line == state) {
                return;
            }
        }
    };
    let environment = [("NOTIFY_SOCKET", path.to_str().expect("UTF-8"))];
    let data = dir.path().join("data");
    let mut hub = Process::start(&data, &["serve", "--dev"], &environment);
    wait_for("READY=1");
    hub.terminate();
    wait_for("STOPPING=1");
    assert_eq!(hub.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_unit_file_verifies() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/tidings.service");
    let text = std::fs::read_to_string(&unit).expect("the unit file");
    assert!(text.contains("ExecStart=/usr/bin/tidings "), "{text}");
    // systemd-analyze wants the binary to be there: it looks at the one under test.
    let dir = tempfile::tempdir().expect("a directory");
    let copy = dir.path().join("tidings.service");
    let text = text.replace("/usr/bin/tidings", env!("CARGO_BIN_EXE_tidings"));
    std::fs::write(&copy, text).expect("written");
    let mut command = std::process::Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]).arg(&copy);
    let verified = finish(command).await;
    assert_eq!(code(&verified), 0, "{}", stderr(&verified));
    let complaints = stderr(&verified);
    let ours = complaints.lines().filter(|line| line.contains("tidings.service")).count();
    assert_eq!(ours, 0, "{complaints}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demonstration_shows_events_by_webhook_and_mqtt() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut hub = Process::start(dir.path(), &["demo"], &[]);
    hub.line_with("webhook");
    hub.line_with("mqtt");
    hub.line_with("webhook");
    let page = in_time("the page", hub.api().get("/")).await;
    assert_eq!(page.status.as_u16(), 200);
    hub.interrupt();
    assert_eq!(hub.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().expect("a directory");
    let hub = Process::dev(dir.path());
    let offset = hub.api().publish(&event("kept", "a.b", json!(1))).await;
    hub.kill();
    let checked = run(dir.path(), &["check"]).await;
    assert_eq!(code(&checked), 0, "{}", stderr(&checked));
    let hub = Process::dev(dir.path());
    let read = hub.api().get(&format!("/v1/events/{offset}")).await.expect(200);
    assert_eq!(read["id"], "kept");
}
