//! Taking over what the two originals have: their tables as they made them, with what their own libraries
//! encrypted and hashed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use identity_core::crypto::jwt::{Algorithm, SigningKey};
use identity_testkit::{TestDatabase, TestService};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::IDENT;
use crate::callers::{ask, claims, login};
use crate::clients::max_salt_signature;
use crate::people::{expect, make, record, token};
use crate::processes::{complained, ident_at, printed, run, status};

/// `gho_16C7e42F292c6912E7710c838347Ae178B4a`, encrypted by Python's cryptography with the key of the tests.
const GITHUB_TOKEN: &str = "gAAAAABrBj4FksUrELpIeDL-LnpeMngtr-SSzoBHFEU1x-J4qE1FgZoIaA5mMbbbgaB_M863kjRKGaa8Wtc-c-fnQaNelsPPjUGnzPchTR6PFSR3vz45a57GEAvvpAVPoMQKNBQN5-AO";
/// Encrypted by the same with another key.
const FOREIGN_TOKEN: &str =
    "gAAAAABrBj4FE9UkCjbNYG6M5fIAKiNSfRyEePBIB1Beh6AXrFLKSjJHq8dIZHQkS9zPCIGEARAfJPsR7kRidUxjqkxVFOLNyg==";
/// `winter is coming` and `a client secret`, hashed by Python's argon2-cffi with its own costs.
const PASSWORD_HASH: &str =
    "$argon2id$v=19$m=65536,t=3,p=4$SgFbu4oZ7hU9gdFSCP/jUw$t8lSY4NZxsUvpWFeFK6nwf+dnkRuxnI7FpC4gYqbcgI";
const SECRET_HASH: &str =
    "$argon2id$v=19$m=65536,t=3,p=4$au4Lee6DeDyEhlqN7IriQg$wny8V0dgAyrOKcErj7CI8bNwA0TyijVoIOcUu/sDNAo";

/// The first original's tables, in the form of the release that kept access tokens.
const PEOPLE: &str = "
    CREATE TYPE svc_type AS ENUM ('fb', 'gh');
    CREATE TABLE users (id serial PRIMARY KEY, name varchar NOT NULL, picture_url varchar,
                        email_address varchar UNIQUE);
    CREATE TABLE services (user_id integer NOT NULL REFERENCES users, sv_id varchar NOT NULL, sv_name svc_type NOT NULL,
                           access_token bytea, UNIQUE (sv_id, sv_name), PRIMARY KEY (sv_name, user_id));";

/// The second original's tables.
const USERS: &str = "
    CREATE TABLE \"user\" (id uuid PRIMARY KEY, username text NOT NULL, password_hash text NOT NULL,
                           is_root boolean NOT NULL DEFAULT false, permissions text[]);
    CREATE TABLE client (id uuid PRIMARY KEY, secret_hash text, public_key text, permissions text[]);";

/// The original's database with these rows.
async fn original(tables: &str, rows: &str) -> TestDatabase {
    let database = TestDatabase::empty().await;
    let client = database.connect("public").await;
    client.batch_execute(tables).await.unwrap();
    client.batch_execute(rows).await.unwrap();
    database
}

/// What the command prints and says, and how it ends.
async fn import(ident: &TestService, from: &TestDatabase, more: &[&str]) -> (i32, String) {
    let url = from.url();
    let arguments: Vec<&str> = ["import", "--from", &url].iter().chain(more).copied().collect();
    let output = run(&ident.database, &arguments).await;
    (
        status(&output),
        format!("{}{}", printed(&output), complained(&output)),
    )
}

fn people_of_westeros() -> String {
    format!(
        "INSERT INTO users (id, name, email_address, picture_url) VALUES
             (7, 'Robb Stark', 'king@deceased.north', NULL),
             (12, 'Jon Snow', 'Jon@Wall.north', 'https://example.org/jon.png'),
             (2000000, ' Arya Stark ', 'arya@braavos', NULL);
         INSERT INTO services (user_id, sv_id, sv_name, access_token) VALUES
             (7, '25', 'gh', '{GITHUB_TOKEN}'), (7, '75', 'fb', NULL), (12, '26', 'gh', NULL);"
    )
}

