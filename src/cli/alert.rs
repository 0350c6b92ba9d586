//! `alert test|list|ack|silence|unsilence|retry`.

use super::{Fatal, Setup, block_on, examples, parse_time, print_json, say, unknown, usage};
use crate::cause::Cause;
use crate::ctx::Ctx;
use crate::edge::host::{at_clock, local};
use crate::edge::locks::LockError;
use crate::layout::one_line;
use crate::notify::{self, Channel, Receipt, SendCtx, SendError};
use crate::report::Exit;
use crate::rules::alert::{self, Ack, Scope, Silence, Until, Why};
use crate::rules::heard::Standing;
use crate::rules::keys::LONGEST_SILENCE;
use crate::rules::memory::{AlertMemory, Entry, Ledger};
use crate::rules::wording::{self, span};
use crate::table::parse_duration;
use crate::types::{DAY, Event, HOUR, Moment, Ms, SECOND, Severity, Status};
use crate::{deliver, heard, history, ledger, look, strangers};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

#[derive(Subcommand, Debug)]
pub(super) enum AlertCommand {
    /// Send a real message through a channel and print its receipt
    #[command(after_help = examples::ALERT_TEST)]
    Test(TestArgs),
    /// Show what is firing, waiting to be delivered, acknowledged and silenced
    #[command(after_help = examples::ALERT_LIST)]
    List {
        /// One JSON object (nolapse.alerts/1)
        #[arg(long)]
        json: bool,
    },
    /// Stop repeating an alert until it gets worse or changes
    #[command(after_help = examples::ALERT_ACK)]
    Ack {
        /// Alerts as `alert list` names them
        #[arg(value_name = "ID", required_unless_present = "all")]
        ids: Vec<String>,
        /// All that fire
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Mute alerts for a while, even critical ones
    #[command(after_help = examples::ALERT_SILENCE)]
    Silence(SilenceArgs),
    /// End silences; all of them unless one is named
    #[command(after_help = examples::ALERT_UNSILENCE)]
    Unsilence(ScopeArgs),
    /// Retry undelivered alerts now
    #[command(after_help = examples::ALERT_RETRY)]
    Retry {
        /// Only through this channel
        channel: Option<String>,
    },
}

#[derive(Args, Debug)]
pub(super) struct TestArgs {
    /// The channel's name
    channel: Option<String>,
    /// Every channel
    #[arg(long, conflicts_with = "channel")]
    all: bool,
    /// The severity of the test
    #[arg(long, value_name = "SEVERITY", default_value = "warning")]
    severity: Loudness,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Loudness {
    Info,
    Warning,
    Critical,
}

#[derive(Args, Debug)]
#[group(multiple = false)]
pub(super) struct ScopeArgs {
    /// A login and its copies
    #[arg(long, value_name = "ID")]
    login: Option<String>,
    /// An agent
    #[arg(long, value_name = "FAMILY/ID")]
    agent: Option<String>,
    /// Everything
    #[arg(long)]
    all: bool,
}

#[derive(Args, Debug)]
pub(super) struct SilenceArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    span: SpanArgs,
}

#[derive(Args, Debug)]
#[group(multiple = false)]
struct SpanArgs {
    /// How long [default: 8h]
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_span)]
    duration: Option<Ms>,
    /// Until when: `07:30`, RFC 3339, or milliseconds since 1970
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Until it recovers
    #[arg(long)]
    until_recovered: bool,
}

impl ScopeArgs {
    /// A login or an agent, where one is named.
    fn named(&self) -> Option<Scope> {
        let login = self.login.clone().map(Scope::Login);
        login.or_else(|| self.agent.clone().map(Scope::Agent))
    }
}

fn parse_span(text: &str) -> Result<Ms, String> {
    parse_duration(text)
        .filter(|span| *span > 0)
        .ok_or_else(|| "write a number and a unit: `90m`, `8h`, `2d`".into())
}

pub(super) fn alert(setup: &Setup, command: &AlertCommand) -> Result<Exit, Fatal> {
    let ctx = setup.ctx_or_kept(None)?;
    match command {
        AlertCommand::Test(args) => test(&ctx, args),
        AlertCommand::List { json } => list(&ctx, *json),
        AlertCommand::Ack { ids, all } => ack(&ctx, ids, *all),
        AlertCommand::Silence(args) => silence(&ctx, args),
        AlertCommand::Unsilence(args) => unsilence(&ctx, args),
        AlertCommand::Retry { channel } => retry(&ctx, channel.as_deref()),
    }
}

