//! What can go wrong when a step is rendered. Never tells what an event said, only where to look.

use super::output::Full;

/// A step that could not be rendered. It fails again for the same event and the same answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("step {step}: {place}: {problem}")]
pub struct Fault {
    /// The step, counted from 0.
    pub step: usize,
    /// JSON pointer into the template.
    pub place: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing stands at a path.
    #[error("nothing stands at {0}; say default(...) if that may be")]
    Missing(String),
    /// What stands at a path is no text.
    #[error("{0} is binary; use base64")]
    Binary(String),
    /// What stands at a path is no time.
    #[error("{0} is no timestamp as in RFC 3339; date needs one")]
    Time(String),
    /// A key that nobody gave.
    #[error("there is no key {0:?} for hmac")]
    Key(String),
    /// More output than allowed.
    #[error("the output is larger than allowed")]
    TooLarge,
    /// A URL that must not be asked for.
    #[error("the URL {0}")]
    Url(String),
    /// A header that must not be sent.
    #[error("the value {0}")]
    Header(String),
    /// The template has no such step.
    #[error("the template has no such step")]
    Step,
}

impl Problem {
    /// At a place of a step.
    pub(super) fn at(self, place: impl Into<String>) -> Fault {
        Fault { step: 0, place: place.into(), problem: self }
    }
}

impl Fault {
    /// The same fault seen from one level further out.
    pub(super) fn under(mut self, prefix: &str) -> Self {
        self.place.insert_str(0, prefix);
        self
    }

    /// The same fault with its step.
    pub(super) fn of(self, step: usize) -> Self {
        Self { step, ..self.under(&format!("/steps/{step}")) }
    }
}

impl From<Full> for Problem {
    fn from(Full: Full) -> Self {
        Self::TooLarge
    }
}
