//! Filters: which events a subscription wants. One syntax tree for every face.

mod anchor;
mod data;
mod facts;
mod limits;
mod parse;
mod path;
mod refusal;
mod tree;

pub use anchor::Anchor;
pub use data::{DataTest, Pattern, Test};
pub use facts::Facts;
pub use limits::Limits;
pub use path::Path;
pub use refusal::Refusal;
pub use tree::Filter;
