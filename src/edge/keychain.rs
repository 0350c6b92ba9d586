//! The macOS Keychain, read through `security`, as Claude Code reads it there (`@anthropic-ai/claude-code` 2.1.330).

use crate::secret::Secret;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What `security` said.
#[derive(Debug)]
pub(crate) enum Item {
    /// The item's value.
    Found(Secret),
    /// There is no such item (exit 44).
    Absent,
    /// The keychain is locked (exit 36).
    Locked,
    /// Anything else.
    Failed,
}

/// Where it may not answer by itself, `security` asks the user in a window; this is how long to wait for that.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks for the generic password `service` of `account`.
pub(crate) fn find<'e>(service: &str, account: &str, env: impl Iterator<Item = (&'e str, &'e str)>) -> Item {
    let child = Command::new("security")
        .args(["find-generic-password", "-a", account, "-w", "-s", service])
        .env_clear()
        .envs(env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(_) => return Item::Failed,
    };
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(10)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Item::Failed;
            }
        }
    };
    match status.code() {
        Some(0) => {
            let mut text = String::new();
            let read = child
                .stdout
                .take()
                .map(|out| out.take(super::files::LIMIT).read_to_string(&mut text));
            match read {
                Some(Ok(_)) => Item::Found(Secret::new(text.trim_end_matches('\n'))),
                _ => Item::Failed,
            }
        }
        Some(44) => Item::Absent,
        Some(36) => Item::Locked,
        _ => Item::Failed,
    }
}
