//! Encodings: in which form an event is delivered.

use std::sync::Arc;
use std::time::Duration;

use super::Invalid;
use super::template::Template;

/// Most events in one delivery.
pub const BATCH_MAX: u32 = 1_000;

/// With so many bytes a batch takes no further event.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Longest wait for a batch to fill.
pub const BATCH_WAIT_MAX: Duration = Duration::from_secs(60);

/// In which form an event is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// The CloudEvents JSON format.
    Structured,
    /// Data as the body, attributes as `ce-` headers.
    Binary,
    /// Data as the body, nothing else.
    Raw,
    /// Several events at once in the CloudEvents JSON batch format.
    Batch(Batch),
    /// Requests that a template makes of the event.
    Template(Arc<Template>),
}

/// How many events go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Most events of one delivery.
    pub max: u32,
    /// How long the first may wait for others.
    pub wait: Duration,
}

impl Default for Batch {
    fn default() -> Self {
        Self { max: 100, wait: Duration::from_millis(50) }
    }
}

impl Encoding {
    /// The names of all encodings.
    pub const NAMES: [&str; 5] = ["structured", "binary", "raw", "batch", "template"];

    /// The encoding's name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Structured => "structured",
            Self::Binary => "binary",
            Self::Raw => "raw",
            Self::Batch(_) => "batch",
            Self::Template(_) => "template",
        }
    }

    /// Reads the name of an encoding of which there is nothing else to say.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        [Self::Structured, Self::Binary, Self::Raw]
            .into_iter()
            .find(|encoding| encoding.as_str() == text)
            .ok_or_else(|| Invalid::new("", format!("must be one of {}", Self::NAMES.join(", "))))
    }
}

impl Batch {
    /// Checks the bounds.
    pub fn check(&self) -> Result<(), Invalid> {
        if !(1..=BATCH_MAX).contains(&self.max) {
            return Err(Invalid::new("/batch/max", format!("must be 1 to {BATCH_MAX}")));
        }
        if self.wait > BATCH_WAIT_MAX {
            return Err(Invalid::new("/batch/wait", "must be at most 60s"));
        }
        Ok(())
    }
}
