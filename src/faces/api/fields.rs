//! A JSON object read member by member: every complaint carries the JSON pointer of its place, and
//! a member that nobody asked for is an error.

use serde_json::{Map, Value};

use crate::domain::Invalid;
use crate::domain::attribute::escape_pointer;

/// The members of one object.
pub(crate) struct Fields<'a> {
    members: &'a Map<String, Value>,
    at: String,
    known: Vec<&'static str>,
}

/// A value and its place.
pub(crate) struct Field<'a> {
    /// The value, never null.
    pub(crate) value: &'a Value,
    /// Its JSON pointer.
    pub(crate) at: String,
}

impl<'a> Fields<'a> {
    /// The members of an object at a place.
    pub(crate) fn of(value: &'a Value, at: &str) -> Result<Self, Invalid> {
        let members = value.as_object();
        let members = members.ok_or_else(|| Invalid::new(at, "must be an object"))?;
        Ok(Self { members, at: at.to_owned(), known: Vec::new() })
    }

    /// A member, if it is there and not null.
    pub(crate) fn get(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.known.push(name);
        let value = self.members.get(name).filter(|value| !value.is_null())?;
        Some(Field { value, at: self.place(name) })
    }

    /// A member that must be there.
    pub(crate) fn need(&mut self, name: &'static str) -> Result<Field<'a>, Invalid> {
        self.get(name).ok_or_else(|| Invalid::new(self.place(name), "is required"))
    }

    /// Whether a member is there and null.
    pub(crate) fn is_null(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(Value::is_null)
    }

    /// Complains about members that were not asked for; some of them are the hub's to set.
    pub(crate) fn done(self, read_only: &[&str]) -> Result<(), Invalid> {
        let is_unknown = |name: &&String| !self.known.contains(&name.as_str());
        let Some(name) = self.members.keys().find(is_unknown) else { return Ok(()) };
        let detail = match read_only.contains(&name.as_str()) {
            true => "is set by the hub; leave it out".to_owned(),
            false => format!("is not known; there are {}", self.known.join(", ")),
        };
        Err(Invalid::new(self.place(name), detail))
    }

    fn place(&self, name: &str) -> String {
        format!("{}/{}", self.at, escape_pointer(name))
    }
}

impl<'a> Field<'a> {
    /// What is wrong here.
    pub(crate) fn bad(&self, detail: impl Into<String>) -> Invalid {
        Invalid::new(&self.at, detail)
    }

    /// The value as text.
    pub(crate) fn text(&self) -> Result<&'a str, Invalid> {
        self.value.as_str().ok_or_else(|| self.bad("must be a string"))
    }

    /// The value as a whole number.
    pub(crate) fn number(&self) -> Result<u64, Invalid> {
        self.value.as_u64().ok_or_else(|| self.bad("must be a whole number, not negative"))
    }

    /// The value's items.
    pub(crate) fn items(&self) -> Result<Vec<Field<'a>>, Invalid> {
        let items = self.value.as_array().ok_or_else(|| self.bad("must be a list"))?;
        let place = |(index, value)| Field { value, at: format!("{}/{index}", self.at) };
        Ok(items.iter().enumerate().map(place).collect())
    }

    /// The value's members.
    pub(crate) fn fields(&self) -> Result<Fields<'a>, Invalid> {
        Fields::of(self.value, &self.at)
    }

    /// The value's members, all of them text.
    pub(crate) fn texts(&self) -> Result<Vec<(&'a str, &'a str)>, Invalid> {
        let members = self.value.as_object().ok_or_else(|| self.bad("must be an object"))?;
        let text = |(name, value): (&'a String, &'a Value)| {
            let at = format!("{}/{}", self.at, escape_pointer(name));
            Ok((name.as_str(), Field { value, at }.text()?))
        };
        members.iter().map(text).collect()
    }

    /// The value read by one of the domain's parsers.
    pub(crate) fn parse<T>(&self, parse: fn(&str) -> Result<T, Invalid>) -> Result<T, Invalid> {
        parse(self.text()?).map_err(|error| error.under(&self.at))
    }
}
