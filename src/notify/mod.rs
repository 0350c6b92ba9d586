//! Telling people: the channels, and delivery.
//!
//! A channel is one file with a configuration struct (`read`), pure builders of what is sent, and an `async fn send`. Adding
//! one is a file and a variant of [`ChannelKind`]; the compiler demands the rest. Nothing here decides whether or when to
//! tell (see `rules`), remembers what was told (see `ledger`), or tries twice: [`send`] tries once and says how it went.

pub(crate) mod alertmanager;
mod ca_file;
pub(crate) mod command;
pub(crate) mod desktop;
pub(crate) mod discord;
pub(crate) mod email;
pub(crate) mod gotify;
pub(crate) mod heartbeat;
pub(crate) mod log;
pub(crate) mod ntfy;
pub(crate) mod pagerduty;
pub(crate) mod slack;
pub(crate) mod telegram;
pub(crate) mod termux;
pub(crate) mod webhook;

mod receipt;
mod reply;
mod smtp;
#[cfg(test)]
pub(crate) mod testing;

pub use receipt::{Receipt, SendError};

use crate::cause::Cause;
use crate::edge::host::Host;
use crate::edge::http::Http;
use crate::edge::{files, progress};
use crate::rules::alert::Alert;
use crate::rules::{keys, text};
use crate::secret::SecretUrl;
use crate::table::{self, ConfigError, Table, nearest};
use crate::types::{Affected, Event, EventLogin, Moment, Ms, SECOND, Severity, Status};
use sha2::{Digest, Sha256};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// How long a channel may take for one event unless its `timeout` says otherwise.
pub(crate) const TIMEOUT: Ms = 15 * SECOND;

/// Where and what to tell.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its name, unique; the type's if none was given.
    pub(crate) name: String,
    /// Nothing milder is sent.
    pub(crate) min_severity: Severity,
    /// When only critical events are sent.
    pub(crate) quiet_hours: Option<QuietHours>,
    /// Whether recoveries are sent.
    pub(crate) resolved: bool,
    /// Logins this channel is for, globs; empty for all.
    pub(crate) logins: Vec<glob::Pattern>,
    /// Agents this channel is for, globs over `family/agent`; empty for all.
    pub(crate) agents: Vec<glob::Pattern>,
    /// Replaces the title, see [`text::PLACEHOLDERS`].
    pub(crate) title: Option<String>,
    /// Replaces the message, see [`text::PLACEHOLDERS`].
    pub(crate) body: Option<String>,
    /// The longest that one event may take, [`Ms`].
    pub(crate) timeout: Ms,
    /// Certificates that the server may have beside those of the roots, PEM; mail has its own.
    pub(crate) ca_file: Option<PathBuf>,
    /// The rest.
    pub kind: ChannelKind,
}

/// A daily time that may go over midnight, in minutes of the local day; `to` is no longer quiet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuietHours {
    /// First quiet minute, 0..1440.
    pub(crate) from: u16,
    /// First minute that is not, 0..1440.
    pub(crate) to: u16,
}

/// What each type of channel needs.
#[derive(Clone, Debug)]
pub enum ChannelKind {
    /// The process's own log.
    Log(log::Log),
    /// A notification on this desktop.
    Desktop(desktop::Desktop),
    /// A notification on this phone.
    Termux(termux::Termux),
    /// E-mail.
    Email(Box<email::Email>),
    /// Signed JSON.
    Webhook(webhook::Webhook),
    /// A program that gets JSON.
    Command(command::Command),
    /// Slack.
    Slack(slack::Slack),
    /// Discord.
    Discord(discord::Discord),
    /// ntfy.
    Ntfy(ntfy::Ntfy),
    /// Telegram.
    Telegram(telegram::Telegram),
    /// Gotify.
    Gotify(gotify::Gotify),
    /// PagerDuty.
    Pagerduty(pagerduty::Pagerduty),
    /// Prometheus Alertmanager.
    Alertmanager(alertmanager::Alertmanager),
}

