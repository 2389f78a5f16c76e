//! Topic names and topic filters as MQTT 5 section 4.7 has them. A `Topic` or `TopicFilter` that
//! exists is valid.

use std::fmt;
use std::sync::Arc;

use smol_str::SmolStr;

use super::Invalid;

/// Longest topic name or filter, in UTF-8 bytes.
pub const TOPIC_BYTES_MAX: usize = 1024;

/// Most levels a topic name or filter may have.
pub const TOPIC_LEVELS_MAX: usize = 128;

/// A topic name that events are published to: no wildcards, no NUL, not starting with `$`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(SmolStr);

impl Topic {
    /// Checks a topic name (MQTT 5 sections 3.3.2.1 and 4.7; `$` is reserved for the hub).
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        check_common(text)?;
        if text.bytes().any(|byte| matches!(byte, b'+' | b'#')) {
            return Err(invalid(
                "a topic name has no wildcards ('+', '#'); those belong into filters",
            ));
        }
        if text.starts_with('$') {
            return Err(invalid("topics starting with '$' are reserved for the hub"));
        }
        Ok(Self(text.into()))
    }

    /// The topic an event has when it names none: its type with `.` turned into `/`.
    pub fn of_type(kind: &str) -> Result<Self, Invalid> {
        Self::parse(&kind.replace('.', "/"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A topic filter with MQTT wildcards: `+` for one level, `#` at the end for all that follows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter(Arc<str>);

impl TopicFilter {
    /// Checks a topic filter (MQTT 5 section 4.7.1).
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        check_common(text)?;
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            match level {
                "#" if levels.peek().is_some() => {
                    return Err(invalid("'#' must be the last level of a topic filter"));
                }
                "#" | "+" => {}
                level if level.contains(['+', '#']) => {
                    return Err(invalid("'+' and '#' must stand alone in their level"));
                }
                _ => {}
            }
        }
        Ok(Self(text.into()))
    }

    /// The filter as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a topic name lies in this filter. Wildcards at the start never match `$` topics
    /// (MQTT 5 section 4.7.2).
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.split('/');
        for level in self.0.split('/') {
            match (level, names.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (level, Some(name)) if level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }

    /// Whether every topic that `other` matches is matched by this filter too.
    pub fn covers(&self, other: &TopicFilter) -> bool {
        let mut theirs = other.0.split('/');
        let mut ours = self.0.split('/');
        loop {
            match (ours.next(), theirs.next()) {
                (Some("#"), _) => return true,
                (None, None) => return true,
                (Some(_) | None, Some("#")) => return false,
                (Some("+"), Some(_)) => {}
                (Some(level), Some(name)) if level == name => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_common(text: &str) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(invalid("a topic has at least one character"));
    }
    if text.len() > TOPIC_BYTES_MAX {
        return Err(invalid(format!(
            "a topic has at most {TOPIC_BYTES_MAX} bytes, this one has {}",
            text.len()
        )));
    }
    // Every event read from the log comes through here: what is short has no need to be counted,
    // and bytes are gone through faster than characters.
    if text.len() >= TOPIC_LEVELS_MAX && text.split('/').count() > TOPIC_LEVELS_MAX {
        return Err(invalid(format!("a topic has at most {TOPIC_LEVELS_MAX} levels")));
    }
    let has_control = match text.is_ascii() {
        true => text.bytes().any(|byte| byte.is_ascii_control()),
        false => text.chars().any(char::is_control),
    };
    if has_control {
        return Err(invalid("a topic has no control characters"));
    }
    Ok(())
}

fn invalid(detail: impl Into<String>) -> Invalid {
    Invalid::new("", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_matches_as_mqtt_says() {
        let check = |filter: &str, topic: &str, expected: bool| {
            let parsed = TopicFilter::parse(filter).expect(filter);
            assert_eq!(parsed.matches(topic), expected, "{filter} on {topic}");
        };
        check("sport/tennis/player1/#", "sport/tennis/player1", true);
        check("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true);
        check("sport/#", "sport", true);
        check("#", "a/b/c", true);
        check("#", "$SYS/uptime", false);
        check("+/uptime", "$SYS/uptime", false);
        check("$SYS/#", "$SYS/uptime", true);
        check("sport/tennis/+", "sport/tennis/player1", true);
        check("sport/tennis/+", "sport/tennis/player1/ranking", false);
        check("sport/+", "sport", false);
        check("sport/+", "sport/", true);
        check("+/+", "/finance", true);
        check("/+", "/finance", true);
        check("+", "/finance", false);
        check("été/+", "été/1", true);
    }

    #[test]
    fn a_bad_topic_or_filter_is_refused() {
        for bad in ["", "a/+/b", "a#", "$SYS/x", "a\0b", &"x".repeat(1025), &"a/".repeat(128)] {
            assert!(Topic::parse(bad).is_err(), "topic {bad:?}");
        }
        for bad in ["", "a/#/b", "a+", "a/b#", "#/", "a\0"] {
            assert!(TopicFilter::parse(bad).is_err(), "filter {bad:?}");
        }
        for good in ["a", "/", "été/1", "a//b", &"x".repeat(1024)] {
            assert!(Topic::parse(good).is_ok(), "topic {good:?}");
        }
    }

    #[test]
    fn a_grant_covers_only_filters_inside_it() {
        let check = |outer: &str, inner: &str, expected: bool| {
            let outer_filter = TopicFilter::parse(outer).expect(outer);
            let inner_filter = TopicFilter::parse(inner).expect(inner);
            assert_eq!(outer_filter.covers(&inner_filter), expected, "{outer} covers {inner}");
        };
        check("#", "a/b/+", true);
        check("a/#", "a", true);
        check("a/#", "a/+/#", true);
        check("a/+", "a/b", true);
        check("a/+", "a/#", false);
        check("a/+", "+/b", false);
        check("a/b", "a/+", false);
        check("a/b", "a/b", true);
        check("a/+/c", "a/+/c", true);
        check("a", "a/#", false);
    }
}
