//! A phone, strictly after Termux's own sources: notifications to channels that must exist, actions as an APP_SHELL runs them (no
//! profile, `PATH` of one directory, stdin open and silent, output thrown away), a reply put into its action as Java does it.

use super::home::{DAY, HOUR, Home, now};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CODE: &str = "goodCANARYcode#STATE";

struct Phone {
    home: Home,
    prefix: tempfile::TempDir,
}

fn executable(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

impl Phone {
    /// With a login that was wiped, and the commands of Termux:API.
    fn new() -> Self {
        let mut home = Home::new();
        let prefix = tempfile::tempdir().unwrap();
        let dir = prefix.path().to_str().unwrap().to_owned();
        let standin = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/standins/platform");
        for dir in ["bin", "libexec"] {
            fs::create_dir(prefix.path().join(dir)).unwrap();
        }
        for name in [
            "bin/termux-notification",
            "bin/termux-notification-remove",
            "bin/termux-open-url",
            "bin/getprop",
            "bin/am",
            "bin/ssh",
            "libexec/termux-api",
        ] {
            symlink(&standin, prefix.path().join(name)).unwrap();
        }
        symlink("/bin/sh", prefix.path().join("bin/sh")).unwrap();
        let claude = include_str!("claude.sh").replacen('\n', "\nPATH=/usr/bin:/bin\n", 1);
        executable(&prefix.path().join("bin/claude"), &claude);
        home.write("mode", "fine\n");
        home.write("token", format!("sk-ant-oat01-CANARY{}\n", "aB3_-".repeat(18)));
        home.env = shell(&home, &dir);
        home.login("old", now() + 8 * HOUR);
        assert_eq!(home.run(&["run"]).code, 0);
        home.write(
            ".claude/.credentials.json",
            r#"{"claudeAiOauth":{"accessToken":"","refreshToken":"","expiresAt":0,"scopes":[]}}"#,
        );
        Self { home, prefix }
    }

    /// The arguments of the notification with this id, as it is shown now.
    fn shown(&self, id: &str) -> Option<Vec<String>> {
        let bytes = fs::read(self.prefix.path().join("shown").join(id)).ok()?;
        Some(
            String::from_utf8(bytes)
                .unwrap()
                .split_terminator('\0')
                .map(str::to_owned)
                .collect(),
        )
    }

    /// The ids of all that is shown.
    fn ids(&self) -> Vec<String> {
        let entries = fs::read_dir(self.prefix.path().join("shown")).unwrap().flatten();
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect()
    }

    /// Waits until the notification's title holds this.
    fn wait_for(&self, id: &str, title: &str) -> Vec<String> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let shown = self.shown(id).unwrap_or_default();
            if value(&shown, "-t").is_some_and(|text| text.contains(title)) {
                return shown;
            }
            assert!(Instant::now() < until, "no `{title}`; shown is {shown:?}");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// A tap on a button: `sh -c` as TermuxService starts it.
    fn tap(&self, action: &str) -> Child {
        Command::new(self.prefix.path().join("bin/sh"))
            .args(["-c", action])
            .env_clear()
            .envs(shell(&self.home, self.prefix.path().to_str().unwrap()))
            .current_dir(self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// What is typed into the text field of a button.
    fn reply(&self, action: &str, typed: &str) -> i32 {
        assert!(action.contains("$REPLY"), "{action}");
        let quoted = format!("\"{}\"", typed.replace('"', "\\\""));
        self.tap(&action.replace("$REPLY", &quoted))
            .wait()
            .unwrap()
            .code()
            .unwrap_or(-1)
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.prefix.path().join("calls")).unwrap_or_default()
    }
}

/// The environment of an APP_SHELL, all of it.
fn shell(home: &Home, prefix: &str) -> BTreeMap<String, String> {
    [
        ("HOME", home.path().to_str().unwrap()),
        ("PREFIX", prefix),
        ("TMPDIR", prefix),
        ("PATH", &format!("{prefix}/bin")),
        ("LANG", "en_US.UTF-8"),
        ("TERMUX_VERSION", "0.118.3"),
        ("TERMUX_API_APP__VERSION_NAME", "0.53"),
        ("ANDROID_ROOT", "/system"),
        ("BOOTCLASSPATH", "/apex/com.android.art/javalib/core-oj.jar"),
        ("EXTERNAL_STORAGE", "/sdcard"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn value<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    let at = args.iter().position(|arg| arg == name)?;
    args.get(at + 1).map(String::as_str)
}

/// The one alert that is shown: its id and what it is made of.
fn the_alert(phone: &Phone) -> (String, Vec<String>) {
    phone.home.run(&["run"]);
    let ids = phone.ids();
    assert_eq!(ids.len(), 1, "{ids:?}: {}", phone.calls());
    let shown = phone.shown(&ids[0]).unwrap();
    (ids[0].clone(), shown)
}

#[test]
fn an_alert_is_shown_in_a_loud_channel_of_its_own() {
    let phone = Phone::new();
    let (id, shown) = the_alert(&phone);
    assert_eq!(value(&shown, "--channel"), Some("nolapse-alerts"));
    assert!(
        value(&shown, "--content")
            .or(value(&shown, "-c"))
            .unwrap()
            .starts_with("Tap to sign in here.")
    );
    let channels = phone.prefix.path().join("channels");
    assert_eq!(fs::read_to_string(channels.join("nolapse-alerts")).unwrap(), "high");
    assert!(
        !channels.join("termux-notification").exists(),
        "the shared channel was used"
    );
    // its action names the program that is here, by its path
    let action = value(&shown, "--action").unwrap();
    assert!(
        action.contains(env!("CARGO_BIN_EXE_nolapse")) && action.contains("--login=claude"),
        "{action}"
    );
    // the phone's name is its model, `localhost` on most
    if fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim() == "localhost" {
        assert!(value(&shown, "-t").unwrap().contains("Pixel 8"), "{shown:?}");
    }
    phone.home.login("new", now() + 20 * DAY);
    phone.home.run(&["run"]);
    let shown = phone.shown(&id).unwrap();
    assert_eq!(value(&shown, "--channel"), Some("nolapse-recovered"), "{shown:?}");
    assert_eq!(fs::read_to_string(channels.join("nolapse-recovered")).unwrap(), "low");
    assert!(value(&shown, "--action").is_none());
}

#[test]
fn without_what_am_needs_the_cause_is_said_and_no_app_is_blamed() {
    let mut phone = Phone::new();
    phone.home.env.remove("BOOTCLASSPATH");
    let ran = phone.home.run(&["alert", "test"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let said = ran.stdout.clone() + &ran.stderr;
    assert!(
        said.contains("Boot classpath is empty") && said.contains("Termux:API 0.53 is installed"),
        "{said}"
    );
}

#[test]
fn a_person_signs_in_from_the_notification_alone() {
    let phone = Phone::new();
    let (id, alert) = the_alert(&phone);
    let mut sign_in = phone.tap(value(&alert, "--button1-action").unwrap());
    let page = phone.wait_for(&id, "open the page, then paste the code");
    assert_eq!(phone.ids(), [id.as_str()], "one notification that changes");
    let mut open = phone.tap(value(&page, "--button1-action").unwrap());
    assert!(open.wait().unwrap().success());
    assert!(
        phone
            .calls()
            .contains("termux-open-url https://claude.ai/oauth/authorize"),
        "{}",
        phone.calls()
    );

    // what is no code is asked for again; nothing of it is run
    let paste = value(&page, "--button2-action").unwrap().to_owned();
    let mark = phone.prefix.path().join("ran");
    assert_ne!(
        phone.reply(&paste, &format!("$(touch {0})`touch {0}`", mark.display())),
        0
    );
    let page = phone.wait_for(&id, "that was not the whole code");
    assert!(!mark.exists());
    assert_eq!(value(&page, "--button2-action"), Some(paste.as_str()));

    // a second tap on the alert starts no second sign-in
    let mut second = phone.tap(value(&alert, "--action").unwrap());
    assert!(second.wait().unwrap().success());

    assert_eq!(phone.reply(&paste, CODE), 0);
    let done = phone.wait_for(&id, "Signed in");
    assert!(sign_in.wait().unwrap().success());
    assert!(value(&done, "--button1").is_none(), "{done:?}");
    assert!(
        phone
            .home
            .read(".claude/.credentials.json")
            .contains("sk-ant-oat01-CANARY")
    );
    // the code stays nowhere
    for (path, bytes) in phone.home.files() {
        let kept = String::from_utf8_lossy(&bytes).contains("CANARYcode");
        assert!(!kept, "{path} keeps the code");
    }
    assert!(!phone.calls().contains("CANARY"), "{}", phone.calls());
}

#[test]
fn a_refused_code_is_said_with_a_way_to_try_again() {
    let phone = Phone::new();
    let (id, alert) = the_alert(&phone);
    let mut sign_in = phone.tap(value(&alert, "--action").unwrap());
    let page = phone.wait_for(&id, "open the page");
    phone.reply(value(&page, "--button2-action").unwrap(), "bad#code");
    let failed = phone.wait_for(&id, "Not signed in");
    assert!(!sign_in.wait().unwrap().success());
    assert!(
        value(&failed, "-c").unwrap().contains("the code was refused"),
        "{failed:?}"
    );
    let mut again = phone.tap(value(&failed, "--button1-action").unwrap());
    let page = phone.wait_for(&id, "open the page");
    assert_eq!(phone.reply(value(&page, "--button2-action").unwrap(), CODE), 0);
    phone.wait_for(&id, "Signed in");
    assert!(again.wait().unwrap().success());
}

#[test]
fn another_hosts_login_is_signed_in_in_a_terminal_there() {
    let phone = Phone::new();
    phone
        .home
        .config("[[remote]]\nname = \"gw\"\nssh = \"me@gw\"\ncommand = \"/opt/nolapse status --json\"\n");
    let ran = phone
        .home
        .run(&["phone", "sign-in", "--alert=remote:gw:login:claude", "--login=claude"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let calls = phone.calls();
    assert!(
        calls.contains("--esa com.termux.execute.arguments -t\\,--\\,me@gw\\,/opt/nolapse\\ reauth\\ --login=claude"),
        "{calls}"
    );
    assert!(
        calls.contains("/bin/ssh --esa") && calls.contains("com.termux.app.TermuxActivity"),
        "{calls}"
    );
    // and this phone's own, where a notification is not wanted
    let ran = phone
        .home
        .run(&["phone", "terminal", "--alert=login:claude", "--login=claude"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let own = format!(
        "com.termux.file:{} --esa com.termux.execute.arguments reauth\\,--login=claude",
        env!("CARGO_BIN_EXE_nolapse")
    );
    assert!(phone.calls().contains(&own), "{}", phone.calls());
}

#[test]
fn the_widget_says_how_everything_fares() {
    let phone = Phone::new();
    let ran = phone.home.run(&["phone", "status"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let shown = phone.shown("nolapse-status").unwrap();
    assert_eq!(value(&shown, "-t"), Some("Claude logins: one needs you"));
    assert!(value(&shown, "-c").unwrap().contains("critical"), "{shown:?}");
    phone.home.login("new", now() + 20 * DAY);
    assert_eq!(phone.home.run(&["phone", "status"]).code, 0);
    assert_eq!(
        value(&phone.shown("nolapse-status").unwrap(), "-t"),
        Some("Claude logins: all fine")
    );
}

#[test]
fn a_code_that_nobody_waits_for_is_refused_and_kept_nowhere() {
    let phone = Phone::new();
    let ran = phone
        .home
        .run_with(&["phone", "code", "--login=claude"], b"\"goodCANARYcode#STATE\"\n");
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stderr.contains("no sign-in waits"), "{ran:?}");
    assert!(!phone.home.at(".local/state/nolapse/sign-in").exists());
}
