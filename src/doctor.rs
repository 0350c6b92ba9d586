//! Gathers what `rules/doctor` judges, and carries out the few safe repairs. Looks at files, asks the platform's own programs
//! and opens connections that say nothing, all of that at once and each with a short deadline.

use crate::config::{self, ConfigError, RenewMode};
use crate::ctx::Ctx;
use crate::edge::files::{self, Meta};
use crate::edge::locks::{self, Cleared, LockError};
use crate::edge::net;
use crate::edge::subprocess::{self, Spec, Status};
use crate::history::{self, Entry};
use crate::install::{self, Call, Done, Manifest, Platform};
use crate::json::Fields;
use crate::ledger::{self, Ledger};
use crate::look::{self, AgentView, View};
use crate::notify::{self, ChannelKind, Endpoint};
use crate::pass;
use crate::remotes;
use crate::renew::{self, delegate};
use crate::report;
use crate::rules::alert::{self, Why};
use crate::rules::doctor::{
    self as rule, AgentFact, ChannelFact, ConfigFact, CopyFact, Facts, Finding, Fix, Group, Holder, Holds, LockFact,
    LockOf, LoginFact, ModeFact, On, Probe, RunningFact, Spot, StateFact, TermuxApi, Way, Who,
};
use crate::rules::lineage::Relation;
use crate::rules::renew::Stage;
use crate::rules::wording;
use crate::secret::Secret;
use crate::sources::claude::{self, LOCK_STALE, Login, Place, Source, State, TOKEN_VAR, WRITE_LOCK_STALE};
use crate::stores::families::{GRANT_LOCK_STALE, GRANT_LOCKS, Generation, RefreshLocks};
use crate::stores::store;
use crate::tell;
use crate::types::{MINUTE, Ms, Reason};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the other end of a channel, or a program of the platform, may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Termux:API starts its app first.
const TERMUX_PATIENCE: Duration = Duration::from_secs(4);

/// Times this far ahead are no rounding: proper-lockfile alone goes up to a second ahead, [`Ms`].
const AHEAD: Ms = 2 * MINUTE;

/// What is known before anything is looked at.
pub struct About<'a> {
    /// The configuration's path.
    pub config_path: &'a Path,
    /// What is wrong with it; the context then holds the defaults.
    pub config_error: Option<ConfigError>,
    /// The host as an installation sees it; `None` where a service would not look at this home.
    pub place: Option<install::Place>,
    /// This program.
    pub exe: Option<&'a Path>,
}

/// What was found.
pub struct Exam {
    /// The findings, by group, the worst first.
    pub findings: Vec<Finding>,
    /// What was looked at, by group.
    pub checked: Vec<(Group, String)>,
}

/// Looks at everything. Writes nothing, and holds no lock.
pub async fn examine(ctx: &Ctx, about: &About<'_>) -> Exam {
    let loaded = ledger::load(&ctx.state_dir);
    let ledger = &loaded.ledger;
    let view = look::look(ctx, ledger);
    let now = view.now;
    let seen = |path: &Path| spot(ctx, path);
    let mut problems = view.problems.clone();
    problems.extend(loaded.problem.clone());
    let mut alerts = pass::alerts(ctx, &view);
    alerts.extend(alert::channel_alerts(&ledger.troubles));
    alerts.extend(remotes::alerts(ctx, ledger, now));
    let alerts = alerts.into_iter().map(|alert| {
        let words = wording::words(&alert, Why::First, &ctx.host.name, now, now, &|at| ctx.when(at));
        (alert, words)
    });
    let unwatched = unwatched(ctx, &view);
    let mut holders = holders(ctx, &view);
    holders.extend(unwatched.iter().filter_map(|login| {
        let grant = login.grant()?;
        let who = Who::Login(login.place.id.clone(), seen(&login.place.dir));
        Some(Holder {
            token: grant.refresh.token()?.fingerprint(),
            who,
            locked: None,
        })
    }));
    let (channels, running) = tokio::join!(channels(ctx, ledger), running(ctx, about));
    let facts = Facts {
        now,
        config: configuration(ctx, about),
        nothing: report::nothing(&view) && report::exit(ctx, &view) != report::Exit::Fine,
        problems,
        alerts: alerts.collect(),
        silenced: tell::silenced(ctx, &ledger.silences, now),
        logins: stored(&view).map(|login| login_fact(ctx, ledger, login, now)).collect(),
        unwatched: unwatched.iter().map(|login| seen(&login.place.dir)).collect(),
        holders,
        share_access: ctx.config.sync.share == config::Share::Access,
        copies: copies(&view),
        agents: view.agents.iter().map(|agent| agent_fact(ctx, &view, agent)).collect(),
        locks: lock_facts(ctx, &view),
        modes: modes(ctx, &view),
        state: state(ctx, ledger),
        ahead: ahead(ctx, &view, ledger, now),
        cli: cli(ctx, &view),
        channels,
        running,
        remotes: ctx.config.remotes.len(),
    };
    Exam {
        findings: rule::examine(&facts),
        checked: rule::checked(&facts),
    }
}

