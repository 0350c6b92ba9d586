//! The agents' stores: what they hold of a login, and whether they are written.

use super::super::lineage::Relation;
use super::{Facts, Finding, Fix, Group, Level, Spot, counted};

/// A profile with a refresh token that hangs on a login.
#[derive(Clone, Debug)]
pub(crate) struct CopyFact {
    /// The agent's label.
    pub(crate) agent: String,
    /// The profile id.
    pub(crate) profile: String,
    /// The login's id.
    pub(crate) login: String,
    /// How it descends from it.
    pub(crate) relation: Relation,
}

/// An agent's store.
#[derive(Clone, Debug)]
pub(crate) struct AgentFact {
    /// The agent's label.
    pub(crate) label: String,
    /// Its store.
    pub(crate) store: Spot,
    /// Why it is not written, where nobody asked for that, and the command that changes it.
    pub(crate) not_written: Option<(String, Option<String>)>,
    /// It is not used any more and holds profiles.
    pub(crate) retired: bool,
}

/// Stores, and what hangs on a login in them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agents {
    /// Their stores.
    pub(crate) all: Vec<AgentFact>,
    /// Profiles with a refresh token of their own that hang on a login and fare well.
    pub(crate) copies: Vec<CopyFact>,
    /// What `sync` would write.
    pub(crate) behind: Vec<Behind>,
    /// The `openclaw` that is run for stores in SQLite: path, version, Node.js; or why none can be run, and what to do. `None` where no
    /// agent keeps such a store.
    pub(crate) openclaw: Option<Result<String, (String, String)>>,
}

/// A store or login that `sync` would write.
#[derive(Clone, Debug)]
pub(crate) struct Behind {
    /// It.
    pub(crate) file: Spot,
    /// The agent's label, or the login's id.
    pub(crate) whom: String,
    /// Where it is a login: the agent whose copy is newer.
    pub(crate) healed_from: Option<String>,
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut found: Vec<Finding> = facts.agents.copies.iter().filter_map(copy).collect();
    for agent in &facts.agents.all {
        found.extend(retired(agent));
        found.extend(not_written(agent));
    }
    found.extend(facts.agents.behind.iter().map(behind));
    let openclaw = facts.agents.openclaw.as_ref();
    found.extend(openclaw.and_then(|one| one.as_ref().err()).map(no_openclaw));
    found
}

pub(super) fn checked(facts: &Facts) -> Option<String> {
    let stores = counted(facts.agents.all.len(), "store");
    Some(match &facts.agents.openclaw {
        Some(Ok(openclaw)) => format!("{stores}; {openclaw}"),
        _ => stores,
    })
}

fn no_openclaw((why, hint): &(String, String)) -> Finding {
    finding(
        "no_openclaw",
        Level::Note,
        why.clone(),
        "its stores are still checked; but tokens and orders are stored by its own commands",
    )
    .advice(hint.clone())
}

fn finding(kind: &str, level: Level, what: String, why: impl Into<String>) -> Finding {
    Finding::new(kind, Group::Agents, level, what, why)
}

fn copy(copy: &CopyFact) -> Option<Finding> {
    let (profile, agent, login) = (&copy.profile, &copy.agent, &copy.login);
    let of = format!("`{profile}` of {agent}");
    match copy.relation {
        Relation::Same => None,
        Relation::Older => Some(
            finding(
                "copy_behind",
                Level::Warning,
                format!("{of} holds a used-up refresh token of the login `{login}`"),
                "if its agent sends it, the server may revoke the whole login (anthropics/claude-code#76561)",
            )
            .run("nolapse sync"),
        ),
        Relation::Newer => Some(
            finding(
                "copy_ahead",
                Level::Warning,
                format!("{of} was renewed by its agent; the login `{login}` still holds the used-up token"),
                "Claude Code would send that next and be logged out",
            )
            .run("nolapse sync"),
        ),
        Relation::Unknown => Some(
            finding(
                "copy_diverged",
                Level::Warning,
                format!("the refresh token of {of} is not that of the login `{login}`"),
                "either it was signed in separately, or one of the two is dead, probably the older one",
            )
            .advice(format!(
                "fine if it was signed in separately; otherwise `{}`",
                crate::rules::wording::remove_token(profile, agent)
            )),
        ),
    }
}

fn behind(one: &Behind) -> Finding {
    let whom = &one.whom;
    let mut found = match &one.healed_from {
        None => finding(
            "store_behind",
            Level::Note,
            format!("the store of {whom} is not up to date with its login"),
            "its agent uses what it has until the next pass",
        ),
        Some(agent) => finding(
            "login_behind",
            Level::Note,
            format!("the login `{whom}` is older than its copy of {agent}"),
            "the next pass saves the newer tokens in it",
        ),
    };
    found.fix = Some(Fix::Sync {
        path: one.file.path.clone(),
    });
    found.at(&one.file.path).run("nolapse sync")
}

