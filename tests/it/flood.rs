//! More at once than a person can read, and more than a ledger was made for.

use crate::home::{DAY, Home, now, token};
use crate::receiver::{Manner, Receiver};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// So many tokens that have ended, each a cause of its own.
fn ended(count: usize) -> Value {
    let profiles = (0..count).map(|n| (format!("anthropic:p{n}"), token(&n.to_string(), now() - DAY)));
    Value::Object(profiles.collect())
}

fn a_home(count: usize, receiver: &Receiver) -> Home {
    let home = Home::new();
    home.store("main", ended(count));
    home.config(&format!(
        "[renew]\nmode = \"off\"\n[[channel]]\ntype = \"webhook\"\nurl = \"{}\"\nmin_severity = \"info\"\n",
        receiver.url()
    ));
    home
}

#[test]
fn a_flood_is_twenty_messages_that_count_for_all() {
    let receiver = Receiver::new(Manner::Answer(200));
    let home = a_home(2000, &receiver);
    home.run(&["run"]);
    let seen = receiver.events();
    assert_eq!(seen.len(), 20, "{seen:?}");
    let digest: Vec<&Value> = seen.iter().filter(|event| event["alert_id"] == "digest").collect();
    assert_eq!(digest.len(), 1);
    let title = digest[0]["title"].as_str().unwrap();
    assert!(title.starts_with("1981 more alerts"), "{title}");
    // what the digest told of is told
    home.run(&["run"]);
    assert_eq!(receiver.events().len(), 20);
    let ledger = home.json(".local/state/nolapse/ledger.json");
    let told = |alert: &Value| {
        alert["channels"]
            .as_object()
            .is_some_and(|channels| !channels.is_empty())
    };
    assert_eq!(
        ledger["alerts"]
            .as_object()
            .unwrap()
            .values()
            .filter(|alert| told(alert))
            .count(),
        2000
    );
    // and all of it is closed, as briefly
    home.store("main", json!({}));
    home.run(&["run"]);
    let seen = receiver.events();
    assert_eq!(seen.len(), 40);
    let ids: BTreeSet<&str> = seen.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 40);
    assert!(seen[20..].iter().all(|event| event["status"] == "resolved"), "{seen:?}");
}

#[test]
fn a_digest_that_was_refused_told_nobody() {
    let receiver = Receiver::new(Manner::Answer(503));
    let home = a_home(60, &receiver);
    home.run(&["run"]);
    let ledger = home.json(".local/state/nolapse/ledger.json");
    assert_eq!(ledger["outbox"].as_array().unwrap().len(), 60);
    let told = |alert: &Value| {
        alert["channels"]
            .as_object()
            .is_some_and(|channels| !channels.is_empty())
    };
    assert!(!ledger["alerts"].as_object().unwrap().values().any(told));
}

#[test]
fn acks_hold_in_a_flood_and_no_name_is_too_long() {
    let receiver = Receiver::new(Manner::Answer(200));
    let home = a_home(400, &receiver);
    home.run(&["run"]);
    let acked = home.run(&["alert", "ack", "--all"]);
    assert_eq!(acked.code, 0, "{acked:?}");
    let long = format!("anthropic:{}", "x".repeat(1_500_000));
    let mut profiles = ended(400);
    profiles[&long] = token("long", now() - DAY);
    home.store("main", profiles);
    let before = receiver.events().len();
    let ran = home.run(&["run"]);
    assert!(!ran.stderr.contains("ledger"), "{ran:?}");
    let seen = receiver.events();
    assert_eq!(seen.len(), before + 1, "only the new one is told");
    assert!(seen.last().unwrap().to_string().len() < 4000);
    let ledger = home.json(".local/state/nolapse/ledger.json");
    let acks = ledger["alerts"]
        .as_object()
        .unwrap()
        .values()
        .filter(|alert| !alert["ack"].is_null())
        .count();
    assert_eq!(acks, 400);
    assert!(home.read(".local/state/nolapse/ledger.json").len() < 4 << 20);
}
