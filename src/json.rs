//! Foreign JSON: reading it leniently, and patching it without changing what is not ours.
//!
//! [`Fields`] reads one object without judging what it does not need. [`Doc`] holds a whole document with every scalar and
//! key as it was spelled (`1.0e3` stays `1.0e3`, `\u00e9` stays so), so that a patch changes nothing but its own fields.

use crate::types::Moment;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

/// One value inside an object, not yet looked into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loose<'a>(&'a str);

impl<'a> Loose<'a> {
    /// The text of a JSON string, escapes resolved; `None` for any other type, or a lone surrogate.
    pub(crate) fn str(self) -> Option<Cow<'a, str>> {
        if !self.0.starts_with('"') {
            return None;
        }
        match self.0[1..self.0.len() - 1].contains('\\') {
            false => Some(Cow::Borrowed(&self.0[1..self.0.len() - 1])),
            true => serde_json::from_str(self.0).ok().map(Cow::Owned),
        }
    }

    /// A string, or a number or boolean as JavaScript makes text of it; `None` for any other type.
    pub(crate) fn coerced(self) -> Option<Cow<'a, str>> {
        match self.0.as_bytes().first() {
            Some(b'-' | b'0'..=b'9' | b't' | b'f') => Some(Cow::Borrowed(self.0)),
            _ => self.str(),
        }
    }

    /// A JSON number as JavaScript reads it, infinite where it overflows; `None` for any other type.
    pub(crate) fn number(self) -> Option<f64> {
        match self.0.as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => self.0.parse().ok(),
            _ => None,
        }
    }

    /// A number of milliseconds, or a string that spells one, as Claude Code coerces it.
    pub(crate) fn number_or_numeric_string(self) -> Option<f64> {
        self.number()
            .or_else(|| self.str()?.trim().parse().ok())
            .filter(|n: &f64| !n.is_nan())
    }

    /// The fields of an object; `None` for any other type.
    pub(crate) fn object(self) -> Option<Fields<'a>> {
        Fields::parse(self.0).ok()
    }

    /// The texts of an array of strings; `None` for any other type, members of another type left out.
    pub(crate) fn strings(self) -> Option<Vec<String>> {
        let items: Vec<&RawValue> = serde_json::from_str(self.0).ok()?;
        Some(items.into_iter().filter_map(|item| unquoted(item.get())).collect())
    }
}

/// The fields of one object in their order. A repeated key counts as JavaScript counts it: the last one wins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields<'a>(Vec<(Cow<'a, str>, Loose<'a>)>);

impl<'a> Fields<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// Where the text is no JSON, or no object at its root; the message has line and column and never content.
    pub(crate) fn parse(text: &'a str) -> Result<Self, String> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let fields = Self::deserialize(&mut reader).map_err(|e| words(&e))?;
        reader.end().map_err(|e| words(&e))?;
        Ok(fields)
    }

    /// The value under `key`.
    pub(crate) fn get(&self, key: &str) -> Option<Loose<'a>> {
        self.0
            .iter()
            .rev()
            .find(|(name, _)| name == key)
            .map(|(_, value)| *value)
    }

    /// All fields in order, each key once with its last value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Loose<'a>)> {
        let last = last_of_each(self.0.iter().map(|(key, _)| key.as_ref()));
        self.0
            .iter()
            .zip(last)
            .filter(|(_, last)| *last)
            .map(|((key, value), _)| (key.as_ref(), *value))
    }
}

/// The objects in the object under `key`, in order, each id once with its last value: all that is asked of a store, in one
/// reading of its text; and the members beside it. `None` where anything is not as expected, which [`Fields`] then tells in so
/// many words.
pub(crate) fn entries<'a>(text: &'a str, key: &str) -> Option<(Vec<Entry<'a>>, Fields<'a>)> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let (mut entries, rest) = reader.deserialize_map(Under(key)).ok()?;
    reader.end().ok()?;
    let last = last_of_each(entries.iter().map(|(id, _)| id.as_ref()));
    let mut i = 0;
    entries.retain(|_| {
        i += 1;
        last[i - 1]
    });
    Some((entries, rest))
}

/// A member that is an object.
pub(crate) type Entry<'a> = (Cow<'a, str>, Fields<'a>);

