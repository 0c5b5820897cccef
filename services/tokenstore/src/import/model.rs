//! What becomes of a row of the original.

use identity_core::crypto::fernet::Keys;
use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::original::Token;
use crate::access::Person;
use crate::links::LinkKey;
use crate::links::model::{NewLink, Sealed};
use crate::providers::Identity;

/// The most characters of a subject (OpenID Connect Core 1.0, 2).
const LONGEST_SUBJECT: usize = 255;

/// The link that the row makes for somebody who signs in at `issuer`; `providers` are those that are configured.
///
/// The original kept no access token: the link has one that is over, so that the first who asks gets a new one.
///
/// # Errors
/// Why there can be none.
pub fn link(
    token: &Token,
    issuer: &str,
    providers: &[&str],
    keys: &Keys,
    now: Timestamp,
) -> Result<NewLink, String> {
    let missing = |what: &str| format!("it has no {what}");
    let provider = token.provider.as_deref().ok_or_else(|| missing("provider"))?;
    let subject = token.user.as_deref().ok_or_else(|| missing("user_id"))?;
    let sealed = token.sealed.as_deref().ok_or_else(|| missing("token"))?;
    if token.replaced {
        return Err("there is a later one of the same person and provider".to_owned());
    }
    if !providers.contains(&provider) {
        return Err(format!("no provider `{provider}` is configured"));
    }
    let length = subject.chars().count();
    if !(1..=LONGEST_SUBJECT).contains(&length) || subject.chars().any(char::is_control) {
        return Err("its user_id can be nobody's subject".to_owned());
    }
    let opened = std::str::from_utf8(sealed)
        .ok()
        .and_then(|sealed| keys.open_unbound(sealed).ok());
    let opened = opened.ok_or("none of the configured crypto_keys reads its token")?;
    if opened.expose_secret().is_empty() {
        return Err("its token is empty".to_owned());
    }
    let key = LinkKey::new(
        &Person {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
        },
        provider,
    );
    let end = token.expires_at.and_then(moment);
    // When it was had, the original knew only where it ends.
    let obtained_at = end
        .zip(token.expires_in.filter(|seconds| *seconds > 0))
        .and_then(|(end, seconds)| Timestamp::from_second(end.as_second().checked_sub(seconds)?).ok())
        .filter(|at| *at < now)
        .unwrap_or(now);
    Ok(NewLink {
        sealed: Sealed {
            refresh_token: Some(keys.seal(&key.place("refresh_token"), opened.expose_secret().as_bytes())),
            access_token: keys.seal(&key.place("access_token"), b""),
            token_type: "Bearer".to_owned(),
            scopes: None,
            obtained_at,
            access_expires_at: Some(obtained_at),
            refresh_expires_at: end,
        },
        identity: Identity {
            account: None,
            // The original linked no account but of the same subject.
            subject: Some(subject.to_owned()),
            claims: serde_json::Value::Null,
        },
        key,
    })
}

/// Unix seconds with a fraction.
fn moment(seconds: f64) -> Option<Timestamp> {
    let span = jiff::SignedDuration::try_from_secs_f64(seconds).ok()?;
    Timestamp::from_duration(span).ok()
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn moments_are_read_of_any_number() {
        assert_eq!(
            moment(1_700_000_000.5).unwrap().as_millisecond(),
            1_700_000_000_500
        );
        for bad in [f64::NAN, f64::INFINITY, 1e300, -1e18] {
            assert!(moment(bad).is_none(), "{bad}");
        }
    }
}
