//! Requests to other hosts: with a time limit, no redirect to another host, none at all of what is
//! posted, and none to a private
//! address unless the configuration allows it, so that nobody can use a service to reach what only
//! its own network should.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder};
use url::{Host, Url};

use crate::config::Outgoing as Settings;
use crate::config::values::AllowPrivate;
use crate::crypto::webhook::Signer;
use crate::failure::{Failure, causes};

/// The most redirects that are followed, all on the host that was asked.
const MOST_REDIRECTS: usize = 5;

/// Sends requests to other hosts. Clones share connections.
#[derive(Debug, Clone)]
pub struct Outgoing {
    client: Client,
    /// For all but GET and HEAD: a redirect would turn them into a GET, whose success means nothing.
    posting: Client,
    allowed: Arc<AllowPrivate>,
}

/// The address may not be reached.
#[derive(Debug, thiserror::Error)]
#[error("{0} is a private address; outgoing.allow_private does not allow it")]
pub struct Forbidden(String);

impl Outgoing {
    /// A client in the bounds of `settings`.
    ///
    /// # Errors
    /// [`Failure::Other`] when TLS cannot be prepared.
    pub fn new(settings: &Settings) -> Result<Self, Failure> {
        let allowed = Arc::new(settings.allow_private.clone());
        let redirects = Policy::custom(|attempt| {
            let first = attempt.previous().first();
            let elsewhere = first.is_none_or(|first| first.origin() != attempt.url().origin());
            if elsewhere || attempt.previous().len() > MOST_REDIRECTS {
                attempt.stop()
            } else {
                attempt.follow()
            }
        });
        let client = |redirects: Policy| {
            Client::builder()
                .user_agent(concat!("identity-services/", env!("CARGO_PKG_VERSION")))
                .timeout(settings.timeout.0)
                .connect_timeout(settings.timeout.0)
                .redirect(redirects)
                .no_proxy()
                .dns_resolver(PublicOnly(allowed.clone()))
                .build()
                .map_err(|error| Failure::because("preparing the HTTP client", error))
        };
        Ok(Self {
            client: client(redirects)?,
            posting: client(Policy::none())?,
            allowed,
        })
    }

    /// Begins a request to `url`.
    ///
    /// # Errors
    /// [`Forbidden`] where the URL holds a private address; a name that resolves to one fails when
    /// the request is sent.
    pub fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, Forbidden> {
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        match literal.filter(|address| !may_reach(&self.allowed, *address)) {
            Some(address) => Err(Forbidden(address.to_string())),
            None if method.is_safe() => Ok(self.client.request(method, url)),
            None => Ok(self.posting.request(method, url)),
        }
    }

    /// Posts a JSON message to `url` as the Standard Webhooks specification says, signed at
    /// `timestamp` (seconds since 1970).
    ///
    /// # Errors
    /// Why it was not taken with a 2xx, for the operator; without the URL, which may hold what only
    /// the operator should know.
    pub async fn notify(
        &self,
        url: Url,
        signer: &Signer,
        id: &str,
        timestamp: i64,
        body: String,
    ) -> Result<(), String> {
        let signature = signer.sign(id, timestamp, &body);
        let request = self
            .request(Method::POST, url)
            .map_err(|error| error.to_string())?;
        let answer = request
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body)
            .send()
            .await
            .map_err(|error| causes(&error.without_url()))?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(format!("answered {}", answer.status()))
        }
    }
}

/// Resolves names and leaves out the addresses that may not be reached. It stands in the client, so
/// that what was checked is what is connected to.
struct PublicOnly(Arc<AllowPrivate>);

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.0.clone();
        Box::pin(async move {
            let resolved = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let reachable: Vec<SocketAddr> = resolved
                .filter(|address| may_reach(&allowed, address.ip()))
                .collect();
            if reachable.is_empty() {
                return Err(Forbidden(name.as_str().to_owned()).into());
            }
            Ok(Box::new(reachable.into_iter()) as Addrs)
        })
    }
}

fn may_reach(allowed: &AllowPrivate, address: IpAddr) -> bool {
    match allowed {
        AllowPrivate::Yes => true,
        AllowPrivate::No => is_public(address),
        AllowPrivate::Ranges(ranges) => {
            is_public(address) || ranges.iter().any(|range| range.contains(address))
        }
    }
}

/// Whether the address is one of the Internet's, by IANA's special-purpose registries.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

#[expect(clippy::unnested_or_patterns, reason = "a range each")]
fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast();
    // "This network", shared address space, protocol assignments, benchmarking, reserved.
    let ranges = matches!(
        address.octets(),
        [0, ..] | [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18..=19, ..] | [240..=255, ..]
    );
    !special && !ranges
}

#[expect(clippy::unnested_or_patterns, reason = "a range each")]
fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // NAT64 and 6to4 lead to the IPv4 address that they contain.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Documentation, Teredo and other protocol assignments.
        [0x2001, 0xdb8, ..] | [0x2001, 0x0..=0x1ff, ..] | [0x3fff, 0x0..=0xfff, ..] => false,
        // All that is global unicast lies in 2000::/3.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_told_from_public_ones_in_every_disguise() {
        for address in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "::ffff:10.0.0.1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "1.1.1.1",
            "93.184.216.34",
            "2606:4700::1111",
            "64:ff9b::101:101",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_range_of_the_configuration_opens_that_range_only() {
        let allowed = AllowPrivate::Ranges(vec!["10.0.0.0/8".parse().unwrap()]);
        assert!(may_reach(&allowed, "10.9.9.9".parse().unwrap()));
        assert!(!may_reach(&allowed, "127.0.0.1".parse().unwrap()));
    }
}