fn retired(agent: &AgentFact) -> Option<Finding> {
    agent.retired.then(|| {
        finding(
            "store_retired",
            Level::Note,
            format!("`{}` holds profiles but is not used any more", agent.store.shown),
            "nobody needs the tokens there; its agent keeps them in SQLite now",
        )
        .at(&agent.store.path)
        .advice("remove it once the agent works")
    })
}

fn not_written(agent: &AgentFact) -> Option<Finding> {
    let (why, fix) = agent.not_written.as_ref()?;
    let found = finding(
        "store_not_written",
        if fix.is_some() { Level::Warning } else { Level::Note },
        format!("the store of {} is checked but not written: {why}", agent.label),
        "the copy of a login there is not updated",
    )
    .at(&agent.store.path);
    Some(match fix {
        Some(fix) => found.run(fix.clone()),
        None => found.advice("nothing to do while the agent works; `sync.exclude_agents` marks it as intended"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn copy(facts: &mut Facts, relation: Relation) {
        facts.agents.copies.push(CopyFact {
            agent: "clawdbot/main".into(),
            profile: "anthropic:claude-cli".into(),
            login: "claude".into(),
            relation,
        });
    }

    const WORLDS: &[World] = &[
        (|facts| copy(facts, Relation::Same), ""),
        (
            |facts| copy(facts, Relation::Older),
            r#"
copy_behind warning -
`anthropic:claude-cli` of clawdbot/main holds a used-up refresh token of the login `claude`
if its agent sends it, the server may revoke the whole login (anthropics/claude-code#76561)
$ nolapse sync"#,
        ),
        (
            |facts| copy(facts, Relation::Newer),
            r#"
copy_ahead warning -
`anthropic:claude-cli` of clawdbot/main was renewed by its agent; the login `claude` still holds the used-up token
Claude Code would send that next and be logged out
$ nolapse sync"#,
        ),
        (
            |facts| copy(facts, Relation::Unknown),
            r#"
copy_diverged warning -
the refresh token of `anthropic:claude-cli` of clawdbot/main is not that of the login `claude`
either it was signed in separately, or one of the two is dead, probably the older one
fine if it was signed in separately; otherwise `nolapse token remove anthropic:claude-cli --agent clawdbot/main`"#,
        ),
        (
            |facts| {
                facts.agents.all = vec![AgentFact {
                    retired: true,
                    ..agent(None)
                }]
            },
            r#"
store_retired note /h/.clawdbot/auth-profiles.json
`~/.clawdbot/auth-profiles.json` holds profiles but is not used any more
nobody needs the tokens there; its agent keeps them in SQLite now
remove it once the agent works"#,
        ),
        (
            |facts| facts.agents.all = vec![agent(Some(("its file system is read-only", None)))],
            r#"
store_not_written note /h/.clawdbot/auth-profiles.json
the store of clawdbot/main is checked but not written: its file system is read-only
the copy of a login there is not updated
nothing to do while the agent works; `sync.exclude_agents` marks it as intended"#,
        ),
        (
            |facts| {
                facts.agents.all = vec![agent(Some((
                    "its directory belongs to root",
                    Some("sudo chown u ~/.clawdbot"),
                )))]
            },
            r#"
store_not_written warning /h/.clawdbot/auth-profiles.json
the store of clawdbot/main is checked but not written: its directory belongs to root
the copy of a login there is not updated
$ sudo chown u ~/.clawdbot"#,
        ),
        (
            |facts| {
                facts.agents.behind = vec![Behind {
                    file: spot("~/.clawdbot/auth-profiles.json"),
                    whom: "clawdbot/main".into(),
                    healed_from: None,
                }]
            },
            r#"
store_behind note /h/.clawdbot/auth-profiles.json
the store of clawdbot/main is not up to date with its login
its agent uses what it has until the next pass
$ nolapse sync | fix /h/.clawdbot/auth-profiles.json"#,
        ),
        (
            |facts| {
                facts.agents.behind = vec![Behind {
                    file: spot("~/.claude/.credentials.json"),
                    whom: "claude".into(),
                    healed_from: Some("clawdbot/main".into()),
                }]
            },
            r#"
login_behind note /h/.claude/.credentials.json
the login `claude` is older than its copy of clawdbot/main
the next pass saves the newer tokens in it
$ nolapse sync | fix /h/.claude/.credentials.json"#,
        ),
        (
            |facts| facts.agents.openclaw = Some(Err(("no `openclaw` is on the path".into(), "install it".into()))),
            r#"
no_openclaw note -
no `openclaw` is on the path
its stores are still checked; but tokens and orders are stored by its own commands
install it"#,
        ),
    ];

    #[test]
    fn what_is_said_of_each_world() {
        each(WORLDS);
    }
}
