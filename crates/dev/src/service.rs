//! A service as the launcher sees it: how it is configured, run, filled with demo data and shown.

use std::net::Ipv4Addr;
use std::path::Path;
use std::pin::Pin;

use identity_core::config::{Environment, Schema, Settings, Sources};
use identity_core::failure::Failure;
use identity_core::runtime::Runtime;
use reqwest::Client;

use crate::mail::MailPorts;
use crate::place::Place;

/// What `run` and `fill` give.
pub type Work<T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send>>;

/// How a service is configured, run and shown.
#[derive(Debug)]
pub struct Service {
    /// Its name, and that of its schema in the database.
    pub name: &'static str,
    /// Its port without `--port-base`.
    pub port: u16,
    /// The port of its metrics without `--port-base`.
    pub metrics_port: u16,
    /// What its configuration knows.
    pub schema: &'static Schema,
    /// `key=value`, for development; `{ident}` stands for where ident is, `{mail}` for the mail catcher's
    /// port, `{login}`, `{cloud}` and `{hub}` for the OpenID providers of tokenstore, `{dir}` for the directory
    /// of what is kept.
    pub settings: &'static [&'static str],
    /// The key that names the file with the key for its secrets, where it has any.
    pub key_file: Option<&'static str>,
    /// Serves until the word to stop.
    pub run: fn(Settings, Runtime) -> Work<()>,
    /// Makes the demo data where they are not there yet.
    pub fill: fn(Demo) -> Work<Filled>,
}

/// What demo data are made with, while the service runs.
#[derive(Debug)]
pub struct Demo {
    pub client: Client,
    /// Where the service is reached, without a slash at the end.
    pub url: String,
    /// The settings that the service runs with.
    pub settings: Settings,
    /// Where is kept what one signs in with.
    pub place: Place,
}

/// What is said of demo data.
#[derive(Debug)]
pub struct Filled {
    /// Lines about them, each with a word for what it says.
    pub lines: Vec<(&'static str, String)>,
    /// Lines for a shell that show something of them.
    pub examples: Vec<String>,
}

/// A service with the ports that it gets.
#[derive(Debug, Clone, Copy)]
pub struct Planned {
    pub service: &'static Service,
    pub port: u16,
    pub metrics_port: u16,
    /// The port of ident, whether or not it is started.
    pub ident_port: u16,
    /// Where mails are caught.
    pub mail: MailPorts,
}

impl Service {
    /// The schema that holds its tables: its name, where SQL takes that without quotes.
    pub fn database_schema(&self) -> String {
        self.name.replace('-', "_")
    }
}

impl Planned {
    /// Where it is reached, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// Where its metrics are.
    pub fn metrics_url(&self) -> String {
        format!("http://{}:{}/metrics", Ipv4Addr::LOCALHOST, self.metrics_port)
    }

    /// Its settings on the database at `database_url`.
    ///
    /// Its own environment variables may set what is not set here. Names that it shares with others,
    /// such as `PORT`, are not asked: they may be meant for anybody.
    pub fn settings(&self, database_url: &str, key_file: &Path) -> Result<Settings, Failure> {
        let service = self.service;
        let prefix = format!("{}__", service.schema.prefix());
        let process = Environment::of_process();
        let own = process
            .with_prefix(&prefix)
            .map(|(_, name, value)| (name.to_owned(), value.to_owned()));
        let ours = [
            format!("server.bind={}:{}", Ipv4Addr::LOCALHOST, self.port),
            format!("server.public_url={}", self.url()),
            format!("metrics.bind={}:{}", Ipv4Addr::LOCALHOST, self.metrics_port),
            format!("database.postgres.url={database_url}"),
            format!("database.postgres.schema={}", service.database_schema()),
            "database.postgres.connect_timeout=5s".to_owned(),
            // One developer is served, who does not want to wait for a browser's idle connections.
            "server.workers=2".to_owned(),
            "server.shutdown_grace=3s".to_owned(),
        ];
        let ident = format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.ident_port);
        // Behind the services, before the mail catcher: the small OpenID providers of tokenstore.
        let provider = |offset: u16| format!("http://{}:{}", Ipv4Addr::LOCALHOST, self.ident_port + offset);
        let (login, cloud, hub) = (provider(4), provider(5), provider(6));
        let mail = self.mail.smtp.to_string();
        let dir = key_file.parent().unwrap_or(key_file).display().to_string();
        let key = service
            .key_file
            .map(|key| format!("{key}={}", key_file.display()));
        let particular = service.settings.iter();
        let particular = particular.map(|setting| {
            let setting = setting.replace("{ident}", &ident).replace("{mail}", &mail);
            let setting = setting.replace("{login}", &login).replace("{cloud}", &cloud);
            setting.replace("{hub}", &hub).replace("{dir}", &dir)
        });
        let sources = Sources {
            file: None,
            environment: own.collect(),
            overrides: ours.into_iter().chain(key).chain(particular).collect(),
        };
        Settings::load(service.schema, &sources)
    }
}
