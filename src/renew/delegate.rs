//! Renewal by the unmodified Claude Code, with the user's own login.
//!
//! The one safe form (observed on 2.0.77 … 2.1.330): `claude -p /cost --safe-mode --no-session-persistence` with nothing on stdin,
//! from 2.1.181 on. An older CLI refuses the flag or, without it, can exit before it has saved the new tokens (up to 2.1.144);
//! `auth status`, `agents` and `doctor` start a refresh that they may not finish (anthropics/claude-code#95822), so none of them
//! is ever run, not even for the version: that is read from the installed package. A CLI in the middle of a refresh loses the
//! login when it is signalled, so it never is: after our patience it just keeps running.

use super::{Attempt, problem};
use crate::ctx::Ctx;
use crate::edge::process::{Fate, Identity};
use crate::edge::subprocess::{self, Spec, Status};
use crate::edge::{files, locks, progress};
use crate::json::Fields;
use crate::ledger;
use crate::rules::login::{self, Place, State};
use crate::rules::memory::Ledger;
use crate::rules::renew::{self as rule, Record, Stage};
use crate::rules::view::LoginView;
use crate::sources::claude::{self, REFRESH_LOCK};
use crate::sources::owner;
use crate::types::{Moment, Problem};
use std::path::{Path, PathBuf};

/// The first version with `--safe-mode`.
const SAFE_FROM: Version = Version(2, 1, 181);

const PACKAGE: &str = "@anthropic-ai/claude-code";

/// A version of the CLI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32, u32);

