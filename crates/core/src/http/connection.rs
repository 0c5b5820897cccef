//! A connection that always comes to an end.
//!
//! actix limits how long the head of a connection's first request may take, and how long a connection is idle between
//! requests. It knows no limit for the head of a later request, for a chunked body that no handler reads, and for an
//! answer that its client does not take: each would keep a connection, and what is buffered for it, for as long as a
//! stranger likes. Here every connection has a moment by which something must have happened.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long each thing may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From the first byte of a request to the first byte of its answer.
    pub answer: Duration,
    /// Without a request.
    pub idle: Duration,
    /// From the moment in which a client no longer takes what is written, to that in which it has all of it.
    pub take: Duration,
}

/// How much is read of a connection before it is looked at; more than most requests have.
const AT_ONCE: usize = 8 * 1024;

/// How much more may be read of a connection while one of its requests is handled.
///
/// Requests may be sent before the last one was answered. actix takes apart all that it has read, 128 KiB at the most,
/// and keeps each request until it is its turn: of the shortest ones these are thousands, and 12 MiB a connection. So
/// no more is read than belongs to the request that is handled. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn(Rc<Cell<Option<u64>>>);

/// A request that is being handled.
#[derive(Debug)]
pub(super) struct Handled(Turn);

impl Turn {
    /// It is the turn of a request with a body of this many bytes at the most.
    pub(super) fn of(&self, body: u64) -> Handled {
        self.0.set(Some(body));
        Handled(self.clone())
    }

    fn is_over(&self) -> bool {
        self.0.get() == Some(0)
    }

    fn spend(&self, read: usize) {
        if let Some(left) = self.0.get() {
            let read = u64::try_from(read).unwrap_or(u64::MAX);
            self.0.set(Some(left.saturating_sub(read)));
        }
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        self.0.0.set(None);
    }
}

/// What a connection is made of.
#[derive(Debug)]
pub(super) enum Socket<P = TcpStream, T = TlsStream<TcpStream>> {
    Plain(P),
    /// On the heap: it is much larger.
    Tls(Box<T>),
}

/// A connection with its limits. When one is over, reading and writing fail, and the connection ends.
#[derive(Debug)]
pub(super) struct Connection<S = Socket> {
    socket: S,
    limits: Limits,
    /// By when there must be an answer, or a request.
    by: Instant,
    /// Whether a part of a request came since the last answer.
    begun: bool,
    /// By when the client must have taken what is written; none: it has.
    taken_by: Option<Instant>,
    /// Rings at the latest when the nearest of these is over. It may ring earlier, for one of before: so it need not be
    /// set anew for every request.
    alarm: Pin<Box<Sleep>>,
    turn: Turn,
    /// Whether reading was put off until something is written.
    held: bool,
    /// What was read since the task last had to wait.
    at_once: usize,
}

impl<S> Connection<S> {
    pub(super) fn new(socket: S, limits: Limits) -> Self {
        let by = Instant::now() + limits.idle;
        Self {
            socket,
            limits,
            by,
            begun: false,
            taken_by: None,
            alarm: Box::pin(sleep_until(by)),
            turn: Turn::default(),
            held: false,
            at_once: 0,
        }
    }

    /// Whose turn it is, for those who know.
    pub(super) fn turn(&self) -> Turn {
        self.turn.clone()
    }

    /// Whether `moment` is over; otherwise the task is woken then.
    fn is_over(&mut self, moment: Instant, context: &mut Context<'_>) -> bool {
        loop {
            if self.alarm.deadline() > moment {
                self.alarm.as_mut().reset(moment);
            }
            if self.alarm.as_mut().poll(context).is_pending() {
                return false;
            }
            if self.alarm.deadline() >= moment {
                return true;
            }
            // It rang for a moment of before.
            self.alarm.as_mut().reset(moment);
        }
    }

    /// What writing has come to: whoever does not take it must do so in time.
    fn written<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            return polled;
        }
        let by = *self
            .taken_by
            .get_or_insert_with(|| Instant::now() + self.limits.take);
        if self.is_over(by, context) {
            return Poll::Ready(Err(over("the client does not take its answer")));
        }
        Poll::Pending
    }
}

