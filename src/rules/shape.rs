//! What a pasted or stored secret looks like: a token, a key, or neither.
//!
//! Tokens and keys of Anthropic are `sk-ant-KIND01-` and 95 characters of base64url, 108 in all (Claude Code 2.1.330; its
//! `setup-token` wraps them at 80 columns, so that halves get pasted). Agents hand over what stands
//! in a store as it is, white space at its ends cut off (clawdbot 2026.1.24-3): nothing in it is expanded or repaired.

use crate::types::Flaw;

use std::borrow::Cow;

/// How an access token and a setup token begin.
pub(crate) const TOKEN_PREFIX: &str = "sk-ant-oat";
/// How an API key begins.
const KEY_PREFIX: &str = "sk-ant-api";
/// How a refresh token begins.
const REFRESH_PREFIX: &str = "sk-ant-ort";
/// How everything of Anthropic's begins.
const ANY_PREFIX: &str = "sk-ant-";
/// How long a token of Anthropic's is, in characters.
pub(crate) const WHOLE: usize = 108;

/// What a secret is kept, or given, as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeptAs {
    /// A token.
    Token,
    /// An API key.
    ApiKey,
}

/// Whether Anthropic's own shapes apply to a provider.
fn anthropic(provider: &str) -> bool {
    let provider = provider.trim();
    provider.eq_ignore_ascii_case("anthropic") || provider.eq_ignore_ascii_case("claude-cli")
}

/// Why its provider cannot have issued this secret, if so.
pub(crate) fn flaw(provider: &str, kept_as: KeptAs, text: &str) -> Option<Flaw> {
    let text = text.trim();
    // what is whole and of the right kind is the usual case, and there may be thousands
    let prefix = match kept_as {
        KeptAs::Token => TOKEN_PREFIX,
        KeptAs::ApiKey => KEY_PREFIX,
    };
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if plain && text.len() == WHOLE && text.starts_with(prefix) && !masked(text) {
        return None;
    }
    general(text).or_else(|| {
        anthropic(provider)
            .then(|| of_anthropic(kept_as, text, plain))
            .flatten()
    })
}

/// Why the value of a variable, or of a key in the agents' config, serves nobody. Tokens and keys both pass here: agents tell by
/// the text which one it is (clawdbot 2026.1.24-3).
pub(crate) fn variable_flaw(name: &str, value: &str) -> Option<Flaw> {
    let anthropic = name.starts_with("ANTHROPIC_") || name.starts_with("CLAUDE_");
    let provider = if anthropic { "anthropic" } else { "" };
    let kept_as = match value.trim().starts_with(TOKEN_PREFIX) {
        true => KeptAs::Token,
        false => KeptAs::ApiKey,
    };
    flaw(provider, kept_as, value)
}

/// What is no secret of any provider.
fn general(text: &str) -> Option<Flaw> {
    const QUOTES: [char; 7] = ['"', '\'', '`', '“', '”', '‘', '’'];
    if text.is_empty() || matches!(text, "\"\"" | "''") {
        return Some(Flaw::Empty);
    }
    if text.starts_with("export ") || text.split_once('=').is_some_and(|(name, _)| is_variable(name)) {
        return Some(Flaw::Assignment);
    }
    let bare = text.trim_matches(QUOTES);
    if is_placeholder(bare) {
        return Some(Flaw::Placeholder);
    }
    if masked(bare) || is_example(bare) {
        return Some(Flaw::Example);
    }
    if text.starts_with(QUOTES) || text.ends_with(QUOTES) {
        return Some(Flaw::Quoted);
    }
    text.chars()
        .any(|c| c.is_whitespace() || c.is_control())
        .then_some(Flaw::Broken)
}

/// `CLAUDE_CODE_OAUTH_TOKEN`: a base64 secret may have `=` at its end, and no variable's name before it.
fn is_variable(name: &str) -> bool {
    name.len() >= 3
        && name.contains('_')
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

fn is_placeholder(text: &str) -> bool {
    let wrapped = |open: &str, close: &str| {
        text.len() > open.len() + close.len() && text.starts_with(open) && text.ends_with(close)
    };
    let name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    wrapped("${", "}")
        || wrapped("{{", "}}")
        || wrapped("<", ">")
        || text.strip_prefix('$').is_some_and(name)
        || text
            .strip_prefix('%')
            .and_then(|rest| rest.strip_suffix('%'))
            .is_some_and(name)
        || is_variable(text)
}

/// `sk-ant-oat01-…`, `sk-ant-api03-xxxx`, `********`: nothing but its beginning is there.
fn masked(text: &str) -> bool {
    let body = match text.strip_prefix(ANY_PREFIX).and_then(|rest| rest.split_once('-')) {
        Some((_, body)) => body,
        None => text.strip_prefix("sk-").unwrap_or(text),
    };
    let filler = |c: char| matches!(c, 'x' | 'X' | '*' | '.' | '…' | '•' | '_' | '-');
    body.contains("...") || body.contains(['…', '•', '*']) || body.len() > 2 && body.chars().all(filler)
}

/// Words of documentation, each by itself: `your-api-key`, `PASTE_TOKEN_HERE`. A whole token may have them by chance.
fn is_example(text: &str) -> bool {
    const WORDS: [&str; 9] = [
        "your",
        "example",
        "changeme",
        "placeholder",
        "replaceme",
        "insert",
        "paste",
        "todo",
        "redacted",
    ];
    text.len() < 80
        && text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|part| WORDS.iter().any(|word| part.eq_ignore_ascii_case(word)))
}

