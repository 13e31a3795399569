//! Whom the clients' TLS connections trust: whoever this machine does. One configuration for the REST client and the
//! terminals' sockets, so that neither takes what the other refuses.

use std::sync::{Arc, Once, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;

use super::error::ClientError;
use super::rest::invalid;

/// One cryptography for every TLS connection of the process, whoever opens the first.
pub(super) fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // It fails only if somebody has installed one before, which is then used.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// The configuration of a client that speaks TLS.
///
/// # Errors
/// This machine trusts nobody.
pub(super) fn config() -> Result<ClientConfig, ClientError> {
    let provider = provider();
    let platform = Verifier::new(Arc::clone(&provider)).map_err(|error| {
        let hint = "install the certificates of your system (ca-certificates), or name a file of them in SSL_CERT_FILE";
        invalid("TLS", format!("whom to trust cannot be told ({error}); {hint}"))
    })?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("TLS", error.to_string()))?;
    let trust = Trust { platform: Arc::new(platform), given: OnceLock::new() };
    Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(trust)).with_no_client_auth())
}

/// That of a client whose connections are all without TLS: hundreds of certificates need not be read for it.
pub(super) fn nobody() -> Result<ClientConfig, ClientError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid("TLS", error.to_string()))?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What the platform trusts, and each certificate that it names, also where a server shows that very one.
#[derive(Debug)]
struct Trust {
    platform: Arc<dyn ServerCertVerifier>,
    /// Read when they are asked for, which is seldom.
    given: OnceLock<Vec<CertificateDer<'static>>>,
}

impl Trust {
    fn is_given(&self, certificate: &CertificateDer<'_>) -> bool {
        let given = self.given.get_or_init(|| rustls_native_certs::load_native_certs().certs);
        given.iter().any(|given| given == certificate)
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.platform.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // `openssl req -x509` makes every certificate an authority, and the one that somebody has told this machine
            // to trust is no worse for it. That it is valid now has been looked at before that, its name has not.
            Err(error) if is_authority(&error) && self.is_given(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.platform.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.platform.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.platform.supported_verify_schemes()
    }
}

/// Whether a certificate is refused for being an authority's.
pub(super) fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use rustls::client::WebPkiServerVerifier;

    use super::*;

    /// For lap.test, until 2126, made by `openssl req -x509` as most are who make their own: an authority's.
    const OWN: &str = concat!(
        "MIIBkTCCATigAwIBAgIUGnDH73UMFTvpKsPgOphQPLXoJ8owCgYIKoZIzj0EAwIwEzERMA8GA1UEAwwIbGFwLnRlc3Qw",
        "IBcNMjYxMTI3MDAyNDIzWhgPMjEyNjExMDMwMDI0MjNaMBMxETAPBgNVBAMMCGxhcC50ZXN0MFkwEwYHKoZIzj0CAQYI",
        "KoZIzj0DAQcDQgAE5yufDveE1Cwx1NBEZqk5QoVkZMGPvpABz774+GIdb+ikXkuwNR4u7e2dW085N92+weGQAeuS84mL",
        "4Hz4ZNgZO6NoMGYwHQYDVR0OBBYEFHnJ/XB6WEa3K7MJmgGUKOhWnyBjMB8GA1UdIwQYMBaAFHnJ/XB6WEa3K7MJmgGU",
        "KOhWnyBjMA8GA1UdEwEB/wQFMAMBAf8wEwYDVR0RBAwwCoIIbGFwLnRlc3QwCgYIKoZIzj0EAwIDRwAwRAIgYtcrS+eZ",
        "Iz39NKUKXY6KlwG6M2fOI8F4M+QpG0vBlagCIBFBmEvoocpmQqFwZO2UqLHT2+1GLe2rY4PRsnYUkheB",
    );
    /// 2027, and a time when it is long over.
    const NOW: u64 = 1_800_000_000;
    const LATER: u64 = 6_000_000_000;

    fn verified(given: bool, name: &'static str, at: u64) -> Result<(), Error> {
        let own = CertificateDer::from(STANDARD.decode(OWN).unwrap());
        let mut roots = RootCertStore::empty();
        roots.add(own.clone()).unwrap();
        let platform =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        let given = if given { vec![own.clone()] } else { Vec::new() };
        let name = ServerName::try_from(name).unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at));
        Trust { platform, given: given.into() }.verify_server_cert(&own, &[], &name, &[], at).map(drop)
    }

    #[test]
    fn a_certificate_that_this_machine_was_given_is_trusted_though_it_is_an_authoritys() {
        verified(true, "lap.test", NOW).unwrap();
        assert!(is_authority(&verified(false, "lap.test", NOW).unwrap_err()));
    }

    #[test]
    fn it_is_for_its_own_name_and_time_alone() {
        let refused = |name, at| match verified(true, name, at) {
            Err(Error::InvalidCertificate(error)) => error,
            other => panic!("{other:?}"),
        };
        assert!(matches!(
            refused("other.test", NOW),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        ));
        assert!(matches!(
            refused("lap.test", LATER),
            CertificateError::Expired | CertificateError::ExpiredContext { .. }
        ));
    }
}
