//! A link, and what a change of it may change.

use data_encoding::HEXLOWER_PERMISSIVE;
use identity_core::crypto::jwt::SharedAlgorithm;
use identity_core::http::Invalid;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::subjects::{Moment, shown};

/// The most characters of a text.
const LONGEST_TEXT: usize = 1024;
/// The length of an id of the original.
pub(crate) const OBJECT_ID: usize = 24;

/// A link.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) id: Uuid,
    pub(crate) sssid: String,
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) algorithm: SharedAlgorithm,
    /// A secret of its own, sealed; none: the service's.
    pub(crate) secret: Option<String>,
    pub(crate) exp: Option<Timestamp>,
    /// What its JWT says, once that was made.
    pub(crate) claims: Option<LinkClaims>,
    pub(crate) linked_to: Option<String>,
    pub(crate) linked_system: Option<String>,
    pub(crate) linked_on: Option<Moment>,
    pub(crate) withdrawn_on: Option<Moment>,
    pub(crate) created: Timestamp,
    pub(crate) changed: Timestamp,
}

/// The claims of a link's JWT, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LinkClaims {
    /// The link's id.
    pub(crate) jti: String,
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) exp: i64,
    /// The subject's name.
    pub(crate) sub: String,
    pub(crate) birthdate: String,
}

impl Link {
    /// The link as it is shown.
    pub(crate) fn document(&self) -> Value {
        let mut members = Map::new();
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
        let moment = |moment: &Option<Moment>| moment.as_ref().map(|moment| json!(moment.text));
        add("_id", Some(json!(self.id)));
        add("sub", Some(json!(self.sssid)));
        add("iss", Some(json!(self.iss)));
        add("aud", Some(json!(self.aud)));
        add("algorithm", Some(json!(self.algorithm)));
        add("exp", self.exp.map(|exp| json!(exp.as_second())));
        add("linked_to", text(&self.linked_to));
        add("linked_system", text(&self.linked_system));
        add("linked_on", moment(&self.linked_on));
        add("withdrawn_on", moment(&self.withdrawn_on));
        add("created", Some(json!(shown(self.created))));
        add("changed", Some(json!(shown(self.changed))));
        Value::Object(members)
    }

    /// Changes what `members` name.
    ///
    /// # Errors
    /// [`Refused`]
    pub(crate) fn change(&mut self, members: &Map<String, Value>, now: Timestamp) -> Result<Change, Refused> {
        let wish = Wish::read(members).map_err(Refused::Invalid)?;
        if wish.id.is_some_and(|id| id != self.id.to_string()) {
            return Err(Refused::Fixed("_id"));
        }
        let mut change = Change::default();
        self.change_before_jwt(wish.before, &mut change)?;
        self.change_connection(
            wish.linked_to,
            wish.linked_system,
            wish.linked_on,
            now,
            &mut change,
        )?;
        match (&self.withdrawn_on, wish.withdrawn_on) {
            (Some(_), None) if wish.not_withdrawn => return Err(Refused::Fixed("withdrawn_on")),
            (_, None) => {}
            (Some(old), Some(new)) if old.at == new.at => {}
            (Some(_), Some(_)) => return Err(Refused::Fixed("withdrawn_on")),
            (None, Some(new)) => {
                change.note("withdrawn_on", &Value::Null, &json!(new.text));
                self.withdrawn_on = Some(new);
            }
        }
        if !change.lines.is_empty() {
            self.changed = now;
        }
        Ok(change)
    }

    /// What a JWT, once made, says or is signed with.
    fn change_before_jwt(&mut self, wish: BeforeJwt, change: &mut Change) -> Result<(), Refused> {
        let made = self.claims.is_some();
        let fixed = |name| if made { Err(Refused::Fixed(name)) } else { Ok(()) };
        if let Some(sub) = wish.sub.filter(|sub| *sub != self.sssid) {
            fixed("sub")?;
            change.note("sub", &json!(self.sssid), &json!(sub));
            change.moved_from = Some(std::mem::replace(&mut self.sssid, sub));
        }
        if let Some(iss) = wish.iss.filter(|iss| *iss != self.iss) {
            fixed("iss")?;
            change.note("iss", &json!(self.iss), &json!(iss));
            self.iss = iss;
        }
        if let Some(aud) = wish.aud.filter(|aud| *aud != self.aud) {
            fixed("aud")?;
            change.note("aud", &json!(self.aud), &json!(aud));
            self.aud = aud;
        }
        if let Some(algorithm) = wish.algorithm.filter(|algorithm| *algorithm != self.algorithm) {
            fixed("algorithm")?;
            change.note("algorithm", &json!(self.algorithm), &json!(algorithm));
            self.algorithm = algorithm;
        }
        if let Some(exp) = wish.exp.filter(|exp| Some(*exp) != self.exp) {
            fixed("exp")?;
            let second = |exp: Timestamp| json!(exp.as_second());
            change.note("exp", &self.exp.map(second).unwrap_or_default(), &second(exp));
            self.exp = Some(exp);
        }
        if let Some(secret) = wish.secret {
            fixed("secret")?;
            change.lines.push("changed secret".to_owned());
            change.secret = Some(secret);
        }
        Ok(())
    }

