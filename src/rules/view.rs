//! The judged world at one moment, as rules and reports read it.

use super::agent::{Agent, NotWritten, StateDir, Store};
use super::health::Verdict;
use super::lineage::{LoginMemory, Relation};
use super::login::{Healed, Login, Source};
use super::policy::SyncConfig;
use super::renew::Record;
use super::resolve::{self, Aside, Resolved};
use crate::secret::Secret;
use crate::types::{Credential, Health, Meta, Moment, Problem, Profile, Reason};
use std::path::PathBuf;

/// The judged world at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// As of when.
    pub now: Moment,
    /// The logins, the environment's own first.
    pub logins: Vec<LoginView>,
    /// The agents, sorted by label.
    pub agents: Vec<AgentView>,
    /// The products' state directories.
    pub state_dirs: Vec<StateDir>,
    /// What could not be understood, or deserves a note.
    pub problems: Vec<Problem>,
    /// Every place that was looked at.
    pub looked_at: Vec<PathBuf>,
}

/// A login, judged.
#[derive(Clone, Debug)]
pub struct LoginView {
    /// As found.
    pub login: Login,
    /// The judgement.
    pub verdict: Verdict,
    /// What is known of it over time, this look included.
    pub memory: Option<LoginMemory>,
    /// How its renewals went.
    pub renewal: Option<Record>,
    /// That it was healed within a day.
    pub healed: Option<Healed>,
    /// An agent renewed it, and its own file cannot be brought up to date.
    pub unhealed: Option<Unhealed>,
}

/// Why a login's file cannot be brought up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unhealed {
    /// In words.
    pub why: String,
    /// The command that helps, or shows what to do.
    pub fix: String,
}

impl LoginView {
    /// A login of which only the judgement is known.
    pub fn new(login: Login, verdict: Verdict) -> Self {
        Self {
            login,
            verdict,
            memory: None,
            renewal: None,
            healed: None,
            unhealed: None,
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.login.place.id
    }

    /// When its access token ends, where that is renewed without a human.
    pub(crate) fn access_ends(&self) -> Option<Moment> {
        self.login.grant()?.expires.filter(|_| self.renews())
    }

    /// Whether it is renewed without a human.
    pub(crate) fn renews(&self) -> bool {
        self.login.grant().is_some_and(|grant| grant.refresh.token().is_some())
            && !matches!(self.verdict.health, Health::Expired | Health::Missing)
            && !matches!(self.verdict.reason, Some(Reason::Rejected | Reason::OlderState))
    }
}

/// An agent with its store, judged.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// Who, and in which state directory.
    pub agent: Agent,
    /// Where its store is.
    pub path: PathBuf,
    /// `true` for SQLite.
    pub sqlite: bool,
    /// What the store's path holds; its entries are in `profiles`.
    pub store: Store,
    /// The store's `stat`, where it is a file.
    pub meta: Option<Meta>,
    /// `Err` where it may not be written, and why.
    pub writable: Result<(), NotWritten>,
    /// Its profiles.
    pub profiles: Vec<ProfileView>,
    /// What stands in the store beside them.
    pub aside: Aside,
    /// What it uses for each provider that its models need, and for others where something is wrong.
    pub uses: Vec<Resolved>,
    /// What belongs to another user: the store, or the outermost directory above it that does.
    pub foreign: Option<PathBuf>,
    /// Its OpenClaw refuses profiles named `anthropic:claude-cli`.
    pub retires_claude_cli: bool,
}

impl View {
    /// Those of all agents.
    pub(crate) fn profiles(&self) -> impl Iterator<Item = &ProfileView> + Clone {
        self.agents.iter().flat_map(|agent| &agent.profiles)
    }
}

impl AgentView {
    /// `family/agent`, how it is named to people.
    pub(crate) fn label(&self) -> String {
        self.agent.agent.label()
    }

