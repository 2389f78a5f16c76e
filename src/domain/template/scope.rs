//! What a text of a template may refer to, and how much of it there may still be.

use std::collections::BTreeSet;

use super::limits::EXPRESSIONS_MAX;

/// A part of a step's answer that later steps may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The status.
    Status,
    /// The headers.
    Headers,
    /// The body.
    Body,
}

impl Part {
    /// All there are.
    pub(super) const ALL: [Self; 3] = [Self::Status, Self::Headers, Self::Body];

    /// The part's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Headers => "headers",
            Self::Body => "body",
        }
    }
}

/// Where a text stands.
#[derive(Debug, Default)]
pub(super) struct Scope {
    earlier: Vec<BTreeSet<Part>>,
    expressions: usize,
}

impl Scope {
    /// Goes on to the next step.
    pub(super) fn enter_next(&mut self, captured: BTreeSet<Part>) {
        self.earlier.push(captured);
    }

    /// Counts one more expression.
    pub(super) fn count(&mut self) -> Result<(), String> {
        self.expressions += 1;
        match self.expressions > EXPRESSIONS_MAX {
            true => Err(format!("a template has at most {EXPRESSIONS_MAX} expressions")),
            false => Ok(()),
        }
    }

    /// Whether a part of a step's answer will be there.
    pub(super) fn check(&self, step: usize, part: Part) -> Result<(), String> {
        let here = self.earlier.len();
        let Some(captured) = self.earlier.get(step) else {
            return Err(format!(
                "steps[{step}] does not come before this step, which is steps[{here}]; refer to an \
                 earlier one"
            ));
        };
        match captured.contains(&part) {
            true => Ok(()),
            false => Err(format!(
                "steps[{step}] does not keep its {0}; add \"{0}\" to its capture",
                part.as_str()
            )),
        }
    }
}
