//! `idm-users create-users`: makes users at a running service over HTTP, one by one on the terminal, or
//! from a CSV file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use identity_core::failure::Failure;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::commands::PasswordSource;

/// How long the service may take for one answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where users are made, by whom, and from what.
#[derive(Debug, Clone, clap::Args)]
pub struct CreateUsers {
    /// Where the service is reached, as `https://idm.example.org`; asked for where it is not given
    #[arg(long)]
    host: Option<String>,
    /// The administrator who makes them; asked for where it is not given
    #[arg(long)]
    username: Option<String>,
    #[command(flatten)]
    password: PasswordSource,
    /// A CSV file with the columns `username`, `password` and, if need be, `admin` (true or false); a
    /// line is printed for each of its rows
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Row {
    username: String,
    password: SecretString,
    #[serde(default)]
    admin: Option<String>,
}

/// A service, and the token of an administrator.
struct Service {
    client: Client,
    host: String,
    token: String,
}

/// Makes the users.
///
/// # Errors
/// [`Failure::Other`] where the service cannot be reached or refuses any of them.
pub async fn run(command: CreateUsers) -> Result<(), Failure> {
    let host = given_or_asked(command.host, "Host: ")?;
    let username = given_or_asked(command.username, "Administrator: ")?;
    let password = command.password.read("Password: ")?;
    // Before anything is asked for by somebody who waits.
    let rows = command.csv.as_deref().map(read_csv).transpose()?;
    let service = Service::sign_in(&host, &username, &password).await?;
    match rows {
        Some(rows) => from_csv(&service, rows).await,
        None => from_terminal(&service).await,
    }
}

fn given_or_asked(given: Option<String>, prompt: &str) -> Result<String, Failure> {
    match given {
        Some(given) => Ok(given),
        None => ask(prompt),
    }
}

fn ask(prompt: &str) -> Result<String, Failure> {
    let asking = |error| Failure::because("asking on the terminal", error);
    let mut output = std::io::stderr();
    write!(output, "{prompt}")
        .and_then(|()| output.flush())
        .map_err(asking)?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(asking)?;
    Ok(line.trim().to_owned())
}

/// All rows, each with the number of its line; nothing is made of a file that cannot be read to its
/// end.
fn read_csv(file: &Path) -> Result<Vec<(u64, Row)>, Failure> {
    let wrong = |error: csv::Error| Failure::configuration(format!("--csv {}: {error}", file.display()));
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::Headers)
        .from_path(file)
        .map_err(wrong)?;
    let headers = reader.headers().map_err(wrong)?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        let line = record.position().map_or(0, csv::Position::line);
        rows.push((line, record.deserialize(Some(&headers)).map_err(wrong)?));
    }
    Ok(rows)
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
async fn from_csv(service: &Service, rows: Vec<(u64, Row)>) -> Result<(), Failure> {
    let count = rows.len();
    let bar = ProgressBar::new(u64::try_from(count).unwrap_or(u64::MAX));
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} users, {eta} left") {
        bar.set_style(style);
    }
    let mut refused = 0;
    for (line, row) in rows {
        let admin = match row.admin.as_deref().map(str::trim).unwrap_or_default() {
            "" | "false" | "no" | "0" => Ok(false),
            "true" | "yes" | "1" => Ok(true),
            other => Err(format!("admin: expected true or false, found `{other}`")),
        };
        let outcome = match admin {
            Ok(admin) => service.create(&row.username, &row.password, admin).await?,
            Err(why) => Err(why),
        };
        let report = match outcome {
            Ok(()) => format!("line {line}: {}: made", row.username),
            Err(why) => {
                refused += 1;
                format!("line {line}: {}: refused: {why}", row.username)
            }
        };
        bar.suspend(|| println!("{report}"));
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("{} of {count} users were made", count - refused);
    if refused == 0 {
        Ok(())
    } else {
        Err(Failure::Other(format!("{refused} users were refused")))
    }
}

#[expect(clippy::print_stdout, reason = "it is what the command is for")]
async fn from_terminal(service: &Service) -> Result<(), Failure> {
    let asking = |error| Failure::because("asking on the terminal", error);
    loop {
        let username = ask("New user (empty to end): ")?;
        if username.is_empty() {
            return Ok(());
        }
        let password = rpassword::prompt_password("Their password: ").map_err(asking)?;
        let again = rpassword::prompt_password("Their password again: ").map_err(asking)?;
        if password != again {
            println!("The two passwords do not match; nothing was made.");
            continue;
        }
        let admin = ask("Administrator? [y/N] ")?.to_lowercase().starts_with('y');
        match service
            .create(&username, &SecretString::from(password), admin)
            .await?
        {
            Ok(()) => println!("{username}: made"),
            Err(why) => println!("{username}: refused: {why}"),
        }
    }
}

impl Service {
    async fn sign_in(host: &str, username: &str, password: &SecretString) -> Result<Self, Failure> {
        let host = host.trim_end_matches('/');
        let host = if host.contains("://") {
            host.to_owned()
        } else {
            format!("https://{host}")
        };
        let client = Client::builder().timeout(PATIENCE).build();
        let client = client.map_err(|error| Failure::because("preparing the HTTP client", error))?;
        let document = json!({"username": username, "password": password.expose_secret()});
        let answer = client.post(format!("{host}/auth")).json(&document).send().await;
        let answer = answer.map_err(|error| Failure::because("signing in", error))?;
        let status = answer.status();
        let document: Value = answer.json().await.unwrap_or_default();
        let Some(token) = document.get("access_token").and_then(Value::as_str) else {
            return Err(Failure::Other(format!("signing in: {}", why(status, &document))));
        };
        Ok(Self {
            token: token.to_owned(),
            client,
            host,
        })
    }

    /// Makes a user; the inner error is why the service refuses this one.
    async fn create(
        &self,
        username: &str,
        password: &SecretString,
        admin: bool,
    ) -> Result<Result<(), String>, Failure> {
        let document = json!({"username": username, "password": password.expose_secret(), "admin": admin});
        let request = self.client.post(format!("{}/user", self.host)).json(&document);
        let request = request.header("Authorization", format!("JWT {}", self.token));
        let answer = request.send().await;
        let answer = answer.map_err(|error| Failure::because(&format!("making {username}"), error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(Ok(()));
        }
        let reason = why(status, &answer.json().await.unwrap_or_default());
        match status {
            StatusCode::BAD_REQUEST | StatusCode::CONFLICT => Ok(Err(reason)),
            // It is not this one user.
            _ => Err(Failure::Other(format!("making {username}: {reason}"))),
        }
    }
}

/// What the service says, or else its status.
fn why(status: StatusCode, document: &Value) -> String {
    let message = document.pointer("/error/message").and_then(Value::as_str);
    message.map_or_else(|| format!("the service answered {status}"), ToOwned::to_owned)
}