/// How long a command waits for a pass that is running.
const PATIENCE: Duration = Duration::from_secs(30);

/// Changes what is remembered. What ends in an error must not have changed anything.
fn change<T>(ctx: &Ctx, change: impl FnOnce(&mut Ledger) -> Result<T, Fatal>) -> Result<T, Fatal> {
    let changed = ledger::change(&ctx.state_dir, ctx.clock.now(), PATIENCE, change);
    block_on(changed)?.map_err(|error| {
        let hint = match error {
            LockError::Busy(_) => "try again in a minute",
            LockError::Io(_) => "make it writable, or name another with `--state-dir`",
        };
        usage(error.of_pass(&ctx.host.tilde(&ctx.state_dir)), hint)
    })?
}

fn named<'c>(channels: &'c [Channel], name: &str) -> Result<&'c Channel, Fatal> {
    channels
        .iter()
        .find(|channel| channel.name == name)
        .ok_or_else(|| unknown("channel", name, channels.iter().map(|channel| channel.name.as_str())))
}

pub(super) fn test(ctx: &Ctx, args: &TestArgs) -> Result<Exit, Fatal> {
    let channels = ctx.channels();
    let chosen: Vec<&Channel> = match (&args.channel, args.all, channels.as_slice()) {
        (Some(name), ..) => vec![named(&channels, name)?],
        (None, false, [_, _, ..]) => {
            let names: Vec<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
            return Err(usage(
                format!("there are several channels: {}", names.join(", ")),
                "name one, or take `--all`",
            ));
        }
        _ => channels.iter().collect(),
    };
    let severity = match args.severity {
        Loudness::Info => Severity::Info,
        Loudness::Warning => Severity::Warning,
        Loudness::Critical => Severity::Critical,
    };
    let mut results: Fared<'_> = Vec::new();
    for channel in chosen {
        results.extend(try_out(ctx, channel, severity)?);
    }
    let now = ctx.clock.now();
    let remembered = change(ctx, |ledger| {
        for channel in &channels {
            let of_it = results.iter().filter(|(tested, _)| tested.name == channel.name);
            deliver::fared(ledger, channel, of_it.clone().map(|(_, result)| result), now);
            if of_it.clone().any(|(_, result)| result.is_ok()) {
                deliver::hurry(ledger, &channel.name, now);
            }
        }
        Ok(())
    });
    if let Err(error) = remembered {
        tracing::warn!("{error}");
    }
    let tested = results.iter().map(|(channel, result)| {
        let (text, detail) = match result {
            Ok(receipt) => ("a test was delivered", receipt.detail.as_str()),
            Err(error) => ("a test was not delivered", error.why()),
        };
        Entry {
            channel: Some(channel.name.clone()),
            detail: Some(detail.to_owned()),
            ..by_hand("tested", &channel.name, text, now)
        }
    });
    history::note(&ctx.state_dir, &tested.collect::<Vec<_>>());
    let fine = results.iter().all(|(_, result)| result.is_ok());
    Ok(if fine { Exit::Fine } else { Exit::Unknown })
}

/// How each message of a test went.
pub(super) type Fared<'c> = Vec<(&'c Channel, Result<Receipt, SendError>)>;

/// Sends a test through one channel and prints its receipts.
pub(super) fn try_out<'c>(ctx: &Ctx, channel: &'c Channel, severity: Severity) -> Result<Fared<'c>, Fatal> {
    let firing = test_event(ctx, channel, severity);
    let sent = send(ctx, channel, &firing)?;
    // what is kept open elsewhere until it is closed would stay open for ever
    let close = sent.is_ok() && channel.keeps_open();
    let mut results = vec![(channel, sent)];
    if close {
        let title = format!("The test of `{}` has ended", channel.name);
        let closing = Event {
            title,
            ..closing(&firing)
        };
        results.push((channel, send(ctx, channel, &closing)?));
    }
    Ok(results)
}

/// The message that `install` sends: where alerts will be seen.
pub(super) fn installed_event(ctx: &Ctx, channel: &Channel) -> Event {
    Event {
        title: format!("nolapse watches {} now; its alerts come here", ctx.host.name),
        ..test_event(ctx, channel, Severity::Info)
    }
}

/// Sends one event, and closes it where its receiver would keep it open.
pub(super) async fn deliver(ctx: &Ctx, channel: &Channel, event: &Event) -> Result<Receipt, SendError> {
    let send_ctx = SendCtx::new(&ctx.host, &ctx.http, ctx.clock.now());
    let sent = notify::send(channel, event, &send_ctx).await?;
    if channel.keeps_open() {
        notify::send(channel, &closing(event), &send_ctx).await?;
    }
    Ok(sent)
}

