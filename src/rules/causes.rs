//! Everything that needs a human, one alert per root cause: a login that ended and the nine agents that hang on it are one.

use super::alert::{Alert, Obstacle, sort};
use super::lineage::Relation;
use super::renew::{Record, Stage};
use super::resolve::{PassedOver, Resolved, Unread, normalise_provider};
use super::shape::{self, KeptAs};
use super::stopped;
use crate::cause::Cause;
use crate::rules::agent;
use crate::rules::login::{Fault, Grant, Source, State};
use crate::rules::view::{self, AgentView, LoginView, ProfileView, View, ignored_words};
use crate::secret::Secret;
use crate::types::{Affected, Credential, EventLogin, Flaw, HOUR, Health, Held, Moment, Ms, Reason, Severity};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Everything that needs a human, the worst first.
pub fn collect(view: &View, grace: Ms, tilde: &dyn Fn(&Path) -> String) -> Vec<Alert> {
    let mut alerts = login_alerts(view, tilde);
    alerts.extend(renewal_alerts(view, tilde));
    alerts.extend(healed_alerts(view, tilde));
    alerts.extend(unhealed_alerts(view, tilde));
    alerts.extend(profile_alerts(view, grace, tilde));
    alerts.extend(of_stopped(view, grace, tilde));
    alerts.extend(store_alerts(view, tilde));
    sort(&mut alerts);
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
            _ if view::replaced(login, &view.logins, &view.agents, i) => Severity::Info,
            _ if matches!(verdict.reason, Some(Reason::Rejected | Reason::OlderState)) => Severity::Critical,
            Health::Expiring => urgency(verdict.ends, view.now),
            _ => Severity::Critical,
        };
        alerts.push(Alert {
            lapsed,
            ends: verdict.ends,
            login: Some(event_login(view, i, tilde)),
            affected, // whose directory it is decides; what is in it goes with it
            path: (!from_env).then(|| match fault {
                Some(Fault::Foreign) => tilde(&login.login.place.dir),
                _ => tilde(&login.login.place.file()),
            }),
            detail,
            ..Alert::new(Cause::Login(login.id().to_owned()), login_kind(login, fault), severity)
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

/// What is wrong with a token outside any store.
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
/// An end that was written down in seconds.
pub(super) const SECONDS: &str = "expires_in_seconds";
/// The value of an API key is not an API key.
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
        let Some((kind, at, why)) = unfinished(login.renewal.as_ref()) else {
            continue;
        };
        let lapsed = matches!(login.verdict.health, Health::Expired | Health::Missing);
        if lapsed && kind == "unknown_outcome" {
            continue;
        }
        alerts.push(Alert {
            ends: Some(*at),
            login: Some(event_login(view, i, tilde)),
            affected: affected(view, |profile| profile.login == Some(i)),
            path: Some(tilde(&login.login.place.file())),
            detail: Some(why.clone()),
            ..Alert::new(Cause::Renewal(login.id().to_owned()), kind, Severity::Critical)
        });
    }
    for agent in &view.agents {
        for profile in &agent.profiles {
            let Some((kind, at, why)) = unfinished(profile.renewal.as_deref()) else {
                continue;
            };
            let cause = Cause::Renewal(format!("{}/{}", agent.label(), profile.profile.id));
            alerts.push(Alert {
                ends: Some(*at),
                affected: vec![hangs(agent, profile)],
                path: Some(tilde(&agent.path)),
                detail: Some(why.clone()),
                ..Alert::new(cause, kind, Severity::Critical)
            });
        }
    }
    alerts
}

/// A renewal of which nobody knows how it went, or whose tokens are kept aside: the alert's kind, since when, and why.
fn unfinished(renewal: Option<&Record>) -> Option<(&'static str, &Moment, &String)> {
    match &renewal?.stage {
        Stage::Unknown { at, why, .. } => Some(("unknown_outcome", at, why)),
        Stage::Rescued { at, why } => Some(("rescue", at, why)),
        _ => None,
    }
}

/// That a login was brought up to date from an agent's copy: nothing to do, and whoever finds the account strange should know.
fn healed_alerts(view: &View, tilde: &dyn Fn(&Path) -> String) -> Vec<Alert> {
    let logins = view.logins.iter().enumerate();
    let healed = logins.filter_map(|(i, login)| Some((i, login, login.healed.as_ref()?)));
    healed
        .map(|(i, login, healed)| Alert {
            lapsed: false,
            login: Some(event_login(view, i, tilde)),
            path: Some(tilde(&login.login.place.file())),
            detail: Some(healed.from.clone()),
            ..Alert::new(Cause::Healed(login.id().to_owned()), HEALED, Severity::Info)
        })
        .collect()
}

/// The kind of it.
pub(super) const HEALED: &str = "healed";

/// That an agent renewed a login whose own file cannot be brought up to date: Claude Code keeps using the spent token.
fn unhealed_alerts(view: &View, tilde: &dyn Fn(&Path) -> String) -> Vec<Alert> {
    let logins = view.logins.iter().enumerate();
    let unhealed = logins.filter_map(|(i, login)| Some((i, login, login.unhealed.as_ref()?)));
    unhealed
        .map(|(i, login, unhealed)| Alert {
            login: Some(event_login(view, i, tilde)),
            path: Some(tilde(&login.login.place.file())),
            detail: Some(unhealed.why.clone()),
            fix: Some(unhealed.fix.clone()),
            ..Alert::new(Cause::Heal(login.id().to_owned()), NOT_HEALED, Severity::Critical)
        })
        .collect()
}

