//! A service as its users meet it, inside the test's process: its own `run`, on a free port.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;

use identity_core::clock::Clock;
use identity_core::config::{Schema, Settings, Sources};
use identity_core::failure::Failure;
use identity_core::runtime::{Runtime, Stopper, stop};
use reqwest::{Client, Method, RequestBuilder};
use tokio::sync::{Mutex, OnceCell};

use crate::database::TestDatabase;
use crate::nginx::{self, Nginx};
use crate::wait::eventually;

/// How a service is started: its keys, the settings that its tests share, and its `run`.
pub struct Service {
    /// Its configuration.
    pub schema: &'static Schema,
    /// `key=value`, for all its tests.
    pub settings: &'static [&'static str],
    /// Serves until the word to stop.
    pub run: fn(Settings, Runtime) -> Serving,
}

/// A service at work, to its end.
pub type Serving = Pin<Box<dyn Future<Output = Result<(), Failure>>>>;

/// For each service the database that its migrations made, from which those of the tests are copied.
static TEMPLATES: LazyLock<Mutex<Templates>> = LazyLock::new(Mutex::default);

type Templates = HashMap<&'static str, Arc<OnceCell<String>>>;

/// A service that runs until the test ends.
#[derive(Debug)]
pub struct TestService {
    /// Where it is reached, without a slash at the end.
    pub url: String,
    /// Its time.
    pub clock: Clock,
    /// Its database.
    pub database: Arc<TestDatabase>,
    http: Client,
    running: Option<Running>,
    /// With `BEHIND_NGINX`: the other instance, and what leads to both.
    behind: Option<(Running, Nginx)>,
}

/// One instance.
#[derive(Debug)]
struct Running {
    address: SocketAddr,
    stopper: Stopper,
    thread: JoinHandle<Result<(), Failure>>,
}

impl Running {
    async fn ended(self) -> Result<(), Failure> {
        // It holds the word to stop, which is said where it is dropped.
        let _stopper = self.stopper;
        let thread = self.thread;
        tokio::task::spawn_blocking(move || thread.join().expect("no panic"))
            .await
            .unwrap()
    }

    async fn stop(self) -> Result<(), Failure> {
        self.stopper.stop();
        self.ended().await
    }
}

impl Service {
    /// Starts an instance on a database of its own, with `settings` (`key=value`) over the shared ones.
    pub async fn start(&self, settings: &[&str]) -> TestService {
        let template = TEMPLATES
            .lock()
            .await
            .entry(self.schema.service)
            .or_default()
            .clone();
        let template = template.get_or_init(|| self.template()).await;
        let database = Arc::new(TestDatabase::copied(template).await);
        self.start_on(database, &Clock::system(), settings).await
    }

    /// Starts an instance on a database that is there, as one more beside those that run on it.
    pub async fn start_on(
        &self,
        database: Arc<TestDatabase>,
        clock: &Clock,
        settings: &[&str],
    ) -> TestService {
        let running = self.try_start(database, clock, settings);
        for url in running.urls() {
            let answers = async || {
                let ready = running.http.get(format!("{url}/readyz")).send();
                ready.await.ok().filter(|answer| answer.status().is_success())
            };
            eventually("the service is ready", answers).await;
        }
        running
    }

    /// Starts an instance without waiting until it is ready, which it may never be.
    ///
    /// In an environment with `BEHIND_NGINX` there are two instances of everything, and an nginx that leads to both.
    #[must_use]
    pub fn try_start(&self, database: Arc<TestDatabase>, clock: &Clock, settings: &[&str]) -> TestService {
        let front = nginx::is_asked_for().then(nginx::free_address);
        // Without being told, tokenstore builds its links from where it listens.
        let told = front
            .filter(|_| self.schema.service == "tokenstore")
            .map(|front| format!("server.public_url=http://{front}"));
        let settings: Vec<&str> = told
            .as_deref()
            .into_iter()
            .chain(settings.iter().copied())
            .collect();
        let running = self.instance(&database, clock, &settings);
        let behind = front.map(|front| {
            let other = self.instance(&database, clock, &settings);
            let instances = [running.address, other.address];
            let limit = settings
                .iter()
                .find_map(|it| it.strip_prefix("server.body_limit="));
            let limit = limit.map(|limit| limit.trim_end_matches("iB"));
            (other, Nginx::start(self.schema.service, front, instances, limit))
        });
        let address = front.unwrap_or(running.address);
        let http = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        TestService {
            url: format!("http://{address}"),
            clock: clock.clone(),
            database,
            http,
            running: Some(running),
            behind,
        }
    }

    fn instance(&self, database: &TestDatabase, clock: &Clock, settings: &[&str]) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = [
            format!("database.postgres.url={}", database.url()),
            "server.workers=1".to_owned(),
        ];
        let all = self
            .settings
            .iter()
            .chain(settings)
            .map(|&setting| setting.to_owned());
        let sources = Sources {
            overrides: shared.into_iter().chain(all).collect(),
            ..Sources::default()
        };
        let (stopper, word) = stop();
        let (schema, run, its_clock) = (self.schema, self.run, clock.clone());
        // A thread of its own, like a process: what the service does does not wait for the test.
        let thread = std::thread::spawn(move || {
            let settings = Settings::load(schema, &sources)?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(run(
                settings,
                Runtime {
                    listener,
                    clock: its_clock,
                    stop: word,
                },
            ))
        });
        Running {
            address,
            stopper,
            thread,
        }
    }

    async fn template(&self) -> String {
        let database = Arc::new(TestDatabase::empty().await);
        self.start_on(database.clone(), &Clock::system(), &[])
            .await
            .stop()
            .await
            .unwrap();
        Arc::into_inner(database)
            .expect("the service is stopped")
            .into_template()
    }
}

impl TestService {
    /// Begins a request to `path`, which begins with a slash.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    /// Begins a GET.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// Begins a POST.
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// Begins a PATCH.
    pub fn patch(&self, path: &str) -> RequestBuilder {
        self.request(Method::PATCH, path)
    }

    /// Begins a DELETE.
    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.request(Method::DELETE, path)
    }

    /// Where each of its instances is reached, and then `url` itself.
    fn urls(&self) -> Vec<String> {
        let instances = self
            .running
            .iter()
            .chain(self.behind.iter().map(|(other, _)| other));
        let direct = instances.map(|instance| format!("http://{}", instance.address));
        direct.chain([self.url.clone()]).collect()
    }

    /// Says stop and gives how the service ended.
    ///
    /// # Errors
    /// The service's own failure.
    pub async fn stop(mut self) -> Result<(), Failure> {
        let running = self.running.take().expect("it runs");
        let ended = running.stop().await;
        match self.behind.take() {
            Some((other, _nginx)) => other.stop().await.and(ended),
            None => ended,
        }
    }

    /// Waits until the service ends by itself, and gives how.
    ///
    /// # Errors
    /// The service's own failure.
    pub async fn ended(mut self) -> Result<(), Failure> {
        let ended = self.running.take().expect("it runs").ended().await;
        match self.behind.take() {
            Some((other, _nginx)) => other.ended().await.and(ended),
            None => ended,
        }
    }
}

impl Drop for TestService {
    fn drop(&mut self) {
        let others = self.behind.take().map(|(other, _nginx)| other);
        let instances: Vec<Running> = self.running.take().into_iter().chain(others).collect();
        for instance in &instances {
            instance.stopper.stop();
        }
        for instance in instances {
            drop(instance.thread.join());
        }
    }
}