fn closing(event: &Event) -> Event {
    Event {
        event_id: format!("{}_end", event.event_id),
        status: Status::Resolved,
        ..event.clone()
    }
}

/// Sends one event and prints its receipt.
fn send(ctx: &Ctx, channel: &Channel, event: &Event) -> Result<Result<Receipt, SendError>, Fatal> {
    let send_ctx = SendCtx::new(&ctx.host, &ctx.http, ctx.clock.now());
    let begun = crate::edge::host::monotonic();
    let result = block_on(notify::send(channel, event, &send_ctx))?;
    let (name, took) = (one_line(&channel.name), begun.elapsed().as_millis());
    let what = match event.status {
        Status::Firing => event.severity.word(),
        Status::Resolved => "recovery",
    };
    let (did, why, hint) = match &result {
        Ok(receipt) => ("delivered in", &receipt.detail, ""),
        Err(SendError::Passing { why, .. }) => ("not delivered after", why, "; another try may get through"),
        Err(SendError::Lost { why }) => ("perhaps delivered after", why, ""),
        Err(SendError::Permanent { why }) => (
            "refused after",
            why,
            "\n  hint: fix this channel in the file that `nolapse config path` names",
        ),
    };
    let why = one_line(why);
    say(&format!("{name}: test {what} {did} {took} ms: {why}{hint}\n"))?;
    Ok(result)
}

const LIST: &str = "nolapse alert list";

/// In the shape of an alert: a cause, since when, who is affected, a command on a line of its own.
fn test_event(ctx: &Ctx, channel: &Channel, severity: Severity) -> Event {
    let now = ctx.clock.now();
    Event {
        event_id: format!("msg_test_{:x}_{:x}", now.ms(), std::process::id()),
        alert_id: format!("test:{}", channel.name).into(),
        status: Status::Firing,
        severity,
        kind: "test".into(),
        title: format!("This is a test of the channel `{}` on {}", channel.name, ctx.host.name),
        message: format!(
            "an alert looks like this; nothing has happened\nsince: {} (under a minute ago)\naffected: clawdbot/example\n\
             to see what is firing, run on {}:\n{LIST}",
            ctx.when(now),
            ctx.host.name,
        ),
        commands: vec![LIST.into()],
        login: None,
        affected: Vec::new(),
        host: ctx.host.name.clone(),
        at: now,
    }
}

fn ack(ctx: &Ctx, ids: &[String], all: bool) -> Result<Exit, Fatal> {
    let now = ctx.clock.now();
    let mut noted = Vec::new();
    let out = change(ctx, |ledger| {
        for id in ids {
            if !ledger.alerts.contains_key(&Cause::from(id.as_str())) {
                let known: Vec<String> = ledger.alerts.keys().map(Cause::to_string).collect();
                return Err(unknown("firing alert", id, known.iter().map(String::as_str)));
            }
        }
        let mut out = String::new();
        for (cause, memory) in &mut ledger.alerts {
            let id = cause.to_string();
            if all || ids.contains(&id) {
                memory.ack = Some(Ack::of(&memory.last, now));
                noted.push(Entry {
                    login: memory.last.login.as_ref().map(|login| login.id.clone()),
                    alert: Some(id.clone()),
                    kind: Some(memory.last.kind.clone()),
                    severity: Some(memory.last.severity),
                    ..by_hand("acked", &id, "acknowledged: not repeated until it changes or ends", now)
                });
                let _ = writeln!(
                    out,
                    "{}: acknowledged; you are notified again when it changes or ends",
                    one_line(&id)
                );
            }
        }
        Ok(out)
    })?;
    history::note(&ctx.state_dir, &noted);
    say(match out.as_str() {
        "" => "nothing is firing\n",
        out => out,
    })?;
    Ok(Exit::Fine)
}

