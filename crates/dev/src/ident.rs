//! ident in the table of services: open to everybody, as there are no tokens yet, and with people whose
//! accounts at other services are linked.

use ident::config::{Config, SCHEMA};
use identity_core::failure::Failure;
use reqwest::{Client, StatusCode};
use serde_json::{Map, json};

use crate::services::Service;

/// How ident is run.
pub const SERVICE: Service = Service {
    name: "ident",
    port: 5000,
    metrics_port: 9590,
    schema: &SCHEMA,
    settings: &["auth.records=open", "outgoing.allow_private=true"],
    key_file: "database.encryption_key_file",
    run: |settings, runtime| {
        Box::pin(async move {
            let config = Config::read(&settings)?;
            // On the heap by itself: it is too large a part for another future.
            Box::pin(ident::run(config, runtime)).await
        })
    },
    fill: |client, url| Box::pin(fill(client, url)),
    example: "/?name=mei",
};

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

async fn fill(client: Client, url: String) -> Result<String, Failure> {
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
        let asking = |error| Failure::because(&format!("making the demo person {name}"), error);
        let answer = client
            .post(format!("{url}/"))
            .json(&person)
            .send()
            .await
            .map_err(asking)?;
        match answer.status() {
            // A conflict: from an earlier start.
            StatusCode::CREATED | StatusCode::CONFLICT => {}
            status => {
                return Err(Failure::Other(format!(
                    "making the demo person {name}: ident answered {status}"
                )));
            }
        }
    }
    Ok(format!(
        "{} people with linked accounts at github, gitlab and orcid",
        PEOPLE.len()
    ))
}