/// The kind of it.
pub(super) const NOT_HEALED: &str = "not_healed";

/// Why the login of a stale copy could not be renewed, where that is why.
fn not_renewed(login: &LoginView, now: Moment) -> Option<(Obstacle, String)> {
    let grant = login.login.grant()?;
    let Some(renewal) = login.renewal.as_ref() else {
        // nobody tried: renewal is switched off
        let ended = grant.expires.is_some_and(|at| at <= now);
        return ended.then(|| (Obstacle::NobodyRenews, LOGIN_OVER.to_owned()));
    };
    let about_it = grant.refresh.token().map(Secret::fingerprint) == Some(renewal.token);
    let ended = grant.expires.is_some_and(|at| at <= now);
    let why = &renewal.last.as_ref()?.why;
    let cause = login.login.simple().map_or_else(String::new, |name| {
        format!("; with {name} Claude Code says that nobody is logged in")
    });
    (about_it && ended).then(|| could_not_be_renewed(&format!("{why}{cause}")))
}

fn could_not_be_renewed(why: &str) -> (Obstacle, String) {
    (Obstacle::NotRenewed, format!("it could not be renewed: {why}"))
}

/// Six hours ahead is now.
pub(super) fn urgency(ends: Option<Moment>, now: Moment) -> Severity {
    match ends {
        Some(ends) if ends - now > 6 * HOUR => Severity::Warning,
        _ => Severity::Critical,
    }
}

fn profile_alerts(view: &View, grace: Ms, tilde: &dyn Fn(&Path) -> String) -> Vec<Alert> {
    let mut groups: BTreeMap<Cause, Alert> = BTreeMap::new();
    for agent in &view.agents {
        // once for each provider: a store may hold thousands of profiles
        let stopped: BTreeSet<&str> = agent
            .uses
            .iter()
            .filter(|resolved| stopped::why(agent, resolved, grace, view.now).is_some())
            .map(|resolved| resolved.provider.as_str())
            .collect();
        let ignored = agent.aside.ignored.iter();
        let ignored: BTreeMap<&str, String> = ignored.map(|one| (one.id.as_str(), one.why.words())).collect();
        for profile in agent.profiles.iter().filter(|profile| !said_elsewhere(view, profile)) {
            let verdict = &profile.verdict;
            let provider = normalise_provider(&profile.profile.provider);
            let unread = ignored
                .get(profile.profile.id.as_str())
                .filter(|_| verdict.reason == Some(Reason::NoToken));
            // that its agent has stopped for want of it is an alert, with what has to be corrected
            if unread.is_some() && stopped.contains(provider.as_ref()) {
                continue;
            }
            let covered = covered(agent, profile) || stopped.contains(provider.as_ref());
            let id = cause_of(view, agent, profile);
            let lapsed = matches!(verdict.health, Health::Expired | Health::Missing);
            let severity = match lapsed {
                _ if covered => Severity::Info,
                // its login is there, and only has to be named
                _ if profile.elsewhere.is_some() => Severity::Warning,
                true => Severity::Critical,
                false => urgency(verdict.ends, view.now),
            };
            let kind = match &profile.elsewhere {
                Some(_) => NOT_CONFIGURED,
                None => match (&profile.profile.credential, &profile.profile.held) {
                    (Credential::ApiKey, Held::Flawed(flaw)) if *flaw != Flaw::Token && !agent.sqlite => NO_KEY,
                    (credential, _) if lapsed && !agent.sqlite && in_seconds(credential.expires()) => SECONDS,
                    _ => verdict.reason.map_or("missing", Reason::word),
                },
            };
            // read as what it is not it is no end
            let ends = verdict.ends.filter(|_| kind != SECONDS);
            let fix = match (&agent.writable, &profile.elsewhere, profile.login) {
                (Err(not), None, Some(_)) => not.fix.clone(),
                _ => None,
            };
            let (obstacle, detail) = profile_detail(view, agent, profile, unread);
            let alert = groups.entry(id.clone()).or_insert_with(|| Alert {
                lapsed,
                ends,
                login: profile.login.map(|i| event_login(view, i, tilde)),
                path: Some(tilde(&agent.path)),
                detail,
                obstacle,
                fix,
                // most are of one profile alone, and there may be thousands
                affected: Vec::with_capacity(1),
                ..Alert::new(id, kind, severity)
            });
            alert.affected.push(hangs(agent, profile));
            alert.severity = alert.severity.max(severity);
            if lapsed && !alert.lapsed {
                alert.lapsed = true;
                alert.kind = kind.to_owned();
            }
            alert.ends = match (alert.ends, ends) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
    }
    groups.into_values().collect()
}

/// Whether a profile is fine, or its login's alert, or that of a renewal, says what is wrong.
fn said_elsewhere(view: &View, profile: &ProfileView) -> bool {
    let (verdict, login) = (&profile.verdict, profile.login.map(|i| &view.logins[i]));
    let stuck = profile.renewal.as_deref().is_some_and(Record::stuck)
        || login.is_some_and(|login| login.renewal.as_ref().is_some_and(Record::stuck));
    verdict.fine()
        || login.is_some_and(|login| !login.verdict.fine())
        || verdict.reason == Some(Reason::CopyStale) && stuck
        || verdict.reason == Some(Reason::StoreRetired)
}

/// Whether the agent has another way to the same provider, so that it has not stopped. What never worked is no news beside what has
/// ended.
fn covered(agent: &AgentView, profile: &ProfileView) -> bool {
    let resolved = agent.resolved(&profile.profile.provider);
    resolved.is_some_and(|resolved| stands_in(agent, resolved, &profile.profile.id))
        || profile.verdict.reason == Some(Reason::NoToken) && another_ended(agent, profile)
}

/// What all have in common that hang on the same.
fn cause_of(view: &View, agent: &AgentView, profile: &ProfileView) -> Cause {
    match (profile.login, &profile.profile.credential) {
        (Some(login), _) if profile.elsewhere.is_none() => Cause::Copies(view.logins[login].id().to_owned()),
        (
            _,
            Credential::Oauth {
                refresh: Some(refresh), ..
            },
        ) => Cause::Grant(refresh.fingerprint().to_string()),
        (_, Credential::Token { token: Some(token), .. }) => Cause::Token(Secret::fingerprint(token).to_string()),
        _ => Cause::Profile(format!("{}/{}", agent.label(), profile.profile.id)),
    }
}

const OWN_TOKEN: &str = "its refresh token is not the login's";

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
        (Err(not), Some(_), _) => return (None, Some(format!("the store is not written: {not}"))),
        (Ok(()), Some(i), relation) if stale || reason == Some(Reason::CopyDiverged) => {
            match not_renewed(&view.logins[i], view.now) {
                // a sync replaces it, unless the login has nothing to give either
                None if relation == Relation::Unknown => return (None, Some(OWN_TOKEN.to_owned())),
                said => said,
            }
        }
        (_, None, _) if stale => profile
            .renewal
            .as_ref()
            .and_then(|renewal| renewal.last.as_ref())
            .map(|last| could_not_be_renewed(&last.why)),
        (Ok(()), Some(_), Relation::Unknown) => return (None, Some(OWN_TOKEN.to_owned())),
        _ => None,
    };
    said.map_or((None, None), |(obstacle, detail)| (Some(obstacle), Some(detail)))
}

