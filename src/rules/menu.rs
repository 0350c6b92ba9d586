//! A channel as a person writes it in one word.

use super::keys::offer;

/// `TYPE`, `TYPE=VALUE`, `TYPE,KEY=VALUE` or `TYPE=VALUE,KEY=VALUE,…`, taken apart: the type, and each key with its text. A comma begins a new
/// key only where one of `keys` and `=` follow, so that a value may hold commas.
pub(crate) fn take_apart(spec: &str, keys: &dyn Fn(&str) -> Vec<String>) -> (String, Vec<(String, String)>) {
    let Some((word, rest)) = spec.split_once(['=', ',']) else {
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
    for part in rest.split(',') {
        match (key_of(part), found.last_mut()) {
            (Some(pair), _) => found.push(pair),
            (None, Some((_, text))) => {
                text.push(',');
                text.push_str(part);
            }
            (None, None) => found.push((main.unwrap_or("value").to_owned(), part.to_owned())),
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
            ("ntfy,topic=mine", "ntfy", pairs(&[("topic", "mine")])),
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
