//! What `fuzz/` feeds with any bytes, and the tests with the inputs that are kept: readers of strangers'
//! input, each with what must hold of whatever it accepts. Not in what is built and shipped.
#![expect(clippy::missing_panics_doc, reason = "by a panic a target says what it found")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use actix_web::http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, EntityTag, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH,
};
use actix_web::test::TestRequest;
use data_encoding::BASE64;
use identity_core::crypto::jwt::SigningKey;
use identity_core::http::body::{json, media_type};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::Value;
use url::form_urlencoded;
use uuid::Uuid;

use crate::clients::model::Change as ClientChange;
use crate::keys::model::{Change as ConfigurationChange, Configuration, StoredKey};
use crate::oauth::request::{basic, form, presented};
use crate::records::media::Form;
use crate::records::model::{Account, Draft, Email, NewToken, User};
use crate::records::patch::{MEDIA_TYPES, Patch};
use crate::records::query::{Around, From, ListQuery};
use crate::records::tags::{is_expected, is_known};
use crate::tokens::authority::Snapshot;
use crate::tokens::model::{Grant, Link, Permission, Subject};
use crate::users::model::CredentialsChange;

/// What a target does with an input; it panics where something does not hold.
pub type Target = fn(&[u8]);

/// Each target by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("ident_record", record),
    ("ident_patch", patch),
    ("ident_query", query),
    ("ident_headers", headers),
    ("ident_oauth", oauth),
    ("ident_documents", documents),
    ("ident_token", token),
];

/// A record: one that is taken is taken again as it was stored, and people who are told apart by their
/// addresses stay apart.
pub fn record(data: &[u8]) {
    let Ok(document) = json(data) else { return };
    let Ok(draft) = Draft::read(document, &[]) else {
        return;
    };
    is_sound(&draft);
    let stored = draft.document();
    let again = Draft::read(stored.clone(), &[]);
    assert_eq!(again.map(|draft| draft.document()).ok(), Some(stored));
}

fn is_sound(draft: &Draft) {
    for text in [&draft.name, &draft.email.text] {
        assert!(!text.is_empty() && !text.chars().any(char::is_control) && text.trim() == text);
    }
    assert!(
        draft.email.key.chars().count() <= 320,
        "longer than its index takes"
    );
    let again = Email::new(draft.email.key.clone());
    assert_eq!(again.key, draft.email.key, "compared once more it is another");
    assert!(draft.services.len() <= 100);
}

fn somebody() -> User {
    let account = |id: &str| Account { id: id.to_owned() };
    User {
        id: 7,
        name: "Robb Stark".to_owned(),
        email: "king@deceased.north".to_owned(),
        services: BTreeMap::from([
            ("github".to_owned(), account("25")),
            ("gitlab".to_owned(), account("x/y~z")),
        ]),
        version: 3,
    }
}

/// A patch, the first letter of which says of which kind: what it makes is a record, and what others are
/// told of it holds no access token, and makes the same of the record.
pub fn patch(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    let (operations, merge) = MEDIA_TYPES.split_once(", ").unwrap_or_default();
    let media_type = if kind % 2 == 0 { operations } else { merge };
    let Ok(patch) = Patch::read(Some(media_type), body) else {
        return;
    };
    let user = somebody();
    let Ok(draft) = patch.apply(&user, &[]) else {
        return;
    };
    is_sound(&draft);
    let shown = patch.without_secrets(&user, &draft);
    let stored = draft.document();
    for account in draft.services.values() {
        let NewToken::Given(token) = &account.access_token else {
            continue;
        };
        let token = Value::from(token.expose_secret()).to_string();
        // Somebody may be called as their token is; and "path" stands in every operation.
        let may_stand_there = stored.to_string().contains(&token) || token.len() < 12;
        assert!(
            may_stand_there || !shown.to_string().contains(&token),
            "{shown} tells {token}"
        );
    }
    let told = Patch::read(Some(media_type), shown.to_string().as_bytes());
    let made = told.ok().and_then(|told| told.apply(&user, &[]).ok());
    assert_eq!(
        made.map(|made| made.document()),
        Some(stored),
        "others are told another change: {shown}"
    );
}

