//! `desktop`: a notification by the freedesktop.org Notifications service on the session bus.
//!
//! The bus is the first of `DBUS_SESSION_BUS_ADDRESS`, `$XDG_RUNTIME_DIR/bus` and `/run/user/UID/bus` that answers: cron and services
//! lack the variables, and a terminal multiplexer keeps stale ones. A bus alone shows nothing (Debian's libpam-systemd starts one on
//! servers too): a desktop counts only where `org.freedesktop.Notifications` is owned or can be activated. Servers differ, so the
//! capabilities are asked first: markup is escaped only for servers that read it. The server's id of the last notification is handed
//! back so that the next one for the same alert replaces it; since ids belong to one run of one server on one bus, the handle names
//! those too. There are no buttons: a oneshot process does not wait for a click.

use super::{Receipt, SendCtx, SendError};
use crate::edge::files;
use crate::edge::host::Host;
use crate::table::{ConfigError, Table};
use crate::types::Event;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Nothing to configure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Desktop;

impl Desktop {
    /// Reads no keys.
    ///
    /// # Errors
    /// None.
    pub(crate) fn read(_: &Table<'_>) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    /// Shows or replaces the alert's notification, within 5 s.
    ///
    /// # Errors
    /// Passing: nobody logged in, no server, a bus that hangs.
    pub(crate) async fn send(&self, event: &Event, ctx: &SendCtx<'_>) -> Result<Receipt, SendError> {
        let named = ctx.host.var_nonblank("DBUS_SESSION_BUS_ADDRESS");
        bus::notify(event, &bus_addresses(ctx.host), named, ctx.previous.as_deref()).await
    }
}

/// Where the session bus of this user may be, in the order in which it is tried; never on Android.
pub(crate) fn bus_addresses(host: &Host) -> Vec<String> {
    if cfg!(target_os = "android") || host.termux() {
        return Vec::new();
    }
    let given = host.var_nonblank("DBUS_SESSION_BUS_ADDRESS").map(str::to_owned);
    let named = host.var_nonblank("XDG_RUNTIME_DIR").map(PathBuf::from);
    let usual = ours(host).then(|| PathBuf::from(format!("/run/user/{}", files::our_uid())));
    let sockets = named.into_iter().chain(usual).map(|dir| dir.join("bus"));
    let found = sockets.filter(|socket| files::exists(socket));
    let mut addresses: Vec<String> = given.into_iter().collect();
    addresses.extend(found.map(|socket| format!("unix:path={}", socket.display())));
    addresses.dedup();
    addresses
}

/// Whether the home is that of the user who runs this: the desktop of one user shows nothing of another's home.
fn ours(host: &Host) -> bool {
    let Ok(users) = files::read(Path::new("/etc/passwd")) else {
        return false;
    };
    let users = String::from_utf8_lossy(&users.bytes).into_owned();
    let uid = files::our_uid().to_string();
    let mine = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut homes = mine
        .filter(|user| user.get(2) == Some(&uid.as_str()))
        .filter_map(|user| user.get(5).copied());
    homes.any(|home| Path::new(home) == host.home)
}

/// Whether a notification would be shown here, asked at most twice a minute.
///
/// # Errors
/// Why not, in words.
pub(crate) fn shows(host: &Host) -> Result<(), String> {
    type Asked = (Vec<String>, Instant, Result<(), String>);
    static LAST: Mutex<Option<Asked>> = Mutex::new(None);
    let addresses = bus_addresses(host);
    if addresses.is_empty() {
        return Err(NO_BUS.into());
    }
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((asked, at, answer)) = &*last
        && *asked == addresses
        && at.elapsed() < Duration::from_secs(30)
    {
        return answer.clone();
    }
    let answer = ask(addresses.clone());
    *last = Some((addresses, crate::edge::host::monotonic(), answer.clone()));
    answer
}

/// On a thread of its own: who asks may or may not be on a runtime.
fn ask(addresses: Vec<String>) -> Result<(), String> {
    let asked = std::thread::Builder::new().spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| files::io_words(&error))?;
        let answer =
            runtime.block_on(async { tokio::time::timeout(Duration::from_secs(2), bus::server(&addresses)).await });
        runtime.shutdown_background();
        answer.unwrap_or_else(|_| Err("the session bus is not answering".into()))
    });
    let unknown = || Err("the session bus is not answering".to_owned());
    match asked {
        Ok(thread) => thread.join().unwrap_or_else(|_| unknown()),
        Err(error) => Err(files::io_words(&error)),
    }
}

