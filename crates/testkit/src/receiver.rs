//! A receiver of notifications that takes them, refuses them or lets them hang, as the test says.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::Value;

/// What the receiver does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers with this status at once.
    Answer(u16),
    /// Answers with this status and this `Location`.
    Redirect(u16, String),
    /// Answers with this status and this document.
    Json(u16, Value),
    /// Does not answer for so long, and then with 200.
    Hang(Duration),
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body as it came.
    pub bytes: Vec<u8>,
    /// Its body as text, with signs in place of what is none.
    pub body: String,
    /// What was answered.
    pub status: u16,
}

impl Received {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

type Decide = dyn Fn(&Received) -> Behaviour + Send;

struct Shared {
    received: Mutex<Vec<Received>>,
    decide: Mutex<Box<Decide>>,
}

/// Listens until the test ends.
pub struct Receiver {
    /// Where it is reached, without a slash at the end.
    pub url: String,
    shared: Arc<Shared>,
    server: ServerHandle,
}

impl Receiver {
    /// Starts one that answers 204 to all.
    #[must_use]
    pub fn start() -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// Starts one where somebody else has chosen the address.
    #[must_use]
    pub fn start_on(listener: TcpListener) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            decide: Mutex::new(Box::new(|_| Behaviour::Answer(204))),
        });
        let data = web::Data::from(shared.clone());
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let app = move || {
                App::new()
                    .app_data(data.clone())
                    .default_service(web::to(receive))
            };
            let server = HttpServer::new(app)
                .workers(1)
                .disable_signals()
                .listen(listener)
                .unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let server = server.run();
                sender.send(server.handle()).unwrap();
                server.await.unwrap();
            });
        });
        Self {
            url,
            shared,
            server: receiver.recv().unwrap(),
        }
    }

    /// Decides from now on what is done with each request; the status in it is not yet known.
    pub fn behave(&self, decide: impl Fn(&Received) -> Behaviour + Send + 'static) {
        *self.shared.decide.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(decide);
    }

    /// All that came so far, in the order of its coming.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared
            .received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What came and was taken with a 2xx.
    #[must_use]
    pub fn taken(&self) -> Vec<Received> {
        self.received()
            .into_iter()
            .filter(|received| (200..300).contains(&received.status))
            .collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // The command is sent when `stop` is called; nobody needs to wait for its end.
        drop(self.server.stop(false));
    }
}

async fn receive(shared: web::Data<Shared>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let text = |value: &actix_web::http::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let headers = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect();
    let mut received = Received {
        method: request.method().to_string(),
        path: request.path().to_owned(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
        bytes: body.into(),
        status: 0,
    };
    let behaviour = shared.decide.lock().unwrap_or_else(PoisonError::into_inner)(&received);
    received.status = match &behaviour {
        Behaviour::Answer(status) | Behaviour::Redirect(status, _) | Behaviour::Json(status, _) => *status,
        Behaviour::Hang(_) => 0,
    };
    shared
        .received
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(received);
    match behaviour {
        Behaviour::Answer(status) => HttpResponse::new(StatusCode::from_u16(status).unwrap()),
        Behaviour::Redirect(status, location) => HttpResponse::build(StatusCode::from_u16(status).unwrap())
            .insert_header(("location", location))
            .finish(),
        Behaviour::Json(status, document) => {
            HttpResponse::build(StatusCode::from_u16(status).unwrap()).json(document)
        }
        Behaviour::Hang(time) => {
            tokio::time::sleep(time).await;
            HttpResponse::Ok().finish()
        }
    }
}