/// The query of a list: the links to the pages around lead, read again, to the same list from there.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(read) = ListQuery::read(text) else { return };
    assert!((1..=1000).contains(&read.page_size));
    let around = Around {
        ends: Some((11, 20)),
        before: true,
        behind: true,
    };
    let links = read.links("/", &around);
    let Some(links) = links.as_ref().and_then(|links| links.to_str().ok()) else {
        panic!("there are pages around, and no links")
    };
    let targets = links.split('<').skip(1).filter_map(|link| link.split_once('>'));
    let mut found = Vec::new();
    for (target, _) in targets {
        let Some(query) = target.strip_prefix("/?") else {
            panic!("{target}")
        };
        let Ok(next) = ListQuery::read(query) else {
            panic!("our own link is refused: {target}")
        };
        assert_eq!(
            (&next.filters, next.page_size),
            (&read.filters, read.page_size),
            "{target}"
        );
        found.push(next.from);
    }
    assert_eq!(found, [From::After(20), From::Before(11), From::Start]);
}

/// `Accept`, `If-Match`, `If-None-Match` and `Content-Type`, a line each.
pub fn headers(data: &[u8]) {
    let mut request = TestRequest::default();
    for (name, value) in [ACCEPT, IF_MATCH, IF_NONE_MATCH, CONTENT_TYPE]
        .into_iter()
        .zip(data.split(|byte| *byte == b'\n'))
    {
        if HeaderValue::from_bytes(value).is_ok() {
            request = request.append_header((name, value));
        }
    }
    let request = request.to_http_request();
    let header = |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let accept = header(&ACCEPT).unwrap_or("*/*").to_ascii_lowercase();
    if let Ok(form) = Form::accepted(&request) {
        let kind = form.media_type();
        let named = ["*/*", "application/*", kind]
            .iter()
            .any(|range| accept.contains(range));
        assert!(named || accept.contains('*'), "{accept} does not mean {kind}");
    }
    let tag = EntityTag::new_strong("7-3".to_owned());
    let names_it = |name| header(name).is_some_and(|value| value.contains("7-3") || value.contains('*'));
    assert!(names_it(&IF_NONE_MATCH) || !is_known(&request, &tag));
    let asks = request.headers().contains_key(IF_MATCH);
    assert!(names_it(&IF_MATCH) || is_expected(&request, &tag) != asks);
    if let Some(kind) = media_type(&request) {
        assert!(!kind.contains(';') && kind == kind.to_ascii_lowercase());
    }
}

/// The forms of `/oauth2/*` and the header Basic, the header's value in the first line: no parameter
/// counts twice, nobody authenticates in two ways, and what Basic carries is what was put into it.
pub fn oauth(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (credentials, body) = data.split_at(at);
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let mut request =
        TestRequest::default().append_header((CONTENT_TYPE, "application/x-www-form-urlencoded"));
    let credentials = std::str::from_utf8(credentials).unwrap_or_default();
    let sent = HeaderValue::from_str(credentials).is_ok() && !credentials.is_empty();
    if sent {
        request = request.append_header((AUTHORIZATION, credentials));
    }
    let request = request.to_http_request();
    if let Some((id, secret)) = basic(credentials) {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encode(&id), encode(secret.expose_secret()));
        let again = basic(&format!("Basic {}", BASE64.encode(pair.as_bytes())));
        let again = again.map(|(id, secret)| (id, secret.expose_secret().to_owned()));
        assert_eq!(again, Some((id, secret.expose_secret().to_owned())));
    }
    let Ok(form) = form(&request, body) else { return };
    let values = form_urlencoded::parse(body).filter(|(_, value)| !value.is_empty());
    assert_eq!(values.count(), form.len(), "one of two parameters was taken");
    let Ok((presented, by_header)) = presented(&request, &form) else {
        return;
    };
    let posted = form.contains_key("client_secret") || form.contains_key("client_assertion");
    assert!(!(by_header && posted), "in two ways");
    assert!(by_header || presented.secret.is_some() == form.contains_key("client_secret"));
    assert!(!by_header || sent);
}

