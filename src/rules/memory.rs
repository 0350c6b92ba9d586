//! What is remembered between passes, as data: the ledger, how passes went, a line of the history.

use super::alert::{Ack, Alert, Silence, Told, Trouble};
use super::by_channel::ByChannel;
use super::lineage::{CopyMemory, LoginMemory};
use super::link::Link;
use super::login::{Healed, SetupToken};
use super::remote::RemoteMemory;
use super::renew::Record;
use crate::cause::Cause;
use crate::secret::Fingerprint;
use crate::types::{Event, Moment, Ms, Severity};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    pub(crate) schema: String,
    /// It stands in for one that could not be read and is still in its place: it is written over nothing.
    #[serde(skip)]
    pub(crate) stands_in: bool,
    /// By login id.
    #[serde(default)]
    pub(crate) logins: BTreeMap<String, LoginMemory>,
    /// What a login's file was a link to, by login id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) links: BTreeMap<String, PathBuf>,
    /// By `family/agent#profile`.
    #[serde(default)]
    pub(crate) copies: BTreeMap<String, CopyMemory>,
    /// Refresh tokens that the server refused for good.
    #[serde(default)]
    pub(crate) rejected: Vec<Fingerprint>,
    /// Refresh tokens that were used up, and until when each one's login could live.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) spent: BTreeMap<Fingerprint, Moment>,
    /// Logins that were brought up to date from an agent's copy, by login id, for as long as that is news.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) healed: BTreeMap<String, Healed>,
    /// Setup tokens by their fingerprint: nothing else on disk tells when they end.
    #[serde(default)]
    pub(crate) setup_tokens: BTreeMap<Fingerprint, SetupToken>,
    /// What is remembered of each alert. Boxed: a map that is read in order leaves half of its room empty.
    #[serde(default)]
    pub alerts: BTreeMap<Cause, Box<AlertMemory>>,
    /// By the remote's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) remotes: BTreeMap<String, RemoteMemory>,
    /// What is still to be delivered.
    #[serde(default)]
    pub outbox: Vec<Outgoing>,
    /// Channels that could not be told something, by name, until they can again.
    #[serde(default)]
    pub troubles: BTreeMap<String, Trouble>,
    /// The heartbeat's, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) heartbeat: Option<Trouble>,
    /// What nobody wants to hear of for a while.
    #[serde(default)]
    pub(crate) silences: Vec<Silence>,
    /// Renewals, by login id, or by `family/agent#profile` for a grant that a store owns alone.
    #[serde(default)]
    pub(crate) renewals: BTreeMap<String, Record>,
    /// OpenClaws whose agents refer to a login, by their state directory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) openclaw: BTreeMap<String, Link>,
    /// What fails at every pass, as the history last noted it, by what fails and for whom.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) stuck: BTreeMap<String, String>,
    /// Counts up, so that event ids differ within a millisecond.
    #[serde(default)]
    pub(crate) events: u64,
    /// What has been done since the ledger was begun.
    #[serde(default)]
    pub(crate) counts: Counts,
}

/// What has been done since the ledger was begun; counts up and never down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    /// Renewals of logins and of grants that stores own alone.
    pub(crate) renewed: u64,
    /// Renewals that were due and failed.
    pub(crate) not_renewed: u64,
    /// Stores brought up to date.
    pub(crate) stores_written: u64,
    /// Logins brought up to date from a newer copy.
    pub(crate) logins_healed: u64,
    /// Writes of stores and logins that failed.
    pub(crate) writes_failed: u64,
    /// Deliveries, by the channel's name.
    pub(crate) deliveries: BTreeMap<String, Deliveries>,
}

/// How often one channel was told something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Deliveries {
    /// It accepted the event.
    pub(crate) delivered: u64,
    /// It did not.
    pub(crate) failed: u64,
}

/// How whole passes went, in a small file of its own: the ledger is written only where something changed. A pass is good if it
/// could do its work and deliver its alerts, whatever it found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Passes {
    /// When the last one ended.
    pub(crate) last_at: Option<Moment>,
    /// How long it took, [`Ms`].
    pub(crate) last_took: Ms,
    /// When the last good one ended.
    pub(crate) last_good_at: Option<Moment>,
    /// How many were good. Two that end in the same moment may count as one.
    pub(crate) good: u64,
    /// How many were not.
    pub(crate) bad: u64,
    /// Which version made the last one; 0.2.0 and earlier did not write that down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// The last upgrade.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upgrade: Option<Upgrade>,
}

/// That a newer version took over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Upgrade {
    /// Which version made passes before, where that is known.
    pub(crate) from: Option<String>,
    /// Which does since.
    pub(crate) to: String,
    /// Since when.
    pub(crate) at: Moment,
}

/// A version's numbers; `None` for what is no version.
pub(crate) fn release(version: &str) -> Option<[u32; 3]> {
    let numbers = version.split(['-', '+']).next()?;
    let numbers: Vec<u32> = numbers
        .split('.')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    numbers.try_into().ok()
}

impl Passes {
    /// Notes which version makes the next one. Going back to an older one is no upgrade, and what the newer one brought is gone.
    pub(crate) fn made_by(&mut self, version: &str, now: Moment) {
        if self.version.as_deref() == Some(version) {
            return;
        }
        let before = self.version.replace(version.to_owned());
        let newer = release(version) > before.as_deref().and_then(release);
        self.upgrade = (newer && self.last_at.is_some()).then(|| Upgrade {
            from: before,
            to: version.to_owned(),
            at: now,
        });
    }