/// What a delivery works with.
#[derive(Clone, Debug)]
pub struct SendCtx<'a> {
    /// The machine.
    pub host: &'a Host,
    /// The client.
    pub http: &'a Http,
    /// Now.
    pub now: Moment,
    /// The [`Receipt::handle`] of this channel's last delivery for the same alert, so that it can be replaced.
    pub previous: Option<String>,
    /// How long a mail server may take once it has the message.
    pub after_data: Duration,
    /// The recipients that an earlier try left for later; empty for all.
    pub only: Vec<String>,
}

impl<'a> SendCtx<'a> {
    /// Send again.
    pub fn new(host: &'a Host, http: &'a Http, now: Moment) -> Self {
        Self {
            host,
            http,
            now,
            previous: None,
            after_data: smtp::AFTER_DATA,
            only: Vec::new(),
        }
    }

    /// With all the time that RFC 5321 gives a mail server, where nobody waits for the end of it.
    pub(crate) fn at_leisure(self) -> Self {
        Self {
            after_data: smtp::AFTER_DATA_AT_LEISURE,
            ..self
        }
    }
}

/// Reads `[[channel]]` tables. A disabled channel is one that is not there.
///
/// # Errors
/// An unknown type or key, a wrong value, a name used twice.
pub fn read_channels(tables: Vec<Table<'_>>) -> Result<Vec<Channel>, ConfigError> {
    let mut channels: Vec<Channel> = Vec::new();
    for table in tables {
        let channel = read_channel(&table)?;
        if channels.iter().any(|other| other.name == channel.name) {
            return Err(table.error(
                if table.has("name") { "name" } else { "type" },
                format!("is used twice: `{}`", channel.name),
                "give each channel its own `name`",
            ));
        }
        table.finish()?;
        channels.push(channel);
    }
    Ok(channels)
}

fn read_channel(table: &Table<'_>) -> Result<Channel, ConfigError> {
    let word = table.need_str("type")?;
    let kind = match word {
        "log" => ChannelKind::Log(log::Log::read(table)?),
        "desktop" => ChannelKind::Desktop(desktop::Desktop::read(table)?),
        "termux" => ChannelKind::Termux(termux::Termux::read(table)?),
        "email" => ChannelKind::Email(Box::new(email::Email::read(table)?)),
        "webhook" => ChannelKind::Webhook(webhook::Webhook::read(table)?),
        "command" => ChannelKind::Command(command::Command::read(table)?),
        "slack" => ChannelKind::Slack(slack::Slack::read(table)?),
        "discord" => ChannelKind::Discord(discord::Discord::read(table)?),
        "ntfy" => ChannelKind::Ntfy(ntfy::Ntfy::read(table)?),
        "telegram" => ChannelKind::Telegram(telegram::Telegram::read(table)?),
        "gotify" => ChannelKind::Gotify(gotify::Gotify::read(table)?),
        "pagerduty" => ChannelKind::Pagerduty(pagerduty::Pagerduty::read(table)?),
        "alertmanager" => ChannelKind::Alertmanager(alertmanager::Alertmanager::read(table)?),
        _ => {
            let types: Vec<&str> = keys::OFFERS.iter().map(|offer| offer.word).collect();
            let hint = match nearest(word, types.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("one of {}", types.join(", ")),
            };
            return Err(table.error("type", format!("is unknown: `{word}`"), hint));
        }
    };
    let severities = [
        ("info", Severity::Info),
        ("warning", Severity::Warning),
        ("critical", Severity::Critical),
    ];
    let timeout = table.duration("timeout")?.unwrap_or(TIMEOUT);
    Ok(Channel {
        name: table
            .str("name")?
            .filter(|name| !name.is_empty())
            .unwrap_or(word)
            .to_owned(),
        min_severity: table.word("min_severity", &severities)?.unwrap_or(Severity::Warning),
        quiet_hours: read_quiet_hours(table)?,
        resolved: table.bool("resolved")?.unwrap_or(true),
        logins: table::globs(table, "logins")?.unwrap_or_default(),
        agents: table::globs(table, "agents")?.unwrap_or_default(),
        title: read_template(table, "title")?,
        body: read_template(table, "body")?,
        timeout,
        ca_file: match kind.by_http() {
            true => ca_file::read(table)?,
            false => None,
        },
        kind,
    })
}

