//! Which alerts there are, and whether a channel is to be told of one now.
//!
//! One alert per root cause: a login that ended and the nine agents that hang on it are one. What a channel was told is
//! remembered per channel, and [`decide`] names its reason.

use super::lineage::Relation;
use super::renew::{Record, Stage};
use crate::look::{LoginView, View};
use crate::secret::Secret;
use crate::sources::claude::{Source, State};
use crate::stores::store;
use crate::types::{Affected, Credential, DAY, EventLogin, HOUR, Health, Ms, Reason, Severity, Status};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Something that a human is needed for, as of now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The root cause, the same from its first warning to its recovery.
    pub id: String,
    /// A [`Reason`] word or a problem's kind.
    pub kind: String,
    /// How loud.
    pub severity: Severity,
    /// It has happened, rather than being about to.
    pub lapsed: bool,
    /// When it will happen or has happened, where that is known, [`Ms`].
    pub ends: Option<Ms>,
    /// The login concerned.
    pub login: Option<EventLogin>,
    /// Who hangs on it.
    pub affected: Vec<Affected>,
    /// The file concerned, `~` for the home.
    pub path: Option<String>,
    /// The cause in words, where the kind does not say it all.
    pub detail: Option<String>,
}

/// Everything that needs a human, the worst first.
pub fn collect(view: &View, env_key: bool, tilde: &dyn Fn(&Path) -> String) -> Vec<Alert> {
    let mut alerts = login_alerts(view, tilde);
    alerts.extend(renewal_alerts(view, tilde));
    alerts.extend(profile_alerts(view, env_key, tilde));
    alerts.extend(store_alerts(view, tilde));
    alerts.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
    alerts
}

/// A login as events name it.
pub fn event_login(view: &View, index: usize, tilde: &dyn Fn(&Path) -> String) -> EventLogin {
    let login = &view.logins[index];
    EventLogin {
        id: login.id().to_owned(),
        dir: tilde(&login.login.place.dir),
        health: login.verdict.health,
        reason: login.verdict.reason,
        access_expires_at: login.login.grant().and_then(|grant| grant.expires),
        login_ends_at: login
            .login
            .grant()
            .and_then(|grant| super::health::deadline(grant, view.now)),
    }
}

fn login_alerts(view: &View, tilde: &dyn Fn(&Path) -> String) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for (i, login) in view.logins.iter().enumerate() {
        let verdict = &login.verdict;
        if verdict.fine() {
            continue;
        }
        let from_env = login.login.source == Source::Env;
        let affected = affected(view, |profile| profile.login == Some(i) && !profile.verdict.fine());
        // signed out and never seen otherwise, with nobody hanging on it: nothing lapsed
        let known = login.memory.is_some() || login.login.place.configured || !affected.is_empty();
        if verdict.health == Health::Missing && verdict.reason.is_none() && !known {
            continue;
        }
        let refused = matches!(login.login.state, State::Unreadable { refused: true, .. });
        let detail = match &login.login.state {
            State::Unreadable { why, .. } => Some(why.clone()),
            _ => None,
        };
        let lapsed = matches!(verdict.health, Health::Expired | Health::Missing);
        let severity = match verdict.health {
            _ if refused => Severity::Warning,
            _ if verdict.reason == Some(Reason::Rejected) => Severity::Critical,
            Health::Expiring => urgency(verdict.ends, view.now),
            _ => Severity::Critical,
        };
        alerts.push(Alert {
            id: format!("login:{}", login.id()),
            kind: verdict.reason.map_or("missing", Reason::word).to_owned(),
            severity,
            lapsed,
            ends: verdict.ends,
            login: Some(event_login(view, i, tilde)),
            affected,
            path: (!from_env).then(|| tilde(&login.login.place.file())),
            detail,
        });
    }
    alerts
}

/// How the detail of a stale copy begins where its login could not be renewed.
pub(super) const NOT_RENEWED: &str = "it could not be renewed";

