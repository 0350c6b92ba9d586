//! Who runs nolapse, and with which `claude`.

use super::{About, spot, stored, ways};
use crate::ctx::Ctx;
use crate::edge::subprocess::{self, Status};
use crate::edge::{files, termux};
use crate::install::{self, Call, Done};
use crate::ledger;
use crate::notify::{self, ChannelKind};
use crate::renew::delegate;
use crate::rules::doctor::{RunningFact, TermuxApi, patience};
use crate::rules::login::Source;
use crate::rules::policy::RenewMode;
use crate::rules::view::View;
use crate::types::Problem;
use std::path::{Path, PathBuf};

pub(super) async fn gather(ctx: &Ctx, view: &View, about: &About<'_>) -> RunningFact {
    let mut passes = ledger::passes(&ctx.state_dir);
    // whether or not this version has made one yet
    passes.made_by(env!("CARGO_PKG_VERSION"), view.now);
    let mut fact = RunningFact {
        daemons: daemons(ctx),
        last_pass: passes.last_at,
        last_good: passes.last_good_at,
        upgrade: passes.upgrade,
        patience: patience(ctx.host.termux()),
        exe: about.exe.map(|exe| spot(ctx, &files::real_or_same(exe))),
        platform: install::here(&ctx.host).word(),
        cli: cli(ctx, view),
        ..RunningFact::default()
    };
    let Some(place) = &about.place else {
        fact.elsewhere = true;
        (fact.termux_api, fact.overlay) = tokio::join!(termux_api(ctx, None), overlay(ctx));
        return fact;
    };
    fact.user = place.user.clone().unwrap_or_else(|| place.uid.to_string());
    let found = ways::find(ctx, place);
    let is = |platform| found.iter().any(|(way, _): &ways::Found| way.platform == platform);
    let job = is("termux").then_some("termux-job-scheduler");
    let user = is("systemd").then_some(&*fact.user);
    let (linger, ways, api, overlay) = tokio::join!(
        linger(ctx, user),
        ways::ask_all(ctx, found),
        termux_api(ctx, job),
        overlay(ctx)
    );
    fact.overlay = overlay;
    fact.linger = linger;
    fact.ways = ways;
    fact.termux_api = api;
    fact
}

/// Whether systemd keeps the user's services after logout.
async fn linger(ctx: &Ctx, user: Option<&str>) -> Option<bool> {
    let user = user?;
    let words = ["loginctl", "show-user", "--property=Linger", "--value", user];
    let call = Call::new("systemd", Done::Success, &words);
    let said = subprocess::run(ways::spec(ctx, &call)).await.ok()?;
    match String::from_utf8_lossy(&said.stdout).trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// Processes of this user that are `nolapse daemon` on this home.
pub(super) fn daemons(ctx: &Ctx) -> Vec<u32> {
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
    if ctx.host.var_nonblank("BOOTCLASSPATH").is_none() {
        return Some(TermuxApi::NoClassPath);
    }
    let call = Call::new("Termux:API", Done::Anyhow, &["termux-job-scheduler", "-p"]);
    match subprocess::run(ways::spec(ctx, &call)).await {
        Ok(output) if output.status == Status::TimedOut => Some(TermuxApi::Silent),
        Ok(_) => Some(TermuxApi::Answers),
        Err(_) => Some(TermuxApi::Missing),
    }
}

/// Whether Termux may come to the front by itself; `am` tells by its exit code and starts nothing (TermuxAm 0.8.0).
async fn overlay(ctx: &Ctx) -> Option<bool> {
    let am = termux::tool(&ctx.host, "am");
    if !ctx.host.termux() || !files::is_file(&am) {
        return None;
    }
    let call = Call {
        words: std::iter::once(am.display().to_string())
            .chain(termux::front())
            .chain(["--check-draw-over-apps-permission".into()])
            .collect(),
        done: Done::Success,
        from: "Termux",
    };
    let output = subprocess::run(ways::spec(ctx, &call)).await.ok()?;
    match output.status {
        Status::Exit(0) => Some(true),
        Status::Exit(1) => Some(false),
        _ => None,
    }
}

/// Which `claude` renews, or why none does; `None` where none is to.
fn cli(ctx: &Ctx, view: &View) -> Option<Result<String, Problem>> {
    if ctx.config.renew.mode != RenewMode::Delegate {
        return None;
    }
    let login = stored(view).find(|login| login.renews() && login.login.source == Source::File)?;
    Some(
        delegate::find(ctx, login.id())
            .map(|path| delegate::version(&path).map_or_else(String::new, |v| v.to_string())),
    )
}
