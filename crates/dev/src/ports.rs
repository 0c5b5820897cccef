//! Which port everything gets, and whether all of them are free: those that are not are named together,
//! before anything is started.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use identity_core::failure::Failure;

use crate::arguments::Options;
use crate::mail::MailPorts;
use crate::service::{Planned, Service};
use crate::services::SERVICES;

/// Postgres' port without `--port-base`.
const POSTGRES: u16 = 54_329;

/// The mail catcher's ports without `--port-base`.
const MAIL: MailPorts = MailPorts {
    smtp: 2525,
    page: 8025,
};

/// How far from the port base the mail catcher is, its page behind it.
const MAIL_OFFSET: u16 = 7;

/// How far from the port base Postgres is.
const POSTGRES_OFFSET: u16 = 9;

/// How far from the port base the first service's metrics are.
const METRICS_OFFSET: u16 = 10;

/// How long the Postgres of a killed launcher may take to give its port back.
const PATIENCE: Duration = Duration::from_secs(30);

/// The services to start, and the ports.
#[derive(Debug)]
pub struct Plan {
    pub services: Vec<Planned>,
    /// Postgres' port, should it be ours.
    pub postgres: u16,
    /// Where mails are caught.
    pub mail: MailPorts,
}

/// Where everything that runs in this process listens.
#[derive(Debug)]
pub struct Listeners {
    pub services: Vec<TcpListener>,
    /// For SMTP, and for the page.
    pub mail: (TcpListener, TcpListener),
}

impl Plan {
    /// What `options` ask for.
    pub fn new(options: &Options) -> Self {
        let wanted = |service: &Service| {
            options.only.is_empty() || options.only.iter().any(|only| only == service.name)
        };
        let mail = options.port_base.map_or(MAIL, |base| MailPorts {
            smtp: base + MAIL_OFFSET,
            page: base + MAIL_OFFSET + 1,
        });
        let ident_port = options.port_base.unwrap_or(crate::ident::SERVICE.port);
        let planned = SERVICES.iter().zip(0..).filter(|(service, _)| wanted(service));
        let services = planned.map(|(service, index)| Planned {
            service,
            port: options.port_base.map_or(service.port, |base| base + index),
            metrics_port: options
                .port_base
                .map_or(service.metrics_port, |base| base + METRICS_OFFSET + index),
            ident_port,
            mail,
        });
        Self {
            services: services.collect(),
            postgres: options.port_base.map_or(POSTGRES, |base| base + POSTGRES_OFFSET),
            mail,
        }
    }

    /// Listens for each of the services, and for the mail catcher (SMTP and page), once every port is
    /// found to be free.
    ///
    /// Errors: all ports that are taken, each with what it is for.
    pub fn listen(&self, own_postgres: bool) -> Result<Listeners, Failure> {
        let mut refused = Vec::new();
        let mut listen = |port, what: String| match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => Some(listener),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                refused.push(format!("port {port} ({what}) is taken"));
                None
            }
            Err(error) => {
                refused.push(format!("port {port} ({what}): {error}"));
                None
            }
        };
        let mut listeners = Vec::new();
        for Planned {
            service,
            port,
            metrics_port,
            ..
        } in &self.services
        {
            listeners.extend(listen(*port, service.name.to_owned()));
            // The service itself listens here later; now it is only asked for.
            let _ = listen(*metrics_port, format!("metrics of {}", service.name));
        }
        let mail = listen(self.mail.smtp, "mails".to_owned())
            .zip(listen(self.mail.page, "the page of mails".to_owned()));
        if own_postgres {
            let _ = listen(self.postgres, "Postgres".to_owned());
        }
        if let Some(mail) = mail.filter(|_| refused.is_empty()) {
            return Ok(Listeners {
                services: listeners,
                mail,
            });
        }
        let advice = free_base().map_or_else(String::new, |base| format!(": `cargo dev --port-base {base}`"));
        Err(Failure::Other(format!(
            "on 127.0.0.1 {}; free them or use others{advice}",
            refused.join(", ")
        )))
    }

    /// Returns when Postgres' port is free, or patience over.
    pub async fn wait_for_postgres_port(&self) {
        let begun = Instant::now();
        while !is_free(self.postgres) && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A port base that would do now, a round number.
fn free_base() -> Option<u16> {
    let last = METRICS_OFFSET + u16::try_from(SERVICES.len()).ok()?;
    (7..60)
        .map(|thousand| thousand * 1000)
        .find(|base| (*base..=base + last).all(is_free))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(port_base: Option<u16>) -> Options {
        Options {
            only: Vec::new(),
            port_base,
            fresh: false,
            verbose: false,
            detached: false,
        }
    }

    #[test]
    fn no_port_is_planned_twice() {
        for base in [None, Some(1024), Some(65_500)] {
            let plan = Plan::new(&options(base));
            let mut ports: Vec<u16> = plan
                .services
                .iter()
                .flat_map(|planned| [planned.port, planned.metrics_port])
                .collect();
            ports.extend([plan.postgres, plan.mail.smtp, plan.mail.page]);
            let count = ports.len();
            ports.sort_unstable();
            ports.dedup();
            assert_eq!(ports.len(), count, "{ports:?}");
        }
    }

    #[test]
    fn a_port_base_moves_everything() {
        let plan = Plan::new(&options(Some(7000)));
        let first = plan.services.first().unwrap();
        assert_eq!(
            (first.port, first.metrics_port, plan.postgres),
            (7000, 7010, 7009)
        );
        assert_eq!((plan.mail.smtp, plan.mail.page), (7007, 7008));
        assert!(plan.services.iter().all(|planned| planned.ident_port == 7000));
    }

    #[test]
    fn every_taken_port_is_named_with_what_it_is_for() {
        let taken: Vec<_> = (0..2)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let mut ports = taken.iter().map(|listener| listener.local_addr().unwrap().port());
        let mut plan = Plan::new(&options(None));
        plan.postgres = ports.next().unwrap();
        plan.services.first_mut().unwrap().port = ports.next().unwrap();
        let error = plan.listen(true).unwrap_err().to_string();
        for listener in &taken {
            assert!(
                error.contains(&format!("port {} (", listener.local_addr().unwrap().port())),
                "{error}"
            );
        }
        assert!(error.contains("--port-base"), "{error}");
    }
}
