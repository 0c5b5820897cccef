//! The threads that hash: so many and no more, behind whatever else wants the processor, each with
//! memory of its own that it keeps while there is work.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use argon2::Block;
use tokio::sync::oneshot;

/// How much a request that hashes nothing goes before: a nice value. A flood of logins takes what is
/// left, and a flood of everything else still leaves it some.
const NICENESS: i32 = 10;

/// For so long without work a thread keeps its memory. Fresh pages cost a third of the speed.
const IDLE: Duration = Duration::from_secs(5);

/// What a thread does, in its memory.
type Job = Box<dyn FnOnce(&mut Vec<Block>) + Send>;

/// The threads of one hasher; they end with it.
pub(super) struct Threads(Arc<Queue>);

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    over: bool,
}

impl Threads {
    /// Starts `count` of them.
    pub(super) fn start(count: usize) -> std::io::Result<Self> {
        let threads = Self(Arc::default());
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
        }
    }

    /// The next job; `memory` is given back while there is none.
    fn next(&self, memory: &mut Vec<Block>) -> Option<Job> {
        let mut waiting = self.waiting();
        loop {
            if waiting.over {
                return None;
            }
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            waiting = if memory.is_empty() {
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
    use super::*;

    #[tokio::test]
    async fn work_that_panics_takes_nobody_elses_turn() {
        let threads = Threads::start(1).unwrap();
        assert_eq!(threads.run(|_| panic!("on purpose")).await, None::<()>);
        assert_eq!(threads.run(|_| 7).await, Some(7));
    }

    #[tokio::test]
    async fn work_whose_caller_has_gone_is_not_begun() {
        let threads = Threads::start(1).unwrap();
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