fn silence(ctx: &Ctx, args: &SilenceArgs) -> Result<Exit, Fatal> {
    let now = ctx.clock.now();
    let scope = scope(ctx, &args.scope)?.ok_or_else(|| {
        usage(
            "of what is not said",
            "add `--login ID`, `--agent FAMILY/ID` or `--all`",
        )
    })?;
    let until = match (&args.span.duration, &args.span.until, args.span.until_recovered) {
        (_, _, true) => Until::Recovered,
        (_, Some(text), _) => Until::Time(moment(ctx, text, now)?),
        (duration, ..) => Until::Time(now + duration.unwrap_or(8 * HOUR)),
    };
    if let Until::Time(at) = until
        && !(SECOND..=LONGEST_SILENCE).contains(&(at - now))
    {
        return Err(usage(
            "a silence of that length would be forgotten before it ends",
            format!("take {} at most, or `--until-recovered`", span(LONGEST_SILENCE)),
        ));
    }
    let silence = Silence {
        scope: scope.clone(),
        until,
        since: now,
    };
    let mut words = change(ctx, |ledger| {
        let fires = ledger.alerts.values().any(|memory| silence.touches(&memory.last));
        if until == Until::Recovered && !fires {
            return Err(usage(
                "nothing of it is firing, so there is nothing to recover",
                "take `--for` or `--until`",
            ));
        }
        ledger.silences.retain(|other| other.scope != silence.scope);
        ledger.silences.push(silence.clone());
        Ok(deliver::silenced(ctx, &[silence], now))
    })?;
    if let Some(problem) = words.pop() {
        let entry = of_scope("silenced", &scope, &problem.message, now);
        history::note(&ctx.state_dir, &[entry]);
        let (message, hint) = (one_line(&problem.message), one_line(&problem.hint));
        say(&format!("{message}\n{hint}\n"))?;
    }
    Ok(Exit::Fine)
}

/// What a person did, for the history.
fn by_hand(what: &'static str, whom: &str, text: &str, now: Moment) -> Entry {
    Entry {
        at: now,
        what: what.into(),
        whom: whom.to_owned(),
        text: text.to_owned(),
        ..Entry::default()
    }
}

fn label(scope: &Scope) -> String {
    match scope {
        Scope::All => "--all".to_owned(),
        Scope::Login(id) | Scope::Agent(id) => id.clone(),
    }
}

fn of_scope(what: &'static str, scope: &Scope, text: &str, now: Moment) -> Entry {
    let mut entry = by_hand(what, &label(scope), text, now);
    match scope {
        Scope::All => {}
        Scope::Login(id) => entry.login = Some(id.clone()),
        Scope::Agent(id) => entry.agents = vec![id.clone()],
    }
    entry
}

fn unsilence(ctx: &Ctx, args: &ScopeArgs) -> Result<Exit, Fatal> {
    let wanted = args.named();
    let ended = change(ctx, |ledger| {
        let before: Vec<Scope> = ledger.silences.iter().map(|silence| silence.scope.clone()).collect();
        ledger
            .silences
            .retain(|silence| wanted.as_ref().is_some_and(|wanted| silence.scope != *wanted));
        let ended: Vec<Scope> = before
            .iter()
            .filter(|scope| ledger.silences.iter().all(|silence| silence.scope != **scope))
            .cloned()
            .collect();
        match &wanted {
            Some(scope) if ended.is_empty() => {
                let names: Vec<String> = before.iter().map(label).collect();
                Err(unknown("silence", &label(scope), names.iter().map(String::as_str)))
            }
            _ => Ok(ended),
        }
    })?;
    let now = ctx.clock.now();
    let entry = |scope: &Scope| of_scope("unsilenced", scope, "the silence was ended", now);
    history::note(&ctx.state_dir, &ended.iter().map(entry).collect::<Vec<_>>());
    say(&match ended.len() {
        0 => "nothing was silenced\n".to_owned(),
        1 => "one silence ended\n".to_owned(),
        n => format!("{n} silences ended\n"),
    })?;
    Ok(Exit::Fine)
}

/// The scope that was named, if it is there.
fn scope(ctx: &Ctx, args: &ScopeArgs) -> Result<Option<Scope>, Fatal> {
    let Some(scope) = args.named() else {
        return Ok(args.all.then_some(Scope::All));
    };
    let ledger = ledger::load(&ctx.state_dir).ledger;
    let view = look::look(ctx, &ledger);
    let what = if args.login.is_some() { "login" } else { "agent" };
    let known: Vec<String> = match &scope {
        Scope::Agent(_) => view.agents.iter().map(|agent| agent.label()).collect(),
        _ => {
            let logins = view.logins.iter().map(|login| login.id().to_owned());
            logins.chain(ledger.logins.into_keys()).collect()
        }
    };
    match known.contains(&label(&scope)) {
        true => Ok(Some(scope)),
        false => Err(unknown(what, &label(&scope), known.iter().map(String::as_str))),
    }
}