/// A renewal whose outcome is not known, or whose tokens could not be saved. A login that has lapsed says so itself.
fn renewal_alerts(view: &View, tilde: &dyn Fn(&Path) -> String) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for (i, login) in view.logins.iter().enumerate() {
        let (kind, at, why) = match login.renewal.as_ref().map(|renewal| &renewal.stage) {
            Some(Stage::Unknown { at, why, .. }) => ("unknown_outcome", at, why),
            Some(Stage::Rescued { at, why }) => ("rescue", at, why),
            _ => continue,
        };
        let lapsed = matches!(login.verdict.health, Health::Expired | Health::Missing);
        if lapsed && kind == "unknown_outcome" {
            continue;
        }
        alerts.push(Alert {
            id: format!("renew:{}", login.id()),
            kind: kind.to_owned(),
            severity: Severity::Critical,
            lapsed: true,
            ends: Some(*at),
            login: Some(event_login(view, i, tilde)),
            affected: affected(view, |profile| profile.login == Some(i)),
            path: Some(tilde(&login.login.place.file())),
            detail: Some(why.clone()),
        });
    }
    for agent in &view.agents {
        for profile in &agent.profiles {
            let (kind, at, why) = match profile.renewal.as_ref().map(|renewal| &renewal.stage) {
                Some(Stage::Unknown { at, why, .. }) => ("unknown_outcome", at, why),
                Some(Stage::Rescued { at, why }) => ("rescue", at, why),
                _ => continue,
            };
            let id = &profile.profile.id;
            alerts.push(Alert {
                id: format!("renew:{}/{id}", agent.agent.agent.label()),
                kind: kind.to_owned(),
                severity: Severity::Critical,
                lapsed: true,
                ends: Some(*at),
                login: None,
                affected: vec![Affected {
                    family: agent.agent.agent.family,
                    agent: agent.agent.agent.id.clone(),
                    profile: id.clone(),
                    health: profile.verdict.health,
                    expires_at: profile.profile.credential.expires(),
                }],
                path: Some(tilde(&agent.path)),
                detail: Some(why.clone()),
            });
        }
    }
    alerts
}

/// Why the login of a stale copy could not be renewed, where that is why.
fn not_renewed(login: &LoginView, now: Ms) -> Option<String> {
    let renewal = login.renewal.as_ref()?;
    let grant = login.login.grant()?;
    let about_it = grant.refresh.token().map(Secret::fingerprint) == Some(renewal.token);
    let ended = grant.expires.is_some_and(|at| at <= now);
    let why = &renewal.last.as_ref()?.why;
    (about_it && ended).then(|| format!("{NOT_RENEWED}: {why}"))
}

/// Six hours ahead is now.
fn urgency(ends: Option<Ms>, now: Ms) -> Severity {
    match ends {
        Some(ends) if ends - now > 6 * HOUR => Severity::Warning,
        _ => Severity::Critical,
    }
}

