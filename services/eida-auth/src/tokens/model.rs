//! What a token says. Only what is signed comes here.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use identity_core::http::body;
use jiff::Timestamp;
use serde_json::Value;

/// The most memberships of a token.
const MOST_MEMBERSHIPS: usize = 1000;
/// The longest path of a membership, in bytes.
const LONGEST_PATH: usize = 1000;

/// By which a token is known: a digest over what is signed, the same in whichever form it comes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId(pub [u8; 32]);

/// A token that is genuine, and valid now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// By which it is known.
    pub id: TokenId,
    /// What it says.
    pub content: Content,
    /// Who vouches for it: the fingerprint of a key, or an issuer.
    pub voucher: String,
}

/// What a token says, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Until when it is valid.
    pub valid_until: Timestamp,
    /// The groups that its owner belongs to, as paths.
    pub memberships: BTreeSet<String>,
}

/// A token's content that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is no JSON object, or names a member twice.
    #[error("it is not a JSON object")]
    NotJson,
    /// It does not say until when it is valid.
    #[error("its valid_until is not a moment like 2026-12-31T12:00:00Z")]
    NoEnd,
    /// Its memberships are none.
    #[error("its memberships are not paths with semicolons between them")]
    Memberships,
}

impl Content {
    /// Reads the signed content of an `OpenPGP` token.
    ///
    /// # Errors
    /// [`Unreadable`], saying what is wrong.
    pub fn read(signed: &[u8]) -> Result<Self, Unreadable> {
        let document = body::json(signed).map_err(|_| Unreadable::NotJson)?;
        let members = document.as_object().ok_or(Unreadable::NotJson)?;
        let valid_until = members
            .get("valid_until")
            .and_then(Value::as_str)
            .and_then(rfc3339);
        Ok(Self {
            valid_until: valid_until.ok_or(Unreadable::NoEnd)?,
            memberships: memberships(members.get("memberof"))?,
        })
    }

    /// Whether it is still valid.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        now < self.valid_until
    }
}

/// Memberships as tokens name them: one text with semicolons, or a list of texts; none at all too.
///
/// # Errors
/// [`Unreadable::Memberships`] for anything else.
pub fn memberships(value: Option<&Value>) -> Result<BTreeSet<String>, Unreadable> {
    let texts: Vec<&str> = match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(items)) => items
            .iter()
            .map(Value::as_str)
            .collect::<Option<_>>()
            .ok_or(Unreadable::Memberships)?,
        Some(_) => return Err(Unreadable::Memberships),
    };
    let paths = texts.iter().flat_map(|text| text.split(';')).map(str::trim);
    let paths: BTreeSet<String> = paths
        .filter(|path| !path.is_empty())
        .map(ToOwned::to_owned)
        .collect();
    let is_odd = |path: &String| path.len() > LONGEST_PATH || path.chars().any(char::is_control);
    if paths.len() > MOST_MEMBERSHIPS || paths.iter().any(is_odd) {
        return Err(Unreadable::Memberships);
    }
    Ok(paths)
}

/// A moment by RFC 3339, with or without a part of a second.
fn rfc3339(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let dashed = bytes.get(4) == Some(&b'-') && bytes.get(7) == Some(&b'-');
    let is_separated = matches!(bytes.get(10), Some(b'T' | b't' | b' '));
    // More than RFC 3339 could be read: other calendars, zones by their names.
    let plain = |byte: &u8| byte.is_ascii_digit() || b"-:.+TtZz ".contains(byte);
    let shaped = bytes.len() >= 20 && dashed && is_separated && bytes.iter().all(plain);
    shaped.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for TokenId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(Self)
            .ok_or("expected a token's digest, 64 hexadecimal digits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Content, Unreadable> {
        Content::read(text.as_bytes())
    }

    fn until(text: &str) -> Result<Timestamp, Unreadable> {
        read(&format!(r#"{{"valid_until": "{text}"}}"#)).map(|content| content.valid_until)
    }

    #[test]
    fn the_end_is_read_with_and_without_parts_of_a_second() {
        let noon: Timestamp = "2026-12-31T12:00:00Z".parse().unwrap();
        for text in [
            "2026-12-31T12:00:00Z",
            "2026-12-31T12:00:00.000000Z",
            "2026-12-31T12:00:00.0Z",
            "2026-12-31T13:00:00+01:00",
            "2026-12-31t12:00:00z",
            "2026-12-31 12:00:00Z",
        ] {
            assert_eq!(until(text), Ok(noon), "{text}");
        }
        for text in [
            "",
            "2026-12-31",
            "2026-12-31T12:00:00",
            "2026-13-31T12:00:00Z",
            "2026-12-31T12:00:00[UTC]",
            "2026-12-31T12:00:00+00:00[UTC]",
            "20261231T120000Z",
            "tomorrow",
            "1798718400",
        ] {
            assert_eq!(until(text), Err(Unreadable::NoEnd), "{text}");
        }
        assert_eq!(read(r#"{"valid_until": 1798718400}"#), Err(Unreadable::NoEnd));
        assert_eq!(read("{}"), Err(Unreadable::NoEnd));
    }

    #[test]
    fn what_is_no_plain_json_object_is_unreadable() {
        let end = r#""valid_until": "2026-12-31T12:00:00Z""#;
        for text in [
            "",
            "null",
            "[]",
            "valid_until=2026-12-31T12:00:00Z",
            &format!("{{{end}}} {{}}"),
            &format!("{{{end}, {end}}}"),
            &format!("{{{end}"),
        ] {
            assert_eq!(read(text), Err(Unreadable::NotJson), "{text}");
        }
        assert_eq!(
            Content::read(b"{\"valid_until\": \"\xff\"}"),
            Err(Unreadable::NotJson)
        );
    }

    #[test]
    fn memberships_are_paths_between_semicolons() {
        let of = |text: &str| {
            let content = read(&format!(
                r#"{{"valid_until": "2026-12-31T12:00:00Z", "memberof": {text}}}"#
            ));
            content.map(|content| content.memberships.into_iter().collect::<Vec<_>>())
        };
        let paths = |paths: &[&str]| Ok(paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>());
        assert_eq!(of("null"), paths(&[]));
        assert_eq!(of(r#""""#), paths(&[]));
        assert_eq!(of(r#"";;""#), paths(&[]));
        assert_eq!(
            of(r#""/epos/b; /epos/a ;/epos/b;/""#),
            paths(&["/", "/epos/a", "/epos/b"])
        );
        assert_eq!(
            of(r#"["/epos/a", "/epos/b;/c"]"#),
            paths(&["/c", "/epos/a", "/epos/b"])
        );
        for odd in ["1", "{}", "[1]", r#""/a\n/b""#, r#""/\u0000""#] {
            assert_eq!(of(odd), Err(Unreadable::Memberships), "{odd}");
        }
        let many = (0..=MOST_MEMBERSHIPS)
            .map(|number| format!("/{number}"))
            .collect::<Vec<_>>()
            .join(";");
        assert_eq!(of(&format!("\"{many}\"")), Err(Unreadable::Memberships));
    }

    #[test]
    fn a_digest_is_written_and_read_in_hex() {
        let id = TokenId([0xab; 32]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        for wrong in ["", "ab", &"zz".repeat(32), &"ab".repeat(33)] {
            assert!(wrong.parse::<TokenId>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_content_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Content::read(&bytes);
        }

        #[test]
        fn any_end_is_read_or_refused(text in "[0-9TZ:. +\\-]{0,40}") {
            let _ = rfc3339(&text);
        }
    }
}
