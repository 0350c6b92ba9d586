//! Signing in from a notification of this phone: one notification that changes, with a page to open and a field for the code.
//!
//! What holds on Termux (termux-api 0.53, termux-app): an action is run as `sh -c` with `PATH=$PREFIX/bin`, no profile, stdin open
//! and silent, its output thrown away. `$REPLY` in an action makes its button a text field; what a person types there is put
//! between double quotes with only `"` escaped, so a shell would run what stands in backticks. It therefore goes into a here
//! document with a quoted end, which no shell expands, and reaches `nolapse phone code` on stdin.

use crate::edge::host::Host;
use crate::edge::termux;
use crate::rules::text::{self, Count, as_is, clip};
use crate::rules::wording::quote;
use crate::secret::Secret;

/// Where the sign-in stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Claude Code is being started.
    Starting,
    /// Its link is there; the code is awaited for so many minutes.
    Link {
        /// The sign-in page.
        url: String,
        /// How long the code is waited for, in minutes.
        minutes: i64,
        /// What was pasted before was no whole code.
        again: bool,
    },
    /// The code is with Claude Code.
    Checking,
    /// Signed in; until when, in words.
    Done(String),
    /// It did not work: why, and what helps.
    Failed(String, String),
}

/// One sign-in and its notification.
#[derive(Clone, Debug)]
pub(crate) struct SignIn {
    /// The notification's id: that of the alert it takes the place of.
    pub(crate) id: String,
    /// The alert, to start again.
    pub(crate) alert: String,
    /// The login that is signed in.
    pub(crate) login: String,
}

impl SignIn {
    /// The sign-in for `login`, replacing the notification of `alert`.
    pub(crate) fn new(host: &Host, alert: &str, login: &str) -> Self {
        Self {
            id: format!("nolapse-{}", text::key(&host.name, alert)),
            alert: alert.to_owned(),
            login: login.to_owned(),
        }
    }

    /// The arguments of `termux-notification` for this stage.
    pub(crate) fn notification(&self, host: &Host, stage: &Stage) -> Vec<String> {
        let login = clip(&text::clean(&self.login, false), 40, Count::Chars, as_is);
        let (title, content, icon) = match stage {
            Stage::Starting => (
                format!("Signing in `{login}`: starting Claude Code"),
                "The sign-in page will be here in a moment.".to_owned(),
                "vpn_key",
            ),
            Stage::Link { minutes, again, .. } => (
                match again {
                    false => format!("Sign in `{login}`: open the page, then paste the code"),
                    true => format!("`{login}`: that was not the whole code, paste it again"),
                },
                format!(
                    "1. Tap \"Open page\" and sign in.\n2. Copy all of the code, which has a # in the middle.\n3. Tap \"Paste code\" here.\n\
                     The code is waited for {minutes} min."
                ),
                "vpn_key",
            ),
            Stage::Checking => (
                format!("Signing in `{login}`: checking the code"),
                "This takes up to a minute.".to_owned(),
                "vpn_key",
            ),
            Stage::Done(until) => (
                format!("Signed in: `{login}`{until}"),
                "Every agent gets the new token. You are done.".to_owned(),
                "check_circle",
            ),
            Stage::Failed(why, hint) => (
                format!("Not signed in: `{login}`"),
                clip(&text::clean(&format!("{why}\n{hint}"), true), 900, Count::Chars, as_is),
                "error",
            ),
        };
        let mut args: Vec<String> = ["-t", &title, "-c", &content, "--id", &self.id, "--group", "nolapse"]
            .map(String::from)
            .into();
        args.extend(["--priority", "high", "--alert-once", "--icon", icon].map(String::from));
        match stage {
            Stage::Link { url, .. } => {
                let open = format!("{} {}", quote(&tool(host, "termux-open-url")), quote(url));
                args.extend(["--action", &open, "--button1", "Open page", "--button1-action", &open].map(String::from));
                args.extend(["--button2", "Paste code", "--button2-action", &self.paste(host, url)].map(String::from));
            }
            Stage::Failed(..) => {
                let again = start(host, &self.alert, &self.login);
                args.extend(
                    ["--action", &again, "--button1", "Try again", "--button1-action", &again].map(String::from),
                );
                let terminal = in_terminal(host, &self.alert, &self.login);
                args.extend(["--button2", "In a terminal", "--button2-action", &terminal].map(String::from));
            }
            Stage::Starting | Stage::Checking | Stage::Done(_) => {}
        }
        args
    }

