//! The body of a request: bounded, in the media type that is expected, JSON without tricks.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{HttpMessage, HttpRequest};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Problem;

/// Says that a request's body is still being received; a time-out then is the client's.
#[derive(Debug, Clone, Default)]
pub(super) struct Receiving(pub(super) Rc<Cell<bool>>);

/// The whole body as it came.
#[derive(Debug)]
pub struct Body(pub Bytes);

impl actix_web::FromRequest for Body {
    type Error = Problem;
    type Future = futures_util::future::LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut actix_web::dev::Payload) -> Self::Future {
        let receiving = request
            .extensions()
            .get::<Receiving>()
            .cloned()
            .unwrap_or_default();
        receiving.0.set(true);
        let bytes = Bytes::from_request(request, payload);
        Box::pin(async move {
            let received = bytes.await;
            receiving.0.set(false);
            received.map(Self).map_err(|error| {
                if error.as_response_error().status_code() == StatusCode::PAYLOAD_TOO_LARGE {
                    return Problem::new(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "The body is larger than this service takes.",
                    );
                }
                Problem::new(StatusCode::BAD_REQUEST, "The body could not be received.")
            })
        })
    }
}

/// The media type of a request's body in lower case, without parameters.
#[must_use]
pub fn media_type(request: &HttpRequest) -> Option<String> {
    request
        .mime_type()
        .ok()
        .flatten()
        .map(|media_type| media_type.essence_str().to_ascii_lowercase())
}

/// Refuses a body that is not `application/json`: a page of another origin can send other types
/// without being asked for leave.
///
/// # Errors
/// 415.
pub fn expect_json(request: &HttpRequest) -> Result<(), Problem> {
    match media_type(request).as_deref() {
        Some("application/json") => Ok(()),
        _ => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "The body must be application/json.",
        )),
    }
}

/// Reads JSON in which no object names a member twice and nothing nests deeper than 128.
///
/// Parsers differ in which of two members they take; what one sees and another does not has opened
/// many a door.
///
/// # Errors
/// 400, telling line and column.
pub fn json(body: &[u8]) -> Result<Value, Problem> {
    match serde_json::from_slice::<Strict>(body) {
        Ok(Strict(value)) => Ok(value),
        Err(error) => Err(
            Problem::new(StatusCode::BAD_REQUEST, format!("The body is not JSON: {error}."))
                .of_kind("malformed"),
        ),
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom("an object names a member twice"));
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::json;
    use serde_json::json as value;

    #[test]
    fn json_is_read_as_it_stands() {
        let text = br#"{"a": [1, -2, 2.5, true, null, "\u00e9"], "b": {"c": 18446744073709551615}}"#;
        assert_eq!(
            json(text).unwrap(),
            value!({"a": [1, -2, 2.5, true, null, "é"], "b": {"c": u64::MAX}})
        );
    }

    #[test]
    fn a_member_named_twice_is_refused_at_any_depth() {
        assert!(json(br#"{"a": 1, "a": 2}"#).is_err());
        assert!(json(br#"[{"a": {"b": 1, "b": 1}}]"#).is_err());
        assert!(
            json(br#"{"a": 1, "\u0061": 2}"#).is_err(),
            "also when written differently"
        );
    }

    #[test]
    fn nesting_truncation_and_trailing_text_are_refused() {
        let deep = [b"[".repeat(200), b"]".repeat(200)].concat();
        for text in [&deep[..], b"", b"{", b"{} {}", b"nul", b"\"\xff\"", b"[1e400]"] {
            assert!(json(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
    }
}
