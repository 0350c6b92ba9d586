//! The page for Prometheus: from a look by hand, after a pass into a file, or from the daemon's listener.

use crate::ctx::Ctx;
use crate::edge::files;
use crate::judge;
use crate::notify::Channel;
use crate::outcome::Report;

use crate::report;
use crate::rules::memory::{Ledger, Passes};
use crate::rules::metrics::{self, Facts};
use crate::rules::view::View;
use crate::types::Problem;
use std::path::Path;

/// Other users' collectors read it.
const MODE: u32 = 0o644;

/// The page of this view. `problems` are those beside the view's own.
pub(crate) fn page(ctx: &Ctx, view: &View, ledger: &Ledger, passes: &Passes, problems: &[&Problem]) -> String {
    let alerts = judge::firing(ctx, view, ledger, view.now);
    let channels = ctx.channels();
    let channels: Vec<&str> = channels.iter().map(|channel: &Channel| channel.name.as_str()).collect();
    let remotes: Vec<&str> = ctx.config.remotes.iter().map(|remote| remote.name.as_str()).collect();
    metrics::text(&Facts {
        version: env!("CARGO_PKG_VERSION"),
        view,
        ledger,
        passes,
        alerts: &alerts,
        problems,
        channels: &channels,
        remotes: &remotes,
        exit: report::exit_with(report::exit(ctx, view), &alerts).code(),
    })
}

/// The page of a pass.
pub(crate) fn of_pass(ctx: &Ctx, report: &Report, ledger: &Ledger, passes: &Passes) -> String {
    let problems: Vec<&Problem> = report.failures().collect();
    page(ctx, &report.view, ledger, passes, &problems)
}

/// Puts a page where a collector reads it, in one step.
///
/// # Errors
/// Why it could not be written.
pub(crate) fn publish(ctx: &Ctx, path: &Path, page: &str) -> Result<(), Problem> {
    files::publish(path, page.as_bytes(), MODE).map_err(|error| {
        let here = ctx.host.tilde(path);
        Problem::at(
            "metrics_not_written",
            path,
            format!("the metrics were not written to `{here}`: {}", files::io_words(&error)),
            "make its directory writable for the user who runs nolapse, or name another file",
        )
    })
}
