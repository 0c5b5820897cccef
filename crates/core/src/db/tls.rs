//! TLS to Postgres by rustls, in libpq's modes.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{Postgres, SslMode};
use crate::failure::{Failure, causes};

/// The connector for `settings.sslmode` and its files.
///
/// # Errors
/// [`Failure::Configuration`] naming the file that cannot be read.
pub(super) fn connector(settings: &Postgres) -> Result<MakeRustlsConnect, Failure> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let checked = match settings.sslmode {
        SslMode::VerifyCa => Checked::Issuer,
        SslMode::VerifyFull => Checked::IssuerAndName,
        SslMode::Disable | SslMode::Prefer | SslMode::Require => Checked::Nothing,
    };
    let webpki =
        match checked {
            Checked::Nothing => None,
            Checked::Issuer | Checked::IssuerAndName => {
                let roots = Arc::new(trusted_roots(settings.sslrootcert.as_deref())?);
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
                Some(verifier.map_err(|error| {
                    Failure::configuration(format!("database.postgres.sslrootcert: {error}"))
                })?)
            }
        };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::because("preparing TLS", error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier {
            checked,
            webpki,
            provider,
        }));
    let config = match (&settings.sslcert, &settings.sslkey) {
        (Some(certificate), Some(key)) => {
            let chain = certificates("database.postgres.sslcert", certificate)?;
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unreadable("database.postgres.sslkey", key, &error))?;
            let config = builder.with_client_auth_cert(chain, key);
            config.map_err(|error| Failure::configuration(format!("database.postgres.sslcert: {error}")))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => {
            return Err(Failure::configuration(
                "database.postgres.sslcert and sslkey: expected both or neither",
            ));
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

/// What is verified of the server's certificate, which `sslmode` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checked {
    Nothing,
    Issuer,
    IssuerAndName,
}

#[derive(Debug)]
struct Verifier {
    checked: Checked,
    webpki: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(webpki) = &self.webpki else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified = webpki.verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verified {
            // The chain is verified before the name is compared.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.checked == Checked::Issuer => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn trusted_roots(file: Option<&Path>) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            for certificate in certificates("database.postgres.sslrootcert", file)? {
                let added = roots.add(certificate);
                added.map_err(|error| unreadable("database.postgres.sslrootcert", file, &error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    read.map_err(|error| unreadable(key, file, &error))
}

fn unreadable(key: &str, file: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::configuration(format!(
        "{key}: cannot read {}: {}",
        file.display(),
        causes(error)
    ))
}
