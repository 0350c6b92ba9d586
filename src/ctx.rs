//! What a pass works with: the host, the clock, the configuration, the state directory.

use crate::config::Config;
use crate::edge::host::local;
pub(crate) use crate::edge::host::{Clock, Host};
use crate::edge::http::Http;
use crate::notify::{self, Channel};
use crate::rules::wording::Here;
use crate::types::Moment;
use std::path::PathBuf;

impl Ctx {
    /// The channels to tell: the configured ones, else what the host has.
    pub(crate) fn channels(&self) -> Vec<Channel> {
        match self.config.channels.is_empty() {
            true => notify::default_channels(&self.host),
            false => self.config.channels.clone(),
        }
    }

    /// A moment in the user's time zone, `Sun 22 Nov 21:03`.
    pub(crate) fn when(&self, at: Moment) -> String {
        when(at)
    }

    /// What an alert is worded by.
    pub(crate) fn here(&self, now: Moment) -> Here<'_> {
        Here {
            host: &self.host.name,
            now,
            when,
        }
    }

    /// The user's day of a moment, `Sunday 22 November 2026`.
    pub(crate) fn day(&self, at: Moment) -> String {
        local(at).map_or_else(String::new, |time| {
            time.format("%A %e %B %Y").to_string().replace("  ", " ")
        })
    }

    /// The user's date, `22 Nov`.
    pub(crate) fn date(&self, at: Moment) -> String {
        local(at).map_or_else(String::new, |time| time.format("%-d %b").to_string())
    }

    /// The user's time of day, `21:03`.
    pub(crate) fn time(&self, at: Moment) -> String {
        local(at).map_or_else(|| "--:--".into(), |time| time.format("%H:%M").to_string())
    }

    /// The minute of the user's day, 0..1440.
    pub(crate) fn minute_of_day(&self, at: Moment) -> u16 {
        use chrono::Timelike;
        local(at).map_or(0, |time| (time.hour() * 60 + time.minute()) as u16)
    }
}

/// Everything a pass needs.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// The machine and user.
    pub host: Host,
    /// The time.
    pub clock: Clock,
    /// The policy.
    pub config: Config,
    /// Where the ledger, history and rescued tokens live.
    pub state_dir: PathBuf,
    /// The HTTP client, built when it is first used.
    pub http: Http,
}

fn when(at: Moment) -> String {
    match local(at) {
        Some(time) => time.format("%a %e %b %Y %H:%M").to_string().replace("  ", " "),
        None => format!("{at} ms"),
    }
}
