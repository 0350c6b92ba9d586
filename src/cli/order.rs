//! `nolapse order`: in which order an agent tries a provider's profiles, as its store keeps it.

use super::{Fatal, Setup, agents_named, examples, say, until_signal, usage};
use crate::ctx::Ctx;
use crate::edge::files;
use crate::layout::one_line;
use crate::look::{self, World};
use crate::report::Exit;
use crate::rules::agent;
use crate::rules::view::{AgentView, View};
use crate::stores::{families, store};
use crate::{by_hand, ledger, openclaw};
use clap::{Args, Subcommand};
use std::fmt::Write;

#[derive(Subcommand, Debug)]
pub(super) enum OrderCommand {
    /// Show the order
    #[command(after_help = examples::ORDER_GET)]
    Get(Which),
    /// Set the order: the profiles to try, the first one first; others of the provider are not used
    #[command(after_help = examples::ORDER_SET)]
    Set(SetArgs),
    /// Forget the order, so that the agents choose for themselves
    #[command(after_help = examples::ORDER_CLEAR)]
    Clear(Which),
}

#[derive(Args, Debug)]
pub(super) struct Which {
    /// The provider
    #[arg(long, default_value = "anthropic")]
    provider: String,
    /// Of these agents: FAMILY/ID, with `*` and `?` [default: every agent that has a store]
    #[arg(long = "agent", value_name = "AGENT")]
    agents: Vec<glob::Pattern>,
}

#[derive(Args, Debug)]
pub(super) struct SetArgs {
    #[command(flatten)]
    which: Which,
    /// The profile ids
    #[arg(required = true, value_name = "IDS")]
    ids: Vec<String>,
}

pub(super) fn order(setup: &Setup, command: &OrderCommand) -> Result<Exit, Fatal> {
    let ctx = setup.ctx(None)?;
    match command {
        OrderCommand::Get(which) => get(&ctx, which),
        OrderCommand::Set(SetArgs { which, ids }) => {
            // clawdbot trims the ids and takes each once
            let mut wanted: Vec<String> = Vec::new();
            for id in ids.iter().map(|id| id.trim()).filter(|id| !id.is_empty()) {
                if !wanted.iter().any(|known| known == id) {
                    wanted.push(id.to_owned());
                }
            }
            if wanted.is_empty() {
                return Err(usage(
                    "no profile id was given",
                    "name the profiles, or use `nolapse order clear`",
                ));
            }
            until_signal(change(&ctx, which, &wanted))?
        }
        OrderCommand::Clear(which) => until_signal(change(&ctx, which, &[]))?,
    }
}

/// Openclaw from 2026.4.25 on keeps the order elsewhere.
fn elsewhere(view: &View, agent: &AgentView) -> Option<&'static str> {
    if agent.sqlite {
        return None;
    }
    let state_dir = &view.state_dirs[agent.agent.state_dir];
    let apart = files::exists(&agent.agent.agent.dir.join("auth-state.json"))
        || families::keeps_state_apart(state_dir.version.as_deref());
    apart.then_some("this OpenClaw keeps its order in `auth-state.json`")
}

fn chosen<'v>(view: &'v View, which: &Which) -> Result<Vec<&'v AgentView>, Fatal> {
    let named = agents_named(view, &which.agents)?;
    let all = !which.agents.is_empty();
    let chosen: Vec<&AgentView> = named
        .into_iter()
        .filter(|agent| all || agent.store != agent::Store::Absent)
        .collect();
    match chosen.is_empty() {
        false => Ok(chosen),
        true => Err(usage(
            "no agent has a store",
            "see `nolapse status` for the agents that were found",
        )),
    }
}

fn get(ctx: &Ctx, which: &Which) -> Result<Exit, Fatal> {
    let view = look::look(ctx, &ledger::load(&ctx.state_dir).ledger);
    let provider = by_hand::normalise_provider(&which.provider);
    let (mut out, mut exit) = (String::new(), Exit::Fine);
    for agent in chosen(&view, which)? {
        let whom = one_line(&agent.label());
        let order = match (elsewhere(&view, agent), store::read(&agent.path).1) {
            (None, _) if agent.sqlite => Ok(stored(agent, &provider)),
            (Some(why), _) => Err(format!("{why}; see `openclaw models auth order get`")),
            (None, Some(text)) => store::order(&text, &provider),
            (None, None) => Ok(None),
        };
        let _ = match order {
            Ok(Some(ids)) => writeln!(out, "{whom}: {}", one_line(&ids.join(", "))),
            Ok(None) => writeln!(out, "{whom}: no order is stored; the agent chooses"),
            Err(why) => {
                exit = Exit::Unknown;
                writeln!(out, "{whom}: {}", one_line(&why))
            }
        };
    }
    say(&out)?;
    Ok(exit)
}

/// What an agent's database says, or the one that it shares.
fn stored(agent: &AgentView, provider: &str) -> Option<Vec<String>> {
    let mut orders = agent.aside.order.iter();
    let of_this = orders.find(|(name, _)| by_hand::normalise_provider(name) == provider);
    of_this.map(|(_, ids)| ids.clone())
}

/// Has OpenClaw write it, and reads it again.
async fn in_database(
    World { ctx, ledger, view }: World<'_>,
    agent: &AgentView,
    provider: &str,
    ids: &[String],
) -> Result<bool, String> {
    for id in ids {
        if !agent.profiles.iter().any(|profile| profile.profile.id == *id) {
            return Err(format!("there is no profile `{id}`"));
        }
    }
    openclaw::set_order(ctx, view, agent, provider, ids).await?;
    let after = look::look(ctx, ledger);
    let label = agent.label();
    let now = after.agents.iter().find(|other| other.label() == label);
    let now = now.and_then(|agent| stored(agent, provider)).unwrap_or_default();
    // an order that is shared shows again where the agent's own was cleared
    match ids.is_empty() || now == ids {
        true => Ok(true),
        false => Err("`openclaw models auth order` ended well and the order is not there".into()),
    }
}

async fn change(ctx: &Ctx, which: &Which, ids: &[String]) -> Result<Exit, Fatal> {
    let ledger = ledger::load(&ctx.state_dir).ledger;
    let view = look::look(ctx, &ledger);
    let world = World::of(ctx, &ledger, &view);
    let provider = by_hand::normalise_provider(&which.provider);
    let (mut out, mut exit) = (String::new(), Exit::Fine);
    for agent in chosen(&view, which)? {
        let whom = one_line(&agent.label());
        let result = match elsewhere(&view, agent) {
            Some(why) => Err(format!("{why}; use `openclaw models auth order`")),
            None if agent.sqlite => in_database(world, agent, &provider, ids).await,
            None => by_hand::set_order(world, agent, &provider, ids).await,
        };
        let _ = match result {
            Ok(true) if ids.is_empty() => writeln!(out, "{whom}: order of {provider} cleared"),
            Ok(_) => writeln!(out, "{whom}: {}", one_line(&ids.join(", "))),
            Err(why) => {
                exit = Exit::Unknown;
                writeln!(out, "{whom}: not changed: {}", one_line(&why))
            }
        };
    }
    say(&out)?;
    Ok(exit)
}
