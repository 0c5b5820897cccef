//! From one encryption key to the next, while the service runs; and the doctor.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Output;

use identity_testkit::{Answer, Process, output};
use reqwest::StatusCode;
use serde_json::json;

use crate::processes::{House, KEY, tokenstore_in};
use crate::world::expect;

const NEW: &str = "fedcba9876543210fedcba9876543210";

async fn run(house: &House, keys: &str, arguments: &[&str]) -> (i32, String) {
    let mut command = house.command(arguments);
    command.env("TOKENSTORE_CRYPTOKEY", keys);
    said(&output(command).await)
}

fn said(output: &Output) -> (i32, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

async fn serve(house: &House, keys: &str) -> (Process, String) {
    let mut command = house.command(&[]);
    command.env("TOKENSTORE_CRYPTOKEY", keys);
    let process = Process::start(command);
    let url = format!("http://{}", process.address().await);
    (process, url)
}

/// The fingerprints of the keys, as `list` shows them.
async fn fingerprints(house: &House, keys: &str) -> Vec<String> {
    let (_, text) = run(house, keys, &["keys", "list"]).await;
    text.lines()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn secrets_move_to_a_new_key_while_people_link_and_use_their_accounts() {
    let house = House::new().await;
    let (old_first, new_first) = (format!("{KEY},{NEW}"), format!("{NEW},{KEY}"));
    let (_running, url) = serve(&house, &old_first).await;
    house.link(&url).await;
    let old = fingerprints(&house, &old_first).await[0].clone();
    let (status, text) = run(&house, &old_first, &["keys", "retire", &old]).await;
    assert!(status == 1 && text.contains("is the key that encrypts"), "{text}");
    let (status, text) = run(&house, &new_first, &["keys", "retire", &old]).await;
    assert!(status == 1 && text.contains("still protects 2 secrets"), "{text}");

    let (status, text) = run(&house, &new_first, &["keys", "reencrypt"]).await;
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("links.refresh_token: 1 encrypted anew"), "{text}");
    // The instance whose first key is the old one still reads, refreshes and links.
    expect(house.fresh(&url).await.unwrap(), StatusCode::OK).await;
    house.link(&url).await;
    let (_, listed) = run(&house, &new_first, &["keys", "list"]).await;
    assert!(
        listed.contains(&format!("{old}  decrypts  2 secrets")),
        "{listed}"
    );
    // Called again, it takes up what came meanwhile.
    let (_, text) = run(&house, &new_first, &["keys", "reencrypt"]).await;
    assert!(text.contains("links.access_token: 1 encrypted anew"), "{text}");
    let (_, text) = run(&house, &new_first, &["keys", "reencrypt"]).await;
    assert!(text.contains("links.access_token: 0 encrypted anew"), "{text}");
    let (status, text) = run(&house, &new_first, &["keys", "retire", &old]).await;
    assert_eq!((status, text.contains("Retired")), (0, true), "{text}");
    let (_only_new, url) = serve(&house, NEW).await;
    expect(house.fresh(&url).await.unwrap(), StatusCode::OK).await;
}

#[tokio::test]
async fn a_key_is_made_without_a_configuration_or_added_to_a_file_behind_the_others() {
    let (status, key) = said(&output(tokenstore_in(&[], &["keys", "add"])).await);
    assert_eq!((status, key.trim_end().len()), (0, 44), "{key}");
    let house = House::new().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    let (status, text) = run(&house, KEY, &["keys", "add", "--file", file.to_str().unwrap()]).await;
    assert_eq!(status, 0, "{text}");
    let kept = std::fs::read_to_string(&file).unwrap();
    let keys: Vec<_> = kept.trim_end().split(',').collect();
    assert_eq!((keys.len(), keys[0], keys[1].len()), (2, KEY, 44));
    assert!(!text.contains(keys[1]), "it is in the file only");
}

#[tokio::test]
async fn the_doctor_says_what_users_would_meet() {
    let house = House::new().await;
    let (status, text) = said(&house.run(&["doctor"]).await);
    assert_eq!(status, 0, "{text}");
    for line in [
        "login provider",
        "provider idp1",
        "it publishes 1 keys",
        "it accepts the client id and secret",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    for (setting, line) in [
        (
            "providers.idp1.scope=openid",
            "no refresh token will come: offline access is not asked for",
        ),
        (
            "providers.idp1.client_secret=wrong",
            "it does not accept the client id and secret",
        ),
        (
            "providers.idp1.scope=openid strange",
            "it does not list the scope `strange`",
        ),
        (
            "providers.idp1.discovery_url=http://127.0.0.1:9",
            "it cannot be reached",
        ),
    ] {
        let (status, text) = said(&house.run(&["doctor", "--set", setting]).await);
        assert!(text.contains(line), "{line}: {text}");
        let cannot_work = line.contains("accept") || line.contains("reached");
        assert_eq!(status, i32::from(cannot_work), "{setting}");
    }
    house.idp.change(|ways| ways.token = Answer::With(json!({})));
    house
        .idp
        .change(|ways| ways.token = Answer::Fixed(200, "<html>".into()));
    let (_, text) = said(&house.run(&["doctor"]).await);
    assert!(text.contains("gives no useful answer"), "{text}");
}
