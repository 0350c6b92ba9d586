//! A temporary home, and the real binary run on it.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The moment that the fixtures were made at.
pub const NOW: i64 = 1_769_000_000_000;
pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

pub const MAIN: &str = ".clawdbot/agents/main/agent/auth-profiles.json";

/// A home that is gone when dropped.
pub struct Home {
    dir: tempfile::TempDir,
    pub env: BTreeMap<String, String>,
}

impl Home {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            env: BTreeMap::new(),
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.read(path)).unwrap()
    }

    /// A login in `~/.claude` as Claude Code writes it.
    pub fn login(&self, n: &str, expires: i64) -> &Self {
        self.write(
            ".claude/.credentials.json",
            credentials(n, expires, Some(expires + 20 * DAY)).to_string(),
        );
        self
    }

    pub fn store(&self, agent: &str, profiles: Value) -> &Self {
        let text = serde_json::to_string_pretty(&json!({"version": 1, "profiles": profiles})).unwrap();
        self.write(
            &format!(".clawdbot/agents/{agent}/agent/auth-profiles.json"),
            text + "\n",
        );
        self
    }

    pub fn config(&self, text: &str) -> &Self {
        self.write(".config/nolapse/config.toml", text);
        self
    }

    /// The binary with this home and nothing else of the caller's environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nolapse"));
        command
            .args(args)
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", "/usr/bin:/bin")
            .envs(&self.env)
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// The same, started by another program, whose own arguments are there already.
    pub fn under(&self, mut other: Command, args: &[&str]) -> Command {
        let own = self.command(args);
        other
            .arg(own.get_program())
            .args(own.get_args())
            .env_clear()
            .current_dir(self.path())
            .stdin(Stdio::null());
        for (name, value) in own.get_envs() {
            other.env(name, value.expect("it is set"));
        }
        other
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        let ran = Ran::of(self.command(args).output().unwrap());
        super::outputs::hold(&ran.stdout);
        ran
    }

    /// Running, with a pipe at each end.
    pub fn piped(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// With this on stdin, then its end.
    pub fn run_with(&self, args: &[&str], input: &[u8]) -> Ran {
        let mut child = self.piped(args);
        // one that does not read its input may be gone already
        let _ = child.stdin.take().unwrap().write_all(input);
        Ran::of(child.wait_with_output().unwrap())
    }

    /// Runs a pass under strace, killed on entering the `nth` `call`; `false` where it ended before.
    pub fn killed_at(&self, call: &str, nth: usize) -> bool {
        let status = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
            .args(["-e", &format!("inject={call}:signal=SIGKILL:when={nth}")])
            .arg(env!("CARGO_BIN_EXE_nolapse"))
            .arg("run")
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("strace is needed: `apt-get install strace`");
        status.code().is_none()
    }

    /// Runs a command under strace with these options.
    pub fn traced(&self, command: &str, options: &[&str]) -> Output {
        Command::new("strace")
            .args(["-f", "-qq", "-y"])
            .args(options)
            .args([env!("CARGO_BIN_EXE_nolapse"), command])
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .output()
            .expect("strace is needed: `apt-get install strace`")
    }

    /// Running, and waiting for a lock that is held: it has looked at everything, and tried to take the lock.
    pub fn spawn_at(&self, lock: &Path, args: &[&str]) -> Child {
        let trace = self.at("waits");
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq", "-e", "trace=/^(mkdir|link)(at)?$", "-o"])
            .arg(&trace);
        let child = self
            .under(strace, args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let tried = |line: &str| line.contains(&format!("{}\"", lock.display())) && line.contains("EEXIST");
        let begun = std::time::Instant::now();
        while !fs::read_to_string(&trace).is_ok_and(|text| text.lines().any(tried)) {
            assert!(
                begun.elapsed().as_secs() < 20,
                "it does not wait for {}",
                lock.display()
            );
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        child.expect("strace is needed: `apt-get install strace`")
    }

    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub fn status(&self, args: &[&str]) -> Value {
        let ran = self.run(&[&["status", "--json"], args].concat());
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// Every file below the home with its content.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut dirs = vec![self.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).unwrap().flatten() {
                let path = entry.path();
                if entry.file_type().unwrap().is_dir() {
                    dirs.push(path);
                } else if let Ok(bytes) = fs::read(&path) {
                    files.insert(path.strip_prefix(self.path()).unwrap().display().to_string(), bytes);
                }
            }
        }
        files
    }
}

