//! The agents' stores.

use super::spot;
use crate::ctx::Ctx;
use crate::edge::openclaw;
use crate::outcome::{Done, Outcome};
use crate::rules::agent::{self, Generation};
use crate::rules::doctor::{AgentFact, Agents, Behind, CopyFact};
use crate::rules::lineage::Relation;
use crate::rules::view::{AgentView, View};

use crate::types::Reason;
use std::path::Path;

/// `rehearsed` is what a pass would do; nothing where that would go by another configuration than the one that is meant.
pub(super) fn gather(ctx: &Ctx, view: &View, rehearsed: &[Done]) -> Agents {
    Agents {
        behind: rehearsed.iter().filter_map(|done| behind(ctx, done)).collect(),
        all: view.agents.iter().map(|agent| fact(ctx, view, agent)).collect(),
        copies: copies(view),
        openclaw: view.agents.iter().any(|agent| agent.sqlite).then(|| program(ctx)),
    }
}

/// Which `openclaw` is run.
fn program(ctx: &Ctx) -> Result<String, (String, String)> {
    let shown = |path: &Path| ctx.host.tilde(path);
    let words = |missing: openclaw::Missing| {
        let (why, hint) = missing.words(&ctx.host);
        (why, hint.to_owned())
    };
    let program = openclaw::find(&ctx.host).map_err(words)?;
    let version = program
        .version
        .map_or_else(|| "of an unknown version".into(), |version| version.to_string());
    let node = program.node.map(|node| format!(", run by {}", shown(&node)));
    Ok(format!(
        "openclaw {version} at {}{}",
        shown(&program.path),
        node.unwrap_or_default()
    ))
}

fn behind(ctx: &Ctx, done: &Done) -> Option<Behind> {
    let healed_from = match &done.outcome {
        Outcome::WouldWrite(_) => None,
        Outcome::WouldHeal(agent) => Some(agent.clone()),
        _ => return None,
    };
    Some(Behind {
        file: spot(ctx, &done.path),
        whom: done.whom.clone(),
        healed_from,
    })
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
                    agent: agent.label(),
                    profile: profile.profile.id.clone(),
                    login: view.logins[login].id().to_owned(),
                    relation: profile.relation,
                });
            }
        }
    }
    copies
}

fn fact(ctx: &Ctx, view: &View, agent: &AgentView) -> AgentFact {
    let generation = &view.state_dirs[agent.agent.state_dir].generation;
    let label = agent.label();
    let meant = ctx.config.sync.exclude_agents.iter().any(|glob| glob.matches(&label))
        || !ctx.config.sync.enabled
        || *generation == Generation::Sqlite;
    let said = agent.store.unread().is_some();
    // an agent that never ran has no store to be written
    let empty = agent.store == agent::Store::Absent;
    AgentFact {
        store: spot(ctx, &agent.path),
        not_written: agent
            .writable
            .clone()
            .err()
            .filter(|_| !meant && !said && !empty)
            .map(|not| (not.why, not.fix)),
        retired: agent
            .profiles
            .iter()
            .any(|p| p.verdict.reason == Some(Reason::StoreRetired)),
        label,
    }
}
