//! The last valid configuration, kept in the state directory for the time when the file breaks: a typo must not silence every alert.
//!
//! No secret is copied. What may be one (every text of a `[[channel]]` or of the `[heartbeat]` but those known to be harmless) stands in
//! the kept file as a mark of 16 bits, which is too short to check a guess by, and is looked for again under the same key in the broken
//! file. A section whose text is not found there is left out. `*_file` and `*_env` name secrets and are kept as they are.

use super::{Config, parse};
use crate::edge::host::Host;
use crate::edge::{files, replace};
use crate::table::{ConfigError, Source};
use sha2::{Digest, Sha256};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Its place in the state directory.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("config.kept.toml")
}

/// How a mark begins; the key and four hex digits follow.
const MARK: &str = "nolapse-kept:";

/// Texts of a channel that are no secrets.
const HARMLESS: [&str; 9] = [
    "type",
    "name",
    "min_severity",
    "quiet_hours",
    "timeout",
    "logins",
    "agents",
    "tls",
    "hold",
];

/// Keeps a configuration that was just found valid, if it has changed.
///
/// # Errors
/// What the system refuses; the one kept before is then still there.
pub(crate) fn keep(state_dir: &Path, config: &Path) -> io::Result<()> {
    let Ok(snapshot) = files::read(config) else {
        return Ok(());
    };
    let Some(text) = std::str::from_utf8(&snapshot.bytes).ok().and_then(mask) else {
        return Ok(());
    };
    let path = files::own_target(&path(state_dir))?;
    if files::read_ours(&path).is_ok_and(|kept| kept.bytes == text.as_bytes()) {
        return Ok(());
    }
    replace::replace(&path, text.as_bytes(), None)
}

/// The kept configuration, its secrets found again in the broken file; says in its [`Config::broken`] what is wrong with that.
pub(crate) fn instead(state_dir: &Path, broken: &Path, host: &Host, error: &ConfigError) -> Option<Config> {
    let kept = files::read_ours(&path(state_dir)).ok()?;
    let kept = String::from_utf8(kept.bytes).ok()?;
    let text = files::read(broken).map(|snapshot| String::from_utf8_lossy(&snapshot.bytes).into_owned());
    let restored = restore(&kept, text.as_deref().unwrap_or_default());
    let mut config = parse(&Source::new(broken, &restored, true, host)).ok()?;
    let place = host.tilde(Path::new(&error.place));
    config.broken = Some(format!("{place}: {}", error.message));
    config.path = Some(broken.to_owned());
    Some(config)
}

fn mark(key: &str, raw: &str) -> String {
    let hash = Sha256::digest(raw.as_bytes());
    format!("{MARK}{key}:{:02x}{:02x}", hash[0], hash[1])
}

/// The text with every possible secret as its mark; `None` where it is no TOML.
fn mask(text: &str) -> Option<String> {
    let document = DeTable::parse(text).ok()?;
    let mut spans = Vec::new();
    for (key, value) in document.get_ref() {
        if matches!(&**key.get_ref(), "channel" | "heartbeat") {
            collect("", value, &mut spans);
        }
    }
    spans.sort_by_key(|(span, _): &(Range<usize>, String)| std::cmp::Reverse(span.start));
    let mut out = text.to_owned();
    for (span, key) in spans {
        // between the quotes; a text of several lines is never found again, and its section then left out
        let longer = ["\"\"\"", "'''"]
            .iter()
            .any(|begin| text[span.clone()].starts_with(begin));
        let quotes = if longer { 3 } else { 1 };
        let inner = span.start + quotes..span.end.checked_sub(quotes)?;
        let mark = mark(&key, text.get(inner.clone())?);
        out.replace_range(inner, &mark);
    }
    Some(out)
}

fn collect(key: &str, value: &Spanned<DeValue<'_>>, spans: &mut Vec<(Range<usize>, String)>) {
    match value.get_ref() {
        DeValue::String(_) => {
            let named = key.ends_with("_file") || key.ends_with("_env");
            if !named && !HARMLESS.contains(&key) {
                spans.push((value.span(), key.to_owned()));
            }
        }
        DeValue::Array(items) => items.iter().for_each(|item| collect(key, item, spans)),
        DeValue::Table(table) => {
            for (key, value) in table {
                collect(key.get_ref(), value, spans);
            }
        }
        _ => {}
    }
}

/// The kept text with its marks replaced by what is found in the broken one, without the sections of those that are not.
fn restore(kept: &str, broken: &str) -> String {
    let mut out = String::new();
    for section in sections(kept) {
        let mut whole = String::new();
        let mut rest = section;
        let mut lost = false;
        while let Some(at) = rest.find(MARK) {
            whole.push_str(&rest[..at]);
            let end = rest[at..].find(['"', '\'']).map_or(rest.len(), |end| at + end);
            match found(&rest[at..end], broken) {
                Some(raw) => whole.push_str(raw),
                None => lost = true,
            }
            rest = &rest[end..];
        }
        whole.push_str(rest);
        if !lost {
            out.push_str(&whole);
        }
    }
    out
}

/// The text in pieces that each begin with a `[table]`.
fn sections(text: &str) -> Vec<&str> {
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with('[') && at > 0 {
            starts.push(at);
        }
        at += line.len();
    }
    starts.push(text.len());
    starts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

/// The text of this mark, where a line of the broken file has it under the same key.
fn found<'b>(wanted: &str, broken: &'b str) -> Option<&'b str> {
    let key = wanted.strip_prefix(MARK)?.rsplit_once(':')?.0;
    let of_key = broken.lines().filter(|line| {
        let rest = line.trim_start().strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    });
    let mut candidates = of_key.flat_map(|line| line.split(['"', '\'']));
    candidates.find(|raw| mark(key, raw) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[renew]\nmode = \"off\"\n# mine\n[[channel]]\ntype = \"ntfy\"\nname = \"phone\"\ntopic = \"canary-topic\"\n\
        [[channel]]\ntype = \"command\"\ncommand = [\"curl\", \"-H\", \"canary-header\"]\n[heartbeat]\nurl_file = \"~/url\"\n";

    #[test]
    fn no_secret_is_kept_and_each_is_found_again() {
        let kept = mask(TEXT).unwrap();
        assert!(
            !kept.contains("canary") && kept.contains("~/url") && kept.contains("\"phone\""),
            "{kept}"
        );
        assert_eq!(restore(&kept, TEXT), TEXT);
        // broken elsewhere: a quote is lost in one line, the rest is found
        let broken = TEXT.replace("mode = \"off\"", "mode = \"of");
        assert_eq!(restore(&kept, &broken), TEXT);
        let lost = restore(&kept, &TEXT.replace("canary-topic", "other"));
        assert!(
            !lost.contains("ntfy") && lost.contains("canary-header") && lost.contains("[heartbeat]"),
            "{lost}"
        );
        assert!(!restore(&kept, "").contains(MARK));
    }
}
