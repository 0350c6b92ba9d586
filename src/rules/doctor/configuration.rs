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

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::Facts;

    fn broken(facts: &mut Facts, place: &str, message: &str, hint: &str) {
        facts.config.shown = "~/c.toml".into();
        facts.config.error = Some((place.into(), message.into(), hint.into()));
    }

    const WORLDS: &[World] = &[
        (
            |facts| facts.config.loose = vec![(spot("~/c.toml"), 0o644, true), (spot("~/key"), 0o604, false)],
            r#"
secret_readable broken /h/c.toml
`~/c.toml` holds a secret of the configuration and has mode 0644
others on this host can read it, and nolapse refuses to use it
$ chmod 600 ~/c.toml | fix /h/c.toml
secret_readable broken /h/key
`~/key` holds a secret of the configuration and has mode 0604
others on this host can read it, and nolapse refuses to use it
$ chmod 600 ~/key"#,
        ),
        (
            |facts| {
                facts.config.open = Some(("others can write it".into(), "run `chmod go-w ~/c.toml`".into()));
                broken(facts, "~/c.toml", "others can write it", "hint");
            },
            r#"
config_open broken -
`~/c.toml`: others can write it
it names programs that nolapse runs, and who is notified
$ chmod go-w ~/c.toml"#,
        ),
        (
            |facts| {
                facts.config.open = Some(("others can write it".into(), "hint".into()));
                broken(facts, "~/c.toml:3", "unknown key `x`", "remove it");
            },
            r#"
config_invalid broken -
~/c.toml:3: unknown key `x`
no pass can use it; the checks below used the defaults
remove it
config_open broken -
`~/c.toml`: others can write it
it names programs that nolapse runs, and who is notified
hint"#,
        ),
        (
            |facts| broken(facts, "~/c.toml", "mode", "run `chmod 600 ~/c.toml`"),
            r#"
config_invalid broken -
~/c.toml: mode
no pass can use it; the checks below used the defaults
$ chmod 600 ~/c.toml"#,
        ),
        (
            |facts| {
                facts.config.loose = vec![(spot("~/c.toml"), 0o644, true)];
                broken(facts, "~/c.toml", "mode", "run `chmod 600 ~/c.toml`");
            },
            r#"
secret_readable broken /h/c.toml
`~/c.toml` holds a secret of the configuration and has mode 0644
others on this host can read it, and nolapse refuses to use it
$ chmod 600 ~/c.toml | fix /h/c.toml"#,
        ),
        (
            |facts| {
                facts.config.loose = vec![(spot("~/c.toml"), 0o644, true)];
                broken(facts, "~/c.toml:3", "unknown key `x`", "remove it");
            },
            r#"
config_invalid broken -
~/c.toml:3: unknown key `x`
no pass can use it; the checks below used the defaults
remove it
secret_readable broken /h/c.toml
`~/c.toml` holds a secret of the configuration and has mode 0644
others on this host can read it, and nolapse refuses to use it
$ chmod 600 ~/c.toml | fix /h/c.toml"#,
        ),
    ];

    #[test]
    fn what_is_said_of_each_world() {
        each(WORLDS);
    }
}
