//! Connecting to the one of several hosts that accepts writes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::poll_fn;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::watch::Outage;
use crate::failure::causes;

/// The hosts of a database. Clones share what they learnt.
#[derive(Clone)]
pub(super) struct Hosts(Arc<Parts>);

struct Parts {
    /// One for each host.
    parameters: Vec<Config>,
    connector: MakeRustlsConnect,
    patience: Duration,
    outage: Outage,
    /// The one that was connected to last, and is tried first.
    last: AtomicUsize,
}

impl Hosts {
    /// The hosts of `parameters`, to one of which a connection is made within `patience`. It ends when it
    /// has outlived an `outage`.
    pub(super) fn new(
        parameters: Vec<Config>,
        connector: MakeRustlsConnect,
        patience: Duration,
        outage: Outage,
    ) -> Self {
        Self(Arc::new(Parts {
            parameters,
            connector,
            patience,
            outage,
            last: AtomicUsize::new(0),
        }))
    }

    /// A connection, and the task that serves it.
    ///
    /// A host that accepts connections and then says nothing, as a machine that hangs, costs its share
    /// of the time and not all of it: tokio-postgres bounds no more than the TCP handshake.
    pub(super) async fn connect(&self) -> Result<(Client, JoinHandle<()>), Error> {
        self.connect_hearing(&Arc::default()).await
    }

    /// As [`Hosts::connect`]; `heard` is told of every notification (LISTEN) that comes.
    pub(super) async fn connect_hearing(
        &self,
        heard: &Arc<Notify>,
    ) -> Result<(Client, JoinHandle<()>), Error> {
        let Parts {
            parameters,
            connector,
            patience,
            outage,
            last,
        } = &*self.0;
        let served = |connected| served(connected, heard.clone(), outage.clone());
        let share = *patience / u32::try_from(parameters.len()).unwrap_or(u32::MAX).max(1);
        let first = last.load(Ordering::Relaxed);
        let mut order: Vec<_> = parameters.iter().enumerate().collect();
        order.rotate_left(first);
        let Some(((final_index, final_host), others)) = order.split_last() else {
            return Config::new().connect(connector.clone()).await.map(served);
        };
        for (index, host) in others {
            let answer = tokio::time::timeout(share, host.connect(connector.clone())).await;
            match answer {
                Ok(Ok(connected)) => {
                    last.store(*index, Ordering::Relaxed);
                    return Ok(served(connected));
                }
                Ok(Err(error)) => {
                    tracing::debug!(host = ?host.get_hosts(), error = causes(&error), "trying the next host");
                }
                Err(_) => tracing::debug!(host = ?host.get_hosts(), "no answer; trying the next host"),
            }
        }
        // Whoever asks bounds the whole.
        let connected = final_host.connect(connector.clone()).await?;
        last.store(*final_index, Ordering::Relaxed);
        Ok(served(connected))
    }
}

fn served<S, T>(
    (client, connection): (Client, Connection<S, T>),
    heard: Arc<Notify>,
    outage: Outage,
) -> (Client, JoinHandle<()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let created = Instant::now();
    let task = tokio::spawn(async move {
        tokio::select! {
            () = relay(connection, &heard) => {}
            // A server that hangs says nothing, for as long as it is not restarted; who waits for it gets an
            // error, and its place in the pool is free again.
            () = outage.outlived(created) => tracing::debug!("gave up a connection from before an outage"),
        }
    });
    (client, task)
}

/// Carries statements and answers to and fro until the connection ends.
async fn relay<S, T>(mut connection: Connection<S, T>, heard: &Notify)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(_))) => heard.notify_one(),
            // What Postgres remarks (that a table exists already) is nobody's concern.
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                tracing::debug!(error = causes(&error), "a connection to Postgres ended");
                return;
            }
            None => return,
        }
    }
}

impl deadpool_postgres::Connect for Hosts {
    fn connect(&self, _: &Config) -> Connecting<'_> {
        Box::pin(Hosts::connect(self))
    }
}

type Connecting<'a> = Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + 'a>>;
