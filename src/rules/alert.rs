//! Which alerts there are, and whether a channel is to be told of one now.
//!
//! One alert per root cause: a login that ended and the nine agents that hang on it are one. What a channel was told is
//! remembered per channel, and [`decide`] names its reason.

use super::lineage::Relation;
use super::renew::{Record, Stage};
use super::resolve::{PassedOver, Resolved, Unread, normalise_provider};
use super::shape::{self, KeptAs};
use super::stopped;
use crate::cause::Cause;
use crate::rules::agent::{self, NotWritten};
use crate::rules::login::SIMPLE;
use crate::rules::login::{Fault, Grant, Source, State};
use crate::rules::view::ignored_words;
use crate::rules::view::{AgentView, LoginView, ProfileView, View};
use crate::secret::Secret;
use crate::types::Flaw;

use crate::types::{Affected, Credential, DAY, EventLogin, HOUR, Health, Held, Ms, Reason, Severity, Status};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Something that a human is needed for, as of now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The root cause, the same from its first warning to its recovery.
    pub(crate) id: Cause,
    /// A [`Reason`] word or a problem's kind.
    pub(crate) kind: String,
    /// How loud.
    pub(crate) severity: Severity,
    /// It has happened, rather than being about to.
    pub(crate) lapsed: bool,
    /// When it will happen or has happened, where that is known, [`Ms`].
    pub(crate) ends: Option<Ms>,
    /// The login concerned.
    pub(crate) login: Option<EventLogin>,
    /// Who hangs on it.
    pub(crate) affected: Vec<Affected>,
    /// The file concerned, `~` for the home.
    pub(crate) path: Option<String>,
    /// The cause in words, where the kind does not say it all.
    pub(crate) detail: Option<String>,
    /// What of it decides the remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) obstacle: Option<Obstacle>,
}

/// What of an alert's cause decides its remedy, beside its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// The store is not written.
    NotWritten,
    /// The store is not written, since it belongs to another user.
    OtherOwner,
    /// The store is not written, since the configuration says so.
    Excluded,
    /// The login of a copy, or the grant of its own, could not be renewed.
    NotRenewed,
    /// The login's own access token has ended as well, and nobody renews it.
    NobodyRenews,
    /// The provider wants to be paid.
    Billing,
    /// All that the store holds stands outside `profiles`.
    OutsideProfiles,
}

/// Everything that needs a human, the worst first.
pub fn collect(view: &View, env_key: bool, grace: Ms, tilde: &dyn Fn(&Path) -> String) -> Vec<Alert> {
    let mut alerts = login_alerts(view, tilde);
    alerts.extend(renewal_alerts(view, tilde));
    alerts.extend(healed_alerts(view, tilde));
    alerts.extend(profile_alerts(view, env_key, grace, tilde));
    alerts.extend(of_stopped(view, grace, tilde));
    alerts.extend(store_alerts(view, tilde));
    alerts.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
    alerts
}

/// A login as events name it.
pub(crate) fn event_login(view: &View, index: usize, tilde: &dyn Fn(&Path) -> String) -> EventLogin {
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

/// The kinds of a login in whose file's place something else is: that goes before anybody signs in.
pub(super) const DIRECTORY: &str = "directory_in_place";
pub(super) const NOT_A_FILE: &str = "not_a_file";

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
        let (fault, detail) = match &login.login.state {
            State::Unreadable { why, fault } => (Some(*fault), Some(why.clone())),
            _ if verdict.reason == Some(Reason::NotRenewed) => {
                let last = login.renewal.as_ref().and_then(|renewal| renewal.last.as_ref());
                (None, last.map(|last| last.why.clone()))
            }
            State::SignedIn(grant) if verdict.reason == Some(Reason::NoToken) => (None, token_flaw(grant)),
            _ => (None, None),
        };
        let refused = fault.is_some_and(Fault::only_here);
        let lapsed = matches!(verdict.health, Health::Expired | Health::Missing);
        let severity = match verdict.health {
            _ if refused => Severity::Warning,
            // what is used instead works, and nobody hangs on this one
            _ if crate::rules::view::replaced(login, &view.logins, &view.agents, i) => Severity::Info,
            _ if matches!(verdict.reason, Some(Reason::Rejected | Reason::OlderState)) => Severity::Critical,
            Health::Expiring => urgency(verdict.ends, view.now),
            _ => Severity::Critical,
        };
        alerts.push(Alert {
            id: Cause::Login(login.id().to_owned()),
            kind: login_kind(login, fault).to_owned(),
            severity,
            lapsed,
            ends: verdict.ends,
            login: Some(event_login(view, i, tilde)),
            affected,
            // whose directory it is decides; what is in it goes with it
            path: (!from_env).then(|| match fault {
                Some(Fault::Foreign) => tilde(&login.login.place.dir),
                _ => tilde(&login.login.place.file()),
            }),
            detail,
            obstacle: None,
        });
    }
    alerts
}