fn spot(ctx: &Ctx, path: &Path) -> Spot {
    Spot {
        path: path.to_owned(),
        shown: ctx.host.tilde(path),
    }
}

/// The logins that lie in a directory of Claude Code's.
fn stored(view: &View) -> impl Iterator<Item = &look::LoginView> {
    view.logins.iter().filter(|login| login.login.source != Source::Env)
}

fn configuration(ctx: &Ctx, about: &About<'_>) -> ConfigFact {
    let loose = config::loose_secrets(about.config_path, &ctx.host);
    ConfigFact {
        shown: ctx.host.tilde(about.config_path),
        there: files::exists(about.config_path),
        error: about.config_error.as_ref().map(|error| {
            let place = error.place.strip_prefix(&*about.config_path.to_string_lossy());
            let place = place.map(|line| format!("{}{line}", ctx.host.tilde(about.config_path)));
            (
                place.unwrap_or_else(|| error.place.clone()),
                error.message.clone(),
                error.hint.clone(),
            )
        }),
        loose: loose
            .into_iter()
            .map(|(path, meta)| (spot(ctx, &path), meta.mode, meta.uid == files::our_uid()))
            .collect(),
    }
}

fn login_fact(ctx: &Ctx, ledger: &Ledger, view: &look::LoginView, now: Ms) -> LoginFact {
    let login = &view.login;
    let place = &login.place;
    let over = login
        .grant()
        .is_some_and(|grant| grant.expires.is_some_and(|at| at <= now));
    let known = claude::env_token(&ctx.host)
        .and_then(|token| ledger.setup_tokens.get(&token.fingerprint()))
        .is_some_and(|token| token.expires_at > now);
    let dir = files::stat(&place.dir);
    let killed = login
        .dead_lock
        .as_ref()
        .is_some_and(|(path, _)| *path == place.refresh_lock())
        && claude::begun_and_not_saved(place, login.meta.as_ref());
    let record = files::read(&place.owner_record()).ok();
    LoginFact {
        id: place.id.clone(),
        file: spot(ctx, &place.file()),
        dir: spot(ctx, &place.dir),
        shadowed_by: login.shadowed_by.clone(),
        shadow_known: known && login.shadowed_by.iter().all(|name| name == TOKEN_VAR),
        abandoned: over && (login.abandoned || killed),
        abandoned_by: record.and_then(|record| pid(&record.bytes)),
        link: login.link.as_ref().map(|target| spot(ctx, target)),
        left_behind: left_behind(ledger, view).map(|target| spot(ctx, &target)),
        not_writable: match (&dir, login.source) {
            (Some(_), Source::File) => files::can_write(&place.dir).err().map(|error| files::io_words(&error)),
            _ => None,
        },
        no_end: login
            .grant()
            .filter(|grant| grant.refresh.token().is_some() && grant.access.is_some())
            .and_then(|grant| match grant.expires {
                None => Some("none"),
                Some(0) => Some("0"),
                Some(_) => None,
            }),
        // a user's own group, which some systems give write access by default, has nobody else in it
        open: dir
            .filter(|dir| dir.mode & 0o002 != 0 || dir.mode & 0o020 != 0 && dir.gid != dir.uid)
            .map(|dir| dir.mode),
    }
}

fn pid(bytes: &[u8]) -> Option<u32> {
    locks::pid_in(bytes).and_then(|pid| u32::try_from(pid).ok())
}

/// What the login's file was a link to, if that holds a token that the login had before.
fn left_behind(ledger: &Ledger, view: &look::LoginView) -> Option<PathBuf> {
    if view.login.link.is_some() {
        return None;
    }
    let target = ledger.links.get(view.id())?;
    let text = files::read(target).ok()?.bytes;
    let State::SignedIn(old) = claude::parse(std::str::from_utf8(&text).ok()?) else {
        return None;
    };
    let (now, held) = (view.login.grant()?, old.refresh.token()?.fingerprint());
    let present = now.refresh.token().map(Secret::fingerprint);
    let had = view.memory.as_ref().is_some_and(|memory| memory.past.contains(&held));
    // a login's deadline stays when it is renewed (2.1.330)
    let same = now.deadline.is_some() && now.deadline == old.deadline && old.expires < now.expires;
    (present != Some(held) && (had || same)).then(|| target.clone())
}

/// Directories beside the default one that hold a login and are not looked at.
fn unwatched(ctx: &Ctx, view: &View) -> Vec<Login> {
    let real = |dir: &Path| files::real(dir).unwrap_or_else(|| dir.to_owned());
    let known: Vec<PathBuf> = claude::places(&ctx.host, &ctx.config.logins)
        .iter()
        .map(|place| real(&place.dir))
        .chain(stored(view).map(|login| real(&login.login.place.dir)))
        .collect();
    let names = files::list(&ctx.host.home);
    let names = names
        .iter()
        .filter(|name| *name == ".claude" || name.starts_with(".claude-"));
    names
        .map(|name| ctx.host.home.join(name))
        .filter(|dir| !known.contains(&real(dir)))
        .filter_map(|dir| {
            let place = Place {
                id: ctx.host.tilde(&dir),
                dir_var: None,
                dir,
                configured: false,
                agents: None,
                profile: None,
            };
            let (state, meta) = claude::read(&place);
            let login = Login {
                source: Source::File,
                state,
                meta,
                shadowed_by: Vec::new(),
                abandoned: false,
                dead_lock: None,
                dir_uid: None,
                link: None,
                place,
            };
            login.grant().is_some_and(|grant| !grant.blanked).then_some(login)
        })
        .collect()
}

