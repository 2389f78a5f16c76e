//! `tidings explain`: who gets an event of a running hub and what became of that, who does not and
//! why. Finds the event, asks the hub, page by page; what it prints is `explained`'s.

use bytes::Bytes;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::client::{Hub, Target};
use super::explained::Explained;
use super::{Error, print};
use crate::config::Config;
use crate::domain::Offset;

/// Subscriptions on a page.
const PAGE: usize = 1_000;

/// Most pages that are asked for.
const PAGES_MAX: usize = 10;

/// Records that the hub looks at for one page of history.
const WINDOW: u64 = 10_000;

/// How many such pages are looked through for an event's id, from the newest backwards.
const WINDOWS_MAX: usize = 100;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The event: its offset, or its id.
    event: String,
    /// Take it for an id although it is a number.
    #[arg(long)]
    id: bool,
    /// Source of the event, where several have the id; without it the newest.
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,
    /// Print the hub's answers as they are, one JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(args: Args, config: Config) -> Result<(), Error> {
    let hub = Hub::find(&args.target, &config)?;
    let is_id = args.id || args.source.is_some();
    let offset = match args.event.parse::<Offset>() {
        Ok(offset) if !is_id => offset,
        _ => find(&hub, &args.event, args.source.as_deref()).await?,
    };
    let mut explained = Explained::default();
    let mut page = None;
    for _ in 0..PAGES_MAX {
        let answer = ask(&hub, offset, page.as_deref()).await?;
        page = answer["next"].as_str().map(str::to_owned);
        match args.json {
            true => {
                print::line(&answer.to_string());
            }
            false => explained.add(answer),
        }
        if page.is_none() {
            break;
        }
    }
    if !args.json {
        explained.print(page.is_none());
    }
    Ok(())
}

async fn ask(hub: &Hub, offset: Offset, page: Option<&str>) -> Result<Value, Error> {
    let page = page.map(|page| format!("&page={page}")).unwrap_or_default();
    let path = format!("/v1/events/{offset}/explain?limit={PAGE}{page}");
    hub.call(Method::GET, &path, "", Bytes::new()).await
}

/// The offset of the newest event with an id, as far back as is looked.
async fn find(hub: &Hub, id: &str, source: Option<&str>) -> Result<Offset, Error> {
    let mut exact = json!({ "id": id });
    if let Some(source) = source {
        exact["source"] = json!(source);
    }
    let filter = json!({ "exact": exact }).to_string();
    let filter = utf8_percent_encode(&filter, NON_ALPHANUMERIC).to_string();
    let (_, mut end) = history(hub, "latest", "").await?;
    // The event on a page of one stands just before the next page.
    let oldest = match history(hub, "earliest", "").await? {
        (true, next) => next.saturating_sub(1),
        (false, _) => 0,
    };
    for _ in 0..WINDOWS_MAX {
        if end <= oldest {
            break;
        }
        let start = end.saturating_sub(WINDOW).max(oldest);
        let (mut from, mut found) = (start, None);
        while from < end {
            let (is_there, next) = history(hub, &from.to_string(), &filter).await?;
            if is_there {
                found = Some(next.saturating_sub(1));
            }
            if next <= from || !is_there {
                break;
            }
            from = next;
        }
        if let Some(found) = found {
            return Ok(found);
        }
        end = start;
    }
    let place = if end <= oldest { "in the log" } else { "among the newest 1,000,000 records" };
    Err(Error::Fault(format!("there is no event {id:?} {place} that you may receive")))
}

/// A page of at most one event: whether there is one, and where the next page begins.
async fn history(hub: &Hub, from: &str, filter: &str) -> Result<(bool, Offset), Error> {
    let filter = if filter.is_empty() { String::new() } else { format!("&filter={filter}") };
    let path = format!("/v1/events?limit=1&from={from}{filter}");
    let page = hub.call(Method::GET, &path, "", Bytes::new()).await?;
    let next = page["next"].as_u64();
    let next = next.ok_or_else(|| Error::Fault("the hub's answer has no next".to_owned()))?;
    Ok((page["events"].as_array().is_some_and(|events| !events.is_empty()), next))
}