fn over(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let by = self.by;
        if self.is_over(by, context) {
            return Poll::Ready(Err(over("the client does not finish its request")));
        }
        if self.taken_by.is_some() || self.turn.is_over() {
            self.held = true;
            return Poll::Pending;
        }
        if self.at_once >= AT_ONCE {
            self.at_once = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        self.at_once = if polled.is_ready() { self.at_once + read } else { 0 };
        self.turn.spend(read);
        if !self.begun && read > 0 {
            self.begun = true;
            self.by = Instant::now() + self.limits.answer;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(context, bytes);
        if matches!(polled, Poll::Ready(Ok(written)) if written > 0) {
            self.begun = false;
            self.by = Instant::now() + self.limits.idle;
            if std::mem::take(&mut self.held) {
                context.waker().wake_by_ref();
            }
        }
        self.written(polled, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_flush(context);
        // It is called when there is nothing left to write.
        if polled.is_ready() && self.taken_by.take().is_some() {
            context.waker().wake_by_ref();
        }
        self.written(polled, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_shutdown(context);
        self.written(polled, context)
    }
}

impl<P: AsyncRead + Unpin, T: AsyncRead + Unpin> AsyncRead for Socket<P, T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_read(context, buffer),
        }
    }
}

impl<P: AsyncWrite + Unpin, T: AsyncWrite + Unpin> AsyncWrite for Socket<P, T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const SHORT: Duration = Duration::from_millis(40);
    const LONG: Duration = Duration::from_secs(20);

    fn connection(
        answer: Duration,
        idle: Duration,
        take: Duration,
    ) -> (DuplexStream, Connection<DuplexStream>) {
        let (client, server) = duplex(64);
        (client, Connection::new(server, Limits { answer, idle, take }))
    }

    fn is_over<T: std::fmt::Debug>(result: io::Result<T>, text: &str) {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains(text), "{error}");
    }

    #[tokio::test]
    async fn a_connection_without_a_request_ends() {
        let (_client, mut connection) = connection(LONG, SHORT, LONG);
        let began = Instant::now();
        is_over(connection.read_u8().await, "does not finish its request");
        assert!(began.elapsed() >= SHORT);
    }

    #[tokio::test]
    async fn a_request_that_is_never_finished_ends_also_when_a_byte_comes_now_and_then() {
        let (mut client, mut connection) = connection(SHORT, LONG, LONG);
        let dripping = async {
            while client.write_u8(b'x').await.is_ok() {
                tokio::time::sleep(SHORT / 8).await;
            }
        };
        let reading = async {
            let mut all = Vec::new();
            let read = connection.read_to_end(&mut all).await;
            drop(connection);
            assert!(all.len() > 1);
            read
        };
        let ((), read) = tokio::join!(dripping, reading);
        is_over(read, "does not finish its request");
    }

    #[tokio::test]
    async fn an_answer_makes_a_connection_idle_again() {
        let (mut client, mut connection) = connection(SHORT, LONG, LONG);
        for _ in 0..4 {
            client.write_u8(b'?').await.unwrap();
            assert_eq!(connection.read_u8().await.unwrap(), b'?');
            connection.write_all(b"!").await.unwrap();
            connection.flush().await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), b'!');
            let pause = tokio::time::timeout(SHORT * 2, connection.read_u8()).await;
            assert!(pause.is_err(), "still open, and it may be");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_ends() {
        let (mut client, mut connection) = connection(LONG, LONG, SHORT);
        is_over(
            connection.write_all(&[0; 1_000]).await,
            "does not take its answer",
        );
        assert_eq!(client.read_u8().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn while_a_request_is_handled_no_more_is_read_than_belongs_to_it() {
        let (mut client, mut connection) = connection(LONG, LONG, LONG);
        let turn = connection.turn();
        client.write_all(b"the next request").await.unwrap();
        let handled = turn.of(3);
        let mut buffer = [0; 3];
        connection.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"the");
        let more = tokio::time::timeout(SHORT, connection.read_u8()).await;
        assert!(more.is_err(), "that is not its own");
        drop(handled);
        connection.write_all(b"!").await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b' ');
    }

    #[tokio::test]
    async fn an_answer_that_is_taken_slowly_must_be_taken_as_a_whole() {
        let (mut client, mut connection) = connection(LONG, LONG, SHORT);
        let sipping = async {
            while client.read_u8().await.is_ok() {
                tokio::time::sleep(SHORT / 8).await;
            }
        };
        let writing = async {
            let written = connection.write_all(&[0; 1_000]).await;
            drop(connection);
            written
        };
        let ((), written) = tokio::join!(sipping, writing);
        is_over(written, "does not take its answer");
    }
}
