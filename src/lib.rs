//! Tidings: a change-notification appliance for edge hosts.
pub mod clock;
pub mod config;
pub mod domain;
pub mod flow;
pub mod net;
pub mod stop;
pub mod store;
pub mod telemetry;
