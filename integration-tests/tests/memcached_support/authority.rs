//! Certificates for the tests of TLS.

use integration_tests::Memcached;

/// A certificate authority, and the certificates that it signs.
pub(crate) struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = params("authority", Vec::new());
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: rcgen::Issuer::new(params, key),
        }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Returns a certificate for a host and its private key, in PEM.
    pub(crate) fn issue(&self, name: &str) -> [String; 2] {
        let params = params(name, vec![name.to_owned()]);
        let key = rcgen::KeyPair::generate().unwrap();
        [params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem()]
    }

    /// Starts a server with a certificate for `localhost`. With `clients`, clients must have one of that authority.
    pub(crate) async fn memcached(&self, clients: Option<&Self>) -> Memcached {
        let [certificate, key] = self.issue("localhost");
        let clients = clients.map(Self::pem);
        Memcached::start_with_tls(&certificate, &key, clients.as_deref()).await
    }
}

/// Each certificate has a name of its own: one with the name of its issuer counts as signed by itself.
fn params(name: &str, hosts: Vec<String>) -> rcgen::CertificateParams {
    let mut params = rcgen::CertificateParams::new(hosts).unwrap();
    let name = format!("{name} {:016x}", fastrand::u64(..));
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params
}
