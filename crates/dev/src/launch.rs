//! From nothing to everything running, and back, in this order: lock, log, ports, Postgres, services,
//! demo data, report.

use std::fs::File;
use std::net::TcpListener;

use identity_core::config::Settings;
use identity_core::failure::Failure;
use identity_core::runtime::Stop;
use reqwest::Client;

use crate::arguments::Options;
use crate::database::{self, Database};
use crate::given;
use crate::lock::Lock;
use crate::log::{self, Shown};
use crate::mail::Catcher;
use crate::place::{Place, shown};
use crate::ports::{Listeners, Plan};
use crate::report::{self, Entry, say};
use crate::running::Running;
use crate::service::{Demo, Filled, Planned};

/// Runs what `options` ask for until SIGINT or SIGTERM.
pub async fn run(options: &Options, place: &Place) -> Result<(), Failure> {
    if options.detached {
        // Away from the terminal, whose end would be ours too.
        rustix::process::setsid().map_err(|error| Failure::because("leaving the terminal", error))?;
    }
    let interrupted = Stop::at_signals();
    let mut lock = Lock::take(&place.lock_file())?;
    let shown = match options {
        Options { detached: true, .. } => Shown::Nothing,
        Options { verbose: true, .. } => Shown::All,
        _ => Shown::Warnings,
    };
    let log = log::start(&place.log_file(), shown)?;

    let given = database::given();
    let plan = Plan::new(options);
    if given.is_none() && lock.was_left() {
        tokio::select! {
            () = plan.wait_for_postgres_port() => {}
            () = interrupted.said() => return Ok(()),
        }
    }
    let listeners = plan.listen(given.is_none())?;
    lock.begin()?;
    let database = if let Some(url) = given {
        Database::Given(url)
    } else {
        tokio::select! {
            started = Database::start(place, plan.postgres, options.fresh) => started?,
            () = interrupted.said() => {
                // Its start is given up, and Postgres ends by itself: the lock's file tells the next launcher.
                say("\nStopped before Postgres was ready.");
                return Ok(());
            }
        }
    };
    let launch = Launch {
        options,
        place,
        log: &log,
        database: &database,
        plan: &plan,
    };
    let served = launch.serve(listeners, &interrupted).await;
    let stopped = database.stop().await;
    if stopped.is_ok() {
        lock.finish()?;
    }
    served.and(stopped)?;
    say("Stopped. The data are kept for the next start.");
    Ok(())
}

/// What the services are started with.
struct Launch<'a> {
    options: &'a Options,
    place: &'a Place,
    log: &'a File,
    database: &'a Database,
    plan: &'a Plan,
}

impl Launch<'_> {
    fn planned(&self) -> &[Planned] {
        &self.plan.services
    }

    /// Runs the services until the word to stop, and stops them.
    async fn serve(&self, listeners: Listeners, interrupted: &Stop) -> Result<(), Failure> {
        let mut running = Running::new();
        let (smtp, page) = listeners.mail;
        // Before the services, and after them: none of their mails is refused.
        let catcher = Catcher::start(smtp, page, self.plan.mail)?;
        let ended = tokio::select! {
            ended = self.go_on(&mut running, listeners.services, &catcher) => ended,
            () = interrupted.said() => {
                say("\nStopping the services, then Postgres …");
                Ok(())
            }
        };
        let stopped = running.stop().await;
        ended.and(stopped)
    }

    /// Starts the services and watches them; returns for a failure only.
    async fn go_on(
        &self,
        running: &mut Running,
        listeners: Vec<TcpListener>,
        catcher: &Catcher,
    ) -> Result<(), Failure> {
        let (url, key_file) = (self.database.url(), self.place.key_file()?);
        let settings = self
            .planned()
            .iter()
            .map(|planned| planned.settings(&url, &key_file));
        let settings = settings.collect::<Result<Vec<_>, _>>()?;
        if let (Database::Given(_), Some(any)) = (self.database, settings.first()) {
            self.prepare_given(any).await?;
        }
        let client = Client::builder().no_proxy().build();
        let client = client.map_err(|error| Failure::because("preparing the HTTP client", error))?;
        let names: Vec<_> = self
            .planned()
            .iter()
            .map(|planned| planned.service.name)
            .collect();
        say(&format!("Starting {} …", names.join(", ")));
        for ((planned, settings), listener) in self.planned().iter().zip(settings).zip(listeners) {
            running.start(planned.service, settings, listener);
        }
        running.ready(&client, self.planned()).await.map_err(|failure| {
            Failure::Other(format!(
                "{failure} (if it is about kept data: `cargo dev --fresh` begins anew)"
            ))
        })?;
        self.report(&client, catcher).await?;
        Err(running.first_end().await)
    }

    /// Makes the schemas in a database that is not ours.
    async fn prepare_given(&self, settings: &Settings) -> Result<(), Failure> {
        say("Using the database of DATABASE_URL.");
        let client = given::connect(settings).await?;
        if self.options.fresh {
            for schema in given::drop_made(&client).await? {
                say(&format!("Dropped the schema {schema}, made by an earlier start."));
            }
        }
        for planned in self.planned() {
            given::make(&client, &planned.service.database_schema()).await?;
        }
        Ok(())
    }

    /// Makes the demo data and tells where everything is.
    async fn report(&self, client: &Client, catcher: &Catcher) -> Result<(), Failure> {
        let mut entries = Vec::new();
        let mut lines = Vec::new();
        for planned in self.planned() {
            let (service, url) = (planned.service, planned.url());
            let demo = Demo {
                client: client.clone(),
                url: url.clone(),
                settings: planned.settings(&self.database.url(), &self.place.key_file()?)?,
                place: self.place.clone(),
            };
            let Filled {
                lines: about,
                examples,
            } = (service.fill)(demo).await?;
            lines.extend(examples);
            let mut entry = Entry {
                name: service.name,
                lines: vec![
                    ("url", url.clone()),
                    ("docs", format!("{url}/docs")),
                    ("metrics", planned.metrics_url()),
                ],
            };
            entry.lines.extend(about);
            entries.push(entry);
        }
        entries.push(catcher.entry());
        entries.push(self.database.entry());
        entries.push(Entry {
            name: "launcher",
            lines: vec![("log", shown(&self.place.log_file()))],
        });
        lines.push(self.database.psql());
        let lines: Vec<_> = lines.iter().map(|line| format!("  {line}")).collect();
        let how = if self.options.detached {
            "`cargo dev stop`"
        } else {
            "Ctrl-C"
        };
        say(&format!(
            "\n{}\n\nTry:\n{}\n\n{how} stops everything; the data are kept, `cargo dev --fresh` begins anew.",
            report::table(&entries),
            lines.join("\n")
        ));
        if self.options.detached {
            self.leave_terminal()?;
        }
        Ok(())
    }

    /// Ends the report to the launcher in the foreground; what may still be printed goes to the log.
    fn leave_terminal(&self) -> Result<(), Failure> {
        report::end();
        let moved = rustix::stdio::dup2_stdout(self.log).and_then(|()| rustix::stdio::dup2_stderr(self.log));
        moved.map_err(|error| Failure::because("leaving the terminal", error))
    }
}