/// What administrators send of clients, people and the configuration: what is taken can be shown.
pub fn documents(data: &[u8]) {
    let Ok(document) = json(data) else { return };
    if let Ok((client, generate)) =
        ClientChange::read(document.clone()).and_then(|change| change.create(Uuid::nil()))
    {
        assert!(
            generate || client.public_key.is_some(),
            "nothing authenticates it"
        );
        assert!(!client.name.trim().is_empty() && client.audiences.len() <= 100);
        assert!(
            client
                .permissions
                .iter()
                .all(|name| name.parse::<Permission>().is_ok())
        );
        let named = serde_json::json!({
            "name": client.name, "permissions": client.permissions, "audiences": client.audiences,
            "public_key": client.public_key, "static_signature": client.static_signature, "disabled": client.disabled,
            "generate_secret": true,
        });
        let again = ClientChange::read(named).and_then(|change| change.create(Uuid::nil()));
        assert_eq!(again.map(|(again, _)| again).ok(), Some(client));
    }
    if let Ok((configuration, key)) =
        ConfigurationChange::read(document.clone()).and_then(ConfigurationChange::complete)
    {
        assert!(configuration.jwt_expiration > 0 && configuration.jwt_max_refreshes >= 0);
        assert!(SigningKey::from_pem(key.pem.expose_secret()).is_ok());
    }
    let mut members = document.as_object().cloned().unwrap_or_default();
    let mut errors = Vec::new();
    let change = CredentialsChange::take(&mut members, &mut errors);
    assert!(
        ["username", "password"]
            .iter()
            .all(|name| !members.contains_key(*name))
    );
    if let Some(username) = change.username {
        assert!(!username.text.is_empty() && username.text.trim() == username.text);
    }
    if let Some(password) = change.password {
        assert!(password.expose_secret().chars().count() >= 8);
    }
}

/// The moment at which targets look.
fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap_or_default()
}

fn known() -> &'static (Snapshot, Vec<String>) {
    static KNOWN: OnceLock<(Snapshot, Vec<String>)> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let pems = [
            include_str!("../../../fuzz/keys/ed25519.pem"),
            include_str!("../../../fuzz/keys/p256.pem"),
        ];
        let now = now();
        let keys = pems.into_iter().filter_map(|pem| {
            let key = SigningKey::from_pem(pem).ok()?;
            Some(Arc::new(StoredKey {
                key,
                signs_from: Timestamp::UNIX_EPOCH,
                withdrawn_at: None,
            }))
        });
        let mut snapshot = Snapshot {
            keys: keys.collect(),
            configuration: Some(Configuration {
                jwt_expiration: 900,
                jwt_issuer: "https://ident.example.org".to_owned(),
                jwt_max_refreshes: 96,
            }),
            revoked_families: HashSet::new(),
            revoked_subjects: HashMap::new(),
        };
        let link = Link {
            family: Uuid::from_u128(0x0197_f3c2_7a00_7000_8000_0000_0000_0000),
            generation: 0,
        };
        let subjects = [Subject::User(7), Subject::Client(Uuid::from_u128(9))];
        let mut signed = Vec::new();
        for _ in 0..snapshot.keys.len() {
            for subject in subjects {
                let grant = Grant {
                    subject,
                    audience: "https://ident.example.org".to_owned(),
                    permissions: vec!["users:read".to_owned()],
                    email: None,
                };
                let token = snapshot
                    .issue(&grant, link, now)
                    .map(|issued| issued.token)
                    .unwrap_or_default();
                signed.extend(token.rsplit_once('.').map(|(signed, _)| signed.to_owned()));
            }
            snapshot.keys.rotate_left(1);
        }
        assert_eq!(signed.len(), 4);
        (snapshot, signed)
    })
}

/// A bearer token: one that is accepted is one that we have issued. And the parts of its claims.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (snapshot, signed) = known();
    if let Ok(verified) = snapshot.verify(text, None, now()) {
        let part = text.rsplit_once('.').map(|(part, _)| part);
        assert!(
            signed.iter().any(|ours| Some(ours.as_str()) == part),
            "we have not issued it"
        );
        assert_eq!(verified.link.to_string(), verified.claims.id);
        assert!(snapshot.still_holds(&verified, now()));
    }
    if let Ok(link) = text.parse::<Link>() {
        assert_eq!(link.to_string().parse(), Ok(link));
        let _ = link.began();
        let _ = link.next();
    }
    for kind in ["user", "client"] {
        if let Some(subject) = Subject::read(kind, text) {
            assert_eq!(Subject::read(subject.kind(), &subject.to_string()), Some(subject));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::query;

    #[test]
    fn every_input_that_is_kept_holds() {
        identity_testkit::replay("ident", super::TARGETS);
    }

    #[test]
    fn a_query_of_very_many_names_does_not_take_long() {
        let names: Vec<String> = (0..20_000).map(|number| format!("{number}=1")).collect();
        let began = std::time::Instant::now();
        query(names.join("&").as_bytes());
        assert!(began.elapsed().as_secs() < 2, "{:?}", began.elapsed());
    }
}