#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A command in a pseudo-terminal, and what it draws.
pub struct Terminal {
    pty: pty_process::blocking::Pty,
    child: Child,
    said: std::sync::mpsc::Receiver<Vec<u8>>,
    heard: Vec<u8>,
}

impl Terminal {
    pub fn start(command: Command, columns: u16) -> Self {
        Self::sized(command, columns, 60)
    }

    pub fn sized(command: Command, columns: u16, rows: u16) -> Self {
        let (pty, pts) = pty_process::blocking::open().unwrap();
        pty.resize(pty_process::Size::new(rows, columns)).unwrap();
        let mut run = pty_process::blocking::Command::new(command.get_program())
            .args(command.get_args())
            .env_clear()
            .current_dir(command.get_current_dir().unwrap());
        for (name, value) in command.get_envs() {
            run = run.env(name, value.unwrap());
        }
        let child = run.spawn(pts).unwrap();
        let mut reader = fs::File::from(rustix::io::dup(&pty).unwrap());
        let (sender, said) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = reader.read(&mut buffer)
                && count > 0
                && sender.send(buffer[..count].to_vec()).is_ok()
            {}
        });
        Self {
            pty,
            child,
            said,
            heard: Vec::new(),
        }
    }

    /// As a person drags the window.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.pty.resize(pty_process::Size::new(rows, columns)).unwrap();
    }

    /// What a terminal of this size shows of everything from the byte `from` on.
    pub fn screen(&mut self, columns: u16, rows: u16, from: usize) -> vt100::Parser {
        self.heard();
        let size = |n: u16| n.try_into().unwrap();
        let mut parser = vt100::Parser::new(size(rows), size(columns), 0);
        parser.process(&self.heard[from..]);
        parser
    }

    /// What it wrote since it had written `from` bytes.
    pub fn since(&mut self, from: usize) -> Vec<u8> {
        self.heard();
        self.heard[from..].to_vec()
    }

    /// Everything it wrote so far.
    pub fn heard(&mut self) -> String {
        while let Ok(more) = self.said.try_recv() {
            self.heard.extend(more);
        }
        String::from_utf8_lossy(&self.heard).into_owned()
    }

    pub fn wait_for(&mut self, text: &str) {
        self.wait_until(text, |terminal| terminal.heard().contains(text));
    }

    pub fn wait_until(&mut self, what: &str, mut so: impl FnMut(&mut Self) -> bool) {
        let begun = std::time::Instant::now();
        while !so(self) {
            assert!(begun.elapsed().as_secs() < 30, "{what}:\n{}", self.heard());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    pub fn type_in(&mut self, bytes: &[u8]) {
        self.pty.write_all(bytes).unwrap();
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Whether what is typed is shown, and ^C ends a program: a terminal as a shell leaves it.
    pub fn echoes(&self) -> bool {
        use rustix::termios::LocalModes;
        let modes = rustix::termios::tcgetattr(&self.pty).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Waits for its end: exit code, and all that it wrote.
    pub fn end(&mut self) -> (i32, String) {
        let mut status = None;
        self.wait_until("its end", |terminal| {
            status = terminal.child.try_wait().unwrap();
            status.is_some()
        });
        std::thread::sleep(std::time::Duration::from_millis(50));
        (status.unwrap().code().unwrap_or(-1), self.heard())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn credentials(n: &str, expires: i64, deadline: Option<i64>) -> Value {
    let mut oauth = json!({
        "accessToken": access(n), "refreshToken": refresh(n), "expiresAt": expires,
        "scopes": ["user:inference", "user:profile"], "subscriptionType": "max",
    });
    if let Some(deadline) = deadline {
        oauth["refreshTokenExpiresAt"] = deadline.into();
    }
    json!({"claudeAiOauth": oauth})
}

/// As long as a real one.
pub fn access(n: &str) -> String {
    format!("sk-ant-oat01-ACCESS-{n:-<88}")
}

pub fn refresh(n: &str) -> String {
    format!("sk-ant-ort01-REFRESH-{n}")
}

pub fn oauth(n: &str, expires: i64) -> Value {
    json!({"type": "oauth", "provider": "anthropic", "access": access(n), "refresh": refresh(n), "expires": expires})
}

pub fn token(n: &str, expires: i64) -> Value {
    json!({"type": "token", "provider": "anthropic", "token": access(n), "expires": expires})
}

pub fn now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64
}

/// Copies a tree.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}
