//! One store, `auth-profiles.json`: read leniently, patched exactly.
//!
//! Format observed on clawdbot 2026.1.24-3: `{"version": 1, "profiles": {…}, "order"?, "lastGood"?, "usageStats"?}`, two-space
//! JSON with a final line break, times in ms. An entry without a known `type` or without a `provider` is dropped by the
//! agents; here it is left where it is and not judged.

use super::aside;
use crate::edge::files::{self, ReadError};
use crate::json::{self, Doc, Fields, Layout, positive_ms};
use crate::rules::agent::{self, Edit, Put, Store};
use crate::rules::resolve::Aside;
use crate::rules::shape::{self, KeptAs};
use crate::secret::{Fingerprint, Secret};
use crate::types::{Credential, Flaw, Held, LONGEST, Meta, Moment, Profile, SecretRef, bounded, is_cut};
use std::path::Path;

/// The file's name in an agent's folder.
pub(crate) const FILE_NAME: &str = "auth-profiles.json";

/// Reads a store's file; the text rides along for patching.
pub(crate) fn read(path: &Path) -> (Store, Option<String>, Option<Meta>) {
    let looked = look(path);
    (looked.state, looked.text, looked.meta)
}

/// A store's file, read.
#[derive(Debug)]
pub(crate) struct Looked {
    /// What it holds.
    pub(crate) state: Store,
    /// Its text, for patching.
    pub(crate) text: Option<String>,
    /// Its `stat`.
    pub(crate) meta: Option<Meta>,
    /// What stands beside its profiles.
    pub(crate) aside: Aside,
}

/// Reads a store's file with all that its agent goes by.
pub(crate) fn look(path: &Path) -> Looked {
    let without = |state, meta| Looked {
        state,
        text: None,
        meta,
        aside: Aside::default(),
    };
    match files::read_settled(path, |bytes| parsed(bytes).is_ok()) {
        Ok(snapshot) => match parsed(&snapshot.bytes) {
            Ok((profiles, aside)) => Looked {
                state: Store::Read(profiles),
                text: String::from_utf8(snapshot.bytes).ok(),
                meta: Some(snapshot.meta),
                aside,
            },
            Err(_) if snapshot.bytes.starts_with(json::BYTE_ORDER_MARK.as_bytes()) => {
                without(Store::ByteOrderMark, Some(snapshot.meta))
            }
            Err(why) => without(Store::Malformed(why), Some(snapshot.meta)),
        },
        Err(ReadError::Absent) if files::exists(path) => {
            without(Store::Refused("a link that leads nowhere".into()), None)
        }
        Err(ReadError::Absent) => without(Store::Absent, None),
        Err(error @ (ReadError::Io(_) | ReadError::Theirs(_))) => without(Store::Refused(error.to_string()), None),
        Err(ReadError::NotAFile) => match files::is_dir(path) {
            true => without(Store::Directory, None),
            false => without(Store::Special, None),
        },
        Err(error) => without(Store::Malformed(error.to_string()), None),
    }
}

fn parsed(bytes: &[u8]) -> Result<(Vec<Profile>, Aside), String> {
    parse_all(std::str::from_utf8(bytes).map_err(|_| "not UTF-8 text")?)
}

/// Reads a store's text, and what stands in it beside the profiles.
///
/// # Errors
/// Where it is no JSON object, or its `profiles` is no object; the message has no content.
pub(crate) fn parse_all(text: &str) -> Result<(Vec<Profile>, Aside), String> {
    // in one reading where all of it is as the agents write it, which spares half of what a look at many stores costs
    let Some((entries, rest)) = json::entries(text, "profiles") else {
        return parse_leniently(text);
    };
    let mut aside = aside::of_rest(rest.iter());
    let mut found = Vec::with_capacity(entries.len());
    for (id, fields) in &entries {
        found.extend(profile_or_aside(id, fields, &mut aside));
    }
    Ok((found, aside))
}

/// The profile of an entry; what its agent does not read is noted.
fn profile_or_aside(id: &str, fields: &Fields<'_>, aside: &mut Aside) -> Option<Profile> {
    let mut found = profile(id, fields);
    aside.ignored.extend(match &mut found {
        Some(profile) => misnamed(profile, id, fields),
        None => aside::unread(id, fields),
    });
    found
}

