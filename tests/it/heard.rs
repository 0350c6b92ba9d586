//! Whether anybody heard of what fires, and what every command says of it.

use super::endpoint::{Answer, Endpoint};
use super::home::{DAY, HOUR, Home, MAIN, MINUTE, credentials, now, oauth, token};
use super::receiver::{Manner, Receiver};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const OK: Manner = Manner::Answer(200);

fn lapsed() -> Home {
    let home = Home::new();
    home.write(
        ".claude/.credentials.json",
        credentials("1", now() - 2 * HOUR, Some(now() - HOUR)).to_string(),
    );
    home
}

fn config(home: &Home, text: &str) {
    home.config(&format!("[renew]\nmode = \"off\"\n{text}"));
}

fn unheard(home: &Home) -> Vec<Value> {
    let list: Value = serde_json::from_str(&home.run(&["alert", "list", "--json"]).stdout).unwrap();
    let firing = list["firing"].as_array().unwrap();
    firing.iter().map(|alert| alert["unheard"].clone()).collect()
}

#[test]
fn a_lapse_that_nobody_heard_of_ends_with_three() {
    let ok = Receiver::new(OK);
    for (name, text, code, why) in [
        ("heard", ok.channel("phone", ""), 1, json!(null)),
        (
            "refused",
            Receiver::new(Manner::Answer(404)).channel("phone", ""),
            3,
            json!("undelivered"),
        ),
        (
            "down",
            Receiver::new(Manner::Answer(503)).channel("phone", ""),
            3,
            json!("undelivered"),
        ),
        (
            "one of two",
            ok.channel("a", "") + &Receiver::new(Manner::Answer(503)).channel("b", ""),
            1,
            json!(null),
        ),
        (
            "a filter that matches nobody",
            ok.channel("phone", "logins = [\"typo\"]"),
            3,
            json!("no_taker"),
        ),
        (
            "the log alone",
            "[[channel]]\ntype = \"log\"\n".into(),
            3,
            json!("log_alone"),
        ),
        ("nothing configured", String::new(), 3, json!("log_alone")),
    ] {
        let home = lapsed();
        config(&home, &text);
        let ran = home.run(&["run"]);
        assert_eq!(ran.code, code, "{name}: {ran:?}");
        assert_eq!(unheard(&home), [why], "{name}");
        // what a look at the logins says is not changed by who heard of it
        assert_eq!(home.run(&["check"]).code, 1, "{name}");
    }
    let home = lapsed();
    config(&home, &ok.channel("phone", "logins = [\"typo\"]"));
    let ran = home.run(&["run"]);
    assert!(ran.stdout.contains("no channel takes it"), "{ran:?}");
    let list = home.run(&["alert", "list"]).stdout;
    assert!(list.contains("this alert fires and no channel takes it"), "{list}");
    // a person who knows of it has heard of it
    home.run(&["alert", "ack", "--all"]);
    assert_eq!(home.run(&["run"]).code, 1);
}

#[test]
fn what_cannot_be_remembered_ends_with_three() {
    let home = lapsed();
    let ok = Receiver::new(OK);
    config(&home, &ok.channel("phone", ""));
    home.write(".local/state/nolapse", "a file where the directory should be");
    let ran = home.run(&["run"]);
    assert_eq!(ran.code, 3, "{ran:?}");
}

#[test]
fn every_alert_that_fires_counts_in_every_command() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR);
    let (good, bad) = (Receiver::new(OK), Receiver::new(Manner::Answer(404)));
    config(
        &home,
        &(good.channel("good", "") + &bad.channel("bad", "min_severity = \"info\"")),
    );
    home.run(&["alert", "test", "bad"]);
    let ran = home.run(&["run"]);
    assert!(ran.stdout.contains("alert channel `bad`"), "{ran:?}");
    assert_eq!(home.run(&["status", "--check"]).code, 3);
    let check = home.run(&["check"]);
    assert_eq!(check.code, 3, "{check:?}");
    assert!(check.stdout.contains("alert channel `bad`"), "{check:?}");
    let nagios = home.run(&["check", "--format", "nagios"]);
    assert_eq!(nagios.code, 1, "{nagios:?}");
    assert!(nagios.stdout.starts_with("NOLAPSE WARNING - "), "{nagios:?}");
    assert_eq!(home.status(&[])["exit"], 3);
}

