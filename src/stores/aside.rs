//! What stands in a store beside its profiles, and in `auth-state.json` beside the store: the order, what the agent holds back,
//! and entries that it does not read.
//!
//! Source: clawdbot 2026.1.24-3 (`agents/auth-profiles/store.js`, `coerceAuthStore`); `auth-state.json` since openclaw 2026.4.15.

use crate::edge::files;
use crate::json::{Fields, Loose};
use crate::rules::resolve::{Aside, Ignored, Unread, Usage};
use crate::types::Moment;
use std::path::Path;

/// The file beside the store that holds the order and what is held back (openclaw 2026.4.15 to 2026.5.12).
pub(crate) const STATE_FILE: &str = "auth-state.json";

/// At most so many entries are named; a store may hold thousands.
const MOST: usize = 64;

/// Reads what the members beside `profiles` say.
pub(crate) fn of_rest<'a>(rest: impl Iterator<Item = (&'a str, Loose<'a>)>) -> Aside {
    let mut aside = Aside::default();
    for (key, value) in rest {
        match key {
            "order" => aside.order = order(value),
            "usageStats" => aside.usage = usage(value),
            "version" | "lastGood" => {}
            _ if aside.ignored.len() < MOST && looks_like_entry(value) => aside.ignored.push(Ignored {
                id: short(key),
                why: Unread::Outside,
            }),
            _ => {}
        }
    }
    aside
}

/// Reads `auth-state.json` beside a store; nothing where it is absent or unreadable, as the agents take it.
pub(crate) fn of_state_file(dir: &Path) -> Aside {
    let Ok(snapshot) = files::read(&dir.join(STATE_FILE)) else {
        return Aside::default();
    };
    let Ok(text) = std::str::from_utf8(&snapshot.bytes) else {
        return Aside::default();
    };
    of_state(text)
}

/// Reads order and usage where they are kept apart from the profiles; nothing where that is no object.
pub(crate) fn of_state(text: &str) -> Aside {
    match Fields::parse(text) {
        Ok(root) => Aside {
            ignored: Vec::new(),
            ..of_rest(root.iter())
        },
        Err(_) => Aside::default(),
    }
}

/// `order` as the agents read it: lists of texts, trimmed, blanks and empty lists left out.
fn order(value: Loose<'_>) -> Vec<(String, Vec<String>)> {
    let Some(providers) = value.object() else {
        return Vec::new();
    };
    let list = |value: Loose<'_>| {
        let ids = value.strings()?.into_iter().map(|id| id.trim().to_owned());
        let ids: Vec<String> = ids.filter(|id| !id.is_empty()).collect();
        (!ids.is_empty()).then_some(ids)
    };
    providers
        .iter()
        .filter_map(|(provider, value)| Some((provider.to_owned(), list(value)?)))
        .collect()
}

fn usage(value: Loose<'_>) -> std::collections::BTreeMap<String, Usage> {
    let Some(profiles) = value.object() else {
        return Default::default();
    };
    let one = |fields: &Fields<'_>| {
        let moment = |key: &str| {
            let number = fields.get(key)?.number()?;
            (number.is_finite() && number > 0.0).then_some(Moment::at(number as i64))
        };
        let word = |key: &str| {
            let text = fields.get(key)?.str()?;
            Some(short(&text)).filter(|text| !text.is_empty())
        };
        Usage {
            cooldown_until: moment("cooldownUntil"),
            disabled_until: moment("disabledUntil"),
            reason: word("disabledReason").or_else(|| word("cooldownReason")),
            last_used: moment("lastUsed").unwrap_or_default(),
        }
    };
    profiles
        .iter()
        .filter_map(|(id, value)| Some((id.to_owned(), one(&value.object()?))))
        .collect()
}

/// Names under which people and other programs write a secret.
const SECRET_NAMES: [&str; 10] = [
    "key",
    "apiKey",
    "api_key",
    "token",
    "access",
    "accessToken",
    "access_token",
    "oauthToken",
    "secret",
    "value",
];