fn holders(ctx: &Ctx, view: &View) -> Vec<Holder> {
    let mut holders = Vec::new();
    for login in stored(view) {
        if let Some(token) = login.login.grant().and_then(|grant| grant.refresh.token()) {
            holders.push(Holder {
                token: token.fingerprint(),
                who: Who::Login(login.id().to_owned(), spot(ctx, &login.login.place.dir)),
                locked: None,
            });
        }
    }
    for agent in &view.agents {
        let locked = view.state_dirs[agent.agent.state_dir].refresh_locks == Ok(RefreshLocks::GrantThenStore);
        for profile in &agent.profiles {
            if let Some(token) = profile.profile.credential.refresh_fingerprint() {
                holders.push(Holder {
                    token,
                    who: Who::Profile(agent.agent.agent.label(), profile.profile.id.clone()),
                    locked: locked.then_some(agent.agent.state_dir),
                });
            }
        }
    }
    holders
}

fn copies(view: &View) -> Vec<CopyFact> {
    let mut copies = Vec::new();
    for agent in &view.agents {
        for profile in &agent.profiles {
            let Some(login) = profile.login else { continue };
            let holds = profile.profile.credential.refresh_fingerprint().is_some();
            // those that do not fare well have an alert of their own
            if holds && profile.verdict.fine() && profile.relation != Relation::Same {
                copies.push(CopyFact {
                    agent: agent.agent.agent.label(),
                    profile: profile.profile.id.clone(),
                    login: view.logins[login].id().to_owned(),
                    relation: profile.relation,
                });
            }
        }
    }
    copies
}

fn agent_fact(ctx: &Ctx, view: &View, agent: &AgentView) -> AgentFact {
    let generation = &view.state_dirs[agent.agent.state_dir].generation;
    let label = agent.agent.agent.label();
    let meant = ctx.config.sync.exclude_agents.iter().any(|glob| glob.matches(&label))
        || !ctx.config.sync.enabled
        || *generation == Generation::Sqlite;
    let said = matches!(agent.store, store::State::Malformed(_) | store::State::Refused(_));
    // an agent that never ran has no store to be written
    let empty = agent.store == store::State::Absent;
    AgentFact {
        store: spot(ctx, &agent.path),
        not_written: agent.writable.clone().err().filter(|_| !meant && !said && !empty),
        retired: agent
            .profiles
            .iter()
            .any(|p| p.verdict.reason == Some(Reason::StoreRetired)),
        label,
    }
}

fn lock_facts(ctx: &Ctx, view: &View) -> Vec<LockFact> {
    let mut facts = Vec::new();
    let mut look = |path: PathBuf, of: LockOf, limit: Duration, record: Option<PathBuf>| {
        let Ok(Some(seen)) = locks::look(&path, limit) else {
            return;
        };
        let holder = match seen.pid {
            Some(pid) => Some((pid, subprocess::is_alive(pid), process_name(pid))),
            None => record.as_deref().and_then(recorded),
        };
        facts.push(LockFact {
            spot: spot(ctx, &path),
            of,
            is_dir: seen.is_dir,
            touched: seen.touched,
            stale: seen.stale,
            limit,
            pid: holder,
        });
    };
    for login in stored(view) {
        let (place, id) = (&login.login.place, login.id());
        let record = Some(place.owner_record());
        look(
            place.refresh_lock(),
            LockOf::Refresh(id.into()),
            LOCK_STALE,
            record.clone(),
        );
        look(place.dir_lock(), LockOf::Refresh(id.into()), LOCK_STALE, record);
        look(place.write_lock(), LockOf::Save(id.into()), WRITE_LOCK_STALE, None);
    }
    for agent in view.agents.iter().filter(|agent| !agent.sqlite) {
        let real = files::real(&agent.path).unwrap_or_else(|| agent.path.clone());
        let of = LockOf::Store(agent.agent.agent.label());
        look(locks::lock_path(&real), of, pass::STORE_LOCK_STALE, None);
    }
    for state_dir in &view.state_dirs {
        let dir = state_dir.dir.join(GRANT_LOCKS);
        for name in files::list(&dir).iter().filter(|name| name.ends_with(".lock")) {
            look(dir.join(name), LockOf::Grant, GRANT_LOCK_STALE, None);
        }
    }
    facts
}

