//! What a pass waits for beside its own work: channels, other hosts, the heartbeat. None of them holds up the pass, nor one another.
//!
//! A pass makes a [`Tail`] at its start (the heartbeat's `/start` and the questions to other hosts leave at once) and hands over what
//! it leased when its own work is saved. From then on every channel has a task of its own, which records what it delivered; what
//! other hosts say is judged and sent as it comes. The daemon starts its next pass meanwhile: nothing here stands on a view of the
//! world that such a pass may have changed, but on the ledger as it is by then.

use crate::ctx::Ctx;
use crate::deliver::{self, Room};
use crate::edge::files;
use crate::edge::locks::LockError;
use crate::note::Rest;
use crate::notify::heartbeat::Stage;
use crate::notify::{Channel, Job, Receipt, SendCtx, SendError};
use crate::remotes::{self, Asking};
use crate::rules::alert::{Alert, Trouble};
use crate::rules::memory::{Ledger, Outgoing};
use crate::types::{Moment, Problem};
use crate::{history, ledger, note};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};

/// Deliveries and how they went.
pub(crate) type Deliveries = Vec<(Outgoing, Result<Receipt, SendError>)>;

/// Answers of other hosts that come within this time of one another are judged together.
const TOGETHER: Duration = Duration::from_millis(200);

/// How long a pass waits for another one on the same state directory.
pub(crate) const PASS_PATIENCE: Duration = Duration::from_secs(120);

/// What a pass still waits for.
#[derive(Debug)]
pub(crate) struct Tail {
    ctx: Arc<Ctx>,
    pub(crate) channels: Arc<Vec<Channel>>,
    started: Option<JoinHandle<()>>,
    asking: Asking,
    room: Room,
    /// On their way while the pass still repairs: it records what arrives by then.
    ahead: JoinSet<Deliveries>,
    told: Deliveries,
    lanes: JoinSet<(Deliveries, Vec<Problem>)>,
}

impl Tail {
    /// Says to the heartbeat that a pass begins. Waits for nothing.
    pub(crate) fn begin(ctx: &Ctx, at_leisure: bool) -> Self {
        let ctx = Arc::new(ctx.clone());
        let started = ctx.config.heartbeat.is_some().then(|| tokio::spawn(start(ctx.clone())));
        Self {
            channels: Arc::new(ctx.channels()),
            started,
            asking: Asking::default(),
            room: Room::new(at_leisure),
            ahead: JoinSet::new(),
            told: Vec::new(),
            lanes: JoinSet::new(),
            ctx,
        }
    }

    /// Asks the other hosts whose turn it is, and marks them as asked.
    pub(crate) fn ask(&mut self, ledger: &mut Ledger, now: Moment) {
        self.asking = remotes::ask(&self.ctx, ledger, now);
    }

    /// Leases what each channel may be given now; of a pass it is given so much at most.
    pub(crate) fn lease(&mut self, ledger: &mut Ledger, now: Moment) -> Vec<Outgoing> {
        self.room.asking = !self.asking.over();
        deliver::due(&self.ctx, ledger, &self.channels, &mut self.room, now)
    }

    /// The same of these alerts alone, before the pass repairs what it can.
    pub(crate) fn lease_ahead(&mut self, ledger: &mut Ledger, alerts: &[Alert], now: Moment) -> Vec<Outgoing> {
        self.room.ahead = Some(alerts.iter().map(|alert| alert.id.clone()).collect());
        let leased = self.lease(ledger, now);
        self.room.ahead = None;
        leased
    }

    /// Lets it leave; the pass that still has the ledger is who records it.
    pub(crate) fn send_ahead(&mut self, leased: Vec<Outgoing>) {
        for lane in lanes(leased) {
            let (ctx, channels) = (self.ctx.clone(), self.channels.clone());
            let at_leisure = self.room.at_leisure;
            self.ahead
                .spawn(async move { send_leased(&ctx, &channels, lane, at_leisure).await });
        }
    }

    /// Records what of it has arrived by now.
    pub(crate) fn arrived(&mut self, ledger: &mut Ledger, now: Moment) {
        while let Some(told) = self.ahead.try_join_next() {
            let told = told.unwrap_or_default();
            deliver::record(ledger, &self.channels, &told, now);
            note_deliveries(&self.ctx, &told, now);
            self.told.extend(told);
        }
    }

