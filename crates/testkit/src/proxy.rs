//! A network between a service and its Postgres that can be cut, and that can go silent.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// Where a proxy leads.
#[derive(Debug, Clone)]
pub enum Target {
    /// A TCP address, `host:port`.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Passing,
    /// Connections are closed as soon as they come.
    Cut,
    /// Connections are taken, and nothing comes through.
    Silent,
}

/// Listens until the test ends.
#[derive(Debug)]
pub struct Proxy {
    /// Where it is reached.
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    /// Starts one that passes everything on.
    #[must_use]
    pub fn start(target: Target) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, modes) = watch::channel(Mode::Passing);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(listen(listener, target, modes));
        });
        Self { address, mode }
    }

    /// Closes all connections, and new ones as they come.
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Keeps all connections open, and takes new ones, but nothing comes through any of them, ever.
    pub fn silence(&self) {
        self.mode.send_replace(Mode::Silent);
    }

    /// Passes everything on again that comes over new connections.
    pub fn mend(&self) {
        self.mode.send_replace(Mode::Passing);
    }
}

/// Returns when the proxy is dropped.
async fn listen(listener: std::net::TcpListener, target: Target, mut modes: watch::Receiver<Mode>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        tokio::select! {
            news = modes.changed() => {
                if news.is_err() {
                    return;
                }
            }
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    tokio::spawn(carry(client, target.clone(), modes.clone()));
                }
            }
        }
    }
}

async fn carry(client: TcpStream, target: Target, mut modes: watch::Receiver<Mode>) {
    let mode = *modes.borrow_and_update();
    match (mode, target) {
        (Mode::Cut, _) => {}
        (Mode::Silent, _) => until_cut(&mut modes).await,
        (Mode::Passing, Target::Tcp(address)) => {
            pass(client, TcpStream::connect(address).await, modes).await;
        }
        (Mode::Passing, Target::Unix(path)) => {
            pass(client, UnixStream::connect(path).await, modes).await;
        }
    }
}

async fn pass(
    mut client: TcpStream,
    server: io::Result<impl AsyncRead + AsyncWrite + Unpin>,
    mut modes: watch::Receiver<Mode>,
) {
    let Ok(mut server) = server else { return };
    let changed = {
        let mut passing = std::pin::pin!(copy_bidirectional(&mut client, &mut server));
        tokio::select! {
            _ = &mut passing => return,
            changed = modes.wait_for(|mode| *mode != Mode::Passing) => changed.map(|mode| *mode).ok(),
        }
    };
    if changed == Some(Mode::Silent) {
        until_cut(&mut modes).await;
    }
}

/// Also when the proxy is dropped.
async fn until_cut(modes: &mut watch::Receiver<Mode>) {
    drop(modes.wait_for(|mode| *mode == Mode::Cut).await);
}
