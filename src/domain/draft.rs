//! A draft: attributes collected by name and checked, until an event can be made of them
//! (CloudEvents 1.0.2, section 3.1).

use smol_str::SmolStr;

use super::attribute::{self, Value, check_text};
use super::event::{Data, Event, Origin, SPEC_VERSION};
use super::topic::Topic;
use super::{Invalid, Timestamp};

/// Collects attributes by name, checks them, and makes an event of them.
#[derive(Debug, Default)]
pub struct Draft {
    core: [Option<SmolStr>; 8],
    extensions: Vec<(SmolStr, Value)>,
}

const CORE: [&str; 8] =
    ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"];

impl Draft {
    /// Sets one attribute. A name may be set once.
    pub fn set(&mut self, name: &str, value: Value) -> Result<(), Invalid> {
        attribute::check_name(name)?;
        let at = format!("/{name}");
        let text = value.canonical();
        check_text(name, &text)?;
        if let Some(slot) = CORE.iter().position(|core| *core == name) {
            let Value::String(text) = value else {
                return Err(Invalid::new(at, "must be a string"));
            };
            return match self.core[slot].replace(text) {
                None => Ok(()),
                Some(_) => Err(Invalid::new(at, "is given twice")),
            };
        }
        if self.extensions.iter().any(|(held, _)| held == name) {
            return Err(Invalid::new(at, "is given twice"));
        }
        if self.extensions.len() == attribute::EXTENSIONS_MAX {
            return Err(Invalid::new(at, "an event has at most 64 extension attributes"));
        }
        self.extensions.push((name.into(), value));
        Ok(())
    }

    /// Whether an attribute was set.
    pub fn has(&self, name: &str) -> bool {
        match CORE.iter().position(|core| *core == name) {
            Some(slot) => self.core[slot].is_some(),
            None => self.extensions.iter().any(|(held, _)| held == name),
        }
    }

    /// The media type set so far.
    pub fn media_type(&self) -> Option<&str> {
        self.core[6].as_deref()
    }

    /// Makes the event, with no `message`. The topic is the one given here, else the attribute
    /// `topic`, else it follows from the type.
    pub fn finish(
        self,
        data: Option<Data>,
        topic: Option<Topic>,
        origin: Origin,
    ) -> Result<Event, Invalid> {
        let Self { core, extensions } = self;
        let [version, id, source, kind, subject, time, datacontenttype, dataschema] = core;
        let required = |name: &str, value: Option<SmolStr>| {
            value.ok_or_else(|| Invalid::new(format!("/{name}"), "is required"))
        };
        if required("specversion", version)? != SPEC_VERSION {
            return Err(Invalid::new("/specversion", "must be \"1.0\""));
        }
        let id = required("id", id)?;
        let source = required("source", source)?;
        let kind = required("type", kind)?;
        check_reference(&source).map_err(|error| error.under("/source"))?;
        if let Some(text) = &dataschema {
            check_uri(text).map_err(|error| error.under("/dataschema"))?;
        }
        if let Some(text) = &time {
            check_time(text).map_err(|error| error.under("/time"))?;
        }
        let topic = match (topic, extensions.iter().find(|(name, _)| name == "topic")) {
            (Some(topic), _) => topic,
            (None, Some((_, value))) => {
                Topic::parse(&value.canonical()).map_err(|error| error.under("/topic"))?
            }
            (None, None) => Topic::of_type(&kind).map_err(|error| error.under("/type"))?,
        };
        Ok(Event {
            id,
            source,
            kind,
            subject,
            time,
            datacontenttype,
            dataschema,
            extensions,
            topic,
            data,
            origin,
            message: None,
        })
    }
}

/// Checks a timestamp: what jiff reads and RFC 3339 (section 5.6) writes. Jiff takes more.
pub(crate) fn check_time(text: &str) -> Result<(), Invalid> {
    match is_date_time(text.as_bytes()) && text.parse::<Timestamp>().is_ok() {
        true => Ok(()),
        false => Err(Invalid::new("", "must be a timestamp as in RFC 3339")),
    }
}

