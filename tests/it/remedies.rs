//! Every remedy of every kind of alert, run on the home that raised it: it changes the alert, or it is a person's own act.

use super::home::{DAY, HOUR, Home, MAIN, Ran, access, credentials, now, oauth, refresh, token};
use super::homes::{api_key, config, pasted, quiet, setup, store};
use super::openclaw::{self, Version};
use super::reauth::CODE;
use super::receiver::{Manner, Receiver};
use super::root::give;
use serde_json::{Value, json};
use sha2::Digest;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

const LOGIN: &str = ".claude/.credentials.json";
const LEDGER: &str = ".local/state/nolapse/ledger.json";

/// What becomes of an alert when its commands are run.
#[derive(Clone)]
enum Remedy {
    /// They change it. What they are given on stdin.
    Helps(String),
    /// The first one begins so, and is a person's own act: with what stands in for the programs and people that it needs, which gives
    /// what it is given on stdin, it changes the alert.
    Act(&'static str, fn(&Home) -> String),
    /// The first one begins so, and shows what is wrong. What a person does about that changes the alert.
    Shows(&'static str, fn(&Home)),
}
use Remedy::{Act, Helps, Shows};

fn helps() -> Remedy {
    Helps(String::new())
}

/// A kind of alert, the home that raises it, and its remedy.
type Row = (&'static str, fn(&mut Home), Remedy);

/// A program that the home's owner has.
fn program(home: &Home, name: &str, script: &str) {
    let path = home.write(&format!("bin/{name}"), format!("#!/bin/sh\n{script}"));
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A person signs in with a code that is accepted.
fn signs_in(home: &Home) -> String {
    program(home, "claude", include_str!("claude.sh"));
    home.write("mode", "\n");
    home.write("token", setup() + "\n");
    std::fs::create_dir_all(home.at(".claude")).unwrap();
    format!("{CODE}\n")
}

/// `claude` renews the login when it is used.
fn renews(home: &Home) -> String {
    let next = credentials("2", now() + 8 * HOUR, Some(now() + 20 * DAY));
    home.write("next", next.to_string());
    let script =
        "cp \"$HOME/next\" \"$HOME/.claude/t\" && mv \"$HOME/.claude/t\" \"$HOME/.claude/.credentials.json\"\n";
    let versions = "lib/claude/versions";
    home.write(&format!("{versions}/2.1.330"), format!("#!/bin/sh\n{script}"));
    let path = home.at(&format!("{versions}/2.1.330"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir_all(home.at("bin")).unwrap();
    std::os::unix::fs::symlink(path, home.at("bin/claude")).unwrap();
    String::new()
}

/// Clawdbot's own `config set PATH VALUE`, of `auth.profiles[ID].KEY`.
fn sets(home: &Home) -> String {
    program(
        home,
        "clawdbot",
        r#"[ "$1 $2" = "config set" ] || exit 64
key=${3##*.}; id=${3#*\[}; id=${id%\]*}
config=$HOME/.clawdbot/clawdbot.json
new=$(sqlite3 :memory: "SELECT json_set(CAST(readfile('$config') AS TEXT), '$.auth.profiles.\"$id\".$key', '$4')") && printf %s "$new" > "$config"
"#
        .replace("\\\\", "\\")
        .as_str(),
    );
    String::new()
}

/// Clawdbot's own `models auth paste-token`, of `anthropic:manual`.
fn pastes(home: &Home) {
    let script = r#"[ "$*" = "models auth paste-token --provider anthropic --profile-id anthropic:manual" ] || exit 64
read -r token
store=$HOME/.clawdbot/agents/main/agent/auth-profiles.json
new=$(sqlite3 :memory: "SELECT json_set(CAST(readfile('$store') AS TEXT), '$.profiles.\"anthropic:manual\"',
  json_object('type', 'token', 'provider', 'anthropic', 'token', '$token'))") && printf %s "$new" > "$store"
"#;
    program(home, "clawdbot", script);
}

/// The gateway does as it is told, and the login's next token reaches it.
fn obeys(home: &Home) -> String {
    for file in ["warns", "unwell"] {
        let _ = std::fs::remove_file(home.at(file));
    }
    home.login("3", now() + 9 * HOUR);
    String::new()
}

/// The other host answers, and nothing is wrong there.
fn healthy_there(home: &Home) {
    let there = Home::new();
    there.login("1", now() + 8 * HOUR);
    let said = home.write("said", there.run(&["status", "--json"]).stdout);
    program(home, "ssh", &format!("cat {}\n", said.display()));
    // it is time to ask again
    let mut ledger = home.json(LEDGER);
    ledger["remotes"]["gw"]["asked_at"] = 0.into();
    home.write(LEDGER, ledger.to_string());
}

/// A heartbeat goes to a receiver that takes it.
fn heard(home: &Home) {
    let receiver = Receiver::new(Manner::Answer(200));
    let before = home.read(".config/nolapse/config.toml");
    let (head, tail) = before.split_once("[heartbeat]").unwrap();
    let rest = tail
        .split_once("\nurl = ")
        .unwrap()
        .1
        .split_once('\n')
        .map_or("", |(_, rest)| rest);
    home.config(&format!("{head}[heartbeat]\nurl = \"{}\"\n{rest}", receiver.url()));
}

fn login(home: &Home, change: impl FnOnce(&mut Value)) {
    let mut file = credentials("1", now() + 8 * HOUR, Some(now() + 20 * DAY));
    change(&mut file["claudeAiOauth"]);
    home.write(LOGIN, file.to_string());
}

fn blank(grant: &mut Value) {
    for key in ["accessToken", "refreshToken"] {
        grant[key] = "".into();
    }
    grant["expiresAt"] = 0.into();
}

fn ended() -> Value {
    token("9", now() - HOUR)
}

fn copy(home: &Home, expires: i64) {
    home.store("main", json!({"anthropic:claude-cli": token("1", expires)}));
}

fn with_mode(home: &Home, mode: &str, entry: Value) {
    home.store("main", json!({"anthropic:good": entry}));
    let profiles = json!({"anthropic:good": {"provider": "anthropic", "mode": mode}});
    config(home, &json!({"auth": {"profiles": profiles}}));
}

fn add_to_config(home: &Home, text: &str) {
    let before = home.read(".config/nolapse/config.toml");
    home.config(&(before + text));
}

/// What an earlier pass left in the ledger.
fn remember(home: &Home, change: impl FnOnce(&mut Value)) {
    home.run(&["run"]);
    let mut ledger = home.json(LEDGER);
    change(&mut ledger);
    home.write(LEDGER, ledger.to_string());
}

fn fingerprint(text: &str) -> String {
    let hash = sha2::Sha256::digest(text.as_bytes());
    hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn trouble(refused: bool) -> Value {
    json!({"since": now() - HOUR, "failures": 9, "refused": refused, "why": "answered 404", "mark": 0})
}

/// A channel whose receiver refuses or fails; it works again once somebody has seen to that.
fn with_channel(home: &Home, answer: u16) {
    home.login("1", now() + 8 * HOUR);
    add_to_config(
        home,
        &format!(
            "[[channel]]\ntype = \"command\"\nname = \"phone\"\ncommand = [\"sh\", \"-c\", \"[ -e mended ] || exit {}\"]\n",
            if answer == 404 { 1 } else { 75 }
        ),
    );
    remember(home, |ledger| ledger["troubles"]["phone"] = trouble(answer == 404));
}

fn with_renewal(home: &Home, stage: Value) {
    home.login("1", now() + HOUR);
    let record =
        json!({"token": fingerprint(&refresh("1")), "failures": 0, "next_at": 0, "last": null, "stage": stage});
    remember(home, |ledger| ledger["renewals"]["claude"] = record);
}

fn with_ssh(home: &mut Home, script: &str) {
    let ssh = home.write("bin/ssh", format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", home.at("bin").display());
    home.env.insert("PATH".into(), path);
    add_to_config(home, "[[remote]]\nname = \"gw\"\nssh = \"u@gw\"\ngrace = \"0s\"\n");
    home.login("1", now() + 8 * HOUR);
}

/// 25 ended tokens on another host.
fn many_there(home: &mut Home) {
    let there = Home::new();
    let entries = (0..25).map(|n| {
        (
            format!("zai:{n}"),
            json!({"type": "token", "provider": "zai", "token": format!("z{n}"), "expires": now() - HOUR}),
        )
    });
    there.store("main", Value::Object(entries.collect()));
    let said = home.write("said", there.run(&["status", "--json"]).stdout);
    with_ssh(home, &format!("cat {}", said.display()));
}

/// What belongs to root in a home of another user's; of somebody else than root nothing does.
fn of_root(home: &Home, path: &str) {
    give(home.path());
    std::os::unix::fs::lchown(home.at(path), Some(0), Some(0)).unwrap();
}

fn of_logins() -> Vec<Row> {
    let sign_in = || Act("nolapse login --login claude", signs_in);
    vec![
        (
            "login_ends_soon",
            |home| login(home, |grant| grant["refreshTokenExpiresAt"] = (now() + 5 * DAY).into()),
            sign_in(),
        ),
        (
            "login_ended",
            |home| {
                login(home, |grant| {
                    grant["expiresAt"] = (now() - 2 * HOUR).into();
                    grant["refreshTokenExpiresAt"] = (now() - HOUR).into();
                });
            },
            sign_in(),
        ),
        ("race_logout", |home| login(home, blank), sign_in()),
        (
            "blanked",
            |home| {
                login(home, |grant| {
                    blank(grant);
                    grant.as_object_mut().unwrap().remove("refreshTokenExpiresAt");
                });
            },
            sign_in(),
        ),
        (
            "rejected",
            |home| {
                home.login("1", now() + 8 * HOUR);
                remember(home, |ledger| ledger["rejected"] = json!([fingerprint(&refresh("1"))]));
            },
            sign_in(),
        ),
        (
            "older_state",
            |home| {
                home.login("1", now() + 8 * HOUR);
                remember(home, |ledger| {
                    ledger["spent"][fingerprint(&refresh("1"))] = (now() + 20 * DAY).into()
                });
            },
            sign_in(),
        ),
        (
            "abandoned_refresh",
            |home| {
                home.login("1", now() - 2 * HOUR);
                home.write(".claude/.oauth_refresh.lock.owner", "{}");
            },
            sign_in(),
        ),
        (
            "not_renewed",
            |home| {
                home.login("1", now() - 2 * HOUR);
                let config = home.read(".config/nolapse/config.toml");
                home.config(&config.replace("mode = \"off\"", "mode = \"delegate\"\nalways = true"));
            },
            Act("nolapse refresh --login claude --force", renews),
        ),
        (
            "unknown_outcome",
            |home| {
                with_renewal(
                    home,
                    json!({"unknown": {"expires": now() + HOUR, "at": now(), "why": "timed out"}}),
                )
            },
            sign_in(),
        ),
        (
            "rescue",
            |home| {
                with_renewal(home, json!({"rescued": {"at": now(), "why": "disk full"}}));
                let spent = fingerprint(&refresh("1"));
                let text = json!({"schema": "nolapse.rescue/1", "whom": "claude", "spent": spent, "access": access("2"),
                    "refresh": refresh("2"), "expires": now() + 8 * HOUR, "deadline": 0, "until": 0});
                home.write(&format!(".local/state/nolapse/rescue/{spent}.json"), text.to_string());
                // what is completed first cannot be completed either
                std::fs::set_permissions(home.at(".claude"), std::fs::Permissions::from_mode(0o500)).unwrap();
                give(home.path());
            },
            Act("nolapse refresh", |home| {
                std::fs::set_permissions(home.at(".claude"), std::fs::Permissions::from_mode(0o700)).unwrap();
                String::new()
            }),
        ),
        ("unreadable", |home| drop(home.write(LOGIN, "{")), sign_in()),
        (
            "no_scopes",
            |home| login(home, |grant| drop(grant.as_object_mut().unwrap().remove("scopes"))),
            sign_in(),
        ),
        (
            "no_access_token",
            |home| login(home, |grant| grant["accessToken"] = "".into()),
            sign_in(),
        ),
        (
            "directory_in_place",
            |home| std::fs::create_dir_all(home.at(LOGIN)).unwrap(),
            helps(),
        ),
        (
            "not_a_file",
            |home| {
                std::fs::create_dir_all(home.at(".claude")).unwrap();
                rustix::fs::mkfifoat(rustix::fs::CWD, home.at(LOGIN), rustix::fs::Mode::RWXU).unwrap();
            },
            helps(),
        ),
        (
            "byte_order_mark",
            |home| drop(home.write(LOGIN, format!("\u{feff}{}", credentials("1", now() + 8 * HOUR, None)))),
            helps(),
        ),
        (
            "foreign_owner",
            |home| {
                home.login("1", now() + 8 * HOUR);
                std::fs::set_permissions(home.at(".claude"), std::fs::Permissions::from_mode(0o700)).unwrap();
                of_root(home, ".claude");
            },
            helps(),
        ),
        (
            "not_readable",
            |home| {
                home.login("1", now() + 8 * HOUR);
                std::fs::set_permissions(home.at(LOGIN), std::fs::Permissions::from_mode(0o000)).unwrap();
                give(home.path());
            },
            helps(),
        ),
        (
            "missing",
            |home| {
                add_to_config(home, "[[login]]\ndir = \"~/.claude\"\n");
                home.write(".claude/settings.json", "{}");
            },
            sign_in(),
        ),
        (
            "healed",
            |home| {
                home.login("1", now() + 8 * HOUR);
                remember(home, |ledger| {
                    ledger["healed"]["claude"] = json!({"at": now() - HOUR, "from": "clawdbot/main"})
                });
            },
            Shows("nolapse history", |home| {
                remember(home, |ledger| drop(ledger.as_object_mut().unwrap().remove("healed")))
            }),
        ),
        (
            "not_healed",
            |home| {
                home.login("1", now() - HOUR);
                let mut newer = oauth("1", now() + 5 * HOUR);
                newer["access"] = access("2").into();
                home.store("main", json!({"anthropic:claude-cli": newer}));
                std::fs::set_permissions(home.at(".claude"), std::fs::Permissions::from_mode(0o500)).unwrap();
                give(home.path());
            },
            helps(),
        ),
    ]
}

fn of_stores() -> Vec<Row> {
    vec![
        (
            "no_refresh_token",
            |home| {
                home.store("main", json!({"anthropic:manual": ended()}));
                pastes(home);
            },
            Helps(setup()),
        ),
        (
            "copy_stale",
            |home| {
                home.login("1", now() + 8 * HOUR);
                copy(home, now() - HOUR);
                add_to_config(home, "[sync]\nexclude_agents = [\"clawdbot/main\", \"x/*\"]\n");
            },
            helps(),
        ),
        (
            "copy_stale",
            |home| {
                home.login("1", now() + 8 * HOUR);
                copy(home, now() - HOUR);
                add_to_config(home, "[sync]\nenabled = false\n");
            },
            helps(),
        ),
        (
            "copy_stale",
            |home| {
                home.login("1", now() + 8 * HOUR);
                copy(home, now() - HOUR);
                let dir = home.at(MAIN).parent().unwrap().to_owned();
                std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o500)).unwrap();
                give(home.path());
            },
            helps(),
        ),
        (
            "copy_stale",
            |home| {
                home.login("1", now() + 8 * HOUR);
                copy(home, now() - HOUR);
                of_root(home, ".clawdbot/agents/main/agent");
            },
            helps(),
        ),
        (
            "copy_stale",
            |home| {
                home.login("1", now() - HOUR);
                copy(home, now() - HOUR);
            },
            Act("claude -p /cost", renews),
        ),
        (
            "copy_diverged",
            |home| {
                home.login("1", now() - DAY);
                home.store("main", json!({"anthropic:claude-cli": oauth("other", now() - HOUR)}));
            },
            Act("claude -p /cost", renews),
        ),
        (
            "no_token",
            |home| {
                home.store("ops", json!({"anthropic:manual": pasted("${TOKEN}")}));
            },
            Helps(setup()),
        ),
        (
            "no_key",
            |home| {
                let entry = json!({"type": "api_key", "provider": "anthropic", "key": "YOUR_API_KEY"});
                home.store("main", json!({"anthropic:default": entry}));
            },
            Helps(api_key()),
        ),
        (
            "expires_in_seconds",
            |home| {
                let mut entry = pasted(&setup());
                entry["expires"] = ((now() + 300 * DAY) / 1000).into();
                home.store("main", json!({"anthropic:manual": entry}));
            },
            helps(),
        ),
        (
            "login_not_configured",
            |home| {
                let text = credentials("alice", now() + 8 * HOUR, Some(now() + 20 * DAY)).to_string();
                home.write(".claude-alice/.credentials.json", text);
                let mut stale = token("x", now() - HOUR);
                stale["token"] = access("alice").into();
                home.store("alice", json!({"anthropic:claude-cli": stale}));
            },
            helps(),
        ),
        (
            "store_malformed",
            |home| drop(home.write(MAIN, "{\"version\": 1, \"profiles\": {")),
            helps(),
        ),
        (
            "directory_in_place",
            |home| std::fs::create_dir_all(home.at(MAIN)).unwrap(),
            helps(),
        ),
        (
            "not_a_file",
            |home| {
                std::fs::create_dir_all(home.at(MAIN).parent().unwrap()).unwrap();
                rustix::fs::mkfifoat(rustix::fs::CWD, home.at(MAIN), rustix::fs::Mode::RWXU).unwrap();
            },
            helps(),
        ),
        (
            "byte_order_mark",
            |home| drop(home.write(MAIN, format!("\u{feff}{}", json!({"version": 1, "profiles": {}})))),
            helps(),
        ),
        (
            "not_readable",
            |home| {
                home.store("main", json!({"anthropic:manual": pasted(&setup())}));
                std::fs::set_permissions(home.at(MAIN), std::fs::Permissions::from_mode(0o000)).unwrap();
                give(home.path());
            },
            helps(),
        ),
        (
            "foreign_owner",
            |home| {
                home.store("main", json!({"anthropic:manual": pasted(&setup())}));
                let agents = home.at(".clawdbot/agents");
                std::fs::set_permissions(agents, std::fs::Permissions::from_mode(0o700)).unwrap();
                of_root(home, ".clawdbot/agents");
            },
            helps(),
        ),
        (
            "unreadable",
            |home| {
                std::fs::create_dir_all(home.at(MAIN).parent().unwrap()).unwrap();
                std::os::unix::fs::symlink("nowhere", home.at(MAIN)).unwrap();
            },
            Shows("ls -l", |home| std::fs::remove_file(home.at(MAIN)).unwrap()),
        ),
    ]
}

fn of_agents() -> Vec<Row> {
    vec![
        (
            "not_in_order",
            |home| {
                let profiles = json!({"anthropic:default": ended(), "anthropic:good": pasted(&setup())});
                let order = json!({"anthropic": ["anthropic:default"]});
                store(
                    home,
                    ".clawdbot",
                    "main",
                    &json!({"version": 1, "profiles": profiles, "order": order}),
                );
            },
            helps(),
        ),
        // the agents' own command changes their config
        (
            "mode_refused",
            |home| with_mode(home, "token", oauth("1", now() + 8 * HOUR)),
            Act("clawdbot config set", sets),
        ),
        (
            "key_refused",
            |home| {
                with_mode(
                    home,
                    "token",
                    json!({"type": "api_key", "provider": "anthropic", "key": api_key()}),
                )
            },
            Act("clawdbot config set", sets),
        ),
        (
            "other_provider",
            |home| {
                home.store("main", json!({"anthropic:good": pasted(&setup())}));
                let profiles = json!({"anthropic:good": {"provider": "openai", "mode": "oauth"}});
                config(
                    home,
                    &json!({"auth": {"profiles": profiles, "order": {"anthropic": ["anthropic:good"]}}}),
                );
            },
            Act("clawdbot config set", sets),
        ),
        (
            "held_back",
            |home| {
                let usage = json!({"anthropic:good": {"disabledUntil": now() + 5 * HOUR, "disabledReason": "billing"}});
                let profiles = json!({"anthropic:good": pasted(&setup())});
                store(
                    home,
                    ".clawdbot",
                    "main",
                    &json!({"version": 1, "profiles": profiles, "usageStats": usage}),
                );
            },
            Shows("nolapse status", |home| {
                home.store("main", json!({"anthropic:good": pasted(&setup())}));
            }),
        ),
        (
            "entries_ignored",
            |home| {
                store(
                    home,
                    ".clawdbot",
                    "ops",
                    &json!({"anthropic:default": pasted(&setup())}),
                )
            },
            Helps(setup()),
        ),
        (
            "profile_retired",
            |home| {
                openclaw::install(home, Version::September, "2026.9.6");
                let profiles = json!({"anthropic:claude-cli": pasted(&setup())});
                drop(openclaw::agent_database(home, "work", profiles, None));
            },
            Helps(setup()),
        ),
        (
            "reload_failed",
            |home| reload(home, "unwell", r#"{"ok":false,"error":{"message":"no"}}"#),
            Act("openclaw secrets reload", obeys),
        ),
        (
            "reload_warnings",
            |home| reload(home, "warns", ""),
            Act("openclaw secrets audit", obeys),
        ),
        (
            "restart_gateway",
            |home| {
                reload(
                    home,
                    "unwell",
                    r#"{"ok":false,"error":{"message":"unknown method: secrets.reload"}}"#,
                )
            },
            Act("openclaw gateway restart", obeys),
        ),
    ]
}

/// A gateway that was to have a login's new token, and answers so.
fn reload(home: &mut Home, file: &str, answer: &str) {
    openclaw::install(home, Version::September, "2026.9.6");
    home.login("1", now() + 8 * HOUR);
    let ran = home.run(&["link", "openclaw", "--yes"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    home.write(file, answer);
    home.login("2", now() + 8 * HOUR);
    home.run(&["run"]);
}

fn of_telling() -> Vec<Row> {
    vec![
        ("channel_failing", |home| with_channel(home, 503), helps()),
        ("channel_refused", |home| with_channel(home, 404), helps()),
        (
            "heartbeat_failing",
            |home| {
                home.login("1", now() + 8 * HOUR);
                add_to_config(home, "[heartbeat]\nurl = \"http://127.0.0.1:1/x\"\n");
                remember(home, |ledger| ledger["heartbeat"] = trouble(false));
            },
            Shows("nolapse doctor", heard),
        ),
        (
            "heartbeat_refused",
            |home| {
                home.login("1", now() + 8 * HOUR);
                let receiver = Receiver::new(Manner::Answer(404));
                add_to_config(home, &format!("[heartbeat]\nurl = \"{}\"\n", receiver.url()));
                remember(home, |_| ());
            },
            Shows("nolapse doctor", heard),
        ),
        (
            "config_broken",
            |home| {
                home.login("1", now() + 8 * HOUR);
                home.run(&["run"]);
                add_to_config(home, "[renw]\n");
            },
            Shows("nolapse config check", |home| {
                home.config(&home.read(".config/nolapse/config.toml").replace("[renw]\n", ""));
            }),
        ),
        (
            "silent",
            |home| with_ssh(home, "exit 255"),
            Shows("ssh u@gw nolapse status", healthy_there),
        ),
        (
            "host_key_changed",
            |home| {
                with_ssh(
                    home,
                    "echo '@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @' >&2; exit 255",
                )
            },
            Act("ssh-keygen -R", |home| {
                healthy_there(home);
                // it is forgotten first, or ssh goes on refusing
                std::fs::rename(home.at("bin/ssh"), home.at("ssh")).unwrap();
                program(home, "ssh", "exit 255\n");
                program(
                    home,
                    "ssh-keygen",
                    "[ \"$1 $2\" = '-R gw' ] && mv \"$HOME/ssh\" \"$HOME/bin/ssh\"\n",
                );
                String::new()
            }),
        ),
        ("more", many_there, Shows("nolapse status", healthy_there)),
    ]
}

/// The alert of this kind that fires, with its commands.
fn fires(home: &Home, kind: &str) -> Option<Value> {
    home.run(&["run"]);
    let list: Value = serde_json::from_str(&home.run(&["alert", "list", "--json"]).stdout).unwrap();
    let firing = list["firing"].as_array().unwrap();
    firing.iter().find(|alert| alert["kind"] == kind).cloned()
}

/// A command, run as the person whose home it is; what asks for `sudo` as who may do that.
fn run(home: &Home, command: &str, input: &str) -> Ran {
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(home.path()).unwrap());
    let command = command.replace("sudo ", "").replace("$(id -un)", &owner.to_string());
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_nolapse")).parent().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", &command])
        .env_clear()
        .env("HOME", home.path())
        .env(
            "PATH",
            format!("{}:{}:/usr/bin:/bin", home.at("bin").display(), bin.display()),
        )
        .current_dir(home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
    Ran::of(child.wait_with_output().unwrap())
}

/// Each helps, or is a person's own act.
fn try_all(rows: Vec<Row>) {
    // what a person does who makes a token or signs in
    const BY_HAND: [&str; 3] = ["claude setup-token", "claude auth login", "nolapse login"];
    let root = rustix::process::geteuid().is_root();
    for (kind, make, remedy) in rows {
        // nobody but root can make what belongs to another user
        if !root && kind == "foreign_owner" {
            continue;
        }
        let mut home = quiet();
        make(&mut home);
        let before = fires(&home, kind).unwrap_or_else(|| panic!("{kind} does not fire: {:?}", home.run(&["status"])));
        let commands: Vec<&str> = before["commands"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_str().unwrap())
            .collect();
        let (secret, acts) = match remedy {
            Helps(secret) => (secret + "\n", false),
            Act(begins, prepare) => {
                assert!(commands[0].starts_with(begins), "{kind}: {commands:?}");
                (prepare(&home), true)
            }
            Shows(begins, mend) => {
                assert!(commands[0].starts_with(begins), "{kind}: {commands:?}");
                let one = run(&home, commands[0], "");
                assert!(
                    !one.stdout.is_empty() || !one.stderr.is_empty() || one.code != 0,
                    "{kind}: {one:?}"
                );
                mend(&home);
                changed(&home, kind, &before);
                continue;
            }
        };
        if acts {
            let one = run(&home, commands[0], &secret);
            assert_eq!(one.code, 0, "{kind}: {}: {one:?}", commands[0]);
            changed(&home, kind, &before);
            continue;
        }
        home.write("mended", "");
        let ours = commands
            .iter()
            .filter(|command| !BY_HAND.iter().any(|word| command.starts_with(word)));
        let mut ran = 0;
        for command in ours {
            let one = run(&home, command, &secret);
            assert_eq!(one.code, 0, "{kind}: {command}: {one:?}");
            ran += 1;
        }
        assert!(ran > 0, "{kind}: {commands:?}");
        changed(&home, kind, &before);
    }
}

/// The alert is gone, is another one, or is no longer critical.
fn changed(home: &Home, kind: &str, before: &Value) {
    // what others answer is known once a pass is over
    home.run(&["run"]);
    let after = fires(home, kind);
    let milder = |after: &Value| before["severity"] == "critical" && after["severity"] == "info";
    assert!(
        after
            .as_ref()
            .is_none_or(|after| after["id"] != before["id"] || milder(after)),
        "{kind}: {} left {after:?}",
        before["commands"]
    );
}

#[test]
fn remedies_of_logins_help() {
    try_all(of_logins());
}

#[test]
fn remedies_of_stores_help() {
    try_all(of_stores());
}

#[test]
fn remedies_of_agents_help() {
    try_all(of_agents());
}

#[test]
fn remedies_of_telling_help() {
    try_all(of_telling());
}

#[test]
fn every_kind_of_alert_has_its_remedy_tried() {
    let rows = [of_logins(), of_stores(), of_agents(), of_telling()].concat();
    let docs = include_str!("../../docs/alerts.md");
    let table = docs
        .split("\n## Kinds\n")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap();
    let rows_of_it = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| messages"));
    let kinds: Vec<&str> = rows_of_it.flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
    assert!(kinds.len() > 40, "{kinds:?}");
    for kind in kinds {
        assert!(rows.iter().any(|(of, ..)| *of == kind), "{kind} has no row");
    }
}
