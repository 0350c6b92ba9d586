//! What a pass repairs by itself, and which alerts that leaves: those that stand once it has repaired, and those that it cannot change.

use super::alert::Alert;
use super::resolve::normalise_provider;
use super::view::{AgentView, ProfileView, View, copy_key, mirrored_login};
use crate::cause::Cause;
use crate::types::Affected;
use std::collections::{BTreeMap, BTreeSet};

/// What a pass is about to repair, or would.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repairs {
    /// Logins that are healed or renewed, and store grants (`family/agent#profile`) that are renewed.
    pub(crate) renewed: BTreeSet<String>,
    /// Agents (`family/agent`) whose stores are brought up to date.
    pub(crate) written: BTreeSet<String>,
}

impl Repairs {
    /// Whether there is nothing to repair.
    pub(crate) fn is_empty(&self) -> bool {
        self.renewed.is_empty() && self.written.is_empty()
    }
}

/// The alerts that are left once the repairs were made.
pub(crate) fn after(alerts: Vec<Alert>, repairs: &Repairs) -> Vec<Alert> {
    let mut left = Vec::new();
    for mut alert in alerts {
        let login = alert.login.as_ref().map(|login| login.id.as_str());
        let renewed = login.is_some_and(|id| repairs.renewed.contains(id));
        match alert.id {
            Cause::Login(_) | Cause::Copies(_) if renewed => continue,
            Cause::Copies(_) => {
                alert.affected.retain(|one| !repairs.written.contains(&one.label()));
                if alert.affected.is_empty() {
                    continue;
                }
            }
            Cause::Grant(_) => {
                let mends = |one: &Affected| repairs.renewed.contains(&copy_key(&one.label(), &one.profile));
                if alert.affected.iter().any(mends) {
                    continue;
                }
            }
            _ => {}
        }
        left.push(alert);
    }
    left
}

/// The alerts of this host that stay as they are whether or not the repairs come about. A doubt counts as a change: then the alert is
/// only told later.
pub(crate) fn untouched(alerts: Vec<Alert>, view: &View, repairs: &Repairs) -> Vec<Alert> {
    let touched = Touched::by(repairs, view);
    alerts.into_iter().filter(|alert| !touched.has(alert)).collect()
}

/// What repairs may change.
struct Touched<'a> {
    repairs: &'a Repairs,
    agents: BTreeMap<String, &'a AgentView>,
    /// The providers, by state directory and agent.
    providers: BTreeMap<usize, BTreeMap<String, BTreeSet<String>>>,
}

impl<'a> Touched<'a> {
    fn by(repairs: &'a Repairs, view: &'a View) -> Self {
        let renewed = |i: usize| repairs.renewed.contains(view.logins[i].id());
        let mut agents = BTreeMap::new();
        let mut providers: BTreeMap<usize, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for agent in &view.agents {
            let label = agent.label();
            let mut of_it = BTreeSet::new();
            // a login gives to profiles of its own provider alone
            if repairs.written.contains(&label) || mirrored_login(&view.logins, &label).is_some_and(renewed) {
                of_it.insert("anthropic".to_owned());
            }
            let profile = |one: &&ProfileView| {
                one.login.is_some_and(renewed) || repairs.renewed.contains(&copy_key(&label, &one.profile.id))
            };
            let touched = agent.profiles.iter().filter(profile);
            of_it.extend(touched.map(|one| normalise_provider(&one.profile.provider).into_owned()));
            if !of_it.is_empty() {
                providers
                    .entry(agent.agent.state_dir)
                    .or_default()
                    .insert(label.clone(), of_it);
            }
            agents.insert(label, agent);
        }
        Self {
            repairs,
            agents,
            providers,
        }
    }

    fn has(&self, alert: &Alert) -> bool {
        let login = || alert.login.as_ref().map(|login| &login.id);
        let renewed = || login().is_some_and(|id| self.repairs.renewed.contains(id));
        match &alert.id {
            // of one that is only ahead, a store that is behind may be named
            Cause::Login(_) => renewed() || !alert.lapsed && alert.affected.iter().any(|one| self.profile(one)),
            Cause::Heal(_) | Cause::Healed(_) => renewed(),
            Cause::Copies(_) | Cause::Grant(_) | Cause::Profile(_) | Cause::Renewal(_) | Cause::Token(_) => {
                renewed() || alert.affected.iter().any(|one| self.profile(one))
            }
            Cause::Agent { agent, provider } => self.agent(agent, provider),
            Cause::Channel(_) | Cause::Config | Cause::Heartbeat | Cause::Store(_) => false,
            // what other hosts say comes by itself; a gateway is told of what was renewed
            Cause::Host | Cause::Remote { .. } | Cause::Reload(_) | Cause::Other(_) => true,
        }
    }

    fn profile(&self, one: &Affected) -> bool {
        let label = one.label();
        let Some(agent) = self.agents.get(&label) else {
            return true;
        };
        let of_it = self.providers.get(&agent.agent.state_dir);
        let Some(of_it) = of_it.and_then(|agents| agents.get(&label)) else {
            return false;
        };
        let profile = agent.profiles.iter().find(|other| other.profile.id == one.profile);
        profile.is_none_or(|other| of_it.contains(normalise_provider(&other.profile.provider).as_ref()))
    }