    /// What it uses for a provider, as spelled in a profile.
    pub(crate) fn resolved(&self, provider: &str) -> Option<&Resolved> {
        let provider = resolve::normalise_provider(provider);
        self.uses.iter().find(|one| one.provider == provider)
    }

    /// Whether its profile `id` is of type `token` and holds this one.
    pub(crate) fn holds(&self, id: &str, token: &Secret) -> bool {
        let held = self.profiles.iter().find(|profile| profile.profile.id == id);
        let held = held.map(|profile| &profile.profile.credential);
        matches!(held, Some(Credential::Token { token: Some(held), .. }) if held.fingerprint() == token.fingerprint())
    }
}

/// A profile, judged.
#[derive(Clone, Debug)]
pub struct ProfileView {
    /// As found.
    pub profile: Profile,
    /// The agents' own arithmetic.
    pub clock: Health,
    /// The judgement.
    pub verdict: Verdict,
    /// Index of the login it hangs on.
    pub login: Option<usize>,
    /// How it descends from it.
    pub relation: Relation,
    /// How its own renewals went, if its store owns it alone.
    pub renewal: Option<Box<Record>>,
    /// The directory of the login whose tokens it holds, where that is not watched, `~` for the home.
    pub elsewhere: Option<String>,
}

/// The key of a copy in the ledger.
pub(crate) fn copy_key(label: &str, profile: &str) -> String {
    format!("{label}#{profile}")
}

/// Index of the login that is given to an agent: the first one whose `agents` name it, else the first that names none.
pub(crate) fn mirrored_login(logins: &[LoginView], label: &str) -> Option<usize> {
    let in_place = |(_, login): &(usize, &LoginView)| login.login.source != Source::Env;
    let stored = || logins.iter().enumerate().filter(in_place);
    let named = |login: &LoginView| {
        let mut globs = login.login.place.agents.iter().flatten();
        globs.any(|glob| glob.matches(label))
    };
    stored()
        .find(|(_, login)| named(login))
        .or_else(|| stored().next().filter(|(_, login)| login.login.place.agents.is_none()))
        .map(|(i, _)| i)
}

/// The profile id that mirrors a login.
pub(crate) fn mirror_id<'c>(sync: &'c SyncConfig, login: &'c LoginView) -> &'c str {
    login.login.place.profile.as_deref().unwrap_or(&sync.profile)
}

/// Whether a login that has ended hurts nobody: a token of the environment or of Claude Code's settings that may work is used before
/// it, and no agent hangs on it.
pub(crate) fn replaced(login: &LoginView, logins: &[LoginView], agents: &[AgentView], index: usize) -> bool {
    let from_env = |other: &LoginView| other.login.source == Source::Env && other.id() == "env" && other.verdict.fine();
    let on_it = |one: &ProfileView| one.login == Some(index) && one.verdict.reason != Some(Reason::StoreRetired);
    let hangs = agents.iter().flat_map(|agent| &agent.profiles).any(on_it);
    let from_settings = login.login.set_aside();
    login.login.source != Source::Env && (from_settings || logins.iter().any(from_env)) && !hangs
}

/// `holds N entries that the agent ignores: …`.
pub(crate) fn ignored_words(agent: &AgentView) -> String {
    const NAMED: usize = 3;
    let ignored = &agent.aside.ignored;
    let named: Vec<String> = ignored
        .iter()
        .take(NAMED)
        .map(|one| format!("`{}` {}", one.id, one.why.words()))
        .collect();
    let more = match ignored.len().saturating_sub(NAMED) {
        0 => String::new(),
        n => format!("; and {n} more"),
    };
    let entries = if ignored.len() == 1 { "entry" } else { "entries" };
    format!(
        "holds {} {entries} that the agent ignores: {}{more}",
        ignored.len(),
        named.join("; ")
    )
}