fn read_template(table: &Table<'_>, key: &str) -> Result<Option<String>, ConfigError> {
    let Some(template) = table.filled(key)? else {
        return Ok(None);
    };
    match text::unknown_placeholder(template) {
        None => Ok(Some(template.to_owned())),
        Some(name) => Err(table.error(
            key,
            format!("has an unknown placeholder: `{{{name}}}`"),
            match nearest(&name, text::PLACEHOLDERS.into_iter()) {
                Some(near) => format!("did you mean `{{{near}}}`?"),
                None => format!("known: {}; write `{{{{` for a brace", text::PLACEHOLDERS.join(", ")),
            },
        )),
    }
}

fn read_quiet_hours(table: &Table<'_>) -> Result<Option<QuietHours>, ConfigError> {
    let Some(text) = table.str("quiet_hours")? else {
        return Ok(None);
    };
    let minute = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let digits = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(hour) || minute.len() != 2 || !digits(minute) {
            return None;
        }
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour < 24 && minute < 60).then_some(hour * 60 + minute)
    };
    match text.split_once('-').map(|(from, to)| (minute(from), minute(to))) {
        Some((Some(from), Some(to))) if from != to => Ok(Some(QuietHours { from, to })),
        _ => Err(table.error(
            "quiet_hours",
            format!("is not a span of a day: `{text}`"),
            "write it as `22:00-07:00`",
        )),
    }
}

/// The server of a receiver that is given a token or a key: not over plain http to another host, where whoever is in between could
/// read it.
fn read_server(table: &Table<'_>) -> Result<Option<SecretUrl>, ConfigError> {
    let url = table.url("url", true)?;
    if let Some(url) = &url {
        table.not_in_the_clear("url", url, "its token")?;
    }
    Ok(url)
}

fn need_url(table: &Table<'_>, key: &str) -> Result<SecretUrl, ConfigError> {
    match table.url(key, false)? {
        Some(url) => Ok(url),
        None => Err(table.need_secret(key).err().unwrap_or_else(|| table.missing(key))),
    }
}

/// The base URL of a service with a path.
fn join(base: &SecretUrl, path: &str) -> SecretUrl {
    SecretUrl::new(format!("{}{path}", base.expose().trim_end_matches('/')))
}

/// What is used without any configuration: the phone where Termux's API commands are found (in proot-distro too, which names no
/// Termux but has its directory on `PATH`), else a desktop if it would
/// show a notification, else the log.
pub(crate) fn default_channels(host: &Host) -> Vec<Channel> {
    let kind = if files::is_file(&crate::edge::termux::tool(host, "termux-notification")) {
        ("termux", ChannelKind::Termux(termux::Termux::default()))
    } else if desktop::shows(host).is_ok() {
        ("desktop", ChannelKind::Desktop(desktop::Desktop))
    } else {
        ("log", ChannelKind::Log(log::Log))
    };
    vec![Channel {
        name: kind.0.to_owned(),
        min_severity: Severity::Warning,
        quiet_hours: None,
        resolved: true,
        logins: Vec::new(),
        agents: Vec::new(),
        title: None,
        body: None,
        timeout: TIMEOUT,
        ca_file: None,
        kind: kind.1,
    }]
}

/// A program on the host's `PATH`.
pub(crate) fn find_program(host: &Host, name: &str) -> Option<PathBuf> {
    let path = host.var("PATH")?;
    path.split(':')
        .filter(|dir| !dir.is_empty())
        .map(|dir| Path::new(dir).join(name))
        .find(|path| files::is_file(path))
}

impl ChannelKind {
    /// The word of `type`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Log(_) => "log",
            Self::Desktop(_) => "desktop",
            Self::Termux(_) => "termux",
            Self::Email(_) => "email",
            Self::Webhook(_) => "webhook",
            Self::Command(_) => "command",
            Self::Slack(_) => "slack",
            Self::Discord(_) => "discord",
            Self::Ntfy(_) => "ntfy",
            Self::Telegram(_) => "telegram",
            Self::Gotify(_) => "gotify",
            Self::Pagerduty(_) => "pagerduty",
            Self::Alertmanager(_) => "alertmanager",
        }
    }
}

