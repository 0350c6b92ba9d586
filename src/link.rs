//! `nolapse link openclaw`: a profile of OpenClaw's agents that refers to the access token in Claude Code's own file, made by OpenClaw's
//! own `secrets apply`; told of each new token by its own `secrets reload`.
//!
//! Source: openclaw 2026.8.2 and 2026.9.6. A running gateway keeps the token that it resolved until it is told to reload.

use crate::ctx::Ctx;
use crate::edge::files;
use crate::edge::openclaw::{self as program, Of, Program};
use crate::edge::replace::{self, NotPut, Over};
use crate::edge::subprocess::{Output, Status};
use crate::rules::agent::StateDir;
use crate::rules::link::{Link, Trouble, What};
use crate::rules::memory::Ledger;
use crate::rules::openclaw::{self as commands, Reloaded, Way};
use crate::rules::view::{AgentView, View};
use crate::secret::{Fingerprint, Secret};
use crate::types::{Family, Held, Problem, label};
use crate::{ledger, look, openclaw};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a pass that is running is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where copies of configs lie until they are put back, in the state directory.
const BEFORE: &str = "openclaw";

/// What is to be linked.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Index of the state directory.
    pub(crate) state_dir: usize,
    /// The agents' ids.
    pub(crate) agents: Vec<String>,
    /// The profile id.
    pub(crate) id: String,
    /// The login's id.
    pub(crate) login: String,
    /// How OpenClaw gets at it.
    pub(crate) way: Way,
}

impl Wanted {
    /// The plan that `secrets apply` is given.
    pub(crate) fn plan(&self) -> Value {
        commands::link_plan(&self.way, &self.id, &self.agents)
    }

    /// What the profile refers to, in words.
    pub(crate) fn to(&self, ctx: &Ctx) -> String {
        match &self.way {
            Way::File(path) => ctx.host.tilde(Path::new(path)),
            Way::Exec { login, .. } => format!("login {login}, by `nolapse token print`"),
        }
    }

    fn exec(&self) -> bool {
        matches!(self.way, Way::Exec { .. })
    }
}

/// Links, and says what came of it, a line each.
///
/// # Errors
/// In words; what was begun is remembered, so that `unlink` takes it away.
pub(crate) async fn link(ctx: &Ctx, view: &View, wanted: &Wanted) -> Result<Vec<String>, String> {
    let (program, _) = openclaw::program(ctx)?;
    let state_dir = &view.state_dirs[wanted.state_dir];
    let key = key(state_dir);
    let before = keep_config(ctx, state_dir)?;
    let link = Link {
        login: wanted.login.clone(),
        id: wanted.id.clone(),
        agents: wanted.agents.clone(),
        before,
        reloaded: None,
        trouble: None,
    };
    remember(ctx, |ledger| {
        ledger.openclaw.insert(key.clone(), link.clone());
    })
    .await?;
    apply(ctx, &program, openclaw::of(state_dir), (&wanted.plan(), wanted.exec())).await?;
    let after = look::look(ctx, &ledger::load(&ctx.state_dir).ledger);
    let mut lines = Vec::new();
    for name in &wanted.agents {
        let agent = of_dir(&after, state_dir).find(|agent| agent.agent.agent.id == *name);
        let Some(agent) = agent.filter(|agent| is_linked(agent, &wanted.id)) else {
            return Err(format!(
                "`openclaw secrets apply` ended well, and `{}` of `{name}` is no reference",
                wanted.id
            ));
        };
        let (label, id) = (agent.label(), &wanted.id);
        lines.push(format!("{label}: {id} refers to {}", wanted.to(ctx)));
        if agent.resolved("anthropic").is_some_and(|resolved| !resolved.is(id)) {
            lines.push("  this agent does not use it yet: an order or its config names other profiles".into());
            lines.push(format!("  hint: run `nolapse order set --agent {label} {id}`"));
        }
    }
    let reloaded = reload(ctx, &program, &Gateway::of(state_dir)).await;
    let trouble = Trouble::of(&reloaded, ctx.clock.now(), None);
    lines.push(match reloaded {
        Reloaded::Done => "the running gateway uses it now".into(),
        Reloaded::Warnings(count) => format!("the running gateway uses it now, and has {count} warnings in its log"),
        Reloaded::NoGateway => "no gateway runs; the next one uses it".into(),
        Reloaded::Restart(why) => format!("restart the gateway once, `openclaw gateway restart`: {why}"),
        Reloaded::Failed(why) => format!("the gateway did not reload: {why}; run `openclaw secrets reload`"),
    });
    let token = access(&after, &wanted.login);
    remember(ctx, |ledger| {
        if let Some(link) = ledger.openclaw.get_mut(&key) {
            link.reloaded = token;
            link.trouble = trouble;
        }
    })
    .await?;
    Ok(lines)
}

