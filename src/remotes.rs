//! Asks other hosts how they fare: `ssh HOST nolapse status --json`, a few at a time. What it means is judged in
//! `rules/remote`.

use crate::config::RemoteConfig;
use crate::ctx::Ctx;
use crate::edge::progress;
use crate::edge::subprocess::{self, Spec, Status};
use crate::rules::alert::Alert;
use crate::rules::memory::Ledger;
use crate::rules::remote::{self, Answer, Silence};
use crate::types::Ms;
use std::time::Duration;

/// So many hosts are asked at the same time.
const AT_ONCE: usize = 8;

/// The most that is taken of an answer, in bytes.
const LIMIT: usize = 4 << 20;

/// What one remote said, by its name.
pub type Heard = (String, Result<Answer, Silence>);

/// Asks those whose turn it is. Holds no lock: an answer may take its time.
pub async fn ask(ctx: &Ctx, ledger: &Ledger) -> Vec<Heard> {
    let now = ctx.clock.now();
    let due = |remote: &&RemoteConfig| {
        ledger.remotes.get(&remote.name).is_none_or(|memory| {
            // a clock that was set back must not hold a question for ever
            memory.asked_at > now || now - memory.asked_at >= remote.every
        })
    };
    let due: Vec<&RemoteConfig> = ctx.config.remotes.iter().filter(due).collect();
    let mut heard = Vec::new();
    for some in due.chunks(AT_ONCE) {
        let mut asked = tokio::task::JoinSet::new();
        for remote in some {
            let (name, spec) = (remote.name.clone(), spec(ctx, remote));
            let waiting = progress::waiting(|| format!("{name} to answer"));
            asked.spawn(async move {
                let heard = (name, one(spec).await);
                drop(waiting);
                heard
            });
        }
        heard.extend(asked.join_all().await);
    }
    heard
}

/// Remembers what was heard, and forgets remotes that are not configured any more.
pub fn note(ctx: &Ctx, ledger: &mut Ledger, heard: Vec<Heard>, now: Ms) {
    let remotes = &ctx.config.remotes;
    ledger
        .remotes
        .retain(|name, _| remotes.iter().any(|remote| remote.name == *name));
    for (name, answer) in heard {
        remote::note(ledger.remotes.entry(name.clone()).or_default(), &name, answer, now);
    }
}

/// What needs a human on other hosts.
pub fn alerts(ctx: &Ctx, ledger: &Ledger, now: Ms) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for remote in &ctx.config.remotes {
        if let Some(memory) = ledger.remotes.get(&remote.name) {
            alerts.extend(remote::alerts(&remote.name, &remote.ssh, memory, remote.grace, now));
        }
    }
    alerts
}

fn spec(ctx: &Ctx, remote: &RemoteConfig) -> Spec {
    let agent = ctx.host.var("SSH_AUTH_SOCK").map(|socket| ("SSH_AUTH_SOCK", socket));
    let options = ["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--"];
    Spec {
        args: options
            .into_iter()
            .chain([remote.ssh.as_str(), remote.command.as_str()])
            .map(Into::into)
            .collect(),
        env: ctx
            .host
            .child_env()
            .chain(agent)
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
        timeout: Duration::from_millis(remote.timeout.unsigned_abs()),
        max_output: LIMIT + 1,
        ..Spec::new("ssh")
    }
}

async fn one(spec: Spec) -> Result<Answer, Silence> {
    let output = subprocess::run(spec).await.map_err(|_| Silence::NoSsh)?;
    match output.status {
        Status::Exit(0) if output.stdout.len() <= LIMIT => remote::parse(&output.stdout),
        Status::Exit(0) => Err(Silence::Nonsense),
        Status::Exit(code) => Err(Silence::of(code, &String::from_utf8_lossy(&output.stderr))),
        Status::TimedOut => Err(Silence::TimedOut),
        Status::Signal(_) => Err(Silence::Unreachable),
    }
}