/// A moment to come: the next `07:30` of the user's day, or a time in full.
fn moment(ctx: &Ctx, text: &str, now: Moment) -> Result<Moment, Fatal> {
    let clock = text.split_once(':').and_then(|(hour, minute)| {
        let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
        let today = local(now)?.date_naive();
        let mut days = (0..3).filter_map(|day| at_clock(today + chrono::Days::new(day), hour, minute));
        days.find(|at| *at > now)
    });
    let usage = |what: &str| {
        usage(
            format!("`{}` {what}", one_line(text)),
            format!(
                "write `07:30`, `2026-01-21T07:30:00Z` or milliseconds; it is {} now",
                ctx.when(now)
            ),
        )
    };
    match clock.map_or_else(|| parse_time(text), Ok) {
        Ok(at) if at > now => Ok(at),
        Ok(_) => Err(usage("is over")),
        Err(_) => Err(usage("is no time")),
    }
}

fn retry(ctx: &Ctx, channel: Option<&str>) -> Result<Exit, Fatal> {
    let channels = ctx.channels();
    if let Some(name) = channel {
        named(&channels, name)?;
    }
    let now = ctx.clock.now();
    let leased = change(ctx, |ledger| {
        let of_it = |name: &str| channel.is_none_or(|wanted| wanted == name);
        Ok(deliver::lease(&ctx.host.name, ledger, |out| of_it(&out.channel), now))
    })?;
    if leased.is_empty() {
        say("nothing waits to be delivered\n")?;
        return Ok(Exit::Fine);
    }
    let mut problems = Vec::new();
    let told = block_on(async {
        let told = strangers::send_leased(ctx, &channels, leased, false).await;
        strangers::record(ctx, &channels, &told, &mut problems).await;
        told
    })?;
    let mut out = String::new();
    for (sent, result) in &told {
        let (name, title) = (one_line(&sent.channel), one_line(&sent.event.title));
        let _ = match result {
            Ok(receipt) => writeln!(out, "{name}: delivered: {title}: {}", one_line(&receipt.detail)),
            Err(error) => writeln!(out, "{name}: not delivered: {title}: {}", one_line(error.why())),
        };
    }
    for problem in &problems {
        let _ = writeln!(out, "{}\n  hint: {}", problem.message, problem.hint);
    }
    say(&out)?;
    let fine = problems.is_empty() && told.iter().all(|(_, result)| result.is_ok());
    Ok(if fine { Exit::Fine } else { Exit::Unknown })
}

fn list(ctx: &Ctx, as_json: bool) -> Result<Exit, Fatal> {
    let loaded = ledger::load(&ctx.state_dir);
    if let Some(problem) = loaded.problem {
        return Err(usage(problem.message, problem.hint));
    }
    let (ledger, now) = (loaded.ledger, ctx.clock.now());
    match as_json {
        true => print_json(&list_json(ctx, &ledger, now))?,
        false => say(&list_words(ctx, &ledger, now))?,
    }
    Ok(Exit::Fine)
}

fn list_json(ctx: &Ctx, ledger: &Ledger, now: Moment) -> Value {
    let channels = ctx.channels();
    let firing = by_severity(ledger).into_iter().map(|(id, memory)| {
        let standing = heard::standing(ctx, ledger, &channels, &memory.last, now);
        let words = wording::words(&memory.last, Why::First, memory.since, ctx.here(now));
        let told = memory
            .channels
            .iter()
            .map(|(name, told)| (name.to_owned(), json!(told)));
        json!({
            "id": id,
            "kind": memory.last.kind,
            "severity": memory.last.severity,
            "lapsed": memory.last.lapsed,
            "ends": memory.last.ends,
            "since": memory.since,
            "muted": alert::mute(&memory.last, memory.ack.as_ref(), &ledger.silences, now),
            "acked_at": memory.ack.as_ref().map(|ack| ack.at),
            "told": told.collect::<serde_json::Map<_, _>>(),
            "unheard": match standing {
                Standing::Unheard(why) => Some(why),
                _ => None,
            },
            "commands": words.commands,
        })
    });
    let queued = ledger.outbox.iter().map(|out| {
        json!({
            "event_id": out.event.event_id,
            "alert_id": out.event.alert_id,
            "channel": out.channel,
            "status": out.event.status,
            "severity": out.event.severity,
            "title": out.event.title,
            "queued_at": out.queued_at,
            "attempts": out.attempts,
            "next_at": out.next_at,
            "last_error": out.last_error,
        })
    });
    let channels = channels.iter().map(|channel| {
        let trouble = ledger.troubles.get(&channel.name);
        json!({
            "name": channel.name,
            "type": channel.kind.word(),
            "failures": trouble.map_or(0, |trouble| trouble.failures),
            "refused": trouble.is_some_and(|trouble| trouble.refused),
            "failing_since": trouble.map(|trouble| trouble.since),
            "last_error": trouble.map(|trouble| &trouble.why),
        })
    });
    json!({
        "schema": "nolapse.alerts/1",
        "now": now,
        "firing": firing.collect::<Vec<_>>(),
        "queued": queued.collect::<Vec<_>>(),
        "silences": ledger.silences,
        "channels": channels.collect::<Vec<_>>(),
    })
}

