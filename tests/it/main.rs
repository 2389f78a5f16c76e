//! The hub over real sockets: one test for each rule that a user could notice, named after it.
//! Written from the contract; never looks inside.
#![expect(
    clippy::disallowed_methods,
    reason = "tests connect, measure and start threads as the hub itself must not"
)]

mod support;

mod backlog;
mod backup;
mod bad_input;
mod batches;
mod command_line;
mod credentials;
mod dead_letters;
mod delivery;
mod disk_floor;
mod disk_full;
mod durability;
mod encoding;
mod events;
mod explain;
mod gaps;
mod kills;
mod leases;
mod mqtt;
mod mqtt_bad_input;
mod mqtt_rules;
mod mqtt_slow;
mod page;
mod parking;
mod policies;
mod preview;
mod process;
mod redrives;
mod replay;
mod retries;
mod signing;
mod stats;
mod stream;
mod subscriptions;
mod targets;
mod templates;
mod tokens;
mod trial;