fn login_kind(login: &LoginView, fault: Option<Fault>) -> &'static str {
    let grant = login.login.grant();
    match fault {
        Some(Fault::Directory) => DIRECTORY,
        Some(Fault::Special) => NOT_A_FILE,
        Some(Fault::ByteOrderMark) => BYTE_ORDER_MARK,
        Some(Fault::Foreign) => FOREIGN_OWNER,
        Some(Fault::Mode) => NOT_READABLE,
        Some(Fault::Refused | Fault::Content) | None => match grant {
            Some(grant) if grant.scopes.is_none() && !grant.blanked => NO_SCOPES,
            Some(grant) if grant.access.is_none() && grant.refresh.token().is_some() => NO_ACCESS,
            _ => login.verdict.reason.map_or("missing", Reason::word),
        },
    }
}

/// What a token outside any store looks like, where it is none.
fn token_flaw(grant: &Grant) -> Option<String> {
    let access = grant.access.as_ref()?.expose();
    shape::flaw("anthropic", KeptAs::Token, access).map(|flaw| flaw.words().to_owned())
}

/// The detail of a stale copy whose login's access token has ended as well, with nobody to renew it.
pub(super) const LOGIN_OVER: &str = "the login's own access token has ended too, and nobody renews it";
/// The tokens of a login that is not configured.
pub(super) const NOT_CONFIGURED: &str = "login_not_configured";
/// A file that is whole but for the three bytes that it begins with.
pub(super) const BYTE_ORDER_MARK: &str = "byte_order_mark";
/// A file or directory that belongs to another user.
pub(super) const FOREIGN_OWNER: &str = "foreign_owner";
/// What stands in an API key's place is none.
pub(super) const NO_KEY: &str = "no_key";
/// A file of this user's that its mode does not let this user read.
pub(super) const NOT_READABLE: &str = "not_readable";
/// A login without `scopes`.
pub(super) const NO_SCOPES: &str = "no_scopes";
/// A login with a refresh token and without an access token.
pub(super) const NO_ACCESS: &str = "no_access_token";

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
            id: Cause::Renewal(login.id().to_owned()),
            kind: kind.to_owned(),
            severity: Severity::Critical,
            lapsed: true,
            ends: Some(*at),
            login: Some(event_login(view, i, tilde)),
            affected: affected(view, |profile| profile.login == Some(i)),
            path: Some(tilde(&login.login.place.file())),
            detail: Some(why.clone()),
            obstacle: None,
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
                id: Cause::Renewal(format!("{}/{id}", agent.agent.agent.label())),
                kind: kind.to_owned(),
                severity: Severity::Critical,
                lapsed: true,
                ends: Some(*at),
                login: None,
                affected: vec![Affected {
                    family: agent.agent.agent.family,
                    named: agent.agent.agent.named.clone(),
                    agent: agent.agent.agent.id.clone(),
                    profile: id.clone(),
                    health: profile.verdict.health,
                    expires_at: profile.profile.credential.expires(),
                }],
                path: Some(tilde(&agent.path)),
                detail: Some(why.clone()),
                obstacle: None,
            });
        }
    }
    alerts
}

/// That a login was brought up to date from an agent's copy: nothing to do, and whoever finds the account strange should know.
fn healed_alerts(view: &View, tilde: &dyn Fn(&Path) -> String) -> Vec<Alert> {
    let logins = view.logins.iter().enumerate();
    let healed = logins.filter_map(|(i, login)| Some((i, login, login.healed.as_ref()?)));
    healed
        .map(|(i, login, healed)| Alert {
            id: Cause::Healed(login.id().to_owned()),
            kind: HEALED.to_owned(),
            severity: Severity::Info,
            lapsed: false,
            ends: None,
            login: Some(event_login(view, i, tilde)),
            affected: Vec::new(),
            path: Some(tilde(&login.login.place.file())),
            detail: Some(healed.from.clone()),
            obstacle: None,
        })
        .collect()
}

/// The kind of it.
pub(super) const HEALED: &str = "healed";

