//! Metrics as a collector finds them: by hand, and in a file after each pass.

use super::home::{DAY, HOUR, Home, NOW, credentials, now, oauth, token};
use serde_json::json;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

/// Samples by series; what is no line of the format, or there twice, is an error.
pub fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut typed = String::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            typed = rest.split(' ').next().unwrap().to_owned();
        }
        if line.starts_with("# ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        let name = series.split('{').next().unwrap();
        assert_eq!(name, typed, "a sample outside its family: {line}");
        let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
    }
    assert!(page.ends_with('\n') && !samples.is_empty(), "{page}");
    samples
}

fn page(home: &Home, args: &[&str]) -> BTreeMap<String, f64> {
    let ran = home.run(&[&["metrics"], args].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    samples(&ran.stdout)
}

#[test]
fn a_look_is_told_in_seconds() {
    let home = Home::new();
    home.login("1", NOW + 8 * HOUR).store(
        "main",
        json!({"anthropic:claude-cli": token("1", NOW + 8 * HOUR), "anthropic:old": oauth("9", NOW - DAY),
            "openai:k": {"type": "api_key", "provider": "openai", "key": "k"}}),
    );
    home.store("we\"ird", json!({}));
    let at = NOW.to_string();
    let page = page(&home, &["--at", &at]);
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let mirror = r#"family="clawdbot",agent="main",profile="anthropic:claude-cli""#;
    let old = r#"family="clawdbot",agent="main",profile="anthropic:old""#;
    for (series, value) in [
        (
            format!("nolapse_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")),
            1.0,
        ),
        ("nolapse_look_timestamp_seconds".into(), seconds(NOW)),
        ("nolapse_check_exit_code".into(), 1.0),
        (r#"nolapse_login_health{login="claude",health="ok"}"#.into(), 1.0),
        (r#"nolapse_login_health{login="claude",health="expired"}"#.into(), 0.0),
        (
            r#"nolapse_login_reason{login="claude",reason="renews_itself"}"#.into(),
            1.0,
        ),
        (r#"nolapse_login_renews{login="claude"}"#.into(), 1.0),
        (
            r#"nolapse_login_access_expiry_timestamp_seconds{login="claude"}"#.into(),
            seconds(NOW + 8 * HOUR),
        ),
        (
            r#"nolapse_login_deadline_timestamp_seconds{login="claude"}"#.into(),
            seconds(NOW + 8 * HOUR + 20 * DAY),
        ),
        (format!("nolapse_profile_health{{{mirror},health=\"ok\"}}"), 1.0),
        (format!("nolapse_profile_health{{{old},health=\"expired\"}}"), 1.0),
        (
            format!("nolapse_profile_expiry_timestamp_seconds{{{old}}}"),
            seconds(NOW - DAY),
        ),
        (r#"nolapse_profiles{health="static"}"#.into(), 1.0),
        (r#"nolapse_alerts_firing{severity="info"}"#.into(), 1.0),
        (
            r#"nolapse_deliveries_total{channel="log",result="delivered"}"#.into(),
            0.0,
        ),
        ("nolapse_outbox_events".into(), 0.0),
    ] {
        assert_eq!(page.get(&series), Some(&value), "{series}: {page:#?}");
    }
    // nothing was done yet, and a look writes nothing
    assert!(!page.contains_key("nolapse_last_pass_timestamp_seconds"));
    assert!(!home.at(".local").exists());
}

#[test]
fn passes_deliveries_and_writes_are_counted_and_never_go_down() {
    let mut home = Home::new();
    home.env.insert("FAIL".into(), "1".into());
    home.write("out.sh", "#!/bin/sh\ncat > /dev/null; test -e up\n");
    let channel = "[[channel]]\ntype = \"command\"\ncommand = [\"sh\", \"out.sh\"]\n";
    home.config(&format!("[renew]\nmode = \"off\"\n{channel}"));
    home.write(
        ".claude/.credentials.json",
        credentials("1", now() + 8 * HOUR, Some(now() + 4 * DAY)).to_string(),
    );
    home.store("main", json!({}));
    let begun = now();
    let mut last = BTreeMap::new();
    let counters = |page: &BTreeMap<String, f64>| -> BTreeMap<String, f64> {
        let counters = page.iter().filter(|(series, _)| series.contains("_total"));
        counters.map(|(series, value)| (series.clone(), *value)).collect()
    };
    for up in [false, false, true, true] {
        if up {
            home.write("up", "");
            home.run(&["alert", "retry"]);
        }
        home.run(&["run"]);
        let now = counters(&page(&home, &[]));
        for (series, value) in &last {
            assert!(now[series] >= *value, "{series} went down");
        }
        last = now;
    }
    let page = page(&home, &[]);
    for (series, value) in [
        (r#"nolapse_passes_total{result="good"}"#, 4.0),
        (r#"nolapse_passes_total{result="bad"}"#, 0.0),
        (r#"nolapse_deliveries_total{channel="command",result="delivered"}"#, 1.0),
        (r#"nolapse_writes_total{outcome="store_written"}"#, 1.0),
        (r#"nolapse_renewals_total{outcome="renewed"}"#, 0.0),
        (r#"nolapse_alerts_firing{severity="warning"}"#, 1.0),
        (r#"nolapse_outbox_events"#, 0.0),
    ] {
        assert_eq!(page.get(series), Some(&value), "{series}: {page:#?}");
    }
    assert!(page[r#"nolapse_deliveries_total{channel="command",result="failed"}"#] >= 1.0);
    for moment in [
        "nolapse_last_pass_timestamp_seconds",
        "nolapse_last_good_pass_timestamp_seconds",
    ] {
        let at = page[moment] * 1000.0;
        assert!(at >= begun as f64 && at <= now() as f64, "{moment} {at}");
    }
    // a channel that nobody names any more has no series, and leaves the ledger at the next pass
    home.config("[[channel]]\ntype = \"log\"\n");
    home.run(&["run"]);
    let counted = &home.json(".local/state/nolapse/ledger.json")["counts"]["deliveries"];
    assert!(
        counted["log"]["delivered"].is_u64() && counted["command"].is_null(),
        "{counted}"
    );
}

#[test]
fn the_file_of_a_pass_is_whole_and_readable_by_others() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR);
    std::fs::create_dir(home.at("collector")).unwrap();
    home.config("[metrics]\ntextfile = \"~/collector/nolapse.prom\"\n");
    let mut command = std::process::Command::new("/bin/sh");
    let ran = command
        .args(["-c", "umask 077; exec \"$0\" run", env!("CARGO_BIN_EXE_nolapse")])
        .env_clear()
        .env("HOME", home.path())
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let file = home.at("collector/nolapse.prom");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    let written = samples(&home.read("collector/nolapse.prom"));
    // the pass that wrote it is in it
    assert_eq!(written[r#"nolapse_passes_total{result="good"}"#], 1.0);
    assert!(written.contains_key("nolapse_last_good_pass_timestamp_seconds"));
    let names: Vec<_> = std::fs::read_dir(home.at("collector"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["nolapse.prom"], "no temp file is left");

    // by hand it is the same page, and nothing is printed
    let by_hand = home.run(&["metrics", "--textfile", "collector/by-hand.prom"]);
    assert_eq!((by_hand.code, by_hand.stdout.as_str()), (0, ""), "{by_hand:?}");
    let by_hand = samples(&home.read("collector/by-hand.prom"));
    assert_eq!(by_hand.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>());
}

#[test]
fn a_file_that_cannot_be_written_is_said_and_the_pass_goes_on() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR).store("main", json!({}));
    home.config("[metrics]\ntextfile = \"~/none/nolapse.prom\"\n");
    let ran = home.run(&["run"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(
        ran.stdout
            .contains("the metrics were not written to `~/none/nolapse.prom`"),
        "{ran:?}"
    );
    assert!(home.read(super::home::MAIN).contains("ACCESS-1"), "the work was done");
    let page = page(&home, &[]);
    assert_eq!(page[r#"nolapse_passes_total{result="bad"}"#], 1.0);
    assert!(!page.contains_key("nolapse_last_good_pass_timestamp_seconds"));
    let by_hand = home.run(&["metrics", "--textfile", "none/nolapse.prom"]);
    assert_eq!((by_hand.code, by_hand.stdout.as_str()), (3, ""), "{by_hand:?}");
    assert!(by_hand.stderr.contains("hint: "), "{by_hand:?}");
    home.config("[metrics]\ntextfile = \"/tmp/nolapse.txt\"\n");
    let wrong = home.run(&["config", "check"]);
    assert!(
        wrong.code == 3 && wrong.stderr.contains("`metrics.textfile`") && wrong.stderr.contains(".prom"),
        "{wrong:?}"
    );
}

/// What is written for Prometheus and Grafana asks for metrics that there are.
#[test]
fn rules_and_dashboards_ask_for_metrics_that_there_are() {
    let home = Home::new();
    let page = home.run(&["metrics"]).stdout;
    let known: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/prometheus");
    let mut files = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut asked = 0;
        for (at, _) in text.match_indices("nolapse_") {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let name = text[at..].split(|c| !word(c)).next().unwrap();
            assert!(known.contains(&name), "{}: there is no `{name}`", path.display());
            asked += 1;
        }
        assert!(asked > 10, "{}: only {asked}", path.display());
        files += 1;
    }
    assert!(files >= 2);
    // and docs/integrations.md names every one of them
    let docs = include_str!("../../docs/integrations.md");
    for name in known {
        assert!(
            docs.contains(&format!("`{name}")),
            "docs/integrations.md does not name `{name}`"
        );
    }
}
