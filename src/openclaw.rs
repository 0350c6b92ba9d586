//! What nolapse has OpenClaw do to its own stores, by OpenClaw's own commands: tokens, orders, references to a login.

use crate::ctx::Ctx;
use crate::edge::openclaw::{self, Of, Program};
use crate::edge::subprocess::{Output, Status};
use crate::look::{self, World};
use crate::rules::agent::StateDir;
use crate::rules::openclaw::{self as commands, Version};
use crate::rules::view::{AgentView, View};
use crate::secret::Secret;
use crate::types::Moment;

/// Taken where the package does not tell: the newest that was looked at.
const NEWEST: Version = Version(2026, 9, 6);

/// The program, or why there is none, in words.
pub(crate) fn program(ctx: &Ctx) -> Result<(Program, Version), String> {
    let program = openclaw::find(&ctx.host).map_err(|missing| {
        let (why, hint) = missing.words(&ctx.host);
        format!("{why}; {hint}")
    })?;
    let version = program.version.unwrap_or(NEWEST);
    Ok((program, version))
}

/// Which installation a state directory is.
pub(crate) fn of(state_dir: &StateDir) -> Of<'_> {
    Of {
        dir: &state_dir.dir,
        config: state_dir.config_path.as_deref(),
    }
}

/// The program that would put a profile `id` into the agent's database.
///
/// # Errors
/// Why none would, in words.
pub(crate) fn may_paste(ctx: &Ctx, agent: &AgentView, id: &str) -> Result<(Program, Version), String> {
    if agent.retires_claude_cli && id == look::RETIRED_ID {
        return Err(format!(
            "OpenClaw refuses profiles named `{id}`; give another id with `--profile`"
        ));
    }
    program(ctx)
}

/// Puts a token under `id` into what the agent sees, and reads it back. `Ok(false)` where it is there already.
///
/// # Errors
/// In words; never holds the token.
pub(crate) async fn paste(
    World { ctx, ledger, view }: World<'_>,
    agent: &AgentView,
    (provider, id): (&str, &str),
    (token, expires): (&Secret, Option<Moment>),
) -> Result<bool, String> {
    if agent.holds(id, token) {
        return Ok(false);
    }
    let (program, version) = may_paste(ctx, agent, id)?;
    let state_dir = &view.state_dirs[agent.agent.state_dir];
    let name = &agent.agent.agent.id;
    let left = expires.map(|at| at - ctx.clock.now());
    let args = commands::paste_token(version, name, provider, id, left);
    let output = openclaw::run(&ctx.host, &program, of(state_dir), &args, Some(token)).await?;
    let label = agent.label();
    let after = look::look(ctx, ledger);
    let there = after.agents.iter().find(|other| other.label() == label);
    match there.is_some_and(|agent| agent.holds(id, token)) {
        true => Ok(true),
        false => Err(format!(
            "`openclaw models auth paste-token` did not put it there: {}",
            said(&output, Some(token))
        )),
    }
}

/// Sets an agent's stored order of a provider, or clears it where `ids` is empty.
///
/// # Errors
/// In words.
pub(crate) async fn set_order(
    ctx: &Ctx,
    view: &View,
    agent: &AgentView,
    provider: &str,
    ids: &[String],
) -> Result<bool, String> {
    let (program, _) = program(ctx)?;
    let state_dir = &view.state_dirs[agent.agent.state_dir];
    let args = commands::order(&agent.agent.agent.id, provider, ids);
    let output = openclaw::run(&ctx.host, &program, of(state_dir), &args, None).await?;
    match output.status {
        Status::Exit(0) => Ok(true),
        _ => Err(said(&output, None)),
    }
}

/// The last line that a program said, without a token that it may have repeated.
pub(crate) fn said(output: &Output, token: Option<&Secret>) -> String {
    let texts = [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let mut lines = texts
        .iter()
        .flat_map(|text| text.lines().rev())
        .map(str::trim)
        .filter(|line| !line.is_empty());
    // JSON ends with a line that says nothing
    let clean = |line: &&str| {
        line.contains(char::is_alphabetic)
            && !line.contains("sk-ant-")
            && token.is_none_or(|token| !line.contains(token.expose()))
    };
    if let Status::Signal(signal) = output.status {
        return format!("it was killed by signal {signal}");
    }
    let line: Option<String> = lines.find(clean).map(|line| line.chars().take(200).collect());
    line.unwrap_or_else(|| format!("it ended with {:?}", output.status))
}
