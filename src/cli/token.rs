//! `nolapse token`: credentials that a person records by hand.

use super::link::agreed;
use super::{
    Fatal, Setup, agents_named, block_on, examples, parse_duration, parse_time, print, print_json, say, until_signal,
    usage,
};
use crate::by_hand::{self, ConfigEntry, SETUP_LIFE, SETUP_PREFIX, Wanted};
use crate::ctx::Ctx;
use crate::edge::progress;
use crate::edge::terminal::{self, Input, Line, Signals};
use crate::layout::one_line;
use crate::look::{self, World};
use crate::report::Exit;
use crate::rules::login::SetupToken;
use crate::rules::shape::{self, KeptAs};
use crate::rules::view::{AgentView, View};
use crate::rules::{agent, openclaw as commands};
use crate::secret::Secret;
use crate::stores::agent_entry::{self, Mode};
use crate::stores::store::{self, Recorded};
use crate::types::{Family, Flaw, Moment, Ms};
use crate::{ledger, openclaw};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

/// The lines of one paste follow one another within this.
const PASTE: Duration = Duration::from_millis(500);

#[derive(Subcommand, Debug)]
pub(super) enum TokenCommand {
    /// Record a token or key in agents' stores; it is asked for without being shown, or read from stdin
    #[command(after_help = examples::TOKEN_ADD)]
    Add(AddArgs),
    /// Show what each agent has: type, end and fingerprint, never the secret itself
    #[command(after_help = examples::TOKEN_LIST)]
    List(ListArgs),
    /// Take a profile out of agents' stores
    #[command(after_help = examples::TOKEN_REMOVE)]
    Remove(RemoveArgs),
    /// Print a login's access token to OpenClaw, which asks for it on stdin; never to a terminal or a file
    #[command(after_help = examples::TOKEN_PRINT)]
    Print(PrintArgs),
}

#[derive(Args, Debug)]
pub(super) struct AddArgs {
    /// Whom it is for: FAMILY/ID, with `*` and `?` [default: every agent that may be written]
    #[arg(long = "agent", value_name = "AGENT")]
    agents: Vec<glob::Pattern>,
    /// The provider
    #[arg(long, default_value = "anthropic")]
    provider: String,
    /// The profile id [default: PROVIDER:manual for a token, PROVIDER:default for a key]
    #[arg(long, value_name = "ID")]
    profile: Option<String>,
    /// What it is
    #[arg(long = "type", value_name = "TYPE", default_value = "token")]
    kind: Kind,
    /// How long it works from its issue on, `365d` [default: a year for a setup token, else no end]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    expires_in: Option<Ms>,
    /// When it was issued: RFC 3339, or milliseconds since 1970 [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    issued: Option<Moment>,
    /// Take the place of a credential of another kind
    #[arg(long)]
    replace: bool,
    /// Only remember when this setup token ends, for one that is used from the environment; write it nowhere
    #[arg(long, conflicts_with_all = ["agents", "profile", "replace"])]
    remember_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Token,
    #[value(name = "api_key", alias = "api-key")]
    ApiKey,
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// Of these agents only: FAMILY/ID, with `*` and `?`
    #[arg(long = "agent", value_name = "AGENT")]
    agents: Vec<glob::Pattern>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct RemoveArgs {
    /// The profile id
    #[arg(value_name = "ID")]
    profile: String,
    /// From these agents: FAMILY/ID, with `*` and `?`
    #[arg(long = "agent", value_name = "AGENT", required = true)]
    agents: Vec<glob::Pattern>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Args, Debug)]
