//! A line: one text with expressions that stands on its own, outside of any step.

use std::fmt;

use super::context::Context;
use super::fault::Problem;
use super::render;
use super::scope::Scope;
use super::text::Text;
use crate::domain::Invalid;

/// Longest line, as it is written.
pub const LINE_BYTES_MAX: usize = 1_024;

/// One text with expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line(Text);

impl Line {
    /// Reads a line.
    pub fn parse(source: &str) -> Result<Self, Invalid> {
        if source.len() > LINE_BYTES_MAX {
            return Err(Invalid::new("", format!("must have at most {LINE_BYTES_MAX} bytes")));
        }
        Text::parse(source, &mut Scope::default()).map(Self)
    }

    /// The text with its expressions' values in it.
    pub fn render(&self, context: &Context<'_>) -> Result<String, Problem> {
        render::text(&self.0, context)
    }
}

/// As it is parsed again.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
