//! OpenClaw with SQLite, on homes as its versions leave them: what is seen of them, and what a change of theirs wakes.

use crate::daemon::Daemon;
use crate::endpoint::Endpoint;
use crate::home::{DAY, HOUR, Home, MINUTE, access, credentials, now, token};
use crate::reauth::{CODE, Piped, no_secret, secret, stand_in as claude_stand_in};
use crate::receiver::{Manner, Receiver};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The version that made a home.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// 2026.6.6 and 2026.7.35: no table of machine state, the main agent's database is what all share.
    June,
    /// 2026.8.2 and 2026.9.6, before anything was moved.
    September,
    /// The same, with `auth.sharedStore` set.
    Shared,
}

impl Version {
    fn text(self) -> &'static str {
        match self {
            Self::June => "2026.6.6",
            _ => "2026.9.6",
        }
    }
}

/// A connection that is kept open, as a gateway's is: what it writes stays in `-wal`.
fn open(home: &Home, path: &str) -> Connection {
    let path = home.at(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let db = Connection::open(path).unwrap();
    db.pragma_update(None, "journal_mode", "wal").unwrap();
    db.pragma_update(None, "synchronous", "off").unwrap();
    db
}

fn state_database(home: &Home, version: Version, store: Option<Value>, state: Option<Value>) -> Connection {
    let db = open(home, ".openclaw/state/openclaw.sqlite");
    if version == Version::June {
        db.execute_batch(
            "CREATE TABLE IF NOT EXISTS auth_profile_stores (store_key TEXT PRIMARY KEY, store_json TEXT)",
        )
        .unwrap();
        return db;
    }
    db.execute_batch(
        "CREATE TABLE IF NOT EXISTS config_machine_state (state_key TEXT NOT NULL PRIMARY KEY, value_json TEXT NOT NULL,
         updated_at_ms INTEGER NOT NULL) STRICT",
    )
    .unwrap();
    let put = |key: &str, value: Value| {
        db.execute(
            "REPLACE INTO config_machine_state VALUES (?1, ?2, 1)",
            (key, value.to_string()),
        )
        .unwrap();
    };
    if version == Version::Shared {
        put("auth.sharedStore", json!({"location": "state-db"}));
    }
    if let Some(profiles) = store {
        put("authProfiles.store", json!({"version": 1, "profiles": profiles}));
    }
    if let Some(state) = state {
        put("authProfiles.state", state);
    }
    db
}

pub(super) fn agent_database(home: &Home, agent: &str, profiles: Value, state: Option<Value>) -> Connection {
    let db = open(home, &format!(".openclaw/agents/{agent}/agent/openclaw-agent.sqlite"));
    db.execute_batch(
        "CREATE TABLE IF NOT EXISTS auth_profile_store (store_key TEXT NOT NULL PRIMARY KEY, store_json TEXT NOT NULL, updated_at INTEGER NOT NULL);
         CREATE TABLE IF NOT EXISTS auth_profile_state (state_key TEXT NOT NULL PRIMARY KEY, state_json TEXT NOT NULL, updated_at INTEGER NOT NULL);
         CREATE TABLE IF NOT EXISTS cache_entries (entry_key TEXT PRIMARY KEY, body TEXT)",
    )
    .unwrap();
    let store = json!({"version": 1, "profiles": profiles}).to_string();
    db.execute("REPLACE INTO auth_profile_store VALUES ('primary', ?1, 1)", [store])
        .unwrap();
    if let Some(state) = state {
        db.execute(
            "REPLACE INTO auth_profile_state VALUES ('primary', ?1, 1)",
            [state.to_string()],
        )
        .unwrap();
    }
    db
}

fn config(home: &Home, version: Version, mut rest: Value) {
    rest["meta"] = json!({"lastTouchedVersion": version.text()});
    home.write(".openclaw/openclaw.json", rest.to_string());
}

fn agents(agents: &[&str]) -> Value {
    let entries = agents.iter().map(|id| ((*id).to_owned(), json!({})));
    json!({"ownership": "explicit", "entries": entries.collect::<serde_json::Map<_, _>>()})
}

/// A login that Claude Code has blanked.
fn wiped() -> Value {
    let mut text = credentials("1", 0, Some(now() + 20 * DAY));
    text["claudeAiOauth"]["accessToken"] = "".into();
    text["claudeAiOauth"]["refreshToken"] = "".into();
    text
}

fn agent<'j>(json: &'j Value, id: &str) -> &'j Value {
    let list = json["agents"].as_array().unwrap();
    list.iter().find(|agent| agent["agent"] == id).unwrap()
}

/// `id=health` of each profile of an agent.
fn healths(json: &Value, id: &str) -> Vec<String> {
    let profiles = agent(json, id)["profiles"].as_array().unwrap();
    let one = |profile: &Value| {
        format!(
            "{}={}",
            profile["id"].as_str().unwrap(),
            profile["health"].as_str().unwrap()
        )
    };
    profiles.iter().map(one).collect()
}

/// What a pass leaves of an alert.
fn alert(home: &Home, id: &str) -> Value {
    home.run(&["run"]);
    home.json(".local/state/nolapse/ledger.json")["alerts"][id]["last"].clone()
}

fn uses(json: &Value, id: &str, provider: &str) -> Value {
    let list = agent(json, id)["providers"].as_array().unwrap();
    let found = list.iter().find(|one| one["provider"] == provider);
    found.map_or(Value::Null, |one| one["uses"].clone())
}

#[test]
fn profiles_merge_by_id_over_the_base_of_the_version() {
    let (ended, year) = (|n: &str| token(n, now() - DAY), |n: &str| token(n, now() + 300 * DAY));
    for (version, main, work) in [
        (
            Version::June,
            ["anthropic:a=expired", "anthropic:b=ok"],
            ["anthropic:a=ok", "anthropic:b=ok"],
        ),
        (
            Version::September,
            ["anthropic:a=expired", "anthropic:b=ok"],
            ["anthropic:a=ok", "anthropic:b=ok"],
        ),
        (
            Version::Shared,
            ["anthropic:a=expired", "anthropic:b=expired"],
            ["anthropic:a=ok", "anthropic:b=expired"],
        ),
    ] {
        let home = Home::new();
        config(&home, version, json!({"agents": agents(&["main", "work", "third"])}));
        let shared = json!({"anthropic:a": ended("1"), "anthropic:b": ended("2")});
        // what the state database holds counts only once it is said to be the place
        let _open = state_database(&home, version, Some(shared), None);
        let main_own = json!({"anthropic:a": ended("3"), "anthropic:b": year("4")});
        let main_own = if version == Version::Shared {
            json!({})
        } else {
            main_own
        };
        let _main = agent_database(&home, "main", main_own, None);
        let _work = agent_database(&home, "work", json!({"anthropic:a": year("5")}), None);
        let json = home.status(&[]);
        assert_eq!(healths(&json, "main"), main);
        assert_eq!(healths(&json, "work"), work);
        assert_eq!(healths(&json, "third"), main, "it has none of its own");
        // no channel is configured, which is all there is to say
        let kinds: Vec<&Value> = json["problems"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["kind"])
            .collect();
        assert_eq!(kinds, ["nobody_alerted"], "a missing table is no fault");
    }
}

