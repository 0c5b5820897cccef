//! Entity tags of records, and the requests that name one (RFC 9110, 13.1).

use actix_web::http::header::{self, EntityTag, Header, HeaderValue, IfMatch, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponseBuilder};

/// The record may be kept by the client, who asks each time whether it still holds.
pub fn with_tag<'a>(answer: &'a mut HttpResponseBuilder, tag: &EntityTag) -> &'a mut HttpResponseBuilder {
    answer
        .insert_header((header::ETAG, tag.to_string()))
        .insert_header((
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        ))
}

/// Whether `If-None-Match` names the record of this tag.
pub fn is_known(request: &HttpRequest, tag: &EntityTag) -> bool {
    if !request.headers().contains_key(header::IF_NONE_MATCH) {
        return false;
    }
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(known)) => known.iter().any(|known| known.weak_eq(tag)),
        Err(_) => false,
    }
}

/// Whether `If-Match`, if it is there, means the record of this tag.
pub fn is_expected(request: &HttpRequest, tag: &EntityTag) -> bool {
    if !request.headers().contains_key(header::IF_MATCH) {
        return true;
    }
    match IfMatch::parse(request) {
        Ok(IfMatch::Any) => true,
        Ok(IfMatch::Items(expected)) => expected.iter().any(|expected| expected.strong_eq(tag)),
        Err(_) => false,
    }
}
