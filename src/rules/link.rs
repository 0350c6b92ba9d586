//! What is remembered of a link between OpenClaw's agents and a login, and what is told of it.

use super::alert::Alert;
use crate::cause::Cause;
use crate::secret::Fingerprint;
use crate::types::{Ms, Severity};
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
    /// The access token that the gateway was told of last, by a reload or a try of one.
    #[serde(default)]
    pub(crate) reloaded: Option<Fingerprint>,
    /// What went wrong with that.
    #[serde(default)]
    pub(crate) trouble: Option<Trouble>,
}

/// Why a gateway was not told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    /// When, [`Ms`].
    pub(crate) at: Ms,
    /// In words.
    pub(crate) why: String,
}

/// The kind of the alert.
pub(crate) const RELOAD_FAILED: &str = "reload_failed";

/// An alert for each gateway that was not told of a new token.
pub(crate) fn alerts(links: &BTreeMap<String, Link>) -> Vec<Alert> {
    let one = |(dir, link): (&String, &Link)| {
        let trouble = link.trouble.as_ref()?;
        Some(Alert {
            ends: Some(trouble.at),
            path: Some(dir.clone()),
            detail: Some(trouble.why.clone()),
            ..Alert::new(Cause::Reload(dir.clone()), RELOAD_FAILED, Severity::Warning)
        })
    };
    links.iter().filter_map(one).collect()
}
