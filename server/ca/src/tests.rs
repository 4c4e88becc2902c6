//! What the authority signs and what it refuses, on certificates that are read by another library than the one that makes them.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use posthouse_protocol::appliance::Settings;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SanType, date_time_ymd};
use time::{Duration, OffsetDateTime};
use x509_parser::pem::Pem;
use x509_parser::prelude::GeneralName;

use crate::{Authority, AuthorityError, Permitted, Refusal};

fn permitted(names: &[&str]) -> Permitted {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    Permitted::of(&Settings { names, ..Settings::default() })
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn authority(names: &[&str]) -> Authority {
    Authority::open(folder().path(), permitted(names)).expect("a new authority")
}

fn now() -> OffsetDateTime {
    date_time_ymd(2026, 11, 23)
}

/// A request for these names and addresses, with changes.
fn request(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> String {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    change(&mut params);
    let key = KeyPair::generate().expect("a key");
    params.serialize_request(&key).expect("a request").pem().expect("PEM")
}

fn sign(authority: &Authority, names: &[&str]) -> Result<String, Refusal> {
    authority.sign(&request(names, |_| {}), now())
}

fn parse(pem: &str) -> Pem {
    Pem::iter_from_buffer(pem.as_bytes()).next().expect("one").expect("PEM")
}

#[test]
fn an_authority_is_the_same_after_a_restart_and_only_its_user_reads_it() {
    let folder = folder();
    let first = Authority::open(folder.path(), permitted(&["chat.example.org"])).expect("made");
    let file = folder.path().join("authority.pem");
    assert_eq!(std::fs::metadata(&file).expect("kept").permissions().mode() & 0o777, 0o600);
    // What a power cut left of writing it is in nobody's way.
    std::fs::write(folder.path().join("authority.new"), "half").expect("written");
    let second = Authority::open(folder.path(), permitted(&["chat.example.org"])).expect("found");
    assert_eq!(second.fingerprint(), first.fingerprint());
    assert_eq!(second.certificate(), first.certificate());
    let third = Authority::open(folder.path(), permitted(&["new.example.org"])).expect("found");
    assert_eq!(third.fingerprint(), first.fingerprint());
    assert_ne!(third.certificate(), first.certificate(), "the new name is among its constraints");
    let fourth = Authority::open(folder.path(), permitted(&["new.example.org"])).expect("found");
    assert_eq!(fourth.certificate(), third.certificate());
}

#[test]
fn a_damaged_authority_is_never_replaced() {
    let folder = folder();
    let whole =
        Authority::open(folder.path(), permitted(&[])).map(|_| folder.path().join("authority.pem")).expect("made");
    let text = std::fs::read_to_string(&whole).expect("kept");
    let other = Authority::open(self::folder().path(), permitted(&[])).expect("made");
    let key = text.split_once("-----BEGIN CERT").expect("a certificate").0;
    for bad in ["", "nonsense", &text[..text.len() / 2], key, &format!("{key}{}", other.certificate())] {
        std::fs::write(&whole, bad).expect("written");
        let refused = Authority::open(folder.path(), permitted(&[]));
        assert!(matches!(refused, Err(AuthorityError::Damaged { .. })), "{bad}");
        assert_eq!(std::fs::read_to_string(&whole).expect("kept"), bad);
    }
}

#[test]
fn a_certificate_bears_what_was_asked_for_and_lives_as_long_as_browsers_allow() {
    let authority = authority(&["chat.example.org"]);
    let names = ["posthouse.local", "chat.example.org", "192.168.1.2", "fe80::1"];
    let pem = parse(&sign(&authority, &names).expect("signed"));
    let leaf = pem.parse_x509().expect("a certificate");
    let (issuer, root) = (leaf.issuer().to_string(), parse(authority.certificate()));
    let root = root.parse_x509().expect("a certificate");
    assert_eq!(issuer, root.subject().to_string());
    assert_eq!(issuer, format!("CN=Posthouse {}", authority.fingerprint().short()));
    assert!(!leaf.is_ca() && root.is_ca());
    let validity = leaf.validity();
    let life = validity.not_after.timestamp() - validity.not_before.timestamp() + 1;
    assert_eq!(life, Duration::days(397).whole_seconds());
    assert_eq!(validity.not_before.timestamp(), (now() - Duration::days(30)).unix_timestamp());
    let found = leaf.subject_alternative_name().expect("readable").expect("there").value.general_names.len();
    assert_eq!(found, names.len());
    assert!(root.name_constraints().expect("readable").expect("there").critical);
}

#[test]
fn a_clock_that_has_never_been_set_does_not_matter() {
    let pem = authority(&[]).sign(&request(&["posthouse.local"], |_| {}), OffsetDateTime::UNIX_EPOCH).expect("signed");
    let validity = parse(&pem).parse_x509().expect("a certificate").validity().not_before.timestamp();
    assert_eq!(validity, date_time_ymd(2020, 1, 1).unix_timestamp());
}

#[test]
fn nothing_is_signed_beyond_the_constraints() {
    let authority = authority(&["chat.example.org"]);
    for foreign in ["example.org", "x.chat.example.org", "*.local", "8.8.8.8", "2001:db8::1"] {
        let refused = sign(&authority, &["posthouse.local", foreign]);
        assert_eq!(refused, Err(Refusal::Name(foreign.to_owned())), "{foreign}");
    }
    assert_eq!(sign(&authority, &[]), Err(Refusal::NoNames));
    let many: Vec<String> = (0..65).map(|i| format!("n{i}.local")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(sign(&authority, &many), Err(Refusal::TooManyNames));
    let mail = |params: &mut CertificateParams| {
        params.subject_alt_names.push(SanType::Rfc822Name("a@posthouse.local".try_into().expect("ASCII")));
    };
    let refused = authority.sign(&request(&["posthouse.local"], mail), now());
    assert!(matches!(refused, Err(Refusal::Name(_))), "{refused:?}");
}

#[test]
fn no_second_authority_comes_of_a_request() {
    let authority = authority(&[]);
    let greedy = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert_eq!(authority.sign(&request(&["posthouse.local"], greedy), now()), Err(Refusal::Authority));
    let other_end = |params: &mut CertificateParams| params.not_after = date_time_ymd(2049, 1, 1);
    let pem = parse(&authority.sign(&request(&["posthouse.local"], other_end), now()).expect("signed"));
    assert!(
        pem.parse_x509().expect("a certificate").validity().not_after.timestamp()
            < date_time_ymd(2028, 1, 1).unix_timestamp()
    );
}

#[test]
fn garbage_and_requests_of_a_foreign_key_are_refused() {
    let authority = authority(&[]);
    let good = request(&["a.local"], |_| {});
    // Some lines before the end stands the signature.
    let at = good.len() - 70;
    let digit = if good.as_bytes()[at] == b'A' { "B" } else { "A" };
    let forged = format!("{}{digit}{}", &good[..at], &good[at + 1..]);
    for bad in ["", "garbage", &good[..good.len() / 2], &forged, authority.certificate()] {
        assert!(matches!(authority.sign(bad, now()), Err(Refusal::Request(_))), "{bad}");
    }
    for bad in ["", "garbage", &good] {
        assert!(matches!(authority.hand_over(bad, now()), Err(Refusal::Certificate(_))), "{bad}");
    }
}

#[test]
fn a_handover_is_for_the_key_of_a_certificate_and_for_no_name() {
    let authority = authority(&[]);
    let key = KeyPair::generate().expect("a key");
    let own = CertificateParams::new(vec!["chat.example.com".to_owned()]).expect("a name");
    let own = own.self_signed(&key).expect("signed").pem();
    let pem = parse(&authority.hand_over(&own, now()).expect("signed"));
    let handover = pem.parse_x509().expect("a certificate");
    let own = parse(&own);
    assert_eq!(handover.public_key().raw, own.parse_x509().expect("a certificate").public_key().raw);
    assert!(handover.subject_alternative_name().expect("readable").is_none() && !handover.is_ca());
    let root = parse(authority.certificate());
    let root = root.parse_x509().expect("a certificate");
    assert!(handover.verify_signature(Some(root.public_key())).is_ok());
}

#[test]
fn its_certificate_names_the_networks_that_it_is_for() {
    let root = parse(authority(&["chat.example.org"]).certificate());
    let root = root.parse_x509().expect("a certificate");
    let constraints = root.name_constraints().expect("readable").expect("there").value;
    let permitted = constraints.permitted_subtrees.as_ref().expect("some");
    let names: Vec<&str> = permitted
        .iter()
        .filter_map(|subtree| match subtree.base {
            GeneralName::DNSName(name) => Some(name),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["local", "chat.example.org"]);
    let private: IpAddr = [192, 168, 0, 0].into();
    let IpAddr::V4(private) = private else { unreachable!("it is one of version 4") };
    let of_address = |subtree: &x509_parser::extensions::GeneralSubtree<'_>| matches!(subtree.base, GeneralName::IPAddress(bytes) if bytes == [&private.octets()[..], &[255, 255, 0, 0]].concat());
    assert_eq!(permitted.iter().filter(|subtree| of_address(subtree)).count(), 1);
}
