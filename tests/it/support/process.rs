//! The real binary as a child process. It never outlives the test that started it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::http::Api;
use super::wait::DEADLINE;

/// Lines of output that are kept for a test that does not read them.
const LINES_MAX: usize = 10_000;

/// `tidings` with a command line and nothing of the environment that configures it.
pub(crate) fn tidings(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    for (variable, _) in std::env::vars().filter(|(name, _)| name.starts_with("TIDINGS__")) {
        command.env_remove(variable);
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("CREDENTIALS_DIRECTORY");
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs a command on a data directory to its end.
pub(crate) async fn run(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = tidings(arguments);
    command.arg("--data-dir").arg(dir);
    finish(command).await
}

/// Runs a command to its end, which must come in time.
pub(crate) async fn finish(mut command: Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Guard(Some(command.spawn().expect("the binary")));
    let deadline = Instant::now() + DEADLINE;
    while child.get().try_wait().expect("a child").is_none() {
        assert!(Instant::now() < deadline, "{command:?} does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    child.0.take().expect("not taken").wait_with_output().expect("its output")
}

/// The exit code of a command.
pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

/// Standard error of a command.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard output of a command.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A hub on port 0.
pub(crate) fn hub(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = tidings(arguments);
    command.arg("--data-dir").arg(dir);
    command.env("TIDINGS__HTTP__LISTEN", "127.0.0.1:0");
    command.env("TIDINGS__MQTT__LISTEN", "127.0.0.1:0");
    command.envs(environment.iter().copied());
    command
}

/// Kills the child on the way out, a failed assertion's included.
struct Guard(Option<Child>);

impl Guard {
    fn get(&mut self) -> &mut Child {
        self.0.as_mut().expect("not taken")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended by itself.
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

/// A hub that prints where it listens.
pub(crate) struct Process {
    pub(crate) http: SocketAddr,
    pub(crate) mqtt: SocketAddr,
    /// The path and query of the one-time set-up URL, if one was printed.
    pub(crate) setup: Option<String>,
    child: Guard,
    lines: Receiver<String>,
}

impl Process {
    /// `serve --dev` on a data directory.
    pub(crate) fn dev(dir: &Path) -> Self {
        Self::start(dir, &["serve", "--dev"], &[])
    }

    /// Starts a hub on port 0 and waits until it says that it is ready.
    pub(crate) fn start(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::of(hub(dir, arguments, environment))
    }

    /// Starts a hub by a command and waits until it says that it is ready.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary");
        let lines = read_lines(child.stdout.take().expect("piped"));
        let mut child = Guard(Some(child));
        let (mut http, mut mqtt, mut setup) = (None, None, None);
        let mut page = false;
        while http.is_none() || mqtt.is_none() || !page {
            let Ok(line) = lines.recv_timeout(DEADLINE) else {
                panic!("not ready; ended with {:?}", child.get().try_wait());
            };
            match line.split_once(char::is_whitespace).map(|(name, url)| (name, url.trim())) {
                Some(("HTTP", url)) => http = Some(address(url, "http://")),
                Some(("MQTT", url)) => mqtt = Some(address(url, "mqtt://")),
                Some(("Page", url)) => page = url.starts_with("http://"),
                Some(("Setup", url)) => setup = Some(path_of(url)),
                _ => {}
            }
        }
        let (http, mqtt) = (http.expect("printed"), mqtt.expect("printed"));
        Self { http, mqtt, setup, child, lines }
    }

    pub(crate) fn api(&self) -> Api {
        Api::new(self.http)
    }

    /// The set-up URL's path, which may be printed after the page's line.
    pub(crate) fn setup(&mut self) -> String {
        while self.setup.is_none() {
            let line = self.lines.recv_timeout(DEADLINE).expect("a line with the set-up URL");
            if let Some(url) = line.strip_prefix("Setup") {
                self.setup = Some(path_of(url.trim()));
            }
        }
        self.setup.clone().expect("just set")
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(mut self) -> ExitStatus {
        self.child.get().kill().expect("it runs");
        self.child.get().wait().expect("a child")
    }

    pub(crate) fn pid(&mut self) -> Pid {
        Pid::from_child(self.child.get())
    }

    /// SIGTERM.
    pub(crate) fn terminate(&mut self) {
        kill_process(self.pid(), Signal::TERM).expect("it runs");
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        super::wait::eventually("the hub ends", async || {
            self.child.get().try_wait().expect("a child")
        })
        .await
    }

    /// The next line of output that has a word in it, whatever its case.
    pub(crate) fn line_with(&mut self, word: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no {word}"));
            if line.to_lowercase().contains(word) {
                return line;
            }
        }
    }

    /// SIGINT, as Ctrl-C sends it.
    pub(crate) fn interrupt(&mut self) {
        kill_process(self.pid(), Signal::INT).expect("it runs");
    }
}

fn read_lines(output: std::process::ChildStdout) -> Receiver<String> {
    let (sender, lines) = sync_channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody reads any more: the pipe is still emptied, so that the hub is not blocked.
            let _unread = sender.try_send(line);
        }
    });
    lines
}

fn address(url: &str, scheme: &str) -> SocketAddr {
    let rest = url.strip_prefix(scheme).unwrap_or_else(|| panic!("{url} is not {scheme}"));
    rest.trim_end_matches('/').parse().unwrap_or_else(|_| panic!("no address in {url}"))
}

fn path_of(url: &str) -> String {
    let url: url::Url = url.parse().expect("a URL");
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

/// The token's text in what `token create` or the set-up page printed.
pub(crate) fn token_in(text: &str) -> String {
    let start = text.find("tdg_").unwrap_or_else(|| panic!("no token in {text}"));
    let part = |c: &char| c.is_ascii_alphanumeric() || "_-".contains(*c);
    text[start..].chars().take_while(part).collect()
}
