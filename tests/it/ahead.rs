//! What a pass cannot change is told before it waits for its own repairs; what it is about to repair is not.

use super::endpoint::{Answer, Endpoint, Gate};
use super::home::{DAY, HOUR, Home, Ran, access, credentials, now, oauth, refresh, token};
use super::receiver::{Manner, Receiver};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::time::{Duration, Instant};

const OK: Manner = Manner::Answer(200);
const CREDENTIALS: &str = ".claude/.credentials.json";
const LOGINS: &str = "[[login]]\ndir = \"~/.claude-b\"\nagents = [\"clawdbot/b\"]\n\
    [[login]]\ndir = \"~/.claude-c\"\nagents = [\"clawdbot/behind\"]\n";

/// A login that is due, one that only a person can help, one that is fine; and of each kind of alert one that the pass repairs beside one
/// that it cannot repair.
fn home() -> Home {
    let home = Home::new();
    let over = now() - 2 * HOUR;
    home.write(CREDENTIALS, credentials("1", over, Some(now() + 20 * DAY)).to_string());
    home.write(
        ".claude-b/.credentials.json",
        credentials("2", over, Some(now() - HOUR)).to_string(),
    );
    home.write(
        ".claude-c/.credentials.json",
        credentials("3", now() + 8 * HOUR, Some(now() + 20 * DAY)).to_string(),
    );
    let setup = |provider: &str| json!({"type": "token", "provider": provider, "token": format!("{provider}-key"), "expires": over});
    // brought up to date by the renewal, and with it the ended token beside it hurts nobody
    home.store(
        "main",
        json!({"anthropic:claude-cli": token("1", over), "anthropic:own": setup("anthropic"), "zai:t": setup("zai")}),
    );
    // brought up to date from the login that is fine
    home.store("behind", json!({"anthropic:claude-cli": token("3-old", over)}));
    home.write(".clawdbot/agents/torn/agent/auth-profiles.json", "{");
    home
}

/// A token endpoint that knows `live` and answers once the gate is open; `channels` hear what is told meanwhile.
fn hanging(home: &Home, live: &str, channels: &str) -> (Endpoint, Arc<Gate>) {
    let (answer, gate) = Answer::held();
    let endpoint = Endpoint::start(live, vec![answer]);
    let config = endpoint.config().replace("\"5s\"", "\"60s\"");
    home.config(&(config + channels + LOGINS));
    (endpoint, gate)
}

/// What is told of [`home`].
const AHEAD: [&str; 3] = ["login:claude-b", "store:clawdbot/torn", "token"];

/// Of which alerts the receiver was told; of tokens, whose names are hashes, that there is one.
fn heard(phone: &Receiver) -> BTreeSet<String> {
    let kind = |event: Value| {
        let id = event["alert_id"].as_str().unwrap().to_owned();
        id.strip_prefix("token:").map(|_| "token".to_owned()).unwrap_or(id)
    };
    phone.events().into_iter().map(kind).collect()
}

fn wanted() -> BTreeSet<String> {
    AHEAD.map(str::to_owned).into()
}