/// Whom Claude Code's record beside its lock names, whether that lives, and its name. The record has the process's start and the
/// namespace that its number belongs to (2.1.330), so that another process of the same number is not taken for it.
fn recorded(record: &Path) -> Option<(u32, bool, Option<String>)> {
    let bytes = files::read(record).ok()?.bytes;
    let pid = pid(&bytes)?;
    let fields = Fields::parse(std::str::from_utf8(&bytes).ok()?).ok()?;
    let text = |key: &str| fields.get(key).and_then(|value| value.str());
    let ours = files::link_target(Path::new("/proc/self/ns/pid"));
    let ours = ours
        .as_ref()
        .and_then(|path| path.file_name())
        .and_then(|name| name.to_str());
    if let (Some(domain), Some(ours)) = (text("pidDomain"), ours)
        && domain.contains("pid:[")
        && !domain.ends_with(ours)
    {
        return None;
    }
    let started = text("procStart").zip(process_start(pid));
    let alive = subprocess::is_alive(pid) && started.is_none_or(|(then, now)| then == now);
    Some((pid, alive, process_name(pid).filter(|_| alive)))
}

/// When a process started, as the kernel counts (proc(5), field 22 of `stat`).
fn process_start(pid: u32) -> Option<String> {
    let bytes = files::read(Path::new(&format!("/proc/{pid}/stat"))).ok()?.bytes;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    text.rsplit_once(')')?.1.split_whitespace().nth(19).map(Into::into)
}

