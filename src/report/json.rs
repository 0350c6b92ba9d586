//! A view as `nolapse.status/1`.

use super::{Exit, health};
use crate::look::World;
use crate::rules::agent::NotWritten;
use crate::rules::login::Source;
use crate::rules::remote::Silence;
use crate::rules::resolve::JsonResolved;
use crate::rules::view::{AgentView, View};
use crate::secret::Fingerprint;
use crate::types::{Family, Flaw, Health, Held, Moment, Problem, Reason};
use serde::{Serialize, Serializer};
use std::io;
use std::path::Path;

#[derive(Serialize)]
struct Json<'a> {
    schema: &'static str,
    now: Moment,
    host: &'a str,
    health: Health,
    exit: u8,
    logins: Vec<JsonLogin<'a>>,
    agents: JsonAgents<'a>,
    problems: Vec<JsonProblem<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remotes: Vec<JsonRemote<'a>>,
}

#[derive(Serialize)]
struct JsonLogin<'a> {
    id: &'a str,
    dir: Option<JsonPath<'a>>,
    source: Source,
    health: Health,
    reason: Option<Reason>,
    access_expires_at: Option<Moment>,
    login_ends_at: Option<Moment>,
    renews: bool,
    lineage: Option<Fingerprint>,
    subscription: Option<&'a str>,
    shadowed_by: Vec<String>,
}

#[derive(Serialize)]
struct JsonAgent<'a> {
    family: Family,
    #[serde(skip_serializing_if = "Option::is_none")]
    named: Option<&'a str>,
    agent: &'a str,
    dir: JsonPath<'a>,
    store: JsonStore<'a>,
    profiles: JsonProfiles<'a>,
    providers: Vec<JsonResolved<'a>>,
}

/// Made while they are written: a thousand agents are not held a second time.
struct JsonAgents<'a>(&'a View);

struct JsonProfiles<'a>(&'a View, &'a AgentView);

/// A path as text; what is no UTF-8 in it is replaced, as `Path::display` does.
pub(crate) struct JsonPath<'a>(pub(crate) &'a Path);

impl Serialize for JsonPath<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_string_lossy())
    }
}

impl Serialize for JsonAgents<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.agents.iter().map(|agent| JsonAgent {
            family: agent.agent.agent.family,
            named: agent.agent.agent.named.as_deref(),
            agent: &agent.agent.agent.id,
            dir: JsonPath(&agent.agent.agent.dir),
            store: JsonStore {
                path: JsonPath(&agent.path),
                format: if agent.sqlite { "sqlite" } else { "json" },
                writable: agent.writable.is_ok(),
                why: agent.writable.as_ref().err().map(NotWritten::to_string),
            },
            profiles: JsonProfiles(self.0, agent),
            providers: agent.uses.iter().map(JsonResolved::from).collect(),
        }))
    }
}

impl Serialize for JsonProfiles<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.1.profiles.iter().map(|profile| JsonProfile {
            id: &profile.profile.id,
            provider: &profile.profile.provider,
            kind: match profile.profile.held {
                Held::Runtime(_) => "runtime",
                _ => profile.profile.credential.type_word(),
            },
            clock: profile.clock,
            health: profile.verdict.health,
            reason: profile.verdict.reason,
            expires_at: profile.profile.credential.expires(),
            login: profile.login.map(|i| self.0.logins[i].id()),
            looks_like: match profile.profile.held {
                Held::Flawed(flaw) if profile.verdict.reason == Some(Reason::NoToken) => Some(flaw),
                _ => None,
            },
            reference: match &profile.profile.held {
                Held::Referenced(to) => Some(to.to_string()),
                _ => None,
            },
        }))
    }
}

#[derive(Serialize)]
struct JsonStore<'a> {
    path: JsonPath<'a>,
    format: &'static str,
    writable: bool,
    why: Option<String>,
}

#[derive(Serialize)]
struct JsonProfile<'a> {
    id: &'a str,
    provider: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    clock: Health,
    health: Health,
    reason: Option<Reason>,
    expires_at: Option<Moment>,
    login: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    looks_like: Option<Flaw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

#[derive(Serialize)]
struct JsonProblem<'a> {
    kind: &'a str,
    path: Option<JsonPath<'a>>,
    message: &'a str,
    hint: &'a str,
}

#[derive(Serialize)]
struct JsonRemote<'a> {
    name: &'a str,
    asked_at: Option<Moment>,
    silent_since: Option<Moment>,
    silence: Option<Silence>,
    firing: usize,
}

/// Writes `nolapse.status/1`, one object with a final line break. Other programs read it: keys are never taken away.
///
/// # Errors
/// Where it cannot be written.
pub(crate) fn json(
    out: &mut dyn io::Write,
    World { ctx, ledger, view }: World<'_>,
    problems: &[Problem],
    exit: Exit,
) -> io::Result<()> {
    let logins = view.logins.iter().map(|login| {
        let grant = login.login.grant();
        JsonLogin {
            id: login.id(),
            dir: (login.login.source != Source::Env).then_some(JsonPath(&login.login.place.dir)),
            source: login.login.source,
            health: login.verdict.health,
            reason: login.verdict.reason,
            access_expires_at: grant.and_then(|grant| grant.expires),
            login_ends_at: grant.and_then(|grant| crate::rules::health::deadline(grant, view.now)),
            renews: login.renews(),
            lineage: login.memory.as_ref().map(|memory| memory.lineage),
            subscription: grant.and_then(|grant| grant.subscription.as_deref()),
            shadowed_by: login.login.shadowed_by.iter().map(ToString::to_string).collect(),
        }
    });
    let problems = problems.iter().chain(&view.problems).map(|problem| JsonProblem {
        kind: problem.kind,
        path: problem.path.as_deref().map(JsonPath),
        message: &problem.message,
        hint: &problem.hint,
    });
    let remotes = ctx.config.remotes.iter().map(|remote| {
        let memory = ledger.remotes.get(&remote.name);
        JsonRemote {
            name: &remote.name,
            asked_at: memory.map(|memory| memory.asked_at),
            silent_since: memory.and_then(|memory| memory.silent_since),
            silence: memory.and_then(|memory| memory.silence),
            firing: memory.map_or(0, |memory| memory.alerts.len()),
        }
    });
    let object = Json {
        schema: "nolapse.status/1",
        now: view.now,
        host: &ctx.host.name,
        health: health(ctx, view),
        exit: exit.code(),
        logins: logins.collect(),
        agents: JsonAgents(view),
        problems: problems.collect(),
        remotes: remotes.collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &object)?;
    out.write_all(b"\n")
}
