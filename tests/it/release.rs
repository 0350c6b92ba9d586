//! What a release is made of: the installer against a loopback server, and the packages' recipes.

use super::home::{DAY, Home, MAIN, MINUTE, now};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

fn target() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

/// A person's home, and a release page with one archive, whose `nolapse` is a script that knows its version.
struct Page {
    dir: tempfile::TempDir,
    base: String,
}

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Page {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let root = dir.path().join("page");
        fs::create_dir_all(&root).unwrap();
        fs::create_dir_all(dir.path().join("home")).unwrap();
        fs::create_dir_all(dir.path().join("tools")).unwrap();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                serve(socket.unwrap(), &root);
            }
        });
        Self { dir, base }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn installed(&self, path: &str) -> PathBuf {
        self.path("home/.local").join(path)
    }

    fn program(&self, path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Puts a version on the page, in place of the one before.
    fn publish(&self, version: &str) -> PathBuf {
        let name = format!("nolapse-v{version}-{}", target());
        let root = self.path(&name);
        let calls = self.path("calls");
        self.program(
            &root.join("nolapse"),
            &format!(
                "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'nolapse {version} (abc 2026-01-01)'; else echo \"$@\" >>{}; fi\n",
                calls.display()
            ),
        );
        for file in [
            "completions/nolapse.bash",
            "completions/_nolapse",
            "completions/nolapse.fish",
            "man/man1/nolapse.1",
        ] {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), version).unwrap();
        }
        let archive = self.path("page").join(format!("{name}.tar.gz"));
        let tar = Command::new("tar")
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(self.dir.path())
            .arg(&name)
            .status();
        assert!(tar.unwrap().success());
        let sums = Command::new("sha256sum")
            .arg(archive.file_name().unwrap())
            .current_dir(self.path("page"))
            .output();
        let other = format!("{}  nolapse-v{version}-source.tar.gz\n", "0".repeat(64));
        let sums = other + &String::from_utf8(sums.unwrap().stdout).unwrap();
        fs::write(self.path("page/SHA256SUMS"), sums).unwrap();
        archive
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_from(&self.base, args)
    }

    fn run_from(&self, base: &str, args: &[&str]) -> Ran {
        let path = format!("{}:/usr/bin:/bin", self.path("tools").display());
        let output = Command::new("sh")
            .arg(Path::new(PROJECT).join("scripts/install.sh"))
            .args(args)
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", path)
            .env("TMPDIR", self.path("tools"))
            .env("NOLAPSE_BASE_URL", base)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran {
            code: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Everything that is in the home, and how many files an unfinished run left elsewhere.
    fn files(&self) -> Vec<String> {
        let home = Command::new("find")
            .arg(self.path("home"))
            .args(["-type", "f", "-printf", "%P\\n"])
            .output()
            .unwrap();
        let left = fs::read_dir(self.path("tools"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().is_dir())
            .count();
        assert_eq!(left, 0, "a temporary directory was left");
        let mut files: Vec<_> = String::from_utf8(home.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        files.sort();
        files
    }
}

fn serve(mut socket: std::net::TcpStream, root: &Path) {
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    lines.find(|line| line.as_ref().unwrap().is_empty());
    let path = first.split(' ').nth(1).unwrap().trim_start_matches('/');
    let answer = match fs::read(root.join(path)) {
        Ok(body) => {
            // more is promised than comes
            let cut = if root.join("cut").exists() && path.ends_with(".gz") {
                100
            } else {
                0
            };
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), &body[..body.len() - cut]].concat()
        }
        Err(_) => b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
    };
    socket.write_all(&answer).unwrap();
}

#[test]
fn the_installer_installs_and_says_what_comes_next() {
    let page = Page::new();
    page.publish("1.2.3");
    let ran = page.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(
        page.files(),
        [
            ".local/bin/nolapse",
            ".local/share/bash-completion/completions/nolapse",
            ".local/share/fish/vendor_completions.d/nolapse.fish",
            ".local/share/man/man1/nolapse.1",
            ".local/share/zsh/site-functions/_nolapse",
        ]
    );
    let mode = fs::metadata(page.installed("bin/nolapse"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o755);
    let bin = page.installed("bin");
    assert!(
        ran.stdout.contains(&format!("export PATH=\"{}:$PATH\"", bin.display())),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout
            .ends_with(&format!("Next: {}/nolapse setup\n", bin.display())),
        "{}",
        ran.stdout
    );

    // what was installed goes, after nolapse took its own things out; what is not the installer's stays
    fs::write(page.path("home/mine"), "").unwrap();
    let ran = page.run(&["--uninstall"]);
    assert_eq!((ran.code, page.files()), (0, vec!["mine".to_owned()]), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(page.path("calls")).unwrap(), "uninstall\n");
    assert_eq!(page.run(&["--uninstall"]).code, 1);
}

#[test]
fn an_upgrade_is_whole_and_starts_the_daemon_again() {
    let page = Page::new();
    page.publish("1.2.3");
    assert_eq!(page.run(&[]).code, 0);
    let old = fs::File::open(page.installed("bin/nolapse")).unwrap();
    page.program(
        &page.path("tools/systemctl"),
        &format!("#!/bin/sh\necho \"systemctl $*\" >>{}\n", page.path("calls").display()),
    );
    page.publish("1.10.0");
    let ran = page.run(&[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stdout.contains("(it was 1.2.3)") && ran.stdout.contains("started again"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.ends_with("doctor\n"), "{}", ran.stdout);
    let calls = fs::read_to_string(page.path("calls")).unwrap();
    assert!(
        calls.ends_with("systemctl --user restart nolapse-daemon.service\n"),
        "{calls}"
    );
    // the running one keeps its file: a new one was put in its place
    let text = std::io::read_to_string(old).unwrap();
    assert!(text.contains("1.2.3"), "{text}");

    // back only when asked to
    page.publish("1.9.9");
    let before = fs::read(page.installed("bin/nolapse")).unwrap();
    let ran = page.run(&[]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("1.10.0 is installed, which is newer than 1.9.9"),
        "{}",
        ran.stderr
    );
    assert_eq!(fs::read(page.installed("bin/nolapse")).unwrap(), before);
    assert_eq!(page.run(&["--force"]).code, 0);
    assert_ne!(fs::read(page.installed("bin/nolapse")).unwrap(), before);
}

#[test]
fn what_is_not_the_archive_installs_nothing() {
    let page = Page::new();
    assert!(page.run(&[]).stderr.contains("could not fetch"), "an empty page");
    let archive = page.publish("1.2.3");
    let wrong = |page: &Page, expected: &str| {
        let ran = page.run(&[]);
        assert_eq!((ran.code, page.files().len()), (1, 0), "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    };
    // a wrong sum
    let whole = fs::read(&archive).unwrap();
    fs::write(&archive, [whole.as_slice(), b"x"].concat()).unwrap();
    wrong(&page, "is not what SHA256SUMS says");
    fs::write(&archive, &whole).unwrap();
    // a cut download
    fs::write(page.path("page/cut"), "").unwrap();
    wrong(&page, "could not fetch");
    fs::remove_file(page.path("page/cut")).unwrap();
    // an archive for other machines alone
    let sums = fs::read_to_string(page.path("page/SHA256SUMS")).unwrap();
    fs::write(
        page.path("page/SHA256SUMS"),
        sums.replace(&target(), "mips-unknown-none"),
    )
    .unwrap();
    wrong(&page, "names no archive for");
    // an address that anyone on the way could answer
    let ran = page.run_from("http://192.0.2.1/release", &[]);
    assert!(
        ran.code == 1 && ran.stderr.contains("must begin with https://"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_place_that_cannot_be_written_is_named_and_nothing_is_half_there() {
    let page = Page::new();
    page.publish("1.2.3");
    fs::create_dir_all(page.installed("")).unwrap();
    fs::write(page.installed("bin"), "a file").unwrap();
    let ran = page.run(&[]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert!(
        ran.stderr.contains(&format!("{}", page.installed("bin").display())),
        "{}",
        ran.stderr
    );
    assert!(!page.files().iter().any(|file| file.contains(".new.")));
}

/// When the fixtures of `tests/fixtures/upgrade` were made, by the version that their directory names. There a login was signed out,
/// one channel told and the other not reached, then the alert acknowledged, the agent silenced, a setup token noted.
const MADE: i64 = 1_795_692_674_000;

/// A fixture's text as if it had been made a minute ago.
fn of_today(text: &str) -> String {
    let shift = now() - MINUTE - MADE;
    let mut shifted = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let end = rest[at..]
            .find(|c: char| !c.is_ascii_digit())
            .map_or(rest.len(), |length| at + length);
        shifted.push_str(&rest[..at]);
        match rest[at..end].parse::<i64>() {
            Ok(moment) if end - at == 13 => shifted.push_str(&(moment + shift).to_string()),
            _ => shifted.push_str(&rest[at..end]),
        }
        rest = &rest[end..];
    }
    shifted + rest
}

const PASSES: &str = ".local/state/nolapse/passes.json";

#[test]
fn what_older_versions_remembered_is_read_and_goes_on() {
    for version in ["0.1.0"] {
        let home = Home::new();
        let fixture = |name: &str| {
            let path = Path::new(PROJECT)
                .join("tests/fixtures/upgrade")
                .join(version)
                .join(name);
            of_today(&fs::read_to_string(path).unwrap())
        };
        home.write(".claude/.credentials.json", "{}");
        home.write(MAIN, fixture("store.json"));
        home.config(&fixture("config.toml"));
        for name in ["ledger.json", "history.jsonl", "passes.json"] {
            home.write(&format!(".local/state/nolapse/{name}"), fixture(name));
        }
        assert_eq!(home.run(&["config", "check"]).code, 0, "{version}");
        // before its first pass and after it, for two weeks
        let told = |home: &Home| {
            let found = home.run(&["doctor", "--json"]).stdout;
            let found: serde_json::Value = serde_json::from_str(&found).unwrap();
            let findings = found["findings"].as_array().unwrap();
            findings.iter().filter(|one| one["kind"] == "upgraded").count()
        };
        assert!(told(&home) > 0, "{version}");
        // it was told, and somebody knows
        let ran = home.run(&["run"]);
        assert!(ran.code == 1 && !ran.stdout.contains("notified"), "{version}: {ran:?}");
        let list = home.run(&["alert", "list"]).stdout;
        for known in [
            "critical  login:claude  missing",
            "notified say",
            "acknowledged",
            "`clawdbot/main` are silenced until",
        ] {
            assert!(list.contains(known), "{version}: {known}: {list}");
        }
        let ledger = home.json(".local/state/nolapse/ledger.json");
        assert!(
            ledger["setup_tokens"]["98d2b54c7d9f40e5"].is_object(),
            "{version}: {ledger}"
        );
        let history = home.run(&["history", "--json"]).stdout;
        let before = fixture("history.jsonl").lines().count();
        assert!(history.matches("\"at\"").count() >= before, "{version}: {history}");
        assert!(!home.files().keys().any(|path| path.contains("corrupt")), "{version}");
        assert!(told(&home) > 0, "{version}");
        let mut passes = home.json(PASSES);
        passes["upgrade"]["at"] = (now() - 15 * DAY).into();
        home.write(PASSES, passes.to_string());
        assert_eq!(told(&home), 0, "{version}");
        home.run(&["run"]);
        assert_eq!(told(&home), 0, "{version}");
    }
}

#[test]
fn packages_take_version_address_and_sums_from_the_release() {
    let marks = |file: &str| {
        let text = fs::read_to_string(Path::new(PROJECT).join(file)).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert!(
            !text.contains(version) && !text.contains(env!("CARGO_PKG_REPOSITORY")),
            "{file} has its own"
        );
        let words =
            text.split(|byte: char| !byte.is_ascii_uppercase() && !byte.is_ascii_digit() && byte != '_' && byte != '@');
        let mut marks: Vec<_> = words
            .filter(|word| word.len() > 2 && word.starts_with('@') && word.ends_with('@'))
            .map(str::to_owned)
            .collect();
        marks.sort();
        marks.dedup();
        marks
    };
    let source = ["@REPOSITORY@", "@SHA256_SOURCE@", "@VERSION@"];
    assert_eq!(marks("contrib/homebrew/nolapse.rb"), source);
    assert_eq!(marks("contrib/termux/build.sh"), source);
    assert_eq!(
        marks("contrib/aur/PKGBUILD"),
        ["@REPOSITORY@", "@SHA256_AARCH64@", "@SHA256_X86_64@", "@VERSION@"]
    );
    assert_eq!(marks("scripts/install.sh"), ["@REPOSITORY@"]);
}