fn profile_alerts(view: &View, env_key: bool, tilde: &dyn Fn(&Path) -> String) -> Vec<Alert> {
    struct Group {
        alert: Alert,
        all_covered: bool,
    }
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for agent in &view.agents {
        let state_dir = &view.state_dirs[agent.agent.state_dir];
        let serves = |name: &String| matches!(name.as_str(), "ANTHROPIC_API_KEY" | "ANTHROPIC_OAUTH_TOKEN");
        let key_in_env = env_key || state_dir.dotenv.iter().any(serves);
        for profile in &agent.profiles {
            let verdict = &profile.verdict;
            let login_fine = profile.login.is_none_or(|i| view.logins[i].verdict.fine());
            let stuck = |i: usize| view.logins[i].renewal.as_ref().is_some_and(Record::stuck);
            let own_stuck = profile.renewal.as_ref().is_some_and(Record::stuck);
            let told_by_renewal =
                verdict.reason == Some(Reason::CopyStale) && (own_stuck || profile.login.is_some_and(stuck));
            if verdict.fine() || !login_fine || told_by_renewal || verdict.reason == Some(Reason::StoreRetired) {
                continue;
            }
            let provider = &profile.profile.provider;
            // an agent that has another way to the same provider has not stopped
            let covered = agent.profiles.iter().any(|other| {
                other.profile.id != profile.profile.id && other.profile.provider == *provider && other.verdict.fine()
            }) || provider == "anthropic" && key_in_env;
            let label = agent.agent.agent.label();
            let id = match (profile.login, &profile.profile.credential) {
                (Some(login), _) => format!("copies:{}", view.logins[login].id()),
                (
                    None,
                    Credential::Oauth {
                        refresh: Some(refresh), ..
                    },
                ) => format!("grant:{}", refresh.fingerprint()),
                (None, Credential::Token { token: Some(token), .. }) => format!("token:{}", Secret::fingerprint(token)),
                _ => format!("profile:{label}/{}", profile.profile.id),
            };
            let lapsed = matches!(verdict.health, Health::Expired | Health::Missing);
            let severity = match lapsed {
                _ if covered => Severity::Info,
                true => Severity::Critical,
                false => urgency(verdict.ends, view.now),
            };
            let one = Affected {
                family: agent.agent.agent.family,
                agent: agent.agent.agent.id.clone(),
                profile: profile.profile.id.clone(),
                health: verdict.health,
                expires_at: profile.profile.credential.expires(),
            };
            let detail = match (&agent.writable, profile.login, profile.relation) {
                (Err(why), Some(_), _) => Some(format!("the store is not written: {why}")),
                (Ok(()), Some(i), _) if verdict.reason == Some(Reason::CopyStale) => {
                    not_renewed(&view.logins[i], view.now)
                }
                (_, None, _) if verdict.reason == Some(Reason::CopyStale) => profile
                    .renewal
                    .as_ref()
                    .and_then(|renewal| renewal.last.as_ref())
                    .map(|last| format!("{NOT_RENEWED}: {}", last.why)),
                (Ok(()), Some(_), Relation::Unknown) => Some("its refresh token is not the login's".to_owned()),
                _ => None,
            };
            let group = groups.entry(id.clone()).or_insert_with(|| Group {
                alert: Alert {
                    id,
                    kind: verdict.reason.map_or("missing", Reason::word).to_owned(),
                    severity,
                    lapsed,
                    ends: verdict.ends,
                    login: profile.login.map(|i| event_login(view, i, tilde)),
                    affected: Vec::new(),
                    path: Some(tilde(&agent.path)),
                    detail,
                },
                all_covered: true,
            });
            group.alert.affected.push(one);
            group.all_covered &= covered;
            if severity > group.alert.severity {
                group.alert.severity = severity;
            }
            if lapsed && !group.alert.lapsed {
                group.alert.lapsed = true;
                group.alert.kind = verdict.reason.map_or("missing", Reason::word).to_owned();
            }
            group.alert.ends = match (group.alert.ends, verdict.ends) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    }
    groups.into_values().map(|group| group.alert).collect()
}

fn store_alerts(view: &View, tilde: &dyn Fn(&Path) -> String) -> Vec<Alert> {
    let broken = view.agents.iter().filter_map(|agent| {
        let (kind, severity, why) = match &agent.store {
            store::State::Malformed(why) => ("store_malformed", Severity::Critical, why),
            store::State::Refused(why) => ("unreadable", Severity::Warning, why),
            _ => return None,
        };
        Some(Alert {
            id: format!("store:{}", agent.agent.agent.label()),
            kind: kind.to_owned(),
            severity,
            lapsed: true,
            ends: None,
            login: None,
            affected: Vec::new(),
            path: Some(tilde(&agent.path)),
            detail: Some(why.clone()),
        })
    });
    broken.collect()
}

fn affected(view: &View, which: impl Fn(&crate::look::ProfileView) -> bool) -> Vec<Affected> {
    let mut list = Vec::new();
    for agent in &view.agents {
        for profile in agent.profiles.iter().filter(|profile| which(profile)) {
            list.push(Affected {
                family: agent.agent.agent.family,
                agent: agent.agent.agent.id.clone(),
                profile: profile.profile.id.clone(),
                health: profile.verdict.health,
                expires_at: profile.profile.credential.expires(),
            });
        }
    }
    list
}

/// What a channel was told last of one alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Firing, or that it is over.
    pub status: Status,
    /// How loud it was.
    pub severity: Severity,
    /// What it was.
    pub kind: String,
    /// Whether it had happened.
    pub lapsed: bool,
    /// How many steps before the end had been passed.
    pub step: usize,
    /// How many reminders were given since it happened.
    pub reminders: u32,
    /// When it was decided, [`Ms`].
    pub at: Ms,
    /// What the channel calls its message, where it can be replaced.
    #[serde(default)]
    pub handle: Option<String>,
}

