//! `install` and `uninstall` on every platform, with stand-ins for the platforms' own programs that are as strict as those.

use crate::home::{DAY, HOUR, Home, now};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAMS: [&str; 22] = [
    "systemctl",
    "loginctl",
    "crontab",
    "launchctl",
    "rc-update",
    "rc-service",
    "sv",
    "sv-enable",
    "sv-disable",
    "svlogd",
    "termux-job-scheduler",
    "termux-notification",
    "termux-toast",
    "termux-dialog",
    "termux-notification-remove",
    "termux-open-url",
    "termux-wake-lock",
    "timeout",
    "getprop",
    "am",
    "ssh",
    "claude",
];

/// The stand-ins, outside the home.
pub(crate) struct Platform {
    dir: tempfile::TempDir,
}

impl Platform {
    pub(crate) fn new(home: &mut Home) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        let standin = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/standins/platform");
        for name in PROGRAMS {
            symlink(&standin, dir.path().join("bin").join(name)).unwrap();
        }
        // Termux has its own shell, and no other
        symlink("/bin/sh", dir.path().join("bin/sh")).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        home.env.insert("STANDIN".into(), text(dir.path()));
        home.env.insert("PREFIX".into(), text(dir.path()));
        home.env.insert(
            "PATH".into(),
            format!("{}:/usr/bin:/bin", text(&dir.path().join("bin"))),
        );
        home.env.insert("USER".into(), "u".into());
        home.env.insert(
            "BOOTCLASSPATH".into(),
            "/apex/com.android.art/javalib/core-oj.jar".into(),
        );
        fs::create_dir(dir.path().join("libexec")).unwrap();
        symlink(&standin, dir.path().join("libexec/termux-api")).unwrap();
        Self { dir }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Android keeps the channels that an app has made, with what a person set in them.
    fn forget_channels(&self) {
        // the message that alerts arrive is the person's to take away
        assert!(
            !self.at("shown/nolapse-installed").exists(),
            "the first notification is left"
        );
        for dir in ["channels", "shown"] {
            let _ = fs::remove_dir_all(self.at(dir));
        }
    }

    pub(crate) fn calls(&self) -> String {
        let calls = fs::read_to_string(self.at("calls")).unwrap_or_default();
        let _ = fs::remove_file(self.at("calls"));
        calls
    }
}

/// Everything below `dir`: what it is, its mode, its content.
fn tree(dir: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut tree = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let (path, meta) = (entry.path(), entry.metadata().unwrap());
            if meta.is_dir() {
                dirs.push(path.clone());
            }
            let bytes = if meta.is_file() {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            tree.insert(path, (meta.mode(), bytes));
        }
    }
    tree
}

const WAYS: [&[&str]; 10] = [
    &["systemd"],
    &["systemd", "--daemon"],
    &["termux"],
    &["termux", "--daemon"],
    &["cron"],
    &["launchd"],
    &["launchd", "--daemon"],
    &["openrc"],
    &["runit"],
    &["runit", "--daemon"],
];

