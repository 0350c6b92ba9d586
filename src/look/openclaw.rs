//! OpenClaw's agents whose profiles are in SQLite: what they share, what each has of its own, and what hangs on a login without
//! being in any store.
//!
//! Source: openclaw 2026.6.6, 2026.7.35, 2026.8.2 and 2026.9.6. Profiles merge by id and the agent's own win. What they share lies in
//! the main agent's database, or in `state/openclaw.sqlite` once its `auth.sharedStore` says `state-db`.

use crate::ctx::Ctx;
use crate::edge::files;
use crate::edge::host::{Host, expand_home};
use crate::json::Fields;
use crate::rules::agent::{self, NotWritten};
use crate::rules::health::Verdict;
use crate::rules::lineage::Relation;
use crate::rules::resolve::{Aside, normalise_provider};
use crate::rules::view::{AgentView, LoginView, ProfileView, View};
use crate::rules::{claude_cli, login, openclaw as commands};

use crate::rules::agent::{Agent, StateDir};
use crate::stores::sqlite::{self, Cells, Which};
use crate::stores::{aside, families, store};
use crate::types::{Credential, Family, Health, Held, Problem, Profile, Reason, SecretRef};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The id that OpenClaw took from Claude Code once, and has retired since 2026.8.
pub(crate) const RETIRED_ID: &str = "anthropic:claude-cli";

/// What all agents of a state directory share.
#[derive(Default)]
pub(super) struct Shared {
    /// The database that holds it.
    path: Option<PathBuf>,
    held: Option<Content>,
    /// Profiles named [`RETIRED_ID`] are refused here.
    retires: bool,
}

/// What one database holds, or why that cannot be told.
type Content = Result<(Vec<Profile>, Aside), agent::Store>;

/// Reads what the agents of a state directory share. `main` is the main agent's directory.
pub(super) fn shared(state_dir: &StateDir, main: &Path) -> Shared {
    let database = state_dir.shared_sqlite.as_ref();
    let cells = database.map(|path| (path, sqlite::read_cells(path, Which::Shared)));
    let version = state_dir.version.as_deref();
    let retires = match &cells {
        Some((_, Ok(cells))) => cells.machine_state || families::retires_claude_cli(version),
        _ => families::retires_claude_cli(version),
    };
    if let Some((path, cells)) = cells {
        let held = match cells {
            Ok(cells) if in_state_database(&cells) => Some(content(cells)),
            Ok(_) => None,
            // where it is cannot be told either
            Err(error) => Some(Err(agent::Store::Refused(error.to_string()))),
        };
        if held.is_some() {
            return Shared {
                path: Some(path.clone()),
                held,
                retires,
            };
        }
    }
    let path = main.join(families::AGENT_DATABASE);
    let held = files::is_file(&path).then(|| read(&path));
    Shared {
        path: held.is_some().then_some(path),
        held,
        retires,
    }
}

/// `auth.sharedStore` is `{"location": "state-db"}`.
fn in_state_database(cells: &Cells) -> bool {
    let bytes = cells.location.as_deref();
    let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
    let fields = text.and_then(|text| Fields::parse(text).ok());
    let location = fields.as_ref().and_then(|fields| fields.get("location")?.str());
    location.as_deref() == Some("state-db")
}

fn read(path: &Path) -> Content {
    match sqlite::read_cells(path, Which::Agent) {
        Ok(cells) => content(cells),
        Err(error) => Err(agent::Store::Refused(error.to_string())),
    }
}

fn content(cells: Cells) -> Content {
    let text = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).map(str::to_owned);
        text.map_err(|_| agent::Store::Malformed("not UTF-8".into()))
    };
    let (profiles, mut beside) = match &cells.store {
        Some(bytes) => store::parse_all(&text(bytes)?).map_err(agent::Store::Malformed)?,
        None => Default::default(),
    };
    if let Some(bytes) = &cells.state {
        // what cannot be read there costs an order and cooldowns, and no credential
        let state = text(bytes).ok().map(|text| aside::of_state(&text)).unwrap_or_default();
        beside.order.splice(0..0, state.order);
        beside.usage.extend(state.usage);
    }
    Ok((profiles, beside))
}

