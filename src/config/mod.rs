//! The configuration. `config/tidings.toml` is compiled in and is the reference: a key that is not
//! there does not exist. Files, environment and command line are laid over it, in this order.

mod load;
mod secrets;
mod tree;

pub use load::{Loaded, Sources, load};
pub use secrets::{CREDENTIALS, read_private, seal_key, template_keys};
pub use tree::*;

/// The reference, with every key and its default.
pub const REFERENCE: &str = include_str!("../../config/tidings.toml");

/// What is wrong with the configuration, and where. Exit code 78.
#[derive(Debug, thiserror::Error)]
#[error("{source_name}: {problem}")]
pub struct Error {
    /// The file, variable or option.
    pub source_name: String,
    /// What is wrong and what would be right.
    pub problem: String,
}
