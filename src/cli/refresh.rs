//! `refresh`.

use super::{Fatal, Setup, block_on, run, say, unknown, until_signal};
use crate::layout::one_line;
use crate::outcome::{Asked, Done, Outcome, Report, What};
use crate::pass::{self, Scope};
use crate::report::Exit;
use clap::Args;
use std::fmt::Write;

#[derive(Args, Debug)]
pub(super) struct RefreshArgs {
    /// This login alone, by its id; or a grant that a store owns alone, as `family/agent#profile`
    #[arg(long, value_name = "ID")]
    login: Option<String>,
    /// Even if it failed just now, or its access token is still good; never where it could cost the login
    #[arg(long)]
    force: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn refresh(setup: &Setup, args: &RefreshArgs) -> Result<Exit, Fatal> {
    let ctx = setup.ctx(None)?;
    let asked = Asked {
        login: args.login.clone(),
        by_hand: true,
        force: args.force,
        ..Asked::default()
    };
    let rehearsal = || block_on(pass::rehearse_asked(&ctx, &asked));
    let report = match (args.dry_run, &args.login) {
        (true, _) => rehearsal()?,
        // a name that nobody has is said before anything is done
        (false, login) => {
            if let Some(id) = login {
                named(&rehearsal()?, id)?;
            }
            until_signal(pass::run_asked(&ctx, Scope::Refresh, &asked))?
        }
    };
    let mut out = run::story(&ctx, &report);
    for seen in &report.renewals {
        let whom = one_line(&seen.whom);
        let _ = match &seen.what {
            What::Renewed { expires, .. } => writeln!(out, "login {whom}: good until {}", ctx.when(*expires)),
            What::Not(why) => writeln!(out, "login {whom}: not renewed, {}", why.words(&|at| ctx.when(at))),
            What::Off => writeln!(out, "login {whom}: not renewed, `renew.mode` is `off`"),
            What::Would(_) | What::Failed(_) => Ok(()),
        };
    }
    if let Some(id) = &args.login {
        named(&report, id)?;
    }
    if out.is_empty() {
        out.push_str("there is no login to renew\n");
    }
    say(&out)?;
    let renewed = |done: &Done| !matches!(done.outcome, Outcome::NotRenewed(_));
    let fine = report.done.iter().all(renewed) && report.failures().next().is_none();
    Ok(if fine { Exit::Fine } else { Exit::Unknown })
}

/// Whether a login or grant has this name.
fn named(report: &Report, id: &str) -> Result<(), Fatal> {
    let logins = report.view.logins.iter().map(|login| login.id());
    let grants = report.renewals.iter().map(|seen| seen.whom.as_str());
    let mut ids: Vec<&str> = logins.chain(grants).collect();
    if ids.contains(&id) {
        return Ok(());
    }
    ids.sort_unstable();
    ids.dedup();
    Err(unknown("login", id, ids.into_iter()))
}
