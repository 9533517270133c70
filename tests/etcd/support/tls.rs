//! Certificates, made by openssl(1) for each run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

/// A certificate authority and what it has signed. It goes with the last server that uses it.
#[derive(Clone)]
pub struct Identity {
    dir: Arc<TempDir>,
    /// Whether the server asks clients for a certificate.
    asks_clients: bool,
}

/// What a certificate may be used for.
const SERVER: &str = "serverAuth,clientAuth";
const SERVER_ONLY: &str = "serverAuth";
const CLIENT: &str = "clientAuth";

impl Identity {
    pub fn new() -> Identity {
        let identity =
            Identity { dir: Arc::new(tempfile::tempdir().unwrap()), asks_clients: false };
        identity.make_authority("ca");
        identity.make_authority("stranger");
        identity.sign("server", "/CN=server", SERVER);
        identity.sign("server_only", "/CN=server", SERVER_ONLY);
        identity.sign("client", "/O=tests", CLIENT);
        identity.sign("named_client", "/CN=somebody", CLIENT);
        identity
    }

    pub fn asking_clients(mut self) -> Identity {
        self.asks_clients = true;
        self
    }

    /// As many a server has it: then etcd's gateway can't be a client of its own server.
    #[cfg(feature = "etcd-tls")]
    pub fn for_servers_only(self) -> Identity {
        fs::copy(self.path("server_only.pem"), self.path("server.pem")).unwrap();
        fs::copy(self.path("server_only.key"), self.path("server.key")).unwrap();
        self
    }

    /// `ca.pem`, `stranger.pem` (an authority that signed nothing), `client.pem`, `client.key`, …
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn server_options(&self) -> Vec<String> {
        let path = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let mut options = vec![
            "--cert-file".to_owned(),
            path("server.pem"),
            "--key-file".to_owned(),
            path("server.key"),
        ];
        if self.asks_clients {
            options.extend([
                "--client-cert-auth".to_owned(),
                "--trusted-ca-file".to_owned(),
                path("ca.pem"),
            ]);
        }
        options
    }

    pub fn etcdctl_options(&self) -> Vec<String> {
        let path = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let options = [
            "--cacert",
            &path("ca.pem"),
            "--cert",
            &path("client.pem"),
            "--key",
            &path("client.key"),
        ];
        options.map(str::to_owned).to_vec()
    }

    fn make_authority(&self, name: &str) {
        let subject = format!("/CN={name}");
        self.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &subject,
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-addext",
            "keyUsage=keyCertSign",
            "-keyout",
            &format!("{name}.key"),
            "-out",
            &format!("{name}.pem"),
        ]);
    }

    fn sign(&self, name: &str, subject: &str, usage: &str) {
        let [key, request, certificate, extensions] =
            ["key", "csr", "pem", "ext"].map(|ending| format!("{name}.{ending}"));
        let text = format!(
            "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage={usage}\nbasicConstraints=CA:FALSE\n"
        );
        fs::write(self.path(&extensions), text).unwrap();
        self.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            subject,
            "-keyout",
            &key,
            "-out",
            &request,
        ]);
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            &extensions,
            "-out",
            &certificate,
        ]);
    }

    fn openssl(&self, arguments: &[&str]) {
        openssl(self.dir.path(), arguments);
    }
}

/// A pair by which etcd signs tokens: the private key's path, and the public one's.
pub fn make_jwt_keys(dir: &Path) -> (String, String) {
    openssl(dir, &["genrsa", "-out", "private.pem", "2048"]);
    openssl(dir, &["rsa", "-in", "private.pem", "-pubout", "-out", "public.pem"]);
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    (path("private.pem"), path("public.pem"))
}

fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
