//! Who has heard of what fires, and who would: the channels and the ledger, asked by `rules/heard`.

use crate::cause::Cause;
use crate::ctx::Ctx;
use crate::deliver;
use crate::notify::{Channel, ChannelKind, desktop};
use crate::rules::alert::{self, Alert};
use crate::rules::by_channel::ByChannel;
use crate::rules::heard::{self, HoldsBack, Known, Reach, Standing, Taker, UNHEARD, Unheard};
use crate::rules::memory::Ledger;
use crate::types::{Moment, Problem, Severity};
use std::collections::BTreeMap;

/// The channels whose filters let this alert through.
pub(crate) fn takers(ctx: &Ctx, channels: &[Channel], alert: &Alert, now: Moment) -> Vec<Taker> {
    let minute = ctx.minute_of_day(now);
    let takes = |channel: &&Channel| alert.id != Cause::Channel(channel.name.clone()) && channel.takes(alert);
    let taker = |channel: &Channel| {
        let quiet = channel.quiet_hours.is_some_and(|hours| hours.contains(minute));
        Taker {
            name: channel.name.clone(),
            reach: match channel.kind {
                ChannelKind::Log(_) => Reach::Log,
                _ => Reach::People,
            },
            holds_back: match quiet && alert.severity < Severity::Critical {
                true => HoldsBack::Quiet,
                false => HoldsBack::No,
            },
        }
    };
    channels.iter().filter(takes).map(taker).collect()
}

/// How an alert stands by what the ledger knows of it.
pub(crate) fn standing(ctx: &Ctx, ledger: &Ledger, channels: &[Channel], alert: &Alert, now: Moment) -> Standing {
    let nothing = ByChannel::default();
    let memory = ledger.alerts.get(&alert.id);
    let ack = memory.and_then(|memory| memory.ack.as_ref());
    let known = Known {
        told: memory.map_or(&nothing, |memory| &memory.channels),
        mute: alert::mute(alert, ack, &ledger.silences, now),
        since: memory.map_or(now, |memory| memory.since),
    };
    heard::standing(alert, known, &takers(ctx, channels, alert, now), now)
}

/// The alerts of which nobody has heard, as problems.
pub(crate) fn unheard<'a>(
    ctx: &Ctx,
    ledger: &Ledger,
    alerts: impl IntoIterator<Item = &'a Alert>,
    now: Moment,
) -> Vec<Problem> {
    let channels = ctx.channels();
    let mut by_why: BTreeMap<Unheard, Vec<&Alert>> = BTreeMap::new();
    for alert in alerts {
        if let Standing::Unheard(why) = standing(ctx, ledger, &channels, alert, now) {
            by_why.entry(why).or_default().push(alert);
        }
    }
    by_why
        .into_iter()
        .map(|(why, alerts)| problem(ledger, &alerts, why))
        .collect()
}

/// That no alert would reach a person, whatever happens: there is the log alone, or a desktop that shows nothing.
pub(crate) fn nobody(ctx: &Ctx) -> Option<Problem> {
    let mut why = Vec::new();
    for channel in ctx.channels() {
        match channel.kind {
            ChannelKind::Log(_) => why.push("there is only the log".to_owned()),
            ChannelKind::Desktop(_) => why.push(desktop::shows(&ctx.host).err()?),
            _ => return None,
        }
    }
    Some(Problem {
        kind: "nobody_alerted",
        path: None,
        message: format!("nobody would be alerted: {}", why.join("; ")),
        hint: "add a channel that reaches you (`ntfy`, `email`, `telegram` …), see `nolapse config init --stdout`"
            .into(),
    })
}

/// Where alerts go, for a person: each channel's name with its type.
pub(crate) fn whom(channels: &[Channel]) -> String {
    let shown = |channel: &Channel| match channel.name == channel.kind.word() {
        true => channel.name.clone(),
        false => format!("{} ({})", channel.name, channel.kind.word()),
    };
    channels.iter().map(shown).collect::<Vec<_>>().join(", ")
}