/// Where a channel's events go, as far as it can be tried without sending one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// The log, which is always there.
    Log,
    /// The session bus.
    Desktop,
    /// The commands of Termux:API.
    Termux,
    /// A program: a path, or a name on the `PATH`.
    Program(String),
    /// A name or address, and a port; over TLS or in the clear.
    Host {
        /// Without user, path or query.
        name: String,
        /// The port.
        port: u16,
        /// How a proxy would be chosen: `https`, `http`, `smtp`.
        scheme: &'static str,
    },
}

/// Host and port of a URL.
fn endpoint_of(url: &SecretUrl) -> Option<Endpoint> {
    let url = reqwest::Url::parse(url.expose()).ok()?;
    Some(Endpoint::Host {
        name: url.host_str()?.to_owned(),
        port: url.port_or_known_default()?,
        scheme: if url.scheme() == "https" { "https" } else { "http" },
    })
}

impl heartbeat::Heartbeat {
    /// Where its pings go.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        endpoint_of(&self.url)
    }
}

impl ChannelKind {
    /// Whether they go to a server by HTTP.
    fn by_http(&self) -> bool {
        matches!(
            self.endpoint(),
            Some(Endpoint::Host {
                scheme: "http" | "https",
                ..
            })
        )
    }

    /// Where its events go; `None` where that cannot be told.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        Some(match self {
            Self::Log(_) => Endpoint::Log,
            Self::Desktop(_) => Endpoint::Desktop,
            Self::Termux(_) => Endpoint::Termux,
            Self::Command(to) => Endpoint::Program(to.command.first()?.clone()),
            Self::Email(to) => Endpoint::Host {
                name: to.host.clone(),
                port: to.port,
                scheme: "smtp",
            },
            Self::Webhook(to) => endpoint_of(&to.url)?,
            Self::Slack(to) => endpoint_of(&to.url)?,
            Self::Discord(to) => endpoint_of(&to.url)?,
            Self::Ntfy(to) => endpoint_of(&to.url)?,
            Self::Telegram(to) => endpoint_of(&to.url)?,
            Self::Gotify(to) => endpoint_of(&to.url)?,
            Self::Pagerduty(to) => endpoint_of(&to.url)?,
            Self::Alertmanager(to) => endpoint_of(&to.url)?,
        })
    }
}

impl QuietHours {
    /// Whether `minute` of the local day (0..1440) is quiet.
    pub(crate) fn contains(&self, minute: u16) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

impl Channel {
    /// Whether this event is for this channel by severity, recovery and routes. Quiet hours are not asked: they delay, and
    /// do not drop. A recovery is asked for no severity: it goes wherever its alert went, which the ledger knows.
    pub(crate) fn wants(&self, event: &Event) -> bool {
        let loud_enough = match event.status {
            Status::Firing => event.severity >= self.min_severity,
            Status::Resolved => self.resolved,
        };
        loud_enough && self.routes(event.login.as_ref(), &event.affected, &event.alert_id)
    }

    /// Whether this alert is for this channel while it fires, as [`Channel::wants`] will say of its events.
    pub(crate) fn takes(&self, alert: &Alert) -> bool {
        alert.severity >= self.min_severity && self.routes(alert.login.as_ref(), &alert.affected, &alert.id)
    }

    fn routes(&self, login: Option<&EventLogin>, affected: &[Affected], cause: &Cause) -> bool {
        let any = |globs: &[glob::Pattern], mut names: Box<dyn Iterator<Item = String> + '_>| {
            globs.is_empty() || names.any(|name| globs.iter().any(|glob| glob.matches(&name)))
        };
        let store = match cause {
            Cause::Store(label) => Some(label.clone()),
            _ => None,
        };
        let agents = affected.iter().map(Affected::label);
        let routed = any(&self.logins, Box::new(login.iter().map(|login| login.id.clone())))
            && any(&self.agents, Box::new(agents.chain(store)));
        // that another channel fails concerns everybody
        routed || matches!(cause, Cause::Channel(_) | Cause::Heartbeat | Cause::Config)
    }

    /// Whether it is the log, which reaches nobody by itself.
    pub(crate) fn is_log(&self) -> bool {
        matches!(self.kind, ChannelKind::Log(_))
    }