#[test]
fn a_rehearsal_names_who_would_hear_and_only_what_is_left_after_the_repairs() {
    let home = Home::new();
    let (phone, mail) = (Receiver::new(OK), Receiver::new(OK));
    config(
        &home,
        &(phone.channel("phone", "")
            + &mail.channel("mail", "min_severity = \"critical\"")
            + &mail.channel("other", "logins = [\"x\"]")),
    );
    // the copy has run out, and the pass is about to bring it up to date
    home.login("1", now() + 8 * HOUR);
    home.store("main", json!({"anthropic:claude-cli": token("1", now() - HOUR)}));
    home.run(&["run"]);
    home.store("main", json!({"anthropic:claude-cli": token("1", now() - HOUR)}));
    let dry = home.run(&["run", "--dry-run"]);
    assert!(dry.stdout.contains("would change ~/.clawdbot"), "{dry:?}");
    assert!(
        dry.stdout.contains("nothing needs you") && !dry.stdout.contains("would notify"),
        "{dry:?}"
    );
    assert!(home.read(MAIN).contains(&(now() - HOUR).to_string()[..7]));

    home.write(
        ".claude/.credentials.json",
        credentials("1", now() + 8 * HOUR, Some(now() + 5 * DAY)).to_string(),
    );
    home.store("main", json!({"anthropic:x": oauth("9", now() - 3 * HOUR)}));
    let seen = phone.seen().len() + mail.seen().len();
    let dry = home.run(&["run", "--dry-run"]).stdout;
    assert!(dry.contains("would notify phone: Claude login `claude` "), "{dry}");
    assert!(!dry.contains("would notify mail: Claude login `claude`"), "{dry}");
    assert!(!dry.contains("would notify other"), "{dry}");
    assert_eq!(phone.seen().len() + mail.seen().len(), seen);
    home.run(&["run"]);
    assert_eq!(
        home.run(&["run", "--dry-run"]).stdout.matches("would notify").count(),
        0,
        "told already"
    );
}

#[test]
fn a_list_begins_with_the_loudest_and_says_what_helps() {
    let home = lapsed();
    let ok = Receiver::new(OK);
    config(&home, &ok.channel("phone", ""));
    home.store(
        "a",
        json!({"anthropic:a": {"type": "token", "provider": "anthropic", "token": "t", "expires": now() + 2 * DAY}}),
    );
    home.run(&["run"]);
    let list = home.run(&["alert", "list"]).stdout;
    let (critical, warning) = (list.find("critical").unwrap(), list.find("warning").unwrap());
    assert!(critical < warning, "{list}");
    assert!(list.contains("fix: ") && list.contains("(1 h ago)"), "{list}");
}

#[test]
fn a_pass_says_an_alert_once() {
    let home = lapsed();
    config(&home, "[[channel]]\ntype = \"log\"\n");
    let ran = home.run(&["run"]);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(said.matches("has ended on").count(), 1, "{said}");
}

/// A home whose `ssh` is this script.
fn with_ssh(script: &str) -> Home {
    use std::os::unix::fs::PermissionsExt;
    let mut home = lapsed();
    let ssh = home.write("bin/ssh", format!("#!/bin/sh\n{script}\n"));
    std::fs::set_permissions(ssh, std::fs::Permissions::from_mode(0o755)).unwrap();
    home.env
        .insert("PATH".into(), format!("{}:/usr/bin:/bin", home.at("bin").display()));
    home
}

/// Waits until the receiver has seen this many requests; how long that took.
fn within(receiver: &Receiver, count: usize, limit: Duration) -> Duration {
    let begun = Instant::now();
    while receiver.seen().len() < count {
        assert!(begun.elapsed() < limit, "only {:?}", receiver.lines());
        std::thread::sleep(Duration::from_millis(5));
    }
    begun.elapsed()
}

