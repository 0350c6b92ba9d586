//! `metrics`.

use super::{Fatal, Setup, parse_time, print, usage};
use crate::report::Exit;
use crate::types::{Moment, Problem};
use crate::{deliver, ledger, look, metrics};
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(super) struct MetricsArgs {
    /// Put them into this file in one step (mode 644), and print nothing
    #[arg(long, value_name = "PATH")]
    textfile: Option<PathBuf>,
    /// Judge as of another time: milliseconds since 1970, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Moment>,
}

pub(super) fn metrics(setup: &Setup, args: &MetricsArgs) -> Result<Exit, Fatal> {
    let ctx = setup.ctx(args.at)?;
    let loaded = ledger::load(&ctx.state_dir);
    let view = look::look(&ctx, &loaded.ledger);
    let mut problems: Vec<Problem> = loaded.problem.into_iter().collect();
    problems.extend(deliver::failing(&loaded.ledger));
    let problems: Vec<&Problem> = problems.iter().collect();
    let passes = ledger::passes(&ctx.state_dir);
    let page = metrics::page(&ctx, &view, &loaded.ledger, &passes, &problems);
    match &args.textfile {
        Some(path) => metrics::publish(&ctx, &ctx.host.cwd.join(path), &page)
            .map_err(|problem| usage(problem.message, problem.hint))?,
        None => print(&page)?,
    }
    Ok(Exit::Fine)
}
