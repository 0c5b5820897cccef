//! Taking over the refresh tokens of the original: its table as it made it, encrypted by Python's cryptography.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use identity_testkit::{TestDatabase, command, output};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::processes::KEY;
use crate::world::{World, expect, kind};

/// `ada-refresh-token-of-the-original` and others, with the key of the tests.
const ADAS: &str = "gAAAAABrBj5nBHB45cx2A5GzSgMExSoDMZwv7HACA3r-v4T8016UFA_ZKK24niEju-IiMd047qsxD4bPSTxiG7Zf249daOi2IoX6YGS6YxcFuIiFBcOwoT-FJHF8C9teeYJYjOXYJQaj";
const BENS: &str = "gAAAAABrBj5nzzFNWoVyznzsdZo2SjGPb95k1bruDhs7_Tk3t25WfFNwsWlPqMCe9pDxHvNDDZ1B7VdW0i7oS2i0sQlF0CfcF0h-UkQgfC8udE_1OaQGljMHcNGNh3EhxSPBqpJYeSZS";
const ADAS_OLDER: &str = "gAAAAABrBj5nmNDTDUkHPw2UPpqdyecf4LNQyqZhcYnYY69ApBU8whH6niQMhTYKzYoqXWUqm4dmLgvxnpr2B5xbh1rU4FnQOWwh9a-tSKegIPWCLDKYEfg=";
/// With a key that is lost.
const LOST: &str =
    "gAAAAABrBj5nNsctTaY9IHPz87BCRcB8_GbKKetf-6ourzf3iPba2N8hxj8z6mY1-Z-Zak-fNCPBvZ_c3DbzO3ijfc4GtXXzFA==";

/// The original's database with these rows.
async fn original(rows: &str) -> TestDatabase {
    let database = TestDatabase::empty().await;
    let table = "
        CREATE TABLE refresh_token (id serial PRIMARY KEY, provider text, token bytea, expires_in integer,
                                    expires_at double precision, user_id text);
        CREATE INDEX ix_refresh_token_provider ON refresh_token (provider);
        CREATE INDEX ix_refresh_token_user_id ON refresh_token (user_id);";
    let client = database.connect("public").await;
    client.batch_execute(table).await.unwrap();
    client.batch_execute(rows).await.unwrap();
    database
}

/// What the command prints and says, and how it ends.
async fn import(world: &World, from: &str, more: &[&str]) -> (i32, String) {
    let environment = BTreeMap::from([
        (
            "TOKENSTORE_SQLALCHEMY_DATABASE_URI",
            world.tokenstore.database.url(),
        ),
        ("TOKENSTORE_CRYPTOKEY", KEY.to_owned()),
        ("TOKENSTORE__OUTGOING__ALLOW_PRIVATE", "true".to_owned()),
        ("TOKENSTORE__DATABASE__POSTGRES__CONNECT_TIMEOUT", "3s".to_owned()),
    ]);
    let ours = ["oidc.client_id=tokenstore", "oidc.client_secret=a secret/of+ours"];
    let settings = ours.into_iter().chain(world.settings.iter().map(String::as_str));
    let mut arguments: Vec<&str> = settings.flat_map(|setting| ["--set", setting]).collect();
    arguments.extend(["import", "--from", from]);
    arguments.extend(more);
    let ended = output(command(
        env!("CARGO_BIN_EXE_tokenstore"),
        &environment,
        &arguments,
    ))
    .await;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        ended.status.code().unwrap(),
        format!("{}{}", text(ended.stdout), text(ended.stderr)),
    )
}

