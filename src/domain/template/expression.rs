//! An expression: a source and the filters that its value passes.

use std::fmt;

use super::cursor::Cursor;
use super::limits::{FILTERS_MAX, PATH_BYTES_MAX};
use super::pipe::Pipe;
use super::scope::Scope;
use super::source::Source;
use crate::domain::Invalid;

/// What stands between `{{` and `}}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expression {
    pub(super) source: Source,
    pub(super) pipes: Vec<Pipe>,
}

impl Expression {
    /// Reads on after `{{`, `}}` included. `open` stands at the `{{`.
    pub(super) fn parse(
        cursor: &mut Cursor<'_>,
        open: &Cursor<'_>,
        scope: &mut Scope,
    ) -> Result<Self, Invalid> {
        scope.count().map_err(|detail| open.bad(detail))?;
        cursor.skip_space();
        let start = cursor.clone();
        let ends = |symbol: char| symbol.is_whitespace() || symbol == '|' || symbol == '}';
        let path = cursor.take(cursor.before(ends));
        if path.len() > PATH_BYTES_MAX {
            return Err(start.bad(format!("a path has at most {PATH_BYTES_MAX} bytes")));
        }
        let source = Source::parse(path, scope).map_err(|detail| start.bad(detail))?;
        let mut pipes = Vec::new();
        loop {
            cursor.skip_space();
            if cursor.eat("}}") {
                return Ok(Self { source, pipes });
            }
            if cursor.rest().is_empty() {
                let detail = "'{{' is not closed; write '}}' after the expression, or '{{{{' for a \
                              plain '{{'";
                return Err(open.bad(detail));
            }
            if !cursor.eat("|") {
                return Err(cursor.bad("write '|' and a filter, or '}}'"));
            }
            if pipes.len() == FILTERS_MAX {
                let detail = format!("an expression has at most {FILTERS_MAX} filters");
                return Err(cursor.bad(detail));
            }
            cursor.skip_space();
            pipes.push(Pipe::parse(cursor)?);
        }
    }
}

/// As it is parsed again, with its braces.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{{{}", self.source)?;
        self.pipes.iter().try_for_each(|pipe| write!(f, " | {pipe}"))?;
        f.write_str("}}")
    }
}