/// Takes away what [`link`] made, and nothing else; a line each.
///
/// # Errors
/// In words; the link is still remembered then.
pub(crate) async fn unlink(ctx: &Ctx, view: &View, state_dir: &StateDir, link: &Link) -> Result<Vec<String>, String> {
    let (program, _) = openclaw::program(ctx)?;
    let of = openclaw::of(state_dir);
    let mut lines = Vec::new();
    for name in &link.agents {
        let agent = of_dir(view, state_dir).find(|agent| agent.agent.agent.id == *name);
        if !agent.is_some_and(|agent| is_linked(agent, &link.id)) {
            continue;
        }
        let output = program::run(&ctx.host, &program, of, &commands::logout(name, &link.id), None).await?;
        ended_well(&output)?;
        let label = label(Family::Openclaw, state_dir.named.as_deref(), name);
        lines.push(format!("{label}: {} is gone", link.id));
    }
    if state_dir.secrets.iter().any(|source| source.name == commands::SOURCE) {
        apply(ctx, &program, of, (&commands::unlink_plan(), false)).await?;
    }
    let after = look::look(ctx, &ledger::load(&ctx.state_dir).ledger);
    let still = of_dir(&after, state_dir).any(|agent| is_linked(agent, &link.id));
    if still {
        return Err(format!("`{}` is still there", link.id));
    }
    if put_config_back(ctx, state_dir)? {
        lines.push("its config is as it was, byte for byte".into());
    }
    let key = key(state_dir);
    remember(ctx, |ledger| {
        ledger.openclaw.remove(&key);
    })
    .await?;
    if let Reloaded::Failed(why) | Reloaded::Restart(why) = reload(ctx, &program, &Gateway::of(state_dir)).await {
        lines.push(format!("restart the gateway once, `openclaw gateway restart`: {why}"));
    }
    Ok(lines)
}

/// A gateway that may be running, as a pass remembers it.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    dir: PathBuf,
    config: Option<PathBuf>,
    reload_off: bool,
}

impl Gateway {
    fn of(state_dir: &StateDir) -> Self {
        Self {
            dir: state_dir.dir.clone(),
            config: state_dir.config_path.clone(),
            reload_off: state_dir.reload_off,
        }
    }
}

/// A gateway, and the key of its link.
pub(crate) type Due = (Gateway, String);

/// The gateways that have not been told of the present token of the login that they are linked to. They count as told
/// from now on: one try for each token.
pub(crate) fn due(ledger: &mut Ledger, view: &View) -> Vec<Due> {
    let mut due = Vec::new();
    for state_dir in &view.state_dirs {
        let key = key(state_dir);
        let Some(link) = ledger.openclaw.get_mut(&key) else {
            continue;
        };
        let token = access(view, &link.login);
        // a blanked login has none: what was resolved last stays in use
        if token.is_some() && token != link.reloaded {
            link.reloaded = token;
            due.push((Gateway::of(state_dir), key));
        }
    }
    due
}

/// Has each gateway reload its secrets, and remembers what went wrong.
pub(crate) async fn reload_all(ctx: &Ctx, due: Vec<Due>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (gateway, key) in due {
        let answer = match openclaw::program(ctx) {
            Ok((program, _)) => reload(ctx, &program, &gateway).await,
            Err(why) => Reloaded::Failed(why),
        };
        let mut links = ledger::load(&ctx.state_dir).ledger.openclaw;
        let before = links.remove(&key).and_then(|link| link.trouble);
        let trouble = Trouble::of(&answer, ctx.clock.now(), before.as_ref());
        if let Some(trouble) = &trouble {
            let (cause, command) = match trouble.what {
                What::NotTold => ("did not get the login's new token", "openclaw secrets reload"),
                What::Warns => ("reloaded its secrets, not without trouble", "openclaw secrets audit"),
                What::Restart => (
                    "must be restarted to use the login's new token",
                    "openclaw gateway restart",
                ),
            };
            let text = format!("the OpenClaw gateway {cause}: {}", trouble.why);
            let hint = format!("run `{command}`");
            problems.push(Problem::at("reload_failed", &gateway.dir, text, hint));
        }
        let saved = remember(ctx, |ledger| {
            if let Some(link) = ledger.openclaw.get_mut(&key) {
                link.trouble = trouble;
            }
        });
        if let Err(why) = saved.await {
            problems.push(Problem::at("state_dir", &ctx.state_dir, why, "make it writable"));
        }
    }
    problems
}

