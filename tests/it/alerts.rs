//! Alerts as a person has them: told once, muted when asked, tried again, receipts, and the heartbeat.

use super::home::{DAY, HOUR, Home, MINUTE, credentials, now};
use super::receiver::{Manner, Receiver};
use serde_json::{Value, json};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

const LEDGER: &str = ".local/state/nolapse/ledger.json";
const OK: Manner = Manner::Answer(200);

/// A login that ends in two days: a warning.
fn warned() -> Home {
    let home = Home::new();
    // the server may take up to three days off the deadline
    let text = credentials("1", now() + 8 * HOUR, Some(now() + 5 * DAY)).to_string();
    home.write(".claude/.credentials.json", text);
    home
}

/// Its end has come: critical.
fn lapse(home: &Home) {
    let text = credentials("1", now() - 2 * HOUR, Some(now() - HOUR)).to_string();
    home.write(".claude/.credentials.json", text);
}

fn mend(home: &Home) {
    home.login("2", now() + 8 * HOUR);
}

fn config(home: &Home, text: &str) {
    home.config(&format!("[renew]\nmode = \"off\"\n{text}"));
}

/// Lets `ms` go by for all that the ledger remembers of tries.
fn later(home: &Home, ms: i64) {
    let mut ledger = home.json(LEDGER);
    for out in ledger["outbox"].as_array_mut().unwrap() {
        out["next_at"] = (out["next_at"].as_i64().unwrap() - ms).into();
        out["queued_at"] = (out["queued_at"].as_i64().unwrap() - ms).into();
    }
    home.write(LEDGER, ledger.to_string());
}

