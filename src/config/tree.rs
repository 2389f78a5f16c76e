//! The configuration tree: one struct a section. What each key means stands in
//! `config/tidings.toml`, the reference.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use crate::domain::command::Rules;
use crate::domain::filter::Limits;
use crate::domain::lease::Bounds;
use crate::domain::quantity::{parse_duration, parse_size};

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config/tidings.toml, the reference, documents each key")]
pub struct Config {
    pub data: Data,
    pub http: Http,
    pub mqtt: Mqtt,
    pub log: Log,
    pub tables: Tables,
    pub events: Events,
    pub subscriptions: Subscriptions,
    pub filters: Filters,
    pub templates: Templates,
    pub signing: Signing,
    pub lease: Lease,
    pub delivery: Delivery,
    pub dead_letters: DeadLetters,
    pub jobs: Jobs,
    pub net: Net,
    pub drain: Drain,
    pub telemetry: Telemetry,
    /// Loopback only, no credentials asked. Set by `--dev` alone.
    #[serde(skip)]
    pub dev: bool,
    /// Where the service manager puts credentials.
    #[serde(skip)]
    pub credentials: Option<PathBuf>,
}

impl Config {
    /// What decisions follow of it.
    pub fn rules(&self) -> Rules {
        Rules {
            lease: Bounds {
                min: self.lease.min.0,
                max: self.lease.max.0,
                default: self.lease.default.0,
            },
            ended_keep: self.subscriptions.ended_keep.0,
            subscriptions_max: self.subscriptions.count_max,
            letters_keep: self.dead_letters.keep.0,
            letters_max: self.dead_letters.count_max,
            jobs_keep: self.jobs.keep.0,
            jobs_max: self.jobs.count_max,
        }
    }
}

impl Filters {
    /// How large a filter may be.
    pub fn limits(&self) -> Limits {
        Limits {
            depth_max: self.depth_max,
            nodes_max: self.nodes_max,
            bytes_max: self.bytes_max.bytes(),
            regex_bytes_max: self.regex_bytes_max.bytes(),
            regex_compiled_max: self.regex_compiled_max.bytes(),
            path_depth_max: self.path_depth_max,
        }
    }
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($field:ident : $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(missing_docs, reason = "config/tidings.toml, the reference, documents each key")]
        pub struct $name { $(pub $field: $kind),* }
    };
}

section!(/// `[data]`
    Data { dir: PathBuf });
section!(/// `[http]`
Http {
    listen: SocketAddr,
    body_max: Size,
    connections_max: usize,
    header_timeout: Span,
    stream_heartbeat: Span,
    streams_max: usize,
});
section!(/// `[mqtt]`
Mqtt {
    listen: SocketAddr,
    connections_max: usize,
    connect_timeout: Span,
    packet_size_max: Size,
    receive_maximum: u16,
    subscriptions_per_client_max: usize,
    queue_max: usize,
});
section!(/// `[log]`
Log {
    segment_size: Size,
    retention_age: Span,
    retention_bytes: Size,
    disk_floor: Size,
    snapshot_every: Size,
    tail_cache: Size,
    queue_max: usize,
    queue_bytes_max: Size,
});
section!(/// `[tables]`
    Tables { cache: Size });
section!(/// `[events]`
    Events { size_max: Size, batch_max: usize, dedup_window: usize });
section!(/// `[subscriptions]`
    Subscriptions { count_max: usize, ended_keep: Span, hold_max: Size });
section!(/// `[filters]`
Filters {
    depth_max: usize,
    nodes_max: usize,
    bytes_max: Size,
    regex_bytes_max: Size,
    regex_compiled_max: Size,
    path_depth_max: usize,
});
section!(/// `[templates]`
    Templates { output_max: Size, capture_max: Size, hops_max: u32, keys_dir: PathBuf });
section!(/// `[signing]`
    Signing { overlap: Span, seal_key_file: PathBuf });
section!(/// `[lease]`
    Lease { min: Span, max: Span, default: Span });
section!(/// `[delivery]`
Delivery {
    in_flight_max: usize,
    target_in_flight_max: usize,
    lane_queue_max: usize,
        lane_queue_bytes_max: Size,
    retries_max: usize,
    delayed_max: usize,
    checkpoint_interval: Span,
    park_after: u32,
    park_schedule: Vec<Span>,
});
section!(/// `[dead_letters]`
    DeadLetters { keep: Span, count_max: u64 });
section!(/// `[jobs]`
    Jobs { count_max: usize, keep: Span });
section!(/// `[net]`
Net {
    allow: Vec<IpNet>,
    connect_timeout: Span,
    answer_max: Size,
    extra_ca_file: PathBuf,
    canaries: Vec<HostPort>,
});
section!(/// `[drain]`
    Drain { timeout: Span });
section!(/// `[telemetry]`
    Telemetry { log_level: String, log_format: LogFormat, subscriptions_named_max: usize });

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A duration, written as text with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A host and a port, written as `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an address; IPv6 in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A size in bytes, written as text with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    /// The size as a length in memory.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed =
            text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let parsed = parsed.filter(|(host, port)| !host.is_empty() && *port != 0);
        let (host, port) =
            parsed.ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not host:port")))?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_size(&text).map(Self).map_err(serde::de::Error::custom)
    }
}
