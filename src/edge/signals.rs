//! Signals that ask a process to end, and what must be finished first.
//!
//! Between the moment a refresh token leaves and the moment its answer is on disk, ending the process would lose the login. That
//! stretch holds an [`Uninterrupted`]; [`or_signal`] drops the work at once on a signal, which releases its locks and removes its
//! temp files, unless such a stretch is under way: then it is finished first. SIGKILL and power cuts are what fences are for.

use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::signal::unix::{SignalKind, signal};

static UNDER_WAY: AtomicUsize = AtomicUsize::new(0);

/// While one of these lives, [`or_signal`] waits.
#[derive(Debug)]
pub(crate) struct Uninterrupted(());

impl Uninterrupted {
    /// Begins a stretch that is finished before the process ends.
    pub(crate) fn begin() -> Self {
        UNDER_WAY.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Uninterrupted {
    fn drop(&mut self) {
        UNDER_WAY.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether such a stretch is under way.
pub(crate) fn uninterrupted() -> bool {
    UNDER_WAY.load(Ordering::SeqCst) > 0
}

/// Runs `work` to its end, or to the first SIGTERM, SIGINT or SIGHUP that finds nothing [`Uninterrupted`] under way.
///
/// # Errors
/// The number of the signal; `work` has then been dropped.
pub(crate) async fn or_signal<F: Future>(work: F) -> Result<F::Output, i32> {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let mut streams = Vec::new();
    for kind in kinds {
        // without a handler the default action stands
        if let Ok(stream) = signal(kind) {
            streams.push((kind.as_raw_value(), stream));
        }
    }
    // a file that is larger than the process may write (`ulimit -f`) is an error of the write then, and not the end
    let _too_large = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
    let mut work = std::pin::pin!(work);
    let mut asked = None;
    std::future::poll_fn(|cx| {
        if let std::task::Poll::Ready(output) = work.as_mut().poll(cx) {
            return std::task::Poll::Ready(Ok(output));
        }
        for (number, stream) in &mut streams {
            if stream.poll_recv(cx).is_ready() {
                asked.get_or_insert(*number);
                // registered again for the next one
                let _ = stream.poll_recv(cx);
            }
        }
        match asked {
            Some(number) if !uninterrupted() => std::task::Poll::Ready(Err(number)),
            _ => std::task::Poll::Pending,
        }
    })
    .await
}
