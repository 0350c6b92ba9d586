//! A strict reader of one TOML table: every key is asked for by name and type, and what was not asked for is an error that
//! names the nearest key that was. All errors name file, line, key and remedy.

use crate::edge::files;
use crate::edge::host::{Host, expand_home};
use crate::rules::keys::{self, Kind};
use crate::secret::{Secret, SecretUrl};
use crate::types::{DAY, HOUR, MINUTE, Ms, SECOND};
use crate::visible;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Keys whose text may have lines: a message, and a program's arguments.
const MULTILINE: [&str; 2] = ["body", "command"];

/// What is wrong with a configuration, where, and what to do. Exit code 3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}\nhint: {hint}")]
pub struct ConfigError {
    /// `path:line` or `path`.
    pub(crate) place: String,
    /// What is wrong, naming the key.
    pub message: String,
    /// The remedy.
    pub hint: String,
}

impl ConfigError {
    /// About a file as a whole.
    pub(crate) fn of_file(path: &Path, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            place: path.display().to_string(),
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// The file behind a table: its text (for line numbers), whether inline secrets are allowed, and how to resolve paths.
pub struct Source<'a> {
    /// Where it was read from.
    pub path: &'a Path,
    /// Its text.
    pub text: &'a str,
    /// Whether the file is readable by its owner alone, so that a secret may stand in it.
    pub private: bool,
    /// What `~` stands for.
    pub home: &'a Path,
    /// The environment, for `*_env` keys.
    pub env: &'a BTreeMap<String, String>,
}

impl<'a> Source<'a> {
    /// The file at `path` with this text, read for `host`.
    pub(crate) fn new(path: &'a Path, text: &'a str, private: bool, host: &'a Host) -> Self {
        Self {
            path,
            text,
            private,
            home: &host.home,
            env: &host.env,
        }
    }

    /// The 1-based line of a byte offset.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.text.as_bytes()[..offset.min(self.text.len())]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1
    }

    fn error(&self, at: &Range<usize>, message: String, hint: impl Into<String>) -> ConfigError {
        ConfigError {
            place: format!("{}:{}", self.path.display(), self.line(at.start)),
            message: without_secrets(&message),
            hint: without_secrets(&hint.into()),
        }
    }
}

/// A message in which a quoted value that may be a secret is left out: one stands under the wrong key now and then.
fn without_secrets(message: &str) -> String {
    let quoted = message.split('`').enumerate();
    let parts = quoted.map(|(n, part)| if n % 2 == 1 && may_be_secret(part) { "…" } else { part });
    visible::line(&parts.collect::<Vec<_>>().join("`")).into_owned()
}

/// The prefixes by which services mark their keys, or a word as only machines make them. No path: those begin with `/` or `~`.
fn may_be_secret(word: &str) -> bool {
    const MARKS: [&str; 12] = [
        "sk-",
        "sk_",
        "pk_",
        "xox",
        "xapp-",
        "ghp_",
        "gho_",
        "github_pat_",
        "glpat-",
        "tk_",
        "whsec_",
        "eyJ",
    ];
    let has = |kind: fn(&char) -> bool| word.chars().any(|c| kind(&c));
    let made = word.len() >= 20
        && !word.starts_with(['/', '~'])
        && !word.contains(char::is_whitespace)
        && has(char::is_ascii_digit)
        && has(char::is_ascii_uppercase)
        && has(char::is_ascii_lowercase);
    made || MARKS.iter().any(|mark| word.starts_with(mark))
}

/// One table being read. Call `Table::finish` when all keys were asked for.
pub struct Table<'a> {
    source: &'a Source<'a>,
    name: String,
    span: Range<usize>,
    items: &'a DeTable<'a>,
    asked: RefCell<Vec<String>>,
}

