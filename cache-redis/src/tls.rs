//! TLS by rustls. The crypto provider is given explicitly, since the process may have none or several installed.

use std::sync::Arc;

use cache_core::Error;
use fred::types::config::{TlsConfig, TlsConnector};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::error::configuration;

/// The certificate authorities, and the certificate and key of this client, all in PEM.
#[derive(Clone, Default)]
pub(crate) struct Tls {
    pub(crate) authorities: Option<Vec<u8>>,
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    pub(crate) fn config(&self) -> Result<TlsConfig, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| configuration(format!("TLS: {error}")))?
            .with_root_certificates(self.roots()?);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(certificate, "the client's certificate")?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|error| configuration(format!("the client's private key: {error}")))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| configuration(format!("the client's certificate: {error}")))?
            }
        };
        Ok(TlsConnector::from(config).into())
    }

    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        if let Some(pem) = &self.authorities {
            for certificate in certificates(pem, "the CA certificates")? {
                roots
                    .add(certificate)
                    .map_err(|error| configuration(format!("the CA certificates: {error}")))?;
            }
        } else {
            // Some systems have a few certificates that cannot be parsed. It matters only that there are others.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(configuration(
                    "TLS: the system has no CA certificates; set ca_certificates",
                ));
            }
        }
        Ok(roots)
    }
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| configuration(format!("{what}: {error}")))?;
    if certificates.is_empty() {
        return Err(configuration(format!("{what}: there is no certificate in the PEM")));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use cache_core::ErrorKind;

    use crate::RedisBackend;

    #[tokio::test]
    async fn certificates_that_are_none_are_refused() {
        let builder = RedisBackend::builder().tls();
        for (builder, part) in [
            (builder.clone().ca_certificates("nothing"), "CA certificates"),
            (
                builder
                    .clone()
                    .ca_certificates("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
                "CA",
            ),
        ] {
            let error = builder
                .build()
                .map(drop)
                .map_err(|error| (error.kind(), error.to_string()));
            let Err((kind, text)) = error else { panic!("taken") };
            assert_eq!(kind, ErrorKind::Configuration);
            assert!(text.contains(part), "{text}");
        }
    }
}