    /// Whether the receiver keeps an alert open until it gets a recovery.
    pub(crate) fn keeps_open(&self) -> bool {
        matches!(self.kind, ChannelKind::Pagerduty(_) | ChannelKind::Alertmanager(_))
    }

    /// A mark that changes with the configuration, secrets included: 16 bits are enough to notice a change, and too few to
    /// check a guessed password by.
    pub(crate) fn mark(&self) -> u16 {
        let mut hash = Sha256::new();
        hash.update(format!("{self:?}"));
        for secret in secrets(&self.kind) {
            hash.update([0]);
            hash.update(secret);
        }
        let bytes = hash.finalize();
        u16::from_be_bytes([bytes[0], bytes[1]])
    }

    /// The event as this channel words it: templates filled, control characters gone.
    fn dress(&self, event: &Event) -> Event {
        let title = self.title.as_ref().map(|template| text::fill(template, event));
        let body = self.body.as_ref().map(|template| text::fill(template, event));
        Event {
            title: text::clean(title.as_ref().unwrap_or(&event.title), false),
            message: text::clean(body.as_ref().unwrap_or(&event.message), true),
            // a template is complete as its author wrote it
            commands: match body {
                Some(_) => Vec::new(),
                None => event.commands.iter().map(|c| text::clean(c, false)).collect(),
            },
            host: text::clean(&event.host, false),
            ..event.clone()
        }
    }
}

/// Tries once to deliver `event`, within the channel's timeout.
///
/// # Errors
/// [`SendError`].
pub async fn send(channel: &Channel, event: &Event, ctx: &SendCtx<'_>) -> Result<Receipt, SendError> {
    let dressed = channel.dress(event);
    let event = &dressed;
    let limit = Duration::from_millis(channel.timeout.unsigned_abs());
    let own;
    let trusting;
    let ctx = match &channel.ca_file {
        None => ctx,
        Some(path) => {
            own = ctx.http.trusting(ca_file::certificates(path)?);
            trusting = SendCtx {
                http: &own,
                ..ctx.clone()
            };
            &trusting
        }
    };
    let sending = async {
        match &channel.kind {
            ChannelKind::Log(to) => to.send(event, ctx).await,
            ChannelKind::Desktop(to) => to.send(event, ctx).await,
            ChannelKind::Termux(to) => to.send(event, ctx).await,
            ChannelKind::Email(to) => to.send(event, ctx, limit).await,
            ChannelKind::Webhook(to) => to.send(event, ctx).await,
            ChannelKind::Command(to) => to.send(event, ctx).await,
            ChannelKind::Slack(to) => to.send(event, ctx).await,
            ChannelKind::Discord(to) => to.send(event, ctx).await,
            ChannelKind::Ntfy(to) => to.send(event, ctx).await,
            ChannelKind::Telegram(to) => to.send(event, ctx).await,
            ChannelKind::Gotify(to) => to.send(event, ctx).await,
            ChannelKind::Pagerduty(to) => to.send(event, ctx).await,
            ChannelKind::Alertmanager(to) => to.send(event, ctx).await,
        }
    };
    let waiting = progress::waiting(|| format!("the channel `{}`", channel.name));
    let whole = match &channel.kind {
        ChannelKind::Email(_) => limit + ctx.after_data + Duration::from_secs(2),
        _ => limit,
    };
    let sent = tokio::time::timeout(whole, sending).await;
    drop(waiting);
    let mut result = match sent {
        Ok(result) => result,
        Err(_) => Err(late(limit)),
    };
    // the last fence: a receiver may echo what it was sent, in words that look harmless
    let secrets = secrets(&channel.kind);
    match &mut result {
        Ok(receipt) => scrub(&mut receipt.detail, &secrets),
        Err(error) => scrub(error.why_mut(), &secrets),
    }
    result
}

fn late(limit: Duration) -> SendError {
    SendError::passing(format!("no answer within {} s", limit.as_secs()))
}

/// One delivery to make.
#[derive(Clone, Debug)]
pub(crate) struct Job<'a> {
    /// The caller's number for it.
    pub(crate) index: usize,
    /// Where.
    pub(crate) channel: &'a Channel,
    /// What.
    pub(crate) event: &'a Event,
    /// As [`SendCtx::previous`].
    pub(crate) previous: Option<String>,
    /// As [`SendCtx::only`].
    pub(crate) only: Vec<String>,
}