fn list(home: &Home) -> Value {
    let ran = home.run(&["alert", "list", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

fn problem_kinds(home: &Home) -> Vec<String> {
    let status = home.status(&[]);
    let problems = status["problems"].as_array().unwrap();
    problems
        .iter()
        .map(|problem| problem["kind"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_test_prints_the_receipt_and_fails_with_three() {
    let home = Home::new();
    let (good, bad) = (Receiver::new(OK), Receiver::new(Manner::Answer(404)));
    config(
        &home,
        &(good.channel("good", "min_severity = \"critical\"") + &bad.channel("bad", "")),
    );
    let ran = home.run(&["alert", "test", "good", "--severity", "critical"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.starts_with("good: test critical delivered in ") && ran.stdout.ends_with(" ms: answered 200\n"),
        "{ran:?}"
    );
    assert_eq!(good.events()[0]["kind"], "test");
    let ran = home.run(&["alert", "test", "--all"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stdout.contains("bad: test warning refused after "), "{ran:?}");
    assert!(ran.stdout.contains("answered 404"), "{ran:?}");
    assert_eq!(problem_kinds(&home), ["channel_refused"]);
    for (args, hint) in [
        (&["alert", "test", "goood"][..], "did you mean `good`?"),
        (&["alert", "test"], "name one, or take `--all`"),
        (&["alert", "retry", "bed"], "did you mean `bad`?"),
        (&["alert", "ack", "login:claud"], "there is none"),
        (&["alert", "silence", "--login", "x"], "there is none"),
        (&["alert", "silence"], "add `--login ID`"),
        (&["alert", "silence", "--all", "--until", "yesterday"], "write `07:30`"),
        (&["alert", "silence", "--all", "--for", "soon"], "`8h`"),
        (&["alert", "silence", "--all", "--for", "10000d"], "take 365 d at most"),
        (
            &["alert", "silence", "--all", "--until", "2050-01-01T00:00:00Z"],
            "take 365 d at most",
        ),
        (&["alert", "silence", "--all", "--for", "0s"], "`8h`"),
        (
            &["alert", "silence", "--all", "--until-recovered"],
            "take `--for` or `--until`",
        ),
        (&["alert", "unsilence", "--agent", "clawdbot/main"], "there is none"),
    ] {
        let ran = home.run(args);
        assert_eq!(ran.code, 3, "{args:?} {ran:?}");
        assert!(ran.stderr.contains(hint), "{args:?} {ran:?}");
    }
    bad.now(OK);
    assert_eq!(home.run(&["alert", "test", "bad"]).code, 0);
    assert_eq!(problem_kinds(&home), [""; 0]);
}

#[test]
fn a_bus_that_hangs_is_given_up_in_time() {
    let mut home = Home::new();
    let socket = home.at("bus");
    // the kernel accepts for it, and nobody ever answers
    let _listener = UnixListener::bind(&socket).unwrap();
    home.env.insert(
        "DBUS_SESSION_BUS_ADDRESS".into(),
        format!("unix:path={}", socket.display()),
    );
    config(&home, "[[channel]]\ntype = \"desktop\"\n");
    let begun = Instant::now();
    let ran = home.run(&["alert", "test", "desktop"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stdout.contains("the session bus is not answering"), "{ran:?}");
    // five seconds are its own bound; the channel's would be fifteen
    assert!(begun.elapsed() < Duration::from_secs(14), "{:?}", begun.elapsed());
}

#[test]
fn an_ack_lasts_until_it_gets_worse() {
    let home = warned();
    let phone = Receiver::new(OK);
    config(&home, &phone.channel("phone", ""));
    assert_eq!(home.run(&["run"]).code, 2);
    assert_eq!(phone.events().len(), 1);
    let ran = home.run(&["alert", "ack", "login:claude"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        home.run(&["alert", "ack", "login:claud"])
            .stderr
            .contains("did you mean `login:claude`?")
    );
    assert_eq!(list(&home)["firing"][0]["muted"], "acked");
    assert!(home.run(&["alert", "list"]).stdout.contains("; acknowledged"));
    home.run(&["run"]);
    assert_eq!(phone.events().len(), 1);
    lapse(&home);
    assert_eq!(home.run(&["run"]).code, 1);
    assert_eq!(phone.events()[1]["severity"], "critical");
    assert_eq!(list(&home)["firing"][0]["muted"], Value::Null);
    mend(&home);
    assert_eq!(home.run(&["run"]).code, 0);
    assert_eq!(phone.events()[2]["status"], "resolved");
}

#[test]
fn a_silence_keeps_quiet_shows_in_status_and_ends() {
    let home = warned();
    let phone = Receiver::new(OK);
    config(&home, &phone.channel("phone", ""));
    let ran = home.run(&["alert", "silence", "--login", "claude", "--for", "2h"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.contains("alerts of the login `claude` are silenced until "),
        "{ran:?}"
    );
    home.run(&["run"]);
    lapse(&home);
    home.run(&["run"]);
    assert_eq!(phone.events().len(), 0, "a silence is a silence");
    assert_eq!(problem_kinds(&home), ["silenced"]);
    assert_eq!(list(&home)["firing"][0]["muted"], "silenced", "{}", list(&home));
    assert!(
        home.run(&["alert", "unsilence", "--login", "claud"])
            .stderr
            .contains("did you mean `claude`?")
    );
    assert_eq!(home.run(&["alert", "unsilence"]).code, 0);
    home.run(&["run"]);
    assert_eq!(phone.events().len(), 1);
    assert_eq!(home.run(&["alert", "silence", "--all", "--until-recovered"]).code, 0);
    assert_eq!(list(&home)["silences"].as_array().unwrap().len(), 1);
    mend(&home);
    home.run(&["run"]);
    assert_eq!(phone.events()[1]["status"], "resolved", "what was opened is closed");
    assert_eq!(list(&home)["silences"], json!([]));
    let ran = home.run(&["alert", "list"]);
    assert_eq!(
        ran.stdout,
        "nothing is firing, waiting or silenced, as of the last pass\n"
    );
}

#[test]
fn a_channel_that_keeps_failing_is_told_through_the_others_and_a_new_configuration_is_a_new_chance() {
    let home = warned();
    let (phone, mail) = (Receiver::new(Manner::Answer(500)), Receiver::new(OK));
    let with = |secret: &str| {
        config(
            &home,
            &(phone.channel("phone", &format!("secret = \"whsec_{secret}\"")) + &mail.channel("mail", "")),
        );
    };
    with("bm9sYXBzZSBub2xhcHNlIG5vbGFwc2UgMQ==");
    for tries in 1..=3 {
        home.run(&["run"]);
        assert_eq!(phone.seen().len(), tries, "one try a pass, and none before its time");
        home.run(&["run"]);
        later(&home, 2 * HOUR);
    }
    let told: Vec<Value> = mail.events();
    let ids: Vec<&str> = told.iter().map(|event| event["alert_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["login:claude", "channel:phone"]);
    assert_eq!(told[1]["severity"], "warning");
    assert_eq!(told[1]["commands"], json!(["nolapse alert test phone"]));
    assert!(phone.events().iter().all(|event| event["alert_id"] == "login:claude"));
    assert_eq!(problem_kinds(&home), ["channel_failing"]);
    let listed = list(&home);
    assert_eq!(listed["queued"][0]["channel"], "phone");
    let why = listed["queued"][0]["last_error"].as_str().unwrap();
    assert!(why.contains("answered 500"), "{why}");
    // refused for good: not tried again for hours, until its configuration changes
    phone.now(Manner::Answer(401));
    home.run(&["run"]);
    assert_eq!(problem_kinds(&home), ["channel_refused"]);
    later(&home, HOUR);
    let before = phone.seen().len();
    home.run(&["run"]);
    assert_eq!(phone.seen().len(), before);
    phone.now(OK);
    with("bm9sYXBzZSBub2xhcHNlIG5vbGFwc2UgMg==");
    home.run(&["run"]);
    assert_eq!(phone.seen().len(), before + 1);
    let ids: Vec<Value> = phone.events().iter().map(|event| event["event_id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    home.run(&["run"]);
    let last = mail.events().pop().unwrap();
    assert_eq!(
        (&last["alert_id"], &last["status"]),
        (&json!("channel:phone"), &json!("resolved"))
    );
    assert_eq!(problem_kinds(&home), [""; 0]);
}

#[test]
fn retry_sends_now_what_waits() {
    let home = warned();
    let phone = Receiver::new(Manner::Answer(503));
    config(&home, &phone.channel("phone", ""));
    home.run(&["run"]);
    let ran = home.run(&["alert", "retry"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(
        ran.stdout
            .contains("phone: not delivered: Claude login `claude` ends in 2 d"),
        "{ran:?}"
    );
    phone.now(OK);
    let ran = home.run(&["alert", "retry", "phone"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(home.run(&["alert", "retry"]).stdout, "nothing waits to be delivered\n");
    assert_eq!(phone.seen().len(), 3);
}

/// A time zone in which it is now `minute` minutes after midnight.
fn zone(minute: i64) -> String {
    let utc = now() / MINUTE % 1440;
    // POSIX counts westwards
    let west = (utc - minute).rem_euclid(1440);
    let (sign, west) = if west > 12 * 60 { ("-", 1440 - west) } else { ("", west) };
    format!("XYZ{sign}{:02}:{:02}", west / 60, west % 60)
}

#[test]
fn quiet_hours_delay_what_is_not_critical_in_the_users_time_zone() {
    for (minute, quiet) in [
        (23 * 60 + 30, true),
        (3 * 60, true),
        (6 * 60 + 30, true),
        (12 * 60, false),
        (21 * 60, false),
    ] {
        let mut home = warned();
        home.env.insert("TZ".into(), zone(minute));
        let phone = Receiver::new(OK);
        config(&home, &phone.channel("phone", "quiet_hours = \"22:00-07:30\""));
        home.run(&["run"]);
        assert_eq!(phone.seen().len(), usize::from(!quiet), "{minute} {:?}", home.env);
        if !quiet {
            continue;
        }
        assert_eq!(list(&home)["queued"][0]["attempts"], 0);
        // critical passes, and what waited is superseded
        lapse(&home);
        home.run(&["run"]);
        assert_eq!(phone.events()[0]["severity"], "critical");
        mend(&home);
        home.run(&["run"]);
        assert_eq!(phone.seen().len(), 1, "a recovery can wait for the morning");
        home.env.insert("TZ".into(), zone(8 * 60));
        home.run(&["run"]);
        let told: Vec<Value> = phone.events().iter().map(|event| event["status"].clone()).collect();
        assert_eq!(told, ["firing", "resolved"]);
    }
}

#[test]
fn the_heartbeat_tells_a_good_pass_from_a_bad_one() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR);
    let (beat, phone) = (Receiver::new(OK), Receiver::new(OK));
    config(
        &home,
        &format!("[heartbeat]\nurl = \"{}\"\n{}", beat.url(), phone.channel("phone", "")),
    );
    home.run(&["run"]);
    lapse(&home);
    home.run(&["run"]);
    mend(&home);
    home.run(&["run"]);
    // could not tell: not fine either
    phone.now(Manner::Answer(404));
    lapse(&home);
    home.run(&["run"]);
    mend(&home);
    phone.now(OK);
    home.run(&["run", "--dry-run"]);
    home.run(&["sync"]);
    home.run(&["check"]);
    let lines = beat.lines();
    let stages: Vec<&str> = lines.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(
        stages,
        [
            "/hook/start",
            "/hook",
            "/hook/start",
            "/hook/fail",
            "/hook/start",
            "/hook",
            "/hook/start",
            "/hook/fail"
        ]
    );
    let reports: Vec<String> = beat.seen().into_iter().map(|(_, body)| body).collect();
    assert!(
        reports[3].contains("critical: Claude login `claude` has ended"),
        "{}",
        reports[3]
    );
    assert!(
        reports[3].contains("\n  nolapse login --login claude\n"),
        "{}",
        reports[3]
    );
    assert!(
        reports[7].contains("the channel `phone` does not get through"),
        "{}",
        reports[7]
    );
}

#[test]
fn a_receiver_that_hangs_holds_up_nobody_but_itself() {
    for manner in [Manner::Deaf, Manner::Mute] {
        let home = warned();
        let (slow, quick) = (Receiver::new(manner), Receiver::new(OK));
        config(
            &home,
            &(slow.channel("slow", "timeout = \"2s\"") + &quick.channel("quick", "")),
        );
        let mut pass = home.spawn(&["run"]);
        // the quick one has it while the pass still waits for the slow one
        while quick.seen().is_empty() {
            assert_eq!(pass.try_wait().unwrap(), None, "the pass ended and told nobody");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert!(pass.wait().unwrap().code().is_some());
        let queued = list(&home)["queued"].clone();
        assert_eq!(queued.as_array().unwrap().len(), 1);
        assert_eq!(queued[0]["last_error"], "no answer within 2 s");
    }
}

/// The calls by which a pass remembers and delivers.
const CALLS: [&str; 9] = [
    "write", "fsync", "rename", "renameat", "flock", "connect", "sendto", "writev", "recvfrom",
];

#[test]
fn a_kill_at_any_point_of_delivery_is_at_most_one_duplicate_of_the_same_event() {
    let (mut points, mut twice, mut never) = (0, 0, 0);
    for call in CALLS {
        for nth in 1.. {
            let home = warned();
            let phone = Receiver::new(OK);
            config(&home, &phone.channel("phone", ""));
            let killed = home.killed_at(call, nth);
            never += usize::from(phone.seen().is_empty());
            for _ in 0..2 {
                if home.at(LEDGER).exists() {
                    later(&home, 10 * MINUTE);
                }
                home.run(&["run"]);
            }
            let ids: Vec<Value> = phone.events().iter().map(|event| event["event_id"].clone()).collect();
            assert!((1..=2).contains(&ids.len()), "{call} {nth}: {ids:?}");
            assert!(ids.iter().all(|id| *id == ids[0]), "{call} {nth}: {ids:?}");
            assert_eq!(list(&home)["queued"], json!([]), "{call} {nth}");
            twice += usize::from(ids.len() == 2);
            if !killed {
                break;
            }
            points += 1;
        }
    }
    println!("killed at {points} points: {never} before it was heard, {twice} told twice");
    assert!(points >= 15 && twice > 0 && never > 0, "{points} {twice} {never}");
}

#[test]
fn killed_while_a_receiver_hangs_it_is_sent_again_with_the_same_id() {
    for (manner, copies) in [(Manner::Deaf, 1), (Manner::Mute, 2)] {
        let home = warned();
        let phone = Receiver::new(manner);
        config(&home, &phone.channel("phone", ""));
        let mut pass = home.spawn(&["run"]);
        let leased = || {
            let text = std::fs::read_to_string(home.at(LEDGER)).unwrap_or_default();
            text.contains("\"attempts\":1") && (manner == Manner::Deaf || !phone.seen().is_empty())
        };
        while !leased() {
            assert_eq!(pass.try_wait().unwrap(), None, "it waits for an answer");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        pass.kill().unwrap();
        pass.wait().unwrap();
        phone.now(OK);
        home.run(&["run"]);
        assert_eq!(phone.seen().len(), copies - 1, "the lease is respected");
        later(&home, 7 * MINUTE);
        home.run(&["run"]);
        home.run(&["run"]);
        let ids: Vec<Value> = phone.events().iter().map(|event| event["event_id"].clone()).collect();
        assert_eq!(ids.len(), copies);
        assert!(ids.iter().all(|id| *id == ids[0]));
    }
}

#[test]
fn a_season_in_simulation_keeps_the_promises() {
    let counts = super::simulate::live(7, 25, 120);
    assert_eq!(counts.broken, [""; 0]);
    assert!(
        counts.ended > 3 && counts.told_a_day_ahead == counts.ended,
        "{counts:?}"
    );
    assert!(
        counts.races > 3 && counts.reminders > 3 && counts.dips_within_grace > 0,
        "{counts:?}"
    );
    assert!(counts.lied_to > 0 && counts.unheard > 0, "{counts:?}");
    assert!(counts.renewed_in_time > counts.ended, "{counts:?}");
    assert!(counts.messages() < counts.monitor / 10, "{counts:?}");
}