fn process_name(pid: u32) -> Option<String> {
    let bytes = files::read(Path::new(&format!("/proc/{pid}/comm"))).ok()?.bytes;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn modes(ctx: &Ctx, view: &View) -> Vec<ModeFact> {
    let us = files::our_uid();
    let mut facts = Vec::new();
    let mut add = |path: &Path, holds: Holds, meta: Option<Meta>, should: Option<u32>| {
        let Some(meta) = meta else { return };
        facts.push(ModeFact {
            spot: spot(ctx, path),
            holds,
            mode: meta.mode,
            uid: meta.uid,
            should: should.unwrap_or(meta.uid),
            ours: meta.uid == us,
        });
    };
    let above = |path: &Path| path.parent().and_then(files::stat).map(|dir| dir.uid);
    for login in stored(view) {
        add(
            &login.login.place.file(),
            Holds::Login,
            login.login.meta.clone(),
            login.login.dir_uid,
        );
    }
    for agent in &view.agents {
        let holds = if agent.sqlite && agent.path.extension().is_some_and(|e| e == "sqlite") {
            Holds::Database
        } else {
            Holds::Store
        };
        let meta = agent.meta.clone().or_else(|| files::stat(&agent.path));
        add(&agent.path, holds, meta, above(&agent.path));
    }
    for state_dir in view.state_dirs.iter().filter(|dir| !dir.dotenv.is_empty()) {
        let path = state_dir.dir.join(".env");
        add(&path, Holds::Dotenv, files::stat(&path), None);
    }
    // root may look at a user's state without being the one who should own it
    let should = (!files::is_root()).then_some(us);
    add(&ctx.state_dir, Holds::MemoryDir, files::stat(&ctx.state_dir), should);
    for dir in [ctx.state_dir.clone(), ctx.state_dir.join("rescue")] {
        for name in files::list(&dir) {
            let path = dir.join(name);
            if files::is_file(&path) {
                add(&path, Holds::Memory, files::stat(&path), should);
            }
        }
    }
    // a store that agents share is looked at once
    facts.dedup_by(|a, b| a.spot.path == b.spot.path);
    facts
}

fn state(ctx: &Ctx, ledger: &Ledger) -> StateFact {
    let dir = &ctx.state_dir;
    // where it is not made yet, what would be made first counts
    let there = dir.ancestors().find(|dir| files::exists(dir)).unwrap_or(dir);
    let not_writable = match files::is_dir(there) {
        true => files::can_write(there).err().map(|error| files::io_words(&error)),
        false => Some(format!("`{}` is no directory", ctx.host.tilde(there))),
    };
    let sent = ledger
        .renewals
        .iter()
        .filter(|(_, record)| matches!(record.stage, Stage::Sent { .. }));
    StateFact {
        shown: ctx.host.tilde(dir),
        not_writable,
        room: files::room(there),
        rescued: renew::rescued(dir).iter().map(|path| spot(ctx, path)).collect(),
        fences: sent.map(|(whom, _)| whom.clone()).collect(),
    }
}

/// What is from the future: times of files, and what the ledger remembers.
fn ahead(ctx: &Ctx, view: &View, ledger: &Ledger, now: Ms) -> Vec<(String, Ms)> {
    let mut ahead: Vec<(String, Ms)> = Vec::new();
    let mut add = |what: String, at: Ms| {
        if at - now > AHEAD {
            ahead.push((what, at - now));
        }
    };
    let file = |path: &Path| format!("`{}`", ctx.host.tilde(path));
    for name in files::list(&ctx.state_dir) {
        let path = ctx.state_dir.join(name);
        if let Some(meta) = files::stat(&path) {
            add(file(&path), meta.modified);
        }
    }
    for login in stored(view) {
        if let Some(meta) = &login.login.meta {
            add(file(&login.login.place.file()), meta.modified);
        }
    }
    for agent in &view.agents {
        if let Some(meta) = &agent.meta {
            add(file(&agent.path), meta.modified);
        }
    }
    let alerts = ledger.alerts.values().map(|memory| memory.since);
    let queued = ledger.outbox.iter().map(|out| out.queued_at);
    let failed = ledger
        .renewals
        .values()
        .filter_map(|record| record.last.as_ref())
        .map(|last| last.at);
    let issued = ledger.setup_tokens.values().map(|token| token.issued_at);
    if let Some(latest) = alerts.chain(queued).chain(failed).chain(issued).max() {
        add("what the ledger remembers".into(), latest);
    }
    ahead
}

/// Which `claude` renews, or why none does; `None` where none is to.
fn cli(ctx: &Ctx, view: &View) -> Option<Result<String, crate::types::Problem>> {
    if ctx.config.renew.mode != RenewMode::Delegate {
        return None;
    }
    let login = stored(view).find(|login| login.renews() && login.login.source == Source::File)?;
    Some(
        delegate::find(ctx, login.id())
            .map(|path| delegate::version(&path).map_or_else(String::new, |v| v.to_string())),
    )
}

async fn channels(ctx: &Ctx, ledger: &Ledger) -> Vec<ChannelFact> {
    let mut probes = tokio::task::JoinSet::new();
    let mut facts = Vec::new();
    for channel in ctx.channels() {
        let trouble = ledger
            .troubles
            .get(&channel.name)
            .filter(|trouble| trouble.mark == channel.mark());
        facts.push(ChannelFact {
            trouble: trouble.map(|trouble| trouble.why.clone()),
            waiting: ledger.outbox.iter().filter(|out| out.channel == channel.name).count(),
            kind: channel.kind.word(),
            probe: Probe::Untried(""),
            name: channel.name,
        });
        begin_probe(ctx, &mut probes, facts.len() - 1, channel.kind.endpoint());
    }
    if let Some(heartbeat) = &ctx.config.heartbeat {
        facts.push(ChannelFact {
            name: "heartbeat".into(),
            kind: "heartbeat",
            trouble: None,
            waiting: 0,
            probe: Probe::Untried(""),
        });
        begin_probe(ctx, &mut probes, facts.len() - 1, heartbeat.endpoint());
    }
    for (i, probe) in probes.join_all().await {
        facts[i].probe = probe;
    }
    facts
}

fn begin_probe(ctx: &Ctx, probes: &mut tokio::task::JoinSet<(usize, Probe)>, i: usize, endpoint: Option<Endpoint>) {
    let host = &ctx.host;
    let reached = |result: Result<(), String>| match result {
        Ok(()) => Probe::Reached,
        Err(why) => Probe::Not(why),
    };
    match endpoint {
        Some(Endpoint::Host { name, port, scheme }) => {
            let proxied = ["ALL_PROXY", "all_proxy"].into_iter().chain(match scheme {
                "https" => ["HTTPS_PROXY", "https_proxy"],
                "http" => ["HTTP_PROXY", "http_proxy"],
                _ => ["", ""],
            });
            if scheme != "smtp" && proxied.into_iter().any(|name| host.var_nonblank(name).is_some()) {
                probes.spawn(async move { (i, Probe::Untried("not tried: a proxy is set")) });
                return;
            }
            probes.spawn(async move {
                let result = net::reach(&name, port, PATIENCE).await;
                (i, reached(result.map_err(|why| format!("`{name}` port {port}: {why}"))))
            });
        }
        Some(Endpoint::Desktop) => match notify::desktop::bus_address(host) {
            None => {
                let why = "there is no session bus: nobody is logged in to a desktop".to_owned();
                probes.spawn(async move { (i, Probe::Not(why)) });
            }
            Some(address) => {
                let path = address
                    .split([';', ','])
                    .next()
                    .and_then(|first| first.strip_prefix("unix:path="));
                let path = path.map(PathBuf::from);
                probes.spawn(async move {
                    match path {
                        Some(path) => (i, reached(net::reach_socket(&path, PATIENCE).await)),
                        None => (i, Probe::Untried("a session bus without a file, not tried")),
                    }
                });
            }
        },
        Some(Endpoint::Program(program)) => {
            let there = match program.contains('/') {
                true => files::is_executable(&host.path(&program)),
                false => notify::find_program(host, &program).is_some(),
            };
            let probe = match there {
                true => Probe::Reached,
                false => Probe::Not(format!("`{program}` is no program, or not on the `PATH`")),
            };
            probes.spawn(async move { (i, probe) });
        }
        // asked with the rest of Termux:API
        Some(Endpoint::Termux) => drop(probes.spawn(async move { (i, Probe::Untried("Termux:API")) })),
        Some(Endpoint::Log) => drop(probes.spawn(async move { (i, Probe::Untried("always there")) })),
        None => drop(probes.spawn(async move { (i, Probe::Untried("not tried")) })),
    }
}

async fn running(ctx: &Ctx, about: &About<'_>) -> RunningFact {
    let termux = ctx.host.termux();
    let passes = ledger::passes(&ctx.state_dir);
    let mut fact = RunningFact {
        daemons: daemons(ctx),
        last_pass: passes.last_at,
        last_good: passes.last_good_at,
        patience: rule::patience(termux),
        exe: about
            .exe
            .map(|exe| spot(ctx, &files::real(exe).unwrap_or_else(|| exe.to_owned()))),
        platform: platform_here(ctx),
        user: String::new(),
        ..RunningFact::default()
    };
    let Some(place) = &about.place else {
        fact.elsewhere = true;
        fact.termux_api = termux_api(ctx, None).await;
        return fact;
    };
    fact.user = place.user.clone().unwrap_or_else(|| place.uid.to_string());
    let mut found = installed(ctx, place);
    let mut asked = tokio::task::JoinSet::new();
    for (i, (_, probe)) in found.iter().enumerate() {
        if let Some(call) = probe.clone() {
            let spec = call_spec(ctx, &call);
            asked.spawn(async move { (i, ask(&call, spec).await) });
        }
    }
    let linger = async {
        let systemd = found.iter().any(|(way, _)| way.platform == "systemd");
        let words = ["loginctl", "show-user", "--property=Linger", "--value", &fact.user];
        let call = Call::new("systemd", Done::Success, &words);
        match systemd {
            true => subprocess::run(call_spec(ctx, &call)).await.ok(),
            false => None,
        }
    };
    let crontab = crontab(ctx);
    let job = found
        .iter()
        .any(|(way, _)| way.platform == "termux")
        .then_some("termux-job-scheduler");
    let (linger, crontab, answers, api) = tokio::join!(linger, crontab, asked.join_all(), termux_api(ctx, job));
    for (i, on) in answers {
        found[i].0.on = on;
    }
    fact.linger = linger.and_then(|said| match String::from_utf8_lossy(&said.stdout).trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    });
    fact.ways = found.into_iter().map(|(way, _)| way).collect();
    let in_manifest = fact.ways.iter().position(|way| way.platform == "cron");
    match (crontab.as_deref().map(cron_line), in_manifest) {
        (Some(Some(line)), at) => {
            let way = Way {
                platform: "cron",
                name: "the crontab".into(),
                daemon: false,
                program: program(ctx, line),
                gone: 0,
                on: On::Yes,
            };
            match at {
                Some(at) => fact.ways[at] = way,
                None => fact.ways.push(way),
            }
        }
        (Some(None), Some(at)) => fact.ways[at].on = On::No,
        (None, Some(at)) => fact.ways[at].on = On::Untold("`crontab -l` did not answer".into()),
        (_, None) => {}
    }
    fact.termux_api = api;
    fact
}

