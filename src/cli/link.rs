//! `nolapse link` and `nolapse unlink`: OpenClaw's agents refer to a login instead of holding a copy of its token.

use super::{Fatal, Setup, agents_named, examples, print, say, until_signal, usage};
use crate::ctx::Ctx;
use crate::edge::{files, progress, terminal};
use crate::layout::one_line;
use crate::link::{self, Wanted};
use crate::look::{self, RETIRED_ID};
use crate::report::Exit;
use crate::rules::agent::{Generation, StateDir};
use crate::rules::login::{FILE_NAME, Source};
use crate::rules::openclaw::{self as commands, Way};
use crate::rules::view::{self, AgentView, LoginView, View};
use crate::types::{Family, Meta};
use crate::{ledger, openclaw};
use clap::{Args, Subcommand};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

#[derive(Subcommand, Debug)]
pub(super) enum LinkCommand {
    /// Let OpenClaw's agents use a login by reference, and tell the gateway of each new token
    #[command(after_help = examples::LINK)]
    Openclaw(LinkArgs),
}

#[derive(Subcommand, Debug)]
pub(super) enum UnlinkCommand {
    /// Take away what `link openclaw` made, and nothing else
    #[command(after_help = examples::UNLINK)]
    Openclaw(UnlinkArgs),
}

#[derive(Args, Debug)]
pub(super) struct LinkArgs {
    /// Of these agents: openclaw/ID, with `*` and `?` [default: all of OpenClaw's]
    #[arg(long = "agent", value_name = "AGENT")]
    agents: Vec<glob::Pattern>,
    /// The profile id
    #[arg(long, value_name = "ID", default_value = "anthropic:nolapse")]
    id: String,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Args, Debug)]