    /// Notes one more.
    pub(crate) fn note(&mut self, good: bool, now: Moment, took: Ms) {
        self.last_at = Some(now);
        self.last_took = took;
        if good {
            self.last_good_at = Some(now);
            self.good += 1;
        } else {
            self.bad += 1;
        }
    }
}

/// What is remembered of an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlertMemory {
    /// When it was first seen.
    pub(crate) since: Moment,
    /// How it was last seen, to word its recovery.
    pub(crate) last: Alert,
    /// What each channel was told last.
    #[serde(default)]
    pub(crate) channels: ByChannel,
    /// What each channel may have been told beside that.
    #[serde(default, skip_serializing_if = "ByChannel::is_empty")]
    pub(crate) unsure: ByChannel<Unsure>,
    /// That somebody knows of it.
    pub(crate) ack: Option<Ack>,
}

impl AlertMemory {
    /// Since when it has been so: since it happened, where that is known, else since it was first seen.
    pub(crate) fn begun(&self, now: Moment) -> Moment {
        self.last.begun(self.since, now)
    }

    /// A message that says so may reach this channel until then.
    pub(crate) fn sent(&mut self, channel: &str, until: Moment) {
        let before = self.unsure.get(channel).copied().unwrap_or_default();
        let unsure = Unsure {
            messages: before.messages + 1,
            until: before.until.max(until),
            ..before
        };
        self.unsure.insert(channel, unsure);
    }

    /// How one of these messages went is known.
    pub(crate) fn known(&mut self, channel: &str) {
        let Some(mut unsure) = self.unsure.get(channel).copied() else {
            return;
        };
        unsure.messages = unsure.messages.saturating_sub(1);
        match unsure.messages > 0 || unsure.open {
            true => self.unsure.insert(channel, unsure),
            false => self.unsure.remove(channel),
        }
    }
}

/// What a channel may have been told beside what is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Unsure {
    /// So many messages are under way, or nobody knows how they went.
    pub(crate) messages: usize,
    /// None of them arrives after this.
    pub(crate) until: Moment,
    /// It was told of the same before, and perhaps not of its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) open: bool,
}

/// An event on its way to one channel. It stays until the channel accepted it, refused it for good, or it is too old.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outgoing {
    /// The channel's name.
    pub channel: String,
    /// What is sent.
    pub event: Event,
    /// What will be remembered once it was delivered.
    pub told: Told,
    /// When it was decided.
    pub(crate) queued_at: Moment,
    /// How often it was tried.
    pub(crate) attempts: u32,
    /// When it was tried last.
    #[serde(default)]
    pub(crate) tried_at: Moment,
    /// Not to be tried before.
    pub(crate) next_at: Moment,
    /// Why the last try failed; no secrets.
    pub(crate) last_error: Option<String>,
    /// Of a recovery: how many messages may have told what it ends, where none did for certain; 0 where one did.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) unsure: usize,
    /// That it is sent only as part of a digest: there were too many at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) brief: bool,
    /// The recipients that are left; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) only: Vec<String>,
    /// The events that this one is the digest of; never in the ledger itself.
    #[serde(skip)]
    pub(crate) covers: Vec<String>,
}

/// A line of the history. Other programs read it: keys are never taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// When it was noted.
    pub(crate) at: Moment,
    /// What, a word; another one was written by another version.
    pub(crate) what: Cow<'static, str>,
    /// Whom: a login id, an agent's label, a channel, an alert id.
    #[serde(default)]
    pub(crate) whom: String,
    /// In words.
    #[serde(default)]
    pub(crate) text: String,
    /// The login concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) login: Option<String>,
    /// The agents concerned, 12 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) agents: Vec<String>,
    /// How many agents more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) more: usize,
    /// The channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) channel: Option<String>,
    /// The alert's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) alert: Option<String>,
    /// The event's id, as the channel was sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<String>,
    /// A reason or a problem's kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// How loud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) severity: Option<Severity>,
    /// Since when that lasted which is over now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Moment>,
    /// Until when it is good now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Moment>,
    /// What the receiver said, or why it was not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_later_release_than_the_one_before_is_an_upgrade() {
        const NOW: Moment = Moment::at(1_769_000_000_000);
        for (before, version, passed, upgraded) in [
            (Some("0.1.9"), "0.2.0", true, true),
            (Some("0.1.9"), "0.2.0", false, false),
            (None, "0.2.0", true, true),
            (Some("0.2.0"), "0.2.0", true, false),
            (Some("0.2.0"), "0.2.0-rc.1", true, false),
            (Some("0.2.0"), "0.1.9", true, false),
            (Some("0.2.0"), "0.2", true, false),
            (Some("0.2"), "0.2.0", true, true),
        ] {
            let mut passes = Passes {
                version: before.map(str::to_owned),
                last_at: passed.then_some(NOW - 1),
                ..Passes::default()
            };
            passes.made_by(version, NOW);
            let wanted = upgraded.then(|| Upgrade {
                from: before.map(str::to_owned),
                to: version.to_owned(),
                at: NOW,
            });
            assert_eq!(passes.upgrade, wanted, "{before:?} {version}");
            assert_eq!(passes.version.as_deref(), Some(version));
        }
    }

    #[test]
    fn how_many_more_is_said_where_there_are_any() {
        for (more, said) in [(0, false), (3, true)] {
            let entry = Entry {
                more,
                ..Entry::default()
            };
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(text.contains(r#""more":3"#), said, "{text}");
            assert_eq!(text.contains("more"), said, "{text}");
        }
    }
}
