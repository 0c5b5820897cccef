//! Who is at the other end: the address behind trusted proxies, and the id of the request.

use std::net::IpAddr;

use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::{HttpMessage, HttpRequest};

use crate::config::values::Range;
use crate::crypto::random;

/// The header that carries the id of a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken over from a proxy.
const LONGEST_ID: usize = 128;

/// The client of one request; handlers find it in the request's extensions.
#[derive(Debug, Clone)]
pub struct Client {
    /// The client's own address, as far as trusted proxies tell.
    pub address: Option<IpAddr>,
    /// The request's id: the trusted proxy's, or made by us.
    pub request_id: String,
    /// Whether a trusted proxy passed the request on.
    pub is_behind_proxy: bool,
}

/// The address of the client that sent `request`, as the guard found it.
#[must_use]
pub fn address_of(request: &HttpRequest) -> Option<IpAddr> {
    request
        .extensions()
        .get::<Client>()
        .and_then(|client| client.address)
}

impl Client {
    /// Reads the headers of a request that `peer` sent, believing them only from `trusted`.
    #[must_use]
    pub fn of(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[Range]) -> Self {
        let peer = peer.map(|peer| peer.to_canonical());
        let is_trusted = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
        let believed = peer.is_some_and(is_trusted);
        let given_id = headers
            .get(REQUEST_ID)
            .and_then(|id| id.to_str().ok())
            .filter(|id| believed && is_id(id));
        Self {
            address: if believed {
                forwarded_for(headers, is_trusted).or(peer)
            } else {
                peer
            },
            request_id: given_id.map_or_else(|| random::uuid().to_string(), ToOwned::to_owned),
            is_behind_proxy: believed,
        }
    }
}

fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(&byte);
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(allowed)
}

/// The address nearest to us that is no trusted proxy: whatever stands further left, a stranger may
/// have written.
fn forwarded_for(headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let by_standard = addresses(headers, "forwarded", |element| {
        let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
        pairs
            .filter(|(name, _)| name.eq_ignore_ascii_case("for"))
            .map(|(_, value)| value.trim_matches('"'))
            .next()
    });
    let by_custom = addresses(headers, "x-forwarded-for", Some);
    let chain = if by_standard.is_empty() {
        by_custom
    } else {
        by_standard
    };
    let mut client = None;
    for address in chain.into_iter().rev() {
        // What is no address ends what can be believed.
        client = Some(address?);
        if !address.is_some_and(&is_trusted) {
            break;
        }
    }
    client
}

fn addresses<'a>(
    headers: &'a HeaderMap,
    name: &str,
    read: impl Fn(&'a str) -> Option<&'a str>,
) -> Vec<Option<IpAddr>> {
    let values = headers.get_all(name).filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(|element| address(read(element.trim())?))
        .collect()
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?.0,
        None if text.matches(':').count() == 1 => text.split_once(':')?.0,
        None => text,
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> Client {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let trusted = ["127.0.0.1/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        Client::of(Some(peer.parse().unwrap()), &map, &trusted)
    }

    fn address_of(peer: &str, headers: &[(&'static str, &str)]) -> String {
        client(peer, headers).address.unwrap().to_string()
    }

    #[test]
    fn a_strangers_headers_are_not_believed() {
        let headers = [("x-forwarded-for", "192.0.2.1"), ("x-request-id", "chosen")];
        assert_eq!(address_of("203.0.113.9", &headers), "203.0.113.9");
        assert_ne!(client("203.0.113.9", &headers).request_id, "chosen");
    }

    #[test]
    fn a_trusted_proxy_tells_the_client_and_the_request_id() {
        let headers = [("x-forwarded-for", "192.0.2.1"), ("x-request-id", "chosen")];
        assert_eq!(address_of("127.0.0.1", &headers), "192.0.2.1");
        assert_eq!(client("127.0.0.1", &headers).request_id, "chosen");
        assert_eq!(address_of("::ffff:127.0.0.1", &headers), "192.0.2.1");
    }

    #[test]
    fn what_the_client_wrote_itself_does_not_count() {
        assert_eq!(
            address_of(
                "127.0.0.1",
                &[("x-forwarded-for", "8.8.8.8, 192.0.2.1, 10.1.2.3")]
            ),
            "192.0.2.1"
        );
        assert_eq!(
            address_of(
                "127.0.0.1",
                &[("x-forwarded-for", "8.8.8.8"), ("x-forwarded-for", "192.0.2.1")]
            ),
            "192.0.2.1"
        );
        assert_eq!(
            address_of("127.0.0.1", &[("x-forwarded-for", "192.0.2.1, nonsense")]),
            "127.0.0.1"
        );
    }

    #[test]
    fn the_standard_header_is_read_in_all_its_forms() {
        assert_eq!(
            address_of(
                "127.0.0.1",
                &[("forwarded", "for=192.0.2.60;proto=http;by=203.0.113.43")]
            ),
            "192.0.2.60"
        );
        assert_eq!(
            address_of("127.0.0.1", &[("forwarded", "For=\"[2001:db8:cafe::17]:4711\"")]),
            "2001:db8:cafe::17"
        );
        assert_eq!(
            address_of("127.0.0.1", &[("forwarded", "for=192.0.2.43:80, for=10.0.0.1")]),
            "192.0.2.43"
        );
    }

    #[test]
    fn an_id_that_could_break_the_log_is_replaced() {
        assert_ne!(client("127.0.0.1", &[("x-request-id", "a b")]).request_id, "a b");
        let long = "a".repeat(LONGEST_ID + 1);
        assert_ne!(client("127.0.0.1", &[("x-request-id", &long)]).request_id, long);
    }
}