/// Looks at one agent. `json` is where an older generation kept its store.
pub(super) fn look_at(
    ctx: &Ctx,
    agent: Agent,
    shared: &Shared,
    json: PathBuf,
    problems: &mut Vec<Problem>,
) -> AgentView {
    let own = agent.agent.dir.join(families::AGENT_DATABASE);
    let is_base = shared.path.as_deref() == Some(own.as_path());
    let own_held = (!is_base && files::is_file(&own)).then(|| read(&own));
    let mut view = AgentView {
        agent,
        path: json,
        sqlite: true,
        store: agent::Store::Absent,
        meta: None,
        writable: Err(NotWritten::from(
            "OpenClaw keeps it in SQLite, which nolapse reads and never writes",
        )),
        profiles: Vec::new(),
        aside: Aside::default(),
        uses: Vec::new(),
        foreign: None,
        retires_claude_cli: shared.retires,
    };
    let own_counts =
        matches!(&own_held, Some(Err(_))) || matches!(&own_held, Some(Ok((profiles, _))) if !profiles.is_empty());
    if let Some(path) = match own_counts {
        true => Some(&own),
        false => shared.path.as_ref().or(own_held.is_some().then_some(&own)),
    } {
        view.path.clone_from(path);
    }
    let sides = [
        (&own, own_held.as_ref()),
        (shared.path.as_ref().unwrap_or(&own), shared.held.as_ref()),
    ];
    for (path, side) in sides {
        let Some(Err(state)) = side else { continue };
        let Some(why) = state.unread() else {
            continue;
        };
        let problem = Problem::at(
            "unreadable",
            path,
            format!("`{}` cannot be read: {why}", ctx.host.tilde(path)),
            "retry when the gateway is idle, as the user who runs it",
        );
        if !problems.contains(&problem) {
            problems.push(problem);
        }
        view.path.clone_from(path);
        view.store = state.clone();
        return view;
    }
    let sides = sides.map(|(_, side)| side.and_then(|side| side.as_ref().ok()));
    if let [None, None] = sides {
        // no database anywhere: a JSON store that this generation does not read is shown, and judged as retired
        if view.path.extension().is_some_and(|extension| extension == "json")
            && let (state @ agent::Store::Read(_), _, meta) = store::read(&view.path)
        {
            view.store = state;
            view.meta = meta;
        }
        return view;
    }
    let [own, base] = sides;
    let (profiles, beside) = merged(own, base);
    if !profiles.is_empty() || own.is_some() && is_base {
        view.store = agent::Store::Read(profiles);
    }
    view.aside = beside;
    view
}

/// What an agent sees: the shared profiles, its own instead of those with the same id, then the rest of its own.
fn merged(own: Option<&(Vec<Profile>, Aside)>, base: Option<&(Vec<Profile>, Aside)>) -> (Vec<Profile>, Aside) {
    let none = Default::default();
    let ((own, own_aside), (base, base_aside)) = (own.unwrap_or(&none), base.unwrap_or(&none));
    // a store may hold thousands of profiles
    let by_id: BTreeMap<&str, &Profile> = own.iter().map(|profile| (profile.id.as_str(), profile)).collect();
    let ids: BTreeSet<&str> = base.iter().map(|profile| profile.id.as_str()).collect();
    let shared = base
        .iter()
        .map(|profile| by_id.get(profile.id.as_str()).copied().unwrap_or(profile));
    let rest = own.iter().filter(|profile| !ids.contains(profile.id.as_str()));
    let mut aside = own_aside.clone();
    aside.order.extend(base_aside.order.iter().cloned());
    for (id, usage) in &base_aside.usage {
        aside.usage.entry(id.clone()).or_insert_with(|| usage.clone());
    }
    aside.ignored.extend(base_aside.ignored.iter().cloned());
    (shared.chain(rest).cloned().collect(), aside)
}

/// What an agent's databases hold now; nothing where they cannot be read.
pub(super) fn profiles_again(agent: &AgentView) -> Vec<Profile> {
    let own = agent.agent.agent.dir.join(families::AGENT_DATABASE);
    let shared = (agent.path != own).then(|| {
        let named = agent.path.ends_with(families::AGENT_DATABASE);
        (&agent.path, if named { Which::Agent } else { Which::Shared })
    });
    let read = |path: &Path, which| content(sqlite::read_cells(path, which).ok()?).ok();
    let own = read(&own, Which::Agent);
    let shared = shared.and_then(|(path, which)| read(path, which));
    merged(own.as_ref(), shared.as_ref()).0
}