fn problem(ledger: &Ledger, alerts: &[&Alert], why: Unheard) -> Problem {
    let last_error = || {
        let ours = |id: &Cause| alerts.iter().any(|alert| alert.id == *id);
        let tried = ledger.outbox.iter().filter(|out| ours(&out.event.alert_id));
        let mut errors = tried.filter_map(|out| Some(format!("; {}: {}", out.channel, out.last_error.as_ref()?)));
        errors.next().unwrap_or_default()
    };
    let whom = match alerts {
        [one] => format!("`{}` fires", one.id),
        [one, rest @ ..] => format!("`{}` and {} more fire", one.id, rest.len()),
        [] => String::new(),
    };
    let (message, hint) = match why {
        Unheard::NoTaker => (
            format!("{whom} and no channel takes it"),
            "widen `logins`, `agents` or `min_severity` of a channel, see `nolapse config path`",
        ),
        Unheard::LogAlone => (
            format!("{whom} and nobody is notified: only the log has it"),
            "add a channel that reaches you, see `nolapse config path`",
        ),
        Unheard::Undelivered => (
            format!("{whom} and nobody has been reached yet{}", last_error()),
            "see `nolapse alert list`; try again with `nolapse alert retry`",
        ),
    };
    Problem {
        kind: UNHEARD,
        path: None,
        message,
        hint: hint.to_owned(),
    }
}

/// What would be sent now, as channel and title, if these alerts were all that fires. The ledger is a copy and is thrown away.
pub(crate) fn would_send(ctx: &Ctx, mut ledger: Ledger, alerts: &[Alert], now: Moment) -> Vec<(String, String)> {
    let channels = ctx.channels();
    deliver::queue(ctx, &mut ledger, &channels, alerts, now);
    let due = deliver::due(ctx, &mut ledger, &channels, &mut deliver::Room::default(), now);
    due.into_iter().map(|out| (out.channel, out.event.title)).collect()
}

/// Of which of these alerts nobody would hear, whatever is delivered, and why.
pub(crate) fn would_miss(ctx: &Ctx, ledger: &Ledger, alerts: &[Alert], now: Moment) -> Vec<(String, &'static str)> {
    let channels = ctx.channels();
    let missed = |alert: &Alert| match standing(ctx, ledger, &channels, alert, now) {
        Standing::Unheard(Unheard::NoTaker) => Some((alert.id.to_string(), NO_TAKER)),
        Standing::Unheard(Unheard::LogAlone) => Some((alert.id.to_string(), LOG_ALONE)),
        _ => None,
    };
    alerts.iter().filter_map(missed).collect()
}

/// How an alert stands, in a few words.
pub(crate) fn standing_words(standing: &Standing) -> &'static str {
    match standing {
        Standing::Unheard(Unheard::NoTaker) => NO_TAKER,
        Standing::Unheard(Unheard::LogAlone) => LOG_ALONE,
        Standing::Unheard(Unheard::Undelivered) => "it has reached nobody yet",
        Standing::Quiet => "quiet hours hold it back",
        Standing::Heard(_) | Standing::Muted(_) | Standing::Mild => "",
    }
}

