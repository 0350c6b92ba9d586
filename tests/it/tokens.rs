//! `token` and `order`: the bytes of clawdbot, nothing overwritten by accident, nothing shown.

use super::home::{DAY, HOUR, Home, MAIN, NOW, Ran, Terminal, now, oauth, token};
use serde_json::json;
use std::fs;

/// As long as a real one.
const SETUP: &str =
    "sk-ant-oat01-CANARY-setup-token-of-a-year-aB3_aB3_aB3_aB3_aB3_aB3_aB3_aB3_aB3_aB3_aB3_aB3_aB3_aB3_aB3_aB3_AA";

fn piped(home: &Home, args: &[&str], input: &str) -> Ran {
    home.run_with(args, input.as_bytes())
}

fn one_agent() -> Home {
    let home = Home::new();
    home.store(
        "main",
        json!({"zai:default": {"type": "api_key", "provider": "zai", "key": "K", "x": 1}}),
    );
    home
}

/// What clawdbot 2026.1.24-3 leaves after `models auth paste-token --provider anthropic --expires-in 365d`.
fn pasted(expires: i64) -> String {
    format!(
        "{{\n  \"version\": 1,\n  \"profiles\": {{\n    \"anthropic:manual\": {{\n      \"type\": \"token\",\n      \"provider\": \"anthropic\",\n      \"token\": \"{SETUP}\",\n      \"expires\": {expires}\n    }}\n  }}\n}}\n"
    )
}

#[test]
fn a_setup_token_is_recorded_as_clawdbot_writes_it_and_its_year_is_remembered() {
    let home = Home::new();
    home.write(".clawdbot/clawdbot.json", "{\n  \"agents\": {}\n}\n");
    let issued = NOW.to_string();
    let ran = piped(
        &home,
        &["-vvv", "token", "add", "--issued", &issued],
        &format!("{SETUP}\n"),
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout.contains("clawdbot/main: recorded anthropic:manual"),
        "{ran:?}"
    );
    let year = 365 * DAY;
    assert_eq!(home.read(MAIN), pasted(NOW + year));
    assert_eq!(
        home.json(".clawdbot/clawdbot.json"),
        json!({"agents": {}, "auth": {"profiles": {"anthropic:manual": {"provider": "anthropic", "mode": "token"}}}})
    );
    let known = &home.json(".local/state/nolapse/ledger.json")["setup_tokens"];
    let (_, dates) = known.as_object().unwrap().iter().next().unwrap();
    assert_eq!(dates, &json!({"issued_at": NOW, "expires_at": NOW + year}));
    for (path, bytes) in home.files() {
        assert!(
            path == MAIN || !String::from_utf8_lossy(&bytes).contains("CANARY"),
            "{path}"
        );
    }
    assert!(!format!("{ran:?}").contains("CANARY"));
    let list = home.run(&["token", "list"]);
    assert!(
        list.stdout.contains("anthropic:manual") && !list.stdout.contains("CANARY"),
        "{list:?}"
    );
}

#[test]
fn what_the_ledger_knows_of_a_token_is_judged_and_rings() {
    let mut home = Home::new();
    home.store(
        "main",
        json!({"anthropic:year": {"type": "token", "provider": "anthropic", "token": SETUP}}),
    );
    assert_eq!(
        home.status(&[])["agents"][0]["profiles"][0]["reason"],
        "issue_date_unknown"
    );
    let issued = (now() - 360 * DAY).to_string();
    let ran = piped(&home, &["token", "add", "--remember-only", "--issued", &issued], SETUP);
    assert_eq!(ran.code, 0, "{ran:?}");
    let profile = &home.status(&[])["agents"][0]["profiles"][0];
    assert_eq!(
        (&profile["health"], &profile["clock"]),
        (&json!("expiring"), &json!("static"))
    );
    assert_eq!(profile["reason"], "no_refresh_token");

    home.env.insert("CLAUDE_CODE_OAUTH_TOKEN".into(), SETUP.into());
    let status = home.status(&[]);
    let login = status["logins"]
        .as_array()
        .unwrap()
        .iter()
        .find(|login| login["id"] == "env")
        .unwrap();
    assert_eq!(
        (&login["health"], &login["reason"]),
        (&json!("expiring"), &json!("no_refresh_token"))
    );
    let ran = home.run(&["run", "--dry-run"]);
    assert!(
        ran.stdout
            .contains("The token in `CLAUDE_CODE_OAUTH_TOKEN` ends in 5 d"),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("nolapse reauth --setup-token"), "{ran:?}");
    assert_eq!(ran.code, 2);
}

