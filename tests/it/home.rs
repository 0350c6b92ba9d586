//! A temporary home, and the real binary run on it.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
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

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
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

pub fn access(n: &str) -> String {
    format!("sk-ant-oat01-ACCESS-{n}")
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
