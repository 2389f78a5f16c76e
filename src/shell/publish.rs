//! `tidings publish`: one event from a shell.

use std::io::Read;

use bytes::Bytes;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::client::{Hub, Target};
use super::{Error, print};
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Topic of the event.
    topic: String,
    /// The data: text, @FILE, or - for standard input.
    #[arg(long, default_value = "")]
    data: String,
    /// Type of the event; without it the topic with '/' turned into '.'.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Media type of the data; without it JSON where the data is JSON, else plain text or bytes.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(args: Args, config: Config) -> Result<(), Error> {
    let data = read(&args.data)?;
    let hub = Hub::find(&args.target, &config)?;
    let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let kind = args.kind.unwrap_or_else(|| args.topic.replace('/', "."));
    let path = format!("/v1/events?topic={}&type={}", escape(&args.topic), escape(&kind));
    let media_type = args.content_type.unwrap_or_else(|| guess(&data).to_owned());
    let answer = hub.call(Method::POST, &path, &media_type, data).await?;
    print::line(&answer["results"][0].to_string());
    Ok(())
}

fn read(data: &str) -> Result<Bytes, Error> {
    if data == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().read_to_end(&mut bytes);
        return read.map(|_| Bytes::from(bytes)).map_err(|error| Error::Fault(error.to_string()));
    }
    match data.strip_prefix('@') {
        Some(file) => std::fs::read(file)
            .map(Bytes::from)
            .map_err(|error| Error::Usage(format!("--data @{file}: {error}"))),
        None => Ok(Bytes::from(data.to_owned())),
    }
}

fn guess(data: &[u8]) -> &'static str {
    if serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok() {
        "application/json"
    } else if std::str::from_utf8(data).is_ok() {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    }
}
