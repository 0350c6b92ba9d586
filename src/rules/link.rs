//! What is remembered about a link between OpenClaw's agents and a login, and the alerts about it.

use super::alert::Alert;
use super::openclaw::Reloaded;
use crate::cause::Cause;
use crate::secret::Fingerprint;
use crate::types::{Moment, Severity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A link; by the state directory that it is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// The login's id.
    pub(crate) login: String,
    /// The profile that refers to it.
    pub(crate) id: String,
    /// The agents that have this profile.
    pub(crate) agents: Vec<String>,
    /// A copy of the config as it was before is kept.
    #[serde(default)]
    pub(crate) before: bool,
    /// The last access token that the gateway was asked to load, whether or not that worked.
    pub(crate) reloaded: Option<Fingerprint>,
    /// What went wrong with that.
    pub(crate) trouble: Option<Trouble>,
}

/// Why a gateway was not told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    /// When.
    pub(crate) at: Moment,
    /// In words.
    pub(crate) why: String,
    /// What it is about.
    #[serde(default)]
    pub(crate) what: What,
    /// It was so for the token before this one as well, which has ended or ends soon.
    #[serde(default)]
    pub(crate) again: bool,
}

/// What is amiss with a gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// It was not asked to load the new token.
    #[default]
    NotTold,
    /// It was, and has warnings.
    Warns,
    /// It uses the new token once it is restarted.
    Restart,
}

impl Trouble {
    /// What went wrong with a reload, if anything did; `before` is what went wrong with the one before it.
    pub(crate) fn of(reloaded: &Reloaded, at: Moment, before: Option<&Self>) -> Option<Self> {
        let (what, why) = match reloaded {
            Reloaded::Done | Reloaded::NoGateway => return None,
            Reloaded::Warnings(1) => (What::Warns, "a warning is in its log".into()),
            Reloaded::Warnings(count) => (What::Warns, format!("{count} warnings are in its log")),
            Reloaded::Restart(why) => (What::Restart, why.clone()),
            Reloaded::Failed(why) => (What::NotTold, why.clone()),
        };
        let again = before.is_some_and(|before| before.what == what);
        Some(Self { at, why, what, again })
    }
}

/// The kinds of the alert.
pub(crate) const RELOAD_FAILED: &str = "reload_failed";
pub(crate) const RELOAD_WARNINGS: &str = "reload_warnings";
pub(crate) const RESTART_GATEWAY: &str = "restart_gateway";

/// An alert for each gateway that did not load a new token, or not cleanly. That one must be restarted is sent once, as info, and is a
/// warning when that was not done by the next token.
pub(crate) fn alerts(links: &BTreeMap<String, Link>) -> Vec<Alert> {
    let one = |(dir, link): (&String, &Link)| {
        let trouble = link.trouble.as_ref()?;
        let (kind, severity) = match trouble.what {
            What::NotTold => (RELOAD_FAILED, Severity::Warning),
            What::Warns => (RELOAD_WARNINGS, Severity::Warning),
            What::Restart if trouble.again => (RESTART_GATEWAY, Severity::Warning),
            What::Restart => (RESTART_GATEWAY, Severity::Info),
        };
        let lapsed = severity > Severity::Info;
        Some(Alert {
            lapsed,
            ends: lapsed.then_some(trouble.at),
            path: Some(dir.clone()),
            detail: Some(trouble.why.clone()),
            ..Alert::new(Cause::Reload(dir.clone()), kind, severity)
        })
    };
    links.iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::at(1_769_000_000_000);

    #[test]
    fn what_a_gateway_did_not_load_is_an_alert_and_louder_the_second_time() {
        for (reloaded, first, second) in [
            (Reloaded::Done, None, None),
            (Reloaded::NoGateway, None, None),
            (
                Reloaded::Warnings(1),
                Some((RELOAD_WARNINGS, Severity::Warning, "a warning is in its log")),
                Some(Severity::Warning),
            ),
            (
                Reloaded::Warnings(2),
                Some((RELOAD_WARNINGS, Severity::Warning, "2 warnings are in its log")),
                Some(Severity::Warning),
            ),
            (
                Reloaded::Failed("why".into()),
                Some((RELOAD_FAILED, Severity::Warning, "why")),
                Some(Severity::Warning),
            ),
            (
                Reloaded::Restart("why".into()),
                Some((RESTART_GATEWAY, Severity::Info, "why")),
                Some(Severity::Warning),
            ),
        ] {
            let of = |before: Option<&Trouble>| {
                let trouble = Trouble::of(&reloaded, NOW, before);
                let link = Link {
                    login: "claude".into(),
                    id: "p".into(),
                    agents: Vec::new(),
                    before: false,
                    reloaded: None,
                    trouble: trouble.clone(),
                };
                let alert = alerts(&BTreeMap::from([("~/.openclaw".to_owned(), link)])).pop();
                if let Some(alert) = &alert {
                    let lapsed = alert.severity == Severity::Warning;
                    assert_eq!((alert.lapsed, alert.ends), (lapsed, lapsed.then_some(NOW)));
                    assert_eq!(alert.path.as_deref(), Some("~/.openclaw"));
                    assert_eq!(alert.id, Cause::Reload("~/.openclaw".into()));
                }
                (trouble, alert)
            };
            let (trouble, alert) = of(None);
            let said = alert.as_ref().map(|alert| {
                let detail = alert.detail.as_deref().unwrap_or_default();
                (alert.kind.as_str(), alert.severity, detail)
            });
            assert_eq!(said, first);
            assert_eq!(
                of(trouble.as_ref()).1.map(|alert| alert.severity),
                second,
                "{reloaded:?}"
            );
            // something else was the matter before
            let other = Trouble {
                what: match trouble.as_ref().map(|trouble| trouble.what) {
                    Some(What::NotTold) => What::Warns,
                    _ => What::NotTold,
                },
                at: NOW,
                why: String::new(),
                again: false,
            };
            assert_eq!(
                of(Some(&other)).1.map(|alert| alert.severity),
                alert.map(|alert| alert.severity)
            );
        }
    }
}
