//! The commands' way to a running hub: its HTTP interface, like everybody else's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::Value;

use super::Error;
use crate::config::Config;
use crate::control::{self, Control};
use crate::domain::address::Guard;
use crate::net::dial::Client;
use crate::store;

/// How long the hub may take for an answer.
const LIMIT: Duration = Duration::from_secs(30);

/// Where the hub is and how to be let in.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Target {
    /// Base URL of the hub; without it the one that runs on this machine over --data-dir.
    #[arg(long, global = true, value_name = "URL", env = "TIDINGS_URL")]
    url: Option<String>,
    /// File that holds the token (TIDINGS_TOKEN holds the token itself).
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<std::path::PathBuf>,
}

/// Speaks with one hub.
#[derive(Debug)]
pub(super) struct Hub {
    client: Client,
    url: String,
    token: Option<String>,
}

impl Hub {
    /// Finds the hub that is meant. There must be one.
    pub(super) fn find(target: &Target, config: &Config) -> Result<Self, Error> {
        let found = Self::look_for(target, config)?;
        found.ok_or_else(|| {
            Error::Fault(format!(
                "no hub runs over {}; name one with --url, or its directory with --data-dir",
                config.data.dir.display()
            ))
        })
    }

    /// Looks for the hub that is meant: the one with that URL, or the one over the data directory.
    pub(super) fn look_for(target: &Target, config: &Config) -> Result<Option<Self>, Error> {
        let given = match &target.token_file {
            Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
                Error::Usage(format!("--token-file {}: {error}", path.display()))
            })?),
            None => std::env::var("TIDINGS_TOKEN").ok(),
        };
        let given = given.map(|token| token.trim().to_owned());
        if let Some(url) = &target.url {
            return Self::at(url, given, config).map(Some);
        }
        let running = running(&config.data.dir)?;
        let found = running.map(|it| Self::at(&it.url, given.or(Some(it.token)), config));
        found.transpose()
    }

    /// A hub at a URL.
    pub(super) fn at(url: &str, token: Option<String>, config: &Config) -> Result<Self, Error> {
        let everywhere = ["0.0.0.0/0", "::/0"].map(|net| net.parse().expect("a valid range"));
        let guard = Guard { allow: everywhere.to_vec(), loopback: true, own: vec![] };
        let client = Client::new(&config.net, Arc::new(guard))
            .map_err(|error| Error::Fault(error.to_string()))?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned(), token })
    }

    /// Sends a request and reads the answer as JSON. A problem becomes an error in its own words.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: Bytes,
    ) -> Result<Value, Error> {
        let request = self.request(method, path, media_type, body)?;
        let answer = self.client.send(request, LIMIT).await;
        let answer = answer.map_err(|error| Error::Fault(format!("{}: {error}", self.url)))?;
        read(answer.status, &answer.body)
    }

    /// Opens an event stream.
    pub(super) async fn open(&self, path: &str) -> Result<Response<Incoming>, Error> {
        let request = self.request(Method::GET, path, "", Bytes::new())?;
        let opened = self.client.open(request).await;
        let response = opened.map_err(|error| Error::Fault(format!("{}: {error}", self.url)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.into_body().collect().await.map(|body| body.to_bytes());
        read(status, &body.unwrap_or_default())?;
        Err(Error::Fault(format!("the hub answered {status}")))
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if !media_type.is_empty() {
            request = request.header(CONTENT_TYPE, media_type);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request.body(Full::new(body)).map_err(|error| Error::Usage(error.to_string()))
    }
}

/// The hub that runs over a data directory. A hub that was killed leaves its file behind, but never
/// its lock: the kernel frees that.
pub(super) fn running(dir: &Path) -> Result<Option<Control>, Error> {
    let Some(control) = control::read(dir) else { return Ok(None) };
    match store::Lock::take(dir) {
        Ok(_free_again) => Ok(None),
        Err(store::Error::Locked(_)) => Ok(Some(control)),
        Err(error) => Err(error.into()),
    }
}

fn read(status: StatusCode, body: &[u8]) -> Result<Value, Error> {
    let value = serde_json::from_slice(body).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(value);
    }
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut lines = vec![format!("{status} {} {}", text("code"), text("detail"))];
    for error in value.get("errors").and_then(Value::as_array).into_iter().flatten() {
        let part = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
        lines.push(format!("  {}: {}", part("pointer"), part("detail")));
    }
    Err(Error::Fault(lines.join("\n")))
}