    fn change_connection(
        &mut self,
        to: Option<String>,
        system: Option<String>,
        on: Option<Moment>,
        now: Timestamp,
        change: &mut Change,
    ) -> Result<(), Refused> {
        if self.linked_to.is_some() {
            for (name, given, known) in [
                ("linked_to", &to, &self.linked_to),
                ("linked_system", &system, &self.linked_system),
            ] {
                if given.is_some() && given != known {
                    return Err(Refused::Fixed(name));
                }
            }
            if on.is_some_and(|on| self.linked_on.as_ref().is_none_or(|known| known.at != on.at)) {
                return Err(Refused::Fixed("linked_on"));
            }
            return Ok(());
        }
        let Some(to) = to else {
            let alone = [("linked_system", system.is_some()), ("linked_on", on.is_some())];
            let alone = alone.into_iter().filter(|(_, given)| *given);
            let errors: Vec<_> = alone
                .map(|(name, _)| Invalid::new(format!("/{name}"), "needs linked_to beside it"))
                .collect();
            return if errors.is_empty() {
                Ok(())
            } else {
                Err(Refused::Invalid(errors))
            };
        };
        self.connect(to, system, on.unwrap_or_else(|| Moment::of(now)), change);
        Ok(())
    }

    /// Connects the link with an app's user.
    pub(crate) fn connect(&mut self, to: String, system: Option<String>, on: Moment, change: &mut Change) {
        change.note("linked_to", &Value::Null, &json!(to));
        if let Some(system) = &system {
            change.note("linked_system", &Value::Null, &json!(system));
        }
        change.note("linked_on", &Value::Null, &json!(on.text));
        (self.linked_to, self.linked_system, self.linked_on) = (Some(to), system, Some(on));
    }
}

/// The id that a text names: a UUID, or one of the original's (an `ObjectId` of `MongoDB`, 24 hex digits), which as a UUID
/// begins with zeros.
pub(crate) fn link_id(text: &str) -> Option<Uuid> {
    if text.len() == OBJECT_ID {
        let mut bytes = [0; 16];
        let id = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
        bytes.get_mut(4..)?.copy_from_slice(&id);
        return Some(Uuid::from_bytes(bytes));
    }
    Uuid::try_parse(text).ok()
}

/// What a change did.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// A line for each member: old → new.
    pub(crate) lines: Vec<String>,
    /// The subject that the link was of.
    pub(crate) moved_from: Option<String>,
    /// A new secret, which is still to be sealed.
    pub(crate) secret: Option<SecretString>,
}

impl Change {
    fn note(&mut self, name: &str, old: &Value, new: &Value) {
        let words = |value: &Value| {
            if value.is_null() {
                "nothing".to_owned()
            } else {
                value.to_string()
            }
        };
        self.lines
            .push(format!("changed {name}: {} → {}", words(old), words(new)));
    }
}

/// Why a change is refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// What is not valid in it.
    Invalid(Vec<Invalid>),
    /// A member that stays as it is.
    Fixed(&'static str),
}

struct Wish {
    id: Option<String>,
    before: BeforeJwt,
    linked_to: Option<String>,
    linked_system: Option<String>,
    linked_on: Option<Moment>,
    withdrawn_on: Option<Moment>,
    /// `withdrawn_on` is null.
    not_withdrawn: bool,
}

struct BeforeJwt {
    sub: Option<String>,
    iss: Option<String>,
    aud: Option<String>,
    exp: Option<Timestamp>,
    secret: Option<SecretString>,
    algorithm: Option<SharedAlgorithm>,
}