/// An object that was meant as an entry.
fn looks_like_entry(value: Loose<'_>) -> bool {
    let Some(fields) = value.object() else { return false };
    fields.get("type").is_some() || SECRET_NAMES.iter().any(|name| fields.get(name).is_some())
}

/// Why an agent does not accept an entry in `profiles` as a profile.
pub(crate) fn unread(id: &str, fields: &Fields<'_>) -> Option<Ignored> {
    let text = |key: &str| fields.get(key).and_then(|value| value.str());
    let why = match text("type").as_deref() {
        None => Unread::NoType,
        Some("api_key" | "token" | "oauth") => Unread::NoProvider,
        Some(_) => Unread::UnknownType,
    };
    Some(Ignored { id: short(id), why })
}

/// The secret of an entry that has none where its agent looks.
pub(crate) fn misnamed(id: &str, fields: &Fields<'_>) -> Option<Ignored> {
    let wanted = match fields.get("type")?.str()?.as_ref() {
        "api_key" => "key",
        "token" => "token",
        _ => "access",
    };
    let there = |name: &&&str| {
        fields
            .get(name)
            .and_then(|value| value.str())
            .is_some_and(|text| !text.trim().is_empty())
    };
    let found = SECRET_NAMES.iter().filter(|name| **name != wanted).find(there)?;
    Some(Ignored {
        id: short(id),
        why: Unread::Misnamed { found, wanted },
    })
}

/// Foreign text that is only shown.
fn short(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(text: &str) -> Aside {
        of_rest(Fields::parse(text).unwrap().iter())
    }

    #[test]
    fn what_was_meant_as_an_entry_is_named_and_nothing_else() {
        let text = r#"{"version":{"type":1},"lastGood":{"token":"p:a"},"a":{"type":"x"},"b":{"apiKey":"K"},"c":{"x":1},
            "d":7,"order":{"token":["t"]},"usageStats":{"key":{}}}"#;
        let named: Vec<String> = rest(text).ignored.into_iter().map(|one| one.id).collect();
        assert_eq!(named, ["a", "b"]);
        assert!(of_state(text).ignored.is_empty() && !of_state(text).order.is_empty());
        assert_eq!(of_state("[]"), Aside::default());
        let many: Vec<String> = (0..=MOST).map(|n| format!(r#""e{n}":{{"type":"token"}}"#)).collect();
        assert_eq!(rest(&format!("{{{}}}", many.join(","))).ignored.len(), MOST);
    }

    #[test]
    fn what_is_beside_a_store_is_read_where_it_is_text() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(of_state_file(dir.path()), Aside::default());
        std::fs::write(dir.path().join(STATE_FILE), r#"{"order":{"p":["a"]}}"#).unwrap();
        assert_eq!(of_state_file(dir.path()).order.len(), 1);
        std::fs::write(dir.path().join(STATE_FILE), b"{\"order\":{\"p\":[\"\xff\"]}}").unwrap();
        assert_eq!(of_state_file(dir.path()), Aside::default());
    }

    #[test]
    fn order_and_waits_are_read_as_the_agents_read_them() {
        let aside = rest(
            r#"{"order":{"p":[" a ","",7,"b"],"q":[""],"r":"a"},"usageStats":{"p:a":{"cooldownUntil":5,"disabledUntil":0,
            "disabledReason":"billing","cooldownReason":"rate","lastUsed":-1},"p:b":{"disabledUntil":6,"cooldownUntil":1e999,
            "disabledReason":"","cooldownReason":"rate","lastUsed":7},"p:c":3}}"#,
        );
        assert_eq!(aside.order, [("p".to_owned(), vec!["a".to_owned(), "b".to_owned()])]);
        let usage = |cooldown: Option<i64>, disabled: Option<i64>, reason: &str, last_used| Usage {
            cooldown_until: cooldown.map(Moment::at),
            disabled_until: disabled.map(Moment::at),
            reason: Some(reason.into()),
            last_used: Moment::at(last_used),
        };
        let wanted = [
            ("p:a".to_owned(), usage(Some(5), None, "billing", 0)),
            ("p:b".to_owned(), usage(None, Some(6), "rate", 7)),
        ];
        assert_eq!(aside.usage, wanted.into());
    }
}