/// Processes of this user that are `nolapse daemon` on this home.
fn daemons(ctx: &Ctx) -> Vec<u32> {
    let proc = Path::new("/proc");
    let words = |path: PathBuf| -> Vec<String> {
        let bytes = files::read(&path).map(|file| file.bytes).unwrap_or_default();
        bytes
            .split(|byte| *byte == 0)
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect()
    };
    files::list(proc)
        .iter()
        .filter_map(|name| name.parse::<u32>().ok())
        .filter(|pid| {
            let dir = proc.join(pid.to_string());
            let args = words(dir.join("cmdline"));
            let ours = args
                .first()
                .is_some_and(|program| Path::new(program).file_name().is_some_and(|name| name == "nolapse"));
            ours && args.iter().any(|word| word == "daemon") && {
                let home = format!("HOME={}", ctx.host.home.display());
                words(dir.join("environ")).contains(&home)
            }
        })
        .collect()
}

fn platform_here(ctx: &Ctx) -> &'static str {
    let there = |path: &str| files::is_dir(Path::new(path));
    if ctx.host.termux() {
        "termux"
    } else if cfg!(target_os = "macos") {
        "launchd"
    } else if there("/run/systemd/system") {
        "systemd"
    } else if there("/run/openrc") {
        "openrc"
    } else if notify::find_program(&ctx.host, "crontab").is_some() {
        "cron"
    } else if notify::find_program(&ctx.host, "runsvdir").is_some() {
        "runit"
    } else {
        "systemd"
    }
}