impl Wish {
    fn read(members: &Map<String, Value>) -> Result<Self, Vec<Invalid>> {
        let mut errors = Vec::new();
        let mut text = |name: &str| read(members, name, text, &mut errors);
        let (id, sub, iss, aud) = (text("_id"), text("sub"), text("iss"), text("aud"));
        let (linked_to, linked_system, secret) = (text("linked_to"), text("linked_system"), text("secret"));
        let algorithm = read(members, "algorithm", algorithm, &mut errors);
        if let Some(secret) = &secret {
            let shortest = algorithm.unwrap_or(SharedAlgorithm::HS256).shortest_secret();
            if secret.len() < shortest {
                let detail = format!("expected at least {shortest} bytes");
                errors.push(Invalid::new("/secret", detail));
            }
        }
        let wish = Self {
            id,
            before: BeforeJwt {
                sub,
                iss,
                aud,
                exp: read(members, "exp", seconds, &mut errors),
                secret: secret.map(SecretString::from),
                algorithm,
            },
            linked_to,
            linked_system,
            linked_on: read(members, "linked_on", moment, &mut errors),
            withdrawn_on: read(members, "withdrawn_on", moment, &mut errors),
            not_withdrawn: members.get("withdrawn_on").is_some_and(Value::is_null),
        };
        if errors.is_empty() { Ok(wish) } else { Err(errors) }
    }
}

/// A member, where it is given and not null.
fn read<T>(
    members: &Map<String, Value>,
    name: &str,
    parse: impl Fn(&Value) -> Result<T, String>,
    errors: &mut Vec<Invalid>,
) -> Option<T> {
    let value = members.get(name).filter(|value| !value.is_null())?;
    parse(value)
        .map_err(|detail| errors.push(Invalid::new(format!("/{name}"), detail)))
        .ok()
}

/// A text that can be kept.
pub(crate) fn text(value: &Value) -> Result<String, String> {
    let text = value.as_str().map(str::trim).ok_or("expected a text")?;
    let length = text.chars().count();
    if text.chars().any(char::is_control) {
        Err("has control characters".to_owned())
    } else if (1..=LONGEST_TEXT).contains(&length) {
        Ok(text.to_owned())
    } else {
        Err(format!("expected 1 to {LONGEST_TEXT} characters"))
    }
}

fn algorithm(value: &Value) -> Result<SharedAlgorithm, String> {
    SharedAlgorithm::deserialize(value).map_err(|_| "expected HS256, HS384 or HS512".to_owned())
}

fn seconds(value: &Value) -> Result<Timestamp, String> {
    let seconds = value
        .as_i64()
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    seconds.ok_or_else(|| "expected Unix seconds".to_owned())
}

fn moment(value: &Value) -> Result<Moment, String> {
    let text = value.as_str().ok_or("expected a date")?;
    Moment::parse(text).map_err(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        Link {
            id: Uuid::nil(),
            sssid: "S-1".to_owned(),
            iss: "i".to_owned(),
            aud: "a".to_owned(),
            algorithm: SharedAlgorithm::HS256,
            secret: None,
            exp: None,
            claims: None,
            linked_to: None,
            linked_system: None,
            linked_on: None,
            withdrawn_on: None,
            created: Timestamp::UNIX_EPOCH,
            changed: Timestamp::UNIX_EPOCH,
        }
    }

    fn change(link: &mut Link, wish: &Value) -> Result<Change, Refused> {
        link.change(wish.as_object().unwrap(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_is_sent_back_as_it_was_shown_changes_nothing() {
        let mut link = link();
        link.claims = Some(LinkClaims {
            jti: String::new(),
            iss: String::new(),
            aud: String::new(),
            exp: 0,
            sub: String::new(),
            birthdate: String::new(),
        });
        link.exp = Some(Timestamp::UNIX_EPOCH);
        link.connect(
            "7".to_owned(),
            None,
            Moment::of(Timestamp::UNIX_EPOCH),
            &mut Change::default(),
        );
        let shown = link.document();
        assert!(change(&mut link, &shown).unwrap().lines.is_empty());
    }

    #[test]
    fn a_secret_is_named_but_not_shown() {
        let mut link = link();
        let secret = "a secret of thirty-two bytes or more";
        let changed = change(&mut link, &json!({ "secret": secret })).unwrap();
        assert_eq!(changed.lines, ["changed secret"]);
        assert!(!link.document().to_string().contains(secret));
        assert!(matches!(
            change(&mut link, &json!({"secret": "short"})),
            Err(Refused::Invalid(_))
        ));
    }
}