#[tokio::test]
async fn people_keep_their_ids_accounts_and_tokens() {
    let ident = IDENT.start(&[]).await;
    let from = original(PEOPLE, &people_of_westeros()).await;

    let (code, said) = import(&ident, &from, &["--dry-run"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("people: 3 taken, 0 there already, 0 not taken"),
        "{said}"
    );
    assert!(said.contains("this was a dry run: nothing was kept"), "{said}");
    let nobody = expect(ident.get("/").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(nobody, json!([]));

    let (code, said) = import(&ident, &from, &[]).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("people: 3 taken, 0 there already, 0 not taken"),
        "{said}"
    );
    assert!(
        said.contains("linked accounts: 3 taken, 0 there already, 0 not taken"),
        "{said}"
    );
    assert!(
        said.contains("people 12: taken without the picture's URL"),
        "{said}"
    );
    assert_eq!(
        record(&ident, 7).await,
        json!({"id": 7, "name": "Robb Stark", "email": "king@deceased.north",
               "services": {"facebook": {"id": "75"}, "github": {"id": "25"}}})
    );
    assert_eq!(record(&ident, 2_000_000).await["name"], "Arya Stark");
    let (found, kept) = token(&ident, 7, "github").await;
    assert_eq!(found, StatusCode::OK);
    assert_eq!(kept["access_token"], "gho_16C7e42F292c6912E7710c838347Ae178B4a");
    assert_eq!(token(&ident, 12, "github").await.0, StatusCode::NOT_FOUND);
    for (filter, id) in [
        ("name=sta+rob", 7),
        ("email=JON@wall.NORTH", 12),
        ("service=github&service_id=26", 12),
    ] {
        let found = ident.get(&format!("/?{filter}")).send().await.unwrap();
        assert_eq!(expect(found, StatusCode::OK).await[0]["id"], id, "{filter}");
    }
    let stored = ident.database.dump();
    assert!(
        !stored.contains("gho_16C7") && !stored.contains(GITHUB_TOKEN),
        "encrypted anew"
    );

    assert!(
        make(&ident, "Bran", "bran@winterfell").await > 2_000_000,
        "new ids come behind"
    );
    let unlinked = ident
        .patch("/7")
        .header("content-type", "application/merge-patch+json")
        .body(r#"{"name": "King Robb", "services": {"facebook": null}}"#);
    assert!(unlinked.send().await.unwrap().status().is_success());
    let (code, said) = import(&ident, &from, &[]).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("people: 0 taken, 3 there already, 0 not taken"),
        "{said}"
    );
    assert_eq!(
        record(&ident, 7).await["name"],
        "King Robb",
        "a second run changes nothing"
    );
    assert_eq!(
        record(&ident, 7).await["services"],
        json!({"github": {"id": "25"}})
    );
}

#[tokio::test]
async fn who_cannot_be_taken_is_named_and_the_others_come() {
    let ident = IDENT.start(&[]).await;
    let here = make(&ident, "Bran", "bran@winterfell").await;
    let rows = format!(
        "INSERT INTO users (id, name, email_address) VALUES
             (0, 'Nobody', 'nobody@braavos'), ({here}, 'Somebody else', 'other@example.org'), (10, ' ', 'blank@example.org'),
             (11, 'Two', 'two@example.org'), (12, 'Two again', 'TWO@example.org'), (13, 'Bran again', 'Bran@Winterfell'),
             (14, 'No address', NULL), (15, 'Long', '{}'), (16, 'Good', 'good@example.org');
         INSERT INTO services (user_id, sv_id, sv_name, access_token) VALUES
             (10, '1', 'gh', NULL), (11, '2', 'gh', '{FOREIGN_TOKEN}'), (16, '3', 'gh', NULL), (16, ' ', 'fb', NULL);",
        "x".repeat(400)
    );
    let from = original(PEOPLE, &rows).await;
    let (code, said) = import(&ident, &from, &[]).await;
    assert_eq!(code, 1, "{said}");
    for line in [
        "people 0: not taken: no person can have this id",
        &format!("people {here}: not taken: somebody else has this id here"),
        "people 10: not taken: /name must not be empty",
        "people 12: not taken: the email address is that of person 11 here",
        &format!("people 13: not taken: the email address is that of person {here} here"),
        "people 14: not taken: has no email address",
        "people 15: not taken: /email must have at most 320 characters",
        "linked accounts of 10 at github: not taken: the person was not taken",
        "linked accounts of 11 at github: not taken: none of database.encryption_key's keys reads its access token",
        "linked accounts of 16 at facebook: not taken: /services/facebook/id must not be empty",
        "people: 2 taken, 0 there already, 7 not taken",
        "linked accounts: 1 taken, 0 there already, 3 not taken",
        "ident: 10 rows were not taken",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert_eq!(
        record(&ident, 16).await["services"],
        json!({"github": {"id": "3"}})
    );
    assert_eq!(record(&ident, 11).await["services"], json!({}));
    assert_eq!(record(&ident, here).await["name"], "Bran");
}

#[tokio::test]
async fn users_of_the_second_original_sign_in_with_their_passwords() {
    let ident = IDENT.start(&[]).await;
    let robb = make(&ident, "Robb Stark", "robb@example.org").await;
    let rows = format!(
        "INSERT INTO \"user\" VALUES
             (gen_random_uuid(), 'Robb@example.org', '{PASSWORD_HASH}', false, '{{users:read,reports:print}}'),
             (gen_random_uuid(), 'root', '{PASSWORD_HASH}', true, NULL),
             (gen_random_uuid(), 'old@example.org', '$argon2i$v=19$m=512,t=2,p=2$c29tZXNhbHQ$abcdefgh', false, NULL);"
    );
    let from = original(USERS, &rows).await;
    let (code, said) = import(&ident, &from, &[]).await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("(root): not taken: the username is no address: give --email-domain"),
        "{said}"
    );
    assert!(
        said.contains("users: 2 taken, 0 there already, 1 not taken"),
        "{said}"
    );
    assert!(
        said.contains("(old@example.org): taken without the password: its hash is none of argon2id"),
        "{said}"
    );
    assert!(
        said.contains("(Robb@example.org): taken without permissions that do not exist here: reports:print"),
        "{said}"
    );
    let (code, said) = import(&ident, &from, &["--email-domain", "example.org"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("users: 1 taken, 2 there already, 0 not taken"),
        "{said}"
    );

    let answer = expect(
        login(&ident, "robb@example.org", "winter is coming").await,
        StatusCode::OK,
    )
    .await;
    let claims_of = claims(answer["token"].as_str().unwrap());
    assert_eq!(
        claims_of["sub"],
        robb.to_string(),
        "the person of the same address"
    );
    assert_eq!(claims_of["permissions"], json!(["users:read"]));
    let wrong = login(&ident, "robb@example.org", "summer is coming").await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    let wrong = login(&ident, "old@example.org", "winter is coming").await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    let answer = expect(login(&ident, "root", "winter is coming").await, StatusCode::OK).await;
    let root = claims(answer["token"].as_str().unwrap());
    assert_eq!(root["permissions"].as_array().unwrap().len(), 8, "{root}");
    let root: i64 = root["sub"].as_str().unwrap().parse().unwrap();
    assert_eq!(record(&ident, root).await["email"], "root@example.org");
    let client = ident.database.connect("ident").await;
    let sql = "SELECT count(*) FROM credentials WHERE password_hash LIKE '$argon2id$v=19$m=19456,%'";
    let anew: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(anew, 2, "hashed anew with our costs at the first login");
}

#[tokio::test]
async fn clients_of_the_second_original_keep_their_ids_secrets_and_keys() {
    let ident = IDENT.start(&[]).await;
    let pem = SigningKey::generate(Algorithm::RS256).unwrap();
    let public = SigningKey::from_pem(&pem).unwrap().public().pem().to_owned();
    let (secret, key) = (
        "0b0e3e6e-6d6c-4c5e-9d70-5f1f5b8f7a01",
        "0b0e3e6e-6d6c-4c5e-9d70-5f1f5b8f7a02",
    );
    let rows = format!(
        "INSERT INTO client VALUES
             ('{secret}', '{SECRET_HASH}', NULL, '{{users:read}}'), ('{key}', NULL, '{public}', NULL),
             ('0b0e3e6e-6d6c-4c5e-9d70-5f1f5b8f7a03', NULL, NULL, NULL),
             ('0b0e3e6e-6d6c-4c5e-9d70-5f1f5b8f7a04', '{SECRET_HASH}', 'no key', NULL);"
    );
    let from = original(USERS, &rows).await;
    let (code, said) = import(&ident, &from, &["--static-signatures"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("7a03: not taken: it has neither a secret nor a public key"),
        "{said}"
    );
    assert!(said.contains("7a04: not taken: the public key: "), "{said}");
    assert!(
        said.contains("clients: 2 taken, 0 there already, 2 not taken"),
        "{said}"
    );

    let status =
        async |id: &str, presented: Value| ask(&ident, id, &presented).send().await.unwrap().status();
    assert_eq!(
        status(secret, json!({"client_secret": "a client secret"})).await,
        200
    );
    assert_eq!(status(secret, json!({"client_secret": "another"})).await, 401);
    let signature = max_salt_signature(&pem, key.as_bytes());
    assert_eq!(
        status(key, json!({"signature": signature})).await,
        200,
        "as the original's clients sign"
    );

    let careful = IDENT.start(&[]).await;
    let (_, said) = import(&careful, &from, &[]).await;
    assert!(
        said.contains("7a02: taken, but must sign assertions from now on"),
        "{said}"
    );
    let refused = ask(&careful, key, &json!({"signature": signature}))
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_is_no_original_is_refused_and_an_unreachable_one_is_129() {
    let ident = IDENT.start(&[]).await;
    let empty = TestDatabase::empty().await;
    let (code, said) = import(&ident, &empty, &[]).await;
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("its schema `public` has no tables of an original"),
        "{said}"
    );
    let from = original(PEOPLE, "").await;
    let (code, said) = import(&ident, &from, &[]).await;
    assert_eq!((code, said.trim()), (0, "there is nothing to take"));
    for (arguments, code, why) in [
        (vec!["import"], 2, "--from"),
        (
            vec!["import", "--from", "mysql://u:hidden@h/d"],
            2,
            "--from: expected postgresql://",
        ),
        (
            vec!["import", "--from-file", "/nowhere"],
            2,
            "--from-file: cannot read /nowhere",
        ),
        (
            vec![
                "--set",
                "database.postgres.connect_timeout=1s",
                "import",
                "--from",
                "postgresql://u:hidden@127.0.0.1:9/d",
            ],
            129,
            "--from: ",
        ),
    ] {
        let output = run(&ident.database, &arguments).await;
        let said = complained(&output);
        assert_eq!(status(&output), code, "{said}");
        assert!(said.contains(why) && !said.contains("hidden"), "{said}");
    }
    let unreachable = ident_at(
        "postgresql://u:hidden@127.0.0.1:9/d",
        &[
            "--set",
            "database.postgres.connect_timeout=1s",
            "import",
            "--from",
            &from.url(),
        ],
    );
    assert_eq!(status(&identity_testkit::output(unreachable).await), 129);
}
