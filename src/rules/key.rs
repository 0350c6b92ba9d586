//! What a key of the configuration is: its kind with its bounds, and what holds without it. `super::keys` has them all.

use crate::types::Ms;

/// A table of the configuration, or one type of `[[channel]]`.
pub(crate) struct Section {
    /// Its name in the file.
    pub(crate) name: &'static str,
    /// `[[name]]`.
    pub(crate) repeated: bool,
    /// Of `[[channel]]`: the type that these keys are for; `None` for what is for every type.
    pub(crate) of_type: Option<&'static str>,
    /// What it is for, in sentences.
    pub(crate) about: &'static str,
    /// Its own keys.
    pub(crate) keys: &'static [Key],
}

/// One key.
pub(crate) struct Key {
    /// Its name within its table.
    pub(crate) name: &'static str,
    /// What it takes.
    pub(crate) kind: Kind,
    /// What holds where it is not given.
    pub(crate) without: Without,
    /// What it means, in words.
    pub(crate) about: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Bool,
    /// Text.
    Text,
    /// A path; `~` is the home, and others are relative to the configuration.
    Path,
    /// A program: a path, or a name that is looked for on the `PATH`.
    Program,
    /// One of these.
    Words(&'static [&'static str]),
    /// A whole number, both included.
    Number(i64, i64),
    /// A duration, both included, [`Ms`].
    Span(Ms, Ms),
    /// Durations, each within.
    Spans(Ms, Ms),
    /// A list of texts.
    Texts,
    /// `KEY_file`, `KEY_env`, or `KEY` in a file of mode 600. Shown as this, which has its form.
    Secret(&'static str),
    /// The same, and a URL of which the host is shown.
    SecretUrl,
    /// A URL that may stand in any file, unless a password or a query is in it.
    Url,
}

impl Kind {
    /// Whether it can be given as `KEY_file` and `KEY_env` too.
    pub(crate) fn may_be_elsewhere(self) -> bool {
        matches!(self, Self::Secret(_) | Self::SecretUrl | Self::Url)
    }
}

/// What holds where a key is not given. Values are written as in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    /// Nothing: the table needs it. An example.
    Needed(&'static str),
    /// This value.
    Default(&'static str),
    /// What the words say. And an example.
    Else(&'static str, &'static str),
}

pub(super) const fn key(name: &'static str, kind: Kind, without: Without, about: &'static str) -> Key {
    Key {
        name,
        kind,
        without,
        about,
    }
}

pub(super) const fn table(name: &'static str, about: &'static str, keys: &'static [Key]) -> Section {
    Section {
        name,
        repeated: false,
        of_type: None,
        about,
        keys,
    }
}

pub(super) const fn list(name: &'static str, about: &'static str, keys: &'static [Key]) -> Section {
    Section {
        repeated: true,
        ..table(name, about, keys)
    }
}

pub(super) const fn channel(of_type: &'static str, about: &'static str, keys: &'static [Key]) -> Section {
    Section {
        of_type: Some(of_type),
        ..list("channel", about, keys)
    }
}