pub(crate) fn parse_leniently(text: &str) -> Result<(Vec<Profile>, Aside), String> {
    if text.starts_with('\u{feff}') {
        return Err(agent::BYTE_ORDER_MARK.into());
    }
    let root = Fields::parse(text)?;
    let mut aside = aside::of_rest(root.iter().filter(|(key, _)| *key != "profiles"));
    let mut found = Vec::new();
    let Some(profiles) = root.get("profiles") else {
        return Ok((found, aside));
    };
    let profiles = profiles.object().ok_or("its `profiles` is no object")?;
    for (id, fields) in profiles.iter().filter_map(|(id, value)| Some((id, value.object()?))) {
        found.extend(profile_or_aside(id, &fields, &mut aside));
    }
    Ok((found, aside))
}

/// What stands under a name that agents do not read, where nothing stands under the right one.
fn misnamed(profile: &mut Profile, id: &str, fields: &Fields<'_>) -> Option<crate::rules::resolve::Ignored> {
    let bare = match &profile.credential {
        Credential::Oauth { access, refresh, .. } => access.is_none() && refresh.is_none(),
        _ => false,
    };
    if profile.held != Held::Flawed(Flaw::Empty) && !bare {
        return None;
    }
    let found = aside::misnamed(id, fields)?;
    profile.held = Held::Flawed(Flaw::Empty);
    Some(found)
}

fn profile(id: &str, fields: &Fields<'_>) -> Option<Profile> {
    let text = |key: &str| fields.get(key).and_then(|value| value.str());
    let secret = |key: &str| text(key).filter(|text| !text.is_empty()).map(Secret::new);
    let expires = || fields.get("expires").and_then(|value| value.number());
    let provider = text("provider").filter(|text| !text.is_empty())?;
    let credential = match text("type")?.as_ref() {
        "api_key" => Credential::ApiKey,
        "token" => Credential::Token {
            token: secret("token"),
            expires: expires().and_then(positive_ms),
        },
        "oauth" => Credential::Oauth {
            access: secret("access"),
            refresh: secret("refresh"),
            expires: expires().filter(|number| number.is_finite()).and_then(positive_ms),
        },
        _ => return None,
    };
    let ours = matches!(provider.as_ref(), "anthropic" | "claude-cli");
    let account = match &credential {
        Credential::Oauth { .. } if ours => {
            let (email, account) = (text("email"), text("accountId"));
            let told = email.is_some() || account.is_some();
            let whose = format!("{}\n{}", email.unwrap_or_default(), account.unwrap_or_default());
            told.then(|| Secret::new(whose).fingerprint())
        }
        _ => None,
    };
    Some(Profile {
        id: bounded(id).into_owned(),
        held: held(fields, &provider, &credential),
        provider: bounded(&provider).into_owned(),
        credential,
        account,
    })
}

/// How an entry holds its secret. Programs write `oauth` entries whole, so that only what is no secret at all is reported for them.
fn held(fields: &Fields<'_>, provider: &str, credential: &Credential) -> Held {
    let (key, reference, kept_as) = match credential {
        Credential::ApiKey => ("key", "keyRef", KeptAs::ApiKey),
        Credential::Token { .. } => ("token", "tokenRef", KeptAs::Token),
        Credential::Oauth { access: None, .. } => return Held::Inline,
        Credential::Oauth { refresh: Some(_), .. } if !matches!(provider, "anthropic" | "claude-cli") => {
            return Held::Inline;
        }
        Credential::Oauth { .. } => ("access", "accessRef", KeptAs::Token),
    };
    let value = fields.get(key);
    match value.map(|value| (value.str(), value)) {
        Some((Some(text), _)) if !text.trim().is_empty() => match shape::flaw(provider, kept_as, &text) {
            Some(Flaw::Cut) if matches!(credential, Credential::Oauth { .. }) => Held::Inline,
            Some(flaw) => Held::Flawed(flaw),
            None => Held::Inline,
        },
        // an object in the text's place, or beside it under a name of its own
        _ => {
            let inside = value.and_then(|value| value.object());
            match inside.or_else(|| fields.get(reference).and_then(|value| value.object())) {
                Some(fields) => Held::Referenced(reference_in(&fields)),
                None => Held::Flawed(Flaw::Empty),
            }
        }
    }
}

