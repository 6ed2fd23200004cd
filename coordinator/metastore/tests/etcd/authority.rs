//! Certificates for a test: an authority, a member's and a client's, as files.

use std::fs;
use std::path::{Path, PathBuf};

use rama_metastore::EtcdTls;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// A directory with certificates.
pub struct Authority {
    dir: PathBuf,
}

impl Authority {
    /// In a directory of its own.
    pub fn new(parent: &Path) -> Authority {
        let dir = parent.join("certificates");
        fs::create_dir(&dir).unwrap();
        Authority { dir }
    }

    /// Makes an authority and has it issue everything, over what was there.
    pub fn issue(&self) {
        for (authority, issued) in [("ca", &["server", "client"][..]), ("stranger", &[][..])] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params
                .distinguished_name
                .push(DnType::CommonName, authority);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            self.write(authority, &params.self_signed(&key).unwrap().pem(), &key);
            let issuer = Issuer::new(params, key);
            for name in issued {
                let key = KeyPair::generate().unwrap();
                let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
                params.distinguished_name.push(DnType::CommonName, *name);
                self.write(name, &params.signed_by(&key, &issuer).unwrap().pem(), &key);
            }
        }
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) {
        fs::write(self.path(name, "crt"), certificate).unwrap();
        fs::write(self.path(name, "key"), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.dir.join(name).with_extension(extension)
    }

    /// What a client uses.
    pub fn client(&self, identity: bool) -> EtcdTls {
        let paths = (self.path("client", "crt"), self.path("client", "key"));
        EtcdTls {
            ca: self.path("ca", "crt"),
            identity: identity.then_some(paths),
            server_name: None,
        }
    }

    /// What a client of another cluster uses.
    pub fn stranger(&self) -> EtcdTls {
        EtcdTls {
            ca: self.path("stranger", "crt"),
            ..self.client(true)
        }
    }

    /// Arguments of a member that wants certificates from clients.
    pub fn server_args(&self, client_port: u16) -> Vec<String> {
        let url = format!("https://127.0.0.1:{client_port}");
        let path = |name, extension| self.path(name, extension).display().to_string();
        let args = [
            ("listen-client-urls", url.clone()),
            ("advertise-client-urls", url),
            ("cert-file", path("server", "crt")),
            ("key-file", path("server", "key")),
            ("trusted-ca-file", path("ca", "crt")),
            ("client-cert-auth", "true".into()),
        ];
        args.map(|(name, value)| format!("--{name}={value}"))
            .to_vec()
    }
}