/// Why a channel is told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// For the first time.
    First,
    /// It got worse: louder, or it has happened.
    Worse,
    /// It was repaired in part: it had happened, and now it is ahead again.
    Changed,
    /// A step nearer to its end.
    Step,
    /// It has happened and nobody repaired it yet.
    Reminder,
    /// It is over.
    Recovered,
}

/// How many of the steps before its end an alert has passed.
pub fn steps_passed(alert: &Alert, steps: &[Ms], now: Ms) -> usize {
    match alert.ends {
        Some(ends) if !alert.lapsed => steps.iter().filter(|step| ends - now <= **step).count(),
        _ => steps.len(),
    }
}

/// After how long the `n`th reminder follows what was told before it: 1 h, 6 h, 1 d, then doubling, [`Ms`].
pub fn reminder_gap(n: u32) -> Ms {
    match n {
        0 => HOUR,
        1 => 6 * HOUR,
        _ => DAY << (n - 2).min(5),
    }
}

/// Whether a channel is to be told of an alert that is firing. Early returns, each with its reason.
pub fn decide(alert: &Alert, told: Option<&Told>, steps: &[Ms], now: Ms) -> Option<Why> {
    let Some(told) = told.filter(|told| told.status == Status::Firing) else {
        return Some(Why::First);
    };
    if alert.severity > told.severity || alert.lapsed && !told.lapsed {
        return Some(Why::Worse);
    }
    if told.lapsed && !alert.lapsed {
        return Some(Why::Changed);
    }
    if !alert.lapsed && steps_passed(alert, steps, now) > told.step {
        return Some(Why::Step);
    }
    // a clock that was set back makes nothing due
    if alert.lapsed && now - told.at >= reminder_gap(told.reminders) {
        return Some(Why::Reminder);
    }
    None
}

/// What will be remembered once a channel was told.
pub fn told(alert: &Alert, before: Option<&Told>, why: Why, steps: &[Ms], now: Ms) -> Told {
    Told {
        status: Status::Firing,
        severity: alert.severity,
        kind: alert.kind.clone(),
        lapsed: alert.lapsed,
        step: steps_passed(alert, steps, now),
        reminders: match (why, before) {
            (Why::Reminder, Some(before)) => before.reminders + 1,
            _ => 0,
        },
        at: now,
        handle: before.and_then(|told| told.handle.clone()),
    }
}