fn reference_in(fields: &Fields<'_>) -> SecretRef {
    let text = |key: &str| {
        let text = fields.get(key).and_then(|value| value.str());
        text.map_or_else(String::new, |text| text.chars().take(120).collect())
    };
    SecretRef {
        source: text("source"),
        provider: text("provider"),
        id: text("id"),
    }
}

/// A credential that a person records by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// `{"type":"token"}`; `expires` only where it has an end.
    Token(Secret, Option<Moment>),
    /// `{"type":"api_key"}`.
    ApiKey(Secret),
}

impl Recorded {
    /// The `type` word in the store.
    pub(crate) fn type_word(&self) -> &'static str {
        match self {
            Self::Token(..) => "token",
            Self::ApiKey(_) => "api_key",
        }
    }
}

/// The store's text with a recorded credential under `id`, in the key order of clawdbot's `upsertAuthProfile`: an entry that
/// is there is replaced whole and keeps its place.
///
/// # Errors
/// As [`patch`].
pub(crate) fn record(text: Option<&str>, id: &str, provider: &str, credential: &Recorded) -> Result<String, String> {
    let mut doc = open(text)?;
    let provider = Doc::string(provider);
    let entry = match credential {
        Recorded::Token(token, expires) => {
            let mut entry = Doc::object([
                ("type", Doc::string("token")),
                ("provider", provider),
                ("token", Doc::string(token.expose())),
            ]);
            if let Some(expires) = expires {
                entry.set("expires", Doc::number(expires.ms()));
            }
            entry
        }
        Recorded::ApiKey(key) => Doc::object([
            ("type", Doc::string("api_key")),
            ("provider", provider),
            ("key", Doc::string(key.expose())),
        ]),
    };
    profiles(&mut doc)?.set(id, entry);
    Ok(doc.to_text(Layout::Pretty))
}

/// The store's text without the profile `id`, nor any mention of it in `order`, `lastGood` and `usageStats`: an order that
/// names only what is gone leaves a provider without any profile.
///
/// # Errors
/// As [`patch`].
pub(crate) fn take_out(text: &str, id: &str) -> Result<String, String> {
    let mut doc = open(Some(text))?;
    profiles(&mut doc)?.remove(id);
    for key in ["order", "lastGood", "usageStats"] {
        let Some(Doc::Object(members)) = doc.get_mut(key) else {
            continue;
        };
        for (_, value) in members.iter_mut() {
            if let Doc::Array(items) = value {
                items.retain(|item| item.as_str().as_deref() != Some(id));
            }
        }
        let before = members.len();
        members.retain(|(name, value)| match (key, value) {
            ("order", Doc::Array(items)) => !items.is_empty(),
            ("lastGood", value) => value.as_str().as_deref() != Some(id),
            ("usageStats", _) => crate::json::unquoted(name).as_deref() != Some(id),
            _ => true,
        });
        if members.is_empty() && before > 0 {
            doc.remove(key);
        }
    }
    Ok(doc.to_text(Layout::Pretty))
}

/// The store's `order` of a provider as the agents read it: trimmed, blanks and other types left out. `None` where it has
/// none.
///
/// # Errors
/// As [`patch`].
pub(crate) fn order(text: &str, provider: &str) -> Result<Option<Vec<String>>, String> {
    let doc = open(Some(text))?;
    let Some(Doc::Array(items)) = doc.get("order").and_then(|order| order.get(provider)) else {
        return Ok(None);
    };
    let ids: Vec<String> = items
        .iter()
        .filter_map(Doc::as_str)
        .map(|id| id.trim().to_owned())
        .filter(|id| !id.is_empty())
        .collect();
    Ok((!ids.is_empty()).then_some(ids))
}

