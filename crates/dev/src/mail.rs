//! The mail catcher: takes what the services send over SMTP, passes nothing on, and shows it on a page.

use std::net::{Ipv4Addr, TcpListener};

use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, HttpServer, web};
use askama::Template;
use identity_core::failure::Failure;
use identity_core::http::page;
use mailbox::{Mail, Mailbox, Mails};

use crate::report::Entry;

/// The ports of the catcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailPorts {
    /// Where mails are sent to.
    pub smtp: u16,
    /// Where they are shown.
    pub page: u16,
}

/// The catcher at work, until it is dropped.
#[derive(Debug)]
pub struct Catcher {
    _mailbox: Mailbox,
    page: actix_web::dev::ServerHandle,
    ports: MailPorts,
}

impl Catcher {
    /// Starts it on listeners for `ports`.
    pub fn start(smtp: TcpListener, shown: TcpListener, ports: MailPorts) -> Result<Self, Failure> {
        let starting = |error| Failure::because("starting the mail catcher", error);
        let mailbox = Mailbox::serve(smtp).map_err(starting)?;
        let mails = web::Data::new(mailbox.handle());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(mails.clone())
                .configure(page::routes)
                .route("/", web::get().to(list))
        });
        let server = server
            .workers(1)
            .disable_signals()
            .listen(shown)
            .map_err(starting)?
            .run();
        let page = server.handle();
        tokio::spawn(server);
        Ok(Self {
            _mailbox: mailbox,
            page,
            ports,
        })
    }

    /// What is said of it.
    pub fn entry(&self) -> Entry {
        let MailPorts { smtp, page } = self.ports;
        Entry {
            name: "mails",
            lines: vec![
                ("page", format!("http://{}:{page}/", Ipv4Addr::LOCALHOST)),
                (
                    "smtp",
                    format!("{}:{smtp}, which passes nothing on", Ipv4Addr::LOCALHOST),
                ),
            ],
        }
    }
}

impl Drop for Catcher {
    fn drop(&mut self) {
        // The command is sent when `stop` is called; nobody needs to wait for its end.
        drop(self.page.stop(false));
    }
}

#[derive(Template)]
#[template(path = "mails.html")]
struct Page {
    mails: Vec<Shown>,
}

struct Shown {
    subject: String,
    from: String,
    to: String,
    date: String,
    lines: Vec<String>,
}

impl Shown {
    fn of(mail: &Mail) -> Self {
        Self {
            subject: mail.subject(),
            from: mail.header("From"),
            to: mail.to.join(", "),
            date: mail.header("Date"),
            lines: mail.text().lines().map(ToOwned::to_owned).collect(),
        }
    }
}

/// The mails, the newest first.
async fn list(mails: web::Data<Mails>) -> HttpResponse {
    let page = Page {
        mails: mails.all().iter().rev().map(Shown::of).collect(),
    };
    match page.render() {
        Ok(html) => page::page(StatusCode::OK, html),
        Err(error) => {
            tracing::error!(%error, "the page of mails");
            HttpResponse::InternalServerError().finish()
        }
    }
}
