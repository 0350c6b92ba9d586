//! What each channel was told of one alert, or may have been. There may be ten thousand alerts, and mostly one channel: a map would
//! take room for eleven at once.

use super::alert::Told;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;

/// By the channel's name, in its order; a map in JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct ByChannel<T = Told>(Vec<(Box<str>, T)>);

impl<T> Default for ByChannel<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ByChannel<T> {
    fn place(&self, channel: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(name, _)| name.as_ref().cmp(channel))
    }

    /// What there is of this channel.
    pub fn get(&self, channel: &str) -> Option<&T> {
        self.place(channel).ok().map(|at| &self.0[at].1)
    }

    pub(crate) fn insert(&mut self, channel: &str, told: T) {
        match self.place(channel) {
            Ok(at) => self.0[at].1 = told,
            Err(at) => {
                self.0.reserve_exact(1);
                self.0.insert(at, (channel.into(), told));
            }
        }
    }

    pub(crate) fn remove(&mut self, channel: &str) {
        if let Ok(at) = self.place(channel) {
            self.0.remove(at);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, told)| (name.as_ref(), told))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().map(|(_, told)| told)
    }
}

impl<'a, T> FromIterator<(&'a str, T)> for ByChannel<T> {
    fn from_iter<I: IntoIterator<Item = (&'a str, T)>>(all: I) -> Self {
        let mut few = Self::default();
        all.into_iter().for_each(|(channel, told)| few.insert(channel, told));
        few
    }
}

impl<T: Serialize> Serialize for ByChannel<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByChannel<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Map<T> {
            type Value = ByChannel<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map by channel")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ByChannel<T>, A::Error> {
                let mut all = ByChannel::default();
                while let Some((name, told)) = map.next_entry::<String, T>()? {
                    all.insert(&name, told);
                }
                Ok(all)
            }
        }
        deserializer.deserialize_map(Map(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn told(at: i64) -> Told {
        let text = format!(
            r#"{{"status":"firing","severity":"warning","kind":"k","lapsed":true,"step":0,"reminders":0,"at":{at}}}"#
        );
        serde_json::from_str(&text).expect("it is one")
    }

    #[test]
    fn it_reads_and_writes_what_a_map_would() {
        let (mut few, mut map) = (ByChannel::default(), BTreeMap::new());
        for (channel, at) in [("phone", 1), ("mail", 2), ("slack", 3), ("mail", 4), ("a", 5)] {
            few.insert(channel, told(at));
            map.insert(channel.to_owned(), told(at));
            let text = serde_json::to_string(&map).expect("it can be written");
            assert_eq!(serde_json::to_string(&few).expect("so can this"), text);
            assert_eq!(serde_json::from_str::<ByChannel>(&text).expect("and read"), few);
            assert!(map.iter().map(|(name, told)| (name.as_str(), told)).eq(few.iter()));
        }
        assert_eq!((few.get("mail"), few.get("sms")), (map.get("mail"), None));
        for gone in ["mail", "sms"] {
            few.remove(gone);
            map.remove(gone);
            assert!(map.iter().map(|(name, told)| (name.as_str(), told)).eq(few.iter()));
        }
        // a hand that changed the order, or wrote a name twice
        let text = r#"{"b":TOLD,"a":TOLD,"b":TOLD}"#.replace("TOLD", &serde_json::to_string(&told(1)).expect("text"));
        assert_eq!(
            serde_json::from_str::<ByChannel>(&text)
                .expect("still read")
                .iter()
                .count(),
            2
        );
        assert!(serde_json::from_str::<ByChannel>("[]").is_err());
    }
}
