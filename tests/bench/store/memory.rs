//! Resident memory of a hub that nobody uses.

use std::time::Duration;

use crate::hub::Hub;
use crate::place::Place;
use crate::report::{Row, mib};

/// How long the hub is left alone before it is looked at.
const IDLE: Duration = Duration::from_secs(3);

/// Prints the section.
pub(crate) async fn measure(place: &Place) -> anyhow::Result<()> {
    let dir = place.fresh()?;
    let mut hub = Hub::start(dir.path(), &[]);
    tokio::time::sleep(IDLE).await;
    let resident = mib(hub.resident()? * 1024);
    hub.stop().await;
    let row = Row {
        what: "resident memory, idle, empty store".to_owned(),
        measured: format!("{resident:.1} MiB"),
        reach: "<= 25 MiB",
        ..Row::default()
    };
    row.print();
    Ok(())
}
