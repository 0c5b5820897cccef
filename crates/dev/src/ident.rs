//! ident in the table of services: with an administrator, a machine client, and people whose accounts
//! at other services are linked.

use data_encoding::BASE64URL_NOPAD;
use ident::Instance;
use ident::config::{Config, SCHEMA};
use ident::users::commands::{self as users, UsersCommand};
use identity_core::clock::Clock;
use identity_core::crypto::random;
use identity_core::failure::Failure;
use reqwest::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::place::shown;
use crate::service::{Demo, Filled, Service};

/// How ident is run.
pub const SERVICE: Service = Service {
    name: "ident",
    port: 5000,
    metrics_port: 9590,
    schema: &SCHEMA,
    settings: &["outgoing.allow_private=true"],
    key_file: Some("database.encryption_key_file"),
    run: |settings, runtime| {
        Box::pin(async move {
            let config = Config::read(&settings)?;
            // On the heap by itself: it is too large a part for another future.
            Box::pin(ident::run(config, runtime)).await
        })
    },
    fill: |demo| Box::pin(fill(demo)),
};

/// With which the administrator signs in.
const USERNAME: &str = "admin";
/// Where the administrator's password is kept.
const PASSWORD_FILE: &str = "admin.password";
/// Where the id and the secret of the demo client are kept, with a colon between them.
const CLIENT_FILE: &str = "demo.client";

struct Person {
    name: &'static str,
    email: &'static str,
    /// Service and id there.
    accounts: &'static [(&'static str, &'static str)],
}

const PEOPLE: [Person; 6] = [
    Person {
        name: "Mei Tanimoto",
        email: "mei@example.org",
        accounts: &[("github", "1001"), ("gitlab", "meit")],
    },
    Person {
        name: "Jonas Kellermann",
        email: "jonas@example.org",
        accounts: &[("github", "1002")],
    },
    Person {
        name: "Amina Diarra",
        email: "amina@example.org",
        accounts: &[("github", "1003"), ("orcid", "1003")],
    },
    Person {
        name: "Lucía Ferreiro",
        email: "lucia@example.org",
        accounts: &[("gitlab", "lferreiro")],
    },
    Person {
        name: "Tomasz Wilk",
        email: "tomasz@example.org",
        accounts: &[("orcid", "1005")],
    },
    Person {
        name: "Ingrid Solheim-Bakke",
        email: "ingrid@example.org",
        accounts: &[],
    },
];

