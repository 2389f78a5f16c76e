//! Templates: an event turned into requests of another shape, or into a derived event, by texts
//! with expressions. Bounded in everything; never waits, never reads a clock.
//!
//! - `{{path}}`, `{{path | filter}}`, `{{path | filter(argument) | filter}}` stand in texts;
//!   `{{{{` is a plain `{{`. A text that is one expression keeps its JSON type inside a body.
//! - Paths start at `event` (attributes by name), `data`, `match` (named captures), `subscription`
//!   (`id`, `name`, `owner`, `labels.X`) or `steps[n].response` (`status`, `headers.NAME`, `body`;
//!   of an earlier step whose `capture` names the part).
//! - Filters: `json`, `url`, `base64`, `lower`, `upper`, `default(x)`, `date("format")` in UTC,
//!   `hmac("key name")`. What is missing passes by all filters up to a `default`; without one it is
//!   a fault. `null` is a value and not missing.
//! - Data does not choose the host: a URL is one single expression, which says openly that it does,
//!   or it starts with a literal `http(s)://host/` (or `?`) before the first expression. Dot
//!   segments, control characters and backslashes are refused. Values in a URL are put there as
//!   they are: write `| url`, or use `query`, which encodes by itself.
//! - Keys are named, never written: no template holds a secret.

mod context;
mod cursor;
mod derive;
mod expression;
mod fault;
mod held;
mod key;
mod limits;
mod line;
mod named;
mod needs;
mod node;
mod output;
mod parse;
mod pipe;
mod print;
mod render;
mod scope;
mod source;
mod step;
mod target;
mod text;

#[cfg(test)]
mod parse_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod render_tests;

pub use context::{Context, Response};
pub use derive::{Cause, Defaults, Refused, derive};
pub use fault::{Fault, Problem};
pub use key::Key;
pub use limits::{
    BODY_DEPTH_MAX, EXPRESSIONS_MAX, FILTERS_MAX, FORMAT_BYTES_MAX, KEY_NAME_BYTES_MAX,
    OUTPUT_BYTES_DEFAULT, PATH_BYTES_MAX, PATH_DEPTH_MAX, QUERY_MAX, SOURCE_BYTES_MAX, STEPS_MAX,
};
pub use line::{LINE_BYTES_MAX, Line};
pub use render::{Emitted, Rendered, Request};
pub use scope::Part;
pub use step::{Method, Template};
