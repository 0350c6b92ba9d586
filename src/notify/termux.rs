//! `termux`: a notification on this phone by `termux-notification` of Termux:API.
//!
//! From Android 8 on the *channel* of a notification decides how loud it is; `--priority` does so only for the one shared channel of
//! Termux:API, which every script's call without `--channel` lowers for good (termux-api 0.53, `NotificationAPI.java`). So alerts have
//! a channel of their own and recoveries a second, quiet one, made again before each message: making one that exists changes
//! nothing, and a message to a channel that does not exist is shown nowhere.
//!
//! Exit code 0 proves only that the app took it. The text is always passed by `-c` with stdin from `/dev/null` (else the command
//! waits for stdin). `--id` is the same for all events of an alert, so that one notification changes. A collapsed notification shows
//! the title alone; Android keeps 1,024 characters of a text.

use super::{Receipt, SendCtx, SendError};
use crate::edge::host::Host;
use crate::edge::termux::{self as api, Failure};
use crate::phone;
use crate::rules::text::{self, Count, as_is, clip};
use crate::table::{ConfigError, Table};
use crate::types::{self, Event, Severity};

/// Where a login begins for a person.
pub(crate) const LOGIN_PAGE: &str = "https://claude.ai/login";

/// The most that Android keeps of a notification's text, in characters (`Notification.MAX_CHARSEQUENCE_LENGTH`).
const MOST: usize = 1024;

/// A notification channel of Android's: how loud its notifications are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loudness {
    /// Its id.
    pub(crate) id: &'static str,
    /// Its name in Android's settings.
    name: &'static str,
    /// Its importance when it is made; a person may change it in the settings.
    importance: &'static str,
}

/// For what needs a person.
pub(crate) const LOUD: Loudness = Loudness {
    id: "nolapse-alerts",
    name: "nolapse: needs you",
    importance: "high",
};

/// For recoveries.
pub(crate) const QUIET: Loudness = Loudness {
    id: "nolapse-recovered",
    name: "nolapse: works again",
    importance: "low",
};

impl Loudness {
    /// The arguments of `libexec/termux-api` that make it. The script `termux-notification-channel` can only make a silent one.
    pub(crate) fn arguments(self) -> Vec<String> {
        let texts = [("id", self.id), ("name", self.name), ("priority", self.importance)];
        std::iter::once("NotificationChannel")
            .chain(texts.into_iter().flat_map(|(key, value)| ["--es", key, value]))
            .map(String::from)
            .collect()
    }
}

/// How recoveries are shown.
#[derive(Clone, Debug, Default)]
pub struct Termux {
    /// Whether a recovery takes the notification away, instead of saying so in its place.
    pub(crate) remove_on_recovery: bool,
}

impl Termux {
    /// Reads `remove_on_recovery` (`false`).
    ///
    /// # Errors
    /// A wrong type.
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            remove_on_recovery: table.bool("remove_on_recovery")?.unwrap_or(false),
        })
    }

    /// Shows, replaces or removes the alert's notification.
    ///
    /// # Errors
    /// Permanent where the commands are not installed, passing otherwise.
    pub(crate) async fn send(&self, event: &Event, ctx: &SendCtx<'_>) -> Result<Receipt, SendError> {
        let host = ctx.host;
        let recovered = event.status == types::Status::Resolved;
        let id = id(event);
        if self.remove_on_recovery && recovered {
            run(host, "termux-notification-remove", std::slice::from_ref(&id)).await?;
        } else {
            let loudness = if recovered { QUIET } else { LOUD };
            show(host, loudness, args(event, host)).await?;
        }
        Ok(Receipt {
            handle: Some(id.clone()),
            ..Receipt::of(format!("handed to Termux:API, id {id}"))
        })
    }
}

/// Shows a notification in a channel of ours, where Termux:API can make one.
///
/// # Errors
/// Permanent where the commands are not installed, passing otherwise.
pub(crate) async fn show(host: &Host, loudness: Loudness, mut args: Vec<String>) -> Result<(), SendError> {
    if let Some(program) = api::api(host) {
        api::call(host, &program, &loudness.arguments())
            .await
            .map_err(refused)?;
        args.extend(["--channel", loudness.id].map(String::from));
    }
    run(host, "termux-notification", &args).await
}

async fn run(host: &Host, name: &str, args: &[String]) -> Result<(), SendError> {
    api::call(host, &api::tool(host, name), args)
        .await
        .map(drop)
        .map_err(refused)
}

fn refused(failure: Failure) -> SendError {
    match failure {
        Failure::Missing(name) => {
            SendError::permanent(format!("`{name}` is not installed: run `pkg install termux-api`"))
        }
        Failure::Failed(why) => SendError::passing(why),
    }
}

fn id(event: &Event) -> String {
    format!("nolapse-{}", text::alert_key(event))
}

