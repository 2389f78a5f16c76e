//! Debian's `mosquitto_pub` and `mosquitto_sub`: a second opinion on our MQTT.

use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

/// The versions as the clients call them.
pub(crate) const VERSIONS: [&str; 2] = ["mqttv311", "mqttv5"];

fn command(program: &str, hub: SocketAddr, version: &str, topic: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-p", &hub.port().to_string(), "-V", version, "-t", topic]);
    command
}

/// Publishes one message at QoS 1 and returns when it is acknowledged.
pub(crate) async fn publish(
    hub: SocketAddr,
    version: &'static str,
    topic: &str,
    payload: &str,
    login: Option<(&str, &str)>,
) -> Output {
    let mut command = command("mosquitto_pub", hub, version, topic);
    command.args(["-q", "1", "-m", payload]);
    if let Some((user, password)) = login {
        command.args(["-u", user, "-P", password]);
    }
    let run = move || command.output().expect("mosquitto_pub is installed (tests/run does it)");
    tokio::task::spawn_blocking(run).await.expect("it ran")
}

/// A subscriber that prints `TOPIC PAYLOAD` of one message and ends.
pub(crate) struct Subscriber(Option<Child>);

impl Subscriber {
    pub(crate) fn start(hub: SocketAddr, version: &str, topic: &str, qos: &str) -> Self {
        let mut command = command("mosquitto_sub", hub, version, topic);
        command.args(["-q", qos, "-C", "1", "-W", "20", "-v"]).stdout(Stdio::piped());
        Self(Some(command.spawn().expect("mosquitto_sub is installed (tests/run does it)")))
    }

    /// What it printed, once it has ended.
    pub(crate) fn finished(&mut self) -> Option<String> {
        let child = self.0.as_mut().expect("asked once after its end");
        let ended = child.try_wait().expect("a child").is_some();
        let child = if ended { self.0.take() } else { None }?;
        let output = child.wait_with_output().expect("its output");
        Some(String::from_utf8(output.stdout).expect("UTF-8"))
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Its end is wished for, not checked: the test is over.
            let _killed = child.kill();
            let _status = child.wait();
        }
    }
}
