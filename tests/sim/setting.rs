//! The configuration of a history: everything small, so that little is needed to fill it.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use tidings::config::{self, Config, Size, Sources, Span};
use tidings::domain::vault::Vault;
use tidings::store::{self, Store};
use tidings::telemetry::Metrics;

use crate::dice::Dice;
use crate::host::Faulty;

pub(crate) fn config(dice: &mut Dice) -> Config {
    static REFERENCE: OnceLock<Config> = OnceLock::new();
    let reference = || {
        let sources = Sources { data_dir: Some(PathBuf::from("/sim")), ..Sources::default() };
        config::load(&sources).expect("the reference").config
    };
    let mut config = REFERENCE.get_or_init(reference).clone();
    config.log.segment_size = Size(dice.pick(&[8 << 10, 16 << 10, 64 << 10]));
    config.log.tail_cache = Size(dice.pick(&[0, 4 << 10, 1 << 20]));
    config.log.retention_age = Span(Duration::from_secs(dice.pick(&[2_000, 100_000])));
    config.log.retention_bytes = Size(dice.pick(&[32 << 10, 200 << 10, 1 << 30]));
    config.log.snapshot_every = Size(dice.pick(&[1, 20 << 10, 100 << 10]));
    config.log.disk_floor = Size(dice.pick(&[0, 8 << 10, 64 << 10]));
    config.events.dedup_window = dice.pick(&[0, 5, 40, 1_000]);
    config.subscriptions.ended_keep = Span(Duration::from_secs(1_000));
    config.dead_letters.keep = Span(Duration::from_secs(dice.pick(&[1_000, 100_000])));
    config.dead_letters.count_max = dice.pick(&[4, 1_000]);
    config.jobs.keep = Span(Duration::from_secs(500));
    config.jobs.count_max = 3;
    config.lease.default = Span(Duration::from_secs(1_000));
    config
}

/// The same for a history of deliveries: nothing goes by retention, lanes are small, targets are
/// given up soon.
pub(crate) fn delivery(dice: &mut Dice) -> Config {
    let mut config = config(dice);
    config.log.retention_age = Span(Duration::from_secs(100_000_000));
    config.log.retention_bytes = Size(1 << 40);
    config.events.dedup_window = 1_000;
    config.dead_letters.keep = Span(Duration::from_secs(100_000_000));
    config.dead_letters.count_max = 1_000_000;
    config.delivery.in_flight_max = dice.pick(&[4, 12, 256]);
    config.delivery.target_in_flight_max = dice.pick(&[1, 3, 64]);
    config.delivery.lane_queue_max = dice.pick(&[1, 4, 1_000]);
    config.delivery.retries_max = dice.pick(&[1, 3, 1_000]);
    config.delivery.delayed_max = dice.pick(&[1, 1_000]);
    config.delivery.park_after = u32::try_from(dice.pick(&[0, 2, 5])).expect("small");
    let schedule = [dice.between(1, 10), dice.between(1, 60)];
    config.delivery.park_schedule = schedule.map(|wait| Span(Duration::from_secs(wait))).to_vec();
    config
}

/// Opens a store on a machine.
pub(crate) fn open(host: Arc<Faulty>, config: &Config) -> Result<Store, store::Error> {
    store::open_on(host, config, Arc::new(Metrics::default()), vault())
}

/// What seals secrets: every start has the same key.
pub(crate) fn vault() -> Arc<Vault> {
    static VAULT: LazyLock<Arc<Vault>> = LazyLock::new(|| Arc::new(Vault::new(&[7; 32])));
    VAULT.clone()
}
