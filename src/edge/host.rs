//! The machine and its user as data, and the clock.

use crate::types::Moment;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The machine and user as data, so that a pass can be run on any home with any environment.
#[derive(Clone, Debug)]
pub struct Host {
    /// The user's home.
    pub home: PathBuf,
    /// The environment as read once by `main`; never logged.
    pub env: BTreeMap<String, String>,
    /// The working directory, for relative paths in the environment.
    pub cwd: PathBuf,
    /// The host's name, for alerts.
    pub name: String,
    /// Whether Claude Code keeps its login in the macOS Keychain here.
    pub macos: bool,
    /// The words that start this program again as it was started: its absolute path and the global options.
    pub own: Vec<String>,
}

impl Host {
    /// An environment variable; `None` where it is not set.
    pub(crate) fn var(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    /// An environment variable that is set to more than white space, trimmed, as the agents read theirs.
    pub(crate) fn var_nonblank(&self, name: &str) -> Option<&str> {
        self.var(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// A directory of the XDG base directories: the variable's where it is absolute, else `fallback` below the home.
    pub(crate) fn xdg(&self, name: &str, fallback: &str) -> PathBuf {
        match self.var_nonblank(name).map(PathBuf::from) {
            Some(dir) if dir.is_absolute() => dir,
            _ => self.home.join(fallback),
        }
    }

    /// A path from the environment or a foreign file: `~` expanded, relative ones against the working directory.
    pub(crate) fn path(&self, text: &str) -> PathBuf {
        self.cwd.join(expand_home(text, &self.home))
    }

    /// A path as people read it: the home as `~`.
    pub(crate) fn tilde(&self, path: &Path) -> String {
        match path.strip_prefix(&self.home) {
            Ok(rest) if rest.as_os_str().is_empty() => "~".into(),
            Ok(rest) => format!("~/{}", rest.display()),
            Err(_) => path.display().to_string(),
        }
    }

    /// Whether this is Termux, told at run time as its own tools do: a static Linux build runs there too.
    pub(crate) fn termux(&self) -> bool {
        self.env.contains_key("TERMUX_VERSION") || self.var("PREFIX") == Some("/data/data/com.termux/files/usr")
    }

    /// These, and further ones, as a child is given them.
    pub(crate) fn child<'a>(&'a self, more: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(OsString, OsString)> {
        let all = self.child_env().chain(more);
        all.map(|(name, value)| (name.into(), value.into())).collect()
    }

    /// The variables that a child needs, and no other: nothing that could hold a secret is handed on.
    pub(crate) fn child_env(&self) -> impl Iterator<Item = (&str, &str)> {
        const KEPT: [&str; 20] = [
            "PATH",
            "HOME",
            "USER",
            "LOGNAME",
            "SHELL",
            "LANG",
            "TZ",
            "TERM",
            "TMPDIR",
            "PREFIX",
            "LD_PRELOAD",
            "XDG_RUNTIME_DIR",
            "DBUS_SESSION_BUS_ADDRESS",
            "DISPLAY",
            // Android's `am`, and so every termux-* command, starts with these alone
            "BOOTCLASSPATH",
            "DEX2OATBOOTCLASSPATH",
            "SYSTEMSERVERCLASSPATH",
            "EXTERNAL_STORAGE",
            "ASEC_MOUNTPOINT",
            "LOOP_MOUNTPOINT",
        ];
        self.env
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| {
                KEPT.contains(name)
                    || name.starts_with("LC_")
                    || name.starts_with("TERMUX_")
                    || name.starts_with("ANDROID_")
            })
    }
}

/// Where the time comes from; only this module asks the system.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// The system's.
    System,
    /// Always the same moment (`--at`, tests).
    Fixed(Moment),
}

impl Clock {
    /// Now.
    pub fn now(self) -> Moment {
        match self {
            #[expect(clippy::disallowed_methods, reason = "this is the clock")]
            Self::System => {
                let now = Moment::at(chrono::Utc::now().timestamp_millis());
                #[cfg(test)]
                let now = now + super::step::ahead().as_millis() as crate::types::Ms;
                now
            }
            Self::Fixed(at) => at,
        }
    }
}

/// A moment in the user's time zone; none of one too far away for a calendar.
pub(crate) fn local(at: Moment) -> Option<chrono::DateTime<chrono::Local>> {
    use chrono::TimeZone;
    chrono::Local.timestamp_millis_opt(at.ms()).single()
}

/// A time of a day in the user's time zone; one that the change to summer time skips is an hour later.
pub(crate) fn at_clock(day: chrono::NaiveDate, hour: u32, minute: u32) -> Option<Moment> {
    let at = |hour| {
        day.and_hms_opt(hour, minute, 0)?
            .and_local_timezone(chrono::Local)
            .earliest()
    };
    let at = at(hour).or_else(|| at(hour + 1))?;
    Some(Moment::at(at.timestamp_millis()))
}

/// A point from which to measure how long something took. Patience is all it is for: no decision about a login rests on it.
pub(crate) fn monotonic() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    let now = Instant::now();
    #[cfg(test)]
    let now = now + super::step::ahead();
    now
}

/// How long that was ago.
pub(crate) fn since(begun: Instant) -> std::time::Duration {
    monotonic().saturating_duration_since(begun)
}

/// `~` and `~/x` with the home filled in; anything else as it is.
pub(crate) fn expand_home(text: &str, home: &Path) -> PathBuf {
    match text.strip_prefix('~') {
        Some("") => home.to_owned(),
        Some(rest) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(text),
    }
}
