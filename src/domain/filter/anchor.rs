//! Anchors: what an index can file a filter by.

use serde_json::Value;

use super::data::{Test, scalar};
use super::path::Path;
use super::tree::Filter;
use crate::domain::topic::TopicFilter;

/// Something that must be true of an event for a filter to match it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anchor {
    /// The topic lies in this topic filter.
    Topic(TopicFilter),
    /// This attribute equals this text.
    Attribute(String, String),
    /// This scalar (see `Anchor::scalar`) stands at this place of the data.
    Data(Path, String),
}

impl Anchor {
    /// The text that a scalar of JSON data is filed under; `None` for lists and objects.
    pub fn scalar(value: &Value) -> Option<String> {
        scalar(value)
    }

    /// How many events it is likely to be true of: fewest first.
    fn rank(&self) -> u8 {
        match self {
            Self::Data(..) => 0,
            Self::Attribute(name, _) if name == "subject" || name == "id" => 0,
            Self::Topic(filter) if !filter.as_str().contains(['+', '#']) => 1,
            Self::Attribute(..) => 2,
            Self::Topic(_) => 3,
        }
    }
}

impl Filter {
    /// Anchors of which at least one is true of every event that this filter matches. `None`: the
    /// filter has to be asked about every event.
    pub fn anchors(&self) -> Option<Vec<Anchor>> {
        match self {
            Self::Topic(filter) if filter.as_str() == "#" => None,
            Self::Topic(filter) => Some(vec![Anchor::Topic(filter.clone())]),
            Self::Exact(texts) => {
                let best = ["subject", "id", "type", "source"]
                    .into_iter()
                    .find_map(|name| texts.get_key_value(name));
                let (name, text) = best.or_else(|| texts.first_key_value())?;
                Some(vec![Anchor::Attribute(name.clone(), text.clone())])
            }
            Self::Data(data) => {
                let values = match &data.test {
                    Test::Equals(value) => std::slice::from_ref(value),
                    Test::In(values) => values.as_slice(),
                    Test::Exists(_) | Test::Contains(_) | Test::Regex(_) => return None,
                };
                let anchor = |value| Some(Anchor::Data(data.path.clone(), scalar(value)?));
                values.iter().map(anchor).collect()
            }
            Self::All(filters) => {
                let anchored = filters.iter().filter_map(Self::anchors);
                anchored.min_by_key(|anchors| {
                    (anchors.iter().map(Anchor::rank).max().unwrap_or_default(), anchors.len())
                })
            }
            Self::Any(filters) => {
                let each: Option<Vec<_>> = filters.iter().map(Self::anchors).collect();
                each.map(|anchors| anchors.into_iter().flatten().collect())
            }
            Self::Prefix(_) | Self::Suffix(_) | Self::Exists(_) | Self::Not(_) => None,
        }
    }
}