/// The store's text with this `order` of a provider, none where `ids` is empty. `order` stands after `profiles`, where
/// clawdbot writes it, and goes with its last provider.
///
/// # Errors
/// As [`patch`].
pub(crate) fn set_order(text: &str, provider: &str, ids: &[String]) -> Result<String, String> {
    let mut doc = open(Some(text))?;
    profiles(&mut doc)?;
    match (doc.get_mut("order"), ids.is_empty()) {
        (Some(order @ Doc::Object(_)), true) => {
            order.remove(provider);
            if matches!(order, Doc::Object(members) if members.is_empty()) {
                doc.remove("order");
            }
        }
        (_, true) => {}
        (Some(order @ Doc::Object(_)), false) => order.set(provider, list(ids)),
        (_, false) => {
            let mut order = Doc::Object(Vec::new());
            order.set(provider, list(ids));
            doc.remove("order");
            doc.insert_after("profiles", "order", order);
        }
    }
    Ok(doc.to_text(Layout::Pretty))
}

/// `type` and `provider` of whatever stands under a profile id, blank where they are not told; `None` where nothing does.
///
/// # Errors
/// As [`patch`].
pub(crate) fn kind_of(text: &str, id: &str) -> Result<Option<(String, String)>, String> {
    let mut doc = open(Some(text))?;
    let Some(entry) = profiles(&mut doc)?.get(id) else {
        return Ok(None);
    };
    let text_of = |key: &str| entry.get(key).and_then(Doc::as_str).unwrap_or_default();
    Ok(Some((text_of("type"), text_of("provider"))))
}

/// The fingerprint of what a profile gives its agent: its token, key or access token.
pub(crate) fn fingerprint(text: &str, id: &str) -> Option<Fingerprint> {
    let mut doc = open(Some(text)).ok()?;
    let entry = profiles(&mut doc).ok()?.get(id)?;
    ["token", "key", "access"]
        .iter()
        .find_map(|key| entry.get(key).and_then(Doc::as_str))
        .filter(|secret| !secret.is_empty())
        .map(|secret| Secret::new(secret).fingerprint())
}

fn list(ids: &[String]) -> Doc {
    Doc::Array(ids.iter().map(|id| Doc::string(id)).collect())
}

/// A store's document with an object under `profiles`, a new one where there is no text.
fn open(text: Option<&str>) -> Result<Doc, String> {
    let mut doc = match text {
        Some(text) => Doc::parse(text)?,
        None => Doc::object([("version", Doc::number(1)), ("profiles", Doc::Object(Vec::new()))]),
    };
    if !matches!(doc, Doc::Object(_)) {
        return Err("not an object".into());
    }
    if doc.get("profiles").is_none() {
        doc.set("profiles", Doc::Object(Vec::new()));
    }
    Ok(doc)
}

fn profiles(doc: &mut Doc) -> Result<&mut Doc, String> {
    doc.get_mut("profiles")
        .filter(|profiles| matches!(profiles, Doc::Object(_)))
        .ok_or_else(|| "its `profiles` is no object".into())
}

/// The store's text with `edits` in it, from nothing where there is none. Two-space JSON as the agents write it; every
/// key, value and spelling that is not edited survives, and so do the fields of an edited profile that are not ours.
///
/// # Errors
/// Where the text is no store that can be patched; the message has no content.
pub(crate) fn patch(text: Option<&str>, edits: &[Edit]) -> Result<String, String> {
    let mut doc = open(text)?;
    let profiles = profiles(&mut doc)?;
    for edit in edits {
        if is_cut(&edit.id) {
            return Err(format!("a profile id of more than {LONGEST} characters is not written"));
        }
        match profiles.get_mut(&edit.id) {
            Some(entry @ Doc::Object(_)) => change(entry, &edit.put),
            _ => profiles.set(&edit.id, fresh(edit)),
        }
    }
    Ok(doc.to_text(Layout::Pretty))
}

fn fresh(edit: &Edit) -> Doc {
    let provider = Doc::string(&edit.provider);
    match &edit.put {
        Put::Token { token, expires } => Doc::object([
            ("type", Doc::string("token")),
            ("provider", provider),
            ("token", Doc::string(token.expose())),
            ("expires", Doc::number(expires.ms())),
        ]),
        Put::Oauth {
            access,
            refresh,
            expires,
        } => Doc::object([
            ("type", Doc::string("oauth")),
            ("provider", provider),
            ("access", Doc::string(access.expose())),
            ("refresh", Doc::string(refresh.expose())),
            ("expires", Doc::number(expires.ms())),
        ]),
    }
}