/// The ways in which it is installed: what `install` wrote down, and what lies where each platform looks.
fn installed(ctx: &Ctx, place: &install::Place) -> Vec<(Way, Option<Call>)> {
    let manifest: Manifest = files::read(&ctx.state_dir.join("install.json"))
        .ok()
        .and_then(|file| serde_json::from_slice(&file.bytes).ok())
        .unwrap_or_default();
    let mut found: Vec<(Way, Option<Call>)> = Vec::new();
    for platform in Platform::ALL {
        let Some(entry) = manifest.installed.get(platform.word()) else {
            continue;
        };
        let plan = install::plan(platform, entry.daemon, place);
        let once = |path: &Path| plan.files.iter().any(|file| file.once && file.path == *path);
        let gone = entry
            .files
            .iter()
            .filter(|file| !files::exists(&file.path) && !once(&file.path))
            .count();
        let texts = entry.files.iter().filter_map(|file| files::read(&file.path).ok());
        let program = texts
            .filter_map(|file| program(ctx, &String::from_utf8_lossy(&file.bytes)))
            .next();
        let name = match (platform, entry.daemon) {
            (Platform::Systemd, false) => "the systemd timer",
            (Platform::Systemd, true) => "the systemd daemon",
            (Platform::Termux, false) => "the job of Termux",
            (Platform::Termux, true) => "the job and the service of Termux",
            (Platform::Cron, _) => "the crontab",
            (Platform::Launchd, _) => "the agent of launchd",
            (Platform::Openrc, _) => "the service of OpenRC",
            (Platform::Runit, _) => "the service of runit",
        };
        let way = Way {
            platform: platform.word(),
            name: name.into(),
            daemon: entry.daemon,
            program,
            gone,
            on: On::Likely,
        };
        found.push((way, plan.probe));
    }
    for (unit, dir, daemon) in [
        ("nolapse.timer", "timers.target.wants", false),
        ("nolapse-daemon.service", "default.target.wants", true),
    ] {
        let own = place.config_home.join("systemd/user");
        let enabled = [own.clone(), "/etc/systemd/user".into()]
            .iter()
            .any(|at| files::exists(&at.join(dir).join(unit)));
        let known = found
            .iter()
            .any(|(way, _)| way.platform == "systemd" && way.daemon == daemon);
        if !enabled || known {
            continue;
        }
        let service = if daemon { unit } else { "nolapse.service" };
        let places = [
            own,
            "/etc/systemd/user".into(),
            "/usr/local/lib/systemd/user".into(),
            "/usr/lib/systemd/user".into(),
        ];
        let text = places.iter().find_map(|at| files::read(&at.join(service)).ok());
        let words = ["systemctl", "--user", "is-active", "--quiet", unit];
        let way = Way {
            platform: "systemd",
            name: format!("the systemd unit {unit}"),
            daemon,
            program: text.and_then(|file| program(ctx, &String::from_utf8_lossy(&file.bytes))),
            gone: 0,
            on: On::Likely,
        };
        found.push((way, Some(Call::new("systemd", Done::Success, &words))));
    }
    let template = format!("nolapse@{}.timer", place.user.as_deref().unwrap_or_default());
    if files::exists(&Path::new("/etc/systemd/system/timers.target.wants").join(&template)) {
        let way = Way {
            platform: "systemd",
            name: format!("the system's unit {template}"),
            daemon: false,
            program: None,
            gone: 0,
            on: On::Likely,
        };
        found.push((way, None));
    }
    found
}

/// The program in a unit, script or crontab: the first path to a `nolapse`, as it is quoted there.
fn program(ctx: &Ctx, text: &str) -> Option<(Spot, bool)> {
    const NAME: &str = "/nolapse";
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    for line in lines {
        for (at, _) in line.match_indices(NAME) {
            let (before, after) = (&line[..at], &line[at + NAME.len()..]);
            let begin = match after.chars().next() {
                Some(quote @ ('\'' | '"')) => before.rfind(quote).map(|i| i + 1),
                Some('<') => before.rfind('>').map(|i| i + 1),
                None | Some(' ' | '\t') => before.rfind([' ', '\t', '=']).map_or(Some(0), |i| Some(i + 1)),
                Some(_) => None,
            };
            let path = begin.map(|begin| format!("{}{NAME}", &before[begin..]));
            if let Some(path) = path.filter(|path| path.starts_with('/')) {
                let path = PathBuf::from(path.replace("%%", "%").replace("$$", "$"));
                let there = files::is_executable(&path);
                return Some((spot(ctx, &files::real(&path).unwrap_or(path)), there));
            }
        }
    }
    None
}

/// The line of a crontab that runs nolapse.
fn cron_line(text: &str) -> Option<&str> {
    let runs = |line: &&str| !line.trim_start().starts_with('#') && line.contains("nolapse") && line.contains(" run");
    text.lines().find(runs)
}

