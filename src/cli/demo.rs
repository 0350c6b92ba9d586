//! `demo`: the real pass on a made-up home, so that anyone sees the whole job on a machine with neither login nor agent.

use super::run::{story, summary};
use super::{Fatal, Invocation, Style, block_on, print, say};
use crate::config;
use crate::ctx::Ctx;
use crate::edge::host::{Clock, Host};
use crate::edge::{files, http::Http, terminal};
use crate::pass::{self, Scope};
use crate::report::{self, Exit};
use crate::types::{DAY, HOUR, MINUTE, Moment};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// The demo's policy: three logins, one channel.
const CONFIG: &str = "\
[renew]
mode = \"off\"

[[login]]
dir = \"~/.claude-team\"
agents = [\"clawdbot/team\"]
profile = \"anthropic:team\"

[[login]]
dir = \"~/.claude-ci\"
agents = [\"openclaw/ci\"]
profile = \"anthropic:ci\"

[[channel]]
type = \"command\"
name = \"phone\"
command = [\"true\"]
";

pub(super) fn demo(invocation: &Invocation) -> Result<Exit, Fatal> {
    let temp = invocation
        .env
        .get("TMPDIR")
        .filter(|dir| !dir.is_empty())
        .map_or("/tmp".into(), PathBuf::from);
    let root = files::make_own_dir(&temp, "nolapse-demo")?;
    let shown = show(invocation, &root);
    files::remove_own_dir(&root)?;
    shown
}

fn show(invocation: &Invocation, root: &Path) -> Result<Exit, Fatal> {
    let now = Clock::System.now();
    let home = root.join("home");
    make_home(&home, now)?;
    let host = Host {
        home: home.clone(),
        // the demo's phone is the program `true`; nothing else is looked for on it
        env: invocation
            .env
            .iter()
            .filter(|(name, _)| *name == "PATH")
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
        cwd: home,
        name: "demo".into(),
        macos: false,
        own: vec!["nolapse".into()],
    };
    let path = root.join("config/config.toml");
    files::make_dirs(&root.join("config"))?;
    files::create_new(&path, CONFIG.as_bytes())?;
    let config = config::load(&path, true, &host)?;
    let http = Http::new(&host.env);
    let ctx = |at: Moment| Ctx {
        host: host.clone(),
        clock: Clock::Fixed(at),
        config: config.clone(),
        state_dir: root.join("state"),
        http: http.clone(),
    };
    let style = Style {
        colour: std::io::stdout().is_terminal() && !invocation.env.contains_key("NO_COLOR"),
        unicode: true,
        width: terminal::columns().map(usize::from),
    };

    say("A made-up home: three logins, six agents. First, what `nolapse run --dry-run` says about it:\n\n")?;
    let first = ctx(now);
    let rehearsed = block_on(pass::rehearse(&first))?;
    say(&story(&first, &rehearsed))?;

    say("\nThen `nolapse run`, for the first time:\n\n")?;
    let report = block_on(pass::run(&first, Scope::Whole))?;
    say(&story(&first, &report))?;
    say(&summary(&first, &report, false))?;

    say("\nFour minutes later `nolapse run` again: nothing to write, nobody is notified twice:\n\n")?;
    let second = ctx(now + 4 * MINUTE);
    let report = block_on(pass::run(&second, Scope::Whole))?;
    say(&story(&second, &report))?;
    let told = report.told.len();
    say(&format!("stores written: {}, alerts sent: {told}\n", report.done.len()))?;

    say("\nAnd `nolapse status`:\n\n")?;
    print(&report::table(&second, &report.view, &report.problems, style))?;
    say("\nThe made-up home is gone again. On your own: `nolapse status`, then `nolapse run --dry-run`.\n")?;
    Ok(Exit::Fine)
}

fn make_home(home: &Path, now: Moment) -> std::io::Result<()> {
    let login = |n: u32, expires: Moment, deadline: Moment| {
        format!(
            r#"{{"claudeAiOauth":{{"accessToken":"sk-ant-oat01-demo-{n}","refreshToken":"sk-ant-ort01-demo-{n}","expiresAt":{expires},"refreshTokenExpiresAt":{deadline},"scopes":["user:inference","user:profile"],"subscriptionType":"max"}}}}"#
        )
    };
    let wiped = format!(
        r#"{{"claudeAiOauth":{{"accessToken":"","refreshToken":"","expiresAt":0,"refreshTokenExpiresAt":{},"scopes":["user:inference","user:profile"],"subscriptionType":"pro"}}}}"#,
        now + 20 * DAY
    );
    let token = |id: &str, n: u32, expires: Moment| {
        format!(
            "{{\n  \"version\": 1,\n  \"profiles\": {{\n    \"{id}\": {{\n      \"type\": \"token\",\n      \"provider\": \"anthropic\",\n      \"token\": \"sk-ant-oat01-demo-{n}\",\n      \"expires\": {expires}\n    }}\n  }}\n}}\n"
        )
    };
    let oauth = |id: &str, n: u32, expires: Moment| {
        format!(
            "{{\n  \"version\": 1,\n  \"profiles\": {{\n    \"{id}\": {{\n      \"type\": \"oauth\",\n      \"provider\": \"anthropic\",\n      \"access\": \"sk-ant-oat01-demo-{n}\",\n      \"refresh\": \"sk-ant-ort01-demo-{n}\",\n      \"expires\": {expires}\n    }}\n  }}\n}}\n"
        )
    };
    const CLI: &str = "anthropic:claude-cli";
    for (path, text) in [
        // healthy, and shadowed by a helper in its settings
        (".claude/.credentials.json", login(1, now + 7 * HOUR, now + 24 * DAY)),
        (".claude/settings.json", r#"{"apiKeyHelper":"/opt/keys"}"#.to_owned()),
        // ends soon: two days and some before the three that the server may take
        (
            ".claude-team/.credentials.json",
            login(2, now + 5 * HOUR, now + 5 * DAY + 5 * HOUR),
        ),
        // wiped by Claude Code long before its deadline
        (".claude-ci/.credentials.json", wiped),
        // in step
        (
            ".clawdbot/agents/main/agent/auth-profiles.json",
            token(CLI, 1, now + 7 * HOUR),
        ),
        // stale: an access token that ended in the night
        (
            ".clawdbot/agents/work/agent/auth-profiles.json",
            token(CLI, 9, now - 6 * HOUR),
        ),
        // diverged: its refresh token is another one
        (
            ".clawdbot/agents/team/agent/auth-profiles.json",
            oauth("anthropic:team", 8, now + 3 * HOUR),
        ),
        // unreadable: a torn write
        (
            ".clawdbot/agents/lab/agent/auth-profiles.json",
            "{\"version\":1,\"profiles\":{".to_owned(),
        ),
        // hangs on the wiped login
        (
            ".openclaw/openclaw.json",
            r#"{"meta":{"lastTouchedVersion":"2026.3.1"}}"#.to_owned(),
        ),
        (
            ".openclaw/agents/ci/agent/auth-profiles.json",
            token("anthropic:ci", 3, now + 2 * HOUR),
        ),
    ] {
        let path = home.join(path);
        if let Some(dir) = path.parent() {
            files::make_dirs(dir)?;
        }
        files::create_new(&path, text.as_bytes())?;
    }
    Ok(())
}