#[test]
fn order_cooldown_and_what_is_disabled_decide_what_is_used() {
    let year = |n: &str| token(n, now() + 300 * DAY);
    let two = json!({"anthropic:a": year("1"), "anthropic:b": year("2")});
    let held =
        |key: &str| json!({"version": 1, "usageStats": {"anthropic:a": {key: now() + HOUR, "cooldownReason": "auth"}}});
    for (own, shared, expected) in [
        (None, None, "anthropic:a"),
        (
            Some(json!({"version": 1, "order": {"anthropic": ["anthropic:b"]}})),
            None,
            "anthropic:b",
        ),
        (
            None,
            Some(json!({"version": 1, "order": {"anthropic": ["anthropic:b"]}})),
            "anthropic:b",
        ),
        // the agent's own order comes first
        (
            Some(json!({"order": {"anthropic": ["anthropic:a"]}})),
            Some(json!({"order": {"anthropic": ["anthropic:b"]}})),
            "anthropic:a",
        ),
        (Some(held("cooldownUntil")), None, "anthropic:b"),
        (None, Some(held("disabledUntil")), "anthropic:b"),
    ] {
        let home = Home::new();
        config(&home, Version::Shared, json!({}));
        let _open = state_database(&home, Version::Shared, Some(two.clone()), shared.clone());
        let _own = agent_database(&home, "main", json!({}), own.clone());
        let json = home.status(&[]);
        assert_eq!(uses(&json, "main", "anthropic"), expected, "{own:?} {shared:?}");
    }
}

#[test]
fn an_agent_with_the_claude_cli_runtime_hangs_on_the_login_of_its_claude() {
    const OPUS: &str = "anthropic/claude-opus-5";
    let runtime = json!({OPUS: {"agentRuntime": {"id": "claude-cli"}}});
    for (version, config_text, login) in [
        (
            Version::September,
            json!({"agents": {"defaults": {"model": OPUS, "models": runtime}}}),
            Some("claude"),
        ),
        (
            Version::September,
            json!({"agents": {"entries": {"main": {"model": {"primary": OPUS}, "models": runtime}}}}),
            Some("claude"),
        ),
        (
            Version::June,
            json!({"agents": {"list": [{"id": "main", "model": OPUS, "models": runtime}]}}),
            Some("claude"),
        ),
        (
            Version::June,
            json!({"agents": {"defaults": {"model": "claude-cli/opus", "cliBackends": {"claude-cli": {}}}}}),
            Some("claude"),
        ),
        // as a fallback only
        (
            Version::June,
            json!({"agents": {"defaults": {"model": {"primary": "openai/gpt", "fallbacks": ["claude-cli/opus"]}}}}),
            Some("claude"),
        ),
        (
            Version::September,
            json!({"models": {"providers": {"anthropic": {"agentRuntime": {"id": "claude-cli"}}}}}),
            Some("claude"),
        ),
        // the agent's own entry takes it back
        (
            Version::September,
            json!({"agents": {"defaults": {"model": OPUS, "models": runtime}, "entries": {"main": {"models": {OPUS: {"agentRuntime": {"id": "openclaw"}}}}}}}),
            None,
        ),
        (
            Version::September,
            json!({"agents": {"defaults": {"model": OPUS}}}),
            None,
        ),
        // another directory: of the backend, of OpenClaw's environment, which older versions keep from it
        (
            Version::June,
            json!({"agents": {"defaults": {"model": "claude-cli/opus", "cliBackends": {"claude-cli": {"command": "/opt/claude", "env": {"CLAUDE_CONFIG_DIR": "~/.claude-team"}}}}}}),
            Some("claude-team"),
        ),
        (
            Version::September,
            json!({"env": {"CLAUDE_CONFIG_DIR": "~/.claude-team"}, "agents": {"defaults": {"model": "claude-cli/opus"}}}),
            Some("claude-team"),
        ),
        (
            Version::June,
            json!({"env": {"CLAUDE_CONFIG_DIR": "~/.claude-team"}, "agents": {"defaults": {"model": "claude-cli/opus"}}}),
            Some("claude"),
        ),
    ] {
        let home = Home::new();
        config(&home, version, config_text.clone());
        let _open = state_database(&home, version, None, None);
        let wiped = wiped();
        for dir in [".claude", ".claude-team"] {
            home.write(&format!("{dir}/.credentials.json"), wiped.to_string());
        }
        let json = home.status(&[]);
        let profiles = agent(&json, "main")["profiles"].clone();
        let Some(login) = login else {
            assert_eq!(profiles, json!([]), "{config_text}");
            continue;
        };
        assert_eq!(
            (
                &profiles[0]["id"],
                &profiles[0]["type"],
                &profiles[0]["login"],
                &profiles[0]["health"]
            ),
            (
                &json!("claude-cli"),
                &json!("runtime"),
                &json!(login),
                &json!("expired")
            ),
            "{config_text}"
        );
        let alert = alert(&home, &format!("login:{login}"));
        assert_eq!(alert["affected"][0]["agent"], "main", "{alert}");
    }
}

#[test]
fn a_pasted_token_takes_the_place_of_the_runtimes_login() {
    let home = Home::new();
    config(
        &home,
        Version::Shared,
        json!({"agents": {"defaults": {"model": "claude-cli/opus"}}}),
    );
    home.login("1", now() + 8 * HOUR);
    let _open = state_database(&home, Version::Shared, None, None);
    assert_eq!(uses(&home.status(&[]), "main", "claude-cli"), "claude-cli");
    let pasted = json!({"anthropic:x": token("2", now() + 300 * DAY)});
    let _open = state_database(&home, Version::Shared, Some(pasted), None);
    assert_eq!(uses(&home.status(&[]), "main", "claude-cli"), "anthropic:x");
}