async fn fill(demo: Demo) -> Result<Filled, Failure> {
    let password = || BASE64URL_NOPAD.encode(&random::bytes::<18>());
    let password = demo.place.kept(PASSWORD_FILE, password)?;
    let token = administrator_token(&demo, &password).await?;
    make_people(&demo, &token).await?;
    let client = demo_client(&demo, &token).await?;
    let url = &demo.url;
    let people = format!(
        "{} people with linked accounts at github, gitlab and orcid",
        PEOPLE.len()
    );
    let client_file = shown(&demo.place.secret_file(CLIENT_FILE));
    Ok(Filled {
        lines: vec![
            ("demo", people),
            ("user", format!("{USERNAME}, who may do everything")),
            ("password", password.clone()),
            ("client", format!("may see people; id:secret in {client_file}")),
        ],
        examples: vec![
            format!("TOKEN=$(curl -s {url}/auth/login -H 'content-type: application/json' \\"),
            format!(r#"  -d '{{"username":"{USERNAME}","password":"{password}"}}' |"#),
            r#"  sed 's/.*"token":"\([^"]*\)".*/\1/')"#.to_owned(),
            format!("curl -s -H \"authorization: Bearer $TOKEN\" '{url}/?name=mei'"),
            format!("curl -s -d grant_type=client_credentials {url}/oauth2/token \\"),
            format!("  -u '{client}'"),
        ],
    })
}

/// A token of the administrator, who is made where they cannot sign in.
async fn administrator_token(demo: &Demo, password: &str) -> Result<String, Failure> {
    if let Some(token) = sign_in(demo, password).await? {
        return Ok(token);
    }
    let made = make_administrator(demo).await;
    let file = shown(&demo.place.secret_file(PASSWORD_FILE));
    made.map_err(|failure| {
        Failure::Other(format!(
            "the administrator cannot sign in with the password in {file}, nor be made: {failure} (put the right \
             password there, or begin anew with `cargo dev --fresh`)"
        ))
    })?;
    let token = sign_in(demo, password).await?;
    token.ok_or_else(|| Failure::Other("ident does not know the administrator that was just made".to_owned()))
}

/// Makes the administrator as an operator does, by the command.
async fn make_administrator(demo: &Demo) -> Result<(), Failure> {
    let config = Config::read(&demo.settings)?;
    let instance = Box::pin(Instance::open(config, Clock::system())).await?;
    let command = UsersCommand::Create {
        username: USERNAME.to_owned(),
        name: "Ada Administrator".to_owned(),
        email: "admin@example.org".to_owned(),
        password_stdin: false,
        password_file: Some(demo.place.secret_file(PASSWORD_FILE)),
        admin: true,
        permissions: Vec::new(),
        json: false,
    };
    Box::pin(users::run(command, &instance.shared)).await
}

/// A token of the administrator; none where this is not their password.
async fn sign_in(demo: &Demo, password: &str) -> Result<Option<String>, Failure> {
    let what = "signing in as the administrator";
    let body = json!({"username": USERNAME, "password": password});
    let request = demo.client.post(format!("{}/auth/login", demo.url)).json(&body);
    let answer = request.send().await;
    let answer = answer.map_err(|error| Failure::because(what, error))?;
    match answer.status() {
        StatusCode::OK => Ok(Some(text(what, &document(what, answer).await?, "token")?)),
        StatusCode::UNAUTHORIZED => Ok(None),
        status => Err(refused(what, status)),
    }
}

async fn make_people(demo: &Demo, token: &str) -> Result<(), Failure> {
    for Person {
        name,
        email,
        accounts,
    } in PEOPLE
    {
        let services: Map<_, _> = accounts
            .iter()
            .map(|(service, id)| ((*service).to_owned(), json!({ "id": id })))
            .collect();
        let person = json!({"name": name, "email": email, "services": services});
        let what = format!("making the demo person {name}");
        let request = demo.client.post(format!("{}/", demo.url)).bearer_auth(token);
        let answer = request.json(&person).send().await;
        let answer = answer.map_err(|error| Failure::because(&what, error))?;
        match answer.status() {
            // A conflict: from an earlier start.
            StatusCode::CREATED | StatusCode::CONFLICT => {}
            status => return Err(refused(&what, status)),
        }
    }
    Ok(())
}

/// Id and secret of the demo client, which is made where the kept ones are not good.
async fn demo_client(demo: &Demo, token: &str) -> Result<String, Failure> {
    if let Some(kept) = demo.place.find(CLIENT_FILE)?
        && is_client(demo, &kept).await?
    {
        return Ok(kept);
    }
    let what = "making the demo client";
    let client = json!({"name": "demo", "permissions": ["users:read"]});
    let request = demo.client.post(format!("{}/api/clients", demo.url));
    let answer = request.bearer_auth(token).json(&client).send().await;
    let answer = answer.map_err(|error| Failure::because(what, error))?;
    if answer.status() != StatusCode::CREATED {
        return Err(refused(what, answer.status()));
    }
    let made = document(what, answer).await?;
    let client = format!(
        "{}:{}",
        text(what, &made, "id")?,
        text(what, &made, "client_secret")?
    );
    demo.place.keep(CLIENT_FILE, &client)?;
    Ok(client)
}

/// Whether ident gives a token for this id and secret.
async fn is_client(demo: &Demo, client: &str) -> Result<bool, Failure> {
    let what = "asking for a token as the demo client";
    let (id, secret) = client.split_once(':').unwrap_or((client, ""));
    let request = demo.client.post(format!("{}/oauth2/token", demo.url));
    let request = request
        .basic_auth(id, Some(secret))
        .form(&[("grant_type", "client_credentials")]);
    let answer = request
        .send()
        .await
        .map_err(|error| Failure::because(what, error))?;
    match answer.status() {
        StatusCode::OK => Ok(true),
        StatusCode::UNAUTHORIZED => Ok(false),
        status => Err(refused(what, status)),
    }
}

async fn document(what: &str, answer: Response) -> Result<Value, Failure> {
    answer.json().await.map_err(|error| Failure::because(what, error))
}

fn text(what: &str, document: &Value, member: &str) -> Result<String, Failure> {
    let text = document.get(member).and_then(Value::as_str);
    let text = text.ok_or_else(|| Failure::Other(format!("{what}: the answer has no {member}")))?;
    Ok(text.to_owned())
}

fn refused(what: &str, status: StatusCode) -> Failure {
    Failure::Other(format!("{what}: ident answered {status}"))
}