fn of_anthropic(kept_as: KeptAs, text: &str, plain: bool) -> Option<Flaw> {
    if text.contains('#') {
        return Some(Flaw::Code);
    }
    if !text.starts_with(ANY_PREFIX) {
        return None;
    }
    if text[ANY_PREFIX.len()..].contains(ANY_PREFIX) {
        return Some(Flaw::Doubled);
    }
    match kept_as {
        _ if text.starts_with(REFRESH_PREFIX) => Some(Flaw::RefreshToken),
        KeptAs::Token if text.starts_with(KEY_PREFIX) => Some(Flaw::ApiKey),
        KeptAs::ApiKey if text.starts_with(TOKEN_PREFIX) => Some(Flaw::Token),
        _ if !plain => Some(Flaw::Damaged),
        KeptAs::Token if text.starts_with(TOKEN_PREFIX) && text.len() < WHOLE => Some(Flaw::Cut),
        _ => None,
    }
}

/// A pasted token as it is meant: lines that a terminal wrapped are joined, `export NAME=` and quotes are taken off.
pub(crate) fn pasted(text: &str) -> Cow<'_, str> {
    let bare = without_wrapping(text.trim());
    match bare.chars().any(|c| c.is_whitespace() || c.is_control()) && joins(bare) {
        true => Cow::Owned(bare.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect()),
        false => Cow::Borrowed(bare),
    }
}

/// Only what begins like a token is joined over white space: of anything else nobody knows where it ends.
fn joins(text: &str) -> bool {
    text.starts_with("sk-")
}