#[test]
fn a_home_is_as_it_was_after_install_and_uninstall() {
    for way in WAYS {
        let mut home = Home::new();
        let platform = Platform::new(&mut home);
        home.login("1", now() + 8 * HOUR);
        home.write(".config/systemd/user/other.service", "[Unit]\n");
        fs::write(platform.at("crontab"), "# mine\n0 5 * * * backup\n").unwrap();
        let (before, outside) = (tree(home.path()), tree(platform.dir.path()));

        let dry = home.run(&[&["install", "--dry-run"], way].concat());
        assert_eq!(dry.code, 0, "{way:?}: {dry:?}");
        assert!(dry.stdout.contains("nothing was done"), "{dry:?}");
        assert_eq!(tree(home.path()), before, "{way:?}: a rehearsal wrote");
        assert_eq!(platform.calls(), "", "{way:?}: a rehearsal ran");

        let ran = home.run(&[&["install"], way].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{way:?}: {ran:?}");
        assert!(
            ran.stdout.contains("1 login, 0 agents: nothing needs you"),
            "{way:?}: {ran:?}"
        );
        assert!(ran.stdout.contains("next run: "), "{way:?}: {ran:?}");
        // what was announced is what was done
        for line in dry.stdout.lines().filter(|line| line.starts_with("$ ")) {
            assert!(ran.stdout.contains(line), "{way:?}: {line} not in {ran:?}");
        }
        platform.calls();

        let (after, outside_after) = (tree(home.path()), tree(platform.dir.path()));
        let again = home.run(&[&["install"], way].concat());
        assert_eq!(again.code, 0, "{way:?}: {again:?}");
        assert!(
            again.stdout.contains("installed already, nothing changed"),
            "{way:?}: {again:?}"
        );
        let calls = platform.calls();
        for word in ["enable", "bootstrap", "--script", "start", "add", "crontab -\n"] {
            assert!(!calls.contains(word), "{way:?}: {calls}");
        }
        assert_eq!(tree(home.path()), after, "{way:?}: a second install wrote");
        assert_eq!(
            tree(platform.dir.path()),
            outside_after,
            "{way:?}: a second install wrote"
        );

        let dry = home.run(&["uninstall", "--dry-run"]);
        assert_eq!((dry.code, tree(home.path())), (0, after), "{way:?}: {dry:?}");
        platform.calls();
        let gone = home.run(&["uninstall", way[0]]);
        assert_eq!((gone.code, gone.stderr.as_str()), (0, ""), "{way:?}: {gone:?}");
        platform.calls();
        platform.forget_channels();
        assert_eq!(tree(home.path()), before, "{way:?}: {gone:?}");
        assert_eq!(tree(platform.dir.path()), outside, "{way:?}: {gone:?}");
        let gone = home.run(&["uninstall"]);
        assert!(gone.stdout.contains("not installed, nothing changed"), "{gone:?}");
    }
}

#[test]
fn what_a_person_changed_is_left_to_them() {
    let mut home = Home::new();
    let platform = Platform::new(&mut home);
    home.login("1", now() + 8 * HOUR);
    assert_eq!(home.run(&["install", "systemd"]).code, 0);
    let timer = ".config/systemd/user/nolapse.timer";
    let edited = home.read(timer).replace("*:0/4", "*:0/30");
    fs::write(home.at(timer), &edited).unwrap();
    let again = home.run(&["install", "systemd"]);
    assert!(
        again
            .stdout
            .contains(&format!("not changed, since it was edited: ~/{timer}")),
        "{again:?}"
    );
    let gone = home.run(&["uninstall", "systemd"]);
    assert_eq!(gone.code, 3, "{gone:?}");
    assert!(
        gone.stdout
            .contains(&format!("not changed, since it was edited: ~/{timer}")),
        "{gone:?}"
    );
    assert_eq!(home.read(timer), edited);
    assert!(!home.at(".config/systemd/user/nolapse.service").exists());

    // what stands there from elsewhere is neither replaced nor taken for ours
    platform.calls();
    let refused = home.run(&["install", "systemd"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("exists and was not installed by nolapse\nhint: move it away"),
        "{refused:?}"
    );
    assert!(!home.at(".config/systemd/user/nolapse.service").exists());
    assert_eq!(platform.calls(), "");
}

#[test]
fn what_later_passes_remembered_stays_unless_it_is_to_be_forgotten() {
    let mut home = Home::new();
    let _platform = Platform::new(&mut home);
    home.login("1", now() + 8 * HOUR);
    assert_eq!(home.run(&["install", "cron"]).code, 0);
    home.login("2", now() + 2 * DAY);
    assert_eq!(home.run(&["run"]).code, 0);
    let gone = home.run(&["uninstall"]);
    assert!(
        gone.stdout
            .contains("kept what nolapse remembers: ~/.local/state/nolapse"),
        "{gone:?}"
    );
    assert!(home.at(".local/state/nolapse/ledger.json").exists());
    assert!(!home.at(".local/state/nolapse/install.json").exists());
    // of a renewal, a configuration and a sign-in from a phone's notification
    for left in ["fences.json", "config.kept.toml", "sign-in/0123456789abcdef/pass.lock"] {
        home.write(&format!(".local/state/nolapse/{left}"), "{}");
    }
    let gone = home.run(&["uninstall", "--forget"]);
    assert_eq!(gone.code, 0, "{gone:?}");
    assert!(!home.at(".local/state/nolapse").exists());
}

#[test]
fn one_form_takes_the_place_of_the_other() {
    let mut home = Home::new();
    let platform = Platform::new(&mut home);
    home.login("1", now() + 8 * HOUR);
    assert_eq!(home.run(&["install", "systemd"]).code, 0);
    assert_eq!(home.run(&["install", "systemd", "--daemon"]).code, 0);
    assert!(!home.at(".config/systemd/user/nolapse.timer").exists());
    assert!(home.at(".config/systemd/user/nolapse-daemon.service").exists());
    assert!(platform.at("on-nolapse-daemon.service").exists() && !platform.at("on-nolapse.timer").exists());
    // switched off by hand: switched on again
    fs::remove_file(platform.at("on-nolapse-daemon.service")).unwrap();
    let again = home.run(&["install", "systemd", "--daemon"]);
    assert!(again.stdout.contains("installed already, but not running"), "{again:?}");
    assert!(platform.at("on-nolapse-daemon.service").exists());
}

#[test]
fn linger_is_mentioned_where_it_is_off() {
    for (linger, said) in [("no\n", true), ("yes\n", false)] {
        let mut home = Home::new();
        let platform = Platform::new(&mut home);
        fs::write(platform.at("linger"), linger).unwrap();
        let ran = home.run(&["install", "systemd"]);
        assert_eq!(ran.stdout.contains("hint: loginctl enable-linger u"), said, "{ran:?}");
        assert!(ran.stdout.contains("next run: Sun 2026-11-22 22:08:00 UTC"), "{ran:?}");
    }
}

#[test]
fn a_crontab_keeps_its_every_byte() {
    for (before, strict) in [
        (None, true),
        (Some(""), true),
        (Some("0 5 * * * x\n"), true),
        (Some("0 5 * * * x"), false),
    ] {
        let mut home = Home::new();
        let platform = Platform::new(&mut home);
        home.login("1", now() + 8 * HOUR);
        if let Some(before) = before {
            fs::write(platform.at("crontab"), before).unwrap();
        }
        if !strict {
            fs::write(platform.at("no-newline"), "").unwrap();
        }
        assert_eq!(home.run(&["install", "cron"]).code, 0);
        let crontab = fs::read_to_string(platform.at("crontab")).unwrap();
        assert!(crontab.starts_with(before.unwrap_or("")), "{crontab}");
        let line = crontab.lines().find(|line| line.starts_with("*/4 * * * * ")).unwrap();
        // the line does its work in the shell that cron would give it to
        let line = line.trim_start_matches("*/4 * * * * ").replace("\\%", "%");
        let ran = Command::new("/bin/sh")
            .args(["-c", &line])
            .env_clear()
            .env("HOME", home.path())
            .status()
            .unwrap();
        assert_eq!(ran.code(), Some(0), "{line}");
        assert_eq!(home.run(&["uninstall", "cron"]).code, 0);
        assert_eq!(fs::read_to_string(platform.at("crontab")).ok().as_deref(), before);
    }
}

#[test]
fn what_fails_or_never_answers_is_said_and_can_be_taken_out() {
    for (file, program, way, said) in [
        (
            "broken",
            "systemctl",
            "systemd",
            "`systemctl --user daemon-reload`: systemctl: out of order",
        ),
        ("broken", "crontab", "cron", "`crontab -l`: crontab: out of order"),
        (
            "block",
            "termux-job-scheduler",
            "termux",
            "install the app Termux:API from where Termux came from",
        ),
    ] {
        let mut home = Home::new();
        let platform = Platform::new(&mut home);
        home.login("1", now() + 8 * HOUR);
        let before = tree(home.path());
        fs::write(platform.at(file), program).unwrap();
        let ran = home.run(&["install", way]);
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(ran.stderr.contains(said) && ran.stderr.contains("hint: "), "{ran:?}");
        fs::remove_file(platform.at(file)).unwrap();
        assert_eq!(home.run(&["uninstall"]).code, 0);
        let after: Vec<_> = tree(home.path()).into_keys().collect();
        assert_eq!(after, before.into_keys().collect::<Vec<_>>(), "{way}");
    }
    let home = Home::new();
    for args in [
        &["install", "cron", "--daemon"][..],
        &["install", "cron", "--home", "/"],
    ] {
        let ran = home.run(args);
        assert!(ran.code == 3 && ran.stderr.contains("hint: "), "{ran:?}");
    }
}

/// Runs an installed script as the phone would: with its own shebang, and little in the environment.
fn script(home: &Home, path: &Path, stdin: &str) -> String {
    use std::io::Write;
    let mut child = Command::new(path)
        .env_clear()
        .env("HOME", home.path())
        .envs(&home.env)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{}", path.display());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_phones_scripts_do_what_they_say() {
    let mut home = Home::new();
    let platform = Platform::new(&mut home);
    home.login("1", now() + 8 * HOUR);
    let ran = home.run(&["install", "termux", "--daemon"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let calls = platform.calls();
    let job = home.at(".termux/nolapse-job");
    assert!(
        calls.contains(&format!(
            "termux-job-scheduler --script {} --job-id 4624 --period-ms 900000 --network any --battery-not-low false --persisted true",
            job.display()
        )),
        "{calls}"
    );
    assert!(
        calls.contains("--priority high") && calls.contains("sv-enable nolapse"),
        "{calls}"
    );
    assert!(!platform.at("var/service/nolapse/down").exists());
    for dir in [".shortcuts", ".shortcuts/tasks"] {
        assert_eq!(fs::metadata(home.at(dir)).unwrap().mode() & 0o777, 0o700);
    }
    let files = [
        ".termux/nolapse-job",
        ".termux/boot/nolapse",
        ".shortcuts/tasks/nolapse-status",
        ".shortcuts/tasks/nolapse-check",
        ".shortcuts/tasks/nolapse-sign-in",
        ".shortcuts/nolapse-reauth",
    ];
    for file in files {
        let shebang = format!("#!{}/bin/sh\n", platform.dir.path().display());
        assert!(home.read(file).starts_with(&shebang), "{file}");
    }

    let host = "user@gw";
    let said = script(&home, &home.at(".shortcuts/nolapse-reauth"), &format!("{host}\n\n"));
    assert!(
        said.contains("[-; - for this phone]") && said.contains("Done (0)"),
        "{said}"
    );
    let calls = platform.calls();
    assert!(
        calls.starts_with("ssh -t -- user@gw ") && calls.contains("nolapse\\ reauth"),
        "{calls}"
    );
    home.write(".config/nolapse/reauth-host", "me@other\n");
    script(&home, &home.at(".shortcuts/nolapse-reauth"), "\n\n");
    assert!(platform.calls().starts_with("ssh -t -- me@other "));
    // this phone's own sign-in is this program's, by its path
    let text = home.read(".shortcuts/nolapse-reauth");
    let line = text.lines().find(|line| line.starts_with("-) ")).unwrap();
    assert!(
        line.contains(env!("CARGO_BIN_EXE_nolapse")) && line.ends_with(" reauth ;;"),
        "{line}"
    );

    // the shortcuts start this program, and its notifications say the rest
    for name in ["nolapse-status", "nolapse-check"] {
        let text = home.read(&format!(".shortcuts/tasks/{name}"));
        let line = text.lines().find(|line| line.starts_with("exec ")).unwrap();
        assert!(
            line.contains(env!("CARGO_BIN_EXE_nolapse")) && line.contains(" phone status "),
            "{line}"
        );
    }
    // a wiped login: told by the job
    home.write(".claude/.credentials.json", "{}");
    let ledger = home.read(".local/state/nolapse/ledger.json");
    script(&home, &job, "");
    assert_ne!(home.read(".local/state/nolapse/ledger.json"), ledger);
    platform.calls();
    fs::create_dir_all(platform.at("etc/profile.d")).unwrap();
    fs::write(
        platform.at("etc/profile.d/start-services.sh"),
        "touch \"$PREFIX/runsvdir-started\"\n",
    )
    .unwrap();
    script(&home, &home.at(".termux/boot/nolapse"), "");
    assert!(
        platform.at("runsvdir-started").exists(),
        "runit does not run after a boot"
    );
    // announced in the background, beside the pass
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !platform.calls().contains("--persisted true") {
        assert!(std::time::Instant::now() < deadline, "the job was not announced");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn the_services_scripts_run_the_daemon_until_it_is_told_to_stop() {
    for (way, service) in [("termux", "var/service/nolapse"), ("runit", "service/nolapse")] {
        let mut home = Home::new();
        let platform = Platform::new(&mut home);
        home.login("1", now() + 8 * HOUR);
        assert_eq!(home.run(&["install", way, "--daemon"]).code, 0);
        let service = match way {
            "termux" => platform.at(service),
            _ => home.at(service),
        };
        let ledger = home.at(".local/state/nolapse/ledger.json");
        fs::remove_file(&ledger).unwrap();
        let mut child = Command::new(service.join("run"))
            .env_clear()
            .env("HOME", home.path())
            .envs(&home.env)
            .spawn()
            .unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !ledger.exists() {
            assert!(std::time::Instant::now() < deadline, "{way}: no pass");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let pid = child.id().to_string();
        assert!(Command::new("/bin/kill").arg(pid).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{way}");
        platform.calls();
        script(&home, &service.join("log/run"), "");
        assert!(platform.calls().starts_with("svlogd -tt "), "{way}");
    }
}

#[test]
fn the_openrc_script_names_the_program_and_the_nagios_command_is_a_plugin() {
    let mut home = Home::new();
    let _platform = Platform::new(&mut home);
    home.login("1", now() + 8 * HOUR);
    assert_eq!(home.run(&["install", "openrc"]).code, 0);
    let binary = env!("CARGO_BIN_EXE_nolapse");
    let sh = |script: &str| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env_clear().env("HOME", home.path());
        command.output().unwrap()
    };
    let service = home.at(".config/rc/init.d/nolapse");
    let said = sh(&format!(". {}; echo \"$command $command_args\"", service.display()));
    assert_eq!(String::from_utf8(said.stdout).unwrap(), format!("{binary} daemon\n"));
    // with what openrc-run brings
    let supervise = home.write("bin/supervise-daemon", "#!/bin/sh\necho \"supervise $*\"\n");
    fs::set_permissions(supervise, fs::Permissions::from_mode(0o755)).unwrap();
    let brings = "ebegin() { echo \"begin $*\"; }; eend() { return $1; }; after() { echo \"after $*\"; }; \
        PATH=$HOME/bin:/usr/bin:/bin; RC_SVCNAME=nolapse";
    let said = sh(&format!("{brings}; . {}; depend && reload", service.display()));
    assert!(said.status.success(), "{said:?}");
    assert_eq!(
        String::from_utf8(said.stdout).unwrap(),
        "after net\nbegin Reading the configuration again\nsupervise nolapse --signal HUP\n"
    );

    let nagios = include_str!("../../contrib/nagios/nolapse.cfg").replace("/usr/bin/nolapse", binary);
    let line = nagios
        .lines()
        .find_map(|line| line.trim().strip_prefix("command_line"))
        .unwrap();
    let soon = crate::home::credentials("1", now() + 8 * HOUR, Some(now() + 4 * DAY));
    for (credentials, code, word) in [
        (None, 0, "NOLAPSE OK - "),
        (Some(soon.to_string()), 1, "NOLAPSE WARNING - "),
        (Some("{}".into()), 2, "NOLAPSE CRITICAL - "),
    ] {
        if let Some(credentials) = credentials {
            home.write(".claude/.credentials.json", credentials);
        }
        let said = sh(line.trim());
        assert_eq!(said.status.code(), Some(code), "{said:?}");
        assert!(said.stdout.starts_with(word.as_bytes()), "{said:?}");
    }
}

#[test]
fn the_line_in_the_crontab_makes_a_pass() {
    let mut home = Home::new();
    let platform = Platform::new(&mut home);
    home.login("1", now() + 8 * HOUR).store("main", serde_json::json!({}));
    assert_eq!(home.run(&["install", "cron"]).code, 0);
    home.store("main", serde_json::json!({}));
    let crontab = fs::read_to_string(platform.at("crontab")).unwrap();
    let line = crontab.lines().find(|line| line.starts_with("*/4 ")).unwrap();
    // cron takes five words off, turns a bare `%` into a line end, and gives the rest to the shell with little around it
    let command = line.splitn(6, ' ').last().unwrap();
    assert!(!command.replace("\\%", "").contains('%'), "{command}");
    let output = Command::new("/bin/sh")
        .args(["-c", &command.replace("\\%", "%")])
        .env_clear()
        .env("HOME", home.path())
        .env("LOGNAME", "u")
        .current_dir(home.path())
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), output.stdout, output.stderr),
        (Some(0), vec![], vec![])
    );
    assert!(home.read(crate::home::MAIN).contains("anthropic:claude-cli"));
}

#[test]
fn the_completions_and_pages_know_every_command() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let ran = home.run(&["completions", shell]);
        assert!(ran.code == 0 && ran.stdout.contains("uninstall"), "{shell}: {ran:?}");
    }
    let page = home.run(&["man"]);
    assert!(page.code == 0 && page.stdout.contains("nolapse\\-run(1)"), "{page:?}");
    assert_eq!(home.run(&["man", "--dir", "pages"]).code, 0);
    let pages: Vec<String> = fs::read_dir(home.at("pages"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in ["nolapse.1", "nolapse-install.1", "nolapse-config-init.1"] {
        assert!(pages.iter().any(|page| page == name), "{name} not in {pages:?}");
    }
}
