//! A hundred targets of which half are dead: what that costs the other half.

use std::path::Path;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::sink::Sink;
use crate::support::hub::wish;
use crate::{event, float, publish};

const TARGETS: u32 = 100;
const PER_SECOND: u32 = 2_000;

/// Events that are stored by one request.
const BATCH: u32 = 100;

const WARM_UP: Duration = Duration::from_secs(2);
const TIME: Duration = Duration::from_secs(6);

pub(crate) async fn measure(place: &Path) -> anyhow::Result<()> {
    let whole = living(place, 0).await?;
    let half = living(place, TARGETS / 2).await?;
    println!(
        "{TARGETS} targets, {PER_SECOND} events/s: the first half gets {whole:.0}/s with all \
         alive, {half:.0}/s with the other half dead: {:.2}",
        half / whole
    );
    Ok(())
}

/// Events a second that the first half gets while the last `dead` refuse connections.
async fn living(place: &Path, dead: u32) -> anyhow::Result<f64> {
    let dir = tempfile::tempdir_in(place)?;
    let mut hub = crate::hub(dir.path());
    let (mut sinks, mut refusing) = (Vec::new(), Vec::new());
    for number in 0..TARGETS {
        let address = if number < TARGETS - dead {
            let sink = Sink::start().await?;
            let address = sink.address;
            sinks.push(sink);
            address
        } else {
            // A port that is taken and not listened on.
            let socket = TcpSocket::new_v4()?;
            socket.bind(([127, 0, 0, 1], 0).into())?;
            let address = socket.local_addr()?;
            refusing.push(socket);
            address
        };
        hub.api().subscribe(&wish(&format!("t/{number}"), &format!("http://{address}/"))).await;
    }
    let load = async {
        let mut pace = interval(Duration::from_secs(1) * BATCH / PER_SECOND);
        pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut next = 0;
        loop {
            pace.tick().await;
            let own = |id: u32| event(id.into(), &format!("t/{}", id % TARGETS));
            publish(&hub, (next..next + BATCH).map(own).collect()).await;
            next += BATCH;
        }
    };
    let count = || sinks.iter().take(TARGETS as usize / 2).map(Sink::count).sum::<usize>();
    let rate = async {
        sleep(WARM_UP).await;
        let (begin, before) = (Instant::now(), count());
        sleep(TIME).await;
        float(count() - before) / begin.elapsed().as_secs_f64()
    };
    let rate = tokio::select! {
        rate = rate => rate,
        () = load => unreachable!("it never ends"),
    };
    hub.terminate();
    hub.ended().await;
    Ok(rate)
}
