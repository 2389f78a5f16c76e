//! The whole path: HTTP and MQTT against the release binary, beside the storage layer alone with as
//! many producers.

use std::sync::Arc;
use std::time::Duration;

use crate::cpu::Profile;
use crate::dialogue::{Http, Mqtt};
use crate::hub::Hub;
use crate::layer::Layer;
use crate::load::{self, Dialogue};
use crate::place::Place;
use crate::report::{Row, median};

const CONNECTIONS: u32 = 64;

/// Times that each load is run, one after the other.
const ROUNDS: usize = 3;
const TIME: Duration = Duration::from_secs(2);

/// Below it the profile is printed: the disk does not decide.
const REACH: f64 = 0.5;

/// Prints the section's last rows.
pub(crate) async fn measure(place: &Place) -> anyhow::Result<()> {
    let dir = place.fresh()?;
    let layer = Layer::open(dir.path(), &[])?;
    one(place, &layer, "HTTP, batch of 1", Arc::new(Http)).await?;
    one(place, &layer, "MQTT QoS 1", Arc::new(Mqtt)).await?;
    layer.close().await
}

async fn one(
    place: &Place,
    layer: &Layer,
    face: &str,
    dialogue: Arc<dyn Dialogue>,
) -> anyhow::Result<()> {
    let dir = place.fresh()?;
    let mut hub = Hub::start(dir.path(), &[]);
    let address = if face.starts_with("MQTT") { hub.process().mqtt } else { hub.process().http };
    let producers = usize::try_from(CONNECTIONS)?;
    let before = hub.commits().await?;
    let (mut rates, mut alone, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let rate = load::run(address, dialogue.clone(), CONNECTIONS, TIME).await?;
        rates.push(rate.per_second);
        times.push(rate.p99_ms);
        let work = layer.load(producers, TIME / 2).await?;
        alone.push(work.records / work.seconds);
    }
    let group = hub.commits().await?.group_since(before);
    let (rate, alone) = (median(rates), median(alone));
    let row = Row {
        what: format!("whole path, {face}, {CONNECTIONS} connections"),
        measured: format!("{rate:.0}/s, {group:.1} a commit, p99 {:.1} ms", median(times)),
        beside: format!("storage layer, {CONNECTIONS} producers {alone:.0}/s"),
        ratio: Some(rate / alone),
        reach: ">= 0.5 or the profile",
    };
    row.print();
    if rate / alone < REACH {
        let profile = Profile::begin(hub.pid())?;
        load::run(address, dialogue, CONNECTIONS, TIME).await?;
        profile.print()?;
    }
    hub.stop().await;
    Ok(())
}
