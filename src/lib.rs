//! Tidings: a change-notification appliance for edge hosts.
//!
//! The map, from the inside out. A layer imports only what stands before it; `tests/tidy.rs` keeps
//! that.
//!
//! | module | what |
//! |---|---|
//! | `clock`, `stop` | time, dice and the sign to end, for everything but `domain` |
//! | `domain` | layer 0: what the words mean; pure |
//! | `config`, `telemetry` | the configuration tree; metrics, health, log lines |
//! | `control` | how the command line finds a running hub |
//! | `store` | layer 1: the log, the tables, the one writer |
//! | `net` | layer 1: outbound connections under a guard, the HTTP listener |
//! | `flow` | layer 2: ingest, matcher, lanes, dispatcher, leases |
//! | `broker` | layer 3: the MQTT front |
//! | `faces` | layer 3: the HTTP API, event streams, the page |
//! | `run` | constructs and supervises all of these |
//! | `shell` | the commands that a person types |
//!
//! Invariants, as absences: no event acknowledged before it is durable; no write outside the
//! single writer; no outbound socket outside `net::dial`; no type of sled or bincode in a
//! signature outside `store`; no unbounded channel, map, body or retry; no lock over `.await`; no
//! clock or dice in `domain`; no panic on input.

pub mod broker;
pub mod clock;
pub mod config;
pub mod control;
pub mod domain;
pub mod faces;
pub mod flow;
pub mod net;
pub mod run;
pub mod shell;
pub mod stop;
pub mod store;
pub mod telemetry;