#[test]
fn another_kind_of_credential_is_kept_without_replace() {
    let home = one_agent();
    let before = home.read(MAIN);
    for (args, why) in [
        (
            &["token", "add", "--provider", "zai", "--profile", "zai:default"][..],
            "another kind",
        ),
        (
            &["token", "add", "--profile", "zai:default"],
            "not a profile id of `anthropic`",
        ),
        (
            &["token", "add", "--agent", "clawdbot/mian"],
            "did you mean `clawdbot/main`?",
        ),
        (
            &["token", "add", "--type", "api_key", "--expires-in", "1d"],
            "does not expire",
        ),
        (&["token", "add", "--expires-in", "1"], "write it as `365d`"),
    ] {
        let ran = piped(&home, args, "T0KEN");
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(format!("{}{}", ran.stdout, ran.stderr).contains(why), "{why}: {ran:?}");
        assert_eq!(home.read(MAIN), before);
    }
    for input in ["", "\n", "two words\n"] {
        assert_eq!(piped(&home, &["token", "add"], input).code, 3);
        assert_eq!(home.read(MAIN), before);
    }
    let args = [
        "token",
        "add",
        "--provider",
        "zai",
        "--profile",
        "zai:default",
        "--replace",
    ];
    assert_eq!(piped(&home, &args, "T0KEN").code, 0);
    assert_eq!(
        home.json(MAIN)["profiles"],
        json!({"zai:default": {"type": "token", "provider": "zai", "token": "T0KEN"}})
    );
}

#[test]
fn agents_are_chosen_and_one_without_a_store_keeps_inheriting() {
    let home = one_agent();
    home.store("lab", json!({}));
    fs::create_dir_all(home.at(".clawdbot/agents/new/agent")).unwrap();
    home.config("[sync]\nexclude_agents = [\"*/kept\"]\n");
    home.store("kept", json!({}));
    assert_eq!(piped(&home, &["token", "add"], "T").code, 0);
    let agents = |profile: &str| -> Vec<String> {
        let list = home.run(&["token", "list"]).stdout;
        let of = list.lines().filter(|line| line.contains(profile));
        of.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(agents("anthropic:manual"), ["clawdbot/lab", "clawdbot/main"]);
    assert!(!home.at(".clawdbot/agents/new/agent/auth-profiles.json").exists());
    let args = [
        "token",
        "add",
        "--agent",
        "new",
        "--agent",
        "clawdbot/ma*",
        "--profile",
        "anthropic:b",
    ];
    assert_eq!(piped(&home, &args, "T").code, 0);
    assert_eq!(agents("anthropic:b"), ["clawdbot/main", "clawdbot/new"]);
    let refused = piped(&home, &["token", "add", "--agent", "kept"], "T");
    assert_eq!(refused.code, 3);
    assert!(
        refused.stdout.contains("excluded by `sync.exclude_agents`"),
        "{refused:?}"
    );
}

#[test]
fn a_config_that_a_person_laid_out_is_left_and_the_lines_are_shown() {
    let home = one_agent();
    let by_hand = "// mine\n{ auth: {} }\n";
    home.write(".clawdbot/clawdbot.json", by_hand);
    let ran = piped(&home, &["token", "add", "--profile", "anthropic:claude-cli"], SETUP);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(home.read(".clawdbot/clawdbot.json"), by_hand);
    let lines = "    \"profiles\": {\n      \"anthropic:claude-cli\": {\n        \"provider\": \"anthropic\",\n        \"mode\": \"oauth\"\n";
    assert!(
        ran.stdout.contains("it is not plain JSON") && ran.stdout.contains(lines),
        "{ran:?}"
    );
}

#[test]
fn what_is_typed_at_the_prompt_is_not_shown_and_the_terminal_is_put_back() {
    let home = one_agent();
    let mut terminal = Terminal::start(home.command(&["token", "add"]), 80);
    terminal.wait_for("token for anthropic:manual: ");
    terminal.wait_until("the echo is off", |terminal| !terminal.echoes());
    // a paste in brackets, a slip taken back, Enter
    terminal.type_in(format!("\u{1b}[200~{SETUP}X\u{7f}\u{1b}[201~\r").as_bytes());
    let (code, said) = terminal.end();
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("CANARY"), "{said}");
    assert_eq!(home.json(MAIN)["profiles"]["anthropic:manual"]["token"], SETUP);
    assert!(terminal.echoes());

    let files = home.files();
    for stop in [&b"\x03"[..], b"\x04"] {
        let mut terminal = Terminal::start(home.command(&["token", "add"]), 80);
        terminal.wait_until("the echo is off", |terminal| !terminal.echoes());
        terminal.type_in(stop);
        assert_eq!(terminal.end().0, 3);
        assert!(terminal.echoes());
    }
    for signal in ["TERM", "HUP", "INT"] {
        let mut terminal = Terminal::start(home.command(&["token", "add"]), 80);
        terminal.wait_until("the echo is off", |terminal| !terminal.echoes());
        terminal.signal(signal);
        assert_eq!(terminal.end().0, 3);
        assert!(terminal.echoes());
    }
    assert_eq!(home.files(), files);
}

