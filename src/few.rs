//! Maps that take little room. A tree has room for eleven entries in each of its nodes, which thousands of flows would
//! pay for.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Entries by name, sorted. Made at once, and not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Few<V>(Box<[(Box<str>, V)]>);

/// A tree that grew entry by entry is half empty; one that is made at once is full.
pub fn compact<K: Ord, V>(map: &mut BTreeMap<K, V>) {
    *map = std::mem::take(map).into_iter().collect();
}

impl<V> Few<V> {
    /// The value with this name.
    pub fn get(&self, name: &str) -> Option<&V> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, value)| value)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }
}

impl<V> Default for Few<V> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<V> From<BTreeMap<String, V>> for Few<V> {
    fn from(map: BTreeMap<String, V>) -> Self {
        Self(map.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

impl<V: Serialize> Serialize for Few<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Few<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_and_read_as_a_map() {
        let map = BTreeMap::from([("b".to_owned(), 2), ("a".to_owned(), 1)]);
        let few = Few::from(map);
        assert_eq!((few.get("a"), few.get("b"), few.get("c")), (Some(&1), Some(&2), None));
        let text = serde_json::to_string(&few).unwrap();
        assert_eq!(text, r#"{"a":1,"b":2}"#);
        assert_eq!(serde_json::from_str::<Few<i32>>(&text).unwrap(), few);
    }
}
