//! Where an expression's value comes from: a path from one of the roots.

use std::fmt;

use smol_str::SmolStr;

use super::cursor::Cursor;
use super::limits;
use super::scope::{Part, Scope};
use crate::domain::attribute::check_name;
use crate::domain::filter::Path;

const ROOTS: &str = "event.NAME, data.PATH, match.NAME, subscription.id, subscription.name, \
                     subscription.owner, subscription.labels.NAME or steps[n].response.PART";

/// A path, from its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// An attribute of the event.
    Event(SmolStr),
    /// The event's data, or what stands at a place in it.
    Data(Option<Path>),
    /// A named capture of the subscription's filter.
    Match(String),
    /// Something about the subscription.
    Subscription(About),
    /// Something about a step's answer.
    Step(usize, Answer),
}

/// Something about a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum About {
    Id,
    Name,
    Owner,
    Label(String),
}

/// Something about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Status,
    /// A header, by its name in lower case.
    Header(String),
    /// The body, or what stands at a place in it.
    Body(Option<Path>),
}

impl Source {
    /// Reads a path and checks that it leads to something that can be there.
    pub(super) fn parse(text: &str, scope: &Scope) -> Result<Self, String> {
        let mut cursor = Cursor::new(text);
        let root = cursor.take_while(|symbol| symbol.is_ascii_alphanumeric() || symbol == '_');
        match root {
            "event" => {
                let name = name(cursor.rest(), "an attribute, such as event.id")?;
                check_name(&name).map_err(|error| match name.as_str() {
                    "data" => "the event's data is a root of its own; write data".to_owned(),
                    _ => error.detail,
                })?;
                Ok(Self::Event(name.into()))
            }
            "data" => Ok(Self::Data(path(cursor.rest())?)),
            "match" => Ok(Self::Match(name(cursor.rest(), "a named capture, such as match.flow")?)),
            "subscription" => Ok(Self::Subscription(About::parse(cursor.rest())?)),
            "steps" => Self::parse_step(cursor, scope),
            _ => Err(format!("{text:?} is no path; write {ROOTS}")),
        }
    }

    fn parse_step(mut cursor: Cursor<'_>, scope: &Scope) -> Result<Self, String> {
        let bad = || {
            "write steps[n].response.status, steps[n].response.headers.NAME or \
             steps[n].response.body.PATH, with n from 0"
                .to_owned()
        };
        let number = match cursor.eat("[") {
            true => cursor.take_while(|symbol| symbol.is_ascii_digit()),
            false => return Err(bad()),
        };
        let step = number.parse().map_err(|_| bad())?;
        if !cursor.eat("].response.") {
            return Err(bad());
        }
        let part = cursor.take_while(|symbol| symbol.is_ascii_lowercase());
        let part = Part::ALL.into_iter().find(|known| known.as_str() == part).ok_or_else(bad)?;
        scope.check(step, part)?;
        let answer = match part {
            Part::Status if cursor.rest().is_empty() => Answer::Status,
            Part::Status => return Err("a status has no parts; end the path after it".to_owned()),
            Part::Headers => {
                let name = name(cursor.rest(), "a header, such as headers.location")?;
                Answer::Header(name.to_ascii_lowercase())
            }
            Part::Body => Answer::Body(path(cursor.rest())?),
        };
        Ok(Self::Step(step, answer))
    }
}

impl About {
    fn parse(rest: &str) -> Result<Self, String> {
        match rest {
            ".id" => Ok(Self::Id),
            ".name" => Ok(Self::Name),
            ".owner" => Ok(Self::Owner),
            _ => match rest.strip_prefix(".labels") {
                Some(rest) => Ok(Self::Label(name(rest, "a label, such as labels.team")?)),
                None => Err("of a subscription there are id, name, owner and labels".to_owned()),
            },
        }
    }
}

/// What is left of a path below data.
fn path(rest: &str) -> Result<Option<Path>, String> {
    if rest.is_empty() {
        return Ok(None);
    }
    let text = rest.strip_prefix('.').unwrap_or(rest);
    // A dot before a bracket is not a path, and neither is a name without a dot before it.
    let is_joined = rest.starts_with('[') || (text.len() < rest.len() && !text.starts_with('['));
    match is_joined {
        true => Path::parse(text, limits::PATH_DEPTH_MAX).map(Some).map_err(|error| error.detail),
        false => Err("write member names with dots between them, [n] for an element".to_owned()),
    }
}

/// The one name that is left of a path: `.name` or `["name"]`.
fn name(rest: &str, what: &str) -> Result<String, String> {
    let quoted = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let name = match (quoted, rest.strip_prefix('.')) {
        (Some(quoted), _) => serde_json::from_str(quoted).ok(),
        (None, Some(name)) if name.chars().all(is_plain) => Some(name.to_owned()),
        _ => None,
    };
    name.filter(|name| !name.is_empty()).ok_or_else(|| {
        format!(
            "name {what}; names with other characters than letters, digits, '_' and '-' go \
                 into [\"...\"]"
        )
    })
}

fn is_plain(symbol: char) -> bool {
    symbol.is_alphanumeric() || symbol == '_' || symbol == '-'
}

/// As it is parsed again.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(name) => write!(f, "event.{name}"),
            Self::Data(path) => print_path(f, "data", path.as_ref()),
            Self::Match(name) => print_name(f, "match", name),
            Self::Subscription(About::Id) => f.write_str("subscription.id"),
            Self::Subscription(About::Name) => f.write_str("subscription.name"),
            Self::Subscription(About::Owner) => f.write_str("subscription.owner"),
            Self::Subscription(About::Label(name)) => print_name(f, "subscription.labels", name),
            Self::Step(step, answer) => {
                let root = format!("steps[{step}].response");
                match answer {
                    Answer::Status => write!(f, "{root}.status"),
                    Answer::Header(name) => print_name(f, &format!("{root}.headers"), name),
                    Answer::Body(path) => print_path(f, &format!("{root}.body"), path.as_ref()),
                }
            }
        }
    }
}

fn print_path(f: &mut fmt::Formatter<'_>, root: &str, path: Option<&Path>) -> fmt::Result {
    let path = path.map(Path::to_string).unwrap_or_default();
    let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
    write!(f, "{root}{dot}{path}")
}

fn print_name(f: &mut fmt::Formatter<'_>, root: &str, name: &str) -> fmt::Result {
    match name.chars().all(is_plain) {
        true => write!(f, "{root}.{name}"),
        false => write!(f, "{root}[{}]", serde_json::Value::from(name)),
    }
}