impl<'a> From<(usize, &'a Channel, &'a Event)> for Job<'a> {
    fn from((index, channel, event): (usize, &'a Channel, &'a Event)) -> Self {
        Self {
            index,
            channel,
            event,
            previous: None,
            only: Vec::new(),
        }
    }
}

/// Makes all deliveries: channels side by side, each channel's events in order, so that a slow receiver never delays
/// another. Needs no threads.
///
/// A channel whose receiver failed in a passing way, or that has used up its timeout with earlier events, is not asked for
/// its remaining events (`Passing`, "not tried"): all of this takes at most twice the longest timeout of a channel.
/// The handle of a delivery is passed on to later events of the same alert. `ctx.previous` is not used.
pub(crate) async fn send_all<'a, J: Into<Job<'a>>>(
    jobs: Vec<J>,
    ctx: &SendCtx<'_>,
) -> Vec<(usize, Result<Receipt, SendError>)> {
    let mut lanes: Vec<Vec<Job<'a>>> = Vec::new();
    for job in jobs {
        let job = job.into();
        match lanes.iter_mut().find(|lane| lane[0].channel.name == job.channel.name) {
            Some(lane) => lane.push(job),
            None => lanes.push(vec![job]),
        }
    }
    let mut running: Vec<Pin<Box<dyn Future<Output = Vec<_>> + Send + '_>>> = Vec::new();
    for lane in lanes {
        running.push(Box::pin(send_lane(lane, ctx)));
    }
    let mut done = Vec::new();
    std::future::poll_fn(|cx| {
        running.retain_mut(|lane| match lane.as_mut().poll(cx) {
            Poll::Ready(results) => {
                done.extend(results);
                false
            }
            Poll::Pending => true,
        });
        if running.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    done.sort_by_key(|(index, _)| *index);
    done
}

async fn send_lane(lane: Vec<Job<'_>>, ctx: &SendCtx<'_>) -> Vec<(usize, Result<Receipt, SendError>)> {
    let begun = crate::edge::host::monotonic();
    let mut results = Vec::new();
    let mut handles: Vec<(Cause, String)> = Vec::new();
    let mut stop = None;
    for job in lane {
        if let Some(SendError::Passing { why, retry_after }) = &stop {
            let why = format!("skipped, since another message failed: {why}");
            let retry_after = *retry_after;
            results.push((job.index, Err(SendError::Passing { why, retry_after })));
            continue;
        }
        let earlier = handles.iter().rev().find(|(alert, _)| *alert == job.event.alert_id);
        let ctx = SendCtx {
            previous: earlier.map(|(_, handle)| handle.clone()).or(job.previous),
            only: job.only,
            ..ctx.clone()
        };
        let result = send(job.channel, job.event, &ctx).await;
        match &result {
            Ok(Receipt {
                handle: Some(handle), ..
            }) => handles.push((job.event.alert_id.clone(), handle.clone())),
            Err(error @ SendError::Passing { .. }) => stop = Some(error.clone()),
            // only what was handed over waits long
            Err(SendError::Lost { why }) => stop = Some(SendError::passing(why)),
            _ => {}
        }
        if stop.is_none() && begun.elapsed().as_millis() >= u128::from(job.channel.timeout.unsigned_abs()) {
            stop = Some(SendError::passing("the receiver is slow"));
        }
        results.push((job.index, result));
    }
    results
}

/// Every text that a channel must not let out.
fn secrets(kind: &ChannelKind) -> Vec<&str> {
    match kind {
        ChannelKind::Log(_) | ChannelKind::Desktop(_) | ChannelKind::Termux(_) | ChannelKind::Command(_) => Vec::new(),
        ChannelKind::Email(to) => to.secrets(),
        ChannelKind::Webhook(to) => to.secrets(),
        ChannelKind::Slack(to) => to.secrets(),
        ChannelKind::Discord(to) => to.secrets(),
        ChannelKind::Ntfy(to) => to.secrets(),
        ChannelKind::Telegram(to) => to.secrets(),
        ChannelKind::Gotify(to) => to.secrets(),
        ChannelKind::Pagerduty(to) => to.secrets(),
        ChannelKind::Alertmanager(to) => to.secrets(),
    }
}

/// Replaces every secret in `text`, and every longer piece of one: of a URL only what comes after the host or before the
/// `@`, since the host may be shown.
fn scrub(text: &mut String, secrets: &[&str]) {
    for secret in secrets {
        let mut pieces: Vec<&str> = Vec::new();
        match secret.split_once("://") {
            Some((_, rest)) => {
                let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
                pieces.extend(authority.rsplit_once('@').map(|(user, _)| user));
                pieces.push(&rest[authority.len()..]);
            }
            None => pieces.push(secret),
        }
        let parted: Vec<&str> = pieces
            .iter()
            .flat_map(|piece| piece.split(|c: char| "/?&=:@#,;".contains(c) || c.is_whitespace()))
            .filter(|piece| piece.len() >= 8)
            .collect();
        for piece in pieces.into_iter().filter(|piece| piece.len() >= 4).chain(parted) {
            if text.contains(piece) {
                *text = text.replace(piece, "…");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Answer, Server, channel, channels, event, host, recovered};
    use super::*;

    #[test]
    fn a_channel_has_sane_defaults_and_slips_are_named() {
        let channel = channel("type = \"log\"");
        assert_eq!(
            (
                channel.name.as_str(),
                channel.min_severity,
                channel.resolved,
                channel.timeout
            ),
            ("log", Severity::Warning, true, TIMEOUT)
        );
        for (text, wanted) in [
            ("[[channel]]\ntype = \"slak\"", "did you mean `slack`?"),
            ("[[channel]]\nname = \"x\"", "`channel[1].type` is missing"),
            (
                "[[channel]]\ntype = \"log\"\n[[channel]]\ntype = \"log\"",
                "is used twice: `log`",
            ),
            (
                "[[channel]]\ntype = \"log\"\nquiet_hour = \"1\"",
                "did you mean `quiet_hours`?",
            ),
            (
                "[[channel]]\ntype = \"log\"\nquiet_hours = \"25:00-07:00\"",
                "`22:00-07:00`",
            ),
            (
                "[[channel]]\ntype = \"log\"\ntitle = \"{hots}\"",
                "did you mean `{host}`?",
            ),
            ("[[channel]]\ntype = \"log\"\ntimeout = \"1h\"", "`1s` to `2m`"),
            ("[[channel]]\ntype = \"slack\"", "`channel[1].url` is missing"),
            (
                "[[channel]]\ntype = \"slack\"\nurl = \"https://[x\"",
                "is not an http or https URL",
            ),
        ] {
            let error = channels(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn quiet_hours_may_go_over_midnight() {
        let night = QuietHours {
            from: 22 * 60,
            to: 7 * 60,
        };
        let noon = QuietHours { from: 720, to: 780 };
        for (hours, minute, wanted) in [
            (night, 22 * 60, true),
            (night, 0, true),
            (night, 7 * 60 - 1, true),
            (night, 7 * 60, false),
            (noon, 719, false),
            (noon, 720, true),
            (noon, 780, false),
        ] {
            assert_eq!(hours.contains(minute), wanted, "{hours:?} {minute}");
        }
    }

    #[test]
    fn routes_go_by_severity_recovery_login_and_agent() {
        let warning = Event {
            severity: Severity::Warning,
            ..event()
        };
        let about = |id: &str| Event {
            alert_id: id.into(),
            login: None,
            affected: Vec::new(),
            ..event()
        };
        for (keys, event, wanted) in [
            ("", &warning, true),
            ("min_severity = \"critical\"", &warning, false),
            ("min_severity = \"critical\"", &event(), true),
            ("min_severity = \"critical\"", &recovered(), true),
            ("resolved = false", &recovered(), false),
            ("logins = [\"cl*\"]", &event(), true),
            ("logins = [\"work\"]", &event(), false),
            ("agents = [\"clawdbot/*\"]", &event(), true),
            ("agents = [\"moltbot/*\"]", &event(), false),
            ("agents = [\"clawdbot/[m]ain\"]", &event(), true),
            ("agents = [\"moltbot/*\"]", &about("store:moltbot/main"), true),
            ("agents = [\"moltbot/*\"]", &about("store:clawdbot/main"), false),
            // that another channel fails concerns everybody
            ("logins = [\"work\"]", &about("channel:phone"), true),
        ] {
            assert_eq!(
                channel(&format!("type = \"log\"\n{keys}")).wants(event),
                wanted,
                "{keys}"
            );
        }
    }

    #[test]
    fn a_mark_changes_with_every_key_and_every_secret() {
        let marks: std::collections::BTreeSet<u16> = [
            "type = \"webhook\"\nurl = \"https://h/a\"",
            "type = \"webhook\"\nurl = \"https://h/b\"",
            "type = \"webhook\"\nurl = \"https://h/a\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"",
            "type = \"webhook\"\nurl = \"https://h/a\"\nsecret = \"whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"",
            "type = \"webhook\"\nurl = \"https://h/a\"\ntimeout = \"9s\"",
        ]
        .iter()
        .map(|keys| channel(keys).mark())
        .collect();
        assert_eq!(marks.len(), 5);
        assert_eq!(channel("type = \"log\"").mark(), channel("type = \"log\"").mark());
    }

    #[test]
    fn without_configuration_the_nearest_screen_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        let first = |env: &[(&str, &str)]| default_channels(&host(env)).remove(0).name;
        assert_eq!(first(&[]), "log");
        assert_eq!(first(&[("XDG_RUNTIME_DIR", path)]), "log");
        // a bus that does not answer shows nothing; scripts/check-receivers has one that does
        std::fs::write(dir.path().join("bus"), "").unwrap();
        assert_eq!(first(&[("XDG_RUNTIME_DIR", path)]), "log");
        assert_eq!(first(&[("DBUS_SESSION_BUS_ADDRESS", "unix:path=/x")]), "log");
        assert_eq!(first(&[("TERMUX_VERSION", "0.118"), ("PATH", path)]), "log");
        std::fs::write(dir.path().join("termux-notification"), "").unwrap();
        assert_eq!(first(&[("TERMUX_VERSION", "0.118"), ("PATH", path)]), "termux");
    }

    #[test]
    fn a_scrubbed_text_keeps_the_host() {
        let mut text = "`https://hooks.slack.com/…` answered 404: canarytoken".to_owned();
        scrub(&mut text, &["https://hooks.slack.com/services/canarytoken"]);
        assert_eq!(text, "`https://hooks.slack.com/…` answered 404: …");
    }

    #[tokio::test]
    async fn a_slow_receiver_delays_no_other_and_a_channel_keeps_its_order() {
        let slow = Server::start(vec![Answer::silence()]).await;
        let quick = Server::start(vec![Answer::status(200)]).await;
        let text = format!(
            "[[channel]]\nname = \"slow\"\ntype = \"webhook\"\ntimeout = \"1s\"\nurl = \"{}\"\n\
             [[channel]]\nname = \"quick\"\ntype = \"webhook\"\nurl = \"{}\"",
            slow.url("/").expose(),
            quick.url("/").expose()
        );
        let channels = channels(&text).unwrap();
        let (first, second) = (event(), recovered());
        let (host, http) = (host(&[]), Http::new(&Default::default()));
        let ctx = SendCtx::new(&host, &http, Moment::EPOCH);
        let begun = crate::edge::host::monotonic();
        let jobs = vec![
            (0, &channels[0], &first),
            (1, &channels[1], &first),
            (2, &channels[0], &second),
            (3, &channels[1], &second),
        ];
        let results = send_all(jobs, &ctx).await;
        assert!(begun.elapsed() < Duration::from_millis(1900), "{:?}", begun.elapsed());
        assert_eq!(
            results.iter().map(|(i, r)| (*i, r.is_ok())).collect::<Vec<_>>(),
            [(0, false), (1, true), (2, false), (3, true)]
        );
        assert_eq!(results[0].1.as_ref().unwrap_err().why(), "no answer within 1 s");
        assert_eq!(slow.seen().len(), 1);
        let order: Vec<_> = quick.seen().iter().map(|s| s.json()["event_id"].clone()).collect();
        assert_eq!(order, ["msg_2b1f", "msg_2b20"]);
    }
}
