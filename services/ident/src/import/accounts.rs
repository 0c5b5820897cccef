//! The second original: who signs in, and machine clients. Hashes of passwords and secrets are taken as they are,
//! and made anew with our costs when they are used first.

use identity_core::crypto::jwt::PublicKey;
use identity_core::db::{Error, GenericClient};
use identity_core::failure::Failure;
use identity_core::import::{Report, failed};
use serde_json::json;

use super::originals::{self, Table};
use super::people::told;
use super::store::{self, Outcome};
use crate::clients::Client;
use crate::records::{Draft, checked_text};
use crate::state::Shared;
use crate::tokens::Permission;
use crate::users::{Credentials, Username};

const USERS: &str = "users";
const CLIENTS: &str = "clients";
/// The most memory that the check of a hash may take, in KiB: what it takes is the hash's to say.
const MOST_MEMORY_KIB: u32 = 256 * 1024;
/// The most passes over it.
const MOST_ITERATIONS: u32 = 64;

/// Takes everybody who signs in: the person of the same address gets the credentials, and who is none yet becomes
/// one.
///
/// # Errors
/// What Postgres says.
pub async fn take_users(
    source: &impl GenericClient,
    table: &Table,
    target: &impl GenericClient,
    state: &Shared,
    domain: Option<&str>,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let users = originals::users(source, table, after).await;
        let users = users.map_err(|error| failed("reading users", error))?;
        let Some(last) = users.last() else { return Ok(()) };
        after = Some(last.id);
        for user in users {
            let taken = take_user(target, &user, state, domain, report).await;
            taken.map_err(|error| failed("writing users", error))?;
        }
    }
}

async fn take_user(
    target: &impl GenericClient,
    user: &originals::User,
    state: &Shared,
    domain: Option<&str>,
    report: &mut Report,
) -> Result<(), Error> {
    let key = format!("{} ({})", user.id, user.username);
    let draft = match person(&user.username, domain) {
        Ok(draft) => draft,
        Err(why) => {
            report.refused(USERS, key, why);
            return Ok(());
        }
    };
    let hash = user.password_hash.as_deref().map(usable_hash);
    let (permissions, unknown) = permissions(&user.permissions, user.is_root);
    let credentials = Credentials {
        username: Some(Username::new(&user.username)),
        password_hash: hash.and_then(Result::ok),
        permissions,
        disabled: false,
    };
    match store::insert_user(target, &draft, &credentials, state.clock.now()).await? {
        Outcome::There => report.there(USERS),
        Outcome::Refused(why) => report.refused(USERS, key, why),
        Outcome::Taken => {
            report.taken(USERS);
            if credentials.password_hash.is_none() {
                let why = user
                    .password_hash
                    .as_deref()
                    .map(usable_hash)
                    .and_then(Result::err);
                let why = why.unwrap_or("it is missing");
                report.note(USERS, &key, format!("taken without the password: {why}"));
            }
            if !unknown.is_empty() {
                let what = format!(
                    "taken without permissions that do not exist here: {}",
                    unknown.join(", ")
                );
                report.note(USERS, &key, what);
            }
        }
    }
    Ok(())
}

/// The person somebody is who signs in with this name: the original knows nothing else of them.
fn person(username: &str, domain: Option<&str>) -> Result<Draft, String> {
    let username = checked_text(username, 255).map_err(|detail| format!("the username {detail}"))?;
    let email = match (username.contains('@'), domain) {
        (true, _) => username.clone(),
        (false, Some(domain)) => format!("{username}@{domain}"),
        (false, None) => return Err("the username is no address: give --email-domain".to_owned()),
    };
    let document = json!({"name": username, "email": email});
    Draft::read(document, &[]).map_err(|errors| told(&errors))
}

/// Takes every client under its id.
///
/// # Errors
/// What Postgres says.
pub async fn take_clients(
    source: &impl GenericClient,
    table: &Table,
    target: &impl GenericClient,
    state: &Shared,
    static_signatures: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let clients = originals::clients(source, table, after).await;
        let clients = clients.map_err(|error| failed("reading clients", error))?;
        let Some(last) = clients.last() else { return Ok(()) };
        after = Some(last.id);
        for client in clients {
            let taken = take_client(target, &client, state, static_signatures, report).await;
            taken.map_err(|error| failed("writing clients", error))?;
        }
    }
}

