//! `termux`: a notification on this phone by `termux-notification` of Termux:API.
//!
//! Without a working Termux:API app every such command blocks for ever, hence the deadline of 10 s; exit code 0 proves only
//! that the app took it. The text is always passed by `-c` with stdin from `/dev/null` (else the command waits for stdin).
//! `--id` is the same for all events of an alert, so that one notification changes. Button actions run as `sh -c` without a
//! profile: absolute paths.

use super::text::{self, Count, as_is, clip};
use super::{Receipt, SendCtx, SendError, find_program};
use crate::config::table::{ConfigError, Table};
use crate::ctx::Host;
use crate::edge::subprocess::{Output, Spec, Status, run};
use crate::types::{self, Event, Severity};
use std::path::Path;
use std::time::Duration;

/// Where a login begins for a person.
pub const LOGIN_PAGE: &str = "https://claude.ai/login";

/// How recoveries are shown.
#[derive(Clone, Debug, Default)]
pub struct Termux {
    /// Whether a recovery takes the notification away, instead of saying so in its place.
    pub remove_on_recovery: bool,
}

impl Termux {
    /// Reads `remove_on_recovery` (`false`).
    ///
    /// # Errors
    /// A wrong type.
    pub fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            remove_on_recovery: table.bool("remove_on_recovery")?.unwrap_or(false),
        })
    }

    /// Shows, replaces or removes the alert's notification.
    ///
    /// # Errors
    /// Permanent where the commands are not installed, passing otherwise.
    pub async fn send(&self, event: &Event, ctx: &SendCtx<'_>) -> Result<Receipt, SendError> {
        let remove = self.remove_on_recovery && event.status == types::Status::Resolved;
        let (program, args) = match remove {
            true => ("termux-notification-remove", vec![id(event)]),
            false => ("termux-notification", args(event, ctx.host)),
        };
        let Some(path) = find_program(ctx.host, program) else {
            return Err(SendError::permanent(format!(
                "`{program}` is not installed: run `pkg install termux-api`"
            )));
        };
        let spec = Spec {
            args: args.into_iter().map(Into::into).collect(),
            env: ctx.host.child_env().map(|(n, v)| (n.into(), v.into())).collect(),
            timeout: Duration::from_secs(10),
            ..Spec::new(path)
        };
        match run(spec).await {
            Ok(Output {
                status: Status::Exit(0),
                ..
            }) => Ok(Receipt {
                detail: format!("handed to Termux:API, id {}", id(event)),
                handle: Some(id(event)),
            }),
            Ok(Output {
                status: Status::TimedOut,
                ..
            }) => Err(SendError::passing(
                "Termux:API app not answering: install it from where Termux came from, and open it once",
            )),
            Ok(Output {
                status: Status::Exit(code),
                ..
            }) => Err(SendError::passing(format!("`{program}` ended with exit code {code}"))),
            Ok(Output {
                status: Status::Signal(signal),
                ..
            }) => Err(SendError::passing(format!("`{program}` was ended by signal {signal}"))),
            Err(error) => Err(SendError::passing(format!(
                "`{program}` could not be started: {}",
                crate::edge::files::io_words(&error)
            ))),
        }
    }
}

fn id(event: &Event) -> String {
    format!("nolapse-{}", text::alert_key(event))
}

/// The arguments of `termux-notification`.
pub fn args(event: &Event, host: &Host) -> Vec<String> {
    let firing = event.status == types::Status::Firing;
    let priority = match (firing, event.severity) {
        (true, Severity::Critical) => "max",
        (true, Severity::Warning) => "high",
        (true, Severity::Info) | (false, _) => "default",
    };
    let title = format!("{}: {}", text::heading(event), event.title);
    let mut args: Vec<String> = [
        "-t",
        &clip(&title, 200, Count::Chars, as_is),
        "-c",
        // Android keeps 5 kB or so of a notification's text
        &clip(&text::plain(event), 4000, Count::Bytes, as_is),
        "--id",
        &id(event),
        "--group",
        "nolapse",
        "--priority",
        priority,
    ]
    .map(String::from)
    .into();
    if firing && event.severity == Severity::Critical {
        args.extend(["--vibrate", "500,200,500,200,500"].map(String::from));
    }
    if firing && event.login.is_some() {
        let page = format!("{} {LOGIN_PAGE}", quote(&tool(host, "termux-open-url")));
        args.extend(["--button1", "Open login page", "--button1-action", &page].map(String::from));
        let renew = format!("{} reauth", quote(&tool(host, "nolapse")));
        args.extend(["--button2", "Renew now", "--button2-action", &renew].map(String::from));
    }
    args
}

/// The absolute path of a tool: from `PATH`, else where Termux puts it.
fn tool(host: &Host, name: &str) -> String {
    let prefix = host.var_nonblank("PREFIX").unwrap_or("/data/data/com.termux/files/usr");
    let path = find_program(host, name).unwrap_or_else(|| Path::new(prefix).join("bin").join(name));
    path.display().to_string()
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::http::Http;
    use crate::notify::testing::{channel, event, host, recovered};
    use crate::notify::{Channel, send};
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
        let ctx = SendCtx {
            host: &host,
            http: &http,
            now: 0,
            previous: None,
        };
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
        assert!(
            log.contains("<-t><Critical: Claude login on gw has ended><-c><since 10:00"),
            "{log}"
        );
        assert!(
            log.contains(&format!(
                "<--id><{handle}><--group><nolapse><--priority><max><--vibrate>"
            )),
            "{log}"
        );
        assert!(
            log.contains("files/usr/bin/termux-open-url' https://claude.ai/login><--button2><Renew now>"),
            "{log}"
        );
        assert!(log.ends_with("/bin/nolapse' reauth>"), "{log}");
        let (_, log) = with_tool(LOG, &plain, &recovered()).await;
        assert!(log.contains(&format!("<{handle}>")) && !log.contains("button"), "{log}");
        let removing = channel("type = \"termux\"\nremove_on_recovery = true");
        let (_, log) = with_tool(LOG, &removing, &recovered()).await;
        assert_eq!(log, format!("termux-notification-remove\n<{handle}>"));
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
        let ctx = SendCtx {
            host: &host,
            http: &http,
            now: 0,
            previous: None,
        };
        let error = send(&short, &event(), &ctx).await.unwrap_err();
        assert!(matches!(error, SendError::Permanent { .. }));
    }
}