/// What fires, the loudest first, then the oldest.
fn by_severity(ledger: &Ledger) -> Vec<(&Cause, &AlertMemory)> {
    let mut firing: Vec<(&Cause, &AlertMemory)> =
        ledger.alerts.iter().map(|(id, memory)| (id, memory.as_ref())).collect();
    firing.sort_by_key(|(id, memory)| (std::cmp::Reverse(memory.last.severity), memory.since, *id));
    firing
}

/// One alert that fires: since when, who was notified, what helps.
fn firing_words(ctx: &Ctx, ledger: &Ledger, (id, memory): (&Cause, &AlertMemory), now: Moment) -> String {
    let ago = |at: Moment| ago(ctx, at, now);
    let told: Vec<String> = memory
        .channels
        .iter()
        .map(|(name, told)| format!("{} {}", one_line(name), ago(told.at)))
        .collect();
    let told = match told.is_empty() {
        true => "nobody notified yet".to_owned(),
        false => format!("notified {}", told.join(", ")),
    };
    let muted = match alert::mute(&memory.last, memory.ack.as_ref(), &ledger.silences, now) {
        Some(alert::Mute::Silenced) => "; silenced",
        Some(alert::Mute::Acked) => "; acknowledged",
        None => "",
    };
    let begun = memory.begun(now);
    let mut out = format!(
        "  {:8}  {}  {}, since {} ({}); {told}{muted}\n",
        memory.last.severity.word(),
        one_line(&id.to_string()),
        one_line(&memory.last.kind),
        ctx.when(begun),
        ago(begun),
    );
    let standing = heard::standing(ctx, ledger, &ctx.channels(), &memory.last, now);
    let standing = heard::standing_words(&standing);
    if !standing.is_empty() {
        let _ = writeln!(out, "            {standing}");
    }
    let words = wording::words(&memory.last, Why::First, memory.since, ctx.here(now));
    if let Some(command) = words.commands.first() {
        let _ = writeln!(out, "            fix: {}", one_line(command));
    }
    out
}

fn ago(ctx: &Ctx, at: Moment, now: Moment) -> String {
    match now - at {
        gap if gap < 0 => format!("at {}", ctx.when(at)),
        gap => format!("{} ago", span(gap)),
    }
}

fn list_words(ctx: &Ctx, ledger: &Ledger, now: Moment) -> String {
    let mut out = String::new();
    if !ledger.alerts.is_empty() {
        out.push_str("firing\n");
    }
    for (id, memory) in by_severity(ledger) {
        out.push_str(&firing_words(ctx, ledger, (id, memory), now));
    }
    if !ledger.outbox.is_empty() {
        out.push_str("waiting to be delivered\n");
    }
    for queued in &ledger.outbox {
        let next = match queued.next_at - now {
            gap if gap <= 0 || gap > 8 * DAY => "at the next pass".to_owned(),
            gap => format!("in {}", span(gap)),
        };
        let tried = match queued.attempts {
            1 => "once".to_owned(),
            n => format!("{n} times"),
        };
        let (channel, title) = (one_line(&queued.channel), one_line(&queued.event.title));
        let last = queued.last_error.as_ref();
        let last = last.map_or(String::new(), |why| format!("; last: {}", one_line(why)));
        let _ = writeln!(out, "  {channel}: {title}; tried {tried}, again {next}{last}");
    }
    let mut words = deliver::silenced(ctx, &ledger.silences, now);
    words.extend(deliver::failing(ledger));
    if !words.is_empty() {
        out.push_str("Notes\n");
    }
    for problem in words {
        let (message, hint) = (one_line(&problem.message), one_line(&problem.hint));
        let _ = writeln!(out, "  {message}\n    hint: {hint}");
    }
    if out.is_empty() {
        out.push_str("nothing is firing, waiting or silenced, as of the last pass\n");
    }
    out
}
