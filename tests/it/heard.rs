//! Whether anybody heard of what fires, and what every command says of it.

use super::home::{DAY, HOUR, Home, MAIN, MINUTE, credentials, now, oauth, token};
use super::receiver::{Manner, Receiver};
use serde_json::{Value, json};

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
    let _ = MINUTE;
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