pub(super) struct PrintArgs {
    /// Whose question it is: protocol 1 of OpenClaw's `exec` secrets; `link openclaw` sets it up
    #[arg(long = "for", value_name = "PROGRAM")]
    asker: Asker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Asker {
    Openclaw,
}

pub(super) fn token(setup: &Setup, command: &TokenCommand) -> Result<Exit, Fatal> {
    let ctx = setup.ctx(None)?;
    match command {
        TokenCommand::Add(args) => block_on(add(&ctx, args))?,
        TokenCommand::List(args) => list(&ctx, args),
        TokenCommand::Remove(args) => remove(&ctx, args),
        TokenCommand::Print(PrintArgs { asker: Asker::Openclaw }) => to_openclaw(&ctx),
    }
}

async fn add(ctx: &Ctx, args: &AddArgs) -> Result<Exit, Fatal> {
    let provider = by_hand::normalise_provider(&args.provider);
    let id = args.profile.clone().unwrap_or_else(|| match args.kind {
        Kind::Token => format!("{provider}:manual"),
        Kind::ApiKey => format!("{provider}:default"),
    });
    by_hand::check_id(&id, &provider).map_err(|why| usage(why, format!("write `{provider}:NAME`")))?;
    if args.kind == Kind::ApiKey && (args.expires_in.is_some() || args.remember_only) {
        return Err(usage(
            "an API key does not expire by the clock",
            "leave `--expires-in` and `--remember-only` out",
        ));
    }
    let ledger = ledger::load(&ctx.state_dir).ledger;
    let view = look::look(ctx, &ledger);
    let chosen = match args.remember_only {
        true => Vec::new(),
        false => for_writing(&view, &args.agents)?,
    };
    let what = if args.kind == Kind::ApiKey { "API key" } else { "token" };
    let secret = ask_secret(&format!("{what} for {id}: ")).await?;
    refuse(&provider, args.kind, &secret)?;
    let is_setup = provider == "anthropic" && secret.expose().starts_with(SETUP_PREFIX);
    if args.remember_only && !is_setup {
        return Err(usage(
            format!("that is no setup token: it does not begin with `{SETUP_PREFIX}`"),
            "make one with `claude setup-token`",
        ));
    }
    let issued = args.issued.unwrap_or_else(|| ctx.clock.now());
    let life = args.expires_in.or(is_setup.then_some(SETUP_LIFE));
    let expires = life.map(|life| issued + life);
    let wanted = Wanted {
        id,
        provider,
        credential: match args.kind {
            Kind::Token => Recorded::Token(secret.clone(), expires),
            Kind::ApiKey => Recorded::ApiKey(secret.clone()),
        },
        replace: args.replace,
    };
    let setup = expires.filter(|_| is_setup).map(|expires_at| SetupToken {
        issued_at: issued,
        expires_at,
        kept: None,
    });
    let (out, fine) = store_everywhere(World::of(ctx, &ledger, &view), &chosen, &wanted, setup).await;
    say(&out)?;
    Ok(if fine { Exit::Fine } else { Exit::Unknown })
}

/// Writes a credential to the chosen agents, names it in their configs and remembers its dates; a line for each, and
/// whether all of it went well.
pub(super) async fn store_everywhere(
    world: World<'_>,
    chosen: &[&AgentView],
    wanted: &Wanted,
    setup: Option<SetupToken>,
) -> (String, bool) {
    let World { ctx, view, .. } = world;
    let (mut out, mut fine) = (String::new(), true);
    let mode = wanted.mode(ctx);
    let kind = wanted.credential.type_word();
    let (secret, until) = match &wanted.credential {
        Recorded::Token(token, Some(expires)) => (token, format!(", until {}", ctx.when(*expires))),
        Recorded::Token(token, None) => (token, String::new()),
        Recorded::ApiKey(key) => (key, String::new()),
    };
    if let Some(setup) = setup {
        match by_hand::remember(ctx, secret, setup).await {
            Ok(()) if chosen.is_empty() => {
                let _ = writeln!(out, "remembered: #{}{until}", secret.fingerprint());
            }
            Ok(()) => {}
            Err(why) => {
                fine = false;
                let _ = writeln!(out, "{why}");
            }
        }
    }
    let mut state_dirs = Vec::new();
    for agent in chosen {
        let label = one_line(&agent.label());
        match put(world, agent, wanted).await {
            Ok(changed) => {
                let did = if changed { "recorded" } else { "has already" };
                let fingerprint = secret.fingerprint();
                let _ = writeln!(out, "{label}: {did} {} ({kind}{until}, #{fingerprint})", wanted.id);
                // OpenClaw names in its config what its own command puts in
                if !agent.sqlite && !state_dirs.contains(&agent.agent.state_dir) {
                    state_dirs.push(agent.agent.state_dir);
                }
                out.push_str(&order_hint(agent, &wanted.provider, &wanted.id));
            }
            Err(why) => {
                fine = false;
                let _ = writeln!(out, "{label}: not recorded: {}", one_line(&why));
            }
        }
    }
    for index in state_dirs {
        let entry = by_hand::name_in_config(&view.state_dirs[index], &wanted.id, &wanted.provider, mode);
        out.push_str(&config_words(ctx, &entry, wanted, mode));
    }
    (out, fine)
}

/// Writes it, or has OpenClaw put it into its database.
async fn put(world: World<'_>, agent: &AgentView, wanted: &Wanted) -> Result<bool, String> {
    if !agent.sqlite {
        return by_hand::add(world, agent, wanted).await;
    }
    match &wanted.credential {
        Recorded::Token(token, expires) => {
            let under = (wanted.provider.as_str(), wanted.id.as_str());
            let _waiting = progress::waiting(|| "openclaw models auth paste-token".into());
            openclaw::paste(world, agent, under, (token, *expires)).await
        }
        Recorded::ApiKey(_) => Err(format!(
            "OpenClaw keeps it in SQLite; run `openclaw models auth paste-api-key --provider {}`",
            wanted.provider
        )),
    }
}

fn config_words(ctx: &Ctx, entry: &ConfigEntry, wanted: &Wanted, mode: Mode) -> String {
    match entry {
        ConfigEntry::NotNeeded | ConfigEntry::There => String::new(),
        ConfigEntry::Written(path) => format!("{}: names {} now\n", one_line(&ctx.host.tilde(path)), wanted.id),
        ConfigEntry::ByHand(path, why) => format!(
            "{} was not changed: {why}; add this to it if it is missing:\n{}",
            one_line(&ctx.host.tilde(path)),
            agent_entry::lines(&wanted.id, &wanted.provider, mode)
        ),
    }
}

/// A stored order that does not name the profile keeps its agent from using it.
fn order_hint(agent: &AgentView, provider: &str, id: &str) -> String {
    let (_, text, _) = store::read(&agent.path);
    let order = text.and_then(|text| store::order(&text, provider).ok().flatten());
    match order {
        Some(ids) if !ids.iter().any(|known| known == id) => format!(
            "  its stored order does not name it, so it is not used\n  hint: run `nolapse order set --provider {provider} --agent {} {id} {}`\n",
            one_line(&agent.label()),
            one_line(&ids.join(" "))
        ),
        _ => String::new(),
    }
}

/// The agents to write: those named, else every one that may be written and has a store, or that no other one stands in
/// for. An agent without a store takes over the main agent's when it first starts, which a store made now would prevent.
pub(super) fn for_writing<'v>(view: &'v View, globs: &[glob::Pattern]) -> Result<Vec<&'v AgentView>, Fatal> {
    let named = agents_named(view, globs)?;
    if !globs.is_empty() {
        return Ok(named);
    }
    // what OpenClaw's own command puts in: for the agent whose profiles all others share, where nothing else is to be written
    let by_openclaw = |agent: &&AgentView| agent.sqlite && agent.agent.agent.id == "main";
    if !named.iter().any(|agent| agent.writable.is_ok()) && named.iter().any(by_openclaw) {
        return Ok(named.into_iter().filter(by_openclaw).collect());
    }
    let chosen: Vec<&AgentView> = named
        .into_iter()
        .filter(|agent| agent.writable.is_ok())
        .filter(|agent| {
            let main = |other: &AgentView| {
                other.agent.state_dir == agent.agent.state_dir
                    && other.agent.agent.id == "main"
                    && other.store != agent::Store::Absent
            };
            agent.store != agent::Store::Absent || !view.agents.iter().any(main)
        })
        .collect();
    match chosen.is_empty() {
        false => Ok(chosen),
        true => Err(usage(
            "there is no agent whose store may be written",
            "see `nolapse status` for the agents that were found and why they are not written",
        )),
    }
}

