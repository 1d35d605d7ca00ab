//! TLS by rustls. The crypto provider is given explicitly, since the process may have none or several installed.

use std::fmt;
use std::io;
use std::sync::Arc;

use cache_core::Error;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use crate::error::configuration;
use crate::stream::{Address, BoxedStream};

/// The certificate authorities, and the certificate and key of this client, all in PEM.
#[derive(Clone, Default)]
pub(crate) struct Certificates {
    pub(crate) authorities: Option<Vec<u8>>,
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Opens streams by TLS.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl Tls {
    pub(crate) fn new(certificates: &Certificates) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| configuration(format!("TLS: {error}")))?
            .with_root_certificates(certificates.roots()?);
        let config = match &certificates.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = read(certificate, "the client's certificate")?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|error| configuration(format!("the client's private key: {error}")))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| configuration(format!("the client's certificate: {error}")))?
            }
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Opens a stream to a server whose certificate must be for the host in its address.
    pub(crate) async fn open(&self, address: &Address) -> io::Result<BoxedStream> {
        let name = address
            .host()
            .and_then(|host| ServerName::try_from(host.to_owned()).ok());
        let Some(name) = name else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "TLS: this is no name that a certificate can be for",
            ));
        };
        let stream = address.open().await?;
        let stream = self.0.connect(name, stream).await.map_err(explained)?;
        Ok(Box::new(stream))
    }
}

/// Adds what to do about a failed handshake.
fn explained(error: io::Error) -> io::Error {
    let remedy = match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(_)) => "; a server that does not speak TLS is named memcached://",
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "; an authority of your own is set by ca_certificates"
        }
        _ => "",
    };
    io::Error::new(error.kind(), format!("TLS: {error}{remedy}"))
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Certificates {
    fn roots(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        if let Some(pem) = &self.authorities {
            for certificate in read(pem, "the CA certificates")? {
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

fn read(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
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

    use super::*;

    #[test]
    fn certificates_that_are_none_are_refused() {
        for pem in [
            "nothing",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        ] {
            let certificates = Certificates {
                authorities: Some(pem.into()),
                identity: None,
            };
            let Err(error) = Tls::new(&certificates) else {
                panic!("taken: {pem}")
            };
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.message().contains("CA certificates"), "{error}");
        }
    }
}