impl<'a> Table<'a> {
    /// Starts reading `items`, called `name` in messages (empty for the top).
    pub fn new(source: &'a Source<'a>, name: &str, span: Range<usize>, items: &'a DeTable<'a>) -> Self {
        Self {
            source,
            name: name.to_owned(),
            span,
            items,
            asked: RefCell::default(),
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }

    fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key.to_owned());
        self.items.get(key)
    }

    /// Whether the key is there, without asking for it.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.items.contains_key(key)
    }

    /// An error about `key` of this table.
    pub(crate) fn error(&self, key: &str, message: impl std::fmt::Display, hint: impl Into<String>) -> ConfigError {
        let span = |key: &str| self.items.get(key).map(|value| value.span());
        if let Some(at) = span(key) {
            return self
                .source
                .error(&at, format!("`{}` {message}", self.path_of(key)), hint);
        }
        // a secret's content is wrong, and that is elsewhere
        for way in [format!("{key}_file"), format!("{key}_env")] {
            if let (Some(at), Some(DeValue::String(name))) = (span(&way), self.items.get(&*way).map(Spanned::get_ref)) {
                let name = match way.ends_with("_file") {
                    true => self.resolve(name).display().to_string(),
                    false => name.to_string(),
                };
                let message = format!("`{}` names `{name}`, and that {message}", self.path_of(&way));
                return self.source.error(&at, message, hint);
            }
        }
        self.source
            .error(&self.span, format!("`{}` {message}", self.path_of(key)), hint)
    }

    fn wrong_type(&self, key: &str, found: &DeValue<'_>, wanted: &str) -> ConfigError {
        self.error(
            key,
            format!("is a {}, not {wanted}", found.type_str()),
            format!("write `{key}` as {wanted}"),
        )
    }

    /// A string.
    pub(crate) fn str(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        match self.get(key).map(Spanned::get_ref) {
            None => Ok(None),
            Some(DeValue::String(text)) => self.plain(key, text).map(Some),
            Some(other) => Err(self.wrong_type(key, other, "a string in quotes")),
        }
    }

    /// Refuses control characters, NUL and the line breaks of Unicode: a name with one would be written into a store, a path or a
    /// message as it is. Shown is the character and never the text, which may be a secret.
    fn plain<'t>(&self, key: &str, text: &'t str) -> Result<&'t str, ConfigError> {
        let may_break = MULTILINE.contains(&key);
        let bad = |c: &char| {
            (c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) && !(may_break && matches!(c, '\n' | '\t'))
        };
        match text.chars().find(bad) {
            None => Ok(text),
            Some(c) => Err(self.error(
                key,
                format!("holds a control character, U+{:04X}", u32::from(c)),
                "write it without",
            )),
        }
    }

    /// A string that is not empty.
    pub(crate) fn filled(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        match self.str(key)? {
            Some(text) if text.trim().is_empty() => {
                Err(self.error(key, "is empty", "write something there, or take the key out"))
            }
            text => Ok(text),
        }
    }

    /// A string that must be there.
    pub(crate) fn need_str(&self, key: &str) -> Result<&'a str, ConfigError> {
        self.str(key)?.ok_or_else(|| self.missing(key))
    }

    /// The error for a key that must be there and is not.
    pub(crate) fn missing(&self, key: &str) -> ConfigError {
        self.error(key, "is missing", format!("add `{key} = …` to this table"))
    }

    /// `true` or `false`.
    pub(crate) fn bool(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        match self.get(key).map(Spanned::get_ref) {
            None => Ok(None),
            Some(DeValue::Boolean(value)) => Ok(Some(*value)),
            Some(other) => Err(self.wrong_type(key, other, "`true` or `false`")),
        }
    }

    /// What the table of keys says of one.
    fn kind(&self, key: &str) -> Option<Kind> {
        let name = self.name.split('[').next().unwrap_or_default();
        let of_type = self.items.get("type").and_then(|value| value.get_ref().as_str());
        let all = keys::of(name, of_type);
        all.iter().find(|one| one.name == key).map(|one| one.kind)
    }

    /// A slip of ours, which the tests of the example find: every key of this kind has its bounds.
    fn unbounded(&self, key: &str) -> ConfigError {
        self.error(key, "has no bounds in this version", "report it, and take the key out")
    }

    /// A whole number within its bounds.
    pub(crate) fn int(&self, key: &str) -> Result<Option<i64>, ConfigError> {
        match self.get(key).map(Spanned::get_ref) {
            None => Ok(None),
            Some(DeValue::Integer(number)) => {
                let Some(Kind::Number(least, most)) = self.kind(key) else {
                    return Err(self.unbounded(key));
                };
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(value) if (least..=most).contains(&value) => Ok(Some(value)),
                    _ => Err(self.error(
                        key,
                        format!("is out of range: `{}`", number.as_str()),
                        format!("use a number from {least} to {most}"),
                    )),
                }
            }
            Some(other) => Err(self.wrong_type(key, other, "a whole number")),
        }
    }

    /// A duration such as `"30m"` within its bounds, in [`Ms`].
    pub(crate) fn duration(&self, key: &str) -> Result<Option<Ms>, ConfigError> {
        let Some(text) = self.str(key)? else { return Ok(None) };
        self.bounded(key, text).map(Some)
    }

    fn bounded(&self, key: &str, text: &str) -> Result<Ms, ConfigError> {
        let Some(Kind::Span(least, most) | Kind::Spans(least, most)) = self.kind(key) else {
            return Err(self.unbounded(key));
        };
        let span = parse_duration(text).ok_or_else(|| self.bad_duration(key, text))?;
        match (least..=most).contains(&span) {
            true => Ok(span),
            false => Err(self.error(
                key,
                format!("is out of range: `{text}`"),
                format!("use `{}` to `{}`", duration_text(least), duration_text(most)),
            )),
        }
    }

    fn bad_duration(&self, key: &str, text: &str) -> ConfigError {
        self.error(
            key,
            format!("is not a duration: `{text}`"),
            "write a number and a unit: `90s`, `30m`, `6h`, `7d`",
        )
    }

    /// A list of durations.
    pub(crate) fn durations(&self, key: &str) -> Result<Option<Vec<Ms>>, ConfigError> {
        let Some(list) = self.strings(key)? else {
            return Ok(None);
        };
        list.iter()
            .map(|text| self.bounded(key, text))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A list of strings.
    pub(crate) fn strings(&self, key: &str) -> Result<Option<Vec<String>>, ConfigError> {
        match self.get(key).map(Spanned::get_ref) {
            None => Ok(None),
            Some(DeValue::Array(items)) => items
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::String(text) => self.plain(key, text).map(str::to_owned),
                    other => Err(self.wrong_type(key, other, "a list of strings")),
                })
                .collect::<Result<_, _>>()
                .map(Some),
            Some(other) => Err(self.wrong_type(key, other, "a list of strings")),
        }
    }

    /// One of a closed set of words.
    pub(crate) fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.str(key)? else { return Ok(None) };
        words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| Some(*value))
            .ok_or_else(|| {
                let all: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
                let near = nearest(text, words.iter().map(|(word, _)| *word));
                let hint = match near {
                    Some(near) => format!("did you mean `{near}`? one of {}", all.join(", ")),
                    None => format!("use one of {}", all.join(", ")),
                };
                self.error(key, format!("is `{text}`"), hint)
            })
    }

    /// A path, `~` expanded; relative ones are relative to the configuration file.
    pub(crate) fn path(&self, key: &str) -> Result<Option<PathBuf>, ConfigError> {
        let Some(text) = self.str(key)? else { return Ok(None) };
        self.no_guess(key, text)?;
        Ok(Some(self.resolve(text)))
    }

    /// Refuses what a shell would have filled in and nobody does here: it would be a place below this file's directory.
    pub(crate) fn no_guess(&self, key: &str, text: &str) -> Result<(), ConfigError> {
        let of_another = text.starts_with('~') && text != "~" && !text.starts_with("~/");
        match of_another || text.starts_with('$') {
            true => Err(self.error(
                key,
                format!(
                    "begins with `{}`, which is not filled in here",
                    text.split('/').next().unwrap_or_default()
                ),
                "write it in full, or with `~/` for the home",
            )),
            false => Ok(()),
        }
    }

    fn resolve(&self, text: &str) -> PathBuf {
        let path = expand_home(text, self.source.home);
        match self.source.path.parent() {
            Some(dir) if path.is_relative() => dir.join(path),
            _ => path,
        }
    }

    /// A secret: `key` inline (only in a file that its owner alone can read), `key_file`, or `key_env`. The file's content
    /// loses its final line break.
    ///
    /// # Errors
    /// Two of the three given; a file that is missing, empty, or readable by others; a variable that is not set; inline in
    /// a file that others can read.
    pub(crate) fn secret(&self, key: &str) -> Result<Option<Secret>, ConfigError> {
        let (file_key, env_key) = (format!("{key}_file"), format!("{key}_env"));
        let inline = self.str(key)?;
        let file = self.path(&file_key)?;
        let env = self.str(&env_key)?;
        match (inline, file, env) {
            (None, None, None) => Ok(None),
            (Some(text), None, None) => {
                if !self.source.private {
                    return Err(self.error(
                        key,
                        "is a secret, and this file can be read by others",
                        format!(
                            "run `chmod 600 {}`, or move it to a file named by `{file_key}`",
                            self.source.path.display()
                        ),
                    ));
                }
                self.not_empty(key, text)
            }
            (None, Some(path), None) => {
                let read = files::read(&path).map_err(|error| {
                    self.error(
                        &file_key,
                        // not by its name: it may be the secret, under the wrong key
                        format!("names a file that cannot be read: {error}"),
                        "write the path of a file there that has the secret as its only line, mode 600, not the secret itself",
                    )
                })?;
                if read.meta.mode & 0o077 != 0 {
                    return Err(self.error(
                        &file_key,
                        format!("names `{}`, which can be read by others", path.display()),
                        format!("run `chmod 600 {}`", path.display()),
                    ));
                }
                let text = String::from_utf8_lossy(&read.bytes);
                self.not_empty(&file_key, text.trim_end_matches(['\r', '\n']))
            }
            (None, None, Some(name)) => match self.source.env.get(name) {
                Some(text) => self.not_empty(&env_key, text),
                None => Err(self.error(
                    &env_key,
                    // not by its name either
                    "names a variable that is not set",
                    "write the name of a variable there that is set in the service's environment, not the secret itself",
                )),
            },
            _ => Err(self.error(
                key,
                "is given twice",
                format!("keep one of `{key}`, `{file_key}`, `{env_key}`"),
            )),
        }
    }

    fn not_empty(&self, key: &str, text: &str) -> Result<Option<Secret>, ConfigError> {
        if text.is_empty() {
            return Err(self.error(key, "is empty", "put the secret there, or remove the key"));
        }
        self.plain(key, text)?;
        Ok(Some(Secret::new(text)))
    }

    /// A secret that must be there.
    pub(crate) fn need_secret(&self, key: &str) -> Result<Secret, ConfigError> {
        self.secret(key)?.ok_or_else(|| {
            self.error(
                key,
                "is missing",
                format!("add `{key}_file = \"…\"`, `{key}_env = \"…\"`, or `{key} = \"…\"` in a 0600 file"),
            )
        })
    }

    /// A URL that may itself be a secret: `key`, `key_file` or `key_env`. A plain inline `url` without a password or a query is
    /// allowed in a readable file only where `may_be_public`.
    pub(crate) fn url(&self, key: &str, may_be_public: bool) -> Result<Option<SecretUrl>, ConfigError> {
        let (file_key, env_key) = (format!("{key}_file"), format!("{key}_env"));
        let inline = self.str(key)?.filter(|text| may_be_public && !holds_a_secret(text));
        let secret = match inline {
            Some(text) if !self.has(&file_key) && !self.has(&env_key) => {
                self.asked.borrow_mut().extend([file_key, env_key]);
                Some(Secret::new(text))
            }
            _ => self.secret(key)?,
        };
        let Some(secret) = secret else { return Ok(None) };
        let text = secret.expose().trim();
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let plain = |rest: &str| {
            // what people read and what a program reads differ where there is a backslash
            !rest.is_empty() && !rest.starts_with('/') && !rest.contains(|c: char| c.is_whitespace() || c == '\\')
        };
        match reqwest::Url::parse(text) {
            Ok(url) if rest.is_some_and(plain) && url.host_str().is_some_and(|host| !host.is_empty()) => {
                Ok(Some(SecretUrl::new(text)))
            }
            _ => Err(self.error(
                key,
                "is not an http or https URL",
                "write it in full: `https://host/path`",
            )),
        }
    }

    /// Refuses to send `what` over plain http to another host.
    pub(crate) fn not_in_the_clear(&self, key: &str, url: &SecretUrl, what: &str) -> Result<(), ConfigError> {
        match in_the_clear(url) {
            false => Ok(()),
            true => Err(self.error(
                key,
                format!("would send {what} in the clear"),
                "use `https://`; `http://` is for this host alone",
            )),
        }
    }

    /// A sub-table.
    pub(crate) fn table(&self, key: &str) -> Result<Option<Table<'a>>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match value.get_ref() {
                DeValue::Table(items) => Ok(Some(Table::new(self.source, &self.path_of(key), value.span(), items))),
                other => Err(self.wrong_type(key, other, &format!("a table `[{}]`", self.path_of(key)))),
            },
        }
    }

    /// An array of tables, `[[key]]`.
    pub fn tables(&self, key: &str) -> Result<Vec<Table<'a>>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(Vec::new());
        };
        let wanted = format!("a list of tables `[[{}]]`", self.path_of(key));
        let DeValue::Array(items) = value.get_ref() else {
            return Err(self.wrong_type(key, value.get_ref(), &wanted));
        };
        items
            .iter()
            .enumerate()
            .map(|(i, item)| match item.get_ref() {
                DeValue::Table(inner) => Ok(Table::new(
                    self.source,
                    &format!("{}[{}]", self.path_of(key), i + 1),
                    item.span(),
                    inner,
                )),
                other => Err(self.wrong_type(key, other, &wanted)),
            })
            .collect()
    }

    /// Every key that was not asked for is an error, which names the nearest one that was.
    pub(crate) fn finish(self) -> Result<(), ConfigError> {
        let asked = self.asked.borrow();
        for (key, _) in self.items.iter() {
            let name: &str = key.get_ref();
            if asked.iter().any(|known| known == name) {
                continue;
            }
            let hint = match nearest(name, asked.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let mut known = asked.clone();
                    known.sort();
                    known.dedup();
                    format!("known here: {}", known.join(", "))
                }
            };
            return Err(self
                .source
                .error(&key.span(), format!("unknown key `{}`", self.path_of(name)), hint));
        }
        Ok(())
    }
}

