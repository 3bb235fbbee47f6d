//! One authority for all clusters of a fleet, and what it signs.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// A certificate with its key, in PEM form.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// The authority, and the files that API servers read.
pub struct Pki {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Members of `system:masters`: may do everything everywhere.
    pub admin: Identity,
}

impl Pki {
    /// Makes one in a folder.
    ///
    /// # Errors
    /// Where a file can't be written.
    pub fn new(folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "fleet-real");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        std::fs::create_dir_all(folder)?;
        let folder = folder.to_owned();
        std::fs::write(folder.join("ca.crt"), issuer.pem())?;
        let admin = client(&issuer, "admin", &["system:masters"])?;
        let pki = Self { folder, issuer, admin };
        let names = ["localhost", "127.0.0.1", "kubernetes.default.svc"].map(str::to_owned).to_vec();
        let mut server = CertificateParams::new(names)?;
        server.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        pki.write("server.crt", &server.signed_by(&key, &pki.issuer)?.pem())?;
        pki.write("server.key", &key.serialize_pem())?;
        let accounts = KeyPair::generate()?;
        pki.write("accounts.key", &accounts.serialize_pem())?;
        pki.write("accounts.pub", &accounts.public_key_pem())?;
        Ok(pki)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.folder.join(name), text)?)
    }

    /// One of its files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The authority's certificate.
    pub fn authority(&self) -> String {
        self.issuer.pem()
    }

    /// A client certificate.
    ///
    /// # Errors
    /// Where the names can't stand in one.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<Identity> {
        client(&self.issuer, user, groups)
    }

    /// A client certificate that has expired.
    ///
    /// # Errors
    /// Where the names can't stand in one.
    pub fn expired_client(&self, user: &str, groups: &[&str]) -> Result<Identity> {
        let mut params = client_params(user, groups);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        signed(&self.issuer, params)
    }
}

fn client_params(user: &str, groups: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, user);
    for group in groups {
        params.distinguished_name.push(DnType::OrganizationName, *group);
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn client(issuer: &CertifiedIssuer<'static, KeyPair>, user: &str, groups: &[&str]) -> Result<Identity> {
    signed(issuer, client_params(user, groups))
}

fn signed(issuer: &CertifiedIssuer<'static, KeyPair>, params: CertificateParams) -> Result<Identity> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?.pem();
    Ok(Identity { certificate, key: key.serialize_pem() })
}
