//! What `fuzz/` feeds with any bytes, and the tests with the inputs that are kept: readers of strangers'
//! input, each with what must hold of whatever it accepts. Not in what is built and shipped.
#![expect(clippy::missing_panics_doc, reason = "by a panic a target says what it found")]

use identity_core::crypto::jwt::{SharedAlgorithm, SharedKey, unverified_id};
use identity_core::http::body::json;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::forgotten::Form;
use crate::links::establish::identifier;
use crate::links::model::{Link, LinkClaims};
use crate::subjects::dates::{Moment, shown};
use crate::subjects::model::{Subject, grams, search_key};
use crate::subjects::query::ListQuery;
use crate::users::PasswordRules;
use crate::users::model::{UserChange, Username};

/// What a target does with an input; it panics where something does not hold.
pub type Target = fn(&[u8]);

/// Each target by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("idm_users_subject", subject),
    ("idm_users_query", query),
    ("idm_users_date", date),
    ("idm_users_link", link),
    ("idm_users_form", form),
];

fn members(data: &[u8]) -> Option<Map<String, Value>> {
    match json(data) {
        Ok(Value::Object(members)) => Some(members),
        _ => None,
    }
}

/// The moment at which targets look.
fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap_or_default()
}

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(members) => members.values().any(has_fraction),
        _ => false,
    }
}

/// A study subject: shown and sent back it is the same, and a change changes what it says.
pub fn subject(data: &[u8]) {
    let Some(given) = members(data) else { return };
    if let Ok(subject) = Subject::read(given.clone(), now()) {
        let document = subject.document();
        let again =
            members(document.to_string().as_bytes()).and_then(|given| Subject::read(given, now()).ok());
        assert!(has_fraction(&document) || again.as_ref().map(Subject::document) == Some(document.clone()));
        let mut same = subject;
        let sent_back = members(document.to_string().as_bytes()).unwrap_or_default();
        let changes = same.change(sent_back, now() + SignedDuration::from_mins(1));
        // A fraction may become another in its last digit.
        assert!(
            has_fraction(&document) || changes.is_ok_and(|changes| changes.is_empty()),
            "unchanged, and changed"
        );
    }
    let known = br#"{"sssid": "S-1", "name": "Mei Tanimoto", "bday": "1976-04-12", "site": {"room": 1}}"#;
    let known = members(known).and_then(|known| Subject::read(known, now()).ok());
    let Some(mut subject) = known else {
        panic!("a subject is refused")
    };
    let before = subject.document();
    match subject.change(given, now() + SignedDuration::from_mins(1)) {
        Ok(changes) => {
            assert_eq!(changes.is_empty(), subject.document() == before, "{changes:?}");
            // Each is a line of the audit trail, for Postgres and for people.
            assert!(changes.iter().all(|line| !line.contains('\0')), "{changes:?}");
        }
        Err(_) => assert!(!subject.name.is_empty()),
    }
}

/// The query of a list: in bounds, whatever it says, and nothing that Postgres does not take.
pub fn query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(read) = ListQuery::read(text) else { return };
    assert!((1..=500).contains(&read.page) && read.offset >= 0);
    assert!(read.status.is_none_or(|status| (0..=3).contains(&status)));
    if let Some(search) = &read.search {
        assert!(!search.contains('\0'));
        // Normalised once more it is the same, or nothing stored would be found by itself.
        assert_eq!(&search_key(search), search);
        assert!(grams(search).iter().all(|gram| gram.chars().count() == 3));
    }
}

/// A date: of these centuries, kept as it was written, and what we show is read as the same moment.
pub fn date(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(moment) = Moment::parse(text) else { return };
    assert!(text.contains(&moment.text) && moment.text.trim() == moment.text);
    let again = Moment::parse(&moment.text).map(|again| again.at);
    assert_eq!(again, Ok(moment.at));
    let ours = Moment::of(moment.at);
    // An offset can lead a day out of these centuries.
    if let Ok(read) = Moment::parse(&shown(moment.at)) {
        assert_eq!(read.at, ours.at);
    }
}

fn some_link() -> Link {
    Link {
        id: Uuid::nil(),
        sssid: "S-1".to_owned(),
        iss: "https://idm.example.org/".to_owned(),
        aud: "https://idm.example.org/".to_owned(),
        algorithm: SharedAlgorithm::HS256,
        secret: None,
        exp: None,
        claims: None,
        linked_to: None,
        linked_system: None,
        linked_on: None,
        withdrawn_on: None,
        created: now(),
        changed: now(),
    }
}

/// A change of a link, a FHIR Patient, a link's JWT: a link once established stays so, and a JWT that is
/// taken was signed by us.
pub fn link(data: &[u8]) {
    if let Some(given) = members(data) {
        let mut link = some_link();
        if let Ok(change) = link.change(&given, now()) {
            let document = link.document();
            assert_eq!(document.get("_id"), Some(&Value::from(Uuid::nil().to_string())));
            assert!(
                change
                    .secret
                    .is_none_or(|secret| secret.expose_secret().len() >= 32)
            );
            if link.linked_to.is_some() {
                assert!(link.linked_on.is_some());
                let before = link.linked_to.clone();
                let _ = link.change(&given, now());
                assert_eq!(link.linked_to, before);
            }
        }
    }
    if let Ok((value, system)) = identifier(data) {
        for text in [Some(value), system].into_iter().flatten() {
            assert!((1..=1024).contains(&text.chars().count()) && !text.chars().any(char::is_control));
        }
    }
    let Ok(token) = std::str::from_utf8(data) else {
        return;
    };
    let _ = unverified_id(token);
    let Some(key) = SharedKey::new(SharedAlgorithm::HS256, &[7; 32]) else {
        panic!("32 bytes are too short")
    };
    if let Ok(claims) = key.claims::<LinkClaims>(token) {
        let signed = key.sign(&claims);
        assert_eq!(signed.ok().as_deref(), Some(token), "we have not signed it");
    }
}

/// The forms of pages, the change of a user, a username: a password that is taken keeps the rules, and a
/// name that is taken is found again.
pub fn form(data: &[u8]) {
    let form = Form::read(data);
    let rules = PasswordRules { shortest: 8 };
    if form.wrong_password(rules).is_none() {
        assert!(form.password().expose_secret().chars().count() >= 8);
        assert!(rules.check(&form.password()).is_ok());
    }
    for field in [
        form.first(&["username", "email"]),
        std::str::from_utf8(data).unwrap_or_default(),
    ] {
        let Ok(name) = Username::parse(field) else {
            continue;
        };
        assert!(name.text.chars().count() <= 254 && name.text.contains('@'));
        assert!(
            !name
                .text
                .chars()
                .any(|character| character.is_control() || character.is_whitespace())
        );
        assert_eq!(Username::of_any(&name.text).key, name.key);
        assert_eq!(
            Username::of_any(&name.key).key,
            name.key,
            "compared once more it is another"
        );
    }
    if let Some(given) = members(data)
        && let Ok(change) = UserChange::read(&given)
    {
        assert!(change.password.is_some() || change.admin.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::query;

    #[test]
    fn every_input_that_is_kept_holds() {
        identity_testkit::replay("idm_users", super::TARGETS);
    }

    #[test]
    fn a_query_of_very_many_names_does_not_take_long() {
        let unknown: Vec<String> = (0..20_000).map(|number| format!("{number}=1&offset=1")).collect();
        let began = std::time::Instant::now();
        query(unknown.join("&").as_bytes());
        assert!(began.elapsed().as_secs() < 2, "{:?}", began.elapsed());
    }
}
