//! The threads that hash: so many and no more, behind whatever else wants the processor, each with
//! memory of its own that it keeps while there is work.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use argon2::Block;
use tokio::sync::oneshot;

use super::room::RECENT;

/// How much a request that hashes nothing goes before: a nice value. A flood of logins takes what is
/// left, and a flood of everything else still leaves it some.
const NICENESS: i32 = 10;

/// For so long without work a thread keeps its memory. Fresh pages cost a third of the speed.
const IDLE: Duration = Duration::from_secs(5);

/// What a thread does, in its memory.
type Job = Box<dyn FnOnce(&mut Vec<Block>) + Send>;

/// How many may work now; asked before each job.
type Allowed = Box<dyn Fn() -> usize + Send + Sync>;

/// The threads of one hasher; they end with it.
pub(super) struct Threads(Arc<Queue>);

struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    allowed: Allowed,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// How many threads have a job.
    working: usize,
    over: bool,
}

impl Threads {
    /// Starts `count` of them, of which so many work at once as are `allowed` then.
    pub(super) fn start(
        count: usize,
        allowed: impl Fn() -> usize + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let threads = Self(Arc::new(Queue {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            allowed: Box::new(allowed),
        }));
        for number in 0..count {
            let queue = threads.0.clone();
            std::thread::Builder::new()
                .name(format!("argon2-{number}"))
                .spawn(move || queue.work())?;
        }
        Ok(threads)
    }

    /// Does `work` when its turn comes; none when it panicked. Work whose caller has gone is not begun.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.0.add(Box::new(move |memory| {
            if !answer.is_closed() {
                // The caller may have gone meanwhile.
                let _ = answer.send(work(memory));
            }
        }));
        answered.await.ok()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.waiting().over = true;
        self.0.changed.notify_all();
    }
}

impl Queue {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, job: Job) {
        self.waiting().jobs.push_back(job);
        self.changed.notify_one();
    }

    /// Works until the hasher is gone.
    fn work(&self) {
        // On Linux a thread has a priority of its own; elsewhere it stays as it is.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "passwords are hashed at the priority of everything else");
        }
        let mut memory = Vec::new();
        while let Some(job) = self.next(&mut memory) {
            // A job that panics takes nobody else's turn.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&mut memory))).is_err() {
                memory = Vec::new();
            }
            self.waiting().working -= 1;
        }
    }

    /// The next job; `memory` is given back while there is none.
    fn next(&self, memory: &mut Vec<Block>) -> Option<Job> {
        let mut waiting = self.waiting();
        loop {
            if waiting.over {
                return None;
            }
            let held_up = !waiting.jobs.is_empty() && waiting.working >= (self.allowed)();
            if !held_up && let Some(job) = waiting.jobs.pop_front() {
                waiting.working += 1;
                return Some(job);
            }
            waiting = if held_up {
                // Whoever works goes on with the next job; this is for when there may be more again.
                let waited = self.changed.wait_timeout(waiting, RECENT);
                waited.unwrap_or_else(PoisonError::into_inner).0
            } else if memory.is_empty() {
                self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner)
            } else {
                let (waiting, waited) = self
                    .changed
                    .wait_timeout(waiting, IDLE)
                    .unwrap_or_else(PoisonError::into_inner);
                if waited.timed_out() && waiting.jobs.is_empty() {
                    *memory = Vec::new();
                }
                waiting
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_that_panics_takes_nobody_elses_turn() {
        let threads = Threads::start(1, || 1).unwrap();
        assert_eq!(threads.run(|_| panic!("on purpose")).await, None::<()>);
        assert_eq!(threads.run(|_| 7).await, Some(7));
    }

    #[tokio::test]
    async fn a_thread_that_is_not_allowed_to_work_leaves_the_job_to_another() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counting = asked.clone();
        let threads = Threads::start(2, move || {
            counting.fetch_add(1, Ordering::SeqCst);
            1
        });
        let threads = threads.unwrap();
        let working = Arc::new(AtomicUsize::new(0));
        let job = || {
            let (asked, working) = (asked.clone(), working.clone());
            move |_: &mut Vec<Block>| {
                let beside = working.fetch_add(1, Ordering::SeqCst);
                let before = asked.load(Ordering::SeqCst);
                // Until the other thread has asked whether it may work, and has been told that it may not.
                let patience = std::time::Instant::now();
                while asked.load(Ordering::SeqCst) == before && patience.elapsed() < Duration::from_secs(5) {
                    std::thread::yield_now();
                }
                working.fetch_sub(1, Ordering::SeqCst);
                beside
            }
        };
        let (first, second, last) = tokio::join!(
            threads.run(job()),
            threads.run(job()),
            threads.run(|_: &mut Vec<Block>| 0)
        );
        assert_eq!((first, second, last), (Some(0), Some(0), Some(0)));
    }

    #[tokio::test]
    async fn work_whose_caller_has_gone_is_not_begun() {
        let threads = Threads::start(1, || 1).unwrap();
        let (begin, begun) = std::sync::mpsc::channel::<()>();
        // Holds the one thread up until the other caller is gone.
        let first = threads.run(move |_| begun.recv().is_ok());
        let (done, was_done) = std::sync::mpsc::channel();
        let mut first = Box::pin(first);
        assert!(futures_util::poll!(&mut first).is_pending());
        let mut second = Box::pin(threads.run(move |_| done.send(())));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(second);
        begin.send(()).unwrap();
        assert_eq!(first.await, Some(true));
        assert_eq!(threads.run(|_| ()).await, Some(()));
        assert!(was_done.try_recv().is_err());
    }
}
