//! Who asks for a token, and the link that it comes from. For an API key, which is what programs have, one statement
//! finds both.

use std::sync::Arc;

use actix_web::HttpRequest;
use identity_core::db::{Client, Error, Lookup};
use identity_core::http::Problem;
use identity_core::http::client::address_of;

use super::model::{Link, LinkKey};
use super::store::link;
use crate::access::{Caller, api_key, identify, unauthenticated};
use crate::api_keys::{self, model::Found, store::found};
use crate::providers::Provider;
use crate::state::State;

/// A token that is asked for.
#[derive(Debug)]
pub struct Asking {
    /// Who asks.
    pub caller: Caller,
    /// Of which provider.
    pub provider: Arc<Provider>,
    /// Their link to it; none where the account is not linked.
    pub link: Option<Arc<Link>>,
}

impl Asking {
    /// Reads who sent `request`, for a token of the provider with this id.
    ///
    /// # Errors
    /// 401 where nobody is signed in, 404 for a provider that there is not, what Postgres says.
    pub async fn of(request: &HttpRequest, state: &State, id: &str) -> Result<Self, Problem> {
        // The id of a provider that there is not may be any text, also one that Postgres does not take.
        if let (Some(key), Some(provider)) = (api_key(request), state.providers.find(id)) {
            let known = Self::by_key(request, state, &key, provider).await?;
            return known.ok_or_else(|| unauthenticated(request, true));
        }
        let caller = identify(request).await?;
        let caller = caller.ok_or_else(|| unauthenticated(request, false))?;
        let provider = state.provider(id)?;
        let link = state.links.find(LinkKey::new(&caller.person, id)).await?;
        Ok(Self {
            caller,
            provider,
            link,
        })
    }

    async fn by_key(
        request: &HttpRequest,
        state: &State,
        key: &str,
        provider: Arc<Provider>,
    ) -> Result<Option<Self>, Error> {
        let Some(digest) = api_keys::digest_of(key) else {
            return Ok(None);
        };
        let wanted = (digest.as_str().to_owned(), provider.id().to_owned());
        let Some(both) = state.linked_keys.find(wanted).await? else {
            return Ok(None);
        };
        let (found, link) = &*both;
        let accepted = api_keys::accept(state, found).await?;
        Ok(accepted.map(|(person, profile, by)| Self {
            caller: Caller {
                person,
                profile,
                by,
                address: address_of(request),
            },
            provider,
            link: link.clone(),
        }))
    }
}

/// API keys by their digests, each with its owner's link to a provider, for many requests at once.
#[derive(Debug)]
pub enum LinkedKeys {}

impl Lookup for LinkedKeys {
    /// A digest, and a provider's id.
    type Key = (String, String);
    type Found = (Found, Option<Arc<Link>>);

    async fn find(client: &Client, wanted: &[Self::Key]) -> Result<Vec<(Self::Key, Self::Found)>, Error> {
        let sql = "
            SELECT digest, wanted.provider, owner.issuer, owner.subject, id, profile, expires_at, last_used_at,
                generation, refresh_token, access_token, token_type, scopes, obtained_at, access_expires_at,
                refresh_expires_at, account, linked_at, broken_at
            FROM unnest($1::text[], $2::text[]) AS wanted (digest, provider)
                JOIN api_keys AS owner USING (digest)
                LEFT JOIN links ON links.issuer = owner.issuer AND links.subject = owner.subject
                    AND links.provider = wanted.provider";
        let statement = client.prepare_cached(sql).await?;
        let (digests, providers): (Vec<&str>, Vec<&str>) = wanted
            .iter()
            .map(|(digest, provider)| (digest.as_str(), provider.as_str()))
            .unzip();
        let rows = client.query(&statement, &[&digests, &providers]).await?;
        rows.iter()
            .map(|row| {
                let is_linked = row.try_get::<_, Option<i64>>("generation")?.is_some();
                let link = is_linked.then(|| link(row).map(Arc::new)).transpose()?;
                Ok((
                    (row.try_get("digest")?, row.try_get("provider")?),
                    (found(row)?, link),
                ))
            })
            .collect()
    }
}
