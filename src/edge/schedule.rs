//! When a cron expression is next due, by tokio-cron-scheduler 0.15, which is asked and never started: started, it wakes
//! twice a second, overlaps its jobs, and drops one that fell behind.

use crate::types::Ms;
use tokio_cron_scheduler::{Job, JobScheduler};

/// When `expression` (six fields, seconds first, in the local time zone) is next due, [`Ms`]; `None` for never.
///
/// Runs on a runtime of its own, which takes the scheduler's idle tasks with it when it goes: call it outside any other.
///
/// # Errors
/// An expression that is none, in words.
pub fn next(expression: &str) -> Result<Option<Ms>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let words = |_| format!("`{expression}` is no cron expression of six fields, seconds first");
        let mut scheduler = JobScheduler::new().await.map_err(words)?;
        let job = Job::new_cron_job_async_tz(expression, chrono::Local, |_, _| Box::pin(async {})).map_err(words)?;
        let id = scheduler.add(job).await.map_err(words)?;
        let next = scheduler.next_tick_for_job(id).await.map_err(words)?;
        Ok(next.map(|at| at.timestamp_millis()))
    })
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
    fn what_is_no_expression_is_said() {
        for bad in ["", "often", "* * * *", "99 * * * * *"] {
            assert!(super::next(bad).is_err(), "{bad}");
        }
    }
}
