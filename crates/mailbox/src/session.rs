//! One conversation in SMTP (RFC 5321), with AUTH PLAIN and LOGIN (RFC 4954).

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::mail::Mail;
use crate::{Decision, Shared};

/// The longest line, in bytes (RFC 5321, 4.5.3.1, with room).
const LONGEST_LINE: u64 = 4_096;
/// The largest mail, in bytes.
const LARGEST_MAIL: usize = 1024 * 1024;

struct Session {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    from: Option<String>,
    to: Vec<String>,
    signed_in: Option<String>,
}

/// Speaks to one client until it leaves.
pub async fn run(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let mut session = Session {
        reader: BufReader::new(reader),
        writer,
        from: None,
        to: Vec::new(),
        signed_in: None,
    };
    session.say("220 mailbox ESMTP").await?;
    while let Some(line) = session.line().await? {
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => {
                let offers = "250-mailbox\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 AUTH PLAIN LOGIN";
                session.say(offers).await?;
            }
            "HELO" | "NOOP" => session.say("250 OK").await?,
            "RSET" => {
                session.forget();
                session.say("250 OK").await?;
            }
            "AUTH" => session.sign_in(rest).await?,
            "MAIL" => {
                session.forget();
                session.from = Some(address(rest));
                session.say("250 OK").await?;
            }
            "RCPT" if session.from.is_some() => {
                session.to.push(address(rest));
                session.say("250 OK").await?;
            }
            "DATA" if !session.to.is_empty() => session.take(shared).await?,
            "RCPT" | "DATA" => session.say("503 another command comes before").await?,
            "QUIT" => {
                session.say("221 goodbye").await?;
                break;
            }
            _ => session.say("502 not known").await?,
        }
    }
    Ok(())
}

impl Session {
    async fn say(&mut self, line: &str) -> io::Result<()> {
        self.writer.write_all(format!("{line}\r\n").as_bytes()).await
    }

    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        let read = (&mut self.reader)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .await?;
        if read == 0 {
            return Ok(None);
        }
        Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()))
    }

    fn forget(&mut self) {
        self.from = None;
        self.to.clear();
    }

    async fn sign_in(&mut self, how: &str) -> io::Result<()> {
        // What is asked for is not looked at: whoever it says it is, it is.
        let (mechanism, initial) = how.split_once(' ').unwrap_or((how, ""));
        if mechanism.eq_ignore_ascii_case("LOGIN") {
            self.say("334 VXNlcm5hbWU6").await?;
            self.line().await?;
            self.say("334 UGFzc3dvcmQ6").await?;
            self.line().await?;
        } else if initial.is_empty() {
            self.say("334 ").await?;
            self.line().await?;
        }
        self.signed_in = Some(mechanism.to_ascii_uppercase());
        self.say("235 welcome").await
    }

    async fn take(&mut self, shared: &Shared) -> io::Result<()> {
        self.say("354 go on").await?;
        let mut source = Vec::new();
        loop {
            let mut line = Vec::new();
            let read = (&mut self.reader)
                .take(LONGEST_LINE)
                .read_until(b'\n', &mut line)
                .await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == b".\r\n" {
                break;
            }
            // A dot at the beginning of a line was doubled (RFC 5321, 4.5.2).
            let line = line.strip_prefix(b".").unwrap_or(&line);
            if source.len() + line.len() <= LARGEST_MAIL {
                source.extend_from_slice(line);
            }
        }
        let decision = shared.decide().await;
        if decision == Decision::PutOff {
            self.forget();
            return self.say("451 not now").await;
        }
        shared.keep(Mail {
            from: self.from.take().unwrap_or_default(),
            to: std::mem::take(&mut self.to),
            signed_in: self.signed_in.clone(),
            source: String::from_utf8_lossy(&source).into_owned(),
        });
        if decision == Decision::TakeAndLeave {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.say("250 taken").await
    }
}

/// What stands between the angle brackets.
fn address(text: &str) -> String {
    let inner = text.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or_else(String::new, |(address, _)| address.to_owned())
}