const NO_BUS: &str = "there is no session bus: nobody is logged in to a desktop";

#[cfg(target_os = "android")]
mod bus {
    use super::*;

    pub(crate) async fn server(_: &[String]) -> Result<(), String> {
        Err("there is no desktop on android".into())
    }

    pub(crate) async fn notify(
        _: &Event,
        _: &[String],
        _: Option<&str>,
        _: Option<&str>,
    ) -> Result<Receipt, SendError> {
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
    use std::collections::HashMap;
    use zbus::{Connection, DBusError, Variant};

    const NAME: &str = "org.freedesktop.Notifications";
    const PATH: &str = "/org/freedesktop/Notifications";
    const DRIVER: &str = "org.freedesktop.DBus";
    const DRIVER_PATH: &str = "/org/freedesktop/DBus";

    /// Characters of a body; servers show far fewer.
    const BODY: usize = 2000;

    pub(crate) async fn notify(
        event: &Event,
        addresses: &[String],
        named: Option<&str>,
        previous: Option<&str>,
    ) -> Result<Receipt, SendError> {
        match tokio::time::timeout(Duration::from_secs(5), show(event, addresses, named, previous)).await {
            Ok(shown) => shown.map_err(SendError::passing),
            Err(_) => Err(SendError::passing("the session bus is not answering")),
        }
    }

    /// Whether there is a notification server, running or to be started by the bus.
    pub(crate) async fn server(addresses: &[String]) -> Result<(), String> {
        let (bus, _) = connect(addresses).await?;
        if owner(&bus).await.is_ok() {
            return Ok(());
        }
        let names = activatable(&bus).await.map_err(|error| words(&error))?;
        match names.iter().any(|name| name == NAME) {
            true => Ok(()),
            false => Err(NO_SERVER.into()),
        }
    }

    /// The first bus that answers, or why the last one did not.
    async fn connect(addresses: &[String]) -> Result<(Connection, &str), String> {
        let mut why = NO_BUS.to_owned();
        for address in addresses {
            // one that hangs must not hide the next
            let connecting = zbus::connection::Builder::address(address.as_str()).build();
            match tokio::time::timeout(Duration::from_millis(1500), connecting).await {
                Ok(Ok(bus)) => return Ok((bus, address)),
                Ok(Err(error)) => why = words(&error),
                Err(_) => why = "the session bus is not answering".into(),
            }
        }
        Err(why)
    }

    async fn show(
        event: &Event,
        addresses: &[String],
        named: Option<&str>,
        previous: Option<&str>,
    ) -> Result<Receipt, String> {
        let (bus, address) = connect(addresses).await?;
        // asked first: it starts a server that is only activatable
        let capabilities = capabilities(&bus).await.map_err(|error| words(&error))?;
        let owner = owner(&bus).await.map_err(|error| words(&error))?;
        let server = format!("{}/{owner}/", bus.server_guid());
        let replaces: Option<u32> = previous.and_then(|handle| handle.strip_prefix(server.as_str())?.parse().ok());
        let markup = capabilities.iter().any(|word| word == "body-markup");
        let note = compose(event, if markup { text::html } else { text::as_is });
        // the library knows the bus of the environment alone
        let id = match named == Some(address) {
            true => library(&note, replaces)
                .show_async()
                .await
                .map_err(|error| said(&error))?
                .id(),
            false => send(&bus, &note, replaces.unwrap_or(0))
                .await
                .map_err(|error| words(&error))?,
        };
        Ok(Receipt {
            handle: Some(format!("{server}{id}")),
            ..Receipt::of(format!("shown, notification {id}"))
        })
    }

    /// What is shown.
    struct Note {
        summary: String,
        body: String,
        icon: &'static str,
        /// 0 low, 1 normal, 2 critical (Desktop Notifications Specification 1.3, urgency levels).
        urgency: u8,
        /// Servers that know one of these hints replace by it.
        tag: String,
    }

    fn compose(event: &Event, escape: text::Escape) -> Note {
        let title = format!("{}: {}", text::heading(event), event.title);
        let (urgency, icon) = match (event.status, event.severity) {
            (Status::Resolved, _) | (_, Severity::Info) => (0, "dialog-information"),
            (Status::Firing, Severity::Warning) => (1, "dialog-warning"),
            (Status::Firing, Severity::Critical) => (2, "dialog-error"),
        };
        Note {
            summary: clip(&title, 200, Count::Chars, text::as_is),
            body: clip(&text::plain(event), BODY, Count::Chars, escape),
            icon,
            urgency,
            tag: event.alert_id.to_string(),
        }
    }

    fn library(note: &Note, replaces: Option<u32>) -> Notification {
        let mut notification = Notification::new();
        notification
            .appname("nolapse")
            .summary(&note.summary)
            .body(&note.body)
            .icon(note.icon)
            .urgency(match note.urgency {
                0 => Urgency::Low,
                1 => Urgency::Normal,
                _ => Urgency::Critical,
            })
            .hint(Hint::Custom("x-dunst-stack-tag".into(), note.tag.clone()))
            .hint(Hint::Custom("x-canonical-private-synchronous".into(), note.tag.clone()))
            .timeout(Timeout::Default);
        if let Some(id) = replaces {
            notification.id(id);
        }
        notification
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

    /// The same over our own connection, for a bus that the environment does not name.
    async fn send(bus: &Connection, note: &Note, replaces: u32) -> zbus::Result<u32> {
        let hints: HashMap<&str, Variant<'_>> = HashMap::from([
            ("urgency", Variant::from(note.urgency)),
            ("x-dunst-stack-tag", Variant::from(note.tag.as_str())),
            ("x-canonical-private-synchronous", Variant::from(note.tag.as_str())),
        ]);
        let actions: &[&str] = &[];
        // -1: the server decides how long
        let what = (
            "nolapse",
            replaces,
            note.icon,
            note.summary.as_str(),
            note.body.as_str(),
            actions,
            hints,
            -1_i32,
        );
        bus.call_method(Some(NAME), PATH, Some(NAME), "Notify", &what)
            .await?
            .body()
            .deserialize()
    }

