//! What each agent really uses, and what in its store it does not read: the facts for `rules/resolve`, and the notes about them.

use crate::ctx::Ctx;
use crate::edge::files;
use crate::rules::agent::StateDir;
use crate::rules::health::{self, Verdict};
use crate::rules::memory::Ledger;
use crate::rules::view::{LoginView, ignored_words, retired};
use crate::rules::{agent, claude_cli};

use crate::rules::resolve::{self, Candidate, Key, Rules, Unread, normalise_provider};
use crate::rules::shape;
use crate::rules::view::{AgentView, ProfileView};
use crate::secret::Secret;
use crate::stores::dotenv::Dotenv;
use crate::stores::{families, store};
use crate::types::{Credential, Family, Flaw, Health, Held, Moment, Problem, Reason};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Resolves what every agent uses. A store that this product does not read any more is left out.
pub(super) fn resolve_all(ctx: &Ctx, agents: &mut [AgentView], state_dirs: &[StateDir], now: Moment) {
    // agents without a profile of their own have the main agent's, and all merge with them (clawdbot 2026.1.24-3)
    let mut mains: BTreeMap<usize, usize> = BTreeMap::new();
    for (i, agent) in agents.iter().enumerate() {
        if agent.agent.agent.id == "main" && !agent.sqlite {
            mains.insert(agent.agent.state_dir, i);
        }
    }
    for i in 0..agents.len() {
        let agent = &agents[i];
        if retired(agent) {
            continue;
        }
        let main = mains
            .get(&agent.agent.state_dir)
            .filter(|main| **main != i)
            .map(|main| &agents[*main]);
        let uses = of_agent(ctx, agent, main, &state_dirs[agent.agent.state_dir], now);
        agents[i].uses = uses;
    }
}

fn of_agent(
    ctx: &Ctx,
    agent: &AgentView,
    main: Option<&AgentView>,
    state_dir: &StateDir,
    now: Moment,
) -> Vec<resolve::Resolved> {
    // a store may hold thousands of profiles: every look-up here is by key
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut providers: Vec<String> = Vec::new();
    let mut add = |provider: &str| {
        let provider = normalise_provider(provider).into_owned();
        if known.insert(provider.clone()) {
            providers.push(provider);
        }
        providers.len()
    };
    let needed = state_dir
        .providers_of(&agent.agent.agent.id)
        .iter()
        .map(|provider| add(provider))
        .last()
        .unwrap_or(0);
    for profile in agent.profiles.iter().filter(|profile| !profile.verdict.fine()) {
        add(&profile.profile.provider);
    }
    let none = resolve::Aside::default();
    let inherited = main.map_or(&none, |main| &main.aside);
    let stored = merged(&inherited.order, &agent.aside.order);
    let usage = [&agent.aside.usage, &inherited.usage];
    let rules = Rules {
        stored: &stored,
        config: &state_dir.auth,
        usage: &usage,
        generation: families::resolves(agent.agent.agent.family),
        now,
    };
    let mut candidates = by_provider(agent, main);
    let mut all: Vec<resolve::Resolved> = providers
        .iter()
        .enumerate()
        .map(|(i, provider)| {
            let candidates = candidates.remove(provider).unwrap_or_default();
            let mut resolved = resolve::resolve(provider, &candidates, &rules, key(ctx, provider, state_dir));
            resolved.in_use = i < needed;
            resolved
        })
        .collect();
    // a pasted token of Anthropic's takes the login's place (openclaw 2026.6.6 to 2026.9.6)
    if let Some(at) = all.iter().position(|one| one.provider == claude_cli::ID) {
        let of_anthropic = agent
            .profiles
            .iter()
            .filter(|one| one.profile.provider == "anthropic" && one.verdict.fine());
        let pasted = of_anthropic
            .filter(|one| matches!(one.profile.credential, Credential::Token { .. }))
            .map(|one| one.profile.id.as_str())
            .next();
        if let (Family::Openclaw, Some(id)) = (agent.agent.agent.family, pasted) {
            all[at].replace(id);
        }
    }
    all
}