/// Why the login of a stale copy could not be renewed, where that is why.
fn not_renewed(login: &LoginView, now: Ms) -> Option<(Obstacle, String)> {
    let grant = login.login.grant()?;
    let Some(renewal) = login.renewal.as_ref() else {
        // nobody tried: renewal is switched off
        let ended = grant.expires.is_some_and(|at| at <= now);
        return ended.then(|| (Obstacle::NobodyRenews, LOGIN_OVER.to_owned()));
    };
    let simple = login.login.shadowed_by.iter().find(|name| name.starts_with(SIMPLE));
    let about_it = grant.refresh.token().map(Secret::fingerprint) == Some(renewal.token);
    let ended = grant.expires.is_some_and(|at| at <= now);
    let why = &renewal.last.as_ref()?.why;
    let cause = simple.map_or_else(String::new, |name| {
        format!("; with {name} Claude Code says that nobody is logged in")
    });
    (about_it && ended).then(|| could_not_be_renewed(&format!("{why}{cause}")))
}

fn could_not_be_renewed(why: &str) -> (Obstacle, String) {
    (Obstacle::NotRenewed, format!("it could not be renewed: {why}"))
}

/// Six hours ahead is now.
fn urgency(ends: Option<Ms>, now: Ms) -> Severity {
    match ends {
        Some(ends) if ends - now > 6 * HOUR => Severity::Warning,
        _ => Severity::Critical,
    }
}