#[tokio::test]
async fn a_token_of_the_original_gives_its_owner_fresh_ones() {
    let world = World::start(&[]).await;
    world.idp.remember("ada-refresh-token-of-the-original", "ada");
    let from = original(&format!(
        "INSERT INTO refresh_token (provider, token, expires_in, expires_at, user_id) VALUES
             ('idp1', '{ADAS_OLDER}', 1800, 1655694000.5, 'ada'), ('idp1', '{ADAS}', 0, NULL, 'ada'),
             ('idp1', '{BENS}', 2592000, 4102444800.25, 'ben');"
    ))
    .await;
    let (code, said) = import(&world, &from.url(), &["--dry-run"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("this was a dry run: nothing was kept"), "{said}");
    let ada = world.signed_in("ada").await;
    assert_eq!(
        ada.json("/api/v1.0/authorizations").await[0]["status"],
        "inactive"
    );

    let (code, said) = import(&world, &from.url(), &[]).await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains(
            "refresh tokens 1 (of Some(\"ada\") at Some(\"idp1\")): not taken: there is a later one"
        ),
        "{said}"
    );
    assert!(
        said.contains("refresh tokens: 2 taken, 0 there already, 1 not taken"),
        "{said}"
    );
    let shown = ada.json("/api/v1.0/authorizations").await;
    assert_eq!(
        (&shown[0]["status"], &shown[0]["active"]),
        (&Value::from("active"), &true.into())
    );
    let stored = world.tokenstore.database.dump();
    assert!(
        !stored.contains(ADAS) && !stored.contains("of-the-original"),
        "encrypted anew"
    );

    let first = ada.token("idp1").await;
    assert_eq!(world.idp.refreshes(), 1);
    let userinfo = reqwest::Client::new().get(format!("{}/userinfo", world.idp.url));
    let userinfo = userinfo
        .bearer_auth(first["access_token"].as_str().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(userinfo.status(), StatusCode::OK, "the provider knows it");
    assert_eq!(
        ada.token("idp1").await["access_token"],
        first["access_token"],
        "and it is kept"
    );
    assert_eq!(world.idp.refreshes(), 1);
    let linked = (
        "ada".to_owned(),
        "linked".to_owned(),
        Some("idp1".to_owned()),
        "service".to_owned(),
    );
    assert!(world.audit().await.contains(&linked));

    // Ben's was taken back at the provider meanwhile.
    let ben = world.signed_in("ben").await;
    let refused = kind(ben.get("/api/v1.0/idp1/token").await, StatusCode::CONFLICT).await;
    assert_eq!(refused, "reauthorization_required");

    let (_, said) = import(&world, &from.url(), &[]).await;
    assert!(
        said.contains("refresh tokens: 0 taken, 2 there already, 1 not taken"),
        "{said}"
    );
    assert_eq!(
        ada.token("idp1").await["access_token"],
        first["access_token"],
        "a second run changes nothing"
    );
}

#[tokio::test]
async fn a_token_is_revoked_at_the_provider_also_before_it_was_used() {
    let world = World::start(&[]).await;
    let from = original(&format!(
        "INSERT INTO refresh_token (provider, token, expires_in, user_id) VALUES ('idp1', '{ADAS}', 0, 'ada')"
    ))
    .await;
    assert_eq!(import(&world, &from.url(), &[]).await.0, 0);
    let ada = world.signed_in("ada").await;
    let answer = ada.send(ada.own(Method::POST, "/api/v1.0/idp1/revoke")).await;
    expect(answer, StatusCode::OK).await;
    let revoked = async || {
        let revoked = world.idp.revoked();
        revoked
            .contains(&"ada-refresh-token-of-the-original".to_owned())
            .then_some(())
    };
    identity_testkit::eventually("it is revoked", revoked).await;
    assert!(
        !world.idp.revoked().contains(&String::new()),
        "and nothing that is none"
    );
}

#[tokio::test]
async fn what_cannot_be_taken_is_named_and_the_others_come() {
    let world = World::start(&[]).await;
    let from = original(&format!(
        "INSERT INTO refresh_token (provider, token, expires_in, expires_at, user_id) VALUES
             ('idp9', '{ADAS}', 0, NULL, 'ada'), ('idp1', '{LOST}', 0, NULL, 'ada'), ('idp1', NULL, 0, NULL, 'cleo'),
             (NULL, '{ADAS}', 0, NULL, 'dan'), ('idp1', '{ADAS}', 0, NULL, NULL), ('idp1', '{ADAS}', 0, NULL, ''),
             ('idp1', '{BENS}', 7, 'NaN', 'ben');"
    ))
    .await;
    let (code, said) = import(&world, &from.url(), &["--issuer", &world.login.url]).await;
    assert_eq!(code, 1, "{said}");
    for line in [
        "refresh tokens 1 (of Some(\"ada\") at Some(\"idp9\")): not taken: no provider `idp9` is configured",
        "refresh tokens 2 (of Some(\"ada\") at Some(\"idp1\")): not taken: none of the configured crypto_keys reads its token",
        "refresh tokens 3 (of Some(\"cleo\") at Some(\"idp1\")): not taken: it has no token",
        "refresh tokens 4 (of Some(\"dan\") at None): not taken: it has no provider",
        "refresh tokens 5 (of None at Some(\"idp1\")): not taken: it has no user_id",
        "refresh tokens 6 (of Some(\"\") at Some(\"idp1\")): not taken: its user_id can be nobody's subject",
        "refresh tokens: 1 taken, 0 there already, 6 not taken",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    let ben = world.signed_in("ben").await;
    assert_eq!(ben.json("/api/v1.0/authorizations").await[0]["status"], "active");
}

#[tokio::test]
async fn what_is_no_original_is_refused_and_an_unreachable_one_is_129() {
    let world = World::start(&[]).await;
    let empty = TestDatabase::empty().await;
    let (code, said) = import(&world, &empty.url(), &[]).await;
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("its schema `public` has no table refresh_token of the original"),
        "{said}"
    );
    let (code, said) = import(&world, "postgresql://u:hidden@127.0.0.1:9/d", &[]).await;
    assert_eq!(code, 129, "{said}");
    assert!(!said.contains("hidden"), "{said}");
    let from = original("").await;
    let (code, said) = import(&world, &from.url(), &["--issuer", "nowhere"]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--issuer: "), "{said}");
}
