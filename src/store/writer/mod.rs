//! The writer: takes all that waits, decides it, writes it as one frame, syncs, applies it to the
//! tables, and answers. There is no other way to change anything.

mod commit;
mod direct;
mod group;
mod intake;
mod queue;
mod stage;
mod submit;
mod thread;

pub use submit::{Answer, Failure, Pending, Submit};
pub use thread::Writer;

pub(crate) use thread::Deps;
