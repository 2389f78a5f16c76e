//! Every metric in one documented struct, the verdict on health, and the set-up of log lines.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Telemetry};

/// What came of a delivery's attempt: a bounded set of label values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// `done`, `retry`, `dead`, `ended` or `dropped`.
    pub outcome: &'static str,
}

/// The class of an HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Status {
    /// `2xx` to `5xx`.
    pub status: &'static str,
}

/// Every metric. Names are `tidings_<layer>_<noun>_<unit>`.
#[derive(Debug)]
pub struct Metrics {
    /// Records written to the log.
    pub store_records: Counter,
    /// Group commits, each with one `fdatasync`.
    pub store_commits: Counter,
    /// Time of one group commit, write and `fdatasync`.
    pub store_commit_seconds: Histogram,
    /// Bytes of the log on disk.
    pub store_log_bytes: Gauge,
    /// Bytes written to the log: frames, headers of records included.
    pub store_written_bytes: Counter,
    /// Snapshots of the tables that were written.
    pub store_snapshots: Counter,
    /// Free bytes on the disk of the data directory.
    pub store_disk_free_bytes: Gauge,
    /// Stretches of the log that are damaged and passed over.
    pub store_damaged_ranges: Gauge,
    /// Events accepted and stored.
    pub flow_events: Counter,
    /// Events that were stored before, inside the de-duplication window.
    pub flow_duplicates: Counter,
    /// Attempts of deliveries by what came of them.
    pub flow_deliveries: Family<Outcome, Counter>,
    /// Requests to targets under way.
    pub flow_in_flight: Gauge,
    /// 1 while this machine was found cut off and deliveries wait.
    pub flow_offline: Gauge,
    /// Deliveries that wait for a retry.
    pub flow_retries: Gauge,
    /// Dead letters that are kept.
    pub flow_dead_letters: Gauge,
    /// Dead letters that were forgotten since they were old or too many.
    pub flow_dead_letters_expired: Counter,
    /// Dead letters that somebody had forgotten.
    pub flow_dead_letters_purged: Counter,
    /// Dead letters that were handed back to delivery.
    pub flow_redriven: Counter,
    /// Jobs that are running.
    pub flow_jobs: Gauge,
    /// Time of one attempt.
    pub flow_delivery_seconds: Histogram,
    /// Subscriptions that are not ended.
    pub flow_subscriptions: Gauge,
    /// Subscriptions that are behind the end of the log.
    pub flow_behind: Gauge,
    /// By how many records the furthest of them is behind.
    pub flow_behind_records_max: Gauge,
    /// The age of the oldest event that one of them is not done with.
    pub flow_behind_seconds_max: Gauge,
    /// Offsets that subscriptions were not given since the log no longer had them.
    pub flow_gap_offsets: Counter,
    /// Open MQTT connections.
    pub broker_connections: Gauge,
    /// PUBLISH packets taken from clients.
    pub broker_messages_in: Counter,
    /// PUBLISH packets written to clients.
    pub broker_messages_out: Counter,
    /// QoS 0 messages that a slow client did not get.
    pub broker_messages_dropped: Counter,
    /// Offsets that MQTT clients were not given since the log no longer had them.
    pub broker_gap_offsets: Counter,
    /// MQTT connections refused or cut because of what the client did.
    pub broker_refusals: Counter,
    /// HTTP answers by class.
    pub faces_answers: Family<Status, Counter>,
    /// Open event streams.
    pub faces_streams: Gauge,
    /// What `/readyz` goes by.
    pub health: Health,
}

const COMMIT_BUCKETS: [f64; 10] = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0];
const DELIVERY_BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 30.0];

