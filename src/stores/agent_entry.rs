//! `auth.profiles.<id>` in the agents' config: which profiles exist and how they authenticate.
//!
//! Written as clawdbot 2026.1.24-3 does (`applyAuthProfileConfig`): `{provider, mode}`, and where `auth.order` names the
//! provider's profiles, the new one first. The config is JSON5 that a person may have laid out by hand and that may include
//! other files, so it is patched only where it is plain JSON in the agents' own layout; otherwise the lines are for a
//! person to add.

use crate::json::{Doc, Layout};

/// How a profile authenticates, as the agents' config calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// `oauth`, which also accepts a `token` credential; Claude Code's profile says so (an older `token` is migrated).
    Oauth,
    /// `token`.
    Token,
    /// `api_key`.
    ApiKey,
}

impl Mode {
    /// The word in the config.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Oauth => "oauth",
            Self::Token => "token",
            Self::ApiKey => "api_key",
        }
    }
}

/// The config's text with the entry; `None` where it is there already.
///
/// # Errors
/// Why it is not for a program to patch; the message has no content.
pub(crate) fn patch(text: &str, id: &str, provider: &str, mode: Mode) -> Result<Option<String>, &'static str> {
    let mut doc = Doc::parse(text).map_err(|_| "it is not plain JSON")?;
    if !matches!(doc, Doc::Object(_)) {
        return Err("it is no object");
    }
    if doc.to_text(Layout::Pretty).trim_end() != text.trim_end() {
        return Err("it is laid out by hand");
    }
    let includes = |doc: Option<&Doc>| doc.is_some_and(|doc| doc.get("$include").is_some());
    let auth = doc.get("auth");
    let parts = [
        auth,
        auth.and_then(|a| a.get("profiles")),
        auth.and_then(|a| a.get("order")),
    ];
    if includes(Some(&doc)) || parts.into_iter().any(includes) {
        return Err("part of it lies in another file");
    }
    let before = doc.clone();
    let auth = object_at(&mut doc, "auth")?;
    let entry = object_at(object_at(auth, "profiles")?, id)?;
    entry.set("provider", Doc::string(provider));
    entry.set("mode", Doc::string(mode.word()));
    if let Some(Doc::Array(ids)) = auth.get_mut("order").and_then(|order| order.get_mut(provider)) {
        ids.retain(|known| known.as_str().as_deref() != Some(id));
        ids.insert(0, Doc::string(id));
    }
    Ok((doc != before).then(|| doc.to_text(Layout::Pretty)))
}

fn object_at<'d>(doc: &'d mut Doc, key: &str) -> Result<&'d mut Doc, &'static str> {
    if doc.get(key).is_none() {
        doc.set(key, Doc::Object(Vec::new()));
    }
    doc.get_mut(key)
        .filter(|value| matches!(value, Doc::Object(_)))
        .ok_or("its `auth` is not what the agents write")
}

/// The lines for a person to add.
pub(crate) fn lines(id: &str, provider: &str, mode: Mode) -> String {
    let mut profiles = Doc::Object(Vec::new());
    let entry = [("provider", Doc::string(provider)), ("mode", Doc::string(mode.word()))];
    profiles.set(id, Doc::object(entry));
    let auth = Doc::object([("profiles", profiles)]);
    Doc::object([("auth", auth)]).to_text(Layout::Pretty)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "{\n  \"auth\": {\n    \"profiles\": {\n      \"anthropic:claude-cli\": {\n        \"provider\": \"anthropic\",\n        \"mode\": \"token\"\n      }\n    },\n    \"order\": {\n      \"anthropic\": [\n        \"anthropic:x\"\n      ]\n    }\n  },\n  \"n\": 1.0\n}\n";

    #[test]
    fn an_entry_is_added_as_the_agents_write_it() {
        let made = patch("{}\n", "anthropic:manual", "anthropic", Mode::Token)
            .unwrap()
            .unwrap();
        assert_eq!(made, lines("anthropic:manual", "anthropic", Mode::Token));
        assert_eq!(patch(&made, "anthropic:manual", "anthropic", Mode::Token), Ok(None));
    }

    #[test]
    fn an_old_mode_is_migrated_and_a_configured_order_names_the_new_one_first() {
        let out = patch(OLD, "anthropic:claude-cli", "anthropic", Mode::Oauth)
            .unwrap()
            .unwrap();
        let want = OLD.replace("\"token\"", "\"oauth\"").replace(
            "        \"anthropic:x\"",
            "        \"anthropic:claude-cli\",\n        \"anthropic:x\"",
        );
        assert_eq!(out, want);
    }

    #[test]
    fn what_a_person_laid_out_is_left_to_a_person() {
        for (text, why) in [
            ("// mine\n{}\n", "it is not plain JSON"),
            ("{\"a\": 1}", "it is laid out by hand"),
            ("[]", "it is no object"),
            (
                "{\n  \"$include\": \"./auth.json5\"\n}\n",
                "part of it lies in another file",
            ),
            (
                "{\n  \"auth\": {\n    \"$include\": \"x\"\n  }\n}\n",
                "part of it lies in another file",
            ),
            ("{\n  \"auth\": 5\n}\n", "its `auth` is not what the agents write"),
        ] {
            assert_eq!(patch(text, "p:x", "p", Mode::ApiKey), Err(why), "{text}");
        }
    }
}