impl Version {
    /// `2.1.330`; a pre-release of it is older and counts as unknown.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| part.parse::<u32>());
        let version = Self(parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        parts.next().is_none().then_some(version)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The CLI to run: as configured, else on the `PATH`, else where its own installer puts it.
///
/// # Errors
/// Why none can be run.
pub(crate) fn find(ctx: &Ctx, login: &str) -> Result<PathBuf, Problem> {
    let claude = &ctx.config.renew.claude;
    let path = if claude.is_absolute() {
        if !files::is_executable(claude) {
            return Err(problem(
                "cli_not_found",
                claude,
                format!(
                    "`renew.claude` names `{}`, which is not a program",
                    ctx.host.tilde(claude)
                ),
                "name the CLI's path, or remove the key",
            ));
        }
        claude.clone()
    } else {
        let on_path = ctx.host.var("PATH").unwrap_or_default().split(':').map(Path::new);
        on_path
            .filter(|dir| dir.is_absolute())
            .map(Path::to_owned)
            .chain([ctx.host.home.join(".local/bin")])
            .map(|dir| dir.join(claude))
            .find(|path| files::is_executable(path))
            .ok_or_else(|| {
                let name = claude.display();
                problem(
                    "cli_not_found",
                    &ctx.host.home,
                    format!("`{name}` is not on the `PATH`, so the login `{login}` cannot be renewed by it"),
                    match ctx.host.termux() {
                        // from 2.1.113 on it is a program for glibc (anthropics/claude-code#50270)
                        true => {
                            "it does not run in Termux itself: name one with `renew.claude` (docs/termux.md), or set `renew.mode`"
                        }
                        false => "install it, set its path with `renew.claude`, or set `renew.mode`",
                    },
                )
            })?
    };
    match version(&path) {
        Some(version) if version >= SAFE_FROM => Ok(path),
        Some(version) => Err(problem(
            "cli_too_old",
            &path,
            format!(
                "`claude` {version} is not used, since it can lose the login that it renews; {SAFE_FROM} and later are safe"
            ),
            "run `claude update`",
        )),
        None => Err(problem(
            "cli_version_unknown",
            &path,
            format!(
                "`{}` is not used, since its version cannot be read from its package",
                ctx.host.tilde(&path)
            ),
            "name the installed CLI itself with `renew.claude`",
        )),
    }
}

/// The version as the installed package tells it; the program is not run.
pub(crate) fn version(program: &Path) -> Option<Version> {
    let real = files::real(program)?;
    // the native installer: `~/.local/share/claude/versions/X`
    let names: Vec<_> = real.iter().rev().filter_map(|name| name.to_str()).collect();
    if let [version, "versions", "claude", ..] = names[..] {
        return Version::parse(version);
    }
    for dir in real.ancestors().skip(1).take(5) {
        let Ok(snapshot) = files::read(&dir.join("package.json")) else {
            continue;
        };
        let fields = Fields::parse(std::str::from_utf8(&snapshot.bytes).ok()?).ok()?;
        let text = |key: &str| fields.get(key).and_then(|value| value.str());
        // the platform's own package carries the same version: `@anthropic-ai/claude-code-linux-x64`
        return match text("name")?.strip_prefix(PACKAGE) {
            Some("") => Version::parse(&text("version")?),
            Some(rest) if rest.starts_with('-') => Version::parse(&text("version")?),
            _ => None,
        };
    }
    None
}

/// The environment the CLI is given: what a child needs, the way out to the network, and which login is meant. A token in the
/// environment would be used instead of the login and is not handed on.
fn environment(ctx: &Ctx, place: &Place) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    const NETWORK: [&str; 9] = [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "NO_PROXY",
        "no_proxy",
        "NODE_EXTRA_CA_CERTS",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ];
    const DIRS: [&str; 2] = ["CLAUDE_SECURESTORAGE_CONFIG_DIR", "CLAUDE_CONFIG_DIR"];
    let mut env: Vec<(String, String)> = ctx
        .host
        .child_env()
        .filter(|(name, _)| *name != "HOME")
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    env.push(("HOME".into(), ctx.host.home.display().to_string()));
    let pass_on = |env: &mut Vec<(String, String)>, names: &[&str]| {
        for name in names {
            if let Some(value) = ctx.host.var(name) {
                env.push(((*name).to_owned(), value.to_owned()));
            }
        }
    };
    pass_on(&mut env, &NETWORK);
    let here = DIRS.iter().find_map(|name| ctx.host.var(name));
    match &place.dir_var {
        Some(dir) if here != Some(dir) => env.push(("CLAUDE_CONFIG_DIR".into(), dir.clone())),
        // the environment's own login: exactly as it is given there
        _ => pass_on(&mut env, &DIRS),
    }
    env.into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// Lets the CLI renew the login, and judges by what it left in the file.
pub(super) async fn delegate(ctx: &Ctx, ledger: &mut Ledger, login: &LoginView) -> Attempt {
    let place = &login.login.place;
    let Some(token) = login.login.grant().and_then(super::fingerprint) else {
        return Attempt::Not(rule::Not::NoRefreshToken);
    };
    let program = match find(ctx, login.id()) {
        Ok(program) => program,
        Err(problem) => return Attempt::failed(problem),
    };
    let held = |seen: locks::Seen| !seen.stale || owner::is_held(&place.owner_record());
    if locks::look(&place.refresh_lock(), REFRESH_LOCK.stale_after).is_ok_and(|seen| seen.is_some_and(held)) {
        return Attempt::failed(problem(
            "login_busy",
            place.refresh_lock(),
            format!("the login `{}` is being renewed by another program", login.id()),
            "nothing to do: the next pass will see the result",
        ));
    }
    let spec = Spec {
        args: ["-p", "/cost", "--safe-mode", "--no-session-persistence"]
            .map(Into::into)
            .to_vec(),
        env: environment(ctx, place),
        cwd: Some(match &place.dir_var {
            Some(dir) if Path::new(dir).is_relative() => ctx.host.cwd.clone(),
            _ => ctx.host.home.clone(),
        }),
        ..Spec::new(program.as_os_str())
    };
    let mut child = match subprocess::spawn_and_leave(&spec) {
        Ok(child) => child,
        Err(error) => {
            return Attempt::failed(problem(
                "cli_not_started",
                &program,
                format!("`claude` could not be started: {}", files::io_words(&error)),
                "try to start it by hand",
            ));
        }
    };
    tracing::info!(
        login = login.id(),
        pid = child.pid(),
        "started `claude` to renew the login"
    );
    let mut record = Record::of(ledger.renewals.get(login.id()), token);
    let it = Identity::of(child.pid());
    record.stage = Stage::Running {
        pid: it.pid,
        start: it.start,
        boot: it.boot,
        at: ctx.clock.now(),
    };
    ledger.renewals.insert(login.id().to_owned(), record.clone());
    // should this process end now, the next one leaves the child alone
    if let Err(error) = ledger::save(&ctx.state_dir, ledger) {
        tracing::warn!("ledger: {}", files::io_words(&error));
    }
    let waiting = progress::waiting(|| format!("Claude Code to renew `{}`", login.id()));
    let ended = child.wait(ctx.config.renew.patience).await;
    drop(waiting);
    if ended.is_some() {
        record.stage = Stage::Idle;
        ledger.renewals.insert(login.id().to_owned(), record);
    }
    judge(ctx, login, &program, ended, token)
}

fn judge(
    ctx: &Ctx,
    login: &LoginView,
    program: &Path,
    ended: Option<Status>,
    token: crate::secret::Fingerprint,
) -> Attempt {
    let place = &login.login.place;
    let expires = login.login.grant().and_then(|grant| grant.expires);
    let after = claude::look(&ctx.host, place);
    match &after.state {
        State::SignedIn(grant) if grant.refresh == login::Refresh::Blank => {
            return Attempt::failed(problem(
                "login_wiped",
                place.file(),
                format!(
                    "the server refused the refresh token of `{}`, and Claude Code wiped the login",
                    login.id()
                ),
                "run `claude auth login`",
            ));
        }
        State::SignedIn(grant) if rule::moved(token, expires, Some(grant)) => {
            return Attempt::Renewed {
                expires: grant.expires.unwrap_or_default(),
                by: "by Claude Code",
            };
        }
        _ => {}
    }
    let shadow = after.shadowed_by.iter().find(|shadow| shadow.file.is_some());
    let (kind, why) = match (ended, shadow) {
        (None, _) => (
            "cli_slow",
            format!(
                "`claude` had not renewed the login after {} s and is left running",
                ctx.config.renew.patience.as_secs()
            ),
        ),
        (Some(Status::Exit(0)), Some(shadow)) => (
            "not_renewed",
            format!("`claude` did not renew the login; {shadow} takes precedence over it"),
        ),
        (Some(Status::Exit(0)), None) => ("not_renewed", "`claude` ran and did not renew the login".to_owned()),
        (Some(Status::Exit(code)), _) => (
            "not_renewed",
            format!("`claude` ended with code {code} and did not renew the login"),
        ),
        (Some(status), _) => (
            "not_renewed",
            format!("`claude` was ended ({status:?}) and did not renew the login"),
        ),
    };
    Attempt::failed(problem(
        kind,
        program,
        why,
        "see what `claude -p /cost --safe-mode` says; the next pass will retry",
    ))
}

/// Whether the child of an earlier pass still runs. Its number alone may be another process's by now.
pub(super) fn child_alive(record: Option<&Record>, now: Moment) -> bool {
    let Some(Stage::Running { pid, start, boot, at }) = record.map(|record| &record.stage) else {
        return false;
    };
    let child = Identity {
        pid: *pid,
        start: *start,
        boot: boot.clone(),
        namespace: None,
    };
    (0..rule::CHILD_LIFE).contains(&(now - *at)) && child.fate() == Fate::Lives
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::tests::ctx;
    use crate::look;
    use crate::secret::Secret;
    use crate::types::{HOUR, Ms};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_child_runs_while_its_process_does_and_no_longer_than_it_may() {
        let (us, at) = (Identity::of(std::process::id()), Moment::at(1_000_000));
        let life = rule::CHILD_LIFE;
        for (what, start, now, alive) in [
            ("at once", us.start, at, true),
            ("at last", us.start, at + (life - 1), true),
            ("too long", us.start, at + life, false),
            ("the clock was set back", us.start, at - 1, false),
            (
                "another process has its number",
                us.start.map(|start| start + 1),
                at,
                false,
            ),
        ] {
            let mut record = Record::of(None, Secret::new("r").fingerprint());
            record.stage = Stage::Running {
                pid: us.pid,
                start,
                boot: us.boot.clone(),
                at,
            };
            assert_eq!(child_alive(Some(&record), now), alive, "{what}");
            record.stage = Stage::Idle;
            assert!(!child_alive(Some(&record), now), "{what}");
        }
        assert!(!child_alive(None, at));
    }

    /// The CLI as its own installer puts it.
    fn install(home: &Path, version: &str, body: &str) -> PathBuf {
        let bin = home.join(".local/bin");
        let program = home.join(".local/share/claude/versions").join(version);
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::create_dir_all(&bin).unwrap();
        fs::write(&program, format!("#!/bin/sh\n{body}")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let link = bin.join("claude");
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&program, &link).unwrap();
        link
    }

    /// What a login's file holds, whose access token ends so long after now.
    fn login(ctx: &Ctx, refresh: &str, ends: Ms) {
        let expires = ctx.clock.now() + ends;
        let text = format!(
            r#"{{"claudeAiOauth":{{"accessToken":"A","refreshToken":"{refresh}","expiresAt":{expires},"scopes":[]}}}}"#
        );
        fs::create_dir_all(ctx.host.home.join(".claude")).unwrap();
        fs::write(ctx.host.home.join(".claude/.credentials.json"), text).unwrap();
    }

    fn looked(ctx: &Ctx) -> LoginView {
        look::look(ctx, &Ledger::default()).logins.remove(0)
    }

    #[test]
    fn a_cli_is_found_that_is_known_to_be_safe_and_no_other() {
        let home = tempfile::tempdir().unwrap();
        let mut ctx = ctx(home.path());
        let not = |ctx: &Ctx| find(ctx, "claude").unwrap_err();
        assert_eq!(not(&ctx).kind, "cli_not_found");
        for (version, kind) in [
            ("2.0.999", Some("cli_too_old")),
            ("2.1.180", Some("cli_too_old")),
            ("2.1.181", None),
            ("2.2.0", None),
            ("3.0.0", None),
            ("2.1.330-beta.1", Some("cli_version_unknown")),
            ("2.1.330.1", Some("cli_version_unknown")),
        ] {
            let program = install(home.path(), version, "");
            match kind {
                None => assert_eq!(find(&ctx, "claude").unwrap(), program, "{version}"),
                Some(kind) => assert_eq!(not(&ctx).kind, kind, "{version}"),
            }
        }
        install(home.path(), "2.1.112", "");
        let message = not(&ctx).message;
        for said in ["`claude` 2.1.112 is not used", "2.1.181 and later are safe"] {
            assert!(message.contains(said), "{message}");
        }
        // named by its path it must be a program
        let program = install(home.path(), "2.1.330", "");
        ctx.config.renew.claude = program.clone();
        assert_eq!(find(&ctx, "claude").unwrap(), program);
        ctx.config.renew.claude = home.path().join("gone");
        assert_eq!(not(&ctx).kind, "cli_not_found");
    }

    #[test]
    fn a_version_is_that_of_claude_codes_own_package_or_of_a_platforms() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("bin")).unwrap();
        let program = home.path().join("bin/claude.exe");
        fs::write(&program, "").unwrap();
        for (name, text, known) in [
            (PACKAGE, "2.1.330", true),
            ("@anthropic-ai/claude-code-linux-x64", "2.1.330", true),
            ("@anthropic-ai/claude-codex", "2.1.330", false),
            ("claude", "2.1.330", false),
            (PACKAGE, "latest", false),
        ] {
            let package = format!(r#"{{"name":"{name}","version":"{text}"}}"#);
            fs::write(home.path().join("package.json"), package).unwrap();
            assert_eq!(version(&program), known.then_some(Version(2, 1, 330)), "{name} {text}");
        }
    }

    #[test]
    fn the_cli_is_given_its_login_and_what_leads_to_the_network() {
        const SECURE: &str = "CLAUDE_SECURESTORAGE_CONFIG_DIR";
        const DIR: &str = "CLAUDE_CONFIG_DIR";
        let home = tempfile::tempdir().unwrap();
        for (of_login, ours, given) in [
            (None, &[][..], &[][..]),
            (Some("/a"), &[], &[(DIR, "/a")]),
            (Some("/a"), &[(DIR, "/a")], &[(DIR, "/a")]),
            (Some("/a"), &[(DIR, "/b")], &[(DIR, "/a")]),
            // the environment's own is given as it stands there
            (None, &[(SECURE, ""), (DIR, "/b")], &[(SECURE, ""), (DIR, "/b")]),
            (
                Some("/a"),
                &[(SECURE, "/a"), (DIR, "/b")],
                &[(SECURE, "/a"), (DIR, "/b")],
            ),
            (Some("/c"), &[(SECURE, "/a"), (DIR, "/b")], &[(DIR, "/c")]),
        ] {
            let mut ctx = ctx(home.path());
            let more = [
                ("HOME", "/elsewhere"),
                ("PATH", "/bin"),
                ("NO_PROXY", "x"),
                ("TOKEN", "secret"),
            ];
            let env = ours
                .iter()
                .chain(&more)
                .map(|(name, value)| ((*name).into(), (*value).into()));
            ctx.host.env = env.collect();
            let place = Place {
                dir_var: of_login.map(Into::into),
                ..Place::new("claude", "/a", true)
            };
            let mut found = environment(&ctx, &place);
            found.sort();
            let here = home.path().to_str().unwrap();
            let mut wanted = [given, &[("HOME", here), ("PATH", "/bin"), ("NO_PROXY", "x")]].concat();
            wanted.sort_unstable();
            let wanted: Vec<_> = wanted
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect();
            assert_eq!(found, wanted, "{of_login:?} {ours:?}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn it_is_started_in_the_home_or_where_a_relative_directory_means_what_it_does_to_us() {
        let home = tempfile::tempdir().unwrap();
        let mut ctx = ctx(home.path());
        ctx.host.cwd = home.path().join("work");
        fs::create_dir_all(&ctx.host.cwd).unwrap();
        install(home.path(), "2.1.330", "pwd -P > \"$HOME/pwd\"\n");
        login(&ctx, "R1", -HOUR);
        for (dir_var, cwd) in [(None, ""), (Some("/a"), ""), (Some("a"), "work")] {
            let mut view = looked(&ctx);
            view.login.place.dir_var = dir_var.map(Into::into);
            delegate(&ctx, &mut Ledger::default(), &view).await;
            let there = fs::read_to_string(home.path().join("pwd")).unwrap();
            let wanted = files::real(&home.path().join(cwd)).unwrap();
            assert_eq!(Path::new(there.trim()), wanted, "{dir_var:?}");
        }
    }

    #[test]
    fn the_outcome_is_told_by_what_the_file_holds_then_by_how_the_cli_ended() {
        const NOT: Option<Status> = None;
        let ended = |code| Some(Status::Exit(code));
        let home = tempfile::tempdir().unwrap();
        let ctx = ctx(home.path());
        login(&ctx, "R1", 0);
        let before = looked(&ctx);
        let token = Secret::new("R1").fingerprint();
        for (refresh, ends, ended, want) in [
            ("", 0, ended(0), "login_wiped: the server refused"),
            ("", HOUR, NOT, "login_wiped: the server refused"),
            ("R2", 0, ended(1), "renewed"),
            ("R1", HOUR, ended(0), "renewed"),
            ("R2", HOUR, NOT, "renewed"),
            ("R1", 0, NOT, "cli_slow: `claude` had not renewed the login after 60 s"),
            ("R1", 0, ended(0), "not_renewed: `claude` ran and did not renew"),
            ("R1", 0, ended(7), "not_renewed: `claude` ended with code 7"),
            (
                "R1",
                0,
                Some(Status::Signal(9)),
                "not_renewed: `claude` was ended (Signal(9))",
            ),
        ] {
            login(&ctx, refresh, ends);
            let said = match judge(&ctx, &before, Path::new("/c"), ended, token) {
                Attempt::Renewed { .. } => "renewed".to_owned(),
                Attempt::Failed(failed) => format!("{}: {}", failed.problem.kind, failed.problem.message),
                Attempt::Not(why) => format!("{why:?}"),
            };
            assert!(said.starts_with(want), "{refresh} {ends} {ended:?}: {said}");
        }
    }
}
