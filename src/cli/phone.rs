//! `nolapse phone`: what the notifications and widgets of a phone start (Termux). Nothing here has a terminal: what there is to say is
//! said in a notification.

use super::{Fatal, Setup, block_on, reauth, usage};
use crate::ctx::Ctx;
use crate::edge::files;
use crate::edge::host::Host;
use crate::edge::subprocess::{self, Spec, Status};
use crate::edge::terminal::{Input, Line};
use crate::edge::termux::{self, Failure};
use crate::notify::termux::{LOUD, show};
use crate::phone::{SignIn, Stage};
use crate::report::Exit;
use crate::rules::text::{self, Count};
use crate::rules::wording::quote;
use crate::secret::Secret;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Subcommand, Debug)]
pub(super) enum PhoneCommand {
    /// Sign in by a notification: open the page, paste the code
    SignIn(Which),
    /// Open a terminal with the sign-in in it, on another host by `ssh`
    Terminal(Which),
    /// Take the code that was pasted into the notification, on stdin
    Code {
        /// The login
        #[arg(long, value_name = "ID")]
        login: String,
    },
    /// Say in a notification how everything fares
    Status,
}

#[derive(Args, Debug)]
pub(super) struct Which {
    /// The alert whose notification is replaced
    #[arg(long, value_name = "ID", default_value = "sign-in")]
    alert: String,
    /// The login
    #[arg(long, value_name = "ID", default_value = "claude")]
    login: String,
}

/// Makes up for what Android leaves out of the environment, and names the phone by its model where its name is `localhost`.
pub(super) fn settle_in(host: &mut Host) -> Result<(), Fatal> {
    if host.var_nonblank("LD_PRELOAD").is_none()
        && let Some(library) = termux::exec_library(host)
    {
        host.env.insert("LD_PRELOAD".into(), library.display().to_string());
    }
    if host.name == "localhost"
        && let Some(model) = block_on(termux::model(host))?
    {
        host.name = model;
    }
    Ok(())
}

pub(super) fn phone(setup: &Setup, command: &PhoneCommand) -> Result<Exit, Fatal> {
    match command {
        PhoneCommand::Code { login } => code(setup, login),
        PhoneCommand::Terminal(which) => {
            let ctx = setup.ctx(None)?;
            block_on(terminal(&ctx, which))?
        }
        PhoneCommand::SignIn(which) => {
            let ctx = setup.ctx(None)?;
            match remote(&ctx, which) {
                // what is the matter on another host is put right there
                Some(_) => block_on(terminal(&ctx, which))?,
                None => reauth::by_notification(&ctx, &SignIn::new(&ctx.host, &which.alert, &which.login)),
            }
        }
        PhoneCommand::Status => status(setup),
    }
}

/// The command that signs in on the host whose alert this is.
fn remote(ctx: &Ctx, which: &Which) -> Option<Vec<String>> {
    let remote = ctx
        .config
        .remotes
        .iter()
        .filter(|remote| which.alert.starts_with(&format!("remote:{}:", remote.name)))
        .max_by_key(|remote| remote.name.len())?;
    let program = remote.command.split_whitespace().next().unwrap_or("nolapse");
    let line = format!("{program} reauth --login={}", quote(&which.login));
    Some(["-t", "--", &remote.ssh, &line].map(String::from).into())
}

async fn terminal(ctx: &Ctx, which: &Which) -> Result<Exit, Fatal> {
    let host = &ctx.host;
    let (program, args) = match remote(ctx, which) {
        Some(args) => (termux::tool(host, "ssh"), args),
        None => {
            let (program, options) = host
                .own
                .split_first()
                .map_or(("nolapse", &[][..]), |(a, b)| (a.as_str(), b));
            let words = ["reauth".to_owned(), format!("--login={}", which.login)];
            (PathBuf::from(program), options.iter().cloned().chain(words).collect())
        }
    };
    let am = termux::tool(host, "am");
    let opened = async {
        termux::call(host, &am, &termux::terminal(&program, &args)).await?;
        // its session waits, not yet started, until Termux is in front; right after a tap it may be brought there
        tokio::time::sleep(Duration::from_secs(1)).await;
        termux::call(host, &am, &termux::front()).await
    };
    match opened.await {
        Ok(_) => Ok(Exit::Fine),
        Err(Failure::Missing(name)) => Err(usage(
            format!("`{name}` is not here, so no terminal can be opened"),
            format!("run this yourself: nolapse login --login {}", quote(&which.login)),
        )),
        Err(Failure::Failed(why)) => Err(usage(why, "open Termux and sign in there")),
    }
}

