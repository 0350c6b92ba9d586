//! When a cron expression is next due, by tokio-cron-scheduler 0.15, whose job is asked and whose scheduler is never started:
//! started, it wakes twice a second, overlaps its jobs, and drops one that fell behind.

use crate::edge::host::{Clock, local};
use crate::types::{MINUTE, Moment, Ms};
use chrono::{FixedOffset, Offset, TimeZone};
use tokio_cron_scheduler::Job;

/// How near a change of the clocks the schedule is asked twice, [`Ms`].
const NEAR: Ms = 90 * MINUTE;

/// When `expression` (six fields, seconds first, in the local time zone) is next due; `None` for never.
///
/// # Errors
/// What is wrong with an expression, in words.
///
/// In the hour that is repeated when the clocks go back, croner 3 takes every local time for its first coming and would sleep to the
/// end of the second. Near such a change the expression is read at the present distance from UTC as well, and the nearer moment
/// counts: a pass too many is harmless.
pub(crate) fn next(expression: &str) -> Result<Option<Moment>, String> {
    let local = next_in(expression, chrono::Local)?;
    let now = Clock::System.now();
    match turning(now, &|at| offset(at)) {
        Some(fixed) => Ok([local, next_in(expression, fixed)?].into_iter().flatten().min()),
        None => Ok(local),
    }
}

fn offset(at: Moment) -> Option<FixedOffset> {
    Some(local(at)?.offset().fix())
}

/// The present distance from UTC, where another one holds near `now`.
fn turning(now: Moment, offset: &dyn Fn(Moment) -> Option<FixedOffset>) -> Option<FixedOffset> {
    let present = offset(now)?;
    let near = [now - NEAR, now + NEAR].into_iter().filter_map(offset);
    near.into_iter().any(|other| other != present).then_some(present)
}

fn next_in<T>(expression: &str, zone: T) -> Result<Option<Moment>, String>
where
    T: TimeZone + Send + 'static,
{
    let words = |_| format!("`{expression}` is no cron expression of six fields, seconds first");
    let mut job = Job::new_cron_job_async_tz(expression, zone, |_, _| Box::pin(async {})).map_err(words)?;
    let next = job.job_data().map_err(words)?.next_tick_utc();
    Ok(next.map(|at| Moment::at(at.timestamp_millis())))
}

#[cfg(test)]
mod tests {
    use crate::edge::host::{Clock, local};
    use crate::types::{HOUR, MINUTE, Moment};

    #[test]
    fn the_next_time_is_ahead_and_in_the_local_zone() {
        let now = Clock::System.now();
        let next = super::next("0 */4 * * * *").unwrap().unwrap();
        assert!(
            next > now - 1000 && next <= now + 4 * MINUTE && next.ms() % (4 * MINUTE) == 0,
            "{next} after {now}"
        );
        let daily = super::next("0 30 3 * * *").unwrap().unwrap();
        let local = local(daily).unwrap();
        assert_eq!(local.format("%H:%M:%S").to_string(), "03:30:00");
        assert!(daily <= now + 25 * HOUR);
    }

    #[test]
    fn a_day_that_does_not_exist_is_never_due() {
        assert_eq!(super::next("0 0 0 30 2 *"), Ok(None));
    }

    #[test]
    fn near_a_change_of_the_clocks_the_present_distance_from_utc_counts_too() {
        use chrono::FixedOffset;
        // Berlin, 2026-10-25T01:00:00Z: from +2 h to +1 h
        let change = Moment::at(1_792_890_000_000);
        let hours = |hours: i32| FixedOffset::east_opt(hours * 3600);
        let berlin = |at| if at < change { hours(2) } else { hours(1) };
        for (minutes, wanted) in [
            (-91, None),
            (-60, hours(2)),
            (-1, hours(2)),
            (0, hours(1)),
            (59, hours(1)),
            (89, hours(1)),
            (91, None),
        ] {
            assert_eq!(
                super::turning(change + minutes * MINUTE, &berlin),
                wanted,
                "{minutes} min"
            );
        }
        // within the repeated hour that distance gives the next four minutes
        let every = super::next_in("0 */4 * * * *", hours(1).unwrap()).unwrap().unwrap();
        assert!(every <= Clock::System.now() + 4 * MINUTE);
    }

    #[test]
    fn what_is_no_expression_is_said() {
        for bad in ["", "often", "* * * *", "99 * * * * *"] {
            assert!(super::next(bad).is_err(), "{bad}");
        }
    }
}