/// What an agent has for each provider: the main agent's profiles in their order, its own of the same id in their place, then the
/// rest of its own.
fn by_provider<'v>(agent: &'v AgentView, main: Option<&'v AgentView>) -> BTreeMap<String, Vec<Candidate<'v>>> {
    let own: BTreeMap<&str, &ProfileView> = agent
        .profiles
        .iter()
        .rev()
        .map(|profile| (profile.profile.id.as_str(), profile))
        .collect();
    let inherited = main.map_or(&[][..], |main| &main.profiles);
    let ids: BTreeSet<&str> = inherited.iter().map(|profile| profile.profile.id.as_str()).collect();
    let from_main = inherited
        .iter()
        .map(|profile| own.get(profile.profile.id.as_str()).copied().unwrap_or(profile));
    let rest = agent
        .profiles
        .iter()
        .filter(|profile| !ids.contains(profile.profile.id.as_str()));
    let mut all: BTreeMap<String, Vec<Candidate<'_>>> = BTreeMap::new();
    for profile in from_main.chain(rest) {
        let provider = normalise_provider(&profile.profile.provider).into_owned();
        all.entry(provider).or_default().push(Candidate {
            profile: &profile.profile,
            dead: matches!(profile.verdict.health, Health::Expired | Health::Missing),
        });
    }
    all
}

/// `{...inherited, ...own}` as JavaScript merges it.
fn merged<'o>(
    inherited: &'o [(String, Vec<String>)],
    own: &'o [(String, Vec<String>)],
) -> Vec<(&'o str, &'o [String])> {
    let of = |key: &str| own.iter().find(|(known, _)| known == key);
    let first = inherited.iter().map(|one| of(&one.0).unwrap_or(one));
    let rest = own
        .iter()
        .filter(|(key, _)| !inherited.iter().any(|(known, _)| known == key));
    first
        .chain(rest)
        .map(|(key, ids)| (key.as_str(), ids.as_slice()))
        .collect()
}

/// The key outside any store that serves a provider.
pub(crate) fn key(ctx: &Ctx, provider: &str, state_dir: &StateDir) -> Option<Key> {
    let env = |name: &str| {
        ctx.host
            .var_nonblank(name)
            .is_some_and(|value| shape::variable_flaw(name, value).is_none())
    };
    let flawed = |name: &str| state_dir.dotenv_flaws.iter().any(|(known, _)| known == name);
    let dotenv = |name: &str| state_dir.dotenv.iter().any(|known| known == name) && !flawed(name);
    resolve::key(provider, &env, &dotenv, &state_dir.auth)
}

/// The end of what a reference points at, where that is known: a variable with a setup token whose issue was recorded, or Claude
/// Code's own file.
pub(super) fn with_the_end_of(around: &Around<'_>, state_dir: &StateDir, held: &Held, verdict: Verdict) -> Verdict {
    let Held::Referenced(reference) = held else {
        return verdict;
    };
    let known = match reference.source.as_str() {
        "env" => {
            let here = around.ctx.host.var_nonblank(&reference.id).map(Secret::new);
            let token = here.or_else(|| Dotenv::read(&state_dir.dir.join(".env")).0.get(&reference.id).cloned());
            token.and_then(|token| around.ledger.setup_tokens.get(&token.fingerprint()))
        }
        _ => None,
    };
    match known {
        Some(known) => {
            let credential = Credential::Token {
                token: None,
                expires: Some(known.expires_at),
            };
            let as_of = around.ctx.config.alerts.at(around.now);
            let judged = health::profile(&credential, "anthropic", None, false, as_of);
            match judged.health {
                Health::Ok => Verdict {
                    health: Health::Referenced,
                    ..judged
                },
                _ => judged,
            }
        }
        None => verdict,
    }
}

/// What to report about an agent's store: entries that the agent does not read, and values that are not tokens.
pub(super) fn store_problems(ctx: &Ctx, agent: &AgentView) -> Vec<Problem> {
    let here = ctx.host.tilde(&agent.path);
    let mut problems = Vec::new();
    if !agent.aside.ignored.is_empty() {
        problems.push(Problem::at(
            "entries_ignored",
            &agent.path,
            format!("`{here}` {}", ignored_words(agent)),
            ignored_hint(agent),
        ));
    }
    for profile in &agent.profiles {
        if profile.verdict.reason == Some(Reason::NoToken)
            && let Held::Flawed(flaw) = profile.profile.held
        {
            let id = &profile.profile.id;
            problems.push(Problem::at(
                "no_token",
                &agent.path,
                format!(
                    "`{id}` of {} holds no token or key, but {}",
                    agent.label(),
                    flaw.words()
                ),
                flaw_hint(flaw, profile, agent),
            ));
        }
    }
    problems
}

/// Whether a store elsewhere would explain what is missing here.
pub(super) fn wants(agent: &AgentView) -> bool {
    let nothing = agent
        .uses
        .iter()
        .any(|resolved| resolved.in_use && resolved.uses.is_none());
    !agent.sqlite && (agent.store == agent::Store::Absent || nothing)
}

/// A store one level too high, `agents/ID/auth-profiles.json`, which no agent reads.
pub(crate) fn misplaced(ctx: &Ctx, agent: &AgentView) -> Option<Problem> {
    let path = agent.agent.agent.dir.parent()?.join(store::FILE_NAME);
    unread_store(ctx, path, &agent.path)
}

