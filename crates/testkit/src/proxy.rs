//! A network between a service and its Postgres that can be cut, also in the middle of what is said, and that can go
//! silent.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
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
    /// Everything is passed on.
    Passing,
    /// Connections are closed as soon as they come.
    Cut,
    /// Connections are taken, and nothing comes through.
    Silent,
}

/// How a network is, and how often it has not been well: a connection that slept meanwhile knows by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    mode: Mode,
    cuts: u64,
    silences: u64,
}

impl State {
    fn cut(&mut self) {
        self.mode = Mode::Cut;
        self.cuts += 1;
    }
}

/// When a network is cut by itself, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// When a client sends this text, before it is passed on.
    Before(Vec<u8>),
    /// When a client has sent this text, and it is answered: the answer is not passed on.
    After(Vec<u8>),
    /// When the clients have sent so many more bytes, over all connections.
    Sent(usize),
    /// When so many more bytes have been answered.
    Answered(usize),
}

/// Listens until the test ends.
#[derive(Debug)]
pub struct Proxy {
    /// Where it is reached.
    pub address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    cut: Arc<Mutex<Option<Cut>>>,
}

/// What a connection knows of its proxy, which may be dropped before it.
#[derive(Debug, Clone)]
struct Line {
    state: Weak<watch::Sender<State>>,
    cut: Arc<Mutex<Option<Cut>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

impl Proxy {
    /// Starts one that passes everything on.
    #[must_use]
    pub fn start(target: Target) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (state, states) = watch::channel(State {
            mode: Mode::Passing,
            cuts: 0,
            silences: 0,
        });
        let (state, cut) = (Arc::new(state), Arc::default());
        let line = Line {
            state: Arc::downgrade(&state),
            cut: Arc::clone(&cut),
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(listen(listener, target, states, line));
        });
        Self { address, state, cut }
    }

    /// Closes all connections, and new ones as they come.
    pub fn cut(&self) {
        self.state.send_modify(State::cut);
    }

    /// Keeps all connections open, and takes new ones, but nothing comes through any of them, ever.
    pub fn silence(&self) {
        self.state.send_modify(|state| {
            state.mode = Mode::Silent;
            state.silences += 1;
        });
    }

    /// Cuts as [`Proxy::cut`] does, when `when` comes.
    pub fn cut_at(&self, when: Cut) {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(when);
    }

    /// Whether it is cut now.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.state.borrow().mode == Mode::Cut
    }

    /// Passes everything on again that comes over new connections.
    pub fn mend(&self) {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.state.send_modify(|state| state.mode = Mode::Passing);
    }
}

impl Line {
    /// Whether the network is cut at `piece`, which comes from `side`, and then how much of it is passed on.
    /// `is_asked` is the connection's own: whether its next answer is the one to be held back.
    fn is_cut_at(&self, side: Side, piece: &[u8], is_asked: &Mutex<bool>) -> Option<usize> {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_asked = is_asked.lock().unwrap_or_else(PoisonError::into_inner);
        let contains = |text: &[u8]| piece.windows(text.len().max(1)).any(|part| part == text);
        let passed = match (&mut *cut, side) {
            (Some(Cut::Before(text)), Side::Client) if contains(text) => 0,
            (Some(Cut::After(text)), Side::Client) => {
                *is_asked = *is_asked || contains(text);
                return None;
            }
            (Some(Cut::After(_)), Side::Server) if *is_asked => 0,
            (Some(Cut::Sent(left)), Side::Client) | (Some(Cut::Answered(left)), Side::Server) => {
                if let Some(fewer) = left.checked_sub(piece.len()).filter(|fewer| *fewer > 0) {
                    *left = fewer;
                    return None;
                }
                *left
            }
            _ => return None,
        };
        *cut = None;
        Some(passed)
    }

    /// Whether it went silent after it was as `then`, also when the connection has not been told yet.
    fn went_silent(&self, then: State) -> bool {
        let state = self.state.upgrade();
        state.is_some_and(|state| state.borrow().silences != then.silences)
    }

    fn cut(&self) {
        if let Some(state) = self.state.upgrade() {
            state.send_modify(State::cut);
        }
    }
}

/// Returns when the proxy is dropped.
async fn listen(
    listener: std::net::TcpListener,
    target: Target,
    mut states: watch::Receiver<State>,
    line: Line,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        tokio::select! {
            news = states.changed() => {
                if news.is_err() {
                    return;
                }
            }
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    tokio::spawn(carry(client, target.clone(), states.clone(), line.clone()));
                }
            }
        }
    }
}

async fn carry(client: TcpStream, target: Target, mut states: watch::Receiver<State>, line: Line) {
    let then = *states.borrow_and_update();
    match (then.mode, target) {
        (Mode::Cut, _) => {}
        (Mode::Silent, _) => until_cut(then, &mut states).await,
        (Mode::Passing, Target::Tcp(address)) => {
            pass(client, TcpStream::connect(address).await, then, states, line).await;
        }
        (Mode::Passing, Target::Unix(path)) => {
            pass(client, UnixStream::connect(path).await, then, states, line).await;
        }
    }
}

async fn pass(
    client: TcpStream,
    server: io::Result<impl AsyncRead + AsyncWrite + Unpin>,
    then: State,
    mut states: watch::Receiver<State>,
    line: Line,
) {
    let Ok(server) = server else { return };
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    let is_asked = Mutex::new(false);
    let passing = async {
        tokio::try_join!(
            forward(from_client, to_server, Side::Client, &line, then, &is_asked),
            forward(from_server, to_client, Side::Server, &line, then, &is_asked),
        )
    };
    // It owns both ends: they are open as long as it is there, also when it does nothing any more.
    let mut passing = std::pin::pin!(passing);
    let is_other = |now: &State| (now.cuts, now.silences) != (then.cuts, then.silences);
    tokio::select! {
        _ = &mut passing => return,
        changed = states.wait_for(is_other) => if changed.is_err() { return },
    }
    // What was both cut and silent is cut.
    until_cut(then, &mut states).await;
}

/// Passes on what comes from `side`, until its end or a cut.
async fn forward(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    side: Side,
    line: &Line,
    then: State,
    is_asked: &Mutex<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if line.went_silent(then) {
            std::future::pending::<()>().await;
        }
        if read == 0 {
            return to.shutdown().await;
        }
        let cut = line.is_cut_at(side, &buffer[..read], is_asked);
        to.write_all(&buffer[..cut.unwrap_or(read)]).await?;
        if cut.is_some() {
            line.cut();
            // The connection is closed with all others.
            std::future::pending::<()>().await;
        }
    }
}

/// Returns when it was cut after it was as `then`; also when the proxy is dropped.
async fn until_cut(then: State, states: &mut watch::Receiver<State>) {
    drop(states.wait_for(|now| now.cuts != then.cuts).await);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_silent_network_keeps_its_connections_open_and_a_cut_one_closes_them() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(Target::Tcp(server.local_addr().unwrap().to_string()));
        let mut client = TcpStream::connect(proxy.address).await.unwrap();
        let (mut served, _) = server.accept().await.unwrap();
        served.write_all(b"a").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'a');
        proxy.silence();
        served.write_all(b"b").await.unwrap();
        let heard = tokio::time::timeout(Duration::from_millis(200), client.read_u8()).await;
        heard.unwrap_err();
        proxy.cut();
        // However short the cut was.
        proxy.mend();
        client.read_u8().await.unwrap_err();
    }
}
