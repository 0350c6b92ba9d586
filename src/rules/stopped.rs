//! Agents that have nothing to work with although each credential by itself is fine: an order or a mode passes it over, the agent
//! holds it back, or it does not read it.

use super::alert::Alert;
use super::resolve::{PassedOver, Resolved};
use crate::rules::view::{AgentView, ProfileView, View};
use crate::types::{Affected, HOUR, Health, Ms, Severity};
use std::collections::BTreeSet;
use std::path::Path;

/// The agents hold a profile back for an hour at most after errors (clawdbot 2026.1.24-3, `calculateAuthProfileCooldownMs`); for
/// longer only where a person must pay or change something.
const LONGEST_COOLDOWN: Ms = HOUR;

/// Why an agent has stopped while nothing has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// What works is not named by the order that counts.
    NotOrdered,
    /// The config's mode refuses an `oauth` or `token` that works.
    ModeRefused,
    /// It refuses an API key that works.
    KeyRefused,
    /// The config names another provider for what works.
    OtherProvider,
    /// All that works is held back until then, [`Ms`].
    HeldBack(Ms),
    /// Its store holds entries that it does not read.
    Ignored,
}

impl Why {
    /// The alert's kind.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::NotOrdered => "not_in_order",
            Self::ModeRefused => "mode_refused",
            Self::KeyRefused => "key_refused",
            Self::OtherProvider => "other_provider",
            Self::HeldBack(_) => "held_back",
            Self::Ignored => "entries_ignored",
        }
    }
}

/// Why an agent has nothing for a provider that its models need, where that is no end of a credential.
pub(crate) fn why(agent: &AgentView, resolved: &Resolved, grace: Ms, now: Ms) -> Option<Why> {
    if resolved.uses.is_some() || !resolved.in_use {
        return None;
    }
    let ended = |profile: &&ProfileView| !profile.verdict.fine() && profile.verdict.health != Health::Expiring;
    let ended: BTreeSet<&str> = agent
        .profiles
        .iter()
        .filter(ended)
        .map(|profile| profile.profile.id.as_str())
        .collect();
    let fine = |id: &str| !ended.contains(id);
    let mut held_back = None;
    for (_, passed) in resolved.passed_over.iter().filter(|(id, _)| fine(id)) {
        match passed {
            PassedOver::HeldBack(..) => held_back = resolved.held_back_until,
            other => {
                if let Some(why) = refused(other) {
                    return Some(why);
                }
            }
        }
    }
    match held_back {
        Some(until) if until.saturating_sub(now) > grace => Some(Why::HeldBack(until)),
        Some(_) => None,
        None if !agent.aside.ignored.is_empty() && nothing_else(agent, resolved) => Some(Why::Ignored),
        None => None,
    }
}

/// What passes over a profile, whatever its health.
fn refused(passed: &PassedOver) -> Option<Why> {
    match passed {
        PassedOver::NotIn(_) => Some(Why::NotOrdered),
        PassedOver::Mode(_, "api_key") => Some(Why::KeyRefused),
        PassedOver::Mode(..) => Some(Why::ModeRefused),
        PassedOver::OtherProvider => Some(Why::OtherProvider),
        _ => None,
    }
}

/// Nothing that has ended or is no token, which would be the alert.
fn nothing_else(agent: &AgentView, resolved: &Resolved) -> bool {
    let named = |id: &str| agent.aside.ignored.iter().any(|ignored| ignored.id == id);
    resolved
        .passed_over
        .iter()
        .all(|(id, why)| matches!(why, PassedOver::Absent) || named(id))
}

/// An alert for each agent and provider.
pub(crate) fn alerts(view: &View, grace: Ms, tilde: &dyn Fn(&Path) -> String) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = Vec::new();
    let mut inherited = Vec::new();
    for agent in &view.agents {
        for resolved in &agent.uses {
            let Some(why) = why(agent, resolved, grace, view.now) else {
                continue;
            };
            let alert = alert(agent, resolved, why, view.now, tilde);
            // it has nothing of its own: what stopped the main agent stopped it
            match alert.affected.is_empty() && why != Why::Ignored && agent.agent.agent.id != "main" {
                true => inherited.push((agent, resolved, alert)),
                false => alerts.push(alert),
            }
        }
    }
    for (agent, resolved, alert) in inherited {
        let of = &agent.agent.agent;
        let main = view
            .agents
            .iter()
            .find(|main| main.agent.state_dir == agent.agent.state_dir && main.agent.agent.id == "main");
        let id = main.map(|main| format!("agent:{}#{}", main.agent.agent.label(), resolved.provider));
        let cause = alerts
            .iter_mut()
            .find(|one| Some(&one.id) == id.as_ref() && one.kind == alert.kind);
        match cause.and_then(|cause| Some((cause.affected.first()?.clone(), cause))) {
            Some((first, cause)) => cause.affected.push(Affected {
                agent: of.id.clone(),
                ..first
            }),
            None => alerts.push(alert),
        }
    }
    alerts
}

fn alert(agent: &AgentView, resolved: &Resolved, why: Why, now: Ms, tilde: &dyn Fn(&Path) -> String) -> Alert {
    let of = &agent.agent.agent;
    let passed = |id: &str| {
        resolved
            .passed_over
            .iter()
            .find(|(known, _)| known == id)
            .map(|(_, passed)| passed)
    };
    let mut profiles: Vec<_> = agent
        .profiles
        .iter()
        .filter(|profile| passed(&profile.profile.id).is_some())
        .collect();
    // what would work comes first: the remedy names it
    profiles.sort_by_key(|profile| {
        let causes = passed(&profile.profile.id).and_then(refused) == Some(why);
        !(causes && (profile.verdict.fine() || profile.verdict.health == Health::Expiring))
    });
    let affected = profiles.into_iter().map(|profile| Affected {
        family: of.family,
        named: of.named.clone(),
        agent: of.id.clone(),
        profile: profile.profile.id.clone(),
        health: profile.verdict.health,
        expires_at: profile.profile.credential.expires(),
    });
    let severity = match why {
        Why::HeldBack(until) if until.saturating_sub(now) <= LONGEST_COOLDOWN => Severity::Warning,
        _ => Severity::Critical,
    };
    Alert {
        id: format!("agent:{}#{}", of.label(), resolved.provider),
        kind: why.kind().to_owned(),
        severity,
        lapsed: true,
        // when it is over by itself
        ends: match why {
            Why::HeldBack(until) => Some(until),
            _ => None,
        },
        login: None,
        affected: affected.collect(),
        path: Some(tilde(&agent.path)),
        detail: Some(match why {
            Why::Ignored => crate::rules::view::ignored_words(agent),
            _ => resolved.why(),
        }),
    }
}
