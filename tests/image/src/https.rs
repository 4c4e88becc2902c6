//! HTTPS on the box, as openssl sees it: whoever trusts the box's authority knows the box by name and by address, and the authority
//! stays the same from boot to boot.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::network;

/// An address that has come just now is on the certificate some seconds later; the authority's first start makes a key.
const PATIENCE: Duration = Duration::from_secs(60);

/// The certificate of the authority of the box with this name, once everything that hangs on it is right.
pub async fn assert_trusted(door: SocketAddr, name: &str, folder: &Path) -> anyhow::Result<String> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match look(door, name, folder).await {
            Ok(root) => {
                println!("test-image: openssl knows {name} and {} by the box's authority", network::BOX_ADDRESS);
                return Ok(root);
            }
            Err(error) if tokio::time::Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

async fn look(door: SocketAddr, name: &str, folder: &Path) -> anyhow::Result<String> {
    let chain = openssl(&["s_client", "-connect", &door.to_string(), "-servername", name, "-showcerts"]).await?;
    let certificates: Vec<&str> = chain.split_inclusive("-----END CERTIFICATE-----").filter_map(certificate).collect();
    let [leaf, root] = certificates[..] else {
        anyhow::bail!("{door} shows {} certificates, not its own and its authority's", certificates.len());
    };
    let write = |file: &str, text: &str| {
        let file = folder.join(file);
        std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        Ok::<_, anyhow::Error>(file.display().to_string())
    };
    let (leaf, root_file) = (write("leaf.pem", leaf)?, write("root.pem", root)?);
    let address = IpAddr::from(network::BOX_ADDRESS).to_string();
    for wanted in [["-verify_hostname", name], ["-verify_ip", &address]] {
        let verify = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", &root_file];
        openssl(&[&verify[..], &wanted[..], &[&leaf]].concat()).await?;
    }
    let foreign = ["verify", "-CAfile", &root_file, "-verify_hostname", "posthouse.example.org", &leaf];
    ensure!(openssl(&foreign).await.is_err(), "the certificate is for every name");
    Ok(root.to_owned())
}

/// What of a text is a certificate.
fn certificate(text: &str) -> Option<&str> {
    text.find("-----BEGIN CERTIFICATE-----").map(|start| &text[start..])
}

async fn openssl(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("openssl").args(arguments).stdin(std::process::Stdio::null()).output();
    let output = output.await.context("starting openssl: is it installed?")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openssl {}: {said}{complaint}", arguments.join(" "));
    Ok(said)
}