async fn ask_secret(prompt: &str) -> Result<Secret, Fatal> {
    let mut signals = Signals::listen()?;
    let mut input = Input::open()?;
    if terminal::stdin_is_terminal() {
        let _ = write!(std::io::stderr(), "{prompt}");
    }
    let line = tokio::select! {
        line = whole(&mut input) => line,
        () = signals.one() => Line::Interrupted,
    };
    drop(input);
    let nothing = || usage("nothing was given", "paste it at the prompt, or pipe it to stdin");
    match line {
        Line::Text(secret) if secret.is_empty() => Err(nothing()),
        Line::Text(secret) => Ok(Secret::new(shape::pasted(secret.expose()).into_owned())),
        Line::Closed => Err(nothing()),
        Line::Interrupted => Err(usage("interrupted", "nothing was changed")),
    }
}

/// A line, and the rest of a token that a terminal wrapped where it was copied: what is pasted arrives at once.
async fn whole(input: &mut Input) -> Line {
    let mut line = input.line().await;
    loop {
        let Line::Text(text) = &line else { return line };
        let so_far = shape::pasted(text.expose());
        if !so_far.starts_with("sk-ant-") || so_far.len() >= shape::WHOLE {
            return line;
        }
        let Ok(Line::Text(more)) = tokio::time::timeout(PASTE, input.line()).await else {
            return line;
        };
        line = Line::Text(Secret::new(format!("{}\n{}", text.expose(), more.expose())));
    }
}