/// The pass still runs when all of it was heard; until then nobody lets the renewal go on.
fn while_it_hangs(phone: &Receiver, pass: &mut Child) {
    let begun = Instant::now();
    while !heard(phone).is_superset(&wanted()) {
        assert!(pass.try_wait().unwrap().is_none(), "the pass ended: {:?}", heard(phone));
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", heard(phone));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ends(pass: Child) -> Ran {
    Ran::of(pass.wait_with_output().unwrap())
}

/// Once each, and no word of what was repaired.
fn told_well(home: &Home, phone: &Receiver, ran: &Ran) {
    assert_eq!(heard(phone), wanted(), "{ran:?}");
    assert_eq!(phone.seen().len(), AHEAD.len(), "{:?}", phone.events());
    // what was delivered is remembered, and noted as if nothing had been in the way
    let log = home.run(&["history", "--json"]).stdout;
    let log: Value = serde_json::from_str(&log).unwrap();
    let lines = log["entries"].as_array().unwrap();
    for what in ["lapsed", "delivered"] {
        let of_it = lines.iter().filter(|line| line["what"] == what);
        let severe = of_it.filter(|line| line["severity"] != "info").count();
        assert_eq!(severe, AHEAD.len(), "{what}: {log}");
    }
    for id in AHEAD {
        assert!(ran.stdout.contains("notified phone: "), "{id}: {ran:?}");
    }
    home.run(&["run"]);
    assert_eq!(phone.seen().len(), AHEAD.len(), "told again: {:?}", phone.events());
}

#[test]
fn nobody_waits_for_a_token_endpoint_that_hangs() {
    let home = home();
    let phone = Receiver::new(OK);
    let (endpoint, gate) = hanging(&home, "1", &phone.channel("phone", ""));
    let mut pass = home.spawn(&["run"]);
    while_it_hangs(&phone, &mut pass);
    gate.open();
    let ran = ends(pass);
    assert_eq!((endpoint.made(), ran.code), (1, 1), "{ran:?}");
    let main = home.json(".clawdbot/agents/main/agent/auth-profiles.json");
    assert_eq!(main["profiles"]["anthropic:claude-cli"]["token"], access("r1"));
    told_well(&home, &phone, &ran);
}

#[test]
fn nobody_waits_for_a_claude_that_hangs() {
    let mut home = home();
    let phone = Receiver::new(OK);
    home.config(&(phone.channel("phone", "") + LOGINS));
    home.write(
        "next.json",
        credentials("4", now() + 8 * HOUR, Some(now() + 20 * DAY)).to_string(),
    );
    let gate = home.at("gate");
    let made = std::process::Command::new("mkfifo").arg(&gate).status().unwrap();
    assert!(made.success());
    let program = home.write(
        ".local/share/claude/versions/2.1.330",
        "#!/bin/sh\nread x < \"$HOME/gate\"\ncp \"$HOME/next.json\" \"$HOME/.claude/t\" && mv \"$HOME/.claude/t\" \"$HOME/.claude/.credentials.json\"\n",
    );
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(home.at("bin")).unwrap();
    std::os::unix::fs::symlink(program, home.at("bin/claude")).unwrap();
    home.env
        .insert("PATH".into(), format!("{}:/usr/bin:/bin", home.at("bin").display()));
    let mut pass = home.spawn(&["run"]);
    while_it_hangs(&phone, &mut pass);
    std::fs::write(gate, "go\n").unwrap();
    let ran = ends(pass);
    assert_eq!(
        home.json(CREDENTIALS)["claudeAiOauth"]["refreshToken"],
        refresh("4"),
        "{ran:?}"
    );
    told_well(&home, &phone, &ran);
}

/// A store that is behind, and whose lock an agent holds. Returns the configuration.
fn locked(home: &Home, phone: &Receiver) -> String {
    home.login("1", now() + 8 * HOUR);
    std::fs::create_dir(home.at(LOCK)).unwrap();
    "[renew]\nmode = \"off\"\n".to_owned() + &phone.channel("phone", "min_severity = \"critical\"") + LOGINS
}

const LOCK: &str = ".clawdbot/agents/behind/agent/auth-profiles.json.lock";

/// An agent that holds its store's lock is waited for as well.
#[test]
fn nobody_waits_for_a_store_that_is_locked() {
    let home = home();
    let phone = Receiver::new(OK);
    home.config(&locked(&home, &phone));
    let mut pass = home.spawn(&["run"]);
    while_it_hangs(&phone, &mut pass);
    std::fs::remove_dir(home.at(LOCK)).unwrap();
    let ran = ends(pass);
    let behind = home.json(".clawdbot/agents/behind/agent/auth-profiles.json");
    assert_eq!(
        behind["profiles"]["anthropic:claude-cli"]["token"],
        access("3"),
        "{ran:?}"
    );
    told_well(&home, &phone, &ran);
}

/// What was not taken before the renewals were over is neither lost nor sent twice.
#[test]
fn what_is_on_its_way_when_the_repairs_are_done_arrives_once() {
    let home = home();
    let (phone, slow) = (Receiver::new(OK), Receiver::new(Manner::Mute));
    let channels = phone.channel("phone", "") + &slow.channel("slow", "timeout = \"60s\"");
    let (_endpoint, gate) = hanging(&home, "1", &channels);
    let mut pass = home.spawn(&["run"]);
    while_it_hangs(&phone, &mut pass);
    // a channel is given one after the other
    assert_eq!(slow.seen().len(), 1);
    gate.open();
    let begun = Instant::now();
    while home.json(CREDENTIALS)["claudeAiOauth"]["refreshToken"] != refresh("r1") {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    slow.now(OK);
    slow.release(200);
    let ran = ends(pass);
    assert_eq!(ran.stdout.matches("notified slow: ").count(), AHEAD.len(), "{ran:?}");
    assert_eq!(heard(&slow), wanted());
    home.run(&["run"]);
    assert_eq!((phone.seen().len(), slow.seen().len()), (AHEAD.len(), AHEAD.len()));
}

/// A pass that is killed while it waits has sent nothing that the next one does not know of.
#[test]
fn killed_while_it_waits_nothing_is_told_twice_at_once() {
    let home = home();
    let phone = Receiver::new(OK);
    home.config(&locked(&home, &phone));
    let mut pass = home.spawn(&["run"]);
    while_it_hangs(&phone, &mut pass);
    pass.kill().unwrap();
    pass.wait().unwrap();
    let ledger = home.json(".local/state/nolapse/ledger.json");
    let outbox = ledger["outbox"].as_array().unwrap().iter();
    let leased: BTreeSet<&str> = outbox.map(|out| out["event"]["event_id"].as_str().unwrap()).collect();
    let events = phone.events();
    let sent: BTreeSet<&str> = events.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    assert_eq!(leased, sent, "leased before it was sent");
    std::fs::remove_dir(home.at(LOCK)).unwrap();
    home.run(&["run"]);
    assert_eq!(phone.seen().len(), AHEAD.len(), "{:?}", phone.events());
}

/// A store's own grant that is due says nothing before it was tried.
#[test]
fn a_grant_that_is_about_to_be_renewed_is_no_alert() {
    let home = home();
    let phone = Receiver::new(OK);
    let (endpoint, gate) = hanging(&home, "5", &phone.channel("phone", ""));
    // the logins need nobody
    home.login("1", now() + 8 * HOUR);
    home.store("own", json!({"anthropic:own": oauth("5", now() - 2 * HOUR)}));
    let mut pass = home.spawn(&["run"]);
    while_it_hangs(&phone, &mut pass);
    gate.open();
    let ran = ends(pass);
    assert_eq!(endpoint.made(), 1, "{ran:?}");
    told_well(&home, &phone, &ran);
}

/// Beside `told_well`: what the repairs do not bring about is told in the same pass.
#[test]
fn what_could_not_be_repaired_is_told_by_the_same_pass() {
    let home = home();
    let phone = Receiver::new(OK);
    let (_endpoint, gate) = hanging(&home, "other", &phone.channel("phone", ""));
    let mut pass = home.spawn(&["run"]);
    while_it_hangs(&phone, &mut pass);
    gate.open();
    let ran = ends(pass);
    let rest: BTreeSet<String> = heard(&phone).difference(&wanted()).cloned().collect();
    assert!(rest.contains("login:claude"), "{rest:?} {ran:?}");
    assert!(Path::new(&home.at(CREDENTIALS)).exists());
}

/// What nobody takes is in the history all the same, once.
#[test]
fn what_no_channel_takes_is_noted_although_it_was_known_before_the_repairs() {
    let home = home();
    let phone = Receiver::new(OK);
    let endpoint = Endpoint::start("1", Vec::new());
    home.config(&(endpoint.config() + &phone.channel("phone", "logins = [\"typo\"]") + LOGINS));
    let ran = home.run(&["run"]);
    assert_eq!((endpoint.made(), ran.code), (1, 3), "{ran:?}");
    let log: Value = serde_json::from_str(&home.run(&["history", "--json"]).stdout).unwrap();
    let entries = log["entries"].as_array().unwrap().iter();
    let of_it = entries.filter(|entry| entry["what"] == "lapsed" && entry["alert"] == "login:claude-b");
    assert_eq!(of_it.count(), 1, "{log}");
}
