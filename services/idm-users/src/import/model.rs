//! What becomes of a document: users, subjects, links and the lines of their history, each as strict as over HTTP.

use identity_core::crypto::fernet::Keys;
use identity_core::crypto::jwt::{SharedAlgorithm, SharedKey};
use identity_core::http::Invalid;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::links::{Link, LinkChangeRefused, LinkClaims, link_id, secret_place};
use crate::subjects::Subject;
use crate::users::Username;

/// What the original shows for an actor who is gone.
pub const UNKNOWN_ACTOR: &str = "Unknown Actor";

/// The kind of a document, by its member `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    User,
    Subject,
    Link,
    Audit,
}

impl Kind {
    /// All, in the order in which they are taken.
    pub const ALL: [Self; 4] = [Self::User, Self::Subject, Self::Link, Self::Audit];

    /// Its name in `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Subject => "subject",
            Self::Link => "link",
            Self::Audit => "audit",
        }
    }

    /// What its documents are called.
    pub fn title(self) -> &'static str {
        match self {
            Self::User => "users",
            Self::Subject => "subjects",
            Self::Link => "links",
            Self::Audit => "audit rows",
        }
    }
}

/// A document with what it is known by.
#[derive(Debug)]
pub struct Document {
    pub id: String,
    pub kind: Kind,
    /// The username of a user, the SSSID of a subject.
    pub key: Option<String>,
    /// Of a line of a history; of everything else the beginning of time, so that it stays in its order.
    pub at: Timestamp,
    pub members: Map<String, Value>,
}

impl Document {
    /// Reads what every document has.
    ///
    /// # Errors
    /// What is missing.
    pub fn read(mut members: Map<String, Value>) -> Result<Self, String> {
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let id = text("_id").ok_or("it has no _id")?;
        let name = text("type").ok_or("it has no type")?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == name);
        let kind =
            kind.ok_or_else(|| format!("its type `{name}` is none of user, subject, link and audit"))?;
        let key = match kind {
            Kind::User => text("username").map(|username| Username::of_any(&username).key),
            Kind::Subject => text("sssid").map(|sssid| sssid.trim().to_owned()),
            Kind::Link | Kind::Audit => None,
        };
        // Postgres takes no NUL in a text.
        if id.contains('\0') || key.as_deref().is_some_and(|key| key.contains('\0')) {
            return Err("it is known by a text with a NUL".to_owned());
        }
        let at = match kind {
            Kind::Audit => moment(members.get("datetime")).or_else(|| moment(members.get("epoch"))),
            Kind::User | Kind::Subject | Kind::Link => None,
        };
        let at = at.unwrap_or(Timestamp::UNIX_EPOCH);
        members.remove("_id");
        members.remove("type");
        Ok(Self {
            id,
            kind,
            key,
            at,
            members,
        })
    }
}

/// A user; the password, a hash by bcrypt, stays behind.
///
/// # Errors
/// Why it can be none.
pub fn user(members: &Map<String, Value>) -> Result<(Username, bool), String> {
    let username = members
        .get("username")
        .and_then(Value::as_str)
        .ok_or("it has no username")?;
    let username = Username::parse(username).map_err(|expected| format!("username: {expected}"))?;
    match members.get("admin") {
        None | Some(Value::Null) => Ok((username, false)),
        Some(Value::Bool(admin)) => Ok((username, *admin)),
        Some(_) => Err("admin: expected true or false".to_owned()),
    }
}

/// A subject, made and changed when the original says; also when it was made first, if it was.
///
/// # Errors
/// All that is not valid.
pub fn subject(members: Map<String, Value>, now: Timestamp) -> Result<(Subject, Timestamp), String> {
    let created = moment(members.get("created"));
    let changed = moment(members.get("changed")).or(created).unwrap_or(now);
    let subject = Subject::read(members, changed).map_err(|errors| told(&errors))?;
    Ok((subject, created.unwrap_or(changed)))
}