/// The shape of RFC 3339's `date-time`. Whether there is such a day is not looked at.
fn is_date_time(text: &[u8]) -> bool {
    let is = |text: &[u8], shape: &[u8]| {
        let fits = |(byte, shape): (&u8, &u8)| match shape {
            b'0' => byte.is_ascii_digit(),
            _ => byte.eq_ignore_ascii_case(shape),
        };
        text.len() == shape.len() && text.iter().zip(shape).all(fits)
    };
    let Some((seconds, mut rest)) = text.split_at_checked(b"0000-00-00T00:00:00".len()) else {
        return false;
    };
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return false;
        }
        rest = &fraction[digits..];
    }
    let offset = is(rest, b"Z") || is(rest, b"+00:00") || is(rest, b"-00:00");
    is(seconds, b"0000-00-00T00:00:00") && offset
}

/// Checks a URI-reference by its characters: none that RFC 3986 (appendix C) sets URIs off with.
fn check_reference(text: &str) -> Result<(), Invalid> {
    let foreign = |c: char| c.is_whitespace() || c.is_control() || "<>\"{}|\\^`".contains(c);
    match text.contains(foreign) {
        true => Err(Invalid::new("", "must be a URI-reference (RFC 3986 section 4.1)")),
        false => Ok(()),
    }
}

/// Checks an absolute URI.
fn check_uri(text: &str) -> Result<(), Invalid> {
    match check_reference(text).is_ok() && url::Url::parse(text).is_ok() {
        true => Ok(()),
        false => Err(Invalid::new("", "must be an absolute URI (RFC 3986 section 4.3)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str, text: &str) -> Result<Event, Invalid> {
        let mut draft = Draft::default();
        let base = [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "a.b")];
        let others = base.into_iter().filter(|(held, _)| *held != name);
        for (name, text) in others.chain([(name, text)]) {
            draft.set(name, Value::String(text.into()))?;
        }
        draft.finish(None, None, Origin::CloudEvent)
    }

    fn check(name: &str, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(made(name, text).is_ok(), "{name}: {text}");
        }
        for text in bad {
            let error = made(name, text).expect_err(text);
            assert_eq!(error.pointer, format!("/{name}"), "{text}");
        }
    }

    #[test]
    fn a_time_is_written_as_rfc_3339_has_it() {
        let good = [
            "2026-03-01T12:00:00Z",
            "2026-03-01t12:00:00z",
            "2026-03-01T12:00:00.120+02:00",
            "2026-03-01T12:00:00.123456789-00:30",
        ];
        let bad = [
            "yesterday",
            "2026-03-01",
            "2026-03-01T12:00Z",
            "2026-03-01T12:00:00",
            "2026-03-01 12:00:00Z",
            "2026-03-01T12:00:00,5Z",
            "2026-03-01T12:00:00.Z",
            "2026-03-01T12:00:00+02",
            "2026-03-01T12:00:00+0200",
            "2026-03-01T12:00:00+02:00[Europe/Berlin]",
            "20260301T120000Z",
            "+002026-03-01T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-02-30T12:00:00Z",
        ];
        check("time", &good, &bad);
    }

    #[test]
    fn a_source_is_a_reference_and_a_schema_a_whole_uri() {
        let good = ["/s", "s", "tag:a,2026:b", "http:anonymous", "https://a/b?c=%20#d", "//h/p"];
        let bad = ["a b", "<a>", "a\"b", "{a}", "a|b", "a\\b", "a^b", "a`b", "a\u{a0}b"];
        check("source", &good, &bad);
        let good = ["https://a.lan/s.json", "urn:schema:1", "tag:a,2026:b"];
        check("dataschema", &good, &["s.json", "/s", "//a/b", "https://a b/", " urn:a", "http://"]);
    }
}