pub(super) struct UnlinkArgs {
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

const CONFIRM: &str = "confirm with `--yes`";

const CHOICES: &str = "\
OpenClaw can use your Claude login in three ways:
  1. The Claude CLI runtime: agents run `claude`, which uses and renews its own login. OpenClaw recommends it for subscriptions, and \
there is nothing to link. To choose it, run:
openclaw config set 'agents.defaults.models[\"anthropic/claude-opus-5\"].agentRuntime.id' claude-cli
  2. A one-year setup token, which Anthropic makes for this purpose: `nolapse login --setup-token`
  3. A reference to the login's access token (this command). OpenClaw's documentation prefers the first way for OAuth logins; check \
whether Anthropic allows this one for your plan.
";

pub(super) fn link(setup: &Setup, LinkCommand::Openclaw(args): &LinkCommand) -> Result<Exit, Fatal> {
    let ctx = setup.ctx(None)?;
    let ledger = ledger::load(&ctx.state_dir).ledger;
    let view = look::look(&ctx, &ledger);
    crate::by_hand::check_id(&args.id, "anthropic").map_err(|why| usage(why, "write `anthropic:NAME`"))?;
    if args.id == RETIRED_ID {
        return Err(usage(
            format!("OpenClaw refuses profiles named `{RETIRED_ID}`"),
            "give another id with `--id`",
        ));
    }
    let wanted = wanted(&ctx, &view, args)?;
    let (program, version) = openclaw::program(&ctx).map_err(|why| usage(why, "see `nolapse doctor`"))?;
    let mut out = CHOICES.to_owned();
    let state_dir = &view.state_dirs[wanted.state_dir];
    let _ = writeln!(
        out,
        "\nThe plan, which {} applies:\n  {} of {} get a profile {} that refers to {}\n  its config gets an entry `{}` in `secrets.providers`",
        ctx.host.tilde(&program.path),
        one_line(&wanted.agents.join(", ")),
        one_line(&ctx.host.tilde(&state_dir.dir)),
        wanted.id,
        one_line(&wanted.to(&ctx)),
        commands::SOURCE
    );
    if let Some(why) = commands::unlinkable(version) {
        let hint = "use the Claude CLI runtime, or a setup token: `nolapse login --setup-token`";
        return Err(usage(why, hint));
    }
    say(&out)?;
    if args.dry_run {
        print(&format!(
            "\nAs a file for `openclaw secrets apply`:\n{:#}\n",
            wanted.plan()
        ))?;
        return Ok(Exit::Fine);
    }
    if !args.yes && !agreed("link these agents to the login?", CONFIRM)? {
        return Ok(Exit::Fine);
    }
    let _waiting = progress::waiting(|| "openclaw secrets apply".into());
    match until_signal(link::link(&ctx, &view, &wanted))? {
        Ok(lines) => {
            say(&(lines.join("\n") + "\n"))?;
            Ok(Exit::Fine)
        }
        Err(why) => Err(usage(
            format!("not linked: {}", one_line(&why)),
            "`nolapse unlink openclaw` undoes what was begun",
        )),
    }
}

pub(super) fn unlink(setup: &Setup, UnlinkCommand::Openclaw(args): &UnlinkCommand) -> Result<Exit, Fatal> {
    let ctx = setup.ctx(None)?;
    let ledger = ledger::load(&ctx.state_dir).ledger;
    let view = look::look(&ctx, &ledger);
    let linked: Vec<_> = view
        .state_dirs
        .iter()
        .filter_map(|state_dir| Some((state_dir, ledger.openclaw.get(&link::key(state_dir))?)))
        .collect();
    if linked.is_empty() {
        print("nothing is linked\n")?;
        return Ok(Exit::Fine);
    }
    for (_, link) in &linked {
        say(&format!(
            "{} of {} will be removed\n",
            one_line(&link.id),
            one_line(&link.agents.join(", "))
        ))?;
    }
    if !args.yes && !agreed("remove the link?", CONFIRM)? {
        return Ok(Exit::Fine);
    }
    let mut exit = Exit::Fine;
    let _waiting = progress::waiting(|| "openclaw".into());
    for (state_dir, link) in linked {
        match until_signal(link::unlink(&ctx, &view, state_dir, link))? {
            Ok(lines) => say(&lines.iter().fold(String::new(), |all, line| all + line + "\n"))?,
            Err(why) => {
                exit = Exit::Unknown;
                say(&format!("not removed: {}\n", one_line(&why)))?;
            }
        }
    }
    Ok(exit)
}

/// The agents, and the login that they are to refer to.
fn wanted(ctx: &Ctx, view: &View, args: &LinkArgs) -> Result<Wanted, Fatal> {
    let of_openclaw =
        |state_dir: &StateDir| state_dir.family == Family::Openclaw && state_dir.generation == Generation::Sqlite;
    let named = agents_named(view, &args.agents)?;
    let agents: Vec<_> = named
        .into_iter()
        .filter(|agent| agent.sqlite && of_openclaw(&view.state_dirs[agent.agent.state_dir]))
        .collect();
    let Some(first) = agents.first() else {
        return Err(usage(
            "none of these agents belongs to an OpenClaw with SQLite stores (2026.6.5 and later)",
            "see `nolapse status`",
        ));
    };
    let elsewhere = |agent: &&AgentView| agent.agent.state_dir != first.agent.state_dir;
    if agents.iter().any(elsewhere) {
        return Err(usage(
            "these agents are of several OpenClaws",
            "name those of one with `--agent`",
        ));
    }
    for agent in &agents {
        let there = agent.profiles.iter().any(|profile| profile.profile.id == args.id);
        if there && !link::is_linked(agent, &args.id) {
            return Err(usage(
                format!("{} has a profile `{}` already", agent.label(), one_line(&args.id)),
                "give another id with `--id`",
            ));
        }
    }
    let login = view::mirrored_login(&view.logins, &first.label()).map(|i| &view.logins[i]);
    let Some(login) = login.filter(|login| login.verdict.fine()) else {
        return Err(usage("there is no login that works", "run `claude auth login` first"));
    };
    let way = way(ctx, login)?;
    Ok(Wanted {
        state_dir: first.agent.state_dir,
        agents: agents.iter().map(|agent| agent.agent.agent.id.clone()).collect(),
        id: args.id.clone(),
        login: login.id().to_owned(),
        way,
    })
}

/// Claude Code's own file where OpenClaw reads it (a private file, no link, its user's own), else `nolapse token print`.
fn way(ctx: &Ctx, login: &LoginView) -> Result<Way, Fatal> {
    let file = login.login.place.file();
    let private = |meta: &Meta| !meta.link && meta.mode & 0o077 == 0 && meta.uid == files::our_uid();
    if login.login.source == Source::File && login.login.meta.as_ref().is_some_and(private) {
        let dir = login.login.place.dir.as_path();
        let real = files::real(dir).map(|dir| dir.join(FILE_NAME)).unwrap_or(file);
        return Ok(Way::File(real.display().to_string()));
    }
    let mut command = ctx.host.own.clone();
    let own = files::real_or_same(Path::new(&command[0]));
    let meta = files::stat(&own);
    if !meta.is_some_and(|meta| meta.mode & 0o022 == 0 && meta.uid == files::our_uid()) {
        return Err(usage(
            format!(
                "OpenClaw cannot read this login, and runs `{}` only if it is yours alone to write",
                own.display()
            ),
            format!(
                "run `install -Dm700 {} ~/.local/bin/nolapse`, then `~/.local/bin/nolapse link openclaw`",
                own.display()
            ),
        ));
    }
    command[0] = own.display().to_string();
    command.extend(["token", "print", "--for", "openclaw"].map(String::from));
    const PASSED: [&str; 6] = [
        "HOME",
        "PATH",
        "USER",
        "CLAUDE_CONFIG_DIR",
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
    ];
    let var = |name: &str| Some((name.to_owned(), ctx.host.var(name)?.to_owned()));
    Ok(Way::Exec {
        command,
        env: PASSED.into_iter().filter_map(var).collect(),
        login: login.id().to_owned(),
    })
}

/// Asks a person at the terminal; `hint` is for whoever is none.
pub(super) fn agreed(question: &str, hint: &str) -> Result<bool, Fatal> {
    if !terminal::stdin_is_terminal() {
        return Err(usage(question, hint));
    }
    let _ = write!(std::io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    let yes = matches!(answer.trim(), "y" | "Y" | "yes");
    if !yes {
        print("nothing was changed\n")?;
    }
    Ok(yes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::host::{Clock, Host};
    use crate::rules::memory::Ledger;
    use std::os::unix::fs::PermissionsExt;

    const NOW: crate::types::Moment = crate::types::Moment::at(1_769_000_000_000);

    fn program(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A Mac whose `security` ends with this exit code, with a login in its Keychain and a private file beside it.
    fn mac(code: u8) -> (tempfile::TempDir, Ctx) {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().canonicalize().unwrap();
        let login = |access: &str| {
            format!(
                r#"{{"claudeAiOauth":{{"accessToken":"{access}","refreshToken":"R","expiresAt":{},"scopes":["user:inference"]}}}}"#,
                NOW + crate::types::HOUR
            )
        };
        let security = format!("#!/bin/sh\ncat <<'EOF'\n{}\nEOF\nexit {code}\n", login("K"));
        program(&dir.join("security"), &security);
        program(&dir.join("nolapse"), "");
        std::fs::create_dir(dir.join(".claude")).unwrap();
        let file = dir.join(".claude").join(FILE_NAME);
        std::fs::write(&file, login("F")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let var = |name: &str, value: String| (name.to_owned(), value);
        let ctx = Ctx {
            host: Host {
                home: dir.clone(),
                env: [
                    var("PATH", format!("{}:/usr/bin:/bin", dir.display())),
                    var("HOME", dir.display().to_string()),
                    var("USER", "ada".into()),
                    var("ANTHROPIC_API_KEY", "sk-ant-api03-x".into()),
                ]
                .into(),
                cwd: dir.clone(),
                name: "t".into(),
                macos: true,
                own: vec![dir.join("nolapse").display().to_string()],
            },
            clock: Clock::Fixed(NOW),
            config: crate::config::Config::default(),
            state_dir: dir.join("state"),
            http: crate::edge::http::Http::new(&Default::default()),
        };
        (home, ctx)
    }

    #[test]
    fn a_login_in_the_keychain_is_asked_for_and_the_file_beside_it_is_not_read() {
        let (_home, ctx) = mac(0);
        let dir = ctx.host.home.display().to_string();
        let view = look::look(&ctx, &Ledger::default());
        let way = way(&ctx, &view.logins[0]).unwrap();
        let plan = commands::link_plan(&way, "anthropic:nolapse", &["main".into()]);
        let source = &plan["providerUpserts"][commands::SOURCE];
        let expected = serde_json::json!({
            "source": "exec",
            "command": format!("{dir}/nolapse"),
            "args": ["token", "print", "--for", "openclaw"],
            // what the Keychain's item is found by, and no key
            "env": {"HOME": dir, "PATH": format!("{dir}:/usr/bin:/bin"), "USER": "ada"},
            "timeoutMs": 15_000,
        });
        assert_eq!(*source, expected);
        let reference = serde_json::json!({"source": "exec", "provider": commands::SOURCE, "id": "claude"});
        assert_eq!(plan["targets"][0]["ref"], reference);
        // what is then printed
        let token = view.logins[0].login.grant().and_then(|grant| grant.access.clone());
        assert_eq!(token.map(|token| token.expose().to_owned()).as_deref(), Some("K"));
    }

    #[test]
    fn a_keychain_that_has_nothing_leaves_the_file_and_a_locked_one_no_login() {
        let (_home, ctx) = mac(44);
        let view = look::look(&ctx, &Ledger::default());
        let file = ctx.host.home.join(".claude").join(FILE_NAME);
        let found = way(&ctx, &view.logins[0]).unwrap();
        assert_eq!(found, Way::File(file.display().to_string()));
        let (_home, ctx) = mac(36);
        let view = look::look(&ctx, &Ledger::default());
        assert!(
            !view.logins[0].verdict.fine(),
            "`link` refuses it: {:?}",
            view.logins[0].verdict
        );
    }
}
