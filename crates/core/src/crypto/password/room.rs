//! How many may hash at once while others are served: a core is left to them.
//!
//! A priority is not enough. Linux lets a thread of the lowest priority run on until its next tick, 4 ms on most
//! machines, whenever those that wake have just had their share; and where a request passes through three processes, one
//! of a hundred meets that.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Others are served if one of them was answered within this time. It is about that of a hash: what comes less often
/// waits for no more than one.
pub(super) const RECENT: Duration = Duration::from_millis(20);

tokio::task_local! {
    /// Whether the request that is being answered has hashed.
    static HASHED: Cell<bool>;
}

/// When a request that hashed nothing was answered last.
pub(super) struct Others {
    began: Instant,
    /// In microseconds from `began` on; 0 for never.
    last: AtomicU64,
}

impl Default for Others {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
        }
    }
}

impl Others {
    pub(super) fn note(&self, now: Instant) {
        self.last.store(self.micros(now).max(1), Ordering::Relaxed);
    }

    fn are_served(&self, now: Instant) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        last > 0 && u128::from(self.micros(now).saturating_sub(last)) < RECENT.as_micros()
    }

    /// How many of `count` may hash `now` on so many cores; never none.
    pub(super) fn leave(&self, count: usize, cores: usize, now: Instant) -> usize {
        if self.are_served(now) {
            count.min(cores.saturating_sub(1)).max(1)
        } else {
            count
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.began);
        u64::try_from(passed.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Answers a request, and says also whether it hashed.
pub(super) async fn answer<F: Future>(request: F) -> (F::Output, bool) {
    let request = async {
        let answer = request.await;
        (answer, HASHED.with(Cell::get))
    };
    HASHED.scope(Cell::new(false), request).await
}

/// Says of the request that is being answered, if there is one, that it hashes.
pub(super) fn hashes() {
    // A command hashes without a request.
    let _ = HASHED.try_with(|hashed| hashed.set(true));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_served_for_a_moment_after_each_answer() {
        let others = Others::default();
        let at = |millis| others.began + Duration::from_millis(millis);
        assert!(!others.are_served(at(0)));
        others.note(at(100));
        assert!(others.are_served(at(100)));
        assert!(others.are_served(at(119)));
        assert!(!others.are_served(at(120)));
    }

    #[tokio::test]
    async fn a_request_that_hashes_is_told_from_one_that_does_not() {
        assert_eq!(answer(async { hashes() }).await, ((), true));
        assert_eq!(answer(async { 7 }).await, (7, false));
        // Without a request it is nobody's.
        hashes();
    }

    #[test]
    fn one_core_is_left_where_there_is_more_than_one() {
        let (others, now) = (Others::default(), Instant::now());
        assert_eq!(others.leave(2, 2, now), 2);
        others.note(now);
        for (count, cores, expected) in [(2, 2, 1), (8, 8, 7), (1, 2, 1), (1, 1, 1), (4, 16, 4)] {
            assert_eq!(others.leave(count, cores, now), expected, "{count} on {cores}");
        }
    }
}