const NO_TAKER: &str = "this alert fires and no channel takes it";
const LOG_ALONE: &str = "only the log has it";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::testing::channels;
    use crate::types::Severity::{Critical, Warning};

    const NOW: Moment = Moment::at(1_769_000_000_000);

    fn ctx(text: &str) -> Ctx {
        let mut ctx = crate::act::tests::ctx(std::path::Path::new("/h"));
        ctx.config.channels = channels(text).unwrap();
        ctx
    }

    fn channel(kind: &str, more: &str) -> String {
        format!("[[channel]]\ntype = \"{kind}\"\n{more}\n")
    }

    const PHONE: &str = "name = \"phone\"\ncommand = [\"true\"]";

    fn alert(id: &str, severity: Severity) -> Alert {
        Alert {
            lapsed: true,
            ..Alert::new(id, "login_ended", severity)
        }
    }

    #[test]
    fn who_takes_an_alert_and_when() {
        let minute = ctx("").minute_of_day(NOW);
        let at = |minute: u16| format!("{:02}:{:02}", minute % 1440 / 60, minute % 60);
        let quiet = format!("quiet_hours = \"{}-{}\"", at(minute), at(minute + 60));
        let text = channel("log", "") + &channel("command", &format!("{PHONE}\n{quiet}"));
        let ctx = ctx(&text);
        let log = || ("log".to_owned(), Reach::Log, HoldsBack::No);
        let phone = |holds_back| ("phone".to_owned(), Reach::People, holds_back);
        for (alert, wanted) in [
            (alert("login:claude", Critical), vec![log(), phone(HoldsBack::No)]),
            (alert("login:claude", Warning), vec![log(), phone(HoldsBack::Quiet)]),
            (alert("login:claude", Severity::Info), vec![]),
            // that it fails is no news by itself
            (alert("channel:phone", Critical), vec![log()]),
            (alert("channel:other", Critical), vec![log(), phone(HoldsBack::No)]),
        ] {
            let takers = takers(&ctx, &ctx.channels(), &alert, NOW);
            let got: Vec<_> = takers
                .into_iter()
                .map(|one| (one.name, one.reach, one.holds_back))
                .collect();
            assert_eq!(got, wanted, "{} {:?}", alert.id, alert.severity);
        }
        assert_eq!(whom(&ctx.channels()), "log, phone (command)");
    }

    #[test]
    fn of_what_nobody_hears_is_said_with_the_cause() {
        let (log, phone) = (channel("log", ""), channel("command", PHONE));
        let choosy = channel("command", &format!("{PHONE}\nlogins = [\"other\"]"));
        let alerts = [alert("login:claude", Critical), alert("login:b", Critical)];
        for (text, nobody_at_all, missed, why) in [
            (log.clone(), true, Some(LOG_ALONE), "only the log has it"),
            (phone.clone(), false, None, "nobody has been reached yet; phone: 503"),
            (choosy, false, Some(NO_TAKER), "no channel takes it"),
            (log + &phone, false, None, "nobody has been reached yet; phone: 503"),
        ] {
            let ctx = ctx(&text);
            assert_eq!(nobody(&ctx).is_some(), nobody_at_all, "{text}");
            let mut ledger = Ledger::default();
            let of = |ledger: &Ledger| would_miss(&ctx, ledger, &alerts, NOW);
            let wanted = missed.map(|why| ["login:claude", "login:b"].map(|id| (id.to_owned(), why)));
            assert_eq!(of(&ledger), Vec::from_iter(wanted.into_iter().flatten()));
            deliver::queue(&ctx, &mut ledger, &ctx.channels(), &alerts, NOW);
            for (out, error) in ledger
                .outbox
                .iter_mut()
                .zip([None, None, Some("503"), Some("503")].into_iter().rev())
            {
                out.last_error = error.filter(|_| out.channel == "phone").map(str::to_owned);
            }
            let said = unheard(&ctx, &ledger, &alerts, NOW);
            assert_eq!(said.len(), 1, "{said:?}");
            let message = &said[0].message;
            assert!(
                message.starts_with("`login:claude` and 1 more fire") && message.ends_with(why),
                "{message}"
            );
            // what failed of another alert is none of its business
            ledger
                .outbox
                .iter_mut()
                .for_each(|out| out.event.alert_id = "login:x".into());
            let said = unheard(&ctx, &ledger, &alerts[..1], NOW);
            assert!(
                said[0].message.starts_with("`login:claude` fires") && !said[0].message.contains("503"),
                "{said:?}"
            );
        }
    }
}