/// Where sign-ins by notification meet, in the state directory.
pub(super) const SIGN_INS: &str = "sign-in";

/// Where the code of a sign-in is put for the process that waits for it.
pub(super) fn code_dir(state_dir: &Path, login: &str) -> PathBuf {
    let of_login = Secret::new(login).fingerprint().to_string();
    state_dir.join(SIGN_INS).join(of_login)
}

/// The file with the code in [`code_dir`].
pub(super) const CODE: &str = "code";

fn code(setup: &Setup, login: &str) -> Result<Exit, Fatal> {
    let line = block_on(async {
        let mut input = Input::open()?;
        tokio::time::timeout(Duration::from_secs(5), input.line())
            .await
            .map_err(std::io::Error::other)
    })??;
    let code = match &line {
        Line::Text(reply) => crate::phone::code(reply.expose()),
        Line::Closed | Line::Interrupted => None,
    };
    let dir = code_dir(&setup.state_dir, login);
    if !files::is_dir(&dir) {
        return Err(usage(
            "no sign-in waits for a code",
            "start it again from the alert, or with `nolapse phone sign-in`",
        ));
    }
    // what is no code is said by the process that waits, in its notification
    let text = code.as_ref().map_or("no code", Secret::expose);
    files::publish(&dir.join(CODE), format!("{text}\n").as_bytes(), 0o600)?;
    Ok(if code.is_some() { Exit::Fine } else { Exit::Unknown })
}

/// The widget: one line a person sees without opening anything.
fn status(setup: &Setup) -> Result<Exit, Fatal> {
    let ctx = setup.ctx(None)?;
    // what a person would get at a prompt, word for word
    let (program, options) = ctx
        .host
        .own
        .split_first()
        .map_or(("nolapse", &[][..]), |(a, b)| (a.as_str(), b));
    let spec = Spec {
        args: options.iter().map(Into::into).chain(["check".into()]).collect(),
        env: ctx.host.child([]),
        timeout: Duration::from_secs(60),
        ..Spec::new(program)
    };
    let output = block_on(subprocess::run(spec))??;
    let (title, icon, exit) = match output.status {
        Status::Exit(0) => ("Claude logins: all fine", "check_circle", Exit::Fine),
        Status::Exit(1) => ("Claude logins: one needs you", "error", Exit::Lapsed),
        Status::Exit(2) => ("Claude logins: one ends soon", "warning", Exit::Expiring),
        _ => ("Claude logins: could not be checked", "error", Exit::Unknown),
    };
    let said = [output.stdout, output.stderr].concat();
    let content = text::clip(String::from_utf8_lossy(&said).trim(), 900, Count::Chars, text::as_is);
    let mut args: Vec<String> = ["-t", title, "-c", &content, "--id", "nolapse-status"]
        .map(String::from)
        .into();
    args.extend(["--priority", "high", "--icon", icon].map(String::from));
    block_on(show(&ctx.host, LOUD, args))?
        .map_err(|error| usage(error.to_string(), "run `nolapse status` in Termux"))?;
    Ok(exit)
}

/// A notification's stage, shown; that it could not be is logged.
pub(super) async fn say(host: &Host, sign_in: &SignIn, stage: &Stage) {
    if let Err(error) = show(host, LOUD, sign_in.notification(host, stage)).await {
        tracing::warn!("{error}");
    }
}