    /// Lets what was leased leave, each channel by itself. What left ahead and has not arrived is recorded when it does.
    pub(crate) fn send(&mut self, leased: Vec<Outgoing>) {
        let mut late = std::mem::take(&mut self.ahead);
        if !late.is_empty() {
            let (ctx, channels) = (self.ctx.clone(), self.channels.clone());
            self.lanes.spawn(async move {
                let (mut all, mut problems) = (Vec::new(), Vec::new());
                while let Some(told) = late.join_next().await {
                    let told = told.unwrap_or_default();
                    record(&ctx, &channels, &told, &mut problems).await;
                    all.extend(told);
                }
                (all, problems)
            });
        }
        for lane in lanes(leased) {
            let (ctx, channels) = (self.ctx.clone(), self.channels.clone());
            let at_leisure = self.room.at_leisure;
            self.lanes.spawn(async move {
                let told = send_leased(&ctx, &channels, lane, at_leisure).await;
                let mut problems = Vec::new();
                record(&ctx, &channels, &told, &mut problems).await;
                (told, problems)
            });
        }
    }

    /// Waits for all of it. Returns what was delivered.
    pub(crate) async fn finish(&mut self, problems: &mut Vec<Problem>) -> Deliveries {
        let mut told = std::mem::take(&mut self.told);
        loop {
            tokio::select! {
                answers = self.asking.some(TOGETHER), if !self.asking.over() => {
                    let leased = self.hear(answers, problems).await;
                    self.send(leased);
                }
                Some(lane) = self.lanes.join_next(), if !self.lanes.is_empty() => {
                    if let Ok((delivered, trouble)) = lane {
                        told.extend(delivered);
                        problems.extend(trouble);
                    }
                }
                else => break,
            }
        }
        told
    }

    /// Remembers what other hosts said, and leases the alerts about it.
    async fn hear(&mut self, answers: Vec<remotes::Heard>, problems: &mut Vec<Problem>) -> Vec<Outgoing> {
        let ctx = &self.ctx.clone();
        let now = ctx.clock.now();
        let heard = change(ctx, |ledger| {
            remotes::note(ctx, ledger, answers, now);
            let here = ledger.alerts.values().map(|memory| &memory.last);
            let mut alerts: Vec<Alert> = here.filter(|alert| !alert.id.is_remote()).cloned().collect();
            alerts.extend(remotes::alerts(ctx, ledger, now));
            let noted = note::of_alerts(&ledger.alerts, &alerts, Rest::Over, ctx.here(now));
            deliver::queue(ctx, ledger, &self.channels, &alerts, now);
            (noted, self.lease(ledger, now))
        });
        match heard.await {
            Ok((noted, leased)) => {
                history::note(&ctx.state_dir, &noted);
                leased
            }
            Err(LockError::Io(error)) => {
                problems.push(unusable(ctx, "cannot be written", &error));
                Vec::new()
            }
            // asked again at the next pass
            Err(LockError::Busy(_)) => Vec::new(),
        }
    }

    /// Reports to the heartbeat how the pass went, and remembers whether that got through.
    pub(crate) async fn beat(mut self, report: impl FnOnce() -> String) {
        let ctx = self.ctx.clone();
        let Some(heartbeat) = &ctx.config.heartbeat else {
            return;
        };
        if let Some(started) = self.started.take() {
            let _ = started.await;
        }
        let report = report();
        let stage = match report.is_empty() {
            true => Stage::Success,
            false => Stage::Fail { report: &report },
        };
        let pinged = heartbeat.ping(stage, None, &send_ctx(&ctx)).await;
        if let Err(error) = &pinged {
            tracing::warn!("heartbeat: {error}");
        }
        remember(&ctx, &pinged).await;
    }
}

/// What each channel is given.
fn lanes(leased: Vec<Outgoing>) -> Vec<Vec<Outgoing>> {
    let mut lanes: Vec<Vec<Outgoing>> = Vec::new();
    for out in leased {
        match lanes.iter_mut().find(|lane| lane[0].channel == out.channel) {
            Some(lane) => lane.push(out),
            None => lanes.push(vec![out]),
        }
    }
    lanes
}

