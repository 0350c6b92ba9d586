//! What a finding is, and how the groups make one.

use super::super::wording::quote;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Group {
    /// Our own configuration.
    Configuration,
    /// Claude Code's logins.
    Logins,
    /// The agents' stores.
    Agents,
    /// Locks, of Claude Code and of the agents.
    Locks,
    /// Owners, modes, our state directory, room on the disk.
    Files,
    /// Channels and the heartbeat.
    Telling,
    /// Who runs nolapse, and with which `claude`.
    Running,
    /// Other hosts.
    Remotes,
    /// The time of day.
    Clock,
}

impl Group {
    /// All of them, in the order in which they are shown.
    pub(crate) const ALL: [Self; 9] = [
        Self::Configuration,
        Self::Logins,
        Self::Agents,
        Self::Locks,
        Self::Files,
        Self::Telling,
        Self::Running,
        Self::Remotes,
        Self::Clock,
    ];

    /// Its word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Logins => "logins",
            Self::Agents => "agents",
            Self::Locks => "locks",
            Self::Files => "files",
            Self::Telling => "telling",
            Self::Running => "running",
            Self::Remotes => "remotes",
            Self::Clock => "clock",
        }
    }

    /// What a person reads above its findings. The word stays for programs.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Telling => "channels",
            _ => self.word(),
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// It does not work, and a person is needed.
    Broken,
    /// It could not be told.
    Unknown,
    /// It works, and will not always.
    Warning,
    /// Good to know; counts for nothing.
    Note,
}

/// The word that JSON has.
impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// What helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// A command.
    Run(String),
    /// What no command does.
    Do(String),
}

/// What `doctor --fix` does by itself. None of it spends a token, and none but `Sync` reads one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fix {
    /// Takes permissions away.
    Mode {
        /// Of this file or directory of ours.
        path: PathBuf,
        /// The permissions that stay, at most.
        mode: u32,
    },
    /// Removes a lock whose holder died, if it still is one.
    Lock {
        /// The lock.
        path: PathBuf,
        /// A directory that was not touched for this long is stale.
        stale_after: Duration,
    },
    /// Brings a store or login up to date, as `nolapse sync` does: by its rules, under its locks.
    Sync {
        /// The store, or the login's file.
        path: PathBuf,
    },
}

impl Fix {
    /// What it is done to.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Mode { path, .. } | Self::Lock { path, .. } | Self::Sync { path } => path,
        }
    }
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// A stable word.
    pub(crate) kind: String,
    /// What it is about.
    pub(crate) group: Group,
    /// How bad it is.
    pub(crate) level: Level,
    /// The file or directory.
    pub(crate) path: Option<PathBuf>,
    /// What was found.
    pub(crate) what: String,
    /// Why it matters.
    pub(crate) why: String,
    /// What helps.
    pub(crate) remedy: Remedy,
    /// What `--fix` would do.
    pub(crate) fix: Option<Fix>,
}

impl Finding {
    pub(super) fn new(kind: &str, group: Group, level: Level, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            group,
            level,
            path: None,
            what: what.into(),
            why: why.into(),
            remedy: Remedy::Do("nothing to do".into()),
            fix: None,
        }
    }

    pub(super) fn at(mut self, path: &Path) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    pub(super) fn run(mut self, command: impl Into<String>) -> Self {
        self.remedy = Remedy::Run(command.into());
        self
    }

    pub(super) fn advice(mut self, text: impl Into<String>) -> Self {
        self.remedy = Remedy::Do(text.into());
        self
    }
}

/// A path, and how people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// The path.
    pub(crate) path: PathBuf,
    /// With `~` for the home.
    pub(crate) shown: String,
}

/// With the permissions that it has too many of taken away.
pub(super) fn private(finding: Finding, spot: &Spot, mode: u32, ours: bool) -> Finding {
    let path = spot.path.clone();
    let fix = ours.then_some(Fix::Mode { path, mode });
    let command = format!("chmod {mode:o} {}", quote(&spot.shown));
    let finding = finding.at(&spot.path).run(command);
    Finding { fix, ..finding }
}

/// A hint as others word it: a command where it is nothing else.
pub(super) fn helped(finding: Finding, hint: &str) -> Finding {
    let command = hint.strip_prefix("run `").and_then(|rest| rest.strip_suffix('`'));
    match command.filter(|command| !command.contains('`')) {
        Some(command) => finding.run(command),
        None => finding.advice(hint),
    }
}

pub(super) fn join<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_that_is_a_command_becomes_one() {
        let of = |hint: &str| helped(Finding::new("x", Group::Files, Level::Note, "w", "w"), hint).remedy;
        assert_eq!(of("run `claude update`"), Remedy::Run("claude update".into()));
        assert_eq!(of("fine if meant"), Remedy::Do("fine if meant".into()));
        assert_eq!(of("run `a` and `b`"), Remedy::Do("run `a` and `b`".into()));
    }

    #[test]
    fn names_are_told_apart_from_the_words_around_them() {
        assert_eq!(join(&["a", "b c"]), "`a`, `b c`");
        assert_eq!(join::<&str>(&[]), "");
    }
}
