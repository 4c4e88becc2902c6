//! Certificates from the real authority, which runs on a thread of its own.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use posthouse_ca::{Authority, Peers, Permitted};
use posthouse_protocol::appliance::Settings;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::{Keyring, start};
use crate::names;

/// Long enough for a loaded machine.
const BOUND: Duration = Duration::from_secs(20);

fn authority(folder: &Path, settings: &Settings) -> std::path::PathBuf {
    let socket = folder.join("ca.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let authority = Authority::open(folder, Permitted::of(settings)).expect("an authority");
    std::thread::spawn(move || posthouse_ca::serve(&listener, &authority, &Peers::default(), None));
    socket
}

/// The names on the certificate for whoever names no server.
fn shown(keyring: &Keyring) -> Vec<String> {
    let Some(certified) = keyring.general() else { return Vec::new() };
    let (_, leaf) = parse_x509_certificate(&certified.cert[0]).expect("a certificate");
    let names = leaf.subject_alternative_name().expect("readable").expect("there");
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    dns.collect()
}

#[tokio::test]
async fn a_box_that_is_renamed_gets_another_certificate_from_the_same_authority() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = Settings { host_name: Some("posthouse".to_owned()), ..Settings::default() };
    let socket = authority(folder.path(), &settings);
    let (naming, names) = names::channel(&settings);
    let mut tls = start(Some(&socket), folder.path(), names);
    tokio::spawn(tls.renewal.take().expect("there is an authority").run());
    tls.trust.wait_for(Option::is_some).await.expect("it runs");
    assert_eq!(shown(&tls.keyring), ["posthouse.local"]);
    let first = tls.trust.borrow_and_update().clone().expect("there");

    naming.rename("posthouse-2");
    tokio::time::timeout(BOUND, tls.trust.changed()).await.expect("in time").expect("it runs");
    assert_eq!(shown(&tls.keyring), ["posthouse-2.local"]);
    let second = tls.trust.borrow_and_update().clone().expect("there");
    assert_eq!(first.fingerprint, second.fingerprint, "it is the same box");
}