#[test]
fn a_retired_id_is_broken_where_openclaw_refuses_it_and_nowhere_else() {
    for (version, health) in [
        (Version::June, "ok"),
        (Version::September, "missing"),
        (Version::Shared, "missing"),
    ] {
        let home = Home::new();
        config(&home, version, json!({}));
        let profiles = json!({"anthropic:claude-cli": token("1", now() + 300 * DAY)});
        let _state = state_database(&home, version, Some(profiles.clone()), None);
        let _main = agent_database(&home, "main", profiles, None);
        let json = home.status(&[]);
        assert_eq!(healths(&json, "main"), [format!("anthropic:claude-cli={health}")]);
        let ran = home.run(&["run", "--dry-run"]);
        assert_eq!(
            ran.stdout.contains("its agents cannot run"),
            health == "missing",
            "{ran:?}"
        );
        assert!(
            !ran.stdout.contains("--profile-id anthropic:claude-cli"),
            "never suggested: {ran:?}"
        );
    }
}

#[test]
fn a_stored_access_token_lives_by_its_own_clock() {
    let home = Home::new();
    home.login("1", now() + 5 * HOUR);
    config(&home, Version::Shared, json!({}));
    // the login's own access token, pasted: its end is the login's, and no renewal reaches it
    let pasted = json!({
        "anthropic:pasted": {"type": "token", "provider": "anthropic", "token": access("1")},
        "anthropic:dated": token("7", now() + 5 * HOUR),
        "anthropic:year": token("8", now() + 300 * DAY),
    });
    let _open = state_database(&home, Version::Shared, Some(pasted), None);
    let json = home.status(&[]);
    assert_eq!(
        healths(&json, "main"),
        [
            "anthropic:dated=expiring",
            "anthropic:pasted=expiring",
            "anthropic:year=ok"
        ]
    );
    assert_eq!(agent(&json, "main")["profiles"][1]["login"], Value::Null);
}

#[test]
fn a_reference_into_a_logins_file_hangs_on_that_login() {
    let home = Home::new();
    let reference = |provider: &str, id: &str| json!({"type": "token", "provider": "anthropic", "tokenRef": {"source": "file", "provider": provider, "id": id}});
    let sources = json!({
        "claude": {"source": "file", "path": "~/.claude/.credentials.json", "mode": "json"},
        "other": {"source": "file", "path": "~/other.json", "mode": "json"},
    });
    config(&home, Version::Shared, json!({"secrets": {"providers": sources}}));
    let profiles = json!({
        "anthropic:a": reference("claude", "/claudeAiOauth/accessToken"),
        "anthropic:b": reference("other", "/claudeAiOauth/accessToken"),
    });
    let _open = state_database(&home, Version::Shared, Some(profiles), None);
    home.login("1", now() + 5 * HOUR);
    assert_eq!(
        healths(&home.status(&[]), "main"),
        ["anthropic:a=ok", "anthropic:b=referenced"]
    );
    home.write(".claude/.credentials.json", wiped().to_string());
    let json = home.status(&[]);
    assert_eq!(
        healths(&json, "main"),
        ["anthropic:a=expired", "anthropic:b=referenced"]
    );
    assert_eq!(alert(&home, "login:claude")["affected"][0]["profile"], "anthropic:a");
}

/// An `openclaw` as npm installs it: a link to a script of a package, run by a `node` beside it. It notes how it was called and what
/// it read, and puts a token in as the real one does.
fn stand_in(home: &Home, version: &str) {
    let package = "lib/node_modules/openclaw";
    home.write(
        &format!("{package}/package.json"),
        json!({"name": "openclaw", "version": version}).to_string(),
    );
    home.write(&format!("{package}/openclaw.mjs"), "");
    let node = home.write(
        "bin/node",
        r#"#!/bin/sh
shift
echo "$*" >> "$HOME/called"
env > "$HOME/environment"
while [ $# -gt 0 ]; do
  case $1 in --profile-id) id=$2 ;; --agent) agent=$2 ;; set) verb=set ;; clear) verb=clear ;; paste-token) verb=paste ;; esac
  case $1 in --from) plan=$2 ;; logout) verb=logout; id=$2 ;; apply) verb=apply ;; reload) verb=reload ;; esac
  last=$1; shift
done
config="$OPENCLAW_STATE_DIR/openclaw.json"
ask() { sqlite3 :memory: "$1"; }
db="$OPENCLAW_STATE_DIR/agents/$agent/agent/openclaw-agent.sqlite"
case $verb in
  paste) read -r token
    [ -e "$HOME/refuse" ] && { echo "refused: $token" >&2; echo "the store is busy" >&2; exit 1; }
    [ -e "$HOME/pretend" ] && { echo "Updated $id"; exit; }
    sqlite3 "$db" "UPDATE auth_profile_store SET store_json = json_set(store_json, '$.profiles.\"$id\"', json_object('type','token','provider','anthropic','token','$token'))" ;;
  set) sqlite3 "$db" "REPLACE INTO auth_profile_state VALUES ('primary', json_object('order', json_object('anthropic', json_array('$last'))), 1)" ;;
  clear) sqlite3 "$db" "DELETE FROM auth_profile_state" ;;
  logout) sqlite3 "$db" "UPDATE auth_profile_store SET store_json = json_remove(store_json, '$.profiles.\"$id\"')" ;;
  reload)
    [ -e "$HOME/unwell" ] && { cat "$HOME/unwell"; exit 1; }
    [ -e "$HOME/warns" ] && { echo '{"ok":true,"warningCount":2}'; exit; }
    echo '{"ok":true,"warningCount":0}' ;;
  apply)
    read="CAST(readfile('$plan') AS TEXT)"; was="CAST(readfile('$config') AS TEXT)"
    for agent in $(ask "SELECT json_extract(value, '$.agentId') FROM json_each($read, '$.targets')"); do
      sqlite3 "$OPENCLAW_STATE_DIR/agents/$agent/agent/openclaw-agent.sqlite" "UPDATE auth_profile_store SET store_json = json_set(store_json,
        '$.profiles.\"anthropic:nolapse\"', json_object('type', 'token', 'provider', 'anthropic', 'tokenRef',
        json((SELECT json_extract(value, '$.ref') FROM json_each($read, '$.targets') LIMIT 1))))"
    done
    new=$(ask "SELECT json_set($was, '$.secrets', CASE WHEN json_extract($read, '$.providerUpserts') IS NULL THEN json('{}')
      ELSE json_object('providers', json(json_extract($read, '$.providerUpserts'))) END)")
    printf '%s' "$new" > "$config"
    [ -e "$HOME/die" ] && kill -9 $$
    echo '{"changed":true}' ;;