/// Seconds since 1970 of a moment from 2001 on, where milliseconds belong.
pub(crate) fn in_seconds(end: Option<Moment>) -> bool {
    end.is_some_and(|end| (1_000_000_000..100_000_000_000).contains(&end.ms()))
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
            agent::Store::Directory => (DIRECTORY, Severity::Critical),
            agent::Store::Special => (NOT_A_FILE, Severity::Critical),
            agent::Store::Refused(_) | agent::Store::OwnMode(_) if agent.foreign.is_some() => {
                (FOREIGN_OWNER, Severity::Warning)
            }
            agent::Store::OwnMode(_) => (NOT_READABLE, Severity::Warning),
            agent::Store::Refused(_) => ("unreadable", Severity::Warning),
            agent::Store::Absent | agent::Store::Read(_) => return None,
        };
        Some(Alert {
            // whose directory it is decides; what is in it goes with it
            path: Some(tilde(agent.foreign.as_ref().unwrap_or(&agent.path))),
            detail: agent.store.unread().map(str::to_owned),
            ..Alert::new(Cause::Store(agent.label()), kind, severity)
        })
    });
    broken.collect()
}

fn hangs(agent: &AgentView, profile: &ProfileView) -> Affected {
    let of = &agent.agent.agent;
    Affected {
        family: of.family,
        named: of.named.clone(),
        agent: of.id.clone(),
        profile: profile.profile.id.clone(),
        health: profile.verdict.health,
        expires_at: profile.profile.credential.expires(),
    }
}