#[test]
fn a_removed_profile_is_gone_from_the_order_too() {
    let home = Home::new();
    let store = json!({"version": 1, "profiles": {"anthropic:a": oauth("1", NOW), "anthropic:b": token("2", NOW)},
        "order": {"anthropic": ["anthropic:a"], "zai": ["zai:x"]}, "lastGood": {"anthropic": "anthropic:a"},
        "usageStats": {"anthropic:a": {"lastUsed": 1}, "anthropic:b": {"lastUsed": 2}}, "mine": {"anthropic:a": 1}});
    home.write(MAIN, serde_json::to_string_pretty(&store).unwrap() + "\n");
    let refused = home.run(&["token", "remove", "anthropic:a", "--agent", "main"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert_eq!(home.json(MAIN), store);
    let unknown = home.run(&["token", "remove", "anthropic:c", "--agent", "main", "--yes"]);
    assert!(
        unknown.code == 3 && unknown.stderr.contains("did you mean `anthropic:"),
        "{unknown:?}"
    );
    assert_eq!(
        home.run(&["token", "remove", "anthropic:a", "--agent", "main", "--yes"])
            .code,
        0
    );
    assert_eq!(
        home.json(MAIN),
        json!({"version": 1, "profiles": {"anthropic:b": token("2", NOW)}, "order": {"zai": ["zai:x"]},
            "usageStats": {"anthropic:b": {"lastUsed": 2}}, "mine": {"anthropic:a": 1}})
    );
}

/// Each step was also done by clawdbot's own functions, whose bytes these are.
#[test]
fn every_step_by_hand_leaves_what_clawdbot_leaves() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clawdbot-2026.1.24-3-by-hand");
    // made-up tokens, drawn out to the length of real ones
    let read = |name: &str| {
        let text = fs::read_to_string(dir.join(name)).unwrap();
        text.replace("sk-ant-oat01-FAKE-T1", &format!("{:-<108}", "sk-ant-oat01-FAKE-T1"))
    };
    let steps: serde_json::Value = serde_json::from_str(&read("steps.json")).unwrap();
    let home = Home::new();
    home.write(MAIN, read(steps["start"].as_str().unwrap()));
    let steps = steps["steps"].as_array().unwrap();
    for step in steps {
        let args: Vec<&str> = step["args"]
            .as_array()
            .unwrap()
            .iter()
            .map(|arg| arg.as_str().unwrap())
            .collect();
        let ran = piped(&home, &args, step["stdin"].as_str().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(ran.stderr, "");
        assert_eq!(home.read(MAIN), read(step["after"].as_str().unwrap()), "{args:?}");
    }
    assert_eq!(steps.len(), 9);
}

/// The fixture's own bytes: clawdbot's layout with an order, which goes and comes back.
#[test]
fn an_order_is_written_where_clawdbot_writes_it() {
    let home = Home::new();
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/clawdbot-2026.1.24-3/store-rewrite-normalises/out/",
        ".clawdbot/agents/main/agent/auth-profiles.json"
    );
    let with_order = fs::read_to_string(fixture).unwrap();
    home.write(MAIN, &with_order);
    let get = home.run(&["order", "get"]).stdout;
    assert_eq!(get, "clawdbot/main: anthropic:default, anthropic:claude-cli\n");
    assert_eq!(home.run(&["order", "clear"]).code, 0);
    let (head, rest) = with_order.split_once("  \"order\": {").unwrap();
    let (_, tail) = rest.split_once("\n  },\n").unwrap();
    assert_eq!(home.read(MAIN), format!("{head}{tail}"));
    assert!(home.run(&["order", "get"]).stdout.contains("no order is stored"));
    let args = [
        "order",
        "set",
        "--agent",
        "main",
        "anthropic:default",
        " anthropic:claude-cli",
        "anthropic:default",
    ];
    assert_eq!(home.run(&args).code, 0);
    assert_eq!(home.read(MAIN), with_order);

    for (args, why) in [
        (
            &["order", "set", "anthropic:claude-cly"][..],
            "did you mean `anthropic:claude-cli`?",
        ),
        (
            &["order", "set", "zai:default"],
            "is a profile of `zai`, not of `anthropic`",
        ),
        (&["order", "set", ""], "no profile id was given"),
    ] {
        let ran = home.run(args);
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(format!("{}{}", ran.stdout, ran.stderr).contains(why), "{ran:?}");
        assert_eq!(home.read(MAIN), with_order);
    }
    // as clawdbot's own `order set --provider Z.AI`
    assert_eq!(home.run(&["order", "set", "--provider", "Z.AI", "zai:default"]).code, 0);
    assert_eq!(home.json(MAIN)["order"]["zai"], json!(["zai:default"]));
}

#[test]
fn an_order_that_lies_elsewhere_is_refused() {
    let home = Home::new();
    let dir = ".openclaw/agents/main/agent";
    home.write(
        ".openclaw/openclaw.json",
        "{\"meta\": {\"lastTouchedVersion\": \"2026.5.12\"}}",
    );
    let store = json!({"version": 1, "profiles": {"anthropic:b": token("2", now() + HOUR)}}).to_string();
    home.write(&format!("{dir}/auth-profiles.json"), &store);
    for args in [
        &["order", "get"][..],
        &["order", "clear"],
        &["order", "set", "anthropic:b"],
    ] {
        let ran = home.run(args);
        assert!(ran.code == 3 && ran.stdout.contains("auth-state.json"), "{ran:?}");
    }
    assert_eq!(home.read(&format!("{dir}/auth-profiles.json")), store);
    assert_eq!(piped(&home, &["token", "add"], "T").code, 0);
    assert_eq!(
        home.json(&format!("{dir}/auth-profiles.json"))["profiles"]["anthropic:manual"]["token"],
        "T"
    );
}

/// A key in the agents' `.env` serves them without any login, and it is said.
#[test]
fn a_key_in_the_agents_env_file_is_enough() {
    let home = Home::new();
    home.write(".clawdbot/clawdbot.json", "{}");
    assert_eq!(home.run(&["check"]).code, 1);
    home.write(".clawdbot/.env", "ANTHROPIC_API_KEY=sk-CANARY\n");
    let ran = home.run(&["run"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stdout
            .contains("none is needed: ANTHROPIC_API_KEY is set in `~/.clawdbot/.env`"),
        "{ran:?}"
    );
    home.store("main", json!({"anthropic:old": token("1", now() - HOUR)}));
    let run = home.run(&["run", "--dry-run"]).stdout;
    assert!(run.contains("info: ") && !run.contains("critical: "), "{run}");
    assert!(!run.contains("CANARY"));
}

#[test]
fn what_is_pasted_is_read_whole_and_what_is_no_token_is_refused() {
    let split = format!("{}\n{}\n", &SETUP[..79], &SETUP[79..]);
    for text in [
        split.clone(),
        format!("export CLAUDE_CODE_OAUTH_TOKEN={SETUP}\n"),
        format!("\"{SETUP}\"\n"),
    ] {
        let home = one_agent();
        let ran = piped(&home, &["token", "add"], &text);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(home.json(MAIN)["profiles"]["anthropic:manual"]["token"], SETUP);
    }
    for (args, text, said) in [
        (&["token", "add"][..], &SETUP[..80], "108 characters"),
        (&["token", "add"], "aBc123#sTaTe", "code"),
        (&["token", "add"], "${CLAUDE_CODE_OAUTH_TOKEN}", "placeholder"),
        (&["token", "add"], "sk-ant-api03-aB3_", "API key"),
        (&["token", "add", "--type", "api_key"], SETUP, "kept as an API key"),
    ] {
        let home = one_agent();
        let before = home.read(MAIN);
        let ran = piped(&home, args, text);
        assert_eq!((ran.code, home.read(MAIN)), (3, before), "{ran:?}");
        assert!(ran.stderr.contains(said), "{said}: {ran:?}");
        assert!(!format!("{ran:?}").contains("CANARY"), "{ran:?}");
    }
}