esac
"#,
    );
    let script = home.at(&format!("{package}/openclaw.mjs"));
    for path in [&node, &script] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::os::unix::fs::symlink(script, home.at("bin/openclaw")).unwrap();
}

/// A home with two agents and an `openclaw`.
fn installed(version: Version, text: &str) -> Home {
    let mut home = Home::new();
    install(&mut home, version, text);
    home
}

/// Puts two agents and an `openclaw` into a home.
pub(super) fn install(home: &mut Home, version: Version, text: &str) {
    config(home, version, json!({"agents": agents(&["main", "work"])}));
    drop(state_database(home, version, None, None));
    for agent in ["main", "work"] {
        drop(agent_database(home, agent, json!({}), None));
    }
    stand_in(home, text);
    let path = format!("{}:/usr/bin:/bin", home.at("bin").display());
    home.env.insert("PATH".into(), path);
}

#[test]
fn a_setup_token_is_put_in_by_openclaws_own_command_and_read_back() {
    for (version, text, call) in [
        (
            Version::June,
            "2026.6.6",
            "models auth --agent work paste-token --provider anthropic --profile-id anthropic:year --expires-in 8760h",
        ),
        (
            Version::September,
            "2026.9.6",
            "models auth paste-token --provider anthropic --profile-id anthropic:year --expires-in 8760h --agent work",
        ),
    ] {
        let home = installed(version, text);
        let add = [
            "token",
            "add",
            "--agent",
            "openclaw/work",
            "--profile",
            "anthropic:year",
        ];
        let ran = home.run_with(&add, access("year").as_bytes());
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(
            home.read("called").ends_with(&format!("{call}\n")),
            "{}",
            home.read("called")
        );
        assert!(!home.read("called").contains("sk-ant-") && !home.read("environment").contains("sk-ant-"));
        let json = home.status(&[]);
        assert_eq!(
            healths(&json, "work"),
            ["anthropic:year=ok"],
            "its end is remembered: {ran:?}"
        );
        assert_eq!(healths(&json, "main"), Vec::<String>::new());
        // a second time there is nothing to do
        home.write("called", "");
        assert_eq!(home.run_with(&add, access("year").as_bytes()).code, 0);
        assert_eq!(home.read("called"), "");
        // what was not put in is said, without the token
        home.write("refuse", "");
        let ran = home.run_with(&add, access("other").as_bytes());
        assert!(ran.code == 3 && ran.stdout.contains("the store is busy"), "{ran:?}");
        assert!(!format!("{ran:?}").contains("ACCESS"), "{ran:?}");
    }
    let home = installed(Version::September, "2026.9.6");
    let add = [
        "token",
        "add",
        "--agent",
        "openclaw/work",
        "--profile",
        "anthropic:claude-cli",
    ];
    let ran = home.run_with(&add, access("year").as_bytes());
    assert!(
        ran.code == 3 && ran.stdout.contains("refuses profiles named"),
        "{ran:?}"
    );
    assert!(!home.at("called").exists(), "a retired id is never pasted");
}

/// `nolapse login --setup-token` for agents of an OpenClaw, with a code that is accepted: exit code, and all that it said.
fn year_for(home: &Home, agents: &[&str]) -> (i32, String) {
    let mut args = vec!["-vvv", "login", "--setup-token"];
    args.extend(agents.iter().flat_map(|agent| ["--agent", agent]));
    let mut run = Piped::start(home, &args);
    run.wait_for("paste the code");
    run.say(&format!("{CODE}\n"));
    run.end()
}

#[test]
fn a_years_token_that_was_just_made_is_put_in_by_openclaws_own_command_and_read_back() {
    let databases = ["main", "work"].map(|agent| format!(".openclaw/agents/{agent}/agent/openclaw-agent.sqlite"));
    let files = |home: &Home| {
        home.files()
            .into_keys()
            .filter(|path| path.starts_with(".openclaw/"))
            .collect()
    };
    for (version, text, agents, call) in [
        (
            Version::June,
            "2026.6.6",
            &["openclaw/work"][..],
            "models auth --agent work paste-token --provider anthropic --profile-id anthropic:manual --expires-in 8760h\n",
        ),
        (
            Version::September,
            "2026.9.6",
            &["openclaw/work"],
            "models auth paste-token --provider anthropic --profile-id anthropic:manual --expires-in 8760h --agent work\n",
        ),
        // nobody named: the one whose profiles all share
        (
            Version::September,
            "2026.9.6",
            &[],
            "models auth paste-token --provider anthropic --profile-id anthropic:manual --expires-in 8760h --agent main\n",
        ),
    ] {
        let mut home = installed(version, text);
        claude_stand_in(&mut home, "");
        let before: Vec<String> = files(&home);
        let (code, said) = year_for(&home, agents);
        assert_eq!(code, 0, "{said}");
        assert_eq!(home.read("called"), call);
        let whose = if agents.is_empty() { "main" } else { "work" };
        assert!(
            said.contains(&format!("openclaw/{whose}: recorded anthropic:manual"))
                && said.contains("a setup token is in place"),
            "{said}"
        );
        let json = home.status(&[]);
        assert_eq!(healths(&json, whose), ["anthropic:manual=ok"]);
        // its end is remembered
        let later = |days: i64| healths(&home.status(&["--at", &(now() + days * DAY).to_string()]), whose);
        assert_eq!(later(366), ["anthropic:manual=expired"]);
        assert_eq!(later(340), ["anthropic:manual=ok"]);
        // it is in the database, and neither in a file that was dropped beside it nor set aside
        let after: Vec<String> = files(&home);
        assert_eq!(after, before);
        assert!(!home.at(".local/state/nolapse/rescue").exists());
        no_secret(&home, &said, &databases.each_ref().map(String::as_str));
    }
}