/// Why the given value is not recorded, if it is not a token.
fn refuse(provider: &str, kind: Kind, secret: &Secret) -> Result<(), Fatal> {
    let kept_as = match kind {
        Kind::Token => KeptAs::Token,
        Kind::ApiKey => KeptAs::ApiKey,
    };
    let Some(flaw) = shape::flaw(provider, kept_as, secret.expose()) else {
        return Ok(());
    };
    let hint = match flaw {
        Flaw::ApiKey => "add `--type api_key`",
        Flaw::Token => "add `--type token`",
        Flaw::Code => "give the code to the program that asked for it; `claude setup-token` then prints the token",
        Flaw::RefreshToken => "make a setup token with `claude setup-token`",
        _ if kind == Kind::ApiKey => "copy the whole key and paste it at the prompt, or pipe it to stdin",
        _ => "copy the whole token, all lines of it, and paste it at the prompt, or pipe it to stdin",
    };
    Err(usage(format!("that was not recorded, it is {}", flaw.words()), hint))
}

/// Answers OpenClaw with the access tokens of the logins that it names; one without such a token is not found.
fn to_openclaw(ctx: &Ctx) -> Result<Exit, Fatal> {
    if !terminal::stdout_is_pipe() {
        return Err(usage(
            "a token is printed to a pipe alone",
            "`nolapse link openclaw` has OpenClaw ask for it",
        ));
    }
    let ids = commands::asked(&terminal::request()?).ok_or_else(|| {
        usage(
            "stdin holds no request of protocol 1",
            "OpenClaw sends `{\"protocolVersion\":1,\"provider\":\"nolapse\",\"ids\":[\"claude\"]}`",
        )
    })?;
    let view = look::look(ctx, &ledger::load(&ctx.state_dir).ledger);
    let token = |id: String| {
        let login = view.logins.iter().find(|login| login.id() == id);
        let token = login.and_then(|login| login.login.grant()?.access.clone());
        (id, token)
    };
    let answer = commands::answer(&ids.into_iter().map(token).collect::<Vec<_>>());
    print(&format!("{}\n", answer.expose()))?;
    Ok(Exit::Fine)
}

#[derive(Serialize)]
struct Row {
    family: Family,
    agent: String,
    profile: String,
    provider: String,
    #[serde(rename = "type")]
    kind: &'static str,
    expires_at: Option<Moment>,
    fingerprint: Option<String>,
}

