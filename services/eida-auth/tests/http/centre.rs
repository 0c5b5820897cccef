//! A data centre's own two databases, shaped as the original's, reached by a role that may no more than
//! the original's.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use identity_core::clock::Clock;
use identity_core::db::tokio_postgres::{self, Client, NoTls};
use identity_testkit::{Proxy, TestDatabase, TestService, output};
use jiff::Timestamp;
use reqwest::StatusCode;

use crate::EIDA;
use crate::processes::{complained, eida_in, status};
use crate::signer::{PATH, Signer, answer, count, digest, login, row};

/// The databases of a data centre, and the role of the service there.
pub struct Centre {
    databases: Option<[TestDatabase; 2]>,
    role: String,
}

const AUTHENTICATION: &str = "
    CREATE SEQUENCE users_user_index_seq;
    CREATE TABLE users (
        user_index integer PRIMARY KEY DEFAULT nextval('users_user_index_seq'),
        login varchar(64) NOT NULL,
        firstname varchar(64) NOT NULL,
        lastname varchar(64) NOT NULL,
        mail varchar(128) NOT NULL
    );
    ALTER TABLE users ADD COLUMN IF NOT EXISTS expires_at timestamp DEFAULT NULL;
    CREATE TABLE credentials (
        user_index integer NOT NULL REFERENCES users (user_index),
        plain text,
        \"Hash\" text NOT NULL
    );
    CREATE TABLE epos_fdsn (epos_name text, network text, start_year integer, end_year integer);
    INSERT INTO users (login, firstname, lastname, mail) VALUES ('resident', 'A', 'Resident', 'a@example.org');
    INSERT INTO credentials VALUES (1, NULL, 'x');
    INSERT INTO epos_fdsn VALUES ('/epos/alparray', 'Z3', 2015, 2022), ('/epos/alparray', 'QQ', 2015, 2022);
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE users, credentials TO {role};
    GRANT SELECT, UPDATE ON SEQUENCE users_user_index_seq TO {role};
    GRANT SELECT ON TABLE epos_fdsn TO {role};";

const INVENTORY: &str = "
    CREATE TABLE networks (network_id bigint PRIMARY KEY, network text, start_year integer, end_year integer, name text);
    INSERT INTO networks VALUES (0, '', 0, 0, ''), (7, 'Z3', 2015, 2022, 'AlpArray'), (8, 'Z3', 2001, 2002, 'Older');
    CREATE SEQUENCE aut_user_user_id_seq;
    CREATE TABLE eida_temp_users (
        user_id integer NOT NULL DEFAULT nextval('aut_user_user_id_seq') PRIMARY KEY,
        network_id bigint DEFAULT 0 REFERENCES networks ON DELETE SET DEFAULT,
        network text NOT NULL,
        start_year integer NOT NULL DEFAULT 0,
        end_year integer NOT NULL DEFAULT 0,
        name text NOT NULL,
        UNIQUE (network, start_year, end_year, name)
    );
    INSERT INTO eida_temp_users (network_id, network, name) VALUES (7, 'Z3', 'resident');
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE eida_temp_users TO {role};
    GRANT SELECT ON TABLE networks TO {role};
    GRANT SELECT, UPDATE ON SEQUENCE aut_user_user_id_seq TO {role};";

