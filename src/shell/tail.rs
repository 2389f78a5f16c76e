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
    let mut body = hub.open(&path).await?.into_body();
    let mut buffer = BytesMut::new();
    let mut printer = Printer { printed: 0, count: args.count, begun: false, told_to_wait: false };
    while !printer.is_done() {
        let Some(frame) = body.frame().await else { return Err(printer.ended()) };
        let frame =
            frame.map_err(|error| Error::Fault(format!("the stream broke off: {error}")))?;
        if let Some(data) = frame.data_ref() {
            buffer.extend_from_slice(data);
        }
        while let Some(line) = next_line(&mut buffer) {
            if !printer.take(&line) {
                return Ok(());
            }
        }
        if buffer.len() > LINE_BYTES_MAX {
            return Err(Error::Fault("the stream sent a line of more than 64 MiB".to_owned()));
        }
    }
    Ok(())
}

/// Prints the events of a stream and knows how far it got.
struct Printer {
    printed: u64,
    count: Option<u64>,
    /// The stream told a place in the log.
    begun: bool,
    /// The stream told when to come back. One that says nothing else has no room.
    told_to_wait: bool,
}

impl Printer {
    fn is_done(&self) -> bool {
        self.count.is_some_and(|count| self.printed >= count)
    }

    /// Takes one line. False: nobody reads what is printed any more.
    fn take(&mut self, line: &str) -> bool {
        self.begun |= line.starts_with("id:");
        self.told_to_wait |= line.starts_with("retry:");
        match line.strip_prefix("data:").map(str::trim_start) {
            Some(event) if !event.is_empty() && !self.is_done() => {
                self.printed += 1;
                print::line(event)
            }
            Some(_) | None => true,
        }
    }

    /// The hub ended the stream before everything was printed.
    fn ended(&self) -> Error {
        Error::Fault(match self.count {
            _ if self.told_to_wait && !self.begun => {
                "all streams are taken (http.streams_max); try again later".to_owned()
            }
            None => "the hub ended the stream".to_owned(),
            Some(count) => {
                format!("the hub ended the stream after {} of {count} events", self.printed)
            }
        })
    }
}

fn next_line(buffer: &mut BytesMut) -> Option<String> {
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    let line = buffer.split_to(end);
    buffer.advance(1);
    Some(String::from_utf8_lossy(&line).into_owned())
}