async fn reload(ctx: &Ctx, program: &Program, gateway: &Gateway) -> Reloaded {
    let of = Of {
        dir: &gateway.dir,
        config: gateway.config.as_deref(),
    };
    let output = match program::run(&ctx.host, program, of, &commands::reload(), None).await {
        Ok(output) => output,
        Err(why) => return Reloaded::Failed(why),
    };
    let code = match output.status {
        Status::Exit(code) => Some(code),
        _ => None,
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match commands::reloaded(code, &text(&output.stdout), &text(&output.stderr)) {
        // it warns of a reference to what it has not read
        Reloaded::Warnings(_) if gateway.reload_off => {
            Reloaded::Restart("its `gateway.reload.mode` is `off`, so it has not read that it is linked".into())
        }
        other => other,
    }
}

/// Runs `secrets apply` with a plan, which holds no secret; the second: whether it may name a program.
async fn apply(ctx: &Ctx, program: &Program, of: Of<'_>, (plan, exec): (&Value, bool)) -> Result<(), String> {
    let words = |error: std::io::Error| format!("the plan could not be written: {}", files::io_words(&error));
    files::make_dirs(&ctx.state_dir).map_err(words)?;
    let dir = files::make_own_dir(&ctx.state_dir, "plan-").map_err(words)?;
    let path = dir.join("plan.json");
    let written = files::create_new(&path, format!("{plan:#}\n").as_bytes()).map_err(words);
    let output = match written {
        Ok(()) => {
            let args = commands::apply(&path.to_string_lossy(), exec);
            program::run(&ctx.host, program, of, &args, None).await
        }
        Err(why) => Err(why),
    };
    let _ = files::remove_own_dir(&dir);
    ended_well(&output?)
}

fn ended_well(output: &Output) -> Result<(), String> {
    match output.status {
        Status::Exit(0) => Ok(()),
        _ => Err(openclaw::said(output, None)),
    }
}

/// Whether an agent's profile refers to our entry.
pub(crate) fn is_linked(agent: &AgentView, id: &str) -> bool {
    let profile = agent.profiles.iter().find(|profile| profile.profile.id == id);
    let held = profile.map(|profile| &profile.profile.held);
    matches!(held, Some(Held::Referenced(to)) if to.provider == commands::SOURCE)
}

fn of_dir<'v>(view: &'v View, state_dir: &'v StateDir) -> impl Iterator<Item = &'v AgentView> {
    let of_this = |agent: &&AgentView| view.state_dirs[agent.agent.state_dir].dir == state_dir.dir;
    view.agents.iter().filter(of_this)
}

fn access(view: &View, login: &str) -> Option<Fingerprint> {
    let login = view.logins.iter().find(|one| one.id() == login)?;
    login.login.grant()?.access.as_ref().map(Secret::fingerprint)
}

/// The key of a link in the ledger.
pub(crate) fn key(state_dir: &StateDir) -> String {
    state_dir.dir.display().to_string()
}

fn before_path(ctx: &Ctx, state_dir: &StateDir) -> PathBuf {
    let name = Secret::new(key(state_dir)).fingerprint();
    ctx.state_dir.join(BEFORE).join(format!("{name}.json"))
}

/// Copies the config aside, since OpenClaw writes it anew; one that was kept before is the older truth.
fn keep_config(ctx: &Ctx, state_dir: &StateDir) -> Result<bool, String> {
    let Some(config) = &state_dir.config_path else {
        return Ok(false);
    };
    let to = before_path(ctx, state_dir);
    if files::exists(&to) {
        return Ok(true);
    }
    let bytes = files::read(config)
        .map_err(|error| format!("`{}`: {error}", ctx.host.tilde(config)))?
        .bytes;
    let write = || {
        files::make_dirs(to.parent().unwrap_or(Path::new("/")))?;
        files::create_new(&to, &bytes)
    };
    write().map_err(|error| {
        let (config, why) = (ctx.host.tilde(config), files::io_words(&error));
        format!("`{config}` could not be copied: {why}")
    })?;
    Ok(true)
}

/// Puts the config back as it was, where all that differs is what OpenClaw itself wrote. Whether it is so now.
fn put_config_back(ctx: &Ctx, state_dir: &StateDir) -> Result<bool, String> {
    let from = before_path(ctx, state_dir);
    let (Some(config), Ok(before)) = (&state_dir.config_path, files::read_ours(&from)) else {
        return Ok(false);
    };
    let words = |error: std::io::Error| format!("the config could not be put back: {}", files::io_words(&error));
    let now = files::read(config).map_err(|error| format!("`{}`: {error}", ctx.host.tilde(config)))?;
    let same = commands::same_config(
        &String::from_utf8_lossy(&before.bytes),
        &String::from_utf8_lossy(&now.bytes),
    );
    if same && now.bytes != before.bytes {
        let target = files::real_target(config).map_err(words)?;
        let mut staged = replace::stage(&target, Some(&now.meta)).map_err(words)?;
        staged.write(&before.bytes).map_err(words)?;
        // OpenClaw writes it without a lock: what was changed meanwhile is not overwritten
        match staged.put(Over::Content(&now.bytes), &|| true) {
            Ok(_) => {}
            Err(NotPut::Io(error)) => return Err(words(error)),
            Err(_) => return Ok(false),
        }
    }
    files::remove(&from).map_err(words)?;
    Ok(same)
}

/// Changes what is remembered; why not, in words.
async fn remember(ctx: &Ctx, change: impl FnOnce(&mut Ledger)) -> Result<(), String> {
    let changed = ledger::change(&ctx.state_dir, ctx.clock.now(), PATIENCE, change).await;
    changed.map_err(|error| error.of_pass(&ctx.host.tilde(&ctx.state_dir)))
}