/// For each key whether it is the last one of its spelling.
fn last_of_each<'k>(keys: impl DoubleEndedIterator<Item = &'k str>) -> Vec<bool> {
    let mut seen = HashSet::new();
    let mut last: Vec<bool> = keys.rev().map(|key| seen.insert(key)).collect();
    last.reverse();
    last
}

struct Under<'k>(&'k str);

impl<'de> Visitor<'de> for Under<'_> {
    type Value = (Vec<Entry<'de>>, Fields<'de>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut entries, mut rest) = (Vec::new(), Vec::new());
        while let Some(key) = map.next_key::<Key<'de>>()? {
            if key.0 == self.0 {
                let members = map.next_value::<Members<Key<'de>, Fields<'de>>>()?.0.into_iter();
                entries = members.map(|(key, fields)| (key.0, fields)).collect();
            } else {
                let value: &RawValue = map.next_value()?;
                rest.push((key.0, Loose(value.get())));
            }
        }
        Ok((entries, Fields(rest)))
    }
}

/// The members of an object as they stand there, one whose key is repeated too.
struct Members<K, V>(Vec<(K, V)>);

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Members<K, V> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read<K, V>(PhantomData<(K, V)>);
        impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for Read<K, V> {
            type Value = Members<K, V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        d.deserialize_map(Read(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let members = Members::<Key<'de>, &RawValue>::deserialize(d)?.0.into_iter();
        Ok(Self(members.map(|(key, value)| (key.0, Loose(value.get()))).collect()))
    }
}

/// A key, borrowed from the text where it has no escapes. One that spells half a surrogate pair is no text; JavaScript takes it all
/// the same, so it stands here as it is spelled, in its quotes, and is no key that anybody asks for.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(d)?.get();
        Ok(Key(Loose(raw).str().unwrap_or(Cow::Borrowed(raw))))
    }
}

/// A parse error without the content it may quote.
fn words(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Data => "not an object",
        _ => "not JSON",
    };
    format!("{what}, at line {} column {}", error.line(), error.column())
}

/// A positive number of milliseconds as a moment; fractions round up, so that a part of a millisecond left is some left.
/// Infinite and larger than a [`Moment`] become the last one.
pub(crate) fn positive_ms(number: f64) -> Option<Moment> {
    (number > 0.0).then(|| Moment::at(number.ceil() as i64))
}

/// How deep a document may be nested; more is refused as malformed rather than followed.
const MAX_DEPTH: usize = 96;

/// A document whose keys and scalars are kept as spelled.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Doc {
    /// Members in order; keys in their quotes, as spelled.
    Object(Vec<(String, Doc)>),
    /// Items in order.
    Array(Vec<Doc>),
    /// Anything else, as spelled.
    Scalar(String),
}

/// How a document is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Two-space indentation and a final line break, as the agents write their stores.
    Pretty,
    /// No white space at all, as Claude Code writes its credentials.
    Compact,
}

