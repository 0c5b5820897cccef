//! The floors: what the libraries underneath do in a loop, on all cores.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use argon2::{Algorithm as Variant, Argon2, Block, Params, Version};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use identity_core::crypto::jwt::Algorithm;
use identity_core::failure::Failure;
use jwt_simple::algorithms::{
    ECDSAP256KeyPairLike, ES256KeyPair, Ed25519KeyPair, EdDSAKeyPairLike, RS256KeyPair, RSAKeyPairLike,
};
use jwt_simple::claims::JWTClaims;
use serde_json::{Value, json};

/// How often a second all cores together do `work`; each has what `prepare` makes of its own.
#[expect(clippy::cast_precision_loss, reason = "counts of some millions")]
pub fn all_cores<T>(time: Duration, prepare: impl Fn() -> T + Sync, work: impl Fn(&mut T) + Sync) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (count, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut own = prepare();
                while !over.load(Ordering::Relaxed) {
                    work(&mut own);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(time);
        over.store(true, Ordering::Relaxed);
    });
    count.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

/// Verifications of argon2id a second, with OWASP's parameters, by the argon2 crate with reused memory.
pub fn argon2(time: Duration) -> f64 {
    let params = Params::new(19 * 1024, 2, 1, Some(32)).unwrap_or_default();
    let blocks = params.block_count();
    let hasher = Argon2::new(Variant::Argon2id, Version::V0x13, params);
    all_cores(
        time,
        || vec![Block::default(); blocks],
        |memory| {
            let mut hash = [0; 32];
            // With these lengths it cannot fail.
            let _ = hasher.hash_password_into_with_memory(
                b"a password that is long",
                &[7; 16],
                &mut hash,
                memory,
            );
        },
    )
}

/// Whole tokens a second, signed by jwt-simple with a key of this kind.
pub fn tokens(algorithm: Algorithm, time: Duration) -> f64 {
    let sign: Box<dyn Fn() + Sync> = match algorithm {
        Algorithm::EdDSA => {
            let pair = Ed25519KeyPair::generate().with_key_id(KID);
            Box::new(move || drop(pair.sign(claims())))
        }
        Algorithm::ES256 => {
            let pair = ES256KeyPair::generate().with_key_id(KID);
            Box::new(move || drop(pair.sign(claims())))
        }
        Algorithm::RS256 => {
            let pair = RS256KeyPair::generate(2048).map(|pair| pair.with_key_id(KID));
            Box::new(move || drop(pair.as_ref().map(|pair| pair.sign(claims()))))
        }
    };
    all_cores(time, || (), |()| sign())
}

/// As long as a thumbprint.
const KID: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

/// The claims of one of ident's tokens.
fn claims() -> JWTClaims<Value> {
    let own = json!({"type": "client", "permissions": ["users:read"]});
    jwt_simple::claims::Claims::with_custom_claims(
        own,
        jwt_simple::reexports::coarsetime::Duration::from_secs(900),
    )
    .with_issuer("http://127.0.0.1:5000")
    .with_subject("0198f2b4-76d8-7000-8000-000000000000")
    .with_audience("ident")
    .with_jwt_id("0198f2b4-76d8-7000-8000-000000000000.0")
}

/// Raw RSA-2048 signatures a second by aws-lc-rs.
pub fn rsa(time: Duration) -> Result<f64, Failure> {
    let pair =
        KeyPair::generate(KeySize::Rsa2048).map_err(|error| Failure::because("making a key", error))?;
    let random = SystemRandom::new();
    let message = [7; 400];
    let rate = all_cores(
        time,
        || vec![0; pair.public_modulus_len()],
        |signature| {
            // With a signature of this length it cannot fail.
            let _ = pair.sign(&RSA_PKCS1_SHA256, &random, &message, signature);
        },
    );
    Ok(rate)
}