#[test]
fn a_years_token_that_did_not_get_there_is_kept_and_not_called_stored() {
    // refused, and taken without being put in: only reading back tells
    for (file, why) in [("refuse", "the store is busy"), ("pretend", "did not put it there")] {
        let mut home = installed(Version::September, "2026.9.6");
        claude_stand_in(&mut home, "");
        home.write(file, "");
        let (code, said) = year_for(&home, &["openclaw/work"]);
        assert!(code == 3 && said.contains(why), "{file}: {said}");
        assert!(!said.contains("CANARY") && !said.contains("is in place"), "{said}");
        assert!(
            said.contains("it is kept in `~/.local/state/nolapse/rescue/setup-token-"),
            "{said}"
        );
        let dir = home.at(".local/state/nolapse/rescue");
        let kept = fs::read_dir(dir).unwrap().flatten().next().unwrap().path();
        assert_eq!(fs::read_to_string(kept).unwrap(), secret() + "\n");
    }
    // a retired id is refused before anybody signs in
    let mut home = installed(Version::September, "2026.9.6");
    claude_stand_in(&mut home, "");
    let ran = home.run(&[
        "login",
        "--setup-token",
        "--agent",
        "openclaw/work",
        "--profile",
        "anthropic:claude-cli",
    ]);
    assert!(
        ran.code == 3 && ran.stderr.contains("refuses profiles named"),
        "{ran:?}"
    );
    assert!(!home.at("child-args").exists() && !home.at("called").exists());
}