impl Default for Metrics {
    fn default() -> Self {
        Self {
            store_records: Counter::default(),
            store_commits: Counter::default(),
            store_commit_seconds: Histogram::new(COMMIT_BUCKETS),
            store_log_bytes: Gauge::default(),
            store_written_bytes: Counter::default(),
            store_snapshots: Counter::default(),
            store_disk_free_bytes: Gauge::default(),
            store_damaged_ranges: Gauge::default(),
            flow_events: Counter::default(),
            flow_duplicates: Counter::default(),
            flow_deliveries: Family::default(),
            flow_in_flight: Gauge::default(),
            flow_offline: Gauge::default(),
            flow_retries: Gauge::default(),
            flow_dead_letters: Gauge::default(),
            flow_dead_letters_expired: Counter::default(),
            flow_dead_letters_purged: Counter::default(),
            flow_redriven: Counter::default(),
            flow_jobs: Gauge::default(),
            flow_delivery_seconds: Histogram::new(DELIVERY_BUCKETS),
            flow_subscriptions: Gauge::default(),
            flow_behind: Gauge::default(),
            flow_behind_records_max: Gauge::default(),
            flow_behind_seconds_max: Gauge::default(),
            flow_gap_offsets: Counter::default(),
            broker_connections: Gauge::default(),
            broker_messages_in: Counter::default(),
            broker_messages_out: Counter::default(),
            broker_messages_dropped: Counter::default(),
            broker_gap_offsets: Counter::default(),
            broker_refusals: Counter::default(),
            faces_answers: Family::default(),
            faces_streams: Gauge::default(),
            health: Health::default(),
        }
    }
}

impl Metrics {
    /// The metrics under their public names, for `/metrics`.
    pub fn registry(&self) -> Registry {
        let mut all = Registry::with_prefix("tidings");
        let m = self;
        all.register("store_records", "Records written to the log", m.store_records.clone());
        all.register("store_commits", "Group commits, one fdatasync each", m.store_commits.clone());
        let commit = m.store_commit_seconds.clone();
        all.register_with_unit("store_commit", "Time of a group commit", Unit::Seconds, commit);
        let log = m.store_log_bytes.clone();
        all.register_with_unit("store_log", "Size of the log on disk", Unit::Bytes, log);
        let written = m.store_written_bytes.clone();
        all.register_with_unit("store_written", "Written to the log", Unit::Bytes, written);
        let snapshots = m.store_snapshots.clone();
        all.register("store_snapshots", "Snapshots of the tables written", snapshots);
        let free = m.store_disk_free_bytes.clone();
        all.register_with_unit("store_disk_free", "Free space on the disk", Unit::Bytes, free);
        let damaged = m.store_damaged_ranges.clone();
        all.register("store_damaged_ranges", "Damaged stretches of the log", damaged);
        all.register("flow_events", "Events accepted and stored", m.flow_events.clone());
        all.register("flow_duplicates", "Events stored before", m.flow_duplicates.clone());
        let deliveries = m.flow_deliveries.clone();
        all.register("flow_deliveries", "Delivery attempts by outcome", deliveries);
        all.register("flow_in_flight", "Requests to targets under way", m.flow_in_flight.clone());
        let help = "1 while this machine is cut off and deliveries wait";
        all.register("flow_offline", help, m.flow_offline.clone());
        all.register("flow_retries", "Deliveries waiting for a retry", m.flow_retries.clone());
        self.register_letters(&mut all);
        let delivery = m.flow_delivery_seconds.clone();
        all.register_with_unit("flow_delivery", "Time of an attempt", Unit::Seconds, delivery);
        let live = m.flow_subscriptions.clone();
        all.register("flow_subscriptions", "Subscriptions that are not ended", live);
        all.register("flow_behind", "Subscriptions behind the log's end", m.flow_behind.clone());
        let records = m.flow_behind_records_max.clone();
        all.register("flow_behind_records_max", "Records the furthest one is behind", records);
        let age = m.flow_behind_seconds_max.clone();
        let help = "Age of the oldest event not done";
        all.register_with_unit("flow_behind_max", help, Unit::Seconds, age);
        let gaps = m.flow_gap_offsets.clone();
        all.register("flow_gap_offsets", "Offsets gone before subscriptions got them", gaps);
        all.register("broker_connections", "Open MQTT connections", m.broker_connections.clone());
        all.register("broker_messages_in", "PUBLISH from clients", m.broker_messages_in.clone());
        all.register("broker_messages_out", "PUBLISH to clients", m.broker_messages_out.clone());
        let dropped = m.broker_messages_dropped.clone();
        all.register("broker_messages_dropped", "QoS 0 messages a slow client missed", dropped);
        let gaps = m.broker_gap_offsets.clone();
        all.register("broker_gap_offsets", "Offsets gone before MQTT clients got them", gaps);
        all.register(
            "broker_refusals",
            "MQTT connections refused or cut",
            m.broker_refusals.clone(),
        );
        all.register("faces_answers", "HTTP answers by class", m.faces_answers.clone());
        all.register("faces_streams", "Open event streams", m.faces_streams.clone());
        all
    }

