//! Cases made by the real clawdbot 2026.1.24-3: a home before (`in`) and after (`out`), and what its own check said.

use super::home::{Home, MAIN, NOW, copy};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

struct Case {
    name: String,
    dir: PathBuf,
    expect: Value,
}

fn cases() -> Vec<Case> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clawdbot-2026.1.24-3");
    let mut cases: Vec<Case> = fs::read_dir(root)
        .unwrap()
        .flatten()
        .map(|entry| Case {
            name: entry.file_name().into_string().unwrap(),
            expect: serde_json::from_slice(&fs::read(entry.path().join("expect.json")).unwrap()).unwrap(),
            dir: entry.path(),
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(cases.len() >= 55, "{} cases", cases.len());
    cases
}

impl Case {
    fn run(&self) -> &Value {
        &self.expect["runs"][self.expect["primary_run"].as_str().unwrap()]
    }

    /// The home, with the variables that the command was given.
    fn home(&self, which: &str) -> Home {
        let mut home = Home::new();
        if self.dir.join(which).exists() {
            copy(&self.dir.join(which), home.path());
        }
        for word in self.run()["cmd"]
            .as_str()
            .unwrap()
            .split_whitespace()
            .take_while(|word| word.contains('='))
        {
            let (name, value) = word.split_once('=').unwrap();
            if name != "HOME" {
                let value = value.trim_matches('\'').replace("$HOME", home.path().to_str().unwrap());
                home.env.insert(name.into(), value);
            }
        }
        // the one value with a blank in it, which the split above cuts in two
        if home.env.get("CLAWDBOT_AGENT_DIR").is_some_and(String::is_empty) {
            home.env.insert("CLAWDBOT_AGENT_DIR".into(), " ".into());
        }
        home
    }

    /// The stores that clawdbot left.
    fn stores(&self) -> Vec<String> {
        let files = self.expect["out_files"].as_array().unwrap();
        let paths = files.iter().map(|file| file["path"].as_str().unwrap().to_owned());
        paths.filter(|path| path.ends_with("auth-profiles.json")).collect()
    }
}

/// Where our exit code says something else on purpose, or the case is not about credentials of agent `main` alone.
const OTHER_EXIT: [(&str, &str); 7] = [
    ("agent-custom-agentDir", "a command that checks nothing"),
    ("agent-id-normalised", "a command that checks nothing"),
    ("agent-work-inherits", "a command that checks nothing"),
    ("agent-work-nothing", "a command that checks nothing"),
    ("agent-work-sync", "a command that checks nothing"),
    (
        "config-invalid-key",
        "clawdbot refuses to run on such a config; its credentials are fine",
    ),
    (
        "config-malformed",
        "clawdbot refuses to run on such a config; its credentials are fine",
    ),
];

/// Exit codes of commands that were not asked to check.
const NOT_CHECKED: [(&str, i64); 2] = [("oauth-expired-1h-no-check", 1), ("refresh-doctor-fix", 1)];

#[test]
fn the_raw_clock_and_its_exit_code_are_clawdbots() {
    let mut compared = 0;
    for case in cases() {
        let home = case.home("out");
        let ran = home.run(&["status", "--json", "--by-clock", "--at", &NOW.to_string()]);
        let json: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{}: {e}: {ran:?}", case.name));
        assert_eq!(json["exit"], ran.code, "{}", case.name);
        if let Some(profiles) = case.run()["oauth"]["profiles"].as_array() {
            let want: BTreeMap<_, _> = profiles
                .iter()
                .map(|p| {
                    (
                        p["profileId"].as_str().unwrap(),
                        (p["provider"].clone(), p["type"].clone(), p["status"].clone()),
                    )
                })
                .collect();
            let main = json["agents"]
                .as_array()
                .unwrap()
                .iter()
                .find(|a| a["agent"] == "main" && a["family"] == "clawdbot");
            let empty = Vec::new();
            let ours = main.map_or(&empty, |agent| agent["profiles"].as_array().unwrap());
            let got: BTreeMap<_, _> = ours
                .iter()
                .map(|p| {
                    (
                        p["id"].as_str().unwrap(),
                        (p["provider"].clone(), p["type"].clone(), p["clock"].clone()),
                    )
                })
                .collect();
            assert_eq!(got, want, "{}", case.name);
            compared += 1;
        }
        if OTHER_EXIT.iter().any(|(name, _)| *name == case.name) {
            continue;
        }
        let not_checked = NOT_CHECKED
            .iter()
            .find(|(name, _)| *name == case.name)
            .map(|(_, code)| *code);
        let mut want = not_checked.unwrap_or_else(|| case.run()["exit"].as_i64().unwrap());
        if matches!(case.name.as_str(), "refresh-ok" | "refresh-ok-other-id") {
            // the check ran before its own refresh had been saved; afterwards the token has eight hours left
            want = 2;
        }
        assert_eq!(i64::from(ran.code), want, "{}: {}", case.name, ran.stdout);
    }
    assert!(compared >= 45, "{compared} compared");
}

/// Where our sync leaves other bytes than clawdbot's own, and why.
const OTHER_BYTES: [(&str, &str); 15] = [
    (
        "agent-work-inherits",
        "an agent without a store gets the login's profile, not a clone of main's keys and order",
    ),
    ("codex-and-qwen-cli", "Codex and Qwen logins are not mirrored"),
    (
        "creds-bom",
        "a byte order mark is read through: the login is there, so it is given on",
    ),
    (
        "env-moltbot-ignored",
        "the login is Claude Code's own choice, `CLAUDE_CONFIG_DIR`, which clawdbot ignores",
    ),
    (
        "legacy-auth-json-plus-claude",
        "a store beside a legacy `auth.json` would shut it out: the agent takes it over first",
    ),
    ("refresh-ok", "clawdbot renews at the endpoint here; a sync does not"),
    (
        "refresh-ok-other-id",
        "clawdbot renews at the endpoint here; a sync does not",
    ),
    ("store-api-key-under-cli-id", "an API key is never overwritten"),
    (
        "store-claude-cli-provider",
        "a profile of another provider is never overwritten",
    ),
    (
        "store-malformed-json",
        "a malformed store is reported and never replaced",
    ),
    (
        "store-oauth-expired-cli-fresh",
        "fields of the profile that are not ours survive",
    ),
    (
        "store-rewrite-normalises",
        "unknown keys, entries and their order survive",
    ),
    (
        "store-token-no-expires",
        "a token without an end may be a setup token that exists nowhere else",
    ),
    (
        "store-token-then-oauth-expired",
        "a token good for 60 days is not replaced by one that has expired",
    ),
    (
        "store-token-then-oauth-upgrade",
        "a token good for 60 days is not replaced by one good for 8 hours",
    ),
];

#[test]
fn a_full_sync_leaves_clawdbots_own_bytes() {
    let mut same = 0;
    for case in cases() {
        let home = case.home("in");
        home.config("[sync]\nshare = \"full\"\n");
        for store in case.stores() {
            fs::create_dir_all(home.at(&store).parent().unwrap()).unwrap();
        }
        let before = home.files();
        let ran = home.run(&["sync", "--at", &NOW.to_string()]);
        let stores = case.stores();
        let differs = stores.iter().find(|store| {
            let want = fs::read(case.dir.join("out").join(store)).unwrap();
            fs::read(home.at(store)).ok().as_deref() != Some(&want)
        });
        let reason = OTHER_BYTES.iter().find(|(name, _)| *name == case.name);
        match (differs, reason) {
            (None, None) => same += case.stores().len(),
            (Some(_), Some(_)) => {}
            (Some(store), None) => panic!(
                "{}: {store}\n{ran:?}\nours:\n{}\nclawdbot's:\n{}",
                case.name,
                fs::read_to_string(home.at(store)).unwrap_or_default(),
                fs::read_to_string(case.dir.join("out").join(store)).unwrap()
            ),
            // a row of the table that is not needed is a row that lies
            (None, Some((_, reason))) => assert!(case.stores().is_empty(), "{}: no difference; {reason}", case.name),
        }
        // whatever else there was is as it was
        for (path, bytes) in before {
            if !path.ends_with("auth-profiles.json") {
                assert_eq!(fs::read(home.at(&path)).unwrap(), bytes, "{}: {path}", case.name);
            }
        }
        let after = home.run(&["sync", "--at", &NOW.to_string()]);
        assert!(
            !after.stdout.contains("brought up to date"),
            "{}: a second sync: {after:?}",
            case.name
        );
    }
    assert!(same >= 25, "{same} stores the same");
}

#[test]
fn what_is_never_overwritten_is_there_afterwards() {
    for (name, kept) in [
        ("store-api-key-under-cli-id", "sk-ant-api03-FAKE-KEY-0001"),
        ("store-claude-cli-provider", "sk-ant-ort01-FAKE-REFRESH-0002"),
        ("store-malformed-json", "{\"version\":1,\"profiles\":{"),
        ("store-token-no-expires", "sk-ant-oat01-FAKE-ACCESS-0002"),
        ("store-newer-oauth", "sk-ant-ort01-FAKE-REFRESH-0002"),
    ] {
        let case = cases().into_iter().find(|case| case.name == name).unwrap();
        let home = case.home("in");
        home.config("[sync]\nshare = \"full\"\n");
        let before = home.read(MAIN);
        home.run(&["sync", "--at", &NOW.to_string()]);
        assert_eq!(home.read(MAIN), before, "{name}");
        assert!(before.contains(kept), "{name}");
    }
    let case = cases()
        .into_iter()
        .find(|case| case.name == "store-rewrite-normalises")
        .unwrap();
    let home = case.home("in");
    home.config("[sync]\nshare = \"full\"\n");
    home.run(&["sync", "--at", &NOW.to_string()]);
    let after = home.read(MAIN);
    for kept in [
        "\"x-top\"",
        "\"bad:type\"",
        "\"bad:null\": null",
        "\" anthropic:default \"",
        "\"x-extra\"",
        "\"errorCount\": 0",
    ] {
        assert!(after.contains(kept), "{kept} is gone:\n{after}");
    }
    assert!(after.contains("sk-ant-oat01-FAKE-ACCESS-0001"));
    assert!(
        after.find("\"usageStats\"").unwrap() < after.find("\"profiles\"").unwrap(),
        "key order"
    );
}
