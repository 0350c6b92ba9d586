//! The channels as a person is offered them: what each one is, what it needs and where to get it.

/// One type of channel.
pub(crate) struct Offer {
    /// The word of `type`.
    pub(crate) word: &'static str,
    /// What it is.
    pub(crate) about: &'static str,
    /// Where what it needs comes from, and what else must be there; empty where nothing is needed.
    pub(crate) from: &'static str,
    /// What is asked for, in this order. The first is what `TYPE=VALUE` gives.
    pub(crate) asks: &'static [Ask],
}

/// One question.
pub(crate) struct Ask {
    /// The key it answers.
    pub(crate) key: &'static str,
    /// The question, without its question mark.
    pub(crate) words: &'static str,
    /// Whether it may be left out.
    pub(crate) need: Need,
}

/// Whether an answer is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It is.
    Needed,
    /// An empty answer leaves the key out.
    MayBeEmpty,
    /// An empty answer makes a random one.
    Made,
}

const fn needed(key: &'static str, words: &'static str) -> Ask {
    Ask {
        key,
        words,
        need: Need::Needed,
    }
}

const fn optional(key: &'static str, words: &'static str) -> Ask {
    Ask {
        need: Need::MayBeEmpty,
        ..needed(key, words)
    }
}

/// All of them: what needs least comes first.
pub(crate) const OFFERS: &[Offer] = &[
    Offer {
        word: "ntfy",
        about: "push to your phone, no account needed",
        from: "install the ntfy app (ntfy.sh) and subscribe to the same topic there",
        asks: &[Ask {
            key: "topic",
            words: "Topic (empty: a random one, shown once)",
            need: Need::Made,
        }],
    },
    Offer {
        word: "desktop",
        about: "a notification on this desktop",
        from: "",
        asks: &[],
    },
    Offer {
        word: "termux",
        about: "a notification on this phone (Termux)",
        from: "install the app Termux:API, then run `pkg install termux-api`",
        asks: &[],
    },
    Offer {
        word: "telegram",
        about: "a message from a Telegram bot",
        from: "create a bot with @BotFather, send it a message, and read your chat id from https://api.telegram.org/bot<TOKEN>/getUpdates",
        asks: &[
            needed("chat_id", "Chat id, or @channelname"),
            needed("token", "Bot token"),
        ],
    },
    Offer {
        word: "slack",
        about: "a message in a Slack channel",
        from: "create an app at https://api.slack.com/apps, switch on Incoming Webhooks, and add one to a channel",
        asks: &[needed("url", "Webhook URL")],
    },
    Offer {
        word: "discord",
        about: "a message in a Discord channel",
        from: "in Discord: Edit Channel, Integrations, Webhooks, New Webhook, Copy Webhook URL",
        asks: &[needed("url", "Webhook URL")],
    },
    Offer {
        word: "email",
        about: "e-mail through your SMTP server",
        from: "your provider's SMTP settings; many need an app password",
        asks: &[
            needed("to", "Send to"),
            needed("host", "SMTP server"),
            needed("from", "Sender address"),
            optional("user", "User name (empty: none)"),
            optional("password", "Password (empty: none)"),
        ],
    },
    Offer {
        word: "webhook",
        about: "JSON posted to a URL",
        from: "the URL of your own receiver, Home Assistant or the like",
        asks: &[needed("url", "URL")],
    },
    Offer {
        word: "gotify",
        about: "push through your Gotify server",
        from: "in Gotify: Apps, Create Application, copy its token",
        asks: &[needed("url", "Server URL"), needed("token", "Application token")],
    },
    Offer {
        word: "pagerduty",
        about: "a PagerDuty incident",
        from: "in PagerDuty: your service, Integrations, Events API v2, copy its Integration Key",
        asks: &[needed("routing_key", "Integration key")],
    },
    Offer {
        word: "alertmanager",
        about: "an alert in Prometheus Alertmanager",
        from: "the address of your Alertmanager, without /api",
        asks: &[needed("url", "Server URL")],
    },
    Offer {
        word: "command",
        about: "a program of yours, which gets JSON on stdin",
        from: "a program that exits with 0 once you were notified",
        asks: &[needed("command", "Program and arguments")],
    },
    Offer {
        word: "log",
        about: "only a line in the log: nobody is notified",
        from: "",
        asks: &[],
    },
];

/// The offer of a type.
pub(crate) fn offer(word: &str) -> Option<&'static Offer> {
    OFFERS.iter().find(|offer| offer.word == word)
}

/// `TYPE`, `TYPE=VALUE` or `TYPE=VALUE,KEY=VALUE,…`, taken apart: the type, and each key with its text. A comma begins a new
/// key only where one of `keys` and `=` follow, so that a value may hold commas.
pub(crate) fn take_apart(spec: &str, keys: &dyn Fn(&str) -> Vec<String>) -> (String, Vec<(String, String)>) {
    let Some((word, rest)) = spec.split_once('=') else {
        return (spec.trim().to_owned(), Vec::new());
    };
    let word = word.trim();
    let known = keys(word);
    let main = offer(word).and_then(|offer| offer.asks.first()).map(|ask| ask.key);
    let key_of = |part: &str| {
        let (key, text) = part.split_once('=')?;
        let key = key.trim();
        known
            .iter()
            .any(|known| known == key)
            .then(|| (key.to_owned(), text.to_owned()))
    };
    let mut found: Vec<(String, String)> = Vec::new();
    for (n, part) in rest.split(',').enumerate() {
        match (key_of(part), found.last_mut()) {
            (Some(pair), _) => found.push(pair),
            (None, Some((_, text))) => {
                text.push(',');
                text.push_str(part);
            }
            (None, None) if n == 0 => found.push((main.unwrap_or("value").to_owned(), part.to_owned())),
            (None, None) => {}
        }
    }
    (word.to_owned(), found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_in_one_word_is_taken_apart() {
        let keys = |_: &str| ["to", "host", "from", "url", "topic"].map(str::to_owned).to_vec();
        let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        for (spec, word, want) in [
            ("desktop", "desktop", pairs(&[])),
            ("ntfy=mine", "ntfy", pairs(&[("topic", "mine")])),
            ("ntfy=topic=mine", "ntfy", pairs(&[("topic", "mine")])),
            (
                "webhook=https://example.org/?a=1,b=2",
                "webhook",
                pairs(&[("url", "https://example.org/?a=1,b=2")]),
            ),
            (
                "email=a@example.org,b@example.org,host=smtp.example.org,from=c@example.org",
                "email",
                pairs(&[
                    ("to", "a@example.org,b@example.org"),
                    ("host", "smtp.example.org"),
                    ("from", "c@example.org"),
                ]),
            ),
            ("ntfy=", "ntfy", pairs(&[("topic", "")])),
        ] {
            assert_eq!(take_apart(spec, &keys), (word.to_owned(), want), "{spec}");
        }
    }
}