/// Plain http to another host, as the client that connects reads it.
fn in_the_clear(url: &SecretUrl) -> bool {
    let Ok(url) = reqwest::Url::parse(url.expose()) else {
        return true;
    };
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    url.scheme() != "https" && host != "localhost" && !address.is_ok_and(|ip| ip.is_loopback())
}

/// Whether a URL has a user's part or a query, where passwords and tokens stand.
pub(crate) fn holds_a_secret(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.contains('@') || rest.contains('?')
}

/// The nearest of `known` to `word`, if it is near enough to be a slip.
pub(crate) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known
        .map(|k| (strsim::damerau_levenshtein(word, k), k))
        .filter(|(distance, k)| *distance <= 1 + k.len().max(word.len()) / 4)
        .min()
        .map(|(_, k)| k)
}

/// `90s`, `30m`, `6h`, `7d` or a sum of such (`1h30m`), in [`Ms`]; `None` for anything else.
pub fn parse_duration(text: &str) -> Option<Ms> {
    let mut total: Ms = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: Ms = rest[..digits].parse().ok()?;
        let unit = rest[digits..]
            .find(|c: char| c.is_ascii_digit() || c == ' ')
            .map_or(rest.len(), |i| digits + i);
        let factor = match &rest[digits..unit] {
            "ms" => 1,
            "s" => SECOND,
            "m" | "min" => MINUTE,
            "h" => HOUR,
            "d" => DAY,
            "w" => 7 * DAY,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(factor)?)?;
        rest = rest[unit..].trim_start();
    }
    Some(total)
}