impl Doc {
    /// Reads a document.
    ///
    /// # Errors
    /// Where the text is no JSON or too deep; the message has no content.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|e| words(&e))?;
        Self::of(raw.get(), 0)
    }

    fn of(text: &str, depth: usize) -> Result<Self, String> {
        if depth > MAX_DEPTH {
            return Err("nested too deep".into());
        }
        match text.as_bytes().first() {
            Some(b'{') => {
                // a raw key keeps its spelling, escapes and all
                let members: Members<&RawValue, &RawValue> = serde_json::from_str(text).map_err(|e| words(&e))?;
                let member = |(key, value): (&RawValue, &RawValue)| {
                    Ok((key.get().to_owned(), Self::of(value.get(), depth + 1)?))
                };
                let members = members.0.into_iter().map(member);
                members.collect::<Result<_, String>>().map(Self::Object)
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|e| words(&e))?;
                items
                    .into_iter()
                    .map(|item| Self::of(item.get(), depth + 1))
                    .collect::<Result<_, _>>()
                    .map(Self::Array)
            }
            _ => Ok(Self::Scalar(text.to_owned())),
        }
    }

    /// A string as a document.
    pub(crate) fn string(text: &str) -> Self {
        Self::Scalar(quoted(text))
    }

    /// A whole number as a document.
    pub(crate) fn number(number: i64) -> Self {
        Self::Scalar(number.to_string())
    }

    /// An object from its members in order.
    pub(crate) fn object(members: impl IntoIterator<Item = (&'static str, Doc)>) -> Self {
        Self::Object(members.into_iter().map(|(key, value)| (quoted(key), value)).collect())
    }

    /// The value under `key`, the last one where it is repeated.
    pub(crate) fn get(&self, key: &str) -> Option<&Doc> {
        let Self::Object(members) = self else { return None };
        members
            .iter()
            .rev()
            .find(|(name, _)| is_key(name, key))
            .map(|(_, value)| value)
    }

    /// The value under `key` for changing.
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Doc> {
        let Self::Object(members) = self else { return None };
        members
            .iter_mut()
            .rev()
            .find(|(name, _)| is_key(name, key))
            .map(|(_, value)| value)
    }

    /// Puts `value` under `key`: in its place where it is, at the end where it is not. Nothing happens to a non-object.
    pub(crate) fn set(&mut self, key: &str, value: Doc) {
        match self.get_mut(key) {
            Some(place) => *place = value,
            None => {
                if let Self::Object(members) = self {
                    members.push((quoted(key), value));
                }
            }
        }
    }

    /// Puts `value` under the new `key` right after `before`, at the end where that is not there.
    pub(crate) fn insert_after(&mut self, before: &str, key: &str, value: Doc) {
        if let Self::Object(members) = self {
            let at = members.iter().rposition(|(name, _)| is_key(name, before));
            let at = at.map_or(members.len(), |at| at + 1);
            members.insert(at, (quoted(key), value));
        }
    }

    /// The text of a string, escapes resolved; `None` for anything else.
    pub(crate) fn as_str(&self) -> Option<String> {
        match self {
            Self::Scalar(text) => unquoted(text),
            _ => None,
        }
    }

    /// Takes `key` out, every time it is there.
    pub(crate) fn remove(&mut self, key: &str) {
        if let Self::Object(members) = self {
            members.retain(|(name, _)| !is_key(name, key));
        }
    }

    /// The document as text.
    pub(crate) fn to_text(&self, layout: Layout) -> String {
        let mut out = String::new();
        match layout {
            Layout::Compact => self.write(&mut out, None),
            Layout::Pretty => {
                self.write(&mut out, Some(0));
                out.push('\n');
            }
        }
        out
    }

    /// `depth` is that of the lines, `None` where there is one line alone.
    fn write(&self, out: &mut String, depth: Option<usize>) {
        let inner = depth.map(|depth| depth + 1);
        let line = |out: &mut String, depth: Option<usize>| {
            if let Some(depth) = depth {
                out.push('\n');
                out.extend(std::iter::repeat_n("  ", depth));
            }
        };
        match self {
            Self::Object(members) if !members.is_empty() => {
                for (i, (key, value)) in members.iter().enumerate() {
                    out.push(if i == 0 { '{' } else { ',' });
                    line(out, inner);
                    out.push_str(key);
                    out.push_str(if depth.is_some() { ": " } else { ":" });
                    value.write(out, inner);
                }
                line(out, depth);
                out.push('}');
            }
            Self::Array(items) if !items.is_empty() => {
                for (i, item) in items.iter().enumerate() {
                    out.push(if i == 0 { '[' } else { ',' });
                    line(out, inner);
                    item.write(out, inner);
                }
                line(out, depth);
                out.push(']');
            }
            Self::Object(_) => out.push_str("{}"),
            Self::Array(_) => out.push_str("[]"),
            Self::Scalar(text) => out.push_str(text),
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn is_key(spelled: &str, key: &str) -> bool {
    Loose(spelled).str().is_some_and(|name| name == key)
}

/// The text of a string as it is spelled in a document; `None` for anything else.
pub(crate) fn unquoted(spelled: &str) -> Option<String> {
    Loose(spelled).str().map(Cow::into_owned)
}

/// The layout a text has, so that a patch keeps it.
pub(crate) fn layout_of(text: &str) -> Layout {
    match text.trim_end().contains('\n') {
        true => Layout::Pretty,
        false => Layout::Compact,
    }
}

/// What some editors put in front of a document, and is no part of it.
pub(crate) const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The document alone.
pub(crate) fn without_bom(text: &str) -> &str {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// Whether the text is valid JSON of any kind.
pub(crate) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_has_a_limit_of_either_kind() {
        for (open, close) in [("[", "]"), ("{\"k\":", "}")] {
            let nested = |deep: usize| format!("{}1{}", open.repeat(deep), close.repeat(deep));
            assert!(Doc::parse(&nested(MAX_DEPTH)).is_ok(), "{open}");
            assert_eq!(
                Doc::parse(&nested(MAX_DEPTH + 1)),
                Err("nested too deep".into()),
                "{open}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_what_is_there() {
        for (text, words) in [
            ("{\"SECRET\":", "it ends too early, at line 1 column 10"),
            ("[\"SECRET\"]", "not an object, at line 1 column 0"),
            ("\"SECRET\"", "not an object, at line 1 column 8"),
            ("SECRET", "not JSON, at line 1 column 1"),
        ] {
            assert_eq!(Fields::parse(text).map(drop), Err(words.into()), "{text}");
        }
        assert!(is_json(" [1] ") && !is_json("[1") && !is_json(""));
    }
    use proptest::prelude::*;

    #[test]
    fn a_patch_keeps_spelling_order_and_what_it_does_not_know() {
        let text =
            r#"{"version":1.0,"x-\u00e9":[1e3,{}],"profiles":{"a":{"type":"oauth","expires":1,"x":-0}},"version":2}"#;
        let mut doc = Doc::parse(text).unwrap();
        assert_eq!(doc.to_text(Layout::Compact), text);
        doc.get_mut("profiles")
            .unwrap()
            .get_mut("a")
            .unwrap()
            .set("expires", Doc::number(7));
        assert_eq!(
            doc.to_text(Layout::Compact),
            text.replace("\"expires\":1", "\"expires\":7")
        );
        assert!(
            doc.to_text(Layout::Pretty)
                .starts_with("{\n  \"version\": 1.0,\n  \"x-\\u00e9\": [\n    1e3,\n    {}\n  ],")
        );
    }

    #[test]
    fn fields_are_read_as_javascript_reads_them() {
        let fields = Fields::parse(r#"{"a":1,"a":"two","n":1e999,"s":"\ud800","i":" 17 "}"#).unwrap();
        assert_eq!(fields.get("a").unwrap().str().unwrap(), "two");
        assert_eq!(fields.iter().count(), 4);
        assert_eq!(fields.get("n").unwrap().number(), Some(f64::INFINITY));
        assert_eq!(fields.get("s").unwrap().str(), None);
        assert_eq!(fields.get("i").unwrap().number(), None);
        assert_eq!(fields.get("i").unwrap().number_or_numeric_string(), Some(17.0));
    }

    #[test]
    fn one_reading_suffices_for_what_agents_write() {
        let text = r#"{"version":1,"profiles":{"a":{"n":1},"b":{},"a":{"n":2}},"order":{}}"#;
        let (found, rest) = entries(text, "profiles").unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(id, fields)| (id.as_ref(), fields.get("n").and_then(Loose::number)))
            .collect();
        assert_eq!(found, [("b", None), ("a", Some(2.0))]);
        assert!(rest.iter().map(|(key, _)| key).eq(["version", "order"]));
    }

    #[test]
    fn errors_never_quote_the_text() {
        for text in ["", "{", "[1]", "{\"CANARY\":CANARY}", "\"CANARY\"", "{\"a\":1}CANARY"] {
            let error = Fields::parse(text).unwrap_err();
            assert!(!error.contains("CANARY") && error.contains("line"), "{error}");
        }
        assert!(Doc::parse(&"[".repeat(100_000)).is_err());
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".*".prop_map(|s: String| s.into()),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::btree_map(".*", inner, 0..6)
                    .prop_map(|m| serde_json::Value::Object(m.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn layouts_are_those_of_json_stringify(value in any_json()) {
            let text = value.to_string();
            let doc = Doc::parse(&text).unwrap();
            prop_assert_eq!(doc.to_text(Layout::Compact), text);
            prop_assert_eq!(doc.to_text(Layout::Pretty), serde_json::to_string_pretty(&value).unwrap() + "\n");
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = (Doc::parse(&text), Fields::parse(&text));
        }
    }
}