impl Centre {
    pub async fn new() -> Self {
        let databases = [TestDatabase::empty().await, TestDatabase::empty().await];
        let name = databases[0].url().rsplit('/').next().unwrap().to_owned();
        let role = format!("eidawsauth_{name}");
        let centre = Self {
            databases: Some(databases),
            role,
        };
        // Where the wall clock is another than UTC's.
        let (auth, inventory) = (centre.auth().await, centre.inventory().await);
        let role = &centre.role;
        let sql = format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'eida'; ALTER ROLE {role} SET timezone = 'Europe/Paris'"
        );
        auth.batch_execute(&sql).await.unwrap();
        auth.batch_execute(&AUTHENTICATION.replace("{role}", role))
            .await
            .unwrap();
        inventory
            .batch_execute(&INVENTORY.replace("{role}", role))
            .await
            .unwrap();
        centre
    }

    pub fn database(&self, number: usize) -> &TestDatabase {
        &self.databases.as_ref().unwrap()[number]
    }

    /// The authentication database, as its owner.
    pub async fn auth(&self) -> Client {
        self.database(0).connect("public").await
    }

    /// The privilege database, as its owner.
    pub async fn inventory(&self) -> Client {
        self.database(1).connect("public").await
    }

    /// `url` with the role of the service.
    fn as_role(&self, url: &str) -> String {
        let (scheme, rest) = url.split_once("://").unwrap();
        let address = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
        format!("{scheme}://{}:eida@{address}", self.role)
    }

    /// The settings that lead to both.
    pub fn settings(&self) -> Vec<String> {
        ["authdb", "privilegedb"]
            .iter()
            .enumerate()
            .map(|(number, section)| format!("{section}.url={}", self.as_role(&self.database(number).url())))
            .collect()
    }

    /// The settings that lead to both through proxies.
    pub fn behind_proxies(&self) -> ([Proxy; 2], Vec<String>) {
        let [auth, inventory] = [0, 1].map(|number| self.database(number).behind_proxy());
        let settings = vec![
            format!("authdb.url={}", self.as_role(&auth.1)),
            format!("privilegedb.url={}", self.as_role(&inventory.1)),
        ];
        ([auth.0, inventory.0], settings)
    }

    /// An instance with a database of its own beside, and a signer that it trusts.
    pub async fn start(&self, settings: &[&str]) -> (TestService, Signer) {
        let signer = Signer::new();
        let eida = self.start_with(&signer, &self.settings(), settings).await;
        (eida, signer)
    }

    pub async fn start_with(&self, signer: &Signer, databases: &[String], settings: &[&str]) -> TestService {
        let keyring = signer.setting();
        let all: Vec<&str> = databases
            .iter()
            .map(String::as_str)
            .chain([keyring.as_str(), "cleanup.interval=1000h"])
            .chain(settings.iter().copied())
            .collect();
        EIDA.start(&all).await
    }
}

impl Drop for Centre {
    fn drop(&mut self) {
        let url = self.database(0).url();
        let (server, _) = url.rsplit_once('/').unwrap();
        let (server, role) = (format!("{server}/postgres"), self.role.clone());
        self.databases = None;
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let (client, connection) = tokio_postgres::connect(&server, NoTls).await.unwrap();
                tokio::spawn(connection);
                client
                    .batch_execute(&format!("DROP ROLE IF EXISTS {role}"))
                    .await
                    .unwrap();
            });
        });
        drop(dropped.join());
    }
}

#[tokio::test]
async fn a_login_is_written_into_both_databases_with_no_more_than_the_originals_privileges() {
    for expires in [false, true] {
        let centre = Centre::new().await;
        let (auth, inventory) = (centre.auth().await, centre.inventory().await);
        if expires {
            inventory
                .batch_execute("ALTER TABLE eida_temp_users ADD COLUMN expires_at timestamp")
                .await
                .unwrap();
        }
        let (eida, signer) = centre.start(&[]).await;
        let ready = eida.get("/readyz").send().await.unwrap().text().await.unwrap();
        assert_eq!(ready, "database: ok\nauthdb: ok\nprivilegedb: ok\nservice: ok\n");
        let (login, password) = login(&eida, signer.token(&eida, PATH, 86400 * 30, "")).await;
        let user = row(
            &auth,
            "SELECT login, firstname, lastname, mail FROM users WHERE expires_at IS NOT NULL",
        )
        .await;
        let expected = serde_json::json!({"login": login, "firstname": "Temp", "lastname": "EIDA", "mail": format!("{login}@eida")});
        assert_eq!(user, expected);
        let sql = format!(
            r#"SELECT plain, "Hash" FROM credentials JOIN users USING (user_index) WHERE login = '{login}'"#
        );
        assert_eq!(
            row(&auth, &sql).await,
            serde_json::json!({"plain": null, "Hash": digest(&login, &password)})
        );
        let sql = format!(
            "SELECT network_id, network, start_year, end_year FROM eida_temp_users WHERE name = '{login}'"
        );
        let expected =
            serde_json::json!({"network_id": 7, "network": "Z3", "start_year": 2015, "end_year": 2022});
        assert_eq!(row(&inventory, &sql).await, expected);
        // By the wall clock of whoever reads with the role's settings.
        let ends = |table: &str| {
            format!("SELECT expires_at AT TIME ZONE 'Europe/Paris' FROM {table} WHERE expires_at IS NOT NULL")
        };
        let mut all = vec![
            auth.query_one(&ends("users"), &[])
                .await
                .unwrap()
                .get::<_, Timestamp>(0),
        ];
        if expires {
            all.push(
                inventory
                    .query_one(&ends("eida_temp_users"), &[])
                    .await
                    .unwrap()
                    .get(0),
            );
        }
        for end in all {
            let span = end.duration_since(eida.clock.now()).as_secs();
            assert!((86380..=86400).contains(&span), "{span}");
        }
        // And it ends, with nothing else.
        eida.clock.advance(std::time::Duration::from_secs(86401));
        let cleaned = eida.get("/cleanup").send().await.unwrap().text().await.unwrap();
        assert_eq!(cleaned, "Deleted 1 temporary accounts.");
        for (client, table) in [
            (&auth, "users"),
            (&auth, "credentials"),
            (&inventory, "eida_temp_users"),
        ] {
            assert_eq!(count(client, table).await, 1, "{table}");
        }
    }
}