/// A store in the state directory itself, which no agent reads.
pub(super) fn beside(ctx: &Ctx, state_dir: &StateDir) -> Option<Problem> {
    let main = state_dir.dir.join("agents/main/agent").join(store::FILE_NAME);
    let places = [
        store::FILE_NAME,
        "agent/auth-profiles.json",
        "credentials/auth-profiles.json",
    ];
    places
        .iter()
        .find_map(|name| unread_store(ctx, state_dir.dir.join(name), &main))
}

fn unread_store(ctx: &Ctx, path: PathBuf, read: &Path) -> Option<Problem> {
    if !files::is_file(&path) {
        return None;
    }
    let count = store::read(&path).0.profiles().len();
    let (here, there) = (ctx.host.tilde(&path), ctx.host.tilde(read));
    let entries = if count == 1 { "entry" } else { "entries" };
    Some(Problem::at(
        "store_misplaced",
        path,
        format!("`{here}` holds {count} {entries} that no agent reads: the agent's store is `{there}`"),
        format!("add them there with `nolapse token add`, then remove `{here}`"),
    ))
}

fn ignored_hint(agent: &AgentView) -> String {
    let outside = agent.aside.ignored.iter().any(|one| one.why == Unread::Outside);
    match outside {
        true => "put them into `\"profiles\": {…}`, each with `type` and `provider`, or move the file away and add them again: `nolapse token add`".into(),
        false => "correct the names, or add them again: `nolapse token add`".into(),
    }
}

fn flaw_hint(flaw: Flaw, profile: &ProfileView, agent: &AgentView) -> String {
    let id = crate::rules::wording::quote(&profile.profile.id);
    let provider = crate::rules::wording::quote(&profile.profile.provider);
    let kind = match (flaw, &profile.profile.credential) {
        (Flaw::ApiKey, _) => " --type api_key --replace",
        (Flaw::Token, _) => " --type token --replace",
        (_, Credential::ApiKey) => " --type api_key",
        _ => "",
    };
    let agent = crate::rules::wording::option("--agent", &agent.label());
    format!("run `nolapse token add --provider {provider} --profile {id}{kind} {agent}` and paste all of it")
}