    /// The action that takes the code. The end of the here document cannot be guessed by what is pasted: it is made of the link's
    /// secret `state`.
    fn paste(&self, host: &Host, url: &str) -> String {
        let end = format!("end-{}", Secret::new(url).fingerprint());
        let code = own(host, &["phone", "code", "--login", &self.login]);
        format!("{code} <<'{end}'\n$REPLY\n{end}\n")
    }
}

/// The action that starts a sign-in from an alert.
pub(crate) fn start(host: &Host, alert: &str, login: &str) -> String {
    own(host, &["phone", "sign-in", "--alert", alert, "--login", login])
}

/// The action that opens a terminal with the sign-in in it.
pub(crate) fn in_terminal(host: &Host, alert: &str, login: &str) -> String {
    own(host, &["phone", "terminal", "--alert", alert, "--login", login])
}

/// This program with `words`, for `sh -c`. An id that begins with `-` stays the option's value.
fn own(host: &Host, words: &[&str]) -> String {
    let mut line: Vec<String> = host.own.iter().map(|word| quote(word)).collect();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix("--") {
            Some(_) => {
                let value = words.next().copied().unwrap_or_default();
                line.push(quote(&format!("{word}={value}")));
            }
            None => line.push(quote(word)),
        }
    }
    line.join(" ")
}

fn tool(host: &Host, name: &str) -> String {
    termux::tool(host, name).display().to_string()
}

/// What a person pasted, if it can be a code: letters, digits, `#`, `_` and `-` alone. The double quotes that Termux puts around it
/// are taken away.
pub(crate) fn code(reply: &str) -> Option<Secret> {
    let text = reply.trim();
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text)
        .trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "#_-".contains(c);
    (!text.is_empty() && text.len() <= 2048 && text.chars().all(plain)).then(|| Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::testing::host;

    #[test]
    fn a_code_is_taken_and_nothing_else() {
        for (reply, code) in [
            ("\"abc#DEF_-9\"\n", Some("abc#DEF_-9")),
            (" abc#d \n", Some("abc#d")),
            ("\"a\\\"b#c\"", None),
            ("\"$(touch x)#a\"", None),
            ("\"`id`#a\"", None),
            ("\"a#b c\"", None),
            ("\"\"", None),
            ("", None),
        ] {
            let found = super::code(reply);
            assert_eq!(found.as_ref().map(Secret::expose), code, "{reply}");
        }
        assert!(super::code(&"a".repeat(3000)).is_none());
    }

    #[test]
    fn an_action_names_the_program_and_no_word_of_an_id_is_an_option_or_code() {
        let mut host = host(&[]);
        host.own = ["/data/a b/nolapse", "--config", "/x"].map(String::from).into();
        assert_eq!(
            start(&host, "login:x", "-x; rm"),
            "'/data/a b/nolapse' --config /x phone sign-in '--alert=login:x' '--login=-x; rm'"
        );
    }

    /// The shell that Termux starts hands the reply over as it is, whatever stands in it.
    #[test]
    fn no_shell_reads_what_is_pasted() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("nolapse");
        std::fs::write(&program, "#!/bin/sh\ncat >\"${0%/*}/got\"\n").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut host = host(&[]);
        host.own = vec![program.display().to_string()];
        let sign_in = SignIn::new(&host, "login:claude", "claude");
        let url = "https://claude.ai/oauth/authorize?state=S".to_owned();
        let args = sign_in.notification(
            &host,
            &Stage::Link {
                url,
                minutes: 10,
                again: false,
            },
        );
        let at = args.iter().position(|arg| arg == "--button2-action").unwrap();
        for typed in [
            "abc#def",
            "`touch OUT`$(touch OUT)\\",
            "a\"; touch OUT; \"",
            "x\nend-0\ntouch OUT\n",
        ] {
            // as NotificationAPI.java does it
            let reply = format!("\"{}\"", typed.replace('"', "\\\""));
            let line = args[at + 1]
                .replace("$REPLY", &reply)
                .replace("OUT", &format!("{}/out", dir.path().display()));
            let typed = typed.replace("OUT", &format!("{}/out", dir.path().display()));
            let status = std::process::Command::new("/bin/sh")
                .args(["-c", &line])
                .status()
                .unwrap();
            assert!(status.success(), "{line}");
            let got = std::fs::read_to_string(dir.path().join("got")).unwrap();
            assert_eq!(got, format!("\"{}\"\n", typed.replace('"', "\\\"")));
            assert!(!dir.path().join("out").exists(), "{typed} was run");
        }
    }
}