    async fn capabilities(bus: &Connection) -> zbus::Result<Vec<String>> {
        bus.call_method(Some(NAME), PATH, Some(NAME), "GetCapabilities", &())
            .await?
            .body()
            .deserialize()
    }

    async fn owner(bus: &Connection) -> zbus::Result<String> {
        bus.call_method(Some(DRIVER), DRIVER_PATH, Some(DRIVER), "GetNameOwner", &NAME)
            .await?
            .body()
            .deserialize()
    }

    async fn activatable(bus: &Connection) -> zbus::Result<Vec<String>> {
        bus.call_method(Some(DRIVER), DRIVER_PATH, Some(DRIVER), "ListActivatableNames", &())
            .await?
            .body()
            .deserialize()
    }

    const NO_SERVER: &str = "there is a session bus, but no notification server that would show anything";

    /// An error in words; a remote error's own text is foreign and left out.
    fn words(error: &zbus::Error) -> String {
        match error {
            zbus::Error::MethodError(name, ..)
                if name.as_str().ends_with(".NameHasNoOwner") || name.as_str().ends_with(".ServiceUnknown") =>
            {
                NO_SERVER.into()
            }
            zbus::Error::MethodError(name, ..) => format!("the notification server answered `{}`", name.as_str()),
            // what the bus itself answers, zbus makes its own errors of
            zbus::Error::FDO(error) => match error.as_ref() {
                zbus::fdo::Error::ServiceUnknown(_) | zbus::fdo::Error::NameHasNoOwner(_) => NO_SERVER.into(),
                other => format!("the notification server answered `{}`", other.name()),
            },
            zbus::Error::InputOutput(error) => format!("the session bus cannot be reached: {}", files::io_words(error)),
            _ => "the session bus cannot be reached".into(),
        }
    }
}

#[cfg(all(test, not(target_os = "android")))]
mod tests {
    use super::*;
    use crate::edge::http::Http;
    use crate::notify::testing::{channel, event, host};
    use crate::types::Moment;

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
            let ctx = SendCtx::new(&host, &http, Moment::EPOCH);
            let error = super::super::send(&channel("type = \"desktop\""), &event(), &ctx)
                .await
                .unwrap_err();
            assert_eq!(error, SendError::passing(why));
        }
    }
}