async fn take_client(
    target: &impl GenericClient,
    original: &originals::Client,
    state: &Shared,
    static_signatures: bool,
    report: &mut Report,
) -> Result<(), Error> {
    let hash = original.secret_hash.as_deref().map(usable_hash).transpose();
    let key = original
        .public_key
        .as_deref()
        .map(PublicKey::from_pem)
        .transpose();
    // A client must present all that it is registered with: with half of it, it would need less than before.
    let (hash, key) = match (hash, key) {
        (Err(why), _) => {
            report.refused(CLIENTS, original.id, format!("the secret: {why}"));
            return Ok(());
        }
        (_, Err(error)) => {
            report.refused(CLIENTS, original.id, format!("the public key: {error}"));
            return Ok(());
        }
        (Ok(None), Ok(None)) => {
            report.refused(CLIENTS, original.id, "it has neither a secret nor a public key");
            return Ok(());
        }
        (Ok(hash), Ok(key)) => (hash, key),
    };
    let (permissions, unknown) = permissions(&original.permissions, false);
    let client = Client {
        id: original.id,
        name: original.id.to_string(),
        permissions,
        audiences: Vec::new(),
        static_signature: static_signatures && key.is_some(),
        public_key: key.as_ref().map(|key| key.pem().to_owned()),
        disabled: false,
        secrets: Vec::new(),
    };
    if !store::insert_client(target, &client, hash.as_deref(), state.clock.now()).await? {
        report.there(CLIENTS);
        return Ok(());
    }
    report.taken(CLIENTS);
    if client.public_key.is_some() && !static_signatures {
        let what = "taken, but must sign assertions from now on; --static-signatures would go on to take what it signs";
        report.note(CLIENTS, client.id, what);
    }
    if !unknown.is_empty() {
        let what = format!(
            "taken without permissions that do not exist here: {}",
            unknown.join(", ")
        );
        report.note(CLIENTS, client.id, what);
    }
    Ok(())
}

/// The permissions that exist here as well, and the others.
fn permissions(names: &[String], is_root: bool) -> (Vec<String>, Vec<String>) {
    let (mut known, unknown): (Vec<String>, Vec<String>) = names
        .iter()
        .cloned()
        .partition(|name| name.parse::<Permission>().is_ok());
    if is_root {
        known = Permission::ALL
            .map(|permission| permission.as_str().to_owned())
            .to_vec();
    }
    known.sort_unstable();
    known.dedup();
    (known, unknown)
}

/// A hash that can be checked here: argon2id of version 19 in a PHC string, of bounded costs.
fn usable_hash(hash: &str) -> Result<String, &'static str> {
    let Some(rest) = hash.strip_prefix("$argon2id$v=19$") else {
        return Err("its hash is none of argon2id (version 19)");
    };
    let parts: Vec<&str> = rest.split('$').collect();
    let [costs, salt, digest] = parts.as_slice() else {
        return Err("its hash is malformed");
    };
    let cost = |name: &str| {
        costs
            .split(',')
            .find_map(|cost| cost.strip_prefix(name)?.parse::<u32>().ok())
    };
    let decodes = |text: &str| {
        data_encoding::BASE64_NOPAD
            .decode(text.as_bytes())
            .is_ok_and(|bytes| bytes.len() >= 8)
    };
    match (cost("m="), cost("t="), cost("p=")) {
        (Some(memory), Some(iterations), Some(1..)) if decodes(salt) && decodes(digest) => {
            if memory > MOST_MEMORY_KIB || iterations > MOST_ITERATIONS {
                return Err("its hash takes more than 256 MiB or 64 passes to check");
            }
            Ok(hash.to_owned())
        }
        _ => Err("its hash is malformed"),
    }
}

#[cfg(test)]
mod tests {
    use super::usable_hash;

    #[test]
    fn only_hashes_that_can_be_checked_are_taken() {
        let of =
            |costs: &str| format!("$argon2id$v=19${costs}$c29tZXNhbHRzYWx0$RdescudvJCsgt3ub+b2daRWJTmaaJObG");
        assert!(usable_hash(&of("m=65536,t=3,p=4")).is_ok());
        for bad in [
            of("m=65536,t=3,p=0"),
            of("m=65536,t=3"),
            of("m=1048576,t=3,p=4"),
            of("m=65536,t=1000,p=4"),
            of("m=65536,t=3,p=4").replace("argon2id", "argon2i"),
            of("m=65536,t=3,p=4").replace("v=19", "v=16"),
            of("m=65536,t=3,p=4") + "$more",
            "$argon2id$v=19$m=65536,t=3,p=4$!$!".to_owned(),
            "$2b$12$abcdefghijklmnopqrstuv".to_owned(),
            String::new(),
        ] {
            assert!(usable_hash(&bad).is_err(), "{bad}");
        }
    }
}
