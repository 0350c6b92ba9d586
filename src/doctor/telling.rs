//! Channels and the heartbeat: whether the other end is there. Nothing is sent.

use super::PATIENCE;
use crate::ctx::Ctx;
use crate::edge::host::Host;
use crate::edge::http::proxy_names;
use crate::edge::{files, net};
use crate::notify::{self, Endpoint};
use crate::rules::doctor::{ChannelFact, Probe};
use crate::rules::memory::Ledger;
use tokio::task::JoinSet;

pub(super) async fn gather(ctx: &Ctx, ledger: &Ledger) -> Vec<ChannelFact> {
    let mut probes = JoinSet::new();
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
        begin(ctx, &mut probes, facts.len() - 1, channel.kind.endpoint());
    }
    if let Some(heartbeat) = &ctx.config.heartbeat {
        facts.push(ChannelFact {
            name: "heartbeat".into(),
            kind: "heartbeat",
            trouble: None,
            waiting: 0,
            probe: Probe::Untried(""),
        });
        begin(ctx, &mut probes, facts.len() - 1, heartbeat.endpoint());
    }
    for (i, probe) in probes.join_all().await {
        facts[i].probe = probe;
    }
    facts
}

/// Begins to ask the channel that is the `i`th, where there is something to ask.
fn begin(ctx: &Ctx, probes: &mut JoinSet<(usize, Probe)>, i: usize, endpoint: Option<Endpoint>) {
    let host = &ctx.host;
    let known = match endpoint {
        Some(Endpoint::Host { name, port, scheme }) => {
            if scheme != "smtp" && proxied(host, scheme) {
                Probe::Untried("not tried: a proxy is set")
            } else {
                let env = host.env.clone();
                probes.spawn(async move {
                    let result = net::reach(&name, port, PATIENCE, &env).await;
                    (i, reached(result.map_err(|why| format!("`{name}` port {port}: {why}"))))
                });
                return;
            }
        }
        Some(Endpoint::Desktop) => reached(notify::desktop::shows(host)),
        Some(Endpoint::Program(program)) => found(host, &program),
        // asked with the rest of Termux:API
        Some(Endpoint::Termux) => Probe::Untried("Termux:API"),
        Some(Endpoint::Log) => Probe::Untried("always there"),
        None => Probe::Untried("not tried"),
    };
    probes.spawn(async move { (i, known) });
}

fn reached(result: Result<(), String>) -> Probe {
    match result {
        Ok(()) => Probe::Reached,
        Err(why) => Probe::Not(why),
    }
}

fn proxied(host: &Host, scheme: &str) -> bool {
    let mut names = proxy_names(scheme).into_iter();
    names.any(|name| host.var_nonblank(name).is_some())
}

fn found(host: &Host, program: &str) -> Probe {
    let there = match program.contains('/') {
        true => files::is_executable(&host.path(program)),
        false => notify::find_program(host, program).is_some(),
    };
    match there {
        true => Probe::Reached,
        false => Probe::Not(format!("`{program}` is no program, or not on the `PATH`")),
    }
}