fn profile_alerts(view: &View, env_key: bool, grace: Ms, tilde: &dyn Fn(&Path) -> String) -> Vec<Alert> {
    let mut groups: BTreeMap<Cause, Alert> = BTreeMap::new();
    for agent in &view.agents {
        let state_dir = &view.state_dirs[agent.agent.state_dir];
        let serves = |name: &String| matches!(name.as_str(), "ANTHROPIC_API_KEY" | "ANTHROPIC_OAUTH_TOKEN");
        let key_in_env = env_key || state_dir.dotenv.iter().any(serves);
        // once for each provider: a store may hold thousands of profiles
        let stopped: BTreeSet<&str> = agent
            .uses
            .iter()
            .filter(|resolved| stopped::why(agent, resolved, grace, view.now).is_some())
            .map(|resolved| resolved.provider.as_str())
            .collect();
        let ignored: BTreeMap<&str, String> = agent
            .aside
            .ignored
            .iter()
            .map(|one| (one.id.as_str(), one.why.words()))
            .collect();
        for profile in &agent.profiles {
            let verdict = &profile.verdict;
            let login_fine = profile.login.is_none_or(|i| view.logins[i].verdict.fine());
            let stuck = |i: usize| view.logins[i].renewal.as_ref().is_some_and(Record::stuck);
            let own_stuck = profile.renewal.as_ref().is_some_and(|record| record.stuck());
            let told_by_renewal =
                verdict.reason == Some(Reason::CopyStale) && (own_stuck || profile.login.is_some_and(stuck));
            if verdict.fine() || !login_fine || told_by_renewal || verdict.reason == Some(Reason::StoreRetired) {
                continue;
            }
            let provider = &profile.profile.provider;
            let unread = ignored
                .get(profile.profile.id.as_str())
                .filter(|_| verdict.reason == Some(Reason::NoToken));
            // that its agent has stopped for want of it is an alert, with what has to be corrected
            if unread.is_some() && stopped.contains(normalise_provider(provider).as_ref()) {
                continue;
            }
            // an agent that has another way to the same provider has not stopped
            let covered = match agent.resolved(provider) {
                Some(resolved) => {
                    stands_in(agent, resolved, &profile.profile.id) || stopped.contains(resolved.provider.as_str())
                }
                None => {
                    let other = |other: &ProfileView| {
                        other.profile.id != profile.profile.id
                            && other.profile.provider == *provider
                            && other.verdict.fine()
                    };
                    agent.profiles.iter().any(other) || provider == "anthropic" && key_in_env
                }
            };
            // what never worked is no news beside what has ended
            let covered = covered || verdict.reason == Some(Reason::NoToken) && another_ended(agent, profile);
            let label = agent.agent.agent.label();
            let id = match (profile.login, &profile.profile.credential) {
                (Some(login), _) if profile.elsewhere.is_none() => Cause::Copies(view.logins[login].id().to_owned()),
                (
                    _,
                    Credential::Oauth {
                        refresh: Some(refresh), ..
                    },
                ) => Cause::Grant(refresh.fingerprint().to_string()),
                (_, Credential::Token { token: Some(token), .. }) => {
                    Cause::Token(Secret::fingerprint(token).to_string())
                }
                _ => Cause::Profile(format!("{label}/{}", profile.profile.id)),
            };
            let lapsed = matches!(verdict.health, Health::Expired | Health::Missing);
            let severity = match lapsed {
                _ if covered => Severity::Info,
                // its login is there, and only has to be named
                _ if profile.elsewhere.is_some() => Severity::Warning,
                true => Severity::Critical,
                false => urgency(verdict.ends, view.now),
            };
            let one = Affected {
                family: agent.agent.agent.family,
                named: agent.agent.agent.named.clone(),
                agent: agent.agent.agent.id.clone(),
                profile: profile.profile.id.clone(),
                health: verdict.health,
                expires_at: profile.profile.credential.expires(),
            };
            let kind = match &profile.elsewhere {
                Some(_) => NOT_CONFIGURED,
                None => match (&profile.profile.credential, &profile.profile.held) {
                    (Credential::ApiKey, Held::Flawed(flaw)) if *flaw != Flaw::Token && !agent.sqlite => NO_KEY,
                    _ => verdict.reason.map_or("missing", Reason::word),
                },
            };
            let (obstacle, detail) = profile_detail(view, agent, profile, unread);
            let alert = groups.entry(id.clone()).or_insert_with(|| Alert {
                id,
                kind: kind.to_owned(),
                severity,
                lapsed,
                ends: verdict.ends,
                login: profile.login.map(|i| event_login(view, i, tilde)),
                affected: Vec::new(),
                path: Some(tilde(&agent.path)),
                detail,
                obstacle,
            });
            alert.affected.push(one);
            alert.severity = alert.severity.max(severity);
            if lapsed && !alert.lapsed {
                alert.lapsed = true;
                alert.kind = kind.to_owned();
            }
            alert.ends = match (alert.ends, verdict.ends) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    }
    groups.into_values().collect()
}

/// What the kind does not say of a profile, and what of it decides the remedy.
fn profile_detail(
    view: &View,
    agent: &AgentView,
    profile: &ProfileView,
    unread: Option<&String>,
) -> (Option<Obstacle>, Option<String>) {
    let reason = profile.verdict.reason;
    let stale = reason == Some(Reason::CopyStale);
    let said = match (&agent.writable, profile.login, profile.relation) {
        _ if profile.elsewhere.is_some() => return (None, profile.elsewhere.clone()),
        _ if unread.is_some() => return (None, unread.map(|why| format!("it {why}"))),
        _ if reason == Some(Reason::NoToken) => match profile.profile.held {
            Held::Flawed(flaw) => return (None, Some(flaw.words().to_owned())),
            _ => None,
        },
        (Err(why), Some(_), _) => Some((
            match why {
                NotWritten::Excluded => Obstacle::Excluded,
                NotWritten::OtherOwner => Obstacle::OtherOwner,
                NotWritten::Because(_) => Obstacle::NotWritten,
            },
            format!("the store is not written: {why}"),
        )),
        (Ok(()), Some(i), _) if stale => not_renewed(&view.logins[i], view.now),
        (_, None, _) if stale => profile
            .renewal
            .as_ref()
            .and_then(|renewal| renewal.last.as_ref())
            .map(|last| could_not_be_renewed(&last.why)),
        (Ok(()), Some(_), Relation::Unknown) => return (None, Some("its refresh token is not the login's".to_owned())),
        _ => None,
    };
    said.map_or((None, None), |(obstacle, detail)| (Some(obstacle), Some(detail)))
}

/// Whether the agent works without this profile: it uses another, or comes to one when this ends.
fn stands_in(agent: &AgentView, resolved: &Resolved, id: &str) -> bool {
    if resolved.uses.is_some() && !resolved.is(id) {
        return true;
    }
    let fine = |id: &str| {
        let profile = agent.profiles.iter().find(|profile| profile.profile.id == id);
        profile.is_none_or(|profile| profile.verdict.fine())
    };
    let behind = |(id, why): &(String, PassedOver)| *why == PassedOver::Behind && fine(id);
    resolved.is(id) && (resolved.key.is_some() || resolved.passed_over.iter().any(behind))
}

/// Whether another profile of the same provider has an alert of its own.
fn another_ended(agent: &AgentView, profile: &ProfileView) -> bool {
    agent.profiles.iter().any(|other| {
        other.profile.id != profile.profile.id
            && normalise_provider(&other.profile.provider) == normalise_provider(&profile.profile.provider)
            && other.verdict.health == Health::Expired
    })
}

fn store_alerts(view: &View, tilde: &dyn Fn(&Path) -> String) -> Vec<Alert> {
    let broken = view.agents.iter().filter_map(|agent| {
        let (kind, severity) = match &agent.store {
            agent::Store::ByteOrderMark => (BYTE_ORDER_MARK, Severity::Critical),
            agent::Store::Malformed(_) => ("store_malformed", Severity::Critical),
            agent::Store::Refused(_) | agent::Store::OwnMode(_) if agent.foreign.is_some() => {
                (FOREIGN_OWNER, Severity::Warning)
            }
            agent::Store::OwnMode(_) => (NOT_READABLE, Severity::Warning),
            agent::Store::Refused(_) => ("unreadable", Severity::Warning),
            agent::Store::Absent | agent::Store::Read(_) => return None,
        };
        Some(Alert {
            id: Cause::Store(agent.agent.agent.label()),
            kind: kind.to_owned(),
            severity,
            lapsed: true,
            ends: None,
            login: None,
            affected: Vec::new(),
            // whose directory it is decides; what is in it goes with it
            path: Some(tilde(agent.foreign.as_ref().unwrap_or(&agent.path))),
            detail: agent.store.unread().map(str::to_owned),
            obstacle: None,
        })
    });
    broken.collect()
}

fn affected(view: &View, which: impl Fn(&crate::rules::view::ProfileView) -> bool) -> Vec<Affected> {
    let mut list = Vec::new();
    for agent in &view.agents {
        for profile in agent.profiles.iter().filter(|profile| which(profile)) {
            list.push(Affected {
                family: agent.agent.agent.family,
                named: agent.agent.agent.named.clone(),
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
    pub(crate) status: Status,
    /// How loud it was.
    pub(crate) severity: Severity,
    /// What it was.
    pub(crate) kind: String,
    /// Whether it had happened.
    pub lapsed: bool,
    /// How many steps before the end had been passed.
    pub(crate) step: usize,
    /// How many reminders were given since it happened.
    pub reminders: u32,
    /// When it was decided, [`Ms`].
    pub(crate) at: Ms,
    /// What the channel calls its message, where it can be replaced.
    #[serde(default)]
    pub(crate) handle: Option<String>,
}

/// Why a channel is told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Why {
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
pub(crate) fn steps_passed(alert: &Alert, steps: &[Ms], now: Ms) -> usize {
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

/// What a person has said of an alert: "I know". It holds until the alert changes for the worse or in kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ack {
    /// When, [`Ms`].
    pub(crate) at: Ms,
    /// How loud it was then.
    pub(crate) severity: Severity,
    /// What it was then.
    pub(crate) kind: String,
    /// Whether it had happened then.
    pub(crate) lapsed: bool,
}

impl Ack {
    /// The alert as it is now is known.
    pub(crate) fn of(alert: &Alert, now: Ms) -> Self {
        Self {
            at: now,
            severity: alert.severity,
            kind: alert.kind.clone(),
            lapsed: alert.lapsed,
        }
    }

    /// Whether the alert is still what was acknowledged: nothing louder, nothing else, and happened or ahead as then.
    pub(crate) fn holds(&self, alert: &Alert) -> bool {
        alert.severity <= self.severity && alert.kind == self.kind && alert.lapsed == self.lapsed
    }
}

/// What a person does not want to hear of for a while, however bad it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Silence {
    /// Of what.
    pub(crate) scope: Scope,
    /// For how long.
    pub(crate) until: Until,
    /// Since when, [`Ms`].
    pub(crate) since: Ms,
}

/// Of what a silence is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "of", content = "id")]
pub(crate) enum Scope {
    /// Everything.
    All,
    /// One login and its copies, by its id.
    Login(String),
    /// One agent, `family/agent`.
    Agent(String),
}

/// How long a silence lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "until", content = "at")]
pub(crate) enum Until {
    /// To this moment, [`Ms`].
    Time(Ms),
    /// Until nothing of its scope fires any more.
    Recovered,
}

impl Silence {
    /// Whether it still counts. One from the future was made under a clock that was wrong: rather ring.
    pub(crate) fn active(&self, now: Ms) -> bool {
        match self.until {
            _ if self.since > now + HOUR => false,
            Until::Time(at) => now < at,
            Until::Recovered => true,
        }
    }

    /// Whether the alert has to do with its scope.
    pub(crate) fn touches(&self, alert: &Alert) -> bool {
        match &self.scope {
            Scope::All => true,
            Scope::Login(id) => alert.login.as_ref().is_some_and(|login| login.id == *id),
            Scope::Agent(label) => alert.agents().any(|agent| agent == *label),
        }
    }
}

impl Alert {
    /// The agents that it is about, by label. A login is more than its agents: people work with it too.
    fn agents(&self) -> impl Iterator<Item = String> {
        let of_login = match self.id {
            Cause::Login(_) => true,
            Cause::Renewal(_) => self.login.is_some(),
            _ => false,
        };
        let affected = self.affected.iter().filter(move |_| !of_login);
        let store = match &self.id {
            Cause::Store(label) => Some(label.clone()),
            _ => None,
        };
        affected.map(Affected::label).chain(store)
    }
}

/// Why nobody is told of an alert that fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mute {
    /// Somebody asked for silence.
    Silenced,
    /// Somebody knows, and it has not changed since.
    Acked,
}

/// Whether an alert is muted. Silences of agents add up: an alert about two agents is muted once both are silenced.
pub(crate) fn mute(alert: &Alert, ack: Option<&Ack>, silences: &[Silence], now: Ms) -> Option<Mute> {
    let active = || silences.iter().filter(|silence| silence.active(now));
    if active().any(|silence| !matches!(silence.scope, Scope::Agent(_)) && silence.touches(alert)) {
        return Some(Mute::Silenced);
    }
    let silenced = |agent: &String| active().any(|s| matches!(&s.scope, Scope::Agent(label) if label == agent));
    let mut agents = alert.agents().peekable();
    if agents.peek().is_some() && agents.all(|agent| silenced(&agent)) {
        return Some(Mute::Silenced);
    }
    if ack.is_some_and(|ack| ack.holds(alert)) {
        return Some(Mute::Acked);
    }
    None
}

/// What is to be done about one alert and one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Tell it, for this reason.
    Tell(Why),
    /// It would be told, were it not muted.
    Muted(Why, Mute),
    /// It was told what there is to tell.
    Settled,
}

/// Whether a channel is to be told of an alert that is firing.
pub(crate) fn decide(alert: &Alert, told: Option<&Told>, mute: Option<Mute>, steps: &[Ms], now: Ms) -> Decision {
    match (due(alert, told, steps, now), mute) {
        (None, _) => Decision::Settled,
        (Some(why), None) => Decision::Tell(why),
        (Some(why), Some(mute)) => Decision::Muted(why, mute),
    }
}

/// What there is to tell. Early returns, each with its reason.
fn due(alert: &Alert, told: Option<&Told>, steps: &[Ms], now: Ms) -> Option<Why> {
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
    // a clock that was set back makes nothing due; `set_back` sees to it that it holds nothing up either
    if alert.lapsed && now - told.at >= reminder_gap(told.reminders) {
        return Some(Why::Reminder);
    }
    None
}

/// How the last deliveries to a channel went, as long as they fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// When the first of them failed, [`Ms`].
    pub(crate) since: Ms,
    /// How many passes in a row could not deliver.
    pub(crate) failures: u32,
    /// The receiver refused for good: only a person can change that.
    pub(crate) refused: bool,
    /// Why the last one failed; no secrets.
    pub(crate) why: String,
    /// The channel's configuration then, see [`crate::notify::Channel::mark`].
    pub(crate) mark: u16,
}

/// From this many failures in a row on, a channel is no longer taken to be in passing trouble.
const FAILURES: u32 = 3;

impl Trouble {
    /// Whether a person has to look after the channel.
    pub(crate) fn lasting(&self) -> bool {
        self.refused || self.failures >= FAILURES
    }
}

/// An alert for every channel that keeps failing; it goes through the others.
pub fn channel_alerts(troubles: &BTreeMap<String, Trouble>) -> Vec<Alert> {
    let lasting = troubles.iter().filter(|(_, trouble)| trouble.lasting());
    let alert = |(name, trouble): (&String, &Trouble)| Alert {
        id: Cause::Channel(name.clone()),
        kind: if trouble.refused {
            "channel_refused"
        } else {
            "channel_failing"
        }
        .to_owned(),
        severity: Severity::Warning,
        lapsed: true,
        ends: Some(trouble.since),
        login: None,
        affected: Vec::new(),
        path: None,
        detail: Some(trouble.why.clone()),
        obstacle: None,
    };
    lasting.map(alert).collect()
}

/// An alert where the heartbeat's service keeps failing: nobody would notice that nolapse itself has stopped.
pub(crate) fn heartbeat_alert(trouble: Option<&Trouble>) -> Option<Alert> {
    let trouble = trouble.filter(|trouble| trouble.lasting())?;
    Some(Alert {
        id: Cause::Heartbeat,
        kind: if trouble.refused {
            "heartbeat_refused"
        } else {
            "heartbeat_failing"
        }
        .to_owned(),
        severity: Severity::Warning,
        lapsed: true,
        ends: Some(trouble.since),
        login: None,
        affected: Vec::new(),
        path: None,
        detail: Some(trouble.why.clone()),
        obstacle: None,
    })
}

/// An alert where passes go on with the last valid configuration.
pub(crate) fn config_alert(broken: Option<&str>) -> Option<Alert> {
    Some(Alert {
        id: Cause::Config,
        kind: "config_broken".to_owned(),
        severity: Severity::Warning,
        lapsed: true,
        ends: None,
        login: None,
        affected: Vec::new(),
        path: None,
        detail: Some(broken?.to_owned()),
        obstacle: None,
    })
}

/// What will be remembered once a channel was told.
pub(crate) fn told(alert: &Alert, before: Option<&Told>, why: Why, steps: &[Ms], now: Ms) -> Told {
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
pub(crate) fn told_resolved(before: &Told, now: Ms) -> Told {
    Told {
        status: Status::Resolved,
        at: now,
        ..before.clone()
    }
}

/// An alert for each agent and provider.
fn of_stopped(view: &View, grace: Ms, tilde: &dyn Fn(&Path) -> String) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = Vec::new();
    let mut inherited = Vec::new();
    for agent in &view.agents {
        for resolved in &agent.uses {
            let Some(why) = stopped::why(agent, resolved, grace, view.now) else {
                continue;
            };
            let alert = stopped(agent, resolved, why, view.now, tilde);
            // it has nothing of its own: what stopped the main agent stopped it
            match alert.affected.is_empty() && why != stopped::Why::Ignored && agent.agent.agent.id != "main" {
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
        let id = main.map(|main| of_agent(&main.agent.agent.label(), resolved));
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

fn of_agent(label: &str, resolved: &Resolved) -> Cause {
    Cause::Agent {
        agent: label.to_owned(),
        provider: resolved.provider.clone(),
    }
}

fn stopped(
    agent: &AgentView,
    resolved: &Resolved,
    why: stopped::Why,
    now: Ms,
    tilde: &dyn Fn(&Path) -> String,
) -> Alert {
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
        let causes = passed(&profile.profile.id).and_then(stopped::refused) == Some(why);
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
        stopped::Why::HeldBack(until) if until.saturating_sub(now) <= stopped::LONGEST_COOLDOWN => Severity::Warning,
        _ => Severity::Critical,
    };
    Alert {
        id: of_agent(&of.label(), resolved),
        kind: why.kind().to_owned(),
        severity,
        lapsed: true,
        // when it is over by itself
        ends: match why {
            stopped::Why::HeldBack(until) => Some(until),
            _ => None,
        },
        login: None,
        affected: affected.collect(),
        path: Some(tilde(&agent.path)),
        detail: Some(match why {
            stopped::Why::Ignored => ignored_words(agent),
            _ => resolved.why(),
        }),
        obstacle: match why {
            stopped::Why::Ignored => {
                let outside = agent.aside.ignored.iter().any(|one| one.why == Unread::Outside);
                outside.then_some(Obstacle::OutsideProfiles)
            }
            stopped::Why::HeldBack(_) => {
                let unpaid = |(_, why): &(String, PassedOver)| matches!(why, PassedOver::HeldBack(_, Some(why)) if why == "billing");
                resolved.passed_over.iter().any(unpaid).then_some(Obstacle::Billing)
            }
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::policy::AlertsConfig;
    use crate::types::Family;
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
            obstacle: None,
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
                && let Some(why) = due(&alert, told_last.as_ref(), &steps, now)
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
        assert_eq!(due(&week, Some(&first), &steps, late), Some(Why::Step));
        let again = told(&week, Some(&first), Why::Step, &steps, late);
        assert_eq!(due(&week, Some(&again), &steps, late + 60_000), None);
    }

    #[test]
    fn worse_rings_at_once_and_a_half_repair_is_told() {
        let steps = AlertsConfig::default().steps;
        let soon = alert(Severity::Warning, false, NOW + DAY);
        let lapsed = alert(Severity::Critical, true, NOW);
        let told_soon = told(&soon, None, Why::First, &steps, NOW);
        assert_eq!(due(&lapsed, Some(&told_soon), &steps, NOW + 1), Some(Why::Worse));
        let told_lapsed = told(&lapsed, Some(&told_soon), Why::Worse, &steps, NOW + 1);
        assert_eq!(due(&lapsed, Some(&told_lapsed), &steps, NOW + 2), None);
        assert_eq!(due(&soon, Some(&told_lapsed), &steps, NOW + 2), Some(Why::Changed));
        let over = told_resolved(&told_lapsed, NOW + 3);
        assert_eq!(due(&lapsed, Some(&over), &steps, NOW + 4), Some(Why::First));
    }

    fn silence(scope: Scope, until: Until) -> Silence {
        Silence {
            scope,
            until,
            since: NOW,
        }
    }

    fn with_agents(id: &str, agents: &[&str]) -> Alert {
        let affected = |agent: &&str| Affected {
            family: Family::Clawdbot,
            named: None,
            agent: (*agent).into(),
            profile: "anthropic:claude-cli".into(),
            health: Health::Expired,
            expires_at: None,
        };
        Alert {
            id: id.into(),
            affected: agents.iter().map(affected).collect(),
            login: Some(EventLogin {
                id: "claude".into(),
                dir: "~/.claude".into(),
                health: Health::Expired,
                reason: None,
                access_expires_at: None,
                login_ends_at: None,
            }),
            ..alert(Severity::Critical, true, NOW)
        }
    }

    #[test]
    fn an_ack_holds_until_it_gets_worse_or_something_else() {
        let steps = AlertsConfig::default().steps;
        let soon = alert(Severity::Warning, false, NOW + 7 * DAY);
        let ack = Ack::of(&soon, NOW);
        let first = told(&soon, None, Why::First, &steps, NOW);
        let later = |alert: &Alert, at: Ms| decide(alert, Some(&first), mute(alert, Some(&ack), &[], at), &steps, at);
        let step = NOW + 4 * DAY;
        assert_eq!(later(&soon, step), Decision::Muted(Why::Step, Mute::Acked));
        let loud = alert(Severity::Critical, false, NOW + 7 * DAY);
        assert_eq!(later(&loud, step), Decision::Tell(Why::Worse));
        let lapsed = alert(Severity::Warning, true, NOW + 7 * DAY);
        assert_eq!(later(&lapsed, NOW + 8 * DAY), Decision::Tell(Why::Worse));
        let other = Alert {
            kind: "rejected".into(),
            ..soon.clone()
        };
        assert_eq!(later(&other, step), Decision::Tell(Why::Step));
        // an ack of the lapse itself ends the reminders
        let ack = Ack::of(&lapsed, NOW);
        assert_eq!(mute(&lapsed, Some(&ack), &[], NOW + 90 * DAY), Some(Mute::Acked));
    }

    #[test]
    fn an_agent_of_a_named_profile_is_silenced_by_its_own_label_alone() {
        let mut copies = with_agents("copies:claude", &["main"]);
        copies.affected[0].named = Some("work".into());
        let of = |label: &str| [silence(Scope::Agent(label.into()), Until::Time(NOW + HOUR))];
        assert_eq!(mute(&copies, None, &of("clawdbot/main"), NOW), None);
        assert_eq!(
            mute(&copies, None, &of("clawdbot-work/main"), NOW),
            Some(Mute::Silenced)
        );
    }

    #[test]
    fn a_silence_mutes_also_what_is_worse_by_scope_and_time() {
        let login = with_agents("login:claude", &["main"]);
        let copies = with_agents("copies:claude", &["main", "work"]);
        let store = Alert {
            id: "store:clawdbot/main".into(),
            login: None,
            ..with_agents("", &[])
        };
        let (agent, hour) = (
            |name: &str| Scope::Agent(format!("clawdbot/{name}")),
            Until::Time(NOW + HOUR),
        );
        let both = [silence(agent("main"), hour), silence(agent("work"), hour)];
        for (silences, alert, at, muted) in [
            (&[silence(Scope::All, hour)][..], &login, NOW, true),
            (&[silence(Scope::All, hour)], &login, NOW + HOUR, false),
            (&[silence(Scope::All, Until::Recovered)], &login, NOW + 90 * DAY, true),
            (&[silence(Scope::Login("claude".into()), hour)], &copies, NOW, true),
            (&[silence(Scope::Login("claude".into()), hour)], &store, NOW, false),
            // a login is more than its agents
            (&[silence(agent("main"), hour)], &login, NOW, false),
            (&[silence(agent("main"), hour)], &copies, NOW, false),
            (&both, &copies, NOW, true),
            (&[silence(agent("main"), hour)], &store, NOW, true),
            // made under a clock that was a day ahead
            (&[silence(Scope::All, hour)], &login, NOW - DAY, false),
        ] {
            let got = mute(alert, None, silences, at);
            assert_eq!(got, muted.then_some(Mute::Silenced), "{silences:?} {}", alert.id);
        }
    }

    #[test]
    fn a_channel_is_an_alert_once_it_is_more_than_a_hiccup() {
        let trouble = |failures, refused| Trouble {
            since: NOW,
            failures,
            refused,
            why: "answered 500".into(),
            mark: 0,
        };
        for (failures, refused, kind) in [
            (1, false, None),
            (2, false, None),
            (3, false, Some("channel_failing")),
            (1, true, Some("channel_refused")),
        ] {
            let alerts = channel_alerts(&BTreeMap::from([("phone".to_owned(), trouble(failures, refused))]));
            assert_eq!(alerts.first().map(|alert| alert.kind.as_str()), kind);
        }
    }

    proptest! {
        /// Whatever the clock does, telling settles it for that moment.
        #[test]
        fn telling_settles_it(left in -40 * DAY..40 * DAY, earlier in -DAY..DAY, lapsed in any::<bool>()) {
            let steps = AlertsConfig::default().steps;
            let one = alert(Severity::Critical, lapsed, NOW + left);
            let before = told(&one, None, Why::First, &steps, NOW + earlier);
            if let Some(why) = due(&one, Some(&before), &steps, NOW) {
                let after = told(&one, Some(&before), why, &steps, NOW);
                prop_assert_eq!(due(&one, Some(&after), &steps, NOW), None);
            }
        }
    }
}
