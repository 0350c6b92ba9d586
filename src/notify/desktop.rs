//! `desktop`: a notification by the freedesktop.org Notifications service on the session bus.
//!
//! The bus address is the host's (`DBUS_SESSION_BUS_ADDRESS`, else `$XDG_RUNTIME_DIR/bus`, as cron needs). Servers differ, so
//! the capabilities are asked first: markup is escaped only for servers that read it. The server's id of the last
//! notification is handed back so that the next one for the same alert replaces it; since ids belong to one run of one
//! server on one bus, the handle names those too. There are no buttons: a oneshot process does not wait for a click.
//!
//! The library finds the bus by the process's environment, which is the host's; it is only used once our own connection to
//! the host's address has succeeded.

use super::{Receipt, SendCtx, SendError};
use crate::edge::host::Host;
use crate::table::{ConfigError, Table};
use crate::types::Event;

/// Nothing to configure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Desktop;

impl Desktop {
    /// Reads no keys.
    ///
    /// # Errors
    /// None.
    pub fn read(_: &Table<'_>) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    /// Shows or replaces the alert's notification, within 5 s.
    ///
    /// # Errors
    /// Passing: nobody logged in, no server, a bus that hangs.
    pub async fn send(&self, event: &Event, ctx: &SendCtx<'_>) -> Result<Receipt, SendError> {
        let Some(address) = bus_address(ctx.host) else {
            return Err(SendError::passing(
                "there is no session bus: nobody is logged in to a desktop",
            ));
        };
        bus::notify(event, &address, ctx.previous.as_deref()).await
    }
}

/// The session bus of this user, if there is one; never on Android.
pub fn bus_address(host: &Host) -> Option<String> {
    if cfg!(target_os = "android") || host.termux() {
        return None;
    }
    if let Some(address) = host.var_nonblank("DBUS_SESSION_BUS_ADDRESS") {
        return Some(address.to_owned());
    }
    let socket = std::path::Path::new(host.var_nonblank("XDG_RUNTIME_DIR")?).join("bus");
    crate::edge::files::exists(&socket).then(|| format!("unix:path={}", socket.display()))
}

#[cfg(target_os = "android")]
mod bus {
    use super::*;

    pub async fn notify(_: &Event, _: &str, _: Option<&str>) -> Result<Receipt, SendError> {
        Err(SendError::permanent(
            "there is no desktop on android: use `type = \"termux\"`",
        ))
    }
}

#[cfg(not(target_os = "android"))]
mod bus {
    use super::*;
    use crate::rules::text::{self, Count, clip};
    use crate::types::{Severity, Status};
    use notify_rust::{Hint, Notification, Timeout, Urgency};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;
    use zbus::Connection;

    const NAME: &str = "org.freedesktop.Notifications";

    /// No server shows more than this many characters.
    const BODY: usize = 2000;

    pub async fn notify(event: &Event, address: &str, previous: Option<&str>) -> Result<Receipt, SendError> {
        match tokio::time::timeout(Duration::from_secs(5), show(event, address, previous)).await {
            Ok(shown) => shown.map_err(SendError::passing),
            Err(_) => Err(SendError::passing("the session bus is not answering")),
        }
    }

    async fn show(event: &Event, address: &str, previous: Option<&str>) -> Result<Receipt, String> {
        // our own connection first: it can be given up where the bus hangs, and it knows whose the ids are
        let connecting = zbus::connection::Builder::address(address).build();
        let bus = connecting.await.map_err(|error| words(&error))?;
        let capabilities = capabilities().await?;
        let owner = owner(&bus).await.map_err(|error| words(&error))?;
        let server = format!("{}/{owner}/", bus.server_guid());
        let replaces: Option<u32> = previous.and_then(|handle| handle.strip_prefix(server.as_str())?.parse().ok());
        let markup = capabilities.iter().any(|word| word == "body-markup");
        let mut notification = compose(event, if markup { text::html } else { text::as_is });
        if let Some(id) = replaces {
            notification.id(id);
        }
        let id = notification.show_async().await.map_err(|error| said(&error))?.id();
        Ok(Receipt {
            detail: format!("shown, notification {id}"),
            handle: Some(format!("{server}{id}")),
        })
    }