fn without_wrapping(text: &str) -> &str {
    const QUOTES: [char; 3] = ['"', '\'', '`'];
    let text = text.strip_prefix("export ").unwrap_or(text).trim();
    let text = match text.split_once('=') {
        Some((name, value)) if is_variable(name.trim()) => value.trim(),
        _ => text,
    };
    let text = text.strip_suffix(';').unwrap_or(text);
    for quote in QUOTES {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner.trim();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(kind: &str) -> String {
        format!("sk-ant-{kind}-{}", "aB3_-".repeat(19))
    }

    #[test]
    fn what_is_no_token_is_told_by_what_it_looks_like() {
        use KeptAs::{ApiKey, Token};
        let (oat, api) = (token("oat01"), token("api03"));
        let split = format!("{}\n{}", &oat[..79], &oat[79..]);
        for (kept_as, text, want) in [
            (Token, oat.as_str(), None),
            (ApiKey, api.as_str(), None),
            (Token, &format!("  {oat}\n"), None),
            (Token, &format!("{oat}b"), None),
            (Token, "opaque-token-of-a-proxy", None),
            (ApiKey, "k", None),
            (ApiKey, "ollama-local", None),
            (ApiKey, "c2VjcmV0==", None),
            (Token, "", Some(Flaw::Empty)),
            (ApiKey, " \n", Some(Flaw::Empty)),
            (Token, &oat[..80], Some(Flaw::Cut)),
            (Token, &oat[..107], Some(Flaw::Cut)),
            (Token, "sk-ant-oat01-", Some(Flaw::Cut)),
            (Token, &split, Some(Flaw::Broken)),
            (Token, &format!("Bearer {oat}"), Some(Flaw::Broken)),
            (Token, &format!("\"{oat}\""), Some(Flaw::Quoted)),
            (Token, &format!("“{oat}”"), Some(Flaw::Quoted)),
            (Token, "${CLAUDE_CODE_OAUTH_TOKEN}", Some(Flaw::Placeholder)),
            (ApiKey, "\"${ANTHROPIC_API_KEY}\"", Some(Flaw::Placeholder)),
            (ApiKey, "$ANTHROPIC_API_KEY", Some(Flaw::Placeholder)),
            (ApiKey, "%ANTHROPIC_API_KEY%", Some(Flaw::Placeholder)),
            (ApiKey, "{{ .Env.KEY }}", Some(Flaw::Placeholder)),
            (ApiKey, "<your key>", Some(Flaw::Placeholder)),
            (ApiKey, "ANTHROPIC_API_KEY", Some(Flaw::Placeholder)),
            (
                Token,
                &format!("export CLAUDE_CODE_OAUTH_TOKEN={oat}"),
                Some(Flaw::Assignment),
            ),
            (Token, &format!("CLAUDE_CODE_OAUTH_TOKEN={oat}"), Some(Flaw::Assignment)),
            (Token, "aBcDeF123#sTaTe456", Some(Flaw::Code)),
            (Token, "sk-ant-oat01-...", Some(Flaw::Example)),
            (Token, "sk-ant-oat01-xxxxxxxxxxxx", Some(Flaw::Example)),
            (ApiKey, &format!("sk-ant-api03-{}", "x".repeat(95)), Some(Flaw::Example)),
            (ApiKey, "sk-ant-api03-your-key-here", Some(Flaw::Example)),
            (ApiKey, "YOUR_API_KEY", Some(Flaw::Placeholder)),
            (Token, "paste-token-here", Some(Flaw::Example)),
            (ApiKey, "••••••••", Some(Flaw::Example)),
            (Token, &api, Some(Flaw::ApiKey)),
            (ApiKey, &oat, Some(Flaw::Token)),
            (Token, &token("ort01"), Some(Flaw::RefreshToken)),
            (Token, &format!("{oat}{oat}"), Some(Flaw::Doubled)),
            (Token, &oat.replace('_', "é"), Some(Flaw::Damaged)),
        ] {
            assert_eq!(flaw("anthropic", kept_as, text), want, "{kept_as:?} {text:?}");
        }
        // other providers' shapes are not known
        assert_eq!(flaw("openai", Token, &oat[..80]), None);
        assert_eq!(flaw("proxy", ApiKey, &oat), None);
        assert_eq!(flaw("openai", ApiKey, "${OPENAI_API_KEY}"), Some(Flaw::Placeholder));
        assert_eq!(flaw("Anthropic ", Token, &oat[..80]), Some(Flaw::Cut));
    }

    #[test]
    fn what_only_resembles_no_secret_is_one() {
        let your = |length: usize| format!("{:a<length$}", "your-");
        for (text, want) in [
            ("ABCD=xyz", None),
            ("A_=xyz", None),
            ("ABCD", None),
            ("A_B=xyz", Some(Flaw::Assignment)),
            ("\"abc", Some(Flaw::Quoted)),
            ("abc\"", Some(Flaw::Quoted)),
            ("${}", None),
            ("abcd}", None),
            ("${abc", None),
            ("${a}", Some(Flaw::Placeholder)),
            ("$", None),
            ("$a-b", None),
            ("$a", Some(Flaw::Placeholder)),
            ("xx", None),
            ("xxx", Some(Flaw::Example)),
            ("ab…cd", Some(Flaw::Example)),
            ("ab...cd", Some(Flaw::Example)),
            (&your(79), Some(Flaw::Example)),
            (&your(80), None),
            ("sk-ant-new01-abc", None),
        ] {
            assert_eq!(flaw("anthropic", KeptAs::ApiKey, text), want, "{text}");
        }
        for (name, want) in [
            ("ANTHROPIC_API_KEY", Some(Flaw::Cut)),
            ("CLAUDE_CODE_OAUTH_TOKEN", Some(Flaw::Cut)),
            ("OPENAI_API_KEY", None),
        ] {
            assert_eq!(variable_flaw(name, "sk-ant-oat01-abc"), want, "{name}");
        }
    }

    #[test]
    fn what_is_pasted_is_read_whole() {
        let oat = token("oat01");
        let split = format!("{}\n{}\n", &oat[..79], &oat[79..]);
        for text in [
            oat.clone(),
            format!(" {oat}\r\n"),
            split.clone(),
            format!("\"{oat}\""),
            format!("'{split}'"),
            format!("export CLAUDE_CODE_OAUTH_TOKEN={oat}"),
            format!("export CLAUDE_CODE_OAUTH_TOKEN=\"{split}\""),
            format!("CLAUDE_CODE_OAUTH_TOKEN='{oat}';"),
            format!("{}\u{1b}{}", &oat[..40], &oat[40..]),
        ] {
            assert_eq!(pasted(&text), oat, "{text:?}");
        }
        // of what is no token of Anthropic's nobody knows where it ends
        assert_eq!(pasted("two words"), "two words");
        assert_eq!(pasted("a=b"), "a=b");
    }

    proptest! {
        /// A token that could have been issued is one, whatever its random characters.
        #[test]
        fn a_whole_token_is_never_refused(body in "[a-zA-Z0-9_-]{93}AA") {
            prop_assert_eq!(flaw("anthropic", KeptAs::Token, &format!("sk-ant-oat01-{body}")), None);
            prop_assert_eq!(flaw("anthropic", KeptAs::ApiKey, &format!("sk-ant-api03-{body}")), None);
        }

        #[test]
        fn any_text_has_an_answer(text in ".*", key in any::<bool>()) {
            let kept_as = if key { KeptAs::ApiKey } else { KeptAs::Token };
            let _ = flaw("anthropic", kept_as, &text);
            let once = pasted(&text).into_owned();
            prop_assert!(once.len() <= text.len());
        }
    }
}
