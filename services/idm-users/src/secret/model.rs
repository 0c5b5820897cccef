//! The keys that are derived from secrets.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use identity_core::crypto::fernet::{Keys, Raw};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// The keys that protect what the database keeps for later, derived from `secrets`: the first encrypts,
/// all decrypt. None without a secret.
///
/// They are keys of their own purpose: nothing that the one makes can be read by the other. Their
/// fingerprints tell secrets apart and nothing else of them.
pub(crate) fn keys(secrets: &[&SecretString]) -> Option<Keys> {
    let derive = |secret: &&SecretString| {
        let mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
        let derived = mac
            .chain_update(b"idm-users: secrets at rest")
            .finalize()
            .into_bytes();
        Some(SecretString::from(BASE64.encode(&derived)))
    };
    let derived: Vec<SecretString> = secrets.iter().map(derive).collect::<Option<_>>()?;
    Keys::parse(&derived, Raw::Refused).ok()
}

/// The fingerprint of the key that encrypts.
pub(super) fn fingerprint(keys: &Keys) -> &str {
    keys.fingerprints().next().unwrap_or_default()
}

/// What a service says that is started with another secret than the database knows.
pub(super) fn refusal(recorded: &str, configured: &Keys) -> String {
    format!(
        "jwt.secret: the database was written under another one, of the fingerprint {recorded}; this one has {}. Put \
         that one back, or change it by the command `idm-users secret change`",
        fingerprint(configured)
    )
}

#[cfg(test)]
mod tests {
    use super::{SecretString, fingerprint, keys};

    #[test]
    fn the_first_secret_encrypts_and_all_decrypt() {
        let (old, new) = (SecretString::from("old"), SecretString::from("new"));
        let under_old = keys(&[&old]).unwrap().seal("here", b"text");
        assert!(keys(&[&new]).unwrap().open("here", &under_old).is_err());
        let both = keys(&[&new, &old]).unwrap();
        assert_eq!(both.open("here", &under_old).unwrap().as_slice(), b"text");
        assert_eq!(fingerprint(&both), fingerprint(&keys(&[&new]).unwrap()));
        assert_ne!(fingerprint(&both), fingerprint(&keys(&[&old]).unwrap()));
        assert!(keys(&[]).is_none());
    }
}