    fn compose(event: &Event, escape: text::Escape) -> Notification {
        let title = format!("{}: {}", text::heading(event), event.title);
        let urgency = match (event.status, event.severity) {
            (Status::Resolved, _) | (_, Severity::Info) => Urgency::Low,
            (Status::Firing, Severity::Warning) => Urgency::Normal,
            (Status::Firing, Severity::Critical) => Urgency::Critical,
        };
        let icon = match (event.status, event.severity) {
            (Status::Resolved, _) | (_, Severity::Info) => "dialog-information",
            (Status::Firing, Severity::Warning) => "dialog-warning",
            (Status::Firing, Severity::Critical) => "dialog-error",
        };
        let mut notification = Notification::new();
        notification
            .appname("nolapse")
            .summary(&clip(&title, 200, Count::Chars, text::as_is))
            .body(&clip(&text::plain(event), BODY, Count::Chars, escape))
            .icon(icon)
            .urgency(urgency)
            // dunst and others stack by these what belongs together, even without an id
            .hint(Hint::Custom("x-dunst-stack-tag".into(), event.alert_id.clone()))
            .hint(Hint::Custom(
                "x-canonical-private-synchronous".into(),
                event.alert_id.clone(),
            ))
            // critical ones stay by the specification; the server decides for the others
            .timeout(Timeout::Default);
        notification
    }

    /// An earlier question that a hung server never answered: no second thread is left waiting for it.
    static ASKING: AtomicBool = AtomicBool::new(false);

    /// What the server can do. The library's call blocks, and a thread of the runtime's would hold up the process's end where
    /// the server hangs: this one is left behind.
    async fn capabilities() -> Result<Vec<String>, String> {
        if ASKING.swap(true, Ordering::AcqRel) {
            return Err("the notification server is not answering".into());
        }
        let (tell, told) = tokio::sync::oneshot::channel();
        let asked = std::thread::Builder::new().spawn(move || {
            let answer = notify_rust::get_capabilities().map_err(|error| said(&error));
            ASKING.store(false, Ordering::Release);
            let _ = tell.send(answer);
        });
        if let Err(error) = asked {
            ASKING.store(false, Ordering::Release);
            return Err(crate::edge::files::io_words(&error).to_string());
        }
        told.await
            .unwrap_or_else(|_| Err("the notification server is not answering".into()))
    }

    /// The run of the server, which its ids belong to: another's notification is never replaced by mistake.
    async fn owner(bus: &Connection) -> zbus::Result<String> {
        let driver = "org.freedesktop.DBus";
        bus.call_method(
            Some(driver),
            "/org/freedesktop/DBus",
            Some(driver),
            "GetNameOwner",
            &NAME,
        )
        .await?
        .body()
        .deserialize()
    }

    const NO_SERVER: &str = "no notification server is running on the desktop";

    fn words(error: &zbus::Error) -> String {
        match error {
            zbus::Error::MethodError(name, ..) if name.as_str().ends_with("NameHasNoOwner") => NO_SERVER.into(),
            zbus::Error::MethodError(name, ..) => format!("the session bus answered `{}`", name.as_str()),
            zbus::Error::InputOutput(error) => {
                format!(
                    "the session bus cannot be reached: {}",
                    crate::edge::files::io_words(error)
                )
            }
            _ => "the session bus cannot be reached".into(),
        }
    }

    /// The library's errors show their cause as text alone: the D-Bus error's name, a colon, and foreign words.
    fn said(error: &notify_rust::error::Error) -> String {
        let text = error.to_string();
        match text.split(':').next().unwrap_or_default() {
            name if name.ends_with(".ServiceUnknown") || name.ends_with(".NameHasNoOwner") => NO_SERVER.into(),
            name if name.contains('.') && !name.contains(' ') => format!("the notification server answered `{name}`"),
            _ => "the session bus cannot be reached".into(),
        }
    }
}

#[cfg(all(test, not(target_os = "android")))]
mod tests {
    use super::*;
    use crate::edge::http::Http;
    use crate::notify::testing::{channel, event, host};

    #[tokio::test]
    async fn a_bus_that_is_not_there_is_a_passing_trouble() {
        let http = Http::new(&Default::default());
        for (env, why) in [
            (vec![], "there is no session bus: nobody is logged in to a desktop"),
            (
                vec![("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")],
                "the session bus cannot be reached",
            ),
        ] {
            let host = host(&env);
            let ctx = SendCtx {
                host: &host,
                http: &http,
                now: 0,
                previous: None,
            };
            let error = super::super::send(&channel("type = \"desktop\""), &event(), &ctx)
                .await
                .unwrap_err();
            assert_eq!(error, SendError::passing(why));
        }
    }
}
