//! Other hosts. What fires there comes with the alerts; this says only that they are asked.

use super::{Facts, counted};

pub(super) fn checked(facts: &Facts) -> Option<String> {
    (facts.remotes > 0).then(|| format!("{} as the last pass heard them", counted(facts.remotes, "host")))
}