/// Changes an entry in place. From `token` to `oauth` the token's own fields make room, in the agents' key order.
fn change(entry: &mut Doc, put: &Put) {
    match put {
        Put::Token { token, expires } => {
            entry.set("type", Doc::string("token"));
            entry.set("token", Doc::string(token.expose()));
            entry.set("expires", Doc::number(expires.ms()));
        }
        Put::Oauth {
            access,
            refresh,
            expires,
        } => {
            if entry.get("type").and_then(Doc::as_str).as_deref() != Some("oauth") {
                entry.set("type", Doc::string("oauth"));
                entry.remove("token");
                entry.remove("expires");
            }
            entry.set("access", Doc::string(access.expose()));
            entry.set("refresh", Doc::string(refresh.expose()));
            entry.set("expires", Doc::number(expires.ms()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Profile>, String> {
        parse_all(text).map(|(profiles, _)| profiles)
    }

    fn token_edit() -> Edit {
        let put = Put::Token {
            token: Secret::new("T"),
            expires: Moment::at(7),
        };
        Edit {
            id: "anthropic:claude-cli".into(),
            provider: "anthropic".into(),
            put,
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_not_a_store_to_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        assert_eq!(look(&path).state, Store::Absent);
        std::os::unix::fs::symlink(dir.path().join("none"), &path).unwrap();
        assert!(matches!(look(&path).state, Store::Refused(_)));
    }

    #[test]
    fn entries_are_read_as_the_agents_read_them() {
        let text = r#"{"version":1,"profiles":{
            "k":{"type":"api_key","provider":"anthropic","key":"K"},
            "t":{"type":"token","provider":"p","token":"T","expires":1.2},
            "t0":{"type":"token","provider":"p","token":"T","expires":0},
            "ts":{"type":"token","provider":"p","token":"T","expires":"5"},
            "tr":{"type":"token","provider":"p","tokenRef":{"source":"env"}},
            "o":{"type":"oauth","provider":"p","access":"A","refresh":"","expires":-1},
            "oi":{"type":"oauth","provider":"p","access":"A","refresh":"R","expires":1e999},
            "bad":{"type":"cookie","provider":"x"},"null":null,"n":{"type":"token","token":"T"}}}"#;
        let got: Vec<_> = parse(text)
            .unwrap()
            .into_iter()
            .map(|p| (p.id, p.credential.expires()))
            .collect();
        let want = [
            ("k", None),
            ("t", Some(Moment::at(2))),
            ("t0", None),
            ("ts", None),
            ("tr", None),
            ("o", None),
            ("oi", None),
        ];
        assert_eq!(got, want.map(|(id, expires)| (id.to_owned(), expires)));
        assert_eq!(parse("{}").unwrap(), []);
        for bad in [
            "",
            "[]",
            "{\"profiles\":[]}",
            "{\"profiles\":null}",
            "{\"profiles\":{",
            "\u{feff}{}",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn one_reading_and_the_lenient_one_agree(parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "{", "}", "[", "]", ":", ",", "\"profiles\"", "\"profiles\":{", "\"a\":", "\"b\":{", "\"a\":{", "\"type\":\"oauth\"",
                "\"type\":\"token\"", "\"provider\":\"p\"", "\"expires\":5", "\"expires\":1e999", "\"access\":\"A\"", "\"\\u0061\":{",
                "\"refresh\":\"\\ud800\"", "null", "1", " ", "\u{feff}", "\"order\":{", "\"p\":[\"a\"]", "\"apiKey\":\"K\"",
            ]),
            0..24,
        )) {
            let text = parts.concat();
            for text in [format!("{{\"profiles\":{{{text}}}}}"), text] {
                proptest::prop_assert_eq!(parse_all(&text), parse_leniently(&text), "{}", text);
            }
        }
    }

    #[test]
    fn a_key_that_stands_twice_counts_once_with_its_last_value() {
        let text = r#"{"profiles":{"x":{"type":"api_key","provider":"gone"}},"profiles":{
            "a":{"type":"api_key","provider":"1"},"b":{"type":"api_key","provider":"2"},
            "\u0061":{"type":"api_key","provider":"3","provider":"4"}}}"#;
        let of = |read: Result<Vec<Profile>, String>| -> Vec<_> {
            read.unwrap().into_iter().map(|p| (p.id, p.provider)).collect()
        };
        let want = [("b", "2"), ("a", "4")].map(|(id, provider)| (id.to_owned(), provider.to_owned()));
        assert_eq!(of(parse(text)), want);
        assert_eq!(of(parse_leniently(text).map(|(profiles, _)| profiles)), want);
    }

    #[test]
    fn a_new_store_is_the_agents_own_bytes() {
        assert_eq!(
            patch(None, &[token_edit()]).unwrap(),
            "{\n  \"version\": 1,\n  \"profiles\": {\n    \"anthropic:claude-cli\": {\n      \"type\": \"token\",\n      \"provider\": \"anthropic\",\n      \"token\": \"T\",\n      \"expires\": 7\n    }\n  }\n}\n"
        );
    }

    #[test]
    fn a_patch_leaves_all_else_alone() {
        let text = "{\"profiles\":{\"anthropic:claude-cli\":{\"x\":1.50,\"type\":\"oauth\",\"provider\":\"anthropic\",\"access\":\"A\",\"refresh\":\"R\",\"expires\":1}},\"order\":{},\"version\":1.0}";
        let put = Put::Oauth {
            access: Secret::new("A2"),
            refresh: Secret::new("R2"),
            expires: Moment::at(2),
        };
        let out = patch(Some(text), &[Edit { put, ..token_edit() }]).unwrap();
        let compact = Doc::parse(&out).unwrap().to_text(Layout::Compact);
        assert_eq!(
            compact,
            text.replace("\"A\"", "\"A2\"")
                .replace("\"R\"", "\"R2\"")
                .replace("\"expires\":1}", "\"expires\":2}")
        );
    }

    #[test]
    fn a_token_becomes_oauth_in_the_agents_key_order() {
        let text = patch(None, &[token_edit()]).unwrap();
        let put = Put::Oauth {
            access: Secret::new("A"),
            refresh: Secret::new("R"),
            expires: Moment::at(2),
        };
        let out = patch(
            Some(&text),
            &[Edit {
                put: put.clone(),
                ..token_edit()
            }],
        )
        .unwrap();
        assert_eq!(out, patch(None, &[Edit { put, ..token_edit() }]).unwrap());
    }

    #[test]
    fn what_is_no_store_is_told_from_one_with_a_byte_order_mark() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        for text in ["\u{feff}{}", "\u{feff}{", "{", "{}"] {
            std::fs::write(&path, text).unwrap();
            // nobody is writing it
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
            let state = look(&path).state;
            let right = match text {
                "{}" => matches!(state, Store::Read(_)),
                "{" => matches!(state, Store::Malformed(_)),
                _ => matches!(state, Store::ByteOrderMark),
            };
            assert!(right, "{text}: {state:?}");
        }
    }

    #[test]
    fn a_secret_under_a_wrong_name_is_told_where_none_is_under_the_right_one() {
        for (entry, wanted) in [
            (r#""type":"api_key","apiKey":"K""#, Some(("apiKey", "key"))),
            (r#""type":"token","token":" ","value":"T""#, Some(("value", "token"))),
            (r#""type":"oauth","token":"T""#, Some(("token", "access"))),
            (r#""type":"oauth","refresh":"R","token":"T""#, None),
            (r#""type":"oauth","access":"A","token":"T""#, None),
            (r#""type":"api_key","key":"K","apiKey":"K""#, None),
            (r#""type":"api_key","keyRef":{},"apiKey":"K""#, None),
            (r#""type":"api_key""#, None),
        ] {
            let text = format!(r#"{{"profiles":{{"a":{{"provider":"p",{entry}}}}}}}"#);
            let (profiles, aside) = parse_all(&text).unwrap();
            let told: Vec<_> = aside.ignored.into_iter().map(|ignored| ignored.why).collect();
            let wanted: Vec<_> = wanted
                .map(|(found, wanted)| crate::rules::resolve::Unread::Misnamed { found, wanted })
                .into_iter()
                .collect();
            assert_eq!(told, wanted, "{entry}");
            if !wanted.is_empty() {
                assert_eq!(profiles[0].held, Held::Flawed(Flaw::Empty), "{entry}");
            }
        }
    }

    fn only(entry: &str) -> Profile {
        let read = parse(&format!(r#"{{"profiles":{{"a":{{{entry}}}}}}}"#));
        read.unwrap().remove(0)
    }

    #[test]
    fn an_account_is_that_of_a_login_of_ours() {
        let of = |text: &str| Some(Secret::new(text).fingerprint());
        for (entry, wanted) in [
            (r#""type":"oauth","provider":"anthropic","email":"e""#, of("e\n")),
            (r#""type":"oauth","provider":"claude-cli","accountId":"i""#, of("\ni")),
            (
                r#""type":"oauth","provider":"anthropic","email":"e","accountId":"i""#,
                of("e\ni"),
            ),
            (r#""type":"oauth","provider":"anthropic""#, None),
            (r#""type":"oauth","provider":"p","email":"e""#, None),
            (r#""type":"token","provider":"anthropic","email":"e""#, None),
        ] {
            assert_eq!(only(entry).account, wanted, "{entry}");
        }
    }

    #[test]
    fn a_secret_is_judged_where_its_agent_uses_it_as_it_stands() {
        let cut = "sk-ant-oat01-abcdefghij";
        let referenced = Held::Referenced(SecretRef {
            source: "env".into(),
            provider: String::new(),
            id: "X".into(),
        });
        let reference = r#"{"source":"env","id":"X"}"#;
        for (entry, wanted) in [
            // what others' logins have is renewed by their own programs
            (
                r#""oauth","provider":"p","access":"a b","refresh":"R""#.to_owned(),
                Held::Inline,
            ),
            (
                r#""oauth","provider":"p","access":"a b""#.to_owned(),
                Held::Flawed(Flaw::Broken),
            ),
            (
                r#""oauth","provider":"anthropic","access":"a b","refresh":"R""#.to_owned(),
                Held::Flawed(Flaw::Broken),
            ),
            (
                r#""oauth","provider":"claude-cli","access":"a b","refresh":"R""#.to_owned(),
                Held::Flawed(Flaw::Broken),
            ),
            // a login's tokens have had other lengths
            (
                format!(r#""oauth","provider":"anthropic","access":"{cut}""#),
                Held::Inline,
            ),
            (
                format!(r#""token","provider":"anthropic","token":"{cut}""#),
                Held::Flawed(Flaw::Cut),
            ),
            // a blank is no secret, and a reference beside it is one
            (
                r#""api_key","provider":"p","key":" ""#.to_owned(),
                Held::Flawed(Flaw::Empty),
            ),
            (
                format!(r#""api_key","provider":"p","key":" ","keyRef":{reference}"#),
                referenced.clone(),
            ),
            (format!(r#""token","provider":"p","token":{reference}"#), referenced),
        ] {
            assert_eq!(only(&format!(r#""type":{entry}"#)).held, wanted, "{entry}");
        }
    }

    #[test]
    fn what_is_recorded_is_of_the_kind_that_it_says() {
        for recorded in [
            Recorded::Token(Secret::new("T"), Some(Moment::at(7))),
            Recorded::Token(Secret::new("T"), None),
            Recorded::ApiKey(Secret::new("K")),
        ] {
            let text = record(None, "a", "p", &recorded).unwrap();
            let wanted = (recorded.type_word().to_owned(), "p".to_owned());
            assert_eq!(kind_of(&text, "a").unwrap(), Some(wanted));
        }
    }

    #[test]
    fn what_is_taken_out_takes_along_what_named_it_alone() {
        let compact = |text: &str| Doc::parse(text).unwrap().to_text(Layout::Compact);
        for (beside, left) in [
            (r#","order":{"p":["a"]},"lastGood":{"p":"a"},"usageStats":{"a":{}}"#, ""),
            (
                r#","order":{"p":["a","b"]},"lastGood":{"p":"b"},"usageStats":{"a":{},"b":{}}"#,
                r#","order":{"p":["b"]},"lastGood":{"p":"b"},"usageStats":{"b":{}}"#,
            ),
            // what was empty before is left as it was
            (r#","order":{},"lastGood":{}"#, r#","order":{},"lastGood":{}"#),
        ] {
            let text = format!(r#"{{"profiles":{{"a":{{}},"b":{{}}}}{beside}}}"#);
            let wanted = format!(r#"{{"profiles":{{"b":{{}}}}{left}}}"#);
            assert_eq!(compact(&take_out(&text, "a").unwrap()), compact(&wanted), "{beside}");
        }
    }
}
