//! A small SMTP server (RFC 5321) that keeps what it is sent and passes nothing on: the mail catcher of
//! `cargo dev`, and what tests send their mails to. It speaks no TLS and believes every name.

mod mail;
mod session;

pub use mail::Mail;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

/// The most mails that are kept; then the oldest goes.
const MOST_MAILS: usize = 1_000;

/// 2^64 by the golden ratio: multiples of it are spread evenly over all numbers.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Whether a mail is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mood {
    /// It is.
    #[default]
    Taking,
    /// It is put off, with 451.
    Refusing,
    /// Of four mails one is put off with 451, and one is taken, but the connection ends before that is said.
    Fickle,
}

/// What the sessions share.
#[derive(Debug, Default)]
struct Shared {
    mails: Mutex<Vec<Mail>>,
    mood: Mutex<Mood>,
    /// How long it thinks about a mail, in milliseconds.
    thought: AtomicU64,
    /// How many mails came in the mood [`Mood::Fickle`].
    fickle: AtomicU64,
}

/// A server at work, until it is dropped.
#[derive(Debug)]
pub struct Mailbox {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The mails of a server, for others to look at.
#[derive(Debug, Clone)]
pub struct Mails(Arc<Shared>);

impl Mailbox {
    /// Serves on `listener`, on a thread of its own: whoever waits for a sender must not keep it from
    /// being answered.
    ///
    /// # Errors
    /// What the listener says.
    pub fn serve(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let shared = Arc::<Shared>::default();
        let (stop, stopped) = oneshot::channel();
        let serving = shared.clone();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                    return;
                };
                tokio::select! {
                    () = listen(listener, serving) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self {
            address,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// All that was taken, in the order of its coming.
    #[must_use]
    pub fn mails(&self) -> Vec<Mail> {
        self.handle().all()
    }

    /// A look at the mails that outlives a borrow.
    #[must_use]
    pub fn handle(&self) -> Mails {
        Mails(self.shared.clone())
    }

    /// Decides what is done with mails from now on.
    pub fn set_mood(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// Decides how long it takes to answer a mail from now on.
    pub fn set_thought(&self, thought: Duration) {
        let thought = u64::try_from(thought.as_millis()).unwrap_or(u64::MAX);
        self.shared.thought.store(thought, Ordering::Relaxed);
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Mails {
    /// All that was taken, in the order of its coming.
    #[must_use]
    pub fn all(&self) -> Vec<Mail> {
        self.0
            .mails
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What is done with one mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Take,
    PutOff,
    TakeAndLeave,
}

impl Shared {
    /// Thinks, and decides.
    async fn decide(&self) -> Decision {
        tokio::time::sleep(Duration::from_millis(self.thought.load(Ordering::Relaxed))).await;
        match self.mood() {
            Mood::Taking => Decision::Take,
            Mood::Refusing => Decision::PutOff,
            // In no order by which the same mail would fail again and again.
            Mood::Fickle => match self.fickle.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN) >> 62 {
                0 => Decision::PutOff,
                1 => Decision::TakeAndLeave,
                _ => Decision::Take,
            },
        }
    }

    fn keep(&self, mail: Mail) {
        let mut mails = self.mails.lock().unwrap_or_else(PoisonError::into_inner);
        if mails.len() >= MOST_MAILS {
            mails.remove(0);
        }
        mails.push(mail);
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sessions end with the listener: they are its own tasks.
async fn listen(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    let mut sessions = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let shared = shared.clone();
                    sessions.spawn(async move { session::run(stream, &shared).await });
                }
            }
            Some(_) = sessions.join_next() => {}
        }
    }
}
