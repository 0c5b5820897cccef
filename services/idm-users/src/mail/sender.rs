//! How mails leave: over SMTP (RFC 5321), into files, or not at all.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use identity_core::failure::{Failure, causes};
use jiff::Timestamp;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use secrecy::ExposeSecret;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::model::Mail;
use crate::config::{self, Encryption, Smtp, Transport};

/// How long a mail may take on its way to the server: lettre's own limit covers the connection alone.
const PATIENCE: Duration = Duration::from_secs(25);
/// For so long the answer to "can mails be sent?" is not asked for again.
const CONDITION_HOLDS: Duration = Duration::from_secs(10);

/// Sends mails.
pub(crate) struct Sender {
    way: Way,
    from: Mailbox,
    reply_to: Option<Mailbox>,
    /// The right half of message ids.
    host: String,
    condition: Mutex<Option<(Instant, String)>>,
}

enum Way {
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
    File(PathBuf),
    Off,
}

impl Sender {
    /// A sender as the configuration wants it; `host` is the service's own.
    ///
    /// # Errors
    /// [`Failure::Configuration`] where it cannot work.
    pub(crate) fn new(
        settings: &config::Mail,
        admin_email: Option<&Mailbox>,
        host: &str,
    ) -> Result<Self, Failure> {
        let way = match &settings.transport {
            Transport::Smtp(settings) => Way::Smtp(Box::new(transport(settings)?)),
            Transport::File(directory) => {
                let unusable = |error| Failure::configuration(format!("mail.directory: {error}"));
                std::fs::create_dir_all(directory).map_err(unusable)?;
                Way::File(directory.clone())
            }
            Transport::None => Way::Off,
        };
        let from = if let Some(from) = &settings.from {
            from.clone()
        } else {
            let own = format!("idm-users@{host}").parse();
            own.or_else(|_| "idm-users@localhost".parse())
                .map_err(|error| Failure::because("making the sender's address", error))?
        };
        Ok(Self {
            way,
            from,
            reply_to: admin_email.cloned(),
            host: host.to_owned(),
            condition: Mutex::default(),
        })
    }

    /// Whether no mails are sent at all.
    pub(super) fn is_off(&self) -> bool {
        matches!(self.way, Way::Off)
    }

    /// Sends a mail; its id makes a second copy of it known as such.
    ///
    /// # Errors
    /// Why not, for the operator.
    pub(super) async fn send(&self, id: Uuid, mail: &Mail, created: Timestamp) -> Result<(), String> {
        let message = self.message(id, mail, created)?;
        match &self.way {
            Way::Smtp(transport) => {
                let sent = tokio::time::timeout(PATIENCE, transport.send(message)).await;
                let sent = sent.map_err(|_| "the mail server did not answer in time".to_owned())?;
                sent.map(|_| ()).map_err(|error| causes(&error))
            }
            Way::File(directory) => {
                let (directory, content) = (directory.clone(), message.formatted());
                let written = tokio::task::spawn_blocking(move || {
                    // Under another name until it is whole.
                    let whole = directory.join(format!("{id}.eml"));
                    let partial = directory.join(format!(".{id}.part"));
                    std::fs::write(&partial, content)?;
                    std::fs::rename(partial, whole)
                });
                let written = written.await.map_err(|error| causes(&error))?;
                written.map_err(|error| format!("mail.directory: {error}"))
            }
            Way::Off => Ok(()),
        }
    }

    fn message(&self, id: Uuid, mail: &Mail, created: Timestamp) -> Result<Message, String> {
        let failed = |error: &dyn std::error::Error| causes(error);
        let recipient: Mailbox = mail.recipient.parse().map_err(|error| failed(&error))?;
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(recipient)
            .subject(&mail.subject)
            .date(SystemTime::from(created))
            .message_id(Some(format!("<{id}@{}>", self.host)));
        if let Some(reply_to) = &self.reply_to {
            message = message.reply_to(reply_to.clone());
        }
        // RFC 3834: nobody's out-of-office note shall answer.
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        message = message.raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()));
        let parts = MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone());
        message.multipart(parts).map_err(|error| failed(&error))
    }

    /// `ok`, or why mails cannot be sent; asked for at most every ten seconds.
    pub(super) async fn condition(&self) -> String {
        let mut known = self.condition.lock().await;
        if let Some((at, condition)) = &*known
            && at.elapsed() < CONDITION_HOLDS
        {
            return condition.clone();
        }
        let condition = self.look().await;
        *known = Some((Instant::now(), condition.clone()));
        condition
    }

    /// What strangers may know: the causes are for the log.
    async fn look(&self) -> String {
        let ok = "ok".to_owned();
        match &self.way {
            Way::Off => "mail is turned off".to_owned(),
            Way::File(directory) if directory.is_dir() => ok,
            Way::File(_) => "the directory for mails is gone".to_owned(),
            Way::Smtp(transport) => {
                let asked = tokio::time::timeout(PATIENCE, transport.test_connection()).await;
                let cause = match asked {
                    Ok(Ok(true)) => return ok,
                    Ok(Ok(false)) => "it does not answer as it should".to_owned(),
                    Ok(Err(error)) => causes(&error),
                    Err(_) => "no answer in time".to_owned(),
                };
                tracing::warn!(cause, "the mail server cannot be used");
                "the mail server cannot be used".to_owned()
            }
        }
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Sender")
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

fn transport(settings: &Smtp) -> Result<AsyncSmtpTransport<Tokio1Executor>, Failure> {
    let parameters = || {
        TlsParameters::new(settings.server.clone())
            .map_err(|error| Failure::because("preparing TLS for mail.server", error))
    };
    let tls = match settings.encryption {
        Encryption::Starttls => Tls::Required(parameters()?),
        Encryption::Tls => Tls::Wrapper(parameters()?),
        Encryption::None => Tls::None,
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.server)
        .port(settings.port)
        .tls(tls)
        .timeout(Some(PATIENCE));
    if let Some((username, password)) = &settings.credentials {
        let password = password.expose_secret().to_owned();
        builder = builder.credentials(Credentials::new(username.clone(), password));
    }
    Ok(builder.build())
}
