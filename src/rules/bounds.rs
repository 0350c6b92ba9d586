//! What numbers and spans a key takes: the one place that says so. The reader asks here by the key's name, and a key that is not
//! here is refused, so that none can be added without its bounds.

use crate::types::{DAY, HOUR, MINUTE, Ms, SECOND};

/// The bounds of a key, both included. `key` is `table.key`, for a list of tables without its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds<T> {
    /// `renew.timeout`.
    pub key: &'static str,
    /// The least.
    pub least: T,
    /// The most.
    pub most: T,
}

const fn within<T>(key: &'static str, least: T, most: T) -> Bounds<T> {
    Bounds { key, least, most }
}

/// Durations, [`Ms`].
pub(crate) const SPANS: [Bounds<Ms>; 10] = [
    // a token is spent when it is posted: an answer that takes a second longer than one's patience is a lost login
    within("renew.timeout", 5 * SECOND, 120 * SECOND),
    // a delegated renewal takes less: `rules::renew::lead`
    within("renew.lead", MINUTE, HOUR),
    within("renew.patience", SECOND, 10 * MINUTE),
    within("alerts.steps", SECOND, 365 * DAY),
    within("alerts.grace", 0, 7 * DAY),
    within("channel.timeout", SECOND, 120 * SECOND),
    // shorter, and an alert ends at the receiver before it is told of again
    within("channel.hold", HOUR, 365 * DAY),
    within("remote.every", MINUTE, DAY),
    within("remote.timeout", SECOND, 120 * SECOND),
    within("remote.grace", 0, 30 * DAY),
];

/// Whole numbers.
pub(crate) const NUMBERS: [Bounds<i64>; 2] = [
    within("channel.port", 1, 65_535),
    within("channel.thread_id", 1, i64::MAX),
];

/// How long a silence may last, [`Ms`]: whoever means for ever has forgotten it by then.
pub(crate) const SILENCE: Bounds<Ms> = within("silence", SECOND, 365 * DAY);

impl<T: PartialOrd> Bounds<T> {
    /// Whether it takes this value.
    pub(crate) fn takes(&self, value: &T) -> bool {
        (&self.least..=&self.most).contains(&value)
    }
}

/// The bounds of `key` (as `channel[2].timeout`) in one of the lists above.
pub(crate) fn of<T: Copy>(key: &str, all: &[Bounds<T>]) -> Option<Bounds<T>> {
    let mut plain = String::with_capacity(key.len());
    let mut inside = false;
    for c in key.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => plain.push(c),
            _ => {}
        }
    }
    all.iter().find(|bounds| bounds.key == plain).copied()
}

/// The least time between two passes of a schedule, [`Ms`].
pub(crate) const BETWEEN_PASSES: Ms = 10 * SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_whichever_of_its_list_it_is() {
        assert_eq!(
            of("channel[12].hold", &SPANS).map(|bounds| bounds.most),
            Some(365 * DAY)
        );
        assert_eq!(of("renew.timeout", &SPANS).map(|bounds| bounds.least), Some(5 * SECOND));
        assert_eq!(of("channel[1].secs", &SPANS), None);
        for bounds in SPANS {
            assert!(bounds.takes(&bounds.least) && bounds.takes(&bounds.most));
            assert!(!bounds.takes(&(bounds.least - 1)) && !bounds.takes(&(bounds.most + 1)));
        }
    }
}
