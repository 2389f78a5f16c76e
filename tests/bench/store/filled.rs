//! A store with a million events and a hundred thousand leased subscriptions, made through the
//! store itself.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tidings::domain::command::{Actor, Command, Expect, Put};
use tidings::domain::encoding::Encoding;
use tidings::domain::filter::Filter;
use tidings::domain::lease::Asked;
use tidings::domain::policy::Policy;
use tidings::domain::record::Progress;
use tidings::domain::sink::{Method, Sink};
use tidings::domain::subscription::{Signing, Start, Wish};
use tidings::store::{Pending, Submit};

use crate::event::Source;
use crate::layer::Layer;

/// What is in it.
pub(crate) const EVENTS: u32 = 1_000_000;
pub(crate) const SUBSCRIPTIONS: u32 = 100_000;

/// Commands that are not answered yet: enough for groups of full size.
const WINDOW: usize = 4_096;

/// Commands on their way.
struct Feed {
    submit: Submit,
    pending: VecDeque<Pending>,
}

impl Feed {
    async fn send(&mut self, command: Command) -> anyhow::Result<()> {
        if self.pending.len() >= WINDOW {
            self.answer().await?;
        }
        self.pending.push_back(self.submit.send(command).await?);
        Ok(())
    }

    async fn answer(&mut self) -> anyhow::Result<()> {
        if let Some(oldest) = self.pending.pop_front() {
            oldest.await??;
        }
        Ok(())
    }

    async fn finish(&mut self) -> anyhow::Result<()> {
        while !self.pending.is_empty() {
            self.answer().await?;
        }
        Ok(())
    }
}

/// Fills an empty store: events if asked for, subscriptions if asked for, all of it matched.
pub(crate) async fn fill(dir: &Path, events: u32, subscriptions: u32) -> anyhow::Result<()> {
    let layer = Layer::open(dir, &[])?;
    let mut feed = Feed { submit: layer.submit.clone(), pending: VecDeque::new() };
    let source = Source::new();
    // Subscriptions come between the events, as they do in life.
    let step = events.checked_div(subscriptions).unwrap_or(0).max(1);
    for number in 0..events.max(subscriptions) {
        if number < events {
            feed.send(Command::Publish(Arc::new(source.next()))).await?;
        }
        if number % step == 0 && number / step < subscriptions {
            feed.send(put(number / step)).await?;
        }
    }
    feed.finish().await?;
    let progress = Progress { matched: layer.reader.next_offset(), ..Progress::default() };
    feed.send(Command::Checkpoint(progress)).await?;
    feed.finish().await?;
    layer.close().await
}

fn put(number: u32) -> Command {
    let wish = Wish {
        name: Some(format!("worker {number}")),
        labels: BTreeMap::from([("site".to_owned(), format!("{}", number % 100))]),
        filter: Filter::parse(&json!({"topic": format!("site/{number}/#")})).expect("valid"),
        sink: Sink::Http {
            url: format!("http://10.0.0.1/hooks/{number}").parse().expect("valid"),
            method: Method::Post,
            headers: BTreeMap::new(),
            access: Box::default(),
        },
        encoding: Encoding::Structured,
        signing: Signing::None,
        lease: Asked::Seconds(86_400 + u64::from(number)),
        start: Start::Now,
        policy: Policy::default().into(),
    };
    let actor = Actor { owner: None, admin: true };
    let id = format!("subscription-{number}");
    Command::Put(Box::new(Put { id, wish, actor, expect: Expect::Nothing }))
}