#[test]
fn a_local_alert_leaves_at_once_whatever_hangs() {
    let home = with_ssh("exec sleep 30");
    let (phone, mute) = (Receiver::new(OK), Receiver::new(Manner::Mute));
    let mut text = phone.channel("phone", "") + &mute.channel("mute", "timeout = \"20s\"");
    text += &format!("[heartbeat]\nurl = \"{}\"\n", mute.url());
    for i in 0..24 {
        text += &format!("[[remote]]\nname = \"r{i}\"\nssh = \"r{i}\"\ntimeout = \"20s\"\n");
    }
    config(&home, &text);
    let mut pass = home.spawn(&["run"]);
    let took = within(&phone, 1, Duration::from_secs(20));
    // the machine that runs the tests may be busy; what hangs, hangs for 20 s
    assert!(took < Duration::from_secs(5), "{took:?}");
    // it is remembered although the others still hang: the next pass neither waits nor tells it again
    let begun = Instant::now();
    while home
        .run(&["alert", "list", "--json"])
        .stdout
        .matches("\"phone\": {")
        .count()
        == 0
    {
        assert!(begun.elapsed() < Duration::from_secs(10), "not recorded");
    }
    let mut next = home.spawn(&["run"]);
    home.run(&["check"]);
    let begun = Instant::now();
    loop {
        let log = home.run(&["history", "--json"]).stdout;
        if log.contains("delivered") || begun.elapsed() > Duration::from_secs(10) {
            break;
        }
    }
    assert_eq!(phone.seen().len(), 1);
    for child in [&mut pass, &mut next] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_daemon_tells_the_next_alert_while_a_channel_hangs() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR);
    let (phone, mute) = (Receiver::new(OK), Receiver::new(Manner::Mute));
    config(
        &home,
        &(phone.channel("phone", "")
            + &mute.channel("mute", "timeout = \"60s\"")
            + "[daemon]\nschedule = \"0 0 0 1 1 *\"\n"),
    );
    home.write(MAIN, "{");
    let mut daemon = home.spawn(&["daemon"]);
    within(&phone, 1, Duration::from_secs(20));
    within(&mute, 1, Duration::from_secs(20));
    // the hanging channel has 60 s; the next alert comes long before
    home.write(
        ".claude/.credentials.json",
        credentials("1", now() - 2 * HOUR, Some(now() - HOUR)).to_string(),
    );
    within(&phone, 2, Duration::from_secs(20));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

/// A mail server may take ten minutes for its answer (RFC 5321), which only the daemon can wait for: what it leases is left alone as long.
#[test]
fn a_daemon_leases_for_as_long_as_a_mail_server_may_take() {
    for (command, minutes) in [("daemon", 15), ("run", 7)] {
        let home = lapsed();
        let mute = Receiver::new(Manner::Mute);
        config(&home, &mute.channel("mute", "timeout = \"60s\""));
        let mut pass = home.spawn(&[command]);
        within(&mute, 1, Duration::from_secs(20));
        pass.kill().unwrap();
        pass.wait().unwrap();
        let out = home.json(".local/state/nolapse/ledger.json")["outbox"][0].clone();
        let lease = out["next_at"].as_i64().unwrap() - out["tried_at"].as_i64().unwrap();
        assert_eq!(lease, minutes * MINUTE, "{command}");
    }
}

#[test]
fn many_slow_hosts_are_asked_side_by_side_and_their_alerts_follow() {
    let there = lapsed();
    let home = with_ssh(&format!(
        "sleep 1; exec env HOME={} {} status --json",
        there.path().display(),
        env!("CARGO_BIN_EXE_nolapse")
    ));
    home.login("1", now() + 8 * HOUR);
    let phone = Receiver::new(OK);
    let mut text = phone.channel("phone", "");
    for i in 0..64 {
        text += &format!("[[remote]]\nname = \"r{i}\"\nssh = \"r{i}\"\n");
    }
    config(&home, &text);
    let begun = Instant::now();
    let ran = home.run(&["run"]);
    let took = begun.elapsed();
    assert_eq!(ran.code, 1, "{ran:?}");
    // one after the other they would take 64 s
    assert!(took < Duration::from_secs(20), "{took:?}");
    // in messages of their own or in a digest, nobody is left out
    let unheard = unheard(&home);
    assert_eq!(unheard.len(), 64, "an answer was lost");
    assert!(
        unheard.iter().all(Value::is_null) && !phone.seen().is_empty(),
        "{unheard:?}"
    );
}

#[test]
fn a_dead_heartbeat_is_an_alert_like_a_broken_channel() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR);
    let (phone, beat) = (Receiver::new(OK), Receiver::new(Manner::Answer(404)));
    config(
        &home,
        &(phone.channel("phone", "logins = [\"other\"]") + &format!("[heartbeat]\nurl = \"{}\"\n", beat.url())),
    );
    home.run(&["run"]);
    home.run(&["run"]);
    let told = phone.events();
    assert_eq!(
        (told.len(), &told[0]["kind"]),
        (1, &json!("heartbeat_refused")),
        "{told:?}"
    );
    assert_eq!(home.run(&["check"]).code, 3);
    beat.now(OK);
    home.run(&["run"]);
    home.run(&["run"]);
    let told = phone.events();
    assert_eq!((told.len(), &told[1]["status"]), (2, &json!("resolved")), "{told:?}");
}

