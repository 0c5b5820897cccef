//! Work that is asked for at the same time, done together.
//!
//! While some of it is under way what comes in waits, and goes together with the next. What is alone
//! waits for nothing; of many, each costs Postgres and the network a fraction of what it would cost
//! alone.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Error;

/// The most that is done at a time, so that a crowd does not make one statement slow.
const MOST: usize = 64;

/// What is better done for many at a time than for each.
pub trait Work: Send + Sync + 'static {
    /// What is asked for.
    type Asked: Send + 'static;
    /// What comes of it.
    type Answer: Send + 'static;

    /// Does all that is `asked` for, and gives an answer to each in the same order.
    fn do_all(
        &self,
        asked: Vec<Self::Asked>,
    ) -> impl Future<Output = Vec<Result<Self::Answer, Error>>> + Send;
}

/// Does the work of a worker's requests together.
pub struct Together<W: Work> {
    work: Arc<W>,
    waiting: Arc<Mutex<Waiting<W>>>,
}

type Answer<W> = Result<<W as Work>::Answer, Error>;

struct Waiting<W: Work> {
    asked: Vec<(W::Asked, oneshot::Sender<Answer<W>>)>,
    /// Whether a task sees to them.
    is_seen_to: bool,
}

impl<W: Work> Together<W> {
    /// Nothing is asked of `work` yet.
    #[must_use]
    pub fn new(work: W) -> Self {
        Self {
            work: Arc::new(work),
            waiting: Arc::new(Mutex::new(Waiting {
                asked: Vec::new(),
                is_seen_to: false,
            })),
        }
    }

    /// What comes of `asked`. A request that is given up before its work began leaves nothing to do.
    ///
    /// # Errors
    /// What the work says; [`super::ErrorKind::Unavailable`] where it ended without an answer.
    pub async fn ask(&self, asked: W::Asked) -> Answer<W> {
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            waiting.asked.push((asked, answer));
            if !waiting.is_seen_to {
                waiting.is_seen_to = true;
                let seeing = Seeing {
                    waiting: self.waiting.clone(),
                    is_over: false,
                };
                // A task of its own: the request that began it may be given up, the others not.
                tokio::spawn(see_to(self.work.clone(), seeing));
            }
        }
        answered
            .await
            .unwrap_or_else(|_| Err(Error::unavailable("the work of several requests was given up")))
    }
}

impl<W: Work> fmt::Debug for Together<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = lock(&self.waiting).asked.len();
        let mut debug = formatter.debug_struct("Together");
        debug.field("waiting", &waiting).finish_non_exhaustive()
    }
}

/// The task's hold on what is asked. Where it ends early, by a panic, those that wait are given up, and the next one
/// begins anew.
struct Seeing<W: Work> {
    waiting: Arc<Mutex<Waiting<W>>>,
    /// Then another task may be at it already.
    is_over: bool,
}

impl<W: Work> Seeing<W> {
    /// The next ones, each with where its answer goes; none when there are none, and then the task is over.
    fn next(&mut self) -> (Vec<W::Asked>, Vec<oneshot::Sender<Answer<W>>>) {
        let mut waiting = lock(&self.waiting);
        waiting.asked.retain(|(_, answer)| !answer.is_closed());
        let count = waiting.asked.len().min(MOST);
        waiting.is_seen_to = count > 0;
        self.is_over = count == 0;
        waiting.asked.drain(..count).unzip()
    }
}

impl<W: Work> Drop for Seeing<W> {
    fn drop(&mut self) {
        if !self.is_over {
            let mut waiting = lock(&self.waiting);
            waiting.is_seen_to = false;
            waiting.asked.clear();
        }
    }
}

async fn see_to<W: Work>(work: Arc<W>, mut seeing: Seeing<W>) {
    loop {
        // What is ready to run may have something to ask, too.
        tokio::task::yield_now().await;
        let (asked, answers) = seeing.next();
        if asked.is_empty() {
            return;
        }
        for (answer, found) in answers.into_iter().zip(work.do_all(asked).await) {
            // Who asked may have gone.
            let _ = answer.send(found);
        }
    }
}

fn lock<W: Work>(waiting: &Mutex<Waiting<W>>) -> MutexGuard<'_, Waiting<W>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::poll;
    use tokio::sync::Semaphore;

    /// Gives even numbers back and refuses odd ones, and remembers which it did together.
    struct Even {
        may_go_on: Semaphore,
        done: Arc<Mutex<Vec<Vec<u32>>>>,
    }

    impl Work for Even {
        type Asked = u32;
        type Answer = u32;

        async fn do_all(&self, asked: Vec<u32>) -> Vec<Answer<Self>> {
            self.may_go_on.acquire().await.unwrap().forget();
            self.done.lock().unwrap().push(asked.clone());
            let answer = |number: u32| {
                if number.is_multiple_of(2) {
                    Ok(number)
                } else {
                    Err(Error::unavailable("odd"))
                }
            };
            asked.into_iter().map(answer).collect()
        }
    }

    #[tokio::test]
    async fn each_has_its_own_answer_and_what_was_given_up_is_not_done() {
        let done = Arc::default();
        let together = Together::new(Even {
            may_go_on: Semaphore::new(0),
            done: Arc::clone(&done),
        });
        let mut asked: Vec<_> = [0, 1, 2, 4].map(|number| Box::pin(together.ask(number))).into();
        assert!(poll!(&mut asked[0]).is_pending());
        // It is under way before the others ask.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        for waiting in &mut asked[1..] {
            assert!(poll!(waiting).is_pending());
        }
        drop(asked.remove(2));
        together.work.may_go_on.add_permits(2);
        let answers = futures_util::future::join_all(asked).await;
        let answers: Vec<_> = answers.into_iter().map(Result::ok).collect();
        assert_eq!(answers, [Some(0), None, Some(4)]);
        assert_eq!(*done.lock().unwrap(), [vec![0], vec![1, 4]]);
    }
}
