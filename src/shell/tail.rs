//! `tidings tail`: events as they come, one JSON object a line.

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::client::{Hub, Target};
use super::{Error, print};
use crate::config::Config;

/// Longest line of a stream that is taken.
const LINE_BYTES_MAX: usize = 64 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Topic filter; without it everything.
    #[arg(default_value = "#")]
    filter: String,
    /// Where to begin: an offset, an RFC 3339 time, `earliest` or `latest`.
    #[arg(long, default_value = "latest", value_name = "POS")]
    from: String,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(args: Args, config: Config) -> Result<(), Error> {
    let hub = Hub::find(&args.target, &config)?;
    let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let path = format!("/v1/stream?topic={}&from={}", escape(&args.filter), escape(&args.from));
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut body = hub.open(&path).await?.into_body();
    let mut buffer = BytesMut::new();
    while left > 0 {
        let Some(frame) = body.frame().await else { return Ok(()) };
        let frame =
            frame.map_err(|error| Error::Fault(format!("the stream broke off: {error}")))?;
        if let Some(data) = frame.data_ref() {
            buffer.extend_from_slice(data);
        }
        while let Some(line) = next_line(&mut buffer) {
            match line.strip_prefix("data:") {
                Some(event) if left > 0 && !event.trim_start().is_empty() => {
                    left -= 1;
                    if !print::line(event.trim_start()) {
                        return Ok(());
                    }
                }
                Some(_) | None => {}
            }
        }
        if buffer.len() > LINE_BYTES_MAX {
            return Err(Error::Fault("the stream sent a line of more than 64 MiB".to_owned()));
        }
    }
    Ok(())
}

fn next_line(buffer: &mut BytesMut) -> Option<String> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    let line = buffer.split_to(end);
    buffer.advance(1);
    Some(String::from_utf8_lossy(&line).into_owned())
}
