//! When a cron expression is next due, by tokio-cron-scheduler 0.15, whose job is asked and whose scheduler is never started:
//! started, it wakes twice a second, overlaps its jobs, and drops one that fell behind.

use crate::types::Ms;
use tokio_cron_scheduler::Job;

/// When `expression` (six fields, seconds first, in the local time zone) is next due, [`Ms`]; `None` for never.
///
/// # Errors
/// An expression that is none, in words.
pub fn next(expression: &str) -> Result<Option<Ms>, String> {
    let words = |_| format!("`{expression}` is no cron expression of six fields, seconds first");
    let mut job = Job::new_cron_job_async_tz(expression, chrono::Local, |_, _| Box::pin(async {})).map_err(words)?;
    let next = job.job_data().map_err(words)?.next_tick_utc();
    Ok(next.map(|at| at.timestamp_millis()))
}

#[cfg(test)]
mod tests {
    use crate::types::{HOUR, MINUTE};

    #[test]
    fn the_next_time_is_ahead_and_in_the_local_zone() {
        let now = chrono::Utc::now().timestamp_millis();
        let next = super::next("0 */4 * * * *").unwrap().unwrap();
        assert!(
            next > now - 1000 && next <= now + 4 * MINUTE && next % (4 * MINUTE) == 0,
            "{next} after {now}"
        );
        let daily = super::next("0 30 3 * * *").unwrap().unwrap();
        let local = chrono::DateTime::from_timestamp_millis(daily)
            .unwrap()
            .with_timezone(&chrono::Local);
        assert_eq!(local.format("%H:%M:%S").to_string(), "03:30:00");
        assert!(daily <= now + 25 * HOUR);
    }

    #[test]
    fn a_day_that_does_not_exist_is_never_due() {
        assert_eq!(super::next("0 0 0 30 2 *"), Ok(None));
    }

    #[test]
    fn what_is_no_expression_is_said() {
        for bad in ["", "often", "* * * *", "99 * * * * *"] {
            assert!(super::next(bad).is_err(), "{bad}");
        }
    }
}