/// The arguments of `termux-notification`: the fix before the rest of the text, since the end of a long one is cut.
pub(crate) fn args(event: &Event, host: &Host) -> Vec<String> {
    let firing = event.status == types::Status::Firing;
    let icon = match (firing, event.severity) {
        (true, Severity::Critical) => "error",
        (true, _) => "warning",
        (false, _) => "check_circle",
    };
    let mut content = text::plain(event);
    let sign_in = firing && event.login.is_some();
    if sign_in {
        content = format!("Tap to sign in here.\n{content}");
    }
    let title = clip(&event.title, 200, Count::Chars, as_is);
    let content = clip(&content, MOST, Count::Utf16, as_is);
    let mut args: Vec<String> = ["-t", &title, "-c", &content, "--id", &id(event), "--group", "nolapse"]
        .map(String::from)
        .into();
    // without a channel of ours the priority is the shared one's importance, which must never be lowered
    args.extend(["--priority", "high", "--icon", icon].map(String::from));
    if let (true, Some(login)) = (sign_in, &event.login) {
        let start = phone::start(host, &event.alert_id.to_string(), &login.id);
        args.extend(["--action", &start, "--button1", "Sign in", "--button1-action", &start].map(String::from));
        let terminal = phone::in_terminal(host, &event.alert_id.to_string(), &login.id);
        args.extend(["--button2", "In a terminal", "--button2-action", &terminal].map(String::from));
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::http::Http;
    use crate::notify::testing::{channel, event, host, recovered};
    use crate::notify::{Channel, send};
    use crate::types::Moment;
    use std::os::unix::fs::PermissionsExt;

    async fn with_tool(script: &str, channel: &Channel, event: &Event) -> (Result<Receipt, SendError>, String) {
        let dir = tempfile::tempdir().unwrap();
        for name in ["termux-notification", "termux-notification-remove"] {
            let path = dir.path().join(name);
            std::fs::write(
                &path,
                format!("#!/bin/sh\nlog={}/log\n{script}\n", dir.path().display()),
            )
            .unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let host = host(&[
            ("PATH", &format!("{}:/usr/bin:/bin", dir.path().display())),
            ("TERMUX_VERSION", "0.118"),
        ]);
        let http = Http::new(&Default::default());
        let ctx = SendCtx::new(&host, &http, Moment::EPOCH);
        let result = send(channel, event, &ctx).await;
        (
            result,
            std::fs::read_to_string(dir.path().join("log")).unwrap_or_default(),
        )
    }

    const LOG: &str = "echo \"$0\" | sed 's|.*/||' >$log; for a; do printf '<%s>' \"$a\" >>$log; done; cat >>$log";

    #[tokio::test]
    async fn an_alert_and_its_recovery_are_one_notification() {
        let plain = channel("type = \"termux\"");
        let (result, log) = with_tool(LOG, &plain, &event()).await;
        let handle = result.unwrap().handle.unwrap();
        let start = "termux-notification\n<-t><Claude login on gw has ended><-c><Tap to sign in here.\n";
        assert!(log.starts_with(start), "{log}");
        let rest = format!(
            "<--id><{handle}><--group><nolapse><--priority><high><--icon><error><--action><nolapse phone sign-in"
        );
        assert!(log.contains(&rest), "{log}");
        assert!(
            log.contains("<--button1><Sign in>") && log.contains("<--button2><In a terminal>"),
            "{log}"
        );
        let (_, log) = with_tool(LOG, &plain, &recovered()).await;
        assert!(log.contains(&format!("<{handle}>")) && !log.contains("button"), "{log}");
        let removing = channel("type = \"termux\"\nremove_on_recovery = true");
        let (_, log) = with_tool(LOG, &removing, &recovered()).await;
        assert_eq!(log, format!("termux-notification-remove\n<{handle}>"));
    }

    #[test]
    fn the_fix_stands_before_what_android_cuts() {
        let mut long = event();
        long.message = "many words ".repeat(300);
        let args = args(&long, &host(&[]));
        let at = args.iter().position(|arg| arg == "-c").unwrap();
        assert!(args[at + 1].encode_utf16().count() <= MOST);
        assert!(args[at + 1].starts_with("Tap to sign in here."));
    }

    #[tokio::test]
    async fn failures_are_told() {
        let mut short = channel("type = \"termux\"");
        let (result, _) = with_tool("exit 3", &short, &event()).await;
        assert_eq!(
            result,
            Err(SendError::passing("`termux-notification` ended with exit code 3"))
        );
        short.timeout = 300;
        let (result, _) = with_tool("sleep 60", &short, &event()).await;
        assert!(matches!(result, Err(SendError::Passing { .. })));
        let host = host(&[("PATH", "/nonexistent")]);
        let http = Http::new(&Default::default());
        let ctx = SendCtx::new(&host, &http, Moment::EPOCH);
        let error = send(&short, &event(), &ctx).await.unwrap_err();
        assert!(matches!(error, SendError::Permanent { .. }));
    }
}