/// The user's crontab; empty where there is none, `None` where it could not be asked.
async fn crontab(ctx: &Ctx) -> Option<String> {
    notify::find_program(&ctx.host, "crontab")?;
    let call = Call::new("cron", Done::Success, &["crontab", "-l"]);
    let output = subprocess::run(call_spec(ctx, &call)).await.ok()?;
    (output.status != Status::TimedOut).then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn call_spec(ctx: &Ctx, call: &Call) -> Spec {
    let (program, args) = call.words.split_first().map_or(("", &[][..]), |(a, b)| (a.as_str(), b));
    let more = ["XDG_CONFIG_HOME", "SVDIR"].into_iter();
    let more = more.filter_map(|name| Some((name, ctx.host.var(name)?)));
    Spec {
        args: args.iter().map(Into::into).collect(),
        env: ctx
            .host
            .child_env()
            .chain(more)
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        timeout: match program.starts_with("termux-") {
            true => TERMUX_PATIENCE,
            false => PATIENCE,
        },
        ..Spec::new(program)
    }
}

/// What the platform says of one way.
async fn ask(call: &Call, spec: Spec) -> On {
    let output = match subprocess::run(spec).await {
        Ok(output) => output,
        Err(error) => return On::Untold(format!("`{}`: {}", call.line(), files::io_words(&error))),
    };
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match (output.status, call.done) {
        (Status::TimedOut, _) => On::Untold(format!("`{}` does not answer", call.line())),
        (Status::Exit(0), Done::Success) => On::Yes,
        (_, Done::Says(what)) if said(&output.stdout).contains(what) => On::Yes,
        // no session, so no service manager to ask: as under sudo or cron
        (_, Done::Success) if said(&output.stderr).contains("connect to") => On::Untold(format!(
            "`{}`: {}",
            call.line(),
            report::one_line(&said(&output.stderr))
        )),
        _ => On::No,
    }
}

/// Whether Termux:API answers; asked with what changes nothing.
async fn termux_api(ctx: &Ctx, needed: Option<&str>) -> Option<TermuxApi> {
    if !ctx.host.termux() {
        return None;
    }
    let told_by_it = ctx
        .channels()
        .iter()
        .any(|channel| matches!(channel.kind, ChannelKind::Termux(_)));
    let programs = [Some("termux-notification").filter(|_| told_by_it), needed];
    if programs
        .into_iter()
        .flatten()
        .any(|name| notify::find_program(&ctx.host, name).is_none())
    {
        return Some(TermuxApi::Missing);
    }
    notify::find_program(&ctx.host, "termux-job-scheduler")?;
    let call = Call::new("Termux:API", Done::Anyhow, &["termux-job-scheduler", "-p"]);
    match subprocess::run(call_spec(ctx, &call)).await {
        Ok(output) if output.status == Status::TimedOut => Some(TermuxApi::Silent),
        Ok(_) => Some(TermuxApi::Answers),
        Err(_) => Some(TermuxApi::Missing),
    }
}

/// How a repair went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// It was done.
    Done,
    /// It was left alone, and why.
    Left(String),
}

/// Carries out the repairs, each looked at again just before, and notes what was done in the history. No other pass of ours
/// runs meanwhile, where the state directory lets itself be locked.
pub async fn repair(ctx: &Ctx, fixes: &[Fix]) -> Vec<Repaired> {
    if let Err(error) = files::make_dirs(&ctx.state_dir) {
        tracing::warn!("history: {}", files::io_words(&error));
    }
    let lock = match locks::pass_lock(&ctx.state_dir, Duration::from_secs(20)).await {
        Err(LockError::Held(_)) => {
            let why = "a pass runs just now; try again when it is over";
            return fixes.iter().map(|_| Repaired::Left(why.into())).collect();
        }
        other => other.ok(),
    };
    let mut all = Vec::new();
    for fix in fixes {
        let done = match fix {
            Fix::Mode { path, mode } => match files::restrict(path, *mode) {
                Ok(()) => Repaired::Done,
                Err(error) => Repaired::Left(files::io_words(&error)),
            },
            Fix::Lock { path, stale_after } => match locks::clear_dead(path, *stale_after) {
                Ok(Cleared::Removed) => Repaired::Done,
                Ok(Cleared::Gone) => Repaired::Left("it is gone already".into()),
                Ok(Cleared::Held) => Repaired::Left("somebody holds it again".into()),
                Err(error) => Repaired::Left(files::io_words(&error)),
            },
        };
        if done == Repaired::Done {
            let entry = Entry {
                at: ctx.clock.now(),
                what: "repaired".into(),
                whom: ctx.host.tilde(fix.path()),
                text: words(fix),
                ..Entry::default()
            };
            history::note(&ctx.state_dir, &[entry]);
        }
        all.push(done);
    }
    drop(lock);
    all
}

/// A repair as a person would do it.
pub fn words(fix: &Fix) -> String {
    match fix {
        Fix::Mode { mode, .. } => format!("took permissions away, to {mode:o}"),
        Fix::Lock { .. } => "removed the lock of a process that died".into(),
    }
}

/// The repairs among the findings, each once, shown as commands.
pub fn repairs(ctx: &Ctx, findings: &[Finding]) -> Vec<(Fix, String)> {
    let mut all: BTreeMap<PathBuf, (Fix, String)> = BTreeMap::new();
    for fix in findings.iter().filter_map(|finding| finding.fix.clone()) {
        let shown = wording::quote(&ctx.host.tilde(fix.path()));
        let text = match &fix {
            Fix::Mode { mode, .. } => format!("chmod {mode:o} {shown}"),
            Fix::Lock { path, .. } if files::is_dir(path) => format!("rmdir {shown}"),
            Fix::Lock { .. } => format!("rm {shown}"),
        };
        all.insert(fix.path().to_owned(), (fix, text));
    }
    all.into_values().collect()
}
