//! A receiver of notifications that takes everything and does nothing with it, so that what is
//! measured is the service.

use identity_core::failure::Failure;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Listens until it is dropped.
pub struct Receiver {
    /// Where it is reached, without a slash at the end.
    pub url: String,
    task: JoinHandle<()>,
}

impl Receiver {
    /// Starts one on a free port.
    pub async fn start() -> Result<Self, Failure> {
        let failed = |error| Failure::because("listening for notifications", error);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(take_all(connection));
            }
        });
        Ok(Self { url, task })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Answers 204 to every request until the other end closes.
async fn take_all(connection: TcpStream) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    let mut length = 0;
    let mut line = String::new();
    while connection.read_line(&mut line).await? > 0 {
        let header = line.trim().to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        } else if header.is_empty() {
            let mut body = vec![0; length];
            connection.read_exact(&mut body).await?;
            connection
                .get_mut()
                .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                .await?;
            length = 0;
        }
        line.clear();
    }
    Ok(())
}
