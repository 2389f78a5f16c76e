//! How the command line finds a running hub: a file in the data directory that only the hub's user
//! can read, with the hub's address and a credential that lives as long as the process.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

const FILE: &str = "control.json";

/// Where a running hub is and how to be let in.
#[derive(Clone, Serialize, Deserialize)]
pub struct Control {
    /// Base URL of its HTTP interface.
    pub url: String,
    /// Credential of the operator on this machine.
    pub token: String,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Writes the file of a hub that listens on an address.
pub fn write(dir: &Path, http: SocketAddr, token: &str) -> std::io::Result<()> {
    let path = dir.join(FILE);
    remove(dir);
    let control = Control { url: format!("http://{}", reachable(http)), token: token.to_owned() };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(serde_json::to_string(&control)?.as_bytes())
}

/// Reads the file of a running hub; `None` if there is none.
pub fn read(dir: &Path) -> Option<Control> {
    let text = std::fs::read_to_string(dir.join(FILE)).ok()?;
    serde_json::from_str(&text).ok()
}

/// Removes the file. That it is gone already is as good.
pub fn remove(dir: &Path) {
    let path = dir.join(FILE);
    if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "a file cannot be removed");
    }
}

/// An address that this machine can connect to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