    fn register_letters(&self, all: &mut Registry) {
        let m = self;
        all.register("flow_dead_letters", "Dead letters kept", m.flow_dead_letters.clone());
        let expired = m.flow_dead_letters_expired.clone();
        all.register("flow_dead_letters_expired", "Dead letters that retention took", expired);
        let purged = m.flow_dead_letters_purged.clone();
        all.register("flow_dead_letters_purged", "Dead letters forgotten on demand", purged);
        let redriven = m.flow_redriven.clone();
        all.register("flow_redriven", "Dead letters handed back to delivery", redriven);
        all.register("flow_jobs", "Jobs that are running", m.flow_jobs.clone());
    }

    /// Counts one attempt of a delivery.
    pub fn count_delivery(&self, outcome: &'static str) {
        self.flow_deliveries.get_or_create(&Outcome { outcome }).inc();
    }
}

/// Whether the hub can do its work.
#[derive(Debug, Default)]
pub struct Health {
    started: AtomicBool,
    draining: AtomicBool,
    store_failed: AtomicBool,
    input_refused: AtomicBool,
    wall_clock_behind: AtomicI64,
}

impl Health {
    /// All listeners are bound and the store is open.
    pub fn set_started(&self) {
        self.started.store(true, Ordering::Relaxed);
    }

    /// A stop was asked for.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// The store refuses to write, or does again. What was so before.
    pub fn set_store_failed(&self, failed: bool) -> bool {
        self.store_failed.swap(failed, Ordering::Relaxed)
    }

    /// The disk is nearly full and the store refuses new input, or takes it again. What was so
    /// before.
    pub fn set_input_refused(&self, refused: bool) -> bool {
        self.input_refused.swap(refused, Ordering::Relaxed)
    }

    /// How many seconds the wall clock lies behind the newest record.
    pub fn set_wall_clock_behind(&self, seconds: i64) {
        self.wall_clock_behind.store(seconds, Ordering::Relaxed);
    }

    /// Seconds by which the wall clock lies behind the newest record.
    pub fn wall_clock_behind(&self) -> i64 {
        self.wall_clock_behind.load(Ordering::Relaxed)
    }

    /// `Ok` if requests should be sent here, else why not.
    pub fn verdict(&self) -> Result<(), &'static str> {
        if self.draining.load(Ordering::Relaxed) {
            Err("stopping")
        } else if !self.started.load(Ordering::Relaxed) {
            Err("starting")
        } else if self.store_failed.load(Ordering::Relaxed) {
            Err("the store cannot write")
        } else if self.input_refused.load(Ordering::Relaxed) {
            Err("the disk is nearly full: input is refused")
        } else {
            Ok(())
        }
    }
}

/// Starts writing log lines to standard error.
pub fn start_logging(config: &Telemetry) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.log_level)
        .map_err(|error| format!("telemetry.log_level: {error}"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.log_format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    started.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_that_refuses_input_is_not_ready_until_it_takes_it_again() {
        let health = Health::default();
        assert_eq!(health.verdict(), Err("starting"));
        health.set_started();
        assert_eq!(health.verdict(), Ok(()));
        assert!(!health.set_input_refused(true));
        assert_eq!(health.verdict(), Err("the disk is nearly full: input is refused"));
        assert!(health.set_input_refused(false));
        assert_eq!(health.verdict(), Ok(()));
    }
}