/// What a profile is judged by, beside itself.
pub(super) struct Around<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) ledger: &'a Ledger,
    pub(super) logins: &'a [LoginView],
    pub(super) state_dirs: &'a [StateDir],
    pub(super) now: Moment,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::tests::{NOW, ctx};
    use crate::rules::resolve::{By, Ignored, Resolved, Uses};
    use crate::rules::view::View;

    /// One agent with these profiles.
    fn looked(ctx: &Ctx, profiles: &str) -> View {
        let dir = ctx.host.home.join(".clawdbot/agents/main/agent");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(store::FILE_NAME), format!(r#"{{"profiles":{{{profiles}}}}}"#)).unwrap();
        super::super::look(ctx, &Ledger::default())
    }

    fn token(id: &str, provider: &str, expires: Moment) -> String {
        let token = format!("sk-ant-oat01-{:a<95}", id);
        format!(r#""{id}":{{"type":"token","provider":"{provider}","token":"{token}","expires":{expires}}}"#)
    }

    #[test]
    fn what_has_ended_is_resolved_beside_what_the_models_need() {
        let home = tempfile::tempdir().unwrap();
        let ctx = ctx(home.path());
        let (ended, ahead) = (NOW - 1, NOW + 1_000_000_000_000);
        for (expires, wanted) in [
            (ahead, &[("anthropic", true)][..]),
            (ended, &[("anthropic", true), ("openai", false)]),
        ] {
            let view = looked(&ctx, &token("o", "openai", expires));
            let uses = view.agents[0].uses.iter();
            let uses: Vec<_> = uses.map(|one| (one.provider.as_str(), one.in_use)).collect();
            assert_eq!(uses, wanted);
        }
        // a pasted token takes the place of Claude Code's login, where it is Anthropic's and works
        for (provider, expires, family, replaced) in [
            ("anthropic", ahead, Family::Openclaw, true),
            ("anthropic", ended, Family::Openclaw, false),
            ("openai", ahead, Family::Openclaw, false),
            ("anthropic", ahead, Family::Clawdbot, false),
        ] {
            let mut view = looked(&ctx, &token("p", provider, expires));
            view.state_dirs[0].agent_providers = (Vec::new(), vec![claude_cli::ID.to_owned()]);
            view.agents[0].agent.agent.family = family;
            resolve_all(&ctx, &mut view.agents, &view.state_dirs, NOW);
            let uses = view.agents[0].uses[0].uses == Some(Uses::Profile("p".into()));
            assert_eq!(uses, replaced, "{provider} {expires} {family:?}");
        }
    }

    #[test]
    fn orders_are_merged_as_javascript_merges_them() {
        let order = |list: &[(&str, &str)]| -> Vec<(String, Vec<String>)> {
            let one = |(key, id): &(&str, &str)| ((*key).to_owned(), vec![(*id).to_owned()]);
            list.iter().map(one).collect()
        };
        let inherited = order(&[("a", "0"), ("b", "1")]);
        let own = order(&[("c", "2"), ("b", "3")]);
        let merged = merged(&inherited, &own);
        let merged: Vec<_> = merged.iter().map(|(key, ids)| (*key, ids[0].as_str())).collect();
        assert_eq!(merged, [("a", "0"), ("b", "3"), ("c", "2")]);
    }

    #[test]
    fn a_store_elsewhere_is_looked_for_where_something_is_missing_and_says_what_it_holds() {
        let home = tempfile::tempdir().unwrap();
        let ctx = ctx(home.path());
        let resolved = |in_use, uses: Option<&str>| Resolved {
            provider: "anthropic".into(),
            in_use,
            uses: uses.map(|id| Uses::Profile(id.into())),
            key: None,
            by: By::Nobody,
            passed_over: Vec::new(),
            held_back_until: None,
        };
        let agent = looked(&ctx, "").agents.swap_remove(0);
        for (sqlite, absent, in_use, uses, wanted) in [
            (false, false, true, None, true),
            (false, false, true, Some("p"), false),
            (false, false, false, None, false),
            (false, true, true, Some("p"), true),
            (true, true, true, None, false),
        ] {
            let mut agent = agent.clone();
            agent.sqlite = sqlite;
            agent.store = match absent {
                true => agent::Store::Absent,
                false => agent::Store::Read(Vec::new()),
            };
            agent.uses = vec![resolved(in_use, uses)];
            assert_eq!(wants(&agent), wanted, "{sqlite} {absent} {in_use} {uses:?}");
        }
        let at = home.path().join(store::FILE_NAME);
        let one = token("a", "anthropic", NOW);
        for (profiles, says) in [
            (one.clone(), "holds 1 entry that"),
            (
                format!("{one},{}", token("b", "anthropic", NOW)),
                "holds 2 entries that",
            ),
        ] {
            std::fs::write(&at, format!(r#"{{"profiles":{{{profiles}}}}}"#)).unwrap();
            let problem = unread_store(&ctx, at.clone(), Path::new("/s")).unwrap();
            assert!(problem.message.contains(says), "{}", problem.message);
        }
    }

    #[test]
    fn a_value_that_is_no_token_is_said_with_what_adds_it_again() {
        let home = tempfile::tempdir().unwrap();
        let ctx = ctx(home.path());
        let agent = looked(&ctx, &token("p", "anthropic", NOW)).agents.swap_remove(0);
        let key = Credential::ApiKey;
        let token = agent.profiles[0].profile.credential.clone();
        let flawed = Some(Reason::NoToken);
        for (credential, flaw, reason, kind) in [
            (&token, Flaw::ApiKey, flawed, Some(" --type api_key --replace")),
            (&key, Flaw::Token, flawed, Some(" --type token --replace")),
            (&key, Flaw::Cut, flawed, Some(" --type api_key")),
            (&token, Flaw::Cut, flawed, Some("")),
            (&token, Flaw::Cut, Some(Reason::CopyStale), None),
        ] {
            let mut agent = agent.clone();
            agent.profiles[0].profile.credential = credential.clone();
            agent.profiles[0].profile.held = Held::Flawed(flaw);
            agent.profiles[0].verdict.reason = reason;
            let found = store_problems(&ctx, &agent);
            let hints: Vec<&str> = found.iter().map(|one| one.hint.as_str()).collect();
            let command = |kind| {
                format!(
                    "run `nolapse token add --provider anthropic --profile p{kind} --agent clawdbot/main` and paste all of it"
                )
            };
            assert_eq!(hints, kind.map(command).as_slice());
        }
        for (why, hint) in [
            (Unread::Outside, "put them into `\"profiles\""),
            (Unread::NoType, "correct the names"),
        ] {
            let mut agent = agent.clone();
            agent.aside.ignored.push(Ignored { id: "q".into(), why });
            let found = store_problems(&ctx, &agent);
            assert_eq!((found.len(), found[0].kind), (1, "entries_ignored"));
            assert!(found[0].hint.starts_with(hint), "{}", found[0].hint);
        }
    }
}
