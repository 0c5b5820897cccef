//! `OpenPGP` (RFC 4880, RFC 9580): a body in, what a trusted key has signed of it out.
//!
//! `message` finds the one signature and what it is made over, within bounds, and verifies nothing;
//! `certificate` finds which keys of a certificate may sign; `policy` says which hashes, algorithms
//! and subpackets count; `keyring` holds the trusted keys and verifies. `rPGP` does the cryptography
//! and has no opinions, so that every rule stands here.

mod certificate;
pub(crate) mod keyring;
mod message;
mod policy;
#[cfg(test)]
mod tests;

pub use certificate::{Key, Unusable};
pub use keyring::{Keyring, Keys, Source, Verified};
pub use message::{Signed, parse};
pub use policy::Policy;

/// Why a message is not accepted. Its text is for the client: it shows nothing of the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no token.
    #[error("there is no token")]
    Nothing,
    /// Neither armor nor a packet.
    #[error("it is not an OpenPGP message")]
    NotOpenPgp,
    /// Damaged, truncated, or of what cannot be read.
    #[error("the OpenPGP message cannot be read")]
    Unreadable,
    /// More than is ever unpacked.
    #[error("the message is too large when it is decompressed")]
    TooLarge,
    /// Packets, but not those of one signed message.
    #[error("it is not one signed message: {0}")]
    Shape(&'static str),
    /// The signature is of a kind that does not count, or does not count any more.
    #[error("the signature is not accepted: {0}")]
    Signature(&'static str),
    /// No trusted key made the signature.
    #[error("it is not signed by a trusted key")]
    Stranger,
    /// The signature is not over this content.
    #[error("the signature is not valid")]
    Forged,
    /// A trusted key made it that may not.
    #[error("the key that signed is not accepted: {0}")]
    Key(Unusable),
}

impl Refused {
    /// A word for it, for metrics and the log.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::NotOpenPgp => "not_openpgp",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::Shape(_) => "shape",
            Self::Signature(_) => "signature",
            Self::Stranger => "unknown_key",
            Self::Forged => "forged",
            Self::Key(_) => "unusable_key",
        }
    }
}