#[tokio::test]
async fn both_databases_can_be_the_same_one() {
    let centre = Centre::new().await;
    let auth = centre.auth().await;
    auth.batch_execute(&INVENTORY.replace("{role}", &centre.role))
        .await
        .unwrap();
    let url = centre.as_role(&centre.database(0).url());
    let same = ["authdb", "privilegedb"].map(|section| format!("{section}.url={url}"));
    let signer = Signer::new();
    let eida = centre.start_with(&signer, &same, &[]).await;
    let (login, _) = login(&eida, signer.token(&eida, PATH, 86400, "")).await;
    let sql = format!(
        "SELECT network FROM eida_temp_users JOIN users ON login = eida_temp_users.name WHERE login = '{login}'"
    );
    assert_eq!(row(&auth, &sql).await, serde_json::json!({"network": "Z3"}));
    eida.clock.advance(std::time::Duration::from_secs(86401));
    let cleaned = eida.get("/cleanup").send().await.unwrap().text().await.unwrap();
    assert_eq!(cleaned, "Deleted 1 temporary accounts.");
}

#[tokio::test]
async fn without_a_database_of_our_own_two_suffice() {
    let centre = Centre::new().await;
    let (eida, signer) = centre
        .start(&["database.postgres.url=", "credentials.max_per_token=2"])
        .await;
    let ready = eida.get("/readyz").send().await.unwrap().text().await.unwrap();
    assert_eq!(ready, "database: ok\nprivilegedb: ok\nservice: ok\n");
    let token = signer.token(&eida, PATH, 86400, "");
    login(&eida, token.clone()).await;
    login(&eida, token.clone()).await;
    assert_eq!(
        answer(&eida, token.clone()).await.0,
        StatusCode::TOO_MANY_REQUESTS
    );
    let (status, text) = answer(&eida, signer.token(&eida, "/nothing", 3600, "")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(text.contains("Mapped here: /epos/alparray."), "{text}");
    eida.clock.advance(std::time::Duration::from_hours(23));
    assert_eq!(
        answer(&eida, token.clone()).await.0,
        StatusCode::TOO_MANY_REQUESTS
    );
    let again = signer.token(&eida, PATH, 86400, "another");
    for _ in 0..2 {
        login(&eida, again.clone()).await;
    }
    assert_eq!(count(&centre.auth().await, "users").await, 5);
}

#[tokio::test]
async fn a_derived_login_is_renewed_in_both_databases() {
    let centre = Centre::new().await;
    let settings = [
        "credentials.mode=derived",
        "credentials.secret=a secret of at least 32 characters",
        "credentials.lifetime=1h",
    ];
    let (eida, signer) = centre.start(&settings).await;
    let (auth, inventory) = (centre.auth().await, centre.inventory().await);
    let token = signer.token(&eida, PATH, 86400, "");
    let first = login(&eida, token.clone()).await;
    let all = futures_util::future::join_all((0..10).map(|_| login(&eida, token.clone()))).await;
    assert!(all.iter().all(|again| *again == first));
    let ends = async || -> Timestamp {
        let sql = "SELECT expires_at AT TIME ZONE 'Europe/Paris' FROM users WHERE expires_at IS NOT NULL";
        auth.query_one(sql, &[]).await.unwrap().get(0)
    };
    let before = ends().await;
    // The inventory has learnt of a network of the mapping.
    inventory
        .batch_execute("INSERT INTO networks VALUES (9, 'QQ', 2015, 2022, '')")
        .await
        .unwrap();
    eida.clock.advance(std::time::Duration::from_mins(30));
    assert_eq!(login(&eida, token.clone()).await, first);
    assert!(ends().await > before);
    assert_eq!(count(&inventory, "eida_temp_users").await, 3);
    assert_eq!(count(&auth, "users").await, 2);
    // The account of a resident who happens to have this login is not touched.
    auth.batch_execute("UPDATE users SET expires_at = NULL")
        .await
        .unwrap();
    assert_ne!(answer(&eida, token).await.0, StatusCode::OK);
    assert_eq!(count(&auth, "users WHERE expires_at IS NULL").await, 2);
}

#[tokio::test]
async fn tables_may_have_other_names_and_another_schema() {
    let centre = Centre::new().await;
    let (auth, inventory) = (centre.auth().await, centre.inventory().await);
    let role = &centre.role;
    let sql = format!(
        r#"CREATE SCHEMA eida; GRANT USAGE ON SCHEMA eida TO {role};
           ALTER TABLE users SET SCHEMA eida; ALTER TABLE credentials SET SCHEMA eida; ALTER TABLE epos_fdsn SET SCHEMA eida;
           ALTER SEQUENCE users_user_index_seq SET SCHEMA eida;
           ALTER TABLE eida.users RENAME TO "My ""Users"""; ALTER TABLE eida.credentials RENAME TO "Credentials";
           ALTER TABLE eida.epos_fdsn RENAME TO mapping"#
    );
    auth.batch_execute(&sql).await.unwrap();
    inventory.batch_execute("ALTER TABLE networks RENAME TO inv; ALTER TABLE eida_temp_users RENAME TO access; ALTER TABLE access RENAME name TO login").await.unwrap();
    let (eida, signer) = centre
        .start(&[
            "authdb.schema=eida",
            r#"authdb.users_table=My "Users""#,
            "authdb.credentials_table=Credentials",
            "authdb.mapping_table=mapping",
            "privilegedb.networks_table=inv",
            "privilegedb.privileges_table=access",
        ])
        .await;
    let (name, _) = login(&eida, signer.token(&eida, PATH, 600, "")).await;
    assert_eq!(
        row(&inventory, "SELECT login FROM access WHERE user_id = 2").await["login"],
        name
    );
    eida.clock.advance(std::time::Duration::from_secs(601));
    let cleaned = eida.get("/cleanup").send().await.unwrap().text().await.unwrap();
    assert_eq!(cleaned, "Deleted 1 temporary accounts.");
}

#[tokio::test]
async fn what_a_database_lacks_is_named_at_start() {
    let centre = Centre::new().await;
    let (auth, inventory) = (centre.auth().await, centre.inventory().await);
    let role = centre.role.clone();
    let settings = centre.settings();
    let complaint = async |more: &[&str]| {
        let mut arguments: Vec<&str> = settings
            .iter()
            .chain([])
            .flat_map(|setting| ["--set", setting.as_str()])
            .collect();
        arguments.extend(more.iter().flat_map(|setting| ["--set", setting]));
        arguments.extend(["mapping", "list"]);
        let ended = output(eida_in(&[], &arguments)).await;
        (status(&ended), complained(&ended))
    };
    assert_eq!(complaint(&[]).await.0, 0);
    for (breaking, mending, expected) in [
        (
            "ALTER TABLE users RENAME expires_at TO ends",
            "ALTER TABLE users RENAME ends TO expires_at",
            "authdb.users_table: the table users lacks the column expires_at",
        ),
        (
            "ALTER TABLE users RENAME login TO l; ALTER TABLE users RENAME user_index TO i",
            "ALTER TABLE users RENAME l TO login; ALTER TABLE users RENAME i TO user_index",
            "lacks the column user_index, the column login",
        ),
        (
            "ALTER TABLE users ALTER expires_at TYPE date",
            "ALTER TABLE users ALTER expires_at TYPE timestamp",
            "the column expires_at, which is date",
        ),
        (
            "ALTER TABLE users ADD COLUMN needed text NOT NULL DEFAULT 'x'; ALTER TABLE users ALTER needed DROP DEFAULT",
            "ALTER TABLE users DROP COLUMN needed",
            "a default for the column needed",
        ),
        (
            "ALTER TABLE credentials RENAME TO c",
            "ALTER TABLE c RENAME TO credentials",
            "authdb.credentials_table: there is no table credentials in the schema public",
        ),
        (
            "ALTER TABLE epos_fdsn RENAME network TO n",
            "ALTER TABLE epos_fdsn RENAME n TO network",
            "authdb.mapping_table: the table epos_fdsn lacks the column network",
        ),
        (
            "REVOKE INSERT, DELETE ON users FROM {role}",
            "GRANT INSERT, DELETE ON users TO {role}",
            "the table users lacks the privilege INSERT, DELETE for our role",
        ),
    ] {
        auth.batch_execute(&breaking.replace("{role}", &role))
            .await
            .unwrap();
        let (status, text) = complaint(&[]).await;
        assert!(status == 2 && text.contains(expected), "{status} {text}");
        auth.batch_execute(&mending.replace("{role}", &role))
            .await
            .unwrap();
    }
    inventory
        .batch_execute(
            "ALTER TABLE networks RENAME network_id TO id; ALTER TABLE eida_temp_users RENAME name TO who",
        )
        .await
        .unwrap();
    let (status_of, text) = complaint(&[]).await;
    assert!(
        status_of == 2
            && text.contains("privilegedb.networks_table: the table networks lacks the column network_id"),
        "{text}"
    );
    inventory
        .batch_execute("ALTER TABLE networks RENAME id TO network_id")
        .await
        .unwrap();
    let (_, text) = complaint(&[]).await;
    assert!(
        text.contains("privilegedb.privileges_table: the table eida_temp_users lacks the column name"),
        "{text}"
    );
    inventory
        .batch_execute("ALTER TABLE eida_temp_users RENAME who TO name")
        .await
        .unwrap();
    let (status_of, text) = complaint(&["privilegedb.networks_table=nothing"]).await;
    assert!(
        status_of == 2 && text.contains("there is no table nothing"),
        "{text}"
    );
    let (status_of, text) = complaint(&[
        "authdb.url=postgresql://nobody@127.0.0.1:1/x",
        "authdb.connect_timeout=1s",
    ])
    .await;
    assert!(status_of == 129 && text.contains("authdb"), "{status_of} {text}");
    let (status_of, text) = complaint(&["authdb.url=", "authdb.user=eida"]).await;
    assert!(status_of == 2 && text.contains("authdb.database"), "{text}");
}

#[tokio::test]
async fn one_of_the_two_may_be_ours() {
    let centre = Centre::new().await;
    let signer = Signer::new();
    let settings = centre.settings();
    let eida = centre.start_with(&signer, &settings[1..], &[]).await;
    let own = eida.database.connect("eida_auth").await;
    own.batch_execute("INSERT INTO epos_fdsn VALUES ('/epos/alparray', 'Z3', 2015, 2022)")
        .await
        .unwrap();
    let (name, _) = login(&eida, signer.token(&eida, PATH, 600, "")).await;
    assert_eq!(row(&own, "SELECT login FROM users").await["login"], name);
    assert_eq!(count(&centre.inventory().await, "eida_temp_users").await, 2);
    assert_eq!(count(&own, "eida_temp_users").await, 0);
    let clock = Clock::system();
    clock.advance(std::time::Duration::from_secs(700));
    let all: Vec<&str> = settings[1..].iter().map(String::as_str).collect();
    let other = EIDA.start_on(Arc::clone(&eida.database), &clock, &all).await;
    other.get("/cleanup").send().await.unwrap();
    assert_eq!(count(&own, "users").await, 0);
    assert_eq!(count(&centre.inventory().await, "eida_temp_users").await, 1);
}
