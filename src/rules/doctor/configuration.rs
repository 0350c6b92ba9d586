//! Our own configuration: whether it can be read, and by whom.

use super::{Facts, Finding, Group, Level, Spot, helped, private};

/// The configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigFact {
    /// Its path, for people.
    pub(crate) shown: String,
    /// It is there.
    pub(crate) there: bool,
    /// Place, message and hint of what is wrong with it.
    pub(crate) error: Option<(String, String, String)>,
    /// Message and hint of who else can change it.
    pub(crate) open: Option<(String, String)>,
    /// Files that hold its secrets and can be read by others, and whether they are ours.
    pub(crate) loose: Vec<(Spot, u32, bool)>,
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    use Group::Configuration as G;
    let config = &facts.config;
    let mut found = Vec::new();
    for (spot, mode, ours) in &config.loose {
        let finding = Finding::new(
            "secret_readable",
            G,
            Level::Broken,
            format!(
                "`{}` holds a secret of the configuration and has mode {mode:04o}",
                spot.shown
            ),
            "others on this host can read it, and nolapse refuses to use it",
        );
        found.push(private(finding, spot, 0o600, *ours));
    }
    if let Some((message, hint)) = &config.open {
        let finding = Finding::new(
            "config_open",
            G,
            Level::Broken,
            format!("`{}`: {message}", config.shown),
            "it names programs that nolapse runs, and who is notified",
        );
        found.push(helped(finding, hint));
    }
    let said = |message: &String| config.open.as_ref().is_some_and(|(open, _)| open == message);
    if let Some((place, message, hint)) = &config.error
        && !said(message)
        && (config.loose.is_empty() || !hint.starts_with("run `chmod"))
    {
        let finding = Finding::new(
            "config_invalid",
            G,
            Level::Broken,
            format!("{place}: {message}"),
            "no pass can use it; the checks below used the defaults",
        );
        found.push(helped(finding, hint));
    }
    found
}

pub(super) fn checked(facts: &Facts) -> Option<String> {
    Some(match (facts.config.there, &facts.config.error) {
        (false, None) => "the defaults, without a file".to_owned(),
        _ => format!("`{}`, valid; its secrets are private", facts.config.shown),
    })
}