/// What will be remembered once a channel was told that it is over.
pub fn told_resolved(before: &Told, now: Ms) -> Told {
    Told {
        status: Status::Resolved,
        at: now,
        ..before.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AlertsConfig;
    use proptest::prelude::*;

    const NOW: Ms = 1_769_000_000_000;

    fn alert(severity: Severity, lapsed: bool, ends: Ms) -> Alert {
        Alert {
            id: "login:claude".into(),
            kind: "k".into(),
            severity,
            lapsed,
            ends: Some(ends),
            login: None,
            affected: Vec::new(),
            path: None,
            detail: None,
        }
    }

    /// Walks through time in steps of a minute, telling whatever is due, and returns when and why.
    fn walk(ends: Ms, until: Ms) -> Vec<(Ms, Why)> {
        let steps = AlertsConfig::default().steps;
        let mut told_last: Option<Told> = None;
        let mut rang = Vec::new();
        let mut now = NOW;
        while now < until {
            let left = ends - now;
            let alert = match left {
                ..=0 => alert(Severity::Critical, true, ends),
                _ => alert(urgency(Some(ends), now), false, ends),
            };
            if left <= steps[0]
                && let Some(why) = decide(&alert, told_last.as_ref(), &steps, now)
            {
                rang.push((now - ends, why));
                told_last = Some(told(&alert, told_last.as_ref(), why, &steps, now));
            }
            now += 60_000;
        }
        rang
    }

    #[test]
    fn the_ladder_is_seven_three_one_day_six_hours_the_lapse_and_ever_rarer_reminders() {
        let ends = NOW + 10 * DAY;
        let got = walk(ends, ends + 17 * DAY);
        let want = [
            (-7 * DAY, Why::First),
            (-3 * DAY, Why::Step),
            (-DAY, Why::Step),
            (-6 * HOUR, Why::Worse),
            (0, Why::Worse),
            (HOUR, Why::Reminder),
            (7 * HOUR, Why::Reminder),
            (DAY + 7 * HOUR, Why::Reminder),
            (3 * DAY + 7 * HOUR, Why::Reminder),
            (7 * DAY + 7 * HOUR, Why::Reminder),
            (15 * DAY + 7 * HOUR, Why::Reminder),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn a_pass_that_slept_through_the_steps_rings_once() {
        let steps = AlertsConfig::default().steps;
        let week = alert(Severity::Warning, false, NOW + 7 * DAY);
        let first = told(&week, None, Why::First, &steps, NOW);
        let late = NOW + 6 * DAY + 12 * HOUR;
        assert_eq!(decide(&week, Some(&first), &steps, late), Some(Why::Step));
        let again = told(&week, Some(&first), Why::Step, &steps, late);
        assert_eq!(decide(&week, Some(&again), &steps, late + 60_000), None);
    }

    #[test]
    fn worse_rings_at_once_and_a_half_repair_is_told() {
        let steps = AlertsConfig::default().steps;
        let soon = alert(Severity::Warning, false, NOW + DAY);
        let lapsed = alert(Severity::Critical, true, NOW);
        let told_soon = told(&soon, None, Why::First, &steps, NOW);
        assert_eq!(decide(&lapsed, Some(&told_soon), &steps, NOW + 1), Some(Why::Worse));
        let told_lapsed = told(&lapsed, Some(&told_soon), Why::Worse, &steps, NOW + 1);
        assert_eq!(decide(&lapsed, Some(&told_lapsed), &steps, NOW + 2), None);
        assert_eq!(decide(&soon, Some(&told_lapsed), &steps, NOW + 2), Some(Why::Changed));
        let over = told_resolved(&told_lapsed, NOW + 3);
        assert_eq!(decide(&lapsed, Some(&over), &steps, NOW + 4), Some(Why::First));
    }

    proptest! {
        /// Whatever the clock does, telling settles it for that moment.
        #[test]
        fn telling_settles_it(left in -40 * DAY..40 * DAY, earlier in -DAY..DAY, lapsed in any::<bool>()) {
            let steps = AlertsConfig::default().steps;
            let one = alert(Severity::Critical, lapsed, NOW + left);
            let before = told(&one, None, Why::First, &steps, NOW + earlier);
            if let Some(why) = decide(&one, Some(&before), &steps, NOW) {
                let after = told(&one, Some(&before), why, &steps, NOW);
                prop_assert_eq!(decide(&one, Some(&after), &steps, NOW), None);
            }
        }
    }
}