/// What OpenClaw's databases say of credentials, to see whether a write to them concerned these.
pub(crate) struct Databases {
    paths: Vec<(PathBuf, Which)>,
    /// A hash of it: tokens are not kept.
    seen: Option<[u8; 32]>,
}

impl Databases {
    /// The databases that a look found, and where further ones may appear. What was seen before is kept where they are the same.
    pub(crate) fn of(view: &View, before: Option<Self>) -> Self {
        let sqlite = |state_dir: &&StateDir| state_dir.generation == agent::Generation::Sqlite;
        let shared = view.state_dirs.iter().filter(sqlite);
        let shared = shared.map(|state_dir| (state_dir.dir.join(families::SHARED_DATABASE), Which::Shared));
        let agents = view.agents.iter().filter(|agent| agent.sqlite);
        let own = agents.map(|agent| (agent.agent.agent.dir.join(families::AGENT_DATABASE), Which::Agent));
        let paths: Vec<(PathBuf, Which)> = shared.chain(own).collect();
        let same = before.filter(|before| before.paths == paths);
        let seen = same.and_then(|before| before.seen);
        Self { paths, seen }
    }

    /// Whether there are any, and they were read.
    pub(crate) fn looked(&self) -> bool {
        !self.paths.is_empty() && self.seen.is_some()
    }

    /// Reads them; whether anything is otherwise than before. The first time, and where one cannot be read now, it is.
    pub(crate) fn changed(&mut self) -> bool {
        let mut hash = Sha256::new();
        let mut read = |(path, which): &(PathBuf, Which)| {
            let cells = match sqlite::read_cells(path, *which) {
                Err(sqlite::SqliteError::Absent) => Cells::default(),
                other => other.ok()?,
            };
            for cell in [cells.store, cells.state, cells.location] {
                hash.update(cell.map_or([0; 32].into(), Sha256::digest));
            }
            Some(())
        };
        let all: Option<()> = self.paths.iter().map(&mut read).collect();
        let now = all.map(|()| hash.finalize().into());
        let changed = now.is_none() || now != self.seen;
        self.seen = now;
        changed
    }
}

/// The verdict on a profile named [`RETIRED_ID`] where OpenClaw refuses it, whatever it holds.
pub(super) fn retired() -> Verdict {
    Verdict {
        health: Health::Missing,
        reason: Some(Reason::ProfileRetired),
        ends: None,
    }
}

/// The directories of logins that agents use by the Claude CLI runtime, for each state directory with such an agent.
pub(super) fn runtime_dirs(ctx: &Ctx, state_dirs: &[StateDir]) -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = Vec::new();
    let of_openclaw = |state_dir: &&StateDir| state_dir.family == Family::Openclaw;
    for state_dir in state_dirs.iter().filter(of_openclaw) {
        let (named, shared) = &state_dir.agent_providers;
        let mut all = named.iter().map(|(_, providers)| providers).chain([shared]);
        if all.any(|providers| providers.iter().any(|provider| provider == claude_cli::ID)) {
            let dir = runtime_dir(&ctx.host, state_dir);
            if !dirs.contains(&dir) {
                dirs.push(dir);
            }
        }
    }
    dirs
}

/// Claude Code's directory, as the `claude` sees it that the runtime starts: what its backend's `env` says, else the environment of
/// OpenClaw, which 2026.6 and 2026.7 take away from it (`CLAUDE_CLI_CLEAR_ENV`).
fn runtime_dir(host: &Host, state_dir: &StateDir) -> PathBuf {
    const DIR: &str = "CLAUDE_CONFIG_DIR";
    let absolute = |text: &str| host.cwd.join(expand_home(text, &host.home));
    if let Some(text) = &state_dir.claude.dir {
        return absolute(text);
    }
    if families::clears_claude_dir(state_dir.version.as_deref()) {
        return host.home.join(".claude");
    }
    // what is set already is not overwritten by the config or `.env`
    let inherited = host.var_nonblank(DIR).map(str::to_owned);
    let dotenv = || {
        let named = state_dir.dotenv.iter().any(|name| name == DIR);
        let read = named.then(|| crate::stores::dotenv::Dotenv::read(&state_dir.dir.join(".env")).0)?;
        read.get(DIR).map(|value| value.expose().to_owned())
    };
    match inherited.or_else(dotenv).or_else(|| state_dir.claude.env_dir.clone()) {
        Some(text) => absolute(&text),
        None => host.home.join(".claude"),
    }
}

