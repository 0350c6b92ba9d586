//! A look in the form of the monitoring plugins' convention (Monitoring Plugins Development Guidelines): one line with the state and
//! performance data behind a `|`, then long text; 0 is OK, 1 warning, 2 critical, 3 unknown.

use crate::rules::alert::Alert;
use crate::rules::view::View;
use crate::types::{Moment, Ms, Severity};
use std::fmt::Write;

/// So many lines of long text: a remote agent cuts what it passes on to a few kilobytes.
const LINES: usize = 20;

/// The four states of the convention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PluginState {
    /// 0.
    Ok,
    /// 1.
    Warning,
    /// 2.
    Critical,
    /// 3.
    Unknown,
}

impl PluginState {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// The state: the worse of the judged exit code (the agents' own: 1 lapsed, 2 expiring) and the loudest alert that fires.
pub(crate) fn state(exit: u8, firing: &[Alert]) -> PluginState {
    let judged = match exit {
        0 => PluginState::Ok,
        1 => PluginState::Critical,
        2 => PluginState::Warning,
        _ => PluginState::Unknown,
    };
    match firing.iter().map(|alert| alert.severity).max() {
        Some(Severity::Critical) if judged != PluginState::Unknown => PluginState::Critical,
        Some(Severity::Warning) if judged == PluginState::Ok => PluginState::Warning,
        _ => judged,
    }
}

/// The whole text. The first of `lines` goes into the first line; `ends` is each login's name with the moment at which it needs
/// a human, and `warn` how long before that it is called expiring, [`Ms`].
pub(crate) fn text(
    state: PluginState,
    lines: &[String],
    ends: &[(String, Option<Moment>)],
    warn: Ms,
    now: Moment,
) -> String {
    let first = lines
        .first()
        .map_or_else(|| "nothing to say".into(), |line| plain(line));
    let mut out = format!("NOLAPSE {} - {first}", state.word());
    for (i, (name, end)) in ends.iter().enumerate() {
        out.push_str(if i == 0 { " | " } else { " " });
        // `U` is how the convention says that a value is not known; `10:` alerts below ten
        match end {
            Some(end) => {
                let left = (*end - now).max(0) / 1000;
                let _ = write!(out, "'{}'={left}s;{}:;1:;0", label(name), warn / 1000);
            }
            None => {
                let _ = write!(out, "'{}'=U", label(name));
            }
        }
    }
    out.push('\n');
    for line in lines.iter().skip(1).take(LINES) {
        out.push_str(&plain(line));
        out.push('\n');
    }
    if lines.len() > LINES + 1 {
        let _ = writeln!(out, "and {} more", lines.len() - LINES - 1);
    }
    out
}

/// Each login with the moment at which it needs a human, where that is known.
pub(crate) fn ends(view: &View) -> Vec<(String, Option<Moment>)> {
    let one = |login: &crate::rules::view::LoginView| (login.id().to_owned(), login.verdict.ends);
    view.logins.iter().map(one).collect()
}

/// A line of text: a `|` would begin the performance data.
fn plain(text: &str) -> String {
    crate::visible::line(text).replace('|', "¦")
}

/// A label within quotes: no `=`, and a quote is doubled.
fn label(name: &str) -> String {
    plain(name).replace('=', "_").replace('\'', "''")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::DAY;

    const NOW: Moment = Moment::at(1_769_000_000_000);

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn what_a_plugin_says() {
        let ends = |ends: &[(&str, Option<Moment>)]| -> Vec<(String, Option<Moment>)> {
            ends.iter().map(|(name, end)| ((*name).to_owned(), *end)).collect()
        };
        for (state, said, logins, text_wanted) in [
            (PluginState::Ok, &["fine"][..], &[][..], "NOLAPSE OK - fine\n"),
            (
                PluginState::Ok,
                &["1 login"],
                &[("claude", Some(NOW + 20 * DAY))],
                "NOLAPSE OK - 1 login | 'claude'=1728000s;604800:;1:;0\n",
            ),
            (
                PluginState::Warning,
                &["a | b", "long | text", "more\nlines\u{1b}[31m"],
                &[("it's=x|y", Some(NOW - DAY)), ("env", None)],
                "NOLAPSE WARNING - a ¦ b | 'it''s_x¦y'=0s;604800:;1:;0 'env'=U\nlong ¦ text\nmore\\u000alines\\u001b[31m\n",
            ),
            (
                PluginState::Critical,
                &["x"],
                &[("claude", Some(NOW + 1999))],
                "NOLAPSE CRITICAL - x | 'claude'=1s;604800:;1:;0\n",
            ),
            (PluginState::Unknown, &[], &[], "NOLAPSE UNKNOWN - nothing to say\n"),
        ] {
            assert_eq!(text(state, &lines(said), &ends(logins), 7 * DAY, NOW), text_wanted);
        }
    }

    #[test]
    fn the_state_is_the_worse_of_what_is_judged_and_what_fires() {
        use PluginState::{Critical, Ok, Unknown, Warning};
        for (exit, firing, wanted) in [
            (0, None, Ok),
            (0, Some(Severity::Info), Ok),
            (0, Some(Severity::Warning), Warning),
            (0, Some(Severity::Critical), Critical),
            (1, Some(Severity::Warning), Critical),
            (2, None, Warning),
            (2, Some(Severity::Critical), Critical),
            (3, None, Unknown),
            (3, Some(Severity::Warning), Unknown),
            (3, Some(Severity::Critical), Unknown),
        ] {
            let alerts: Vec<Alert> = firing
                .into_iter()
                .flat_map(|severity| [severity, Severity::Info])
                .map(|severity| Alert::new("login:claude", "missing", severity))
                .collect();
            assert_eq!(state(exit, &alerts), wanted, "{exit} {firing:?}");
        }
    }

    #[test]
    fn long_text_is_bounded() {
        let said = |count: usize| text(PluginState::Ok, &vec!["x".to_owned(); count], &[], DAY, NOW);
        assert!(!said(LINES + 1).contains("more") && said(LINES + 2).ends_with("and 1 more\n"));
        let many: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        let text = text(PluginState::Critical, &many, &[], DAY, NOW);
        assert_eq!(text.lines().count(), 1 + LINES + 1);
        assert!(text.ends_with("20\nand 79 more\n"), "{text}");
    }
}
