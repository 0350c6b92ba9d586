//! Agents that have nothing to work with although each credential by itself is fine: an order or a mode passes it over, the agent
//! holds it back, or it does not read it.

use super::resolve::{PassedOver, Resolved};
use crate::rules::view::{AgentView, ProfileView};
use crate::types::{HOUR, Health, Moment, Ms};
use std::collections::BTreeSet;

/// The agents hold a profile back for an hour at most after errors (clawdbot 2026.1.24-3, `calculateAuthProfileCooldownMs`); for
/// longer only where a person must pay or change something.
pub(super) const LONGEST_COOLDOWN: Ms = HOUR;

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
    /// All that works is held back until then.
    HeldBack(Moment),
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
pub(crate) fn why(agent: &AgentView, resolved: &Resolved, grace: Ms, now: Moment) -> Option<Why> {
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
        Some(until) if until - now > grace => Some(Why::HeldBack(until)),
        Some(_) => None,
        None if !agent.aside.ignored.is_empty() && nothing_else(agent, resolved) => Some(Why::Ignored),
        None => None,
    }
}

/// What passes over a profile, whatever its health.
pub(super) fn refused(passed: &PassedOver) -> Option<Why> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::resolve::{By, Ignored, Mode, Unread, Uses};
    use crate::rules::view::tests::{agent, profile};

    const NOW: Moment = Moment::at(1_769_000_000_000);

    #[test]
    fn an_agent_has_stopped_for_what_passes_over_all_that_works() {
        let held = |left| PassedOver::HeldBack(NOW + left, None);
        let of = |id, why| (id, why);
        // its models are of this provider, what it uses, what is passed over, what its store holds beside profiles, why it has stopped
        for (in_use, uses, over, beside, wanted) in [
            (
                true,
                None,
                vec![of("fine", PassedOver::NotIn(By::Store))],
                vec![],
                Some(Why::NotOrdered),
            ),
            (
                false,
                None,
                vec![of("fine", PassedOver::NotIn(By::Store))],
                vec![],
                None,
            ),
            (
                true,
                Some("x"),
                vec![of("fine", PassedOver::NotIn(By::Store))],
                vec![],
                None,
            ),
            (
                true,
                None,
                vec![of("ended", PassedOver::NotIn(By::Store))],
                vec![],
                None,
            ),
            (
                true,
                None,
                vec![of("fine", PassedOver::Mode(Mode::Oauth, "api_key"))],
                vec![],
                Some(Why::KeyRefused),
            ),
            (
                true,
                None,
                vec![of("fine", PassedOver::Mode(Mode::ApiKey, "token"))],
                vec![],
                Some(Why::ModeRefused),
            ),
            (
                true,
                None,
                vec![of("fine", PassedOver::OtherProvider)],
                vec![],
                Some(Why::OtherProvider),
            ),
            (
                true,
                None,
                vec![of("fine", held(HOUR + 1))],
                vec![],
                Some(Why::HeldBack(NOW + HOUR + 1)),
            ),
            (true, None, vec![of("fine", held(HOUR))], vec![], None),
            (
                true,
                None,
                vec![of("fine", held(HOUR)), of("more", PassedOver::OtherProvider)],
                vec![],
                Some(Why::OtherProvider),
            ),
            (true, None, vec![], vec![], None),
            (true, None, vec![], vec!["x"], Some(Why::Ignored)),
            (
                true,
                None,
                vec![of("gone", PassedOver::Absent)],
                vec!["x"],
                Some(Why::Ignored),
            ),
            (true, None, vec![of("gone", PassedOver::Absent)], vec![], None),
            (
                true,
                None,
                vec![of("x", PassedOver::NoSecret)],
                vec!["x", "y"],
                Some(Why::Ignored),
            ),
            (true, None, vec![of("z", PassedOver::NoSecret)], vec!["x", "y"], None),
            (
                true,
                None,
                vec![of("gone", PassedOver::Absent), of("ended", PassedOver::Ended)],
                vec!["x"],
                None,
            ),
        ] {
            let profiles = vec![
                profile("fine", Health::Ok, None),
                profile("ended", Health::Expired, None),
            ];
            let mut agent = agent("main", profiles);
            let ignored = |id: &&str| Ignored {
                id: (*id).into(),
                why: Unread::NoType,
            };
            agent.aside.ignored = beside.iter().map(ignored).collect();
            let held_back_until = over.iter().find_map(|(_, why)| match why {
                PassedOver::HeldBack(until, _) => Some(*until),
                _ => None,
            });
            let resolved = Resolved {
                provider: "p".into(),
                in_use,
                uses: uses.map(|id: &str| Uses::Profile(id.into())),
                key: None,
                by: By::Nobody,
                passed_over: over.iter().map(|(id, why)| ((*id).to_owned(), why.clone())).collect(),
                held_back_until,
            };
            assert_eq!(
                why(&agent, &resolved, HOUR, NOW),
                wanted,
                "{in_use} {uses:?} {over:?} {beside:?}"
            );
        }
    }
}
