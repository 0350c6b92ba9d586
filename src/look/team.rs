//! Logins of Claude Code that lie beside those that are watched, as homes of teams have them: `~/.claude-alice`, `~/.claude-bob`.

use crate::ctx::Ctx;
use crate::edge::files;
use crate::rules::lineage::Relation;
use crate::rules::login::{Login, Place, Source};
use crate::rules::resolve::normalise_provider;
use crate::rules::view::{AgentView, LoginView};
use crate::secret::{Fingerprint, Secret};
use crate::sources::claude;
use crate::types::{Credential, Problem};
use std::path::PathBuf;

/// Directories beside the default one that hold a login and are not looked at.
pub(crate) fn unwatched(ctx: &Ctx, logins: &[LoginView]) -> Vec<Login> {
    let places = claude::places(&ctx.host, &ctx.config.logins);
    let kept = logins.iter().filter(|login| login.login.source != Source::Env);
    let known = places.iter().chain(kept.map(|login| &login.login.place));
    let known: Vec<PathBuf> = known.map(|place| files::real_or_same(&place.dir)).collect();
    files::list(&ctx.host.home)
        .into_iter()
        .filter(|name| name == ".claude" || name.starts_with(".claude-"))
        .map(|name| ctx.host.home.join(name))
        .filter(|dir| !known.contains(&files::real_or_same(dir)))
        .filter_map(|dir| {
            let place = Place::new(ctx.host.tilde(&dir), dir, false);
            let (state, meta) = claude::read(&place);
            let login = Login {
                meta,
                ..Login::new(place, Source::File, state)
            };
            login.grant().is_some_and(|grant| !grant.blanked).then_some(login)
        })
        .collect()
}

/// Notes for each profile that has run out whether it holds the tokens of a login that is not watched, and offers to watch that.
/// Only then are the directories looked at.
pub(super) fn recognise(ctx: &Ctx, agents: &mut [AgentView], logins: &[LoginView]) -> Vec<Problem> {
    let lost = |agent: &AgentView| {
        agent.profiles.iter().any(|profile| {
            let login = profile.login.is_some() && profile.relation != Relation::Unknown;
            !login && !profile.verdict.fine() && normalise_provider(&profile.profile.provider) == "anthropic"
        })
    };
    if !agents.iter().any(lost) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for other in unwatched(ctx, logins) {
        let held = tokens_of(&other);
        let mut labels = Vec::new();
        for agent in agents.iter_mut() {
            let label = agent.label();
            for profile in &mut agent.profiles {
                if holds(&profile.profile.credential, &held) {
                    profile.elsewhere = Some(ctx.host.tilde(&other.place.dir));
                    labels.push(label.clone());
                }
            }
        }
        labels.dedup();
        if !labels.is_empty() {
            problems.push(offer(ctx, &other, &labels));
        }
    }
    problems
}

/// The agents that hold tokens of a login, by label.
pub(crate) fn holders(login: &Login, agents: &[AgentView]) -> Vec<String> {
    let held = tokens_of(login);
    let of_it = |agent: &&AgentView| {
        let mut profiles = agent.profiles.iter();
        profiles.any(|profile| holds(&profile.profile.credential, &held))
    };
    agents.iter().filter(of_it).map(|agent| agent.label()).collect()
}

fn tokens_of(login: &Login) -> Vec<Fingerprint> {
    let grant = login.grant();
    let tokens = grant
        .into_iter()
        .flat_map(|grant| [grant.access.as_ref(), grant.refresh.token()]);
    tokens.flatten().map(Secret::fingerprint).collect()
}

fn holds(credential: &Credential, held: &[Fingerprint]) -> bool {
    let tokens = match credential {
        Credential::Oauth { access, refresh, .. } => [access.as_ref(), refresh.as_ref()],
        Credential::Token { token, .. } => [token.as_ref(), None],
        Credential::ApiKey => [None, None],
    };
    tokens
        .into_iter()
        .flatten()
        .any(|token| held.contains(&token.fingerprint()))
}

fn offer(ctx: &Ctx, login: &Login, labels: &[String]) -> Problem {
    let dir = ctx.host.tilde(&login.place.dir);
    let agents: Vec<String> = labels.iter().map(|label| format!("\"{label}\"")).collect();
    Problem::at(
        "login_not_configured",
        &login.place.dir,
        format!(
            "`{dir}` is the login of {}, and it is not configured: nothing keeps their copies fresh",
            labels.join(", ")
        ),
        format!(
            "add to the configuration: [[login]] dir = \"{dir}\" agents = [{}]",
            agents.join(", ")
        ),
    )
}