fn affected(view: &View, which: impl Fn(&ProfileView) -> bool) -> Vec<Affected> {
    let mut list = Vec::new();
    for agent in &view.agents {
        for profile in agent.profiles.iter().filter(|profile| which(profile)) {
            list.push(hangs(agent, profile));
        }
    }
    list
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
        let id = main.map(|main| of_agent(&main.label(), resolved));
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
    now: Moment,
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
    let affected = profiles.into_iter().map(|profile| hangs(agent, profile));
    let severity = match why {
        stopped::Why::HeldBack(until) if until - now <= stopped::LONGEST_COOLDOWN => Severity::Warning,
        _ => Severity::Critical,
    };
    Alert {
        // when it is over by itself
        ends: match why {
            stopped::Why::HeldBack(until) => Some(until),
            _ => None,
        },
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
        ..Alert::new(of_agent(&of.label(), resolved), why.kind(), severity)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::rules::agent::{Binds, NotWritten};
    use crate::rules::health::Verdict;
    use crate::rules::lineage;
    use crate::rules::login::{self, Login, Place, Refresh};
    use crate::rules::renew::Failure;
    use crate::rules::resolve::{By, Ignored, Key, Uses};
    use crate::types::{DAY, Profile};

    pub(crate) const NOW: Moment = Moment::at(1_769_000_000_000);
    const GRACE: Ms = HOUR / 2;

    pub(crate) fn verdict(health: Health, reason: Option<Reason>) -> Verdict {
        let ends = None;
        Verdict { health, reason, ends }
    }

    /// Its access token has ended.
    pub(crate) fn login(health: Health, renewal: Option<Record>) -> LoginView {
        let grant = Grant::new(Secret::new("A"), Refresh::Token(Secret::new("R")), Some(NOW));
        let place = Place::new("claude", "/c", false);
        let verdict = verdict(health, Some(Reason::RenewsItself));
        LoginView {
            renewal,
            ..LoginView::new(Login::new(place, Source::File, State::SignedIn(grant)), verdict)
        }
    }

    pub(crate) fn token(text: &str) -> Credential {
        Credential::Token {
            token: Some(Secret::new(text)),
            expires: Some(NOW - DAY),
        }
    }

    pub(crate) fn profile(id: &str, credential: Credential, verdict: Verdict) -> ProfileView {
        let mut one = view::tests::holding(id, credential, verdict);
        one.profile.provider = "anthropic".into();
        one
    }

    pub(crate) fn agent(profiles: Vec<ProfileView>) -> AgentView {
        view::tests::agent("main", profiles)
    }

    fn alerts(login: LoginView, agent: AgentView) -> Vec<Alert> {
        all(vec![login], vec![agent])
    }

    fn all(logins: Vec<LoginView>, agents: Vec<AgentView>) -> Vec<Alert> {
        let view = view::tests::view(NOW, logins, agents);
        collect(&view, GRACE, &|path| path.display().to_string())
    }

    fn about<'a>(alerts: &'a [Alert], id: &str) -> Option<&'a Alert> {
        alerts.iter().find(|alert| alert.id.to_string() == id)
    }

    fn profiles_of(alert: &Alert) -> Vec<&str> {
        alert.affected.iter().map(|one| one.profile.as_str()).collect()
    }

    fn failed(token: &str) -> Record {
        let mut record = Record::new(Secret::new(token).fingerprint());
        record.last = Some(Failure {
            kind: "endpoint_blocked".into(),
            why: "blocked".into(),
            at: NOW,
        });
        record
    }

    fn resolved(uses: Option<&str>, passed_over: &[(&str, PassedOver)]) -> Resolved {
        let passed_over = passed_over.iter().map(|(id, why)| ((*id).to_owned(), why.clone()));
        Resolved {
            provider: "anthropic".into(),
            in_use: true,
            uses: uses.map(|id| Uses::Profile(id.to_owned())),
            key: None,
            by: By::Nobody,
            passed_over: passed_over.collect(),
            held_back_until: None,
        }
    }

    #[test]
    fn a_renewal_that_is_stuck_is_said_of_its_login_or_its_profile() {
        let at = NOW - HOUR;
        let unknown = || Stage::Unknown {
            expires: None,
            at,
            why: "why".into(),
        };
        let rescued = || Stage::Rescued { at, why: "why".into() };
        for (stage, health, kind) in [
            (Stage::Idle, Health::Ok, None),
            (unknown(), Health::Ok, Some("unknown_outcome")),
            (rescued(), Health::Ok, Some("rescue")),
            // that it has lapsed is said already
            (unknown(), Health::Expired, None),
            (rescued(), Health::Expired, Some("rescue")),
        ] {
            let mut record = Record::new(Secret::new("R").fingerprint());
            record.stage = stage;
            let of_renewal = |alerts: Vec<Alert>| -> Vec<Alert> {
                let is = |alert: &Alert| matches!(alert.id, Cause::Renewal(_));
                alerts.into_iter().filter(is).collect()
            };
            let found = of_renewal(alerts(login(health, Some(record.clone())), agent(Vec::new())));
            assert_eq!(found.first().map(|alert| alert.kind.as_str()), kind);
            for alert in found {
                assert_eq!((alert.id.to_string().as_str(), alert.ends), ("renew:claude", Some(at)));
                assert_eq!(alert.path.as_deref(), Some("/c/.credentials.json"));
                assert_eq!(
                    (alert.detail.as_deref(), alert.severity),
                    (Some("why"), Severity::Critical)
                );
            }
            let mut own = profile("p:q", token("T"), verdict(Health::Ok, None));
            own.renewal = Some(Box::new(record));
            let found = of_renewal(alerts(login(Health::Ok, None), agent(vec![own])));
            let wanted = kind.filter(|_| health == Health::Ok);
            for alert in &found {
                assert_eq!(alert.id.to_string(), "renew:clawdbot/main/p:q");
                assert_eq!((alert.ends, alert.detail.as_deref()), (Some(at), Some("why")));
                assert_eq!(alert.path.as_deref(), Some("/a/auth-profiles.json"));
                assert_eq!((alert.affected.len(), alert.login.is_none()), (1, true));
            }
            if health == Health::Ok {
                assert_eq!(found.first().map(|alert| alert.kind.as_str()), wanted);
            }
        }
    }

    #[test]
    fn what_a_profile_hangs_on_and_what_stands_against_it_are_said() {
        let stale = |reason| {
            profile(
                "anthropic:claude-cli",
                token("T"),
                verdict(Health::Expired, Some(reason)),
            )
        };
        let hangs = |reason, relation| ProfileView {
            login: Some(0),
            relation,
            ..stale(reason)
        };
        let elsewhere = ProfileView {
            elsewhere: Some("~/.claude-x".into()),
            ..hangs(Reason::CopyStale, Relation::Unknown)
        };
        let flawed = |profile: ProfileView| ProfileView {
            profile: Profile {
                held: Held::Flawed(Flaw::Empty),
                ..profile.profile
            },
            ..profile
        };
        let failed = failed("R");
        let own = ProfileView {
            renewal: Some(Box::new(failed.clone())),
            ..stale(Reason::CopyStale)
        };
        let fingerprint = Secret::new("T").fingerprint();
        let (copies, of_token) = ("copies:claude".to_owned(), format!("token:{fingerprint}"));
        for (profile, renewal, id, kind, obstacle, detail) in [
            (
                elsewhere,
                None,
                &of_token,
                NOT_CONFIGURED,
                None,
                Some("~/.claude-x".to_owned()),
            ),
            (
                hangs(Reason::NoRefreshToken, Relation::Unknown),
                None,
                &copies,
                "no_refresh_token",
                None,
                Some(OWN_TOKEN.to_owned()),
            ),
            (
                hangs(Reason::NoRefreshToken, Relation::Same),
                None,
                &copies,
                "no_refresh_token",
                None,
                None,
            ),
            (
                hangs(Reason::CopyStale, Relation::Same),
                None,
                &copies,
                "copy_stale",
                Some(Obstacle::NobodyRenews),
                Some(LOGIN_OVER.to_owned()),
            ),
            (
                hangs(Reason::CopyStale, Relation::Same),
                Some(failed),
                &copies,
                "copy_stale",
                Some(Obstacle::NotRenewed),
                Some("it could not be renewed: blocked".to_owned()),
            ),
            (
                own,
                None,
                &of_token,
                "copy_stale",
                Some(Obstacle::NotRenewed),
                Some("it could not be renewed: blocked".to_owned()),
            ),
            (
                stale(Reason::NoRefreshToken),
                None,
                &of_token,
                "no_refresh_token",
                None,
                None,
            ),
            (
                flawed(stale(Reason::NoToken)),
                None,
                &of_token,
                "no_token",
                None,
                Some(Flaw::Empty.words().to_owned()),
            ),
        ] {
            let found = alerts(login(Health::Ok, renewal), agent(vec![profile.clone()]));
            let [alert] = &found[..] else {
                panic!("{profile:?}: {found:?}")
            };
            assert_eq!((alert.id.to_string(), alert.kind.as_str()), (id.clone(), kind));
            assert_eq!((alert.obstacle, &alert.detail), (obstacle, &detail), "{kind} of {id}");
            let warning = kind == NOT_CONFIGURED;
            assert_eq!(alert.severity == Severity::Warning, warning, "{kind} of {id}");
        }
        // under a name that agents do not read
        let mut misnamed = agent(vec![flawed(stale(Reason::NoToken))]);
        let why = Unread::Misnamed {
            found: "apiKey",
            wanted: "token",
        };
        misnamed.aside.ignored.push(Ignored {
            id: "anthropic:claude-cli".into(),
            why: why.clone(),
        });
        let found = alerts(login(Health::Ok, None), misnamed);
        assert_eq!(found[0].detail, Some(format!("it {}", why.words())));
        // where it is not written, whatever else is the matter
        let mut locked = agent(vec![hangs(Reason::CopyStale, Relation::Same)]);
        locked.writable = Err(NotWritten {
            why: "so".into(),
            fix: Some("true".into()),
            binds: Binds::Everybody,
        });
        let found = alerts(login(Health::Ok, None), locked);
        assert_eq!((found[0].fix.as_deref(), found[0].obstacle), (Some("true"), None));
        let detail = found[0].detail.as_deref().unwrap_or_default();
        assert!(detail.starts_with("the store is not written: "), "{detail}");
    }

    #[test]
    fn what_would_work_is_named_first_and_a_wait_counts_after_its_grace() {
        let not_in = |id| (id, PassedOver::NotIn(By::Store));
        let mut one = agent(vec![
            profile("a", token("T"), verdict(Health::Expired, Some(Reason::NoRefreshToken))),
            profile("b", token("U"), verdict(Health::Expiring, Some(Reason::NoRefreshToken))),
        ]);
        one.uses = vec![resolved(None, &[not_in("a"), not_in("b")])];
        let found = alerts(login(Health::Ok, None), one.clone());
        let stopped = found.iter().find(|alert| alert.kind == "not_in_order").unwrap();
        let named: Vec<&str> = stopped.affected.iter().map(|one| one.profile.as_str()).collect();
        assert_eq!(named, ["b", "a"]);
        for (left, severity) in [
            (GRACE, None),
            (GRACE + 1, Some(Severity::Warning)),
            (stopped::LONGEST_COOLDOWN, Some(Severity::Warning)),
            (stopped::LONGEST_COOLDOWN + 1, Some(Severity::Critical)),
        ] {
            let held = ("b", PassedOver::HeldBack(NOW + left, None));
            one.uses = vec![Resolved {
                held_back_until: Some(NOW + left),
                ..resolved(None, &[held])
            }];
            let found = alerts(login(Health::Ok, None), one.clone());
            let stopped = found.iter().find(|alert| alert.kind == "held_back");
            assert_eq!(stopped.map(|alert| alert.severity), severity, "{left}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_login_decides_kind_place_and_detail() {
        let grant = |access: Option<&str>| Grant {
            access: access.map(Secret::new),
            ..Grant::new(Secret::new(""), Refresh::Token(Secret::new("R")), Some(NOW))
        };
        let no_scopes = |blanked| Grant {
            scopes: None,
            blanked,
            ..grant(Some("A"))
        };
        let signed_in = |access| State::SignedIn(grant(access));
        let unreadable = |fault| State::Unreadable {
            why: "why".into(),
            fault,
        };
        let (file, critical, warning) = ("/c/.credentials.json", Severity::Critical, Severity::Warning);
        let placeholder = Some(Flaw::Placeholder.words());
        for (state, health, reason, kind, path, severity, detail) in [
            (
                unreadable(Fault::Refused),
                Health::Missing,
                Reason::Unreadable,
                "unreadable",
                file,
                warning,
                Some("why"),
            ),
            (
                unreadable(Fault::Foreign),
                Health::Missing,
                Reason::Unreadable,
                FOREIGN_OWNER,
                "/c",
                warning,
                Some("why"),
            ),
            (
                unreadable(Fault::Mode),
                Health::Missing,
                Reason::Unreadable,
                NOT_READABLE,
                file,
                critical,
                Some("why"),
            ),
            (
                signed_in(Some("A")),
                Health::Expired,
                Reason::NotRenewed,
                "not_renewed",
                file,
                critical,
                Some("blocked"),
            ),
            (
                signed_in(Some("${TOKEN}")),
                Health::Missing,
                Reason::NoToken,
                "no_token",
                file,
                critical,
                placeholder,
            ),
            // what another renewal said and what a token looks like are no cause of these
            (
                signed_in(Some("${TOKEN}")),
                Health::Expired,
                Reason::LoginEnded,
                "login_ended",
                file,
                critical,
                None,
            ),
            // tomorrow's end is no matter of tomorrow
            (
                signed_in(Some("A")),
                Health::Expiring,
                Reason::LoginEndsSoon,
                "login_ends_soon",
                file,
                warning,
                None,
            ),
            (
                signed_in(Some("A")),
                Health::Expiring,
                Reason::Rejected,
                "rejected",
                file,
                critical,
                None,
            ),
            (
                signed_in(Some("A")),
                Health::Expiring,
                Reason::OlderState,
                "older_state",
                file,
                critical,
                None,
            ),
            (
                signed_in(None),
                Health::Expired,
                Reason::LoginEnded,
                NO_ACCESS,
                file,
                critical,
                None,
            ),
            (
                State::SignedIn(no_scopes(false)),
                Health::Missing,
                Reason::Blanked,
                NO_SCOPES,
                file,
                critical,
                None,
            ),
            (
                State::SignedIn(no_scopes(true)),
                Health::Missing,
                Reason::Blanked,
                "blanked",
                file,
                critical,
                None,
            ),
        ] {
            let mut one = login(health, Some(failed("R")));
            one.login.state = state;
            one.verdict = Verdict {
                ends: Some(NOW + DAY),
                ..verdict(health, Some(reason))
            };
            let found = alerts(one, agent(Vec::new()));
            let alert = about(&found, "login:claude").unwrap();
            assert_eq!((alert.kind.as_str(), alert.path.as_deref()), (kind, Some(path)));
            assert_eq!((alert.severity, alert.detail.as_deref()), (severity, detail), "{kind}");
        }
    }

    #[test]
    fn a_login_that_nobody_knows_is_not_missed() {
        let hangs = |id: &str, health, login| ProfileView {
            login,
            ..profile(id, token(id), verdict(health, Some(Reason::NoRefreshToken)))
        };
        let memory = lineage::LoginMemory {
            lineage: Secret::new("R").fingerprint(),
            refresh: None,
            past: Vec::new(),
            accesses: Vec::new(),
            deadline: None,
            access_ends: None,
            signed_in: false,
        };
        let others = [hangs("fine", Health::Ok, Some(0)), hangs("own", Health::Expired, None)];
        for (known, configured, on_it, missed) in [
            (false, false, false, false),
            (true, false, false, true),
            (false, true, false, true),
            (false, false, true, true),
        ] {
            let mut one = login(Health::Missing, None);
            one.login.state = State::SignedOut;
            one.verdict.reason = None;
            one.memory = known.then(|| memory.clone());
            one.login.place.configured = configured;
            let mut profiles = others.to_vec();
            profiles.extend(on_it.then(|| hangs("ended", Health::Expired, Some(0))));
            let found = alerts(one, agent(profiles));
            let alert = about(&found, "login:claude");
            assert_eq!(alert.is_some(), missed, "{known} {configured} {on_it}");
            let on_it: Vec<&str> = on_it.then_some("ended").into_iter().collect();
            assert_eq!(alert.map_or(Vec::new(), profiles_of), on_it);
        }
    }

    #[test]
    fn what_is_told_of_a_login_names_it_and_its_file() {
        let mut record = Record::new(Secret::new("R").fingerprint());
        record.stage = Stage::Rescued {
            at: NOW,
            why: "why".into(),
        };
        let mut one = login(Health::Ok, Some(record));
        one.healed = Some(login::Healed {
            at: NOW,
            from: "clawdbot/main".into(),
        });
        one.unhealed = Some(view::Unhealed {
            why: "it is so".into(),
            fix: "true".into(),
        });
        let hangs = ProfileView {
            login: Some(0),
            ..profile("p", token("T"), verdict(Health::Ok, None))
        };
        let other = profile("q", token("U"), verdict(Health::Ok, None));
        let found = alerts(one, agent(vec![hangs, other]));
        for (id, kind, lapsed, severity, detail, fix, affected) in [
            (
                "renew:claude",
                "rescue",
                true,
                Severity::Critical,
                "why",
                None,
                &["p"][..],
            ),
            (
                "healed:claude",
                HEALED,
                false,
                Severity::Info,
                "clawdbot/main",
                None,
                &[],
            ),
            (
                "heal:claude",
                NOT_HEALED,
                true,
                Severity::Critical,
                "it is so",
                Some("true"),
                &[],
            ),
        ] {
            let alert = about(&found, id).unwrap();
            assert_eq!(
                (alert.kind.as_str(), alert.severity, alert.lapsed),
                (kind, severity, lapsed)
            );
            assert_eq!(alert.login.as_ref().map(|login| login.id.as_str()), Some("claude"));
            assert_eq!(alert.path.as_deref(), Some("/c/.credentials.json"), "{id}");
            assert_eq!((alert.detail.as_deref(), alert.fix.as_deref()), (Some(detail), fix));
            assert_eq!(profiles_of(alert), affected, "{id}");
        }
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn the_kind_of_a_profile_goes_by_what_stands_in_it() {
        let seconds = Credential::Token {
            token: Some(Secret::new("T")),
            expires: Some(Moment::at(NOW.ms() / 1000)),
        };
        let flawed = |flaw| Held::Flawed(flaw);
        let (expired, ahead) = (Health::Expired, Health::Expiring);
        for (credential, held, health, sqlite, kind) in [
            (Credential::ApiKey, flawed(Flaw::Empty), expired, false, NO_KEY),
            (Credential::ApiKey, flawed(Flaw::Empty), expired, true, "no_token"),
            (Credential::ApiKey, flawed(Flaw::Token), expired, false, "no_token"),
            (seconds.clone(), Held::Inline, expired, false, SECONDS),
            (seconds.clone(), Held::Inline, expired, true, "no_token"),
            (seconds, Held::Inline, ahead, false, "no_token"),
            (token("T"), Held::Inline, expired, false, "no_token"),
        ] {
            let mut one = profile("p", credential, verdict(health, Some(Reason::NoToken)));
            one.profile.held = held;
            let mut agent = agent(vec![one.clone()]);
            agent.sqlite = sqlite;
            let found = alerts(login(Health::Ok, None), agent);
            assert_eq!(found[0].kind, kind, "{one:?} {sqlite}");
        }
        // stores that hold one grant are one cause
        let oauth = Credential::Oauth {
            access: None,
            refresh: Some(Secret::new("R")),
            expires: None,
        };
        let own = profile("p", oauth, verdict(Health::Expired, Some(Reason::Rejected)));
        let found = alerts(login(Health::Ok, None), agent(vec![own]));
        assert_eq!(
            found[0].id.to_string(),
            format!("grant:{}", Secret::new("R").fingerprint())
        );
    }

    #[test]
    fn a_copy_whose_login_can_still_be_renewed_has_no_obstacle() {
        let hour = Some(NOW + HOUR);
        let own = Some(OWN_TOKEN);
        let blocked = Some("it could not be renewed: blocked");
        for (on_login, relation, reason, expires, renewal, detail) in [
            (true, Relation::Same, Reason::CopyStale, Some(NOW), Some("R"), blocked),
            // that was of another token, or the access token is alive
            (true, Relation::Same, Reason::CopyStale, Some(NOW), Some("S"), None),
            (true, Relation::Same, Reason::CopyStale, hour, Some("R"), None),
            (true, Relation::Unknown, Reason::CopyStale, hour, None, own),
            (true, Relation::Same, Reason::CopyStale, hour, None, None),
            (
                true,
                Relation::Same,
                Reason::CopyDiverged,
                Some(NOW),
                Some("R"),
                blocked,
            ),
            // its own renewal
            (false, Relation::Unknown, Reason::CopyStale, None, Some("R"), blocked),
            (false, Relation::Unknown, Reason::NoRefreshToken, None, Some("R"), None),
        ] {
            let renewal = renewal.map(failed);
            let mut one = profile("p", token("T"), verdict(Health::Expired, Some(reason)));
            (one.login, one.relation) = (on_login.then_some(0), relation);
            let mut login = login(Health::Ok, renewal.clone().filter(|_| on_login));
            if let State::SignedIn(grant) = &mut login.login.state {
                grant.expires = expires;
            }
            one.renewal = renewal.filter(|_| !on_login).map(Box::new);
            let found = alerts(login, agent(vec![one]));
            let said = format!("{on_login} {relation:?} {reason:?} {expires:?}");
            assert_eq!(found[0].detail.as_deref(), detail, "{said}");
        }
    }

    #[test]
    fn a_stale_copy_is_said_by_the_renewal_that_is_stuck() {
        let stuck = || {
            let mut record = Record::new(Secret::new("R").fingerprint());
            record.stage = Stage::Rescued {
                at: NOW,
                why: "why".into(),
            };
            record
        };
        for (reason, of_login, own, said) in [
            (Reason::CopyStale, false, false, true),
            (Reason::CopyStale, true, false, false),
            (Reason::CopyStale, false, true, false),
            (Reason::CopyDiverged, true, false, true),
            (Reason::CopyDiverged, false, true, true),
        ] {
            let mut one = profile("p", token("T"), verdict(Health::Expired, Some(reason)));
            one.login = Some(0);
            one.renewal = own.then(|| Box::new(stuck()));
            let found = alerts(login(Health::Ok, of_login.then(stuck)), agent(vec![one]));
            let copies = about(&found, "copies:claude");
            assert_eq!(copies.is_some(), said, "{reason:?} {of_login} {own}");
        }
    }

    #[test]
    fn an_agent_with_another_way_is_told_of_quietly() {
        let (ended, ok) = (Health::Expired, Health::Ok);
        let behind = |id| vec![(id, PassedOver::Behind)];
        let key = Resolved {
            key: Some(Key::Env("ANTHROPIC_API_KEY".into())),
            ..resolved(Some("p"), &[])
        };
        let (no_token, over) = (Reason::NoToken, Reason::NoRefreshToken);
        for (case, (uses, reason, provider, other, covered)) in [
            (resolved(None, &[]), over, "anthropic", ok, false),
            (resolved(Some("q"), &[]), over, "anthropic", ok, true),
            (resolved(Some("p"), &[]), over, "anthropic", ok, false),
            (key, over, "anthropic", ok, true),
            (resolved(Some("p"), &behind("q")), over, "anthropic", ok, true),
            (resolved(Some("p"), &behind("q")), over, "anthropic", ended, false),
            (
                resolved(Some("p"), &[("q", PassedOver::Ended)]),
                over,
                "anthropic",
                ok,
                false,
            ),
            // what never worked is no news beside what has ended
            (resolved(None, &[]), no_token, "anthropic", ended, true),
            (resolved(None, &[]), over, "anthropic", ended, false),
            (resolved(None, &[]), no_token, "anthropic", ok, false),
            (resolved(None, &[]), no_token, "openai", ended, false),
            (resolved(None, &[]), no_token, "openai", ok, false),
            // an agent that has stopped for want of it says so itself
            (
                resolved(None, &[("q", PassedOver::NotIn(By::Store))]),
                over,
                "anthropic",
                ok,
                true,
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let one = profile("p", token("T"), verdict(ended, Some(reason)));
            let mut beside = profile("q", token("U"), verdict(other, Some(over)));
            beside.profile.provider = provider.into();
            let mut agent = agent(vec![one, beside]);
            agent.uses = vec![uses];
            let found = alerts(login(ok, None), agent);
            let alert = about(&found, &format!("token:{}", Secret::new("T").fingerprint())).unwrap();
            assert_eq!(alert.severity == Severity::Info, covered, "{case}");
        }
    }

    #[test]
    fn a_store_that_cannot_be_read_says_why_and_whose_it_is() {
        for (store, foreign, kind, path, detail) in [
            (
                agent::Store::Refused("so".into()),
                false,
                "unreadable",
                "/a/auth-profiles.json",
                "so",
            ),
            (agent::Store::Refused("so".into()), true, FOREIGN_OWNER, "/a", "so"),
            (
                agent::Store::OwnMode("so".into()),
                false,
                NOT_READABLE,
                "/a/auth-profiles.json",
                "so",
            ),
            (agent::Store::OwnMode("so".into()), true, FOREIGN_OWNER, "/a", "so"),
            (
                agent::Store::Malformed("so".into()),
                true,
                "store_malformed",
                "/a",
                "so",
            ),
        ] {
            let mut agent = agent(Vec::new());
            agent.foreign = foreign.then(|| "/a".into());
            agent.store = store;
            let found = alerts(login(Health::Ok, None), agent);
            assert_eq!((found[0].kind.as_str(), found[0].path.as_deref()), (kind, Some(path)));
            assert_eq!(found[0].detail.as_deref(), Some(detail));
        }
    }

    #[test]
    fn what_stopped_the_main_agent_stopped_those_that_live_on_its_profiles() {
        let not_in = |ids: &[&str]| {
            let passed: Vec<_> = ids.iter().map(|id| (*id, PassedOver::NotIn(By::Store))).collect();
            resolved(None, &passed)
        };
        let of = |id: &str, named: Option<&str>, profiles: &[&str], uses| {
            let fine = |id: &&str| profile(id, token(id), verdict(Health::Ok, None));
            let mut agent = agent(profiles.iter().map(fine).collect());
            agent.agent.state_dir = usize::from(named.is_some());
            (agent.agent.agent.id, agent.agent.agent.named) = (id.into(), named.map(str::to_owned));
            agent.uses = vec![uses];
            agent
        };
        let ignores = |mut agent: AgentView, id: &str| {
            agent.aside.ignored.push(Ignored {
                id: id.into(),
                why: Unread::NoType,
            });
            agent
        };
        let no_secret = |id| resolved(None, &[(id, PassedOver::NoSecret)]);
        let (main, other) = ("agent:clawdbot/main#anthropic", "agent:clawdbot-x/main#anthropic");
        let sub = "agent:clawdbot/sub#anthropic";
        for (agents, want) in [
            // what nobody passed over is no part of it
            (
                vec![of("main", None, &["a", "b"], not_in(&["a"]))],
                vec![(main, vec!["main/a"])],
            ),
            (
                vec![
                    of("main", None, &["a"], not_in(&["a"])),
                    of("main", Some("x"), &["b"], not_in(&["b"])),
                    of("sub", Some("x"), &[], not_in(&["b"])),
                ],
                vec![(other, vec!["main/b", "sub/b"]), (main, vec!["main/a"])],
            ),
            // what is its own it says itself
            (
                vec![
                    of("main", None, &["a"], not_in(&["a"])),
                    of("sub", None, &["b"], not_in(&["b"])),
                ],
                vec![(main, vec!["main/a"]), (sub, vec!["sub/b"])],
            ),
            (
                vec![
                    ignores(of("main", None, &["a"], no_secret("a")), "a"),
                    ignores(of("sub", None, &[], resolved(None, &[])), "b"),
                ],
                vec![(main, vec!["main/a"]), (sub, vec![])],
            ),
            // the main agent stopped for another cause
            (
                vec![
                    ignores(of("main", None, &["a"], no_secret("a")), "a"),
                    of("sub", None, &[], not_in(&["b"])),
                ],
                vec![(main, vec!["main/a"]), (sub, vec![])],
            ),
        ] {
            let found = all(vec![login(Health::Ok, None)], agents);
            let found: Vec<(String, Vec<String>)> = found
                .iter()
                .map(|alert| {
                    let affected = alert.affected.iter();
                    let affected = affected.map(|one| format!("{}/{}", one.agent, one.profile));
                    (alert.id.to_string(), affected.collect())
                })
                .collect();
            let want: Vec<(String, Vec<String>)> = want
                .into_iter()
                .map(|(id, affected)| (id.to_owned(), affected.into_iter().map(str::to_owned).collect()))
                .collect();
            assert_eq!(found, want);
        }
    }
}