    /// An agent without profiles of its own goes by those of its main agent.
    fn agent(&self, label: &str, provider: &str) -> bool {
        let Some(agent) = self.agents.get(label) else {
            return true;
        };
        let beside = self.providers.get(&agent.agent.state_dir);
        beside.is_some_and(|agents| agents.values().any(|of_it| of_it.contains(provider)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::causes::tests as causes;
    use crate::types::{EventLogin, Family, Health, Severity};

    #[test]
    fn what_is_left_once_it_is_repaired() {
        let affected = |agent: &str| Affected {
            family: Family::Clawdbot,
            named: None,
            agent: agent.into(),
            profile: "p:q".into(),
            health: Health::Expired,
            expires_at: None,
        };
        let login = |id: &str| EventLogin {
            id: id.into(),
            dir: "/c".into(),
            health: Health::Ok,
            reason: None,
            access_expires_at: None,
            login_ends_at: None,
        };
        let repairs = Repairs {
            renewed: ["renewed", "clawdbot/own#p:q"].map(str::to_owned).into(),
            written: ["clawdbot/written".to_owned()].into(),
        };
        for (id, of, agents, left) in [
            ("login:renewed", "renewed", &["main"][..], None),
            ("login:other", "other", &["written"], Some(1)),
            ("copies:renewed", "renewed", &["main"], None),
            ("copies:other", "other", &["written"], None),
            ("copies:other", "other", &["written", "main"], Some(1)),
            ("grant:0", "", &["own"], None),
            ("grant:0", "", &["main", "own"], None),
            ("grant:0", "", &["main", "written"], Some(2)),
            ("token:0", "", &["own"], Some(1)),
            ("heal:renewed", "renewed", &[], Some(0)),
        ] {
            let alert = Alert {
                login: (!of.is_empty()).then(|| login(of)),
                affected: agents.iter().map(|agent| affected(agent)).collect(),
                ..Alert::new(id, "copy_stale", Severity::Critical)
            };
            let after = after(vec![alert], &repairs);
            assert_eq!(after.first().map(|alert| alert.affected.len()), left, "{id} {agents:?}");
        }
    }

    #[test]
    fn what_repairs_may_change_is_told_later() {
        let of = |id: &str, state_dir, profiles: &[(&str, &str)]| {
            let profiles = profiles.iter().map(|(id, provider)| {
                let mut one = causes::profile(id, causes::token(id), causes::verdict(Health::Expired, None));
                one.profile.provider = (*provider).into();
                one
            });
            let mut agent = causes::agent(profiles.collect());
            (agent.agent.agent.id, agent.agent.state_dir) = (id.into(), state_dir);
            agent
        };
        let view = View {
            now: causes::NOW,
            logins: vec![causes::login(Health::Ok, None)],
            agents: vec![
                of("main", 0, &[("p", "anthropic"), ("o", "openai")]),
                of("sub", 0, &[("p", "anthropic")]),
                of("own", 1, &[("p", "openai")]),
            ],
            state_dirs: Vec::new(),
            problems: Vec::new(),
            looked_at: Vec::new(),
        };
        let renewed: BTreeSet<String> = ["other", "clawdbot/own#p"].map(str::to_owned).into();
        let written: BTreeSet<String> = ["clawdbot/main".to_owned()].into();
        for (renewed, written, empty) in [
            (BTreeSet::new(), BTreeSet::new(), true),
            (renewed.clone(), BTreeSet::new(), false),
            (BTreeSet::new(), written.clone(), false),
        ] {
            assert_eq!(Repairs { renewed, written }.is_empty(), empty);
        }
        let repairs = Repairs { renewed, written };
        for (id, login, lapsed, affected, stays) in [
            // of a login that is only ahead, a store that is behind may be named
            ("login:claude", "claude", false, &["main/p"][..], false),
            ("login:claude", "claude", true, &["main/p"], true),
            ("login:claude", "claude", false, &["sub/p"], true),
            ("login:claude", "claude", false, &["main/o"], true),
            ("login:claude", "claude", false, &[], true),
            ("login:other", "other", true, &[], false),
            ("copies:claude", "claude", true, &["sub/p", "main/p"], false),
            ("copies:claude", "claude", true, &["sub/p"], true),
            ("heal:claude", "claude", true, &["main/p"], true),
            ("heal:other", "other", true, &[], false),
            ("grant:0", "", true, &["own/p"], false),
            // an agent or a profile that is not there any more is a doubt
            ("token:0", "", true, &["gone/p"], false),
            ("token:0", "", true, &["main/gone"], false),
            ("token:0", "", true, &["sub/gone"], true),
            ("agent:clawdbot/main#anthropic", "", true, &[], false),
            ("agent:clawdbot/main#openai", "", true, &[], true),
            // it goes by its main agent's
            ("agent:clawdbot/sub#anthropic", "", true, &[], false),
            ("agent:clawdbot/own#anthropic", "", true, &[], true),
            ("agent:clawdbot/own#openai", "", true, &[], false),
            ("agent:clawdbot/gone#openai", "", true, &[], false),
            ("store:clawdbot/main", "", true, &["main/p"], true),
            ("reload:/s", "", true, &[], false),
        ] {
            let affected = affected.iter().map(|one| {
                let (agent, profile) = one.split_once('/').unwrap();
                Affected {
                    family: Family::Clawdbot,
                    named: None,
                    agent: agent.into(),
                    profile: profile.into(),
                    health: Health::Expired,
                    expires_at: None,
                }
            });
            let alert = Alert {
                lapsed,
                affected: affected.collect(),
                login: (!login.is_empty()).then(|| EventLogin {
                    id: login.into(),
                    dir: "/c".into(),
                    health: Health::Ok,
                    reason: None,
                    access_expires_at: None,
                    login_ends_at: None,
                }),
                ..Alert::new(id, "copy_stale", Severity::Critical)
            };
            let said = format!("{id} {lapsed} {:?}", alert.affected);
            assert_eq!(untouched(vec![alert], &view, &repairs).len() == 1, stays, "{said}");
        }
    }
}
