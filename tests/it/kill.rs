//! A pass killed at any moment leaves every foreign file old or new, never torn, and the next pass heals.

use super::home::{DAY, HOUR, Home, Ran, access, now, oauth, token};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

const AGENTS: [&str; 3] = ["main", "work", "lab"];

fn home() -> Home {
    let home = Home::new();
    home.login("2", now() + 8 * HOUR);
    for agent in AGENTS {
        home.store(agent, json!({"anthropic:claude-cli": oauth("1", now() - DAY), "k:k": {"type": "api_key", "provider": "k", "key": "K"}}));
    }
    home.write(".clawdbot/clawdbot.json", "{agents:{list:[{id:'main'},{id:'new'}]}}");
    home
}

fn store(agent: &str) -> String {
    format!(".clawdbot/agents/{agent}/agent/auth-profiles.json")
}

/// The system calls by which a pass changes anything. What it opened or made before one of them is there at each.
const CHANGES: [&str; 13] = [
    "write",
    "fsync",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "rmdir",
    "unlink",
    "unlinkat",
    "fchmod",
    "fchown",
    "utimensat",
    "flock",
];

#[test]
fn a_kill_at_any_call_tears_nothing_and_the_next_pass_heals() {
    let mut points = 0;
    let mut seen = BTreeSet::new();
    // they heal side by side: each watches the lock that the dead one left for 15 s
    let mut healing = Vec::new();
    for call in CHANGES {
        for nth in 1.. {
            let home = home();
            let old: Vec<String> = AGENTS.iter().map(|agent| home.read(&store(agent))).collect();
            let killed = home.killed_at(call, nth);
            for (agent, old) in AGENTS.iter().zip(&old) {
                let text = home.read(&store(agent));
                let new = text.contains(&access("2"));
                assert!(text == *old || new, "{agent} at {call} {nth}:\n{text}");
                let json: serde_json::Value =
                    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{agent} at {call} {nth}: {e}"));
                assert_eq!(json["profiles"]["k:k"]["key"], "K");
                seen.insert(new);
            }
            // a lock that the dead one left is stale half a minute later
            let late = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
            for path in AGENTS
                .iter()
                .chain(&["new"])
                .map(|agent| home.at(&format!("{}.lock", store(agent))))
            {
                if path.exists() {
                    fs::File::open(&path)
                        .unwrap()
                        .set_times(fs::FileTimes::new().set_modified(late))
                        .unwrap();
                }
            }
            let child = home.spawn(&["run"]);
            healing.push((call, nth, home, child));
            if !killed {
                break;
            }
            points += 1;
        }
    }
    for (call, nth, home, child) in healing {
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "at {call} {nth}: {ran:?}");
        for agent in AGENTS.iter().chain(&["new"]) {
            assert!(
                home.read(&store(agent)).contains(&access("2")),
                "{agent} at {call} {nth}"
            );
        }
        let left = home
            .files()
            .into_keys()
            .filter(|path| path.contains("nolapse-tmp") || path.ends_with(".lock"));
        assert_eq!(
            left.collect::<Vec<_>>(),
            [".local/state/nolapse/pass.lock"],
            "at {call} {nth}"
        );
    }
    println!("killed at {points} points");
    assert!(points > 40, "only {points} points");
    assert_eq!(seen.len(), 2, "some were killed before a write and some after");
}

/// Which fsync of a pass is that of the store of `main`.
fn its_fsync() -> usize {
    let home = home();
    let trace = home.at("trace");
    home.traced("sync", &["-o", trace.to_str().unwrap(), "-e", "trace=fsync"]);
    let text = fs::read_to_string(trace).unwrap();
    let mut calls = text.lines().filter(|line| line.contains("fsync("));
    1 + calls
        .position(|line| line.contains("/main/agent/.auth-profiles.json."))
        .unwrap()
}

#[test]
fn a_full_disk_leaves_everything_as_it_was_and_is_said() {
    let fsync = format!("inject=fsync:error=EIO:when={}", its_fsync());
    let rename = ["rename", "renameat2"].map(|call| format!("inject={call}:error=EROFS"));
    for (what, options) in [
        ("fsync", vec!["-e", "trace=fsync", "-e", &fsync]),
        (
            "rename",
            vec!["-e", "trace=rename,renameat2", "-e", &rename[0], "-e", &rename[1]],
        ),
        // more than the process may write (SIGXFSZ) is an error too, not its end
        ("write", vec!["-e", "trace=none"]),
    ] {
        let home = home();
        let path = home.at(&store("main"));
        let mut options: Vec<String> = options.into_iter().map(str::to_owned).collect();
        let ran = if what == "write" {
            let mut large = home.json(&store("main"));
            large["profiles"]["k:k"]["note"] = "x".repeat(300_000).into();
            home.write(&store("main"), large.to_string());
            let limited = "ulimit -f 256; exec \"$0\" sync";
            Command::new("bash")
                .args(["-c", limited, env!("CARGO_BIN_EXE_nolapse")])
                .env_clear()
                .env("HOME", home.path())
                .env("PATH", "/usr/bin:/bin")
                .output()
                .unwrap()
        } else {
            if what == "rename" {
                options.extend(["-P".to_owned(), path.to_str().unwrap().to_owned()]);
            }
            options.extend(["-o".to_owned(), "/dev/null".to_owned()]);
            home.traced("sync", &options.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let before = home.read(&store("main"));
        let stdout = String::from_utf8(ran.stdout).unwrap();
        assert_eq!(ran.status.code(), Some(3), "{what}: {stdout}");
        assert!(stdout.contains("was not written"), "{what}: {stdout}");
        assert!(before.contains(&access("1")) && before.contains("\"K\""), "{what}");
        assert!(
            home.read(&store("work")).contains(&access("2")),
            "one store's trouble is its own"
        );
        assert!(!home.files().keys().any(|path| path.contains("nolapse-tmp")), "{what}");
    }
}

#[test]
fn a_store_that_appears_while_we_wait_is_not_clobbered() {
    // the agent writes its first store between our look and our lock: it is read again under the lock
    let home = Home::new();
    home.login("2", now() + 8 * HOUR);
    home.write(".clawdbot/clawdbot.json", "{}");
    fs::create_dir_all(home.at(".clawdbot/agents/main/agent")).unwrap();
    let lock = home.at(&format!("{}.lock", store("main")));
    fs::create_dir(&lock).unwrap();
    let child = home.spawn(&["sync"]);
    while !home.at(".local/state/nolapse/pass.lock").exists() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    home.store("main", json!({"anthropic:own": token("9", now() + HOUR)}));
    fs::remove_dir(&lock).unwrap();
    let ran = super::home::Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    let store = home.json(&store("main"));
    assert_eq!(store["profiles"]["anthropic:own"]["token"], access("9"));
    assert_eq!(store["profiles"]["anthropic:claude-cli"]["token"], access("2"));
}

/// Tokens pass through its memory: neither a core file nor a debugger of the same user may have them.
#[test]
fn no_core_holds_its_memory() {
    let home = Home::new();
    let trace = home.at("trace");
    let status = std::process::Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=prctl,prlimit64,setrlimit", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_nolapse"))
        .arg("--version")
        .env_clear()
        .env("HOME", home.path())
        .stdout(std::process::Stdio::null())
        .status()
        .expect("strace is needed: `apt-get install strace`");
    assert!(status.success());
    let trace = home.read("trace");
    assert!(trace.contains("PR_SET_DUMPABLE, SUID_DUMP_DISABLE) = 0"), "{trace}");
    assert!(trace.contains("RLIMIT_CORE, {rlim_cur=0, rlim_max=0}"), "{trace}");
}