/// A JSON store that is looked at where the SQLite generation lives is not used any more.
pub(crate) fn retired(view: &AgentView) -> bool {
    view.sqlite && view.path.extension().is_some_and(|extension| extension == "json")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::rules::login::{Place, State};
    use crate::types::{AgentRef, Family};

    pub(crate) fn agent(id: &str, profiles: Vec<ProfileView>) -> AgentView {
        AgentView {
            agent: Agent {
                agent: AgentRef {
                    family: Family::Clawdbot,
                    named: None,
                    id: id.into(),
                    dir: "/a".into(),
                },
                state_dir: 0,
            },
            path: "/a/auth-profiles.json".into(),
            sqlite: false,
            store: Store::Absent,
            meta: None,
            writable: Ok(()),
            profiles,
            aside: Aside::default(),
            uses: Vec::new(),
            foreign: None,
            retires_claude_cli: false,
        }
    }

    pub(crate) fn holding(id: &str, credential: Credential, verdict: Verdict) -> ProfileView {
        ProfileView {
            profile: Profile {
                account: None,
                id: id.into(),
                provider: "p".into(),
                credential,
                held: Default::default(),
            },
            clock: verdict.health,
            verdict,
            login: None,
            relation: Relation::Unknown,
            renewal: None,
            elsewhere: None,
        }
    }

    pub(crate) fn profile(id: &str, health: Health, expires: Option<Moment>) -> ProfileView {
        let reason = (health == Health::Expired).then_some(Reason::CopyStale);
        let ends = None;
        holding(
            id,
            Credential::Token { token: None, expires },
            Verdict { health, reason, ends },
        )
    }

    pub(crate) fn view(now: Moment, logins: Vec<LoginView>, agents: Vec<AgentView>) -> View {
        View {
            now,
            logins,
            agents,
            state_dirs: Vec::new(),
            problems: Vec::new(),
            looked_at: Vec::new(),
        }
    }

    fn login(id: &str, source: Source, health: Health) -> LoginView {
        let (reason, ends) = (None, None);
        let verdict = Verdict { health, reason, ends };
        LoginView::new(Login::new(Place::new(id, "/c", false), source, State::Absent), verdict)
    }

    #[test]
    fn a_login_hurts_nobody_where_a_token_that_works_comes_first_and_no_agent_hangs_on_it() {
        use Health::{Expired, Ok};
        let on = |login, reason| {
            let mut one = profile("p:a", Ok, None);
            (one.login, one.verdict.reason) = (login, reason);
            agent("main", vec![one])
        };
        for (id, source, health, replaces) in [
            ("env", Source::Env, Ok, true),
            ("env", Source::Env, Expired, false),
            ("other", Source::Env, Ok, false),
            ("env", Source::File, Ok, false),
            ("other", Source::File, Ok, false),
        ] {
            let logins = [login("claude", Source::File, Expired), login(id, source, health)];
            assert_eq!(
                replaced(&logins[0], &logins, &[], 0),
                replaces,
                "{id} {source:?} {health:?}"
            );
        }
        let logins = [login("claude", Source::File, Expired), login("env", Source::Env, Ok)];
        for (of, reason, hangs) in [
            (Some(0), None, true),
            (Some(0), Some(Reason::CopyStale), true),
            (Some(0), Some(Reason::StoreRetired), false),
            (Some(1), None, false),
            (Some(1), Some(Reason::StoreRetired), false),
            (None, None, false),
        ] {
            let agents = [on(of, reason)];
            assert_eq!(replaced(&logins[0], &logins, &agents, 0), !hangs, "{of:?} {reason:?}");
        }
        assert!(!replaced(&logins[1], &logins, &[], 1), "nor is it replaced by itself");
    }

    #[test]
    fn a_json_store_beside_sqlite_is_retired() {
        for (path, sqlite, is) in [
            ("/a/auth-profiles.json", true, true),
            ("/a/auth-profiles.json", false, false),
            ("/a/agent.sqlite", true, false),
            ("/a/agent", true, false),
        ] {
            let mut view = agent("main", Vec::new());
            (view.path, view.sqlite) = (path.into(), sqlite);
            assert_eq!(retired(&view), is, "{path} {sqlite}");
        }
    }
}