/// A duration as [`parse_duration`] reads it, the units in falling order.
pub(crate) fn duration_text(duration: Ms) -> String {
    let mut out = String::new();
    let mut rest = duration;
    for (unit, word) in [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s"), (1, "ms")] {
        if rest >= unit {
            out.push_str(&format!("{}{word}", rest / unit));
            rest %= unit;
        }
    }
    if out.is_empty() { "0s".into() } else { out }
}

/// A list of glob patterns, for agents (`family/agent`) or logins.
///
/// # Errors
/// What is no list of texts, or no pattern.
pub(crate) fn globs(table: &Table<'_>, key: &str) -> Result<Option<Vec<glob::Pattern>>, ConfigError> {
    let Some(list) = table.strings(key)? else {
        return Ok(None);
    };
    let parse = |text: &String| {
        glob::Pattern::new(text).map_err(|error| {
            table.error(
                key,
                format!("holds `{text}`: {}", error.msg),
                "write `family/agent` with `*` and `?`, as `clawdbot/*`",
            )
        })
    };
    list.iter().map(parse).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_sums() {
        for (text, ms) in [
            ("30m", Some(30 * MINUTE)),
            ("7d", Some(7 * DAY)),
            ("1h30m", Some(90 * MINUTE)),
            ("1h 30m", Some(90 * MINUTE)),
            ("250ms", Some(250)),
            ("30", None),
            ("", None),
            ("m", None),
            ("5 parsecs", None),
            ("99999999999999999d", None),
        ] {
            assert_eq!(parse_duration(text), ms, "{text}");
        }
        for ms in [
            0,
            1,
            250,
            90 * MINUTE,
            30 * MINUTE,
            7 * DAY,
            DAY + 6 * HOUR + 30 * SECOND,
        ] {
            assert_eq!(parse_duration(&duration_text(ms)), Some(ms), "{ms}");
        }
        assert_eq!(duration_text(30 * MINUTE), "30m");
    }

    #[test]
    fn what_leaves_this_host_in_the_clear_is_judged_as_the_client_reads_it() {
        for (url, clear) in [
            ("https://example.org/x", false),
            ("http://example.org/x", true),
            ("http://127.0.0.1:8080/x", false),
            ("http://127.9.9.9/x", false),
            ("http://[::1]:8080/x", false),
            ("http://localhost/x", false),
            ("http://localhost.example.org/x", true),
            ("http://127.0.0.1.example.org/x", true),
            ("http://127.0.0.1@example.org/x", true),
            ("http://user@127.0.0.1/x", false),
            ("http://elsewhere\\@127.0.0.1/", true),
            ("http://example.org#@127.0.0.1/", true),
            ("http://[::ffff:127.0.0.1]/", true),
            ("ftp://127.0.0.1", false),
            ("nonsense", true),
        ] {
            assert_eq!(in_the_clear(&SecretUrl::new(url)), clear, "{url}");
        }
    }

    #[test]
    fn a_password_or_a_query_makes_a_url_a_secret() {
        for (url, secret) in [
            ("https://gotify.example.org", false),
            ("https://gotify.example.org:8443/a/b@c", false),
            ("https://u:p@gotify.example.org", true),
            ("https://token@gotify.example.org/x", true),
            ("https://gotify.example.org/x?auth=1", true),
            ("https://gotify.example.org?auth=1", true),
            ("not a url", false),
        ] {
            assert_eq!(holds_a_secret(url), secret, "{url}");
        }
    }

    #[test]
    fn the_nearest_key_is_named_only_if_it_is_near() {
        assert_eq!(nearest("shar", ["share", "profile"].into_iter()), Some("share"));
        assert_eq!(nearest("colour", ["share", "profile"].into_iter()), None);
    }
}
