//! Planted secrets are searched for in everything that leaves the process.

use super::home::{DAY, HOUR, Home, now};
use serde_json::json;

/// The secrets of a home; each one different, so that a find names its source.
const CANARIES: [&str; 9] = [
    "CANARY-access",
    "CANARY-refresh",
    "CANARY-store-access",
    "CANARY-store-refresh",
    "CANARY-token",
    "CANARY-key",
    "CANARY-env",
    "CANARY-dotenv",
    "CANARY-webhook",
];

fn planted() -> Home {
    let mut home = Home::new();
    let end = now() + 8 * HOUR;
    home.write(
        ".claude/.credentials.json",
        json!({"claudeAiOauth": {"accessToken": "CANARY-access", "refreshToken": "CANARY-refresh", "expiresAt": end,
            "refreshTokenExpiresAt": now() + 4 * DAY, "scopes": ["user:inference"], "subscriptionType": "max"},
            "mcpOAuth": {"x": "CANARY-access"}})
        .to_string(),
    );
    home.store(
        "main",
        json!({
            "anthropic:claude-cli": {"type": "oauth", "provider": "anthropic", "access": "CANARY-store-access",
                "refresh": "CANARY-store-refresh", "expires": now() - DAY, "note": "CANARY-store-access"},
            "anthropic:year": {"type": "token", "provider": "anthropic", "token": "CANARY-token", "expires": now() + HOUR},
            "openai:k": {"type": "api_key", "provider": "openai", "key": "CANARY-key"},
        }),
    );
    home.store("lab", json!(null));
    home.write(
        ".clawdbot/agents/torn/agent/auth-profiles.json",
        "{\"profiles\":{\"x\":{\"token\":\"CANARY-token",
    );
    home.write(".clawdbot/.env", "ANTHROPIC_API_KEY=CANARY-dotenv\n");
    home.env.insert("CLAUDE_CODE_OAUTH_TOKEN".into(), "CANARY-env".into());
    home.write("out.sh", "#!/bin/sh\ncat >> alerts.txt; env >> alerts.txt\n");
    home.config(
        "[[channel]]\ntype = \"command\"\ncommand = [\"sh\", \"out.sh\"]\nmin_severity = \"info\"\n\
         [[channel]]\ntype = \"webhook\"\nname = \"down\"\nurl = \"http://127.0.0.1:9/CANARY-webhook\"\nsecret = \"whsec_Q0FOQVJZLXdlYmhvb2stb2YtMjQtYnl0ZXM=\"\n\
         [[channel]]\ntype = \"log\"\nmin_severity = \"info\"\n[metrics]\ntextfile = \"~/after.prom\"\n",
    );
    home
}

#[test]
fn no_secret_leaves_by_the_listener() {
    let home = planted();
    let config = home.read(".config/nolapse/config.toml");
    home.config(&(config + "[daemon]\nlisten = \"127.0.0.1:0\"\n"));
    let daemon = super::daemon::Daemon::start(&home);
    let port = super::listen::port(&daemon);
    let (code, page) = super::listen::get(port, "/metrics");
    clean("/metrics", &page);
    assert!(code == 200 && page.contains("anthropic:year"), "{page}");
    let (_, health) = super::listen::get(port, "/healthz");
    clean("/healthz", &health);
    clean("the log", &daemon.log());
    daemon.stop();
}

fn clean(what: &str, text: &str) {
    for canary in CANARIES {
        assert!(!text.contains(canary), "{canary} in {what}:\n{text}");
    }
}

#[test]
fn no_secret_leaves_the_process() {
    let home = planted();
    let mut said = String::new();
    for args in [
        &["-vvv", "run", "--dry-run"][..],
        &["-vvv", "sync", "--dry-run"],
        &["-vvv", "run"],
        &["-vvv", "--log-format", "json", "run"],
        &["-vvv", "sync"],
        &["status"],
        &["status", "--json"],
        &["status", "--plain"],
        &["status", "--html", "-"],
        &["check"],
        &["metrics"],
        &["metrics", "--textfile", "collected.prom"],
        &["history"],
        &["history", "--json"],
        &["config", "show"],
        &["config", "check"],
        &["-vvv", "doctor"],
        &["-vvv", "doctor", "--json"],
        &["-vvv", "doctor", "--fix", "--yes"],
    ] {
        let ran = home.run(args);
        clean(&format!("{args:?}"), &ran.stdout);
        clean(&format!("{args:?} (stderr)"), &ran.stderr);
        said += &ran.stdout;
        said += &ran.stderr;
    }
    // the test would be idle if nothing had happened
    for happened in [
        "would change",
        "brought up to date",
        "notified command",
        "could not notify down",
        "-      \"access\": \"#",
    ] {
        assert!(said.contains(happened), "{happened}:\n{said}");
    }
    let files = home.files();
    assert!(String::from_utf8_lossy(&files["alerts.txt"]).contains("nolapse.alert/1"));
    for page in ["collected.prom", "after.prom"] {
        assert!(
            String::from_utf8_lossy(&files[page]).contains("anthropic:year"),
            "{page}"
        );
    }
    for (path, bytes) in &files {
        let text = String::from_utf8_lossy(bytes);
        if path == "alerts.txt" || path.ends_with(".prom") || path.starts_with(".local/state/nolapse/") {
            clean(path, &text);
        }
    }
    assert!(
        files.keys().any(|path| path.ends_with("ledger.json"))
            && files.keys().any(|path| path.ends_with("history.jsonl"))
    );
}