fn list(ctx: &Ctx, args: &ListArgs) -> Result<Exit, Fatal> {
    let ledger = ledger::load(&ctx.state_dir).ledger;
    let view = look::look(ctx, &ledger);
    let mut rows = Vec::new();
    for agent in agents_named(&view, &args.agents)? {
        let text = if agent.sqlite { None } else { store::read(&agent.path).1 };
        for profile in agent.profiles.iter().map(|profile| &profile.profile) {
            let known = crate::rules::health::with_known_end(&profile.credential, &ledger.setup_tokens);
            rows.push(Row {
                family: agent.agent.agent.family,
                agent: agent.label(),
                profile: profile.id.clone(),
                provider: profile.provider.clone(),
                kind: profile.credential.type_word(),
                expires_at: known.expires(),
                fingerprint: text
                    .as_deref()
                    .and_then(|text| store::fingerprint(text, &profile.id))
                    .map(|fingerprint| fingerprint.to_string()),
            });
        }
    }
    if args.json {
        print_json(&rows)?;
        return Ok(Exit::Fine);
    }
    let mut out = String::new();
    let width = |of: fn(&Row) -> &str| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
    let (agents, profiles) = (width(|row| &row.agent), width(|row| &row.profile));
    for row in &rows {
        let end = match row.expires_at {
            Some(at) if at <= view.now => format!("ended {}", ctx.when(at)),
            Some(at) => format!("until {}", ctx.when(at)),
            None if row.kind == "api_key" => "does not expire".into(),
            None => "end not recorded".into(),
        };
        let _ = writeln!(
            out,
            "{:agents$}  {:profiles$}  {:7}  {:28}  {}",
            one_line(&row.agent),
            one_line(&row.profile),
            row.kind,
            end,
            row.fingerprint.as_ref().map_or("-".into(), |hex| format!("#{hex}"))
        );
    }
    if rows.is_empty() {
        out.push_str("no agent has a profile\n");
    }
    say(&out)?;
    Ok(Exit::Fine)
}

fn remove(ctx: &Ctx, args: &RemoveArgs) -> Result<Exit, Fatal> {
    let ledger = ledger::load(&ctx.state_dir).ledger;
    let view = look::look(ctx, &ledger);
    let chosen: Vec<&AgentView> = agents_named(&view, &args.agents)?
        .into_iter()
        .filter(|agent| {
            let (_, text, _) = store::read(&agent.path);
            text.is_some_and(|text| store::kind_of(&text, &args.profile).is_ok_and(|kind| kind.is_some()))
        })
        .collect();
    if chosen.is_empty() {
        let ids = view.profiles();
        let near = crate::table::nearest(&args.profile, ids.map(|profile| profile.profile.id.as_str()));
        return Err(usage(
            format!("none of these agents has a profile `{}`", one_line(&args.profile)),
            match near {
                Some(near) => format!("did you mean `{}`?", one_line(near)),
                None => "see `nolapse token list`".into(),
            },
        ));
    }
    let whom: Vec<String> = chosen.iter().map(|agent| one_line(&agent.label())).collect();
    let question = format!("remove `{}` from {}?", one_line(&args.profile), whom.join(", "));
    if !args.yes && !agreed(&question, "say so with `--yes`")? {
        return Ok(Exit::Fine);
    }
    let (mut out, mut fine) = (String::new(), true);
    until_signal(async {
        for (agent, whom) in chosen.iter().zip(&whom) {
            match by_hand::remove(World::of(ctx, &ledger, &view), agent, &args.profile).await {
                Ok(_) => {
                    let _ = writeln!(out, "{whom}: removed {}", one_line(&args.profile));
                }
                Err(why) => {
                    fine = false;
                    let _ = writeln!(out, "{whom}: not removed: {}", one_line(&why));
                }
            }
        }
    })?;
    if args.profile == ctx.config.sync.profile && ctx.config.sync.enabled {
        out.push_str(
            "the next pass writes it again from its login; list the agent in `sync.exclude_agents` to prevent that\n",
        );
    }
    say(&out)?;
    Ok(if fine { Exit::Fine } else { Exit::Unknown })
}
