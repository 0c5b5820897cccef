//! The commands of the operator, as the real binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::Output;

use identity_testkit::{TestService, output};
use reqwest::StatusCode;
use tempfile::TempDir;

use crate::centre::Centre;
use crate::processes::{complained, eida_at, printed, status};
use crate::signer::{PATH, Signer, answer, connect, count, login, started};

async fn run(eida: &TestService, settings: &[String], arguments: &[&str]) -> Output {
    let mut all: Vec<&str> = settings
        .iter()
        .flat_map(|setting| ["--set", setting.as_str()])
        .collect();
    all.extend(arguments);
    output(eida_at(&eida.database.url(), &all)).await
}

fn file(directory: &TempDir, name: &str, content: &str) -> String {
    let path = directory.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn the_mapping_is_imported_exported_and_listed() {
    let (eida, _) = started(&[]).await;
    let files = TempDir::new().unwrap();
    let head = "epos_name,network,start_year,end_year\n";
    let more = file(
        &files,
        "more.csv",
        &format!("{head}/epos/b,FR,1994,9999\n{PATH},Z3,2015,2022\n\"/epos/a, b\",XX,2000,2001\n"),
    );
    let imported = run(&eida, &[], &["mapping", "import", &more]).await;
    assert_eq!(
        printed(&imported),
        "3 lines read, 2 added\n",
        "{}",
        complained(&imported)
    );
    let exported = printed(&run(&eida, &[], &["mapping", "export"]).await);
    assert_eq!(
        exported,
        format!("{head}\"/epos/a, b\",XX,2000,2001\n{PATH},Z3,2015,2022\n/epos/b,FR,1994,9999\n")
    );
    let listed = printed(&run(&eida, &[], &["mapping", "list"]).await);
    assert!(
        listed.lines().count() == 4 && listed.contains("/epos/a, b"),
        "{listed}"
    );
    // What was exported can be imported, and is all there is.
    let only = file(&files, "only.csv", &format!("{head}/epos/c,FR,1994,9999\n"));
    let replaced = run(&eida, &[], &["mapping", "import", "--replace", &only]).await;
    assert_eq!(printed(&replaced), "1 lines read, 1 added\n");
    let back = file(&files, "back.csv", &exported);
    assert_eq!(
        printed(&run(&eida, &[], &["mapping", "import", "--replace", &back]).await),
        "3 lines read, 3 added\n"
    );
    assert_eq!(printed(&run(&eida, &[], &["mapping", "export"]).await), exported);
}

#[tokio::test]
async fn of_a_file_with_bad_lines_nothing_is_imported_and_every_line_is_named() {
    let (eida, _) = started(&[]).await;
    let files = TempDir::new().unwrap();
    let bad = file(
        &files,
        "bad.csv",
        "epos_name,network,start_year,end_year\n/good,FR,1994,9999\n/bad,FR\n,FR,soon,2000\n",
    );
    let refused = run(&eida, &[], &["mapping", "import", "--replace", &bad]).await;
    assert_eq!(status(&refused), 1);
    let complaint = complained(&refused);
    assert!(
        complaint.contains("nothing was imported; 2 bad lines"),
        "{complaint}"
    );
    assert!(
        complaint.contains("line 3: expected 4 fields, found 2"),
        "{complaint}"
    );
    assert!(
        complaint.contains(
            "line 4: epos_name: expected a path without semicolons; start_year: expected a year, found `soon`"
        ),
        "{complaint}"
    );
    assert_eq!(count(&connect(&eida).await, "epos_fdsn").await, 1);
    let missing = run(&eida, &[], &["mapping", "import", "/nonexistent.csv"]).await;
    assert!(status(&missing) == 1 && complained(&missing).contains("/nonexistent.csv"));
}

#[tokio::test]
async fn verify_explains_and_writes_nothing() {
    let (eida, signer) = started(&[]).await;
    let files = TempDir::new().unwrap();
    let keyring = [signer.setting()];
    let good = file(
        &files,
        "good.asc",
        &signer.token(&eida, &format!("{PATH};/epos/nothing"), 3600, ""),
    );
    let explained = run(&eida, &keyring, &["verify", &good]).await;
    assert_eq!(status(&explained), 0, "{}", complained(&explained));
    let text = printed(&explained);
    for line in [
        "digest: ",
        "signed by: ",
        "valid until: 20",
        "memberships: /epos/alparray, /epos/nothing",
        "mapped here: /epos/alparray\n",
        "it would be accepted",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let stranger = Signer::new();
    for (name, content, expected) in [
        (
            "strange.asc",
            stranger.token(&eida, PATH, 3600, ""),
            "not signed by a trusted key",
        ),
        ("over.asc", signer.token(&eida, PATH, -60, ""), "it expired at 20"),
        (
            "useless.asc",
            signer.token(&eida, "/nothing", 3600, ""),
            "none of its memberships is mapped here",
        ),
        ("nonsense.asc", "hello".to_owned(), "not an OpenPGP message"),
    ] {
        let path = file(&files, name, &content);
        let refused = run(&eida, &keyring, &["verify", &path]).await;
        assert_eq!(status(&refused), 1);
        assert!(
            complained(&refused).contains(expected),
            "{}",
            complained(&refused)
        );
    }
    assert_eq!(count(&connect(&eida).await, "users").await, 0);
}

/// Blocks a token by its file, another by its digest.
async fn blocking(
    eida: &TestService,
    signer: &Signer,
    settings: &[String],
    live: impl AsyncFn() -> [i64; 3],
) {
    let files = TempDir::new().unwrap();
    let [first, second, third] = ["1", "2", "3"].map(|note| signer.token(eida, PATH, 3600, note));
    for token in [&first, &first, &second, &third] {
        login(eida, token.clone()).await;
    }
    let before = live().await;
    let by_file = file(&files, "first.asc", &first);
    let blocked = run(eida, settings, &["block", &by_file]).await;
    assert!(
        printed(&blocked).contains("; 2 logins ended"),
        "{}{}",
        printed(&blocked),
        complained(&blocked)
    );
    assert_eq!(live().await, before.map(|count| count - 2));
    let second_file = file(&files, "second.asc", &second);
    let explained = printed(&run(eida, settings, &["verify", &second_file]).await);
    let id = explained
        .lines()
        .next()
        .unwrap()
        .strip_prefix("digest: ")
        .unwrap()
        .to_owned();
    let blocked = run(eida, settings, &["block", &id]).await;
    assert_eq!(
        printed(&blocked),
        format!("blocked {id}; 1 logins ended\n"),
        "{}",
        complained(&blocked)
    );
    assert_eq!(live().await, before.map(|count| count - 3));
    for token in [first.clone(), first.replace('\n', "\r\n"), second] {
        let (status, text) = answer(eida, token).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{text}");
        assert!(text.starts_with("The token is blocked here."), "{text}");
    }
    login(eida, third).await;
    let again = run(eida, settings, &["block", &by_file]).await;
    assert!(
        printed(&again).contains("; 0 logins ended"),
        "{}",
        printed(&again)
    );
}

#[tokio::test]
async fn a_blocked_token_is_refused_and_its_logins_end() {
    let (eida, signer) = started(&[]).await;
    let client = connect(&eida).await;
    let live = async || {
        [
            count(&client, "users").await,
            count(&client, "credentials").await,
            count(&client, "eida_temp_users").await,
        ]
    };
    blocking(&eida, &signer, &[signer.setting()], live).await;
    let files = TempDir::new().unwrap();
    let strange = file(&files, "strange.asc", &Signer::new().token(&eida, PATH, 3600, ""));
    let refused = run(&eida, &[signer.setting()], &["block", &strange]).await;
    assert!(status(&refused) == 1 && complained(&refused).contains("not signed by a trusted key"));
    let neither = run(&eida, &[], &["block", "/nonexistent"]).await;
    assert!(
        status(&neither) == 1 && complained(&neither).contains("no digest"),
        "{}",
        complained(&neither)
    );
}

#[tokio::test]
async fn a_blocked_token_ends_in_a_data_centres_databases_too() {
    let centre = Centre::new().await;
    let (eida, signer) = centre.start(&[]).await;
    let (auth, inventory) = (centre.auth().await, centre.inventory().await);
    let live = async || {
        [
            count(&auth, "users").await,
            count(&auth, "credentials").await,
            count(&inventory, "eida_temp_users").await,
        ]
    };
    let mut settings = centre.settings();
    settings.push(signer.setting());
    blocking(&eida, &signer, &settings, live).await;
}

#[tokio::test]
async fn cleanup_is_a_command_too() {
    let (eida, signer) = started(&["cleanup.interval=1000h"]).await;
    login(&eida, signer.token(&eida, PATH, 600, "")).await;
    connect(&eida)
        .await
        .batch_execute("UPDATE users SET expires_at = '2020-01-01'")
        .await
        .unwrap();
    let done = run(&eida, &[], &["cleanup"]).await;
    assert_eq!(
        printed(&done),
        "Deleted 1 temporary accounts.\n",
        "{}",
        complained(&done)
    );
    assert_eq!(count(&connect(&eida).await, "eida_temp_users").await, 0);
}

#[tokio::test]
#[ignore = "needs gpg"]
async fn the_keys_of_a_gpg_are_exported_and_read_again_when_they_change() {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages/made");
    let home = TempDir::new().unwrap();
    let gpg = |arguments: &[&str]| {
        let status = std::process::Command::new("gpg")
            .args(["--batch", "--quiet", "--homedir"])
            .arg(home.path())
            .args(arguments)
            .status();
        assert!(status.unwrap().success());
    };
    let import = |name: &str| {
        gpg(&[
            "--import",
            &made.join(format!("keys/{name}.asc")).display().to_string(),
        ]);
    };
    import("rsa4096");
    let setting = format!("gnupg_home={}", home.path().display());
    let eida = crate::EIDA.start(&["keyring=", &setting]).await;
    crate::signer::map(&connect(&eida).await, PATH, "Z3", 2015, 2022).await;
    let message = |name: &str| std::fs::read(made.join(format!("good/{name}.asc"))).unwrap();
    login(&eida, message("rsa4096")).await;
    assert_eq!(
        answer(&eida, message("ed25519")).await.0,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    import("ed25519");
    login(&eida, message("ed25519")).await;
    let refused = crate::EIDA
        .try_start(
            eida.database.clone(),
            &eida.clock,
            &["keyring=", "gnupg_home=/nonexistent"],
        )
        .ended()
        .await;
    assert!(refused.is_err());
}
