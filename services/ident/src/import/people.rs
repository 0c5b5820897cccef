//! The first original: people and their linked accounts, under the ids that they had.

use identity_core::crypto::fernet::Keys;
use identity_core::db::GenericClient;
use identity_core::failure::Failure;
use identity_core::http::Invalid;
use identity_core::import::{Report, failed};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::originals::{self, Person, Service, Table};
use super::store::{self, Outcome};
use crate::records::{Draft, ServiceName};
use crate::state::Shared;

const PEOPLE: &str = "people";
const ACCOUNTS: &str = "linked accounts";

/// Takes everybody, in the order of their ids.
///
/// # Errors
/// What Postgres says.
pub async fn take(
    source: &impl GenericClient,
    table: &Table,
    services: Option<&Table>,
    target: &impl GenericClient,
    state: &Shared,
    report: &mut Report,
) -> Result<(), Failure> {
    let reading = |error| failed("reading people", error);
    let writing = |error| failed("writing people", error);
    let mut after = i64::MIN;
    loop {
        let people = originals::people(source, table, after).await.map_err(reading)?;
        let Some(last) = people.last() else { return Ok(()) };
        after = last.id;
        let ids: Vec<i64> = people.iter().map(|person| person.id).collect();
        let mut linked = match services {
            Some(table) => originals::services(source, table, &ids).await.map_err(reading)?,
            None => Vec::new(),
        }
        .into_iter()
        .peekable();
        for person in &people {
            let outcome = take_person(target, person, state, report)
                .await
                .map_err(writing)?;
            while let Some(service) = linked.next_if(|service| service.user == person.id) {
                take_account(target, person, service, &outcome, state, report)
                    .await
                    .map_err(writing)?;
            }
        }
    }
}

async fn take_person(
    target: &impl GenericClient,
    person: &Person,
    state: &Shared,
    report: &mut Report,
) -> Result<Outcome, identity_core::db::Error> {
    let outcome = match draft(person, None, &[]) {
        Err(why) => Outcome::Refused(why),
        Ok(_) if person.id < 1 => Outcome::Refused("no person can have this id".to_owned()),
        Ok(draft) => store::insert_person(target, person.id, &draft, state.clock.now()).await?,
    };
    match &outcome {
        Outcome::Taken => {
            report.taken(PEOPLE);
            if person.picture {
                report.note(
                    PEOPLE,
                    person.id,
                    "taken without the picture's URL, which has no place here",
                );
            }
        }
        Outcome::There => report.there(PEOPLE),
        Outcome::Refused(why) => report.refused(PEOPLE, person.id, why),
    }
    Ok(outcome)
}

async fn take_account(
    target: &impl GenericClient,
    person: &Person,
    service: Service,
    outcome: &Outcome,
    state: &Shared,
    report: &mut Report,
) -> Result<(), identity_core::db::Error> {
    let key = format!("of {} at {}", person.id, service.name);
    match outcome {
        Outcome::Refused(_) => report.refused(ACCOUNTS, key, "the person was not taken"),
        // What they unlinked here since is not linked again.
        Outcome::There => report.there(ACCOUNTS),
        Outcome::Taken => match draft(person, Some((&service, &state.keys)), &state.allowed_services) {
            Err(why) => report.refused(ACCOUNTS, key, why),
            Ok(draft) => match store::insert_accounts(target, &state.keys, person.id, &draft).await? {
                Outcome::Refused(why) => report.refused(ACCOUNTS, key, why),
                Outcome::Taken | Outcome::There => report.taken(ACCOUNTS),
            },
        },
    }
    Ok(())
}

/// The person with one account or none, as they would come over HTTP.
fn draft(
    person: &Person,
    service: Option<(&Service, &Keys)>,
    allowed: &[ServiceName],
) -> Result<Draft, String> {
    let email = person.email.as_deref().ok_or("has no email address")?;
    let mut document = json!({"name": person.name, "email": email});
    if let Some((service, keys)) = service {
        let mut account = json!({"id": service.account});
        if let (Some(sealed), Value::Object(members)) = (&service.access_token, &mut account) {
            let token = keys
                .open_unbound(sealed)
                .map_err(|_| "none of database.encryption_key's keys reads its access token")?;
            members.insert("access_token".to_owned(), json!(token.expose_secret()));
        }
        document = json!({"name": person.name, "email": email, "services": {&service.name: account}});
    }
    Draft::read(document, allowed).map_err(|errors| told(&errors))
}

/// What is wrong, in a line.
pub fn told(errors: &[Invalid]) -> String {
    let each = errors
        .iter()
        .map(|error| format!("{} {}", error.pointer, error.detail));
    each.collect::<Vec<_>>().join("; ")
}