/// A link, and what of it could not be kept.
///
/// # Errors
/// Why it can be none.
pub fn link(
    id: &str,
    mut members: Map<String, Value>,
    service_secret: &SecretString,
    at_rest: &Keys,
    now: Timestamp,
) -> Result<(Link, Option<String>), String> {
    let id = link_id(id).ok_or("its _id is neither an ObjectId nor a UUID")?;
    let created = moment(members.get("created")).unwrap_or(now);
    let changed = moment(members.get("changed")).unwrap_or(created);
    for name in ["sub", "iss", "aud"] {
        if !members.contains_key(name) {
            return Err(format!("it has no {name}"));
        }
    }
    let mut taken = |name: &str| {
        members
            .remove(name)
            .as_ref()
            .and_then(Value::as_str)
            .map(ToOwned::to_owned)
    };
    let (jwt, secret) = (taken("_jwt"), taken("secret"));
    members.retain(|name, _| !["created", "changed"].contains(&name.as_str()));
    let mut link = Link {
        id,
        sssid: String::new(),
        iss: String::new(),
        aud: String::new(),
        algorithm: SharedAlgorithm::HS256,
        secret: None,
        exp: None,
        claims: None,
        linked_to: None,
        linked_system: None,
        linked_on: None,
        withdrawn_on: None,
        created,
        changed,
    };
    link.change(&members, changed).map_err(|refused| match refused {
        LinkChangeRefused::Invalid(errors) => told(&errors),
        LinkChangeRefused::Fixed(name) => format!("{name}: cannot be set"),
    })?;
    link.changed = changed;
    let Some(jwt) = jwt.filter(|_| link.linked_to.is_none()) else {
        return Ok((link, None));
    };
    let secret = secret.unwrap_or_default();
    let key = SharedKey::new(link.algorithm, secret.as_bytes());
    let claims = key.and_then(|key| key.claims::<LinkClaims>(&jwt).ok());
    let claims = claims.filter(|claims| link_id(&claims.jti) == Some(id));
    let Some(claims) = claims else {
        // It is made anew when somebody asks for it.
        link.exp = None;
        let note =
            "taken without its JWT, whose secret is too short or another: who was given it gets a new one";
        return Ok((link, Some(note.to_owned())));
    };
    if secret != service_secret.expose_secret() {
        link.secret = Some(at_rest.seal(&secret_place(id), secret.as_bytes()));
    }
    link.claims = Some(claims);
    Ok((link, None))
}

/// A line of a history: when, by whom (the id of a user), of which document, what.
#[derive(Debug)]
pub struct Line {
    pub at: Timestamp,
    pub actor: Option<String>,
    pub document: String,
    pub action: String,
}

/// Reads a line.
///
/// # Errors
/// What is missing.
pub fn line(members: &Map<String, Value>) -> Result<Line, String> {
    let text = |name: &str| {
        let text = members.get(name).and_then(Value::as_str);
        text.map(|text| text.replace('\0', ""))
    };
    let at = moment(members.get("datetime")).or_else(|| moment(members.get("epoch")));
    Ok(Line {
        at: at.ok_or("it has no datetime")?,
        actor: text("actor"),
        document: text("document").ok_or("it has no document")?,
        action: text("action").ok_or("it has no action")?,
    })
}

/// A moment, as the original's releases wrote it: Unix seconds, or ISO 8601 with an offset.
pub fn moment(value: Option<&Value>) -> Option<Timestamp> {
    match value? {
        Value::Number(seconds) => Timestamp::from_second(seconds.as_i64()?).ok(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// What is wrong, in a line.
fn told(errors: &[Invalid]) -> String {
    let each = errors
        .iter()
        .map(|error| format!("{} {}", error.pointer.trim_start_matches('/'), error.detail));
    each.collect::<Vec<_>>().join("; ")
}
