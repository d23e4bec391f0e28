//! TLS towards destinations: versions 1.2 and 1.3, HTTP/1.1 only, certificates always verified.
//!
//! The public authorities are those of Mozilla, compiled in, so that a broker trusts the same ones on every machine;
//! `destinations.ca_file` adds an operator's own.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};

use super::error::TrustError;
use super::limits::CA_FILE_BYTES_MAX;

/// Sets up TLS, and reads the file of further authorities.
///
/// # Errors
/// [`TrustError`] for a file that cannot be used.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(path) = ca_file {
        add_file(&mut roots, path)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TrustError> {
    let bytes = read(path).map_err(|source| TrustError::Read {
        path: path.to_owned(),
        source,
    })?;
    let wrong = |reason: String| TrustError::Pem {
        path: path.to_owned(),
        reason,
    };
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        count += 1;
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        let added = roots.add(certificate);
        added.map_err(|source| TrustError::Certificate {
            path: path.to_owned(),
            number: count,
            source,
        })?;
    }
    if count == 0 {
        return Err(wrong("there is none in it".to_owned()));
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = CA_FILE_BYTES_MAX;
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}
