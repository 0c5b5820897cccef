//! What is remembered of a login or a link while the browser is at the provider.

use identity_core::crypto::fernet::{Keys, OpenError};
use identity_core::crypto::token::PlainToken;
use serde::{Deserialize, Serialize};

use crate::providers::Begun;

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// `login_states`
    Login,
    /// `link_states`
    Link,
}

/// What nobody else may know; encrypted, bound to its state.
#[derive(Debug, Serialize, Deserialize)]
pub struct Secrets {
    /// `nonce`
    pub nonce: String,
    /// `code_verifier`
    pub verifier: String,
    /// Where the browser goes at the end; it was checked when it was given.
    pub return_url: String,
}

impl Flow {
    fn place(self, digest: &str) -> String {
        let table = match self {
            Self::Login => "login_states",
            Self::Link => "link_states",
        };
        format!("tokenstore.{table}.secrets/{digest}")
    }

    /// Seals what was begun; `return_url` is where the browser goes at the end.
    #[must_use]
    pub fn seal(self, keys: &Keys, begun: &Begun, return_url: &url::Url) -> String {
        let secrets = Secrets {
            nonce: begun.nonce.clone(),
            verifier: begun.verifier.expose().to_owned(),
            return_url: return_url.to_string(),
        };
        // Three texts can always be written.
        let text = serde_json::to_string(&secrets).unwrap_or_default();
        keys.seal(&self.place(begun.state.digest().as_str()), text.as_bytes())
    }

    /// Opens what was sealed for `state`.
    ///
    /// # Errors
    /// [`OpenError`] where the ciphertext is of another key or place.
    pub fn open(self, keys: &Keys, state: &PlainToken, sealed: &str) -> Result<Secrets, OpenError> {
        let plain = keys.open(&self.place(state.digest().as_str()), sealed)?;
        serde_json::from_slice(&plain).map_err(|_| OpenError)
    }
}