/// Index of the login in a directory.
fn login_in(logins: &[LoginView], dir: &Path) -> Option<usize> {
    let wanted = files::real_or_same(dir);
    let leads_there = |login: &LoginView| files::real_or_same(&login.login.place.dir) == wanted;
    let kept = |login: &LoginView| login.login.source != login::Source::Env && leads_there(login);
    logins.iter().position(kept)
}

/// What stands for an agent's use of the Claude CLI runtime: it hangs on the login of its `claude`, and nothing is in the store.
pub(super) fn runtime_profile(
    ctx: &Ctx,
    agent: &AgentView,
    state_dir: &StateDir,
    logins: &[LoginView],
) -> Option<ProfileView> {
    let mut providers = state_dir.providers_of(&agent.agent.agent.id).iter();
    let runs = agent.agent.agent.family == Family::Openclaw && providers.any(|provider| provider == claude_cli::ID);
    let mut stored = agent.store.profiles().iter();
    if !runs || stored.any(|profile| profile.id == claude_cli::ID) {
        return None;
    }
    let dir = runtime_dir(&ctx.host, state_dir);
    let login = login_in(logins, &dir);
    let verdict = match login {
        Some(i) => logins[i].verdict,
        None => Verdict {
            health: Health::Missing,
            reason: None,
            ends: None,
        },
    };
    let file = ctx.host.tilde(&dir);
    Some(ProfileView {
        profile: Profile {
            id: claude_cli::ID.into(),
            provider: claude_cli::ID.into(),
            credential: Credential::Token {
                token: None,
                expires: None,
            },
            held: Held::Runtime(match &state_dir.claude.command {
                Some(command) => format!("{command}, {file}"),
                None => file,
            }),
            account: None,
        },
        clock: verdict.health,
        verdict,
        login,
        relation: Relation::Same,
        renewal: None,
        elsewhere: None,
    })
}

/// Index of the login that a reference of an agent's config leads to: Claude Code's file, or `nolapse token print`.
pub(super) fn referenced_login(
    host: &Host,
    state_dir: &StateDir,
    reference: &SecretRef,
    logins: &[LoginView],
) -> Option<usize> {
    let mut sources = state_dir.secrets.iter();
    let source = sources.find(|source| source.name == reference.provider)?;
    if source.source != reference.source {
        return None;
    }
    let path = host.cwd.join(expand_home(&source.path, &host.home));
    let named = |name: &str| path.file_name().is_some_and(|file| file == name);
    match source.source.as_str() {
        "file" if named(login::FILE_NAME) && reference.id == commands::POINTER => login_in(logins, path.parent()?),
        "exec" if named("nolapse") || source.name == commands::SOURCE => {
            logins.iter().position(|login| login.id() == reference.id)
        }
        _ => None,
    }
}

/// The end of a stored access token that is a login's own, where the store does not tell it.
pub(super) fn with_the_logins_end(profile: &Profile, logins: &[LoginView]) -> Option<Credential> {
    let provider = normalise_provider(&profile.provider);
    if !matches!(provider.as_ref(), "anthropic" | "claude-cli") {
        return None;
    }
    let Credential::Token {
        token: Some(token),
        expires: None,
    } = &profile.credential
    else {
        return None;
    };
    let fingerprint = token.fingerprint();
    let grants = logins.iter().filter_map(|login| login.login.grant());
    let same = |grant: &&login::Grant| {
        let access = grant.access.as_ref();
        access.is_some_and(|access| access.fingerprint() == fingerprint)
    };
    let expires = grants.into_iter().find(same)?.expires?;
    Some(Credential::Token {
        token: Some(token.clone()),
        expires: Some(expires),
    })
}