#[test]
fn an_order_is_set_and_cleared_by_openclaws_own_command() {
    let home = installed(Version::September, "2026.9.6");
    let two = json!({"anthropic:a": token("1", now() + 300 * DAY), "anthropic:b": token("2", now() + 300 * DAY)});
    drop(agent_database(&home, "work", two, None));
    let get = || home.run(&["order", "get", "--agent", "openclaw/work"]).stdout;
    assert!(get().contains("no order is stored"), "{}", get());
    let ran = home.run(&["order", "set", "--agent", "openclaw/work", "anthropic:b"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        home.read("called"),
        "models auth order set --provider anthropic --agent work anthropic:b\n"
    );
    assert_eq!(get(), "openclaw/work: anthropic:b\n");
    let ran = home.run(&["order", "set", "--agent", "openclaw/work", "anthropic:c"]);
    assert!(
        ran.code == 3 && ran.stdout.contains("no profile `anthropic:c`"),
        "{ran:?}"
    );
    assert_eq!(home.run(&["order", "clear", "--agent", "openclaw/work"]).code, 0);
    assert!(get().contains("no order is stored"), "{}", get());
}

#[test]
fn a_link_follows_the_login_and_is_taken_away_without_a_trace() {
    let home = installed(Version::September, "2026.9.6");
    home.login("1", now() + 5 * HOUR);
    let before = home.read(".openclaw/openclaw.json");
    let rows = |home: &Home| {
        let db = Connection::open(home.at(".openclaw/agents/work/agent/openclaw-agent.sqlite")).unwrap();
        let row = db.query_row("SELECT store_json FROM auth_profile_store", [], |row| {
            row.get::<_, String>(0)
        });
        row.unwrap()
    };
    let row = rows(&home);
    let reloads = || {
        home.read("called")
            .lines()
            .filter(|line| line.starts_with("secrets reload"))
            .count()
    };

    let files = home.files();
    let ran = home.run(&["link", "openclaw", "--dry-run"]);
    assert!(
        ran.code == 0 && ran.stdout.contains("The Claude CLI runtime") && ran.stdout.contains("providerUpserts"),
        "{ran:?}"
    );
    assert_eq!(home.files(), files, "nothing is done");
    assert!(!home.at("called").exists());

    let ran = home.run(&["link", "openclaw", "--yes"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let json = home.status(&[]);
    for agent_id in ["main", "work"] {
        assert_eq!(healths(&json, agent_id), ["anthropic:nolapse=ok"]);
        assert_eq!(agent(&json, agent_id)["profiles"][0]["login"], "claude");
    }
    assert_eq!(reloads(), 1);
    home.run(&["run"]);
    assert_eq!(reloads(), 1, "the gateway knows this token");

    // a new token: told once, and not by a pass that another may run beside
    home.login("2", now() + 6 * HOUR);
    let lock = home.at(".local/state/nolapse/pass.lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    home.run(&["run"]);
    assert_eq!(reloads(), 1);
    fs::remove_dir(&lock).unwrap();
    home.run(&["run"]);
    home.run(&["run"]);
    assert_eq!(reloads(), 2);
    // a failure is told, and not tried again for the same token
    home.write(
        "unwell",
        "{\"ok\":false,\"error\":{\"message\":\"the gateway said no\"}}",
    );
    home.login("3", now() + 7 * HOUR);
    home.run(&["run"]);
    home.run(&["run"]);
    assert_eq!(reloads(), 3);
    let id = format!("reload:{}", fs::canonicalize(home.at(".openclaw")).unwrap().display());
    let told = alert(&home, &id);
    assert!(
        told["detail"]
            .as_str()
            .is_some_and(|text| text.contains("the gateway said no")),
        "{told}"
    );
    fs::remove_file(home.at("unwell")).unwrap();
    home.login("4", now() + 8 * HOUR);
    home.run(&["run"]);
    assert_eq!(alert(&home, &id), Value::Null);
    assert_eq!(reloads(), 4);
    // a blanked login has no token to tell of
    home.write(".claude/.credentials.json", wiped().to_string());
    home.run(&["run"]);
    assert_eq!(reloads(), 4);

    let ran = home.run(&["unlink", "openclaw", "--yes"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(home.read(".openclaw/openclaw.json"), before, "byte for byte: {ran:?}");
    assert_eq!(rows(&home), row);
    assert!(
        home.run(&["unlink", "openclaw", "--yes"])
            .stdout
            .contains("nothing is linked")
    );
    assert!(
        !home
            .files()
            .keys()
            .any(|path| path.contains("nolapse/plan-") || path.contains("nolapse/openclaw/"))
    );
    assert!(!home.read("environment").contains("sk-ant-"));
}

#[test]
fn what_a_gateway_answers_is_told_and_that_it_must_be_restarted_once() {
    const NO: &str = "{\"ok\":false,\"error\":{\"message\":\"the gateway said no\"}}";
    const OLD: &str = "{\"ok\":false,\"error\":{\"message\":\"unknown method: secrets.reload\"}}";
    const GONE: &str = "{\"ok\":false,\"error\":{\"message\":\"Gateway not reachable at ws://127.0.0.1:1\"}}";
    let home = installed(Version::September, "2026.9.6");
    home.login("0", now() + 5 * HOUR);
    assert_eq!(home.run(&["link", "openclaw", "--yes"]).code, 0);
    let id = format!("reload:{}", fs::canonicalize(home.at(".openclaw")).unwrap().display());
    for (n, (file, text, kind, severity)) in [
        ("warns", "", "reload_warnings", "warning"),
        ("warns", "gone", "", ""),
        ("unwell", NO, "reload_failed", "warning"),
        ("unwell", GONE, "", ""),
        // an older gateway that goes on after an update: once, and louder if it still does with the next token
        ("unwell", OLD, "restart_gateway", "info"),
        ("unwell", OLD, "restart_gateway", "warning"),
        ("unwell", GONE, "", ""),
        ("unwell", OLD, "restart_gateway", "info"),
    ]
    .into_iter()
    .enumerate()
    {
        for file in ["warns", "unwell"] {
            let _ = fs::remove_file(home.at(file));
        }
        if text != "gone" {
            home.write(file, text);
        }
        home.login(&format!("new-{n}"), now() + 5 * HOUR);
        let ran = home.run(&["run"]);
        let told = alert(&home, &id);
        let found = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (found("kind").as_str(), found("severity").as_str()),
            (kind, severity),
            "{n} {told} {ran:?}"
        );
        // what is only to be known has no time that reminders count from
        assert_eq!(told["lapsed"] == true, severity == "warning", "{told}");
    }
    // a gateway that does not follow its config has not read the link
    let home = installed(Version::September, "2026.9.6");
    config(
        &home,
        Version::September,
        json!({"agents": agents(&["main", "work"]), "gateway": {"reload": {"mode": "off"}}}),
    );
    home.login("1", now() + 5 * HOUR);
    home.write("warns", "");
    let ran = home.run(&["link", "openclaw", "--yes"]);
    assert!(ran.stdout.contains("`openclaw gateway restart`"), "{ran:?}");
    let id = format!("reload:{}", fs::canonicalize(home.at(".openclaw")).unwrap().display());
    assert_eq!(alert(&home, &id)["severity"], "info");
}

const LEDGER: &str = ".local/state/nolapse/ledger.json";

/// Moves all moments in it back.
fn age(value: &mut Value, by: i64) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(|one| age(one, by)),
        Value::Object(all) => all.values_mut().for_each(|one| age(one, by)),
        Value::Number(n) if n.as_i64().is_some_and(|n| n > now() - DAY) => *value = (n.as_i64().unwrap() - by).into(),
        _ => {}
    }
}

#[test]
fn that_a_gateway_must_be_restarted_is_one_message() {
    const OLD: &str = "{\"ok\":false,\"error\":{\"message\":\"unknown method: secrets.reload\"}}";
    for off in [false, true] {
        let home = installed(Version::September, "2026.9.6");
        let receiver = Receiver::new(Manner::Answer(200));
        home.config(&receiver.channel("hook", "min_severity = \"info\""));
        home.login("1", now() + 5 * HOUR);
        if off {
            let gateway = json!({"reload": {"mode": "off"}});
            let rest = json!({"agents": agents(&["main", "work"]), "gateway": gateway});
            config(&home, Version::September, rest);
            home.write("warns", "");
        }
        assert_eq!(home.run(&["link", "openclaw", "--yes"]).code, 0);
        let told = || {
            let events = receiver.events().into_iter();
            let events = events.filter(|event| event["kind"] == "restart_gateway" && event["status"] == "firing");
            let severities = events.map(|event| event["severity"].as_str().unwrap().to_owned());
            severities.collect::<Vec<_>>()
        };
        let passes = |n| {
            for _ in 0..n {
                home.run(&["run"]);
            }
        };
        if !off {
            home.write("unwell", OLD);
            home.login("2", now() + 5 * HOUR);
        }
        passes(4);
        assert_eq!(told(), ["info"], "off: {off}");
        // what was told long ago is not told again either: nothing of it has a time that reminders count from
        let mut ledger = home.json(LEDGER);
        for part in ["alerts", "openclaw"] {
            age(&mut ledger[part], 7 * DAY);
        }
        home.write(LEDGER, ledger.to_string());
        passes(2);
        assert_eq!(told(), ["info"], "off: {off}");
        // not done by the next token: once more, and louder
        home.login("3", now() + 5 * HOUR);
        passes(3);
        assert_eq!(told(), ["info", "warning"], "off: {off}");
    }
}

#[test]
fn a_gateway_is_told_of_a_token_in_the_pass_that_renewed_it() {
    let home = installed(Version::September, "2026.9.6");
    let server = Endpoint::start("1", Vec::new());
    home.config(&server.config());
    // long before the old token ends
    home.login("1", now() + 10 * MINUTE);
    assert_eq!(home.run(&["link", "openclaw", "--yes"]).code, 0);
    home.write("called", "");
    let ran = home.run(&["run"]);
    assert!(ran.stdout.contains("renewed directly"), "{ran:?}");
    assert_eq!(home.read("called"), "secrets reload --json\n");
}

#[test]
fn a_link_that_died_midway_is_taken_away_all_the_same() {
    let home = installed(Version::September, "2026.9.6");
    home.login("1", now() + 5 * HOUR);
    let before = home.read(".openclaw/openclaw.json");
    home.write("die", "");
    let ran = home.run(&["link", "openclaw", "--yes"]);
    assert!(
        ran.code == 3 && ran.stderr.contains("nolapse unlink openclaw"),
        "{ran:?}"
    );
    fs::remove_file(home.at("die")).unwrap();
    let ran = home.run(&["unlink", "openclaw", "--yes"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(home.read(".openclaw/openclaw.json"), before);
    assert_eq!(healths(&home.status(&[]), "work"), Vec::<String>::new());
}

#[test]
fn a_ledger_that_cannot_be_read_is_set_aside_and_told_whoever_writes_it() {
    let ledger = ".local/state/nolapse/ledger.json";
    let year = [
        "token",
        "add",
        "--agent",
        "openclaw/work",
        "--profile",
        "anthropic:year",
    ];
    for args in [
        &["link", "openclaw", "--yes"][..],
        &year,
        &["alert", "silence", "--all"],
        // torn while the channel is told
        &["run"],
    ] {
        let home = installed(Version::September, "2026.9.6");
        home.login("1", now() + 5 * HOUR);
        let tear = format!("printf torn > {}", home.at(ledger).display());
        home.config(&format!(
            "[[channel]]\ntype = \"command\"\nmin_severity = \"info\"\ncommand = [\"sh\", \"-c\", \"{tear}\"]\n"
        ));
        match args {
            ["run"] => drop(agent_database(
                &home,
                "work",
                json!({"anthropic:old": token("2", now() - DAY)}),
                None,
            )),
            _ => drop(home.write(ledger, "torn")),
        }
        let ran = home.run_with(args, access("year").as_bytes());
        let files = home.files();
        let kept: Vec<&String> = files.keys().filter(|path| path.contains("ledger.corrupt-")).collect();
        assert_eq!(kept.len(), 1, "{args:?}: {ran:?}");
        assert_eq!(home.read(kept[0]), "torn");
        assert!(ran.stderr.contains("the ledger cannot be read"), "{args:?}: {ran:?}");
        assert_eq!(home.json(ledger)["schema"], "nolapse.ledger/1");
    }
}

#[test]
fn what_cannot_be_linked_says_why_and_changes_nothing() {
    let refused = |home: &Home, args: &[&str], words: &str| {
        let files = home.files();
        let mut all = vec!["link", "openclaw", "--yes"];
        all.extend(args);
        let ran = home.run(&all);
        assert!(ran.code == 3 && ran.stderr.contains(words), "{words}: {ran:?}");
        assert_eq!(home.files(), files, "{words}");
    };
    let home = installed(Version::September, "2026.9.6");
    refused(&home, &[], "there is no login that works");
    home.login("1", now() + 5 * HOUR);
    refused(&home, &["--id", "anthropic:claude-cli"], "refuses profiles named");
    drop(agent_database(
        &home,
        "work",
        json!({"anthropic:nolapse": token("1", now() + DAY)}),
        None,
    ));
    refused(&home, &[], "has a profile `anthropic:nolapse` already");
    let home = installed(Version::June, "2026.6.6");
    home.login("1", now() + 5 * HOUR);
    refused(&home, &[], "has no command that takes a reference out again");
}

/// Under strace: the calls that name a file, of nolapse's own threads. What it starts is let go.
fn traced(home: &Home, args: &[&str], into: &Path) -> Command {
    let mut strace = Command::new("strace");
    strace
        .args("-f -qq -y -b execve -s 0 -e trace=%file,%desc -o".split(' '))
        .arg(into);
    home.under(strace, args)
}

/// What a trace says of databases and the files beside them: what only reads, and what does more. SQLite opens a `-wal` that is there
/// for writing whatever it was asked for, and as root gives it to the database's owner, who has it already: so what counts is what is
/// done with it.
fn database_calls(trace: &str) -> (Vec<&str>, Vec<&str>) {
    const READS: [&str; 18] = [
        "newfstatat",
        "fstat",
        "statx",
        "stat",
        "lstat",
        "access",
        "faccessat",
        "faccessat2",
        "readlink",
        "readlinkat",
        "inotify_add_watch",
        "pread64",
        "read",
        "lseek",
        "close",
        "fstatfs",
        "fadvise64",
        "getxattr",
    ];
    let calls = trace.lines().filter(|line| line.contains(".sqlite"));
    calls.partition(|line| {
        let call = line.split_once(' ').map_or(*line, |(_, call)| call.trim_start());
        let (name, rest) = call.split_once('(').unwrap_or((call, ""));
        match name {
            "open" | "openat" => {
                rest.contains("O_RDONLY") && !rest.contains("O_CREAT") || rest.contains("-wal\", O_RDWR")
            }
            "mmap" => !rest.contains("PROT_WRITE"),
            "fcntl" => !rest.contains("F_WRLCK"),
            "fchown" => rest.contains("-wal>") || rest.contains("-shm>"),
            _ => READS.contains(&name),
        }
    })
}

#[test]
fn no_database_is_ever_opened_for_writing() {
    let home = installed(Version::September, "2026.9.6");
    home.login("1", now() + 5 * HOUR);
    let two = || json!({"anthropic:a": token("1", now() + 300 * DAY), "anthropic:b": token("2", now() + 300 * DAY)});
    drop(agent_database(&home, "work", two(), None));
    // the second round reads beside a writer, and what it has written and not put into its place yet
    for lives in [false, true] {
        let _writer = lives.then(|| agent_database(&home, "work", two(), None));
        for (args, input) in [
            (&[][..], ""),
            (&["status"], ""),
            (&["status", "--json"], ""),
            (&["check"], ""),
            (&["run", "--dry-run"], ""),
            (&["run"], ""),
            (&["sync"], ""),
            (&["refresh"], ""),
            (&["doctor"], ""),
            (&["doctor", "--fix"], ""),
            (&["metrics"], ""),
            (&["token", "list"], ""),
            (
                &["token", "add", "--agent", "openclaw/work", "--profile", "anthropic:c"],
                "year",
            ),
            (
                &["token", "remove", "anthropic:b", "--agent", "openclaw/work", "--yes"],
                "",
            ),
            (
                &["token", "print", "--for", "openclaw"],
                "{\"protocolVersion\":1,\"ids\":[\"claude\"]}",
            ),
            (&["order", "get"], ""),
            (&["order", "set", "--agent", "openclaw/work", "anthropic:b"], ""),
            (&["order", "clear", "--agent", "openclaw/work"], ""),
            (&["link", "openclaw", "--dry-run"], ""),
            (&["link", "openclaw", "--yes"], ""),
            (&["unlink", "openclaw", "--yes"], ""),
        ] {
            let input = if input == "year" {
                access("year")
            } else {
                input.to_owned()
            };
            let into = home.at("trace");
            let mut child = traced(&home, args, &into)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            let output = child.wait_with_output().unwrap();
            let trace = home.read("trace");
            let (looks, more) = database_calls(&trace);
            assert_eq!(more, Vec::<&str>::new(), "{args:?} {lives}");
            let read = |name: &str| {
                looks
                    .iter()
                    .any(|line| line.contains(name) && line.contains("O_RDONLY"))
            };
            assert!(
                read("openclaw-agent.sqlite") && read("state/openclaw.sqlite"),
                "{args:?} {lives}: {output:?}"
            );
        }
    }
}

const REQUEST: &[u8] = br#"{"protocolVersion":1,"provider":"nolapse","ids":["claude","gone"]}"#;

#[test]
fn an_access_token_is_printed_to_the_pipe_of_openclaw_and_nowhere_else() {
    let home = Home::new();
    home.login("1", now() + 5 * HOUR);
    let print = ["token", "print", "--for", "openclaw"];
    let ran = home.run_with(&print, REQUEST);
    assert_eq!(ran.code, 0, "{ran:?}");
    let answer: Value = serde_json::from_str(&ran.stdout).unwrap();
    let expected =
        json!({"protocolVersion": 1, "values": {"claude": access("1")}, "errors": {"gone": {"code": "NOT_FOUND"}}});
    assert_eq!(answer, expected, "the access token, and no refresh token");
    // what is no question is not answered
    for request in [
        &b""[..],
        b"{}",
        br#"{"protocolVersion":2,"ids":["claude"]}"#,
        br#"{"protocolVersion":1,"ids":[1]}"#,
    ] {
        let ran = home.run_with(&print, request);
        assert!(ran.code == 3 && ran.stdout.is_empty(), "{ran:?}");
    }
    // nor what is asked from a file, a device, or by hand
    for into in [
        fs::File::create(home.at("into")).unwrap(),
        fs::File::create("/dev/null").unwrap(),
    ] {
        let mut child = home
            .command(&print)
            .stdin(Stdio::piped())
            .stdout(into)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(REQUEST);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(3) && stderr.contains("to a pipe alone"),
            "{stderr}"
        );
    }
    assert_eq!(home.read("into"), "");
    // a blanked login has none
    home.write(".claude/.credentials.json", wiped().to_string());
    let ran = home.run_with(&print, REQUEST);
    assert!(
        ran.code == 0 && ran.stdout.contains("\"claude\":{\"code\":\"NOT_FOUND\"}"),
        "{ran:?}"
    );
}

#[test]
fn openclaw_asks_nolapse_for_a_login_whose_file_it_does_not_read() {
    for readable in [true, false] {
        let home = installed(Version::September, "2026.9.6");
        home.login("1", now() + 5 * HOUR);
        let file = home.at(".claude/.credentials.json");
        if !readable {
            fs::rename(&file, home.at("kept.json")).unwrap();
            std::os::unix::fs::symlink(home.at("kept.json"), &file).unwrap();
        }
        let before = home.read(".openclaw/openclaw.json");
        let ran = home.run(&["link", "openclaw", "--yes"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(ran.stdout.contains("by `nolapse token print`"), !readable, "{ran:?}");
        assert_eq!(home.read("called").contains("--allow-exec"), !readable);
        let config: Value = serde_json::from_str(&home.read(".openclaw/openclaw.json")).unwrap();
        let source = &config["secrets"]["providers"]["nolapse"];
        assert_eq!(source["source"], if readable { "file" } else { "exec" });
        if !readable {
            assert_eq!(source["args"], json!(["token", "print", "--for", "openclaw"]));
            assert_eq!(source["env"]["HOME"], json!(home.path()));
            let command = fs::symlink_metadata(source["command"].as_str().unwrap()).unwrap();
            assert!(command.is_file(), "OpenClaw takes no link");
        }
        let json = home.status(&[]);
        assert_eq!(agent(&json, "work")["profiles"][0]["login"], "claude", "{json}");
        assert_eq!(home.run(&["unlink", "openclaw", "--yes"]).code, 0);
        assert_eq!(home.read(".openclaw/openclaw.json"), before);
    }
    // what others may write is not run by OpenClaw, so it is not offered to it
    let home = installed(Version::September, "2026.9.6");
    home.login("1", now() + 5 * HOUR);
    fs::set_permissions(home.at(".claude/.credentials.json"), fs::Permissions::from_mode(0o640)).unwrap();
    let program = home.at("theirs");
    fs::copy(env!("CARGO_BIN_EXE_nolapse"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o775)).unwrap();
    let output = Command::new(&program)
        .args(["link", "openclaw", "--yes"])
        .env_clear()
        .envs(&home.env)
        .env("HOME", home.path())
        .output();
    let stderr = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(
        stderr.contains("only if it is yours alone to write") && stderr.contains("install -Dm700"),
        "{stderr}"
    );
    assert!(!home.at("called").exists());
}

#[test]
fn doctor_says_which_openclaw_is_run() {
    let mut home = installed(Version::September, "2026.9.6");
    let stdout = |home: &Home| home.run(&["doctor"]).stdout;
    let said = stdout(&home);
    assert!(
        said.contains("openclaw 2026.9.6 at ~/bin/openclaw, run by ~/bin/node"),
        "{said}"
    );
    fs::remove_file(home.at("bin/openclaw")).unwrap();
    home.env.insert("PATH".into(), home.at("nothing").display().to_string());
    let said = stdout(&home);
    assert!(said.contains("`openclaw` is not on PATH"), "{said}");
}

#[test]
fn a_change_in_a_database_wakes_the_daemon_and_other_writes_do_not() {
    let home = Home::new();
    config(&home, Version::Shared, json!({}));
    // neither its schedule nor an end comes: a pass has the cause that the log names
    home.config("[daemon]\nschedule = \"0 0 0 1 1 *\"\n");
    let year = |n: &str| json!({"anthropic:x": token(n, now() + 300 * DAY)});
    let shared = state_database(&home, Version::Shared, Some(year("1")), None);
    let own = agent_database(&home, "main", json!({}), None);
    let daemon = Daemon::start(&home);
    let write = || {
        own.execute(
            "REPLACE INTO cache_entries VALUES (hex(randomblob(4)), hex(randomblob(500)))",
            [],
        )
    };
    let said = |what: &str| daemon.log().matches(what).count();
    let looks = || said("a database was written, and no credential in it");
    let causes = || said("a credential in a database changed");
    // the first write to a database is looked at by a pass; what others write after that is none of ours
    write().unwrap();
    daemon.until("a pass for the first write", || daemon.passes() == 2);
    let (before, idle, begun) = (looks(), daemon.switches(), Instant::now());
    let mut writes = 0;
    while looks() < before + 5 {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", daemon.log());
        write().unwrap();
        writes += 1;
    }
    // it looked, found nothing, and went on sleeping: no oftener than every 0.6 s, whatever the writers do
    let (looked, took) = (looks() - before, begun.elapsed());
    assert!(
        looked as u128 <= 1 + took.as_millis() / 600,
        "{looked} looks in {took:?}"
    );
    assert_eq!((daemon.passes(), causes()), (2, 1), "{writes} writes\n{}", daemon.log());
    // what is written between two looks wakes nobody; a look may wait for the writer a few times
    let woken = daemon.switches() - idle;
    assert!(
        woken < 30 * looked as u64,
        "woken {woken} times by {writes} writes, for {looked} looks"
    );
    assert!(writes > 10 * looked, "{writes} writes, {looked} looks");
    for (n, (db, sql)) in [
        (
            &own,
            "REPLACE INTO auth_profile_state VALUES ('primary', '{\"order\":{\"anthropic\":[\"anthropic:x\"]}}', 2)",
        ),
        (
            &shared,
            "UPDATE config_machine_state SET value_json = '{\"version\":1,\"profiles\":{}}' WHERE state_key = 'authProfiles.store'",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        db.execute(sql, []).unwrap();
        daemon.until("a pass for the change", || daemon.passes() == 3 + n);
        assert_eq!(causes(), 2 + n, "{}", daemon.log());
    }
    assert_eq!(daemon.stop(), 0);
}