async fn start(ctx: Arc<Ctx>) {
    if let Some(heartbeat) = &ctx.config.heartbeat
        && let Err(error) = heartbeat.ping(Stage::Start, None, &send_ctx(&ctx)).await
    {
        tracing::warn!("heartbeat: {error}");
    }
}

pub(crate) fn send_ctx(ctx: &Ctx) -> SendCtx<'_> {
    SendCtx::new(&ctx.host, &ctx.http, ctx.clock.now())
}

async fn change<T>(ctx: &Ctx, change: impl FnOnce(&mut Ledger) -> T) -> Result<T, LockError> {
    ledger::change(&ctx.state_dir, ctx.clock.now(), PASS_PATIENCE, change).await
}

/// Remembers whether the heartbeat gets through; the ledger is written only if that has changed.
async fn remember(ctx: &Ctx, pinged: &Result<Receipt, SendError>) {
    let changed = change(ctx, |ledger| {
        ledger.heartbeat = after(ledger.heartbeat.take(), pinged, ctx.clock.now());
    });
    if let Err(error) = changed.await {
        tracing::debug!("{}: {error}", ctx.state_dir.display());
    }
}

fn after(before: Option<Trouble>, pinged: &Result<Receipt, SendError>, now: Moment) -> Option<Trouble> {
    let error = pinged.as_ref().err()?;
    let (since, failures) = before.map_or((now, 0), |trouble| (trouble.since, trouble.failures));
    Some(Trouble {
        since,
        failures: failures.saturating_add(1),
        refused: matches!(error, SendError::Permanent { .. }),
        why: error.why().to_owned(),
        mark: 0,
    })
}

/// What is said where the state directory cannot be used.
pub(crate) fn unusable(ctx: &Ctx, what: &str, error: &std::io::Error) -> Problem {
    let (dir, why) = (ctx.host.tilde(&ctx.state_dir), files::io_words(error));
    Problem::at(
        "state_dir",
        &ctx.state_dir,
        format!("the state directory `{dir}` {what}: {why}"),
        "make it writable, or name another with `--state-dir`",
    )
}

/// Sends what was leased, with no lock held.
pub(crate) async fn send_leased(
    ctx: &Ctx,
    channels: &[Channel],
    leased: Vec<Outgoing>,
    at_leisure: bool,
) -> Vec<(Outgoing, Result<Receipt, SendError>)> {
    let jobs: Vec<Job<'_>> = leased
        .iter()
        .enumerate()
        .filter_map(|(index, out)| {
            let channel = channels.iter().find(|channel| channel.name == out.channel)?;
            Some(Job {
                index,
                channel,
                event: &out.event,
                previous: out.told.handle.clone(),
                only: out.only.clone(),
            })
        })
        .collect();
    let with = match at_leisure {
        true => send_ctx(ctx).at_leisure(),
        false => send_ctx(ctx),
    };
    let results = crate::notify::send_all(jobs, &with).await;
    results
        .into_iter()
        .map(|(index, result)| (leased[index].clone(), result))
        .collect()
}

/// Writes down how deliveries went, in the ledger as it is by now.
pub(crate) async fn record(
    ctx: &Ctx,
    channels: &[Channel],
    told: &[(Outgoing, Result<Receipt, SendError>)],
    problems: &mut Vec<Problem>,
) {
    let now = ctx.clock.now();
    let saved = change(ctx, |ledger| deliver::record(ledger, channels, told, now)).await;
    if let Err(error) = saved {
        let why = error.of_pass(&ctx.host.tilde(&ctx.state_dir));
        problems.push(Problem::at(
            "state_dir",
            &ctx.state_dir,
            format!("what was told could not be recorded: {why}"),
            "free some space; the same event may be sent once more",
        ));
    }
    note_deliveries(ctx, told, now);
}

fn note_deliveries(ctx: &Ctx, told: &[(Outgoing, Result<Receipt, SendError>)], now: Moment) {
    for (out, result) in told {
        if let Err(error) = result {
            tracing::warn!(channel = %out.channel, event = %out.event.event_id, "not delivered: {error}");
        }
    }
    history::note(&ctx.state_dir, &note::of_deliveries(told, now));
}
