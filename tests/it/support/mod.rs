//! What the tests share: a hub on port 0, clients for its faces, a receiver that can misbehave.
//! Nothing here sleeps for a fixed time: tests wait for conditions, up to a deadline.

pub(crate) mod http;
pub(crate) mod hub;
pub(crate) mod mosquitto;
pub(crate) mod mqtt;
pub(crate) mod process;
pub(crate) mod receiver;
pub(crate) mod sse;
pub(crate) mod tls;
pub(crate) mod wait;

pub(crate) use http::{Answer, Api};
pub(crate) use hub::TestHub;
pub(crate) use process::Process;
pub(crate) use receiver::{Receiver, Reply};
pub(crate) use wait::{eventually, in_time};