#[test]
fn where_nobody_would_be_alerted_everything_says_so() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR);
    let says = "nobody would be alerted: there is only the log";
    for args in [&["status"][..], &["run"], &["doctor"]] {
        let ran = home.run(args);
        assert!(ran.stdout.contains("nobody would be alerted"), "{args:?}: {ran:?}");
    }
    assert!(home.run(&["status"]).stdout.contains(says));
    // healthy all the same
    assert_eq!(home.run(&["run"]).code, 0);
    // a session bus that answers nothing is no desktop
    config(&home, "[[channel]]\ntype = \"desktop\"\n");
    assert!(home.run(&["status"]).stdout.contains("there is no session bus"));
    config(&home, &Receiver::new(OK).channel("phone", ""));
    assert!(!home.run(&["status"]).stdout.contains("nobody would"));
}

/// The alerts that fire, as the pass judged them.
fn firing(home: &Home) -> Vec<Value> {
    home.run(&["run"]);
    let alerts = home.json(".local/state/nolapse/ledger.json")["alerts"].clone();
    let alerts = alerts.as_object().unwrap().values();
    alerts.map(|memory| memory["last"].clone()).collect()
}

#[test]
fn a_group_is_as_bad_as_the_worst_in_it_and_ends_with_the_first() {
    let home = Home::new();
    config(&home, "");
    home.login("1", now() + 8 * HOUR);
    let token =
        |expires: i64| json!({"zai:t": {"type": "token", "provider": "zai", "token": "zai-same", "expires": expires}});
    let (soon, over) = (now() + 2 * DAY, now() - HOUR);
    // the milder one comes first, by name
    home.store("a", token(soon)).store("b", token(over));
    let alerts = firing(&home);
    let group = alerts
        .iter()
        .find(|alert| alert["id"].as_str().unwrap().starts_with("token:"))
        .unwrap();
    assert_eq!(group["affected"].as_array().unwrap().len(), 2, "{group:#}");
    assert_eq!(
        (&group["severity"], &group["lapsed"]),
        (&json!("critical"), &json!(true))
    );
    assert_eq!(group["ends"], json!(over));
}

#[test]
fn a_typo_in_the_configuration_silences_nobody() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR);
    let (phone, beat) = (Receiver::new(OK), Receiver::new(OK));
    let text = format!(
        "[renew]\nmode = \"off\"\n[heartbeat]\nurl = \"{}\"\n{}",
        beat.url(),
        phone.channel("phone", "secret = \"whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5\"")
    );
    home.config(&text);
    assert_eq!(home.run(&["run"]).code, 0);
    let kept = home.read(".local/state/nolapse/config.kept.toml");
    assert!(!kept.contains("Y2FuYXJ5") && !kept.contains("/hook"), "{kept}");

    home.config(&text.replace("mode = \"off\"", "mode = \"of\""));
    home.write(
        ".claude/.credentials.json",
        credentials("1", now() - 2 * HOUR, Some(now() - HOUR)).to_string(),
    );
    let ran = home.run(&["run"]);
    assert!(ran.code == 1 || ran.code == 3, "{ran:?}");
    let told = phone.events();
    let ids: Vec<&str> = told.iter().map(|event| event["alert_id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"login:claude") && ids.contains(&"config"), "{ids:?}");
    let broken = told.iter().find(|event| event["alert_id"] == "config").unwrap();
    let message = broken["message"].as_str().unwrap();
    assert!(
        message.contains("config.toml:2") && message.contains("renew.mode"),
        "{message}"
    );
    assert!(beat.lines().last().unwrap().contains("/fail"), "{:?}", beat.lines());
    assert!(home.run(&["check"]).stdout.contains("configuration is broken"));
    // asked about the configuration itself, the error is the answer
    assert_eq!(home.run(&["config", "check"]).code, 3);
    home.config(&text);
    home.run(&["run"]);
    let told = phone.events();
    assert!(
        told.iter()
            .any(|event| event["alert_id"] == "config" && event["status"] == "resolved"),
        "{told:?}"
    );
}

/// A renewal with an unknown outcome is an alert while its login works; once that has lapsed, the lapse is the one alert.
#[test]
fn a_lapse_says_it_all_of_a_renewal_that_nobody_knows_the_end_of() {
    for (ago, id) in [(MINUTE, "renew:claude"), (2 * HOUR, "login:claude")] {
        let home = Home::new();
        let endpoint = Endpoint::start("1", vec![Answer::HangUp]);
        let phone = Receiver::new(OK);
        home.config(&(endpoint.config() + &phone.channel("phone", "")));
        home.login("1", now() - ago)
            .store("main", json!({"anthropic:claude-cli": token("1", now() - ago)}));
        let alerts = firing(&home);
        let ids: Vec<&str> = alerts.iter().map(|alert| alert["id"].as_str().unwrap()).collect();
        assert_eq!(ids, [id]);
        assert_eq!(endpoint.seen().len(), 1);
    }
}
