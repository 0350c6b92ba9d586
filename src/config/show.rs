//! The configuration in force, key by key: what holds, and where it comes from. What is printed is a configuration again, in which
//! each secret is masked.

use super::written::heading;
use crate::edge::host::expand_home;
use crate::rules::keys::{self, Key, Kind, SECTIONS, Section, Without};
use crate::secret::SecretUrl;
use crate::table::Source;
use std::fmt::Write;
use toml::de::{DeTable, DeValue};

/// What is shown beside the file.
pub(crate) struct Shown<'a> {
    /// The file, if it exists.
    pub(crate) source: Option<&'a Source<'a>>,
    /// How people read its path.
    pub(crate) path: &'a str,
    /// The channels that were found by themselves: type and name.
    pub(crate) found: &'a [(&'a str, &'a str)],
}

/// Every table with every key. The file is one that was read without an error before.
pub(crate) fn show(shown: &Shown<'_>) -> String {
    let text = shown.source.map_or("", |source| source.text);
    let Ok(document) = DeTable::parse(text) else {
        return String::new();
    };
    let from = shown.source.map_or("the defaults, without a file", |_| shown.path);
    let mut out = format!("# {from}; secrets are masked: to read, not to use\n");
    let mut done: Vec<&str> = Vec::new();
    for section in SECTIONS {
        if done.contains(&section.name) {
            continue;
        }
        done.push(section.name);
        let value = document.get_ref().get(section.name).map(|value| value.get_ref());
        match value {
            Some(DeValue::Table(items)) => block(&mut out, shown, section, Some(items)),
            Some(DeValue::Array(list)) => {
                for item in list.iter() {
                    if let DeValue::Table(items) = item.get_ref() {
                        block(&mut out, shown, section, Some(items));
                    }
                }
            }
            _ if section.name == "channel" => {
                for (word, name) in shown.found {
                    let _ = write!(
                        out,
                        "\n[[channel]]  # found by itself\ntype = \"{word}\"\nname = \"{name}\"\n"
                    );
                    for key in keys::of("channel", Some(word)) {
                        if !matches!(key.name, "type" | "name") {
                            line(&mut out, shown, key, None);
                        }
                    }
                }
            }
            _ if !section.repeated && needs_nothing(section.keys) => block(&mut out, shown, section, None),
            _ => {
                let _ = write!(out, "\n# no {}\n", heading(section));
            }
        }
    }
    out
}

/// A table whose every key may be left out is in force without being named.
fn needs_nothing(keys: &[Key]) -> bool {
    !keys.iter().any(|key| matches!(key.without, Without::Needed(_)))
}

fn block(out: &mut String, shown: &Shown<'_>, section: &Section, items: Option<&DeTable<'_>>) {
    let _ = write!(out, "\n{}\n", heading(section));
    let of_type = items.and_then(|items| items.get("type")?.get_ref().as_str());
    for key in keys::of(section.name, of_type) {
        line(out, shown, key, items);
    }
}

fn line(out: &mut String, shown: &Shown<'_>, key: &Key, items: Option<&DeTable<'_>>) {
    let mut ways = vec![key.name.to_owned()];
    if key.kind.may_be_elsewhere() {
        ways.extend([format!("{}_file", key.name), format!("{}_env", key.name)]);
    }
    for (i, way) in ways.iter().enumerate() {
        let Some(value) = items.and_then(|items| items.get(way.as_str())) else {
            continue;
        };
        let at = shown.source.map_or(0, |source| source.line(value.span().start));
        let mut from = format!("{}:{at}", shown.path);
        let text = match (i, key.kind) {
            (0, kind) => given(shown, kind, value.get_ref()),
            (1, _) => given(shown, Kind::Path, value.get_ref()),
            _ => {
                from.push_str(", from the environment");
                given(shown, Kind::Text, value.get_ref())
            }
        };
        if i == 0 && matches!(key.kind, Kind::Secret(_) | Kind::SecretUrl) {
            from.push_str(", masked");
        }
        let _ = writeln!(out, "{way} = {text}  # {from}");
        return;
    }
    let _ = match key.without {
        Without::Default(value) => writeln!(out, "{} = {value}  # default", key.name),
        Without::Else(words, _) => writeln!(out, "# {}: {words}  # default", key.name),
        // the reader refused that
        Without::Needed(_) => Ok(()),
    };
}

/// A value as it is written, in one line; a secret by its mask.
fn given(shown: &Shown<'_>, kind: Kind, value: &DeValue<'_>) -> String {
    match (kind, value) {
        (Kind::Secret(mask), _) => quoted(mask),
        (Kind::SecretUrl | Kind::Url, DeValue::String(text)) => quoted(&masked_url(kind, text)),
        (Kind::Program, DeValue::String(text)) if !text.contains('/') => quoted(text),
        (Kind::Path | Kind::Program, DeValue::String(text)) => quoted(&resolved(shown, text)),
        (_, DeValue::String(text)) => quoted(text),
        (_, DeValue::Array(items)) => {
            let items: Vec<String> = items.iter().map(|item| given(shown, kind, item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        (_, DeValue::Integer(number)) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()),
        (_, DeValue::Boolean(value)) => value.to_string(),
        // no key takes one
        (_, DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_)) => "\"\"".into(),
    }
}

/// A URL that holds nothing to hide is shown whole.
fn masked_url(kind: Kind, text: &str) -> String {
    match kind == Kind::Url && !crate::table::holds_a_secret(text) {
        true => text.to_owned(),
        false => SecretUrl::new(text.trim()).shown(),
    }
}

/// A path as it is from anywhere: one below the configuration's directory by its whole name.
fn resolved(shown: &Shown<'_>, text: &str) -> String {
    let Some(source) = shown.source else {
        return text.to_owned();
    };
    let path = expand_home(text, source.home);
    match source.path.parent() {
        Some(dir) if path.is_relative() => dir.join(path).display().to_string(),
        _ => text.to_owned(),
    }
}

/// As TOML's basic string, which JSON's is but for what nobody writes.
fn quoted(text: &str) -> String {
    serde_json::to_string(text)
        .unwrap_or_default()
        .replace('\u{7f}', "\\u007F")
}
