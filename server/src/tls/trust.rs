//! What clients need to trust the box: the authority's certificate in the forms that their systems take, and its fingerprint.

use posthouse_protocol::Fingerprint;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use x509_parser::parse_x509_certificate;

/// The authority's side of the box, as it may be shown to everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustMaterial {
    /// By which clients know the box.
    pub fingerprint: Fingerprint,
    /// The authority's certificate.
    pub root: CertificateDer<'static>,
    /// The same as PEM.
    pub root_pem: String,
    /// The certificate by which the authority says that the key of the box's own certificate is the box's, too; PEM.
    pub handover_pem: Option<String>,
}

impl TrustMaterial {
    /// From the authority's certificate.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(root_pem: String) -> Result<Self, String> {
        let root = CertificateDer::from_pem_slice(root_pem.as_bytes()).map_err(|error| error.to_string())?;
        let (_, parsed) = parse_x509_certificate(&root).map_err(|error| error.to_string())?;
        let fingerprint = Fingerprint::from_sha256(Sha256::digest(parsed.public_key().raw).into());
        Ok(Self { fingerprint, root, root_pem, handover_pem: None })
    }

    #[allow(dead_code, reason = "the trust page serves it")]
    /// A profile that installs the authority's certificate on an iPhone or an iPad (Apple, Configuration Profile Reference). Its
    /// names follow from the fingerprint, so that a second download replaces the first.
    pub fn mobile_profile(&self) -> String {
        let id = |use_of: &str| uuid(&Sha256::digest([self.fingerprint.as_bytes(), use_of.as_bytes()].concat()));
        let short = self.fingerprint.short();
        let content: String = self.root_pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let certificate = format!(
            "<dict>\
             <key>PayloadType</key><string>com.apple.security.root</string>\
             <key>PayloadVersion</key><integer>1</integer>\
             <key>PayloadIdentifier</key><string>posthouse.{short}.root</string>\
             <key>PayloadUUID</key><string>{}</string>\
             <key>PayloadDisplayName</key><string>Posthouse {short}</string>\
             <key>PayloadCertificateFileName</key><string>posthouse.crt</string>\
             <key>PayloadContent</key><data>{content}</data>\
             </dict>",
            id("root")
        );
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
             <plist version=\"1.0\"><dict>\
             <key>PayloadType</key><string>Configuration</string>\
             <key>PayloadVersion</key><integer>1</integer>\
             <key>PayloadIdentifier</key><string>posthouse.{short}</string>\
             <key>PayloadUUID</key><string>{}</string>\
             <key>PayloadDisplayName</key><string>Posthouse {short}</string>\
             <key>PayloadDescription</key><string>Lets this device know the Posthouse box {short}, and only it.</string>\
             <key>PayloadContent</key><array>{certificate}</array>\
             </dict></plist>\n",
            id("profile")
        )
    }
}

#[allow(dead_code, reason = "only profiles need it")]
/// In the form of RFC 9562, version 8.
fn uuid(hash: &[u8]) -> String {
    let mut bytes: Vec<u8> = hash[..16].to_vec();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = |part: &[u8]| part.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let parts = [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..]];
    parts.map(hex).join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn material() -> TrustMaterial {
        let key = rcgen::KeyPair::generate().expect("a key");
        let root = rcgen::CertificateParams::default().self_signed(&key).expect("signed");
        TrustMaterial::of(root.pem()).expect("a certificate")
    }

    #[test]
    fn a_profile_carries_the_certificate_and_is_the_same_each_time() {
        let material = material();
        let profile = material.mobile_profile();
        let data = profile.split_once("<data>").and_then(|(_, rest)| rest.split_once("</data>")).expect("data").0;
        let pem = format!("-----BEGIN CERTIFICATE-----\n{data}\n-----END CERTIFICATE-----\n");
        let carried = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
        assert_eq!(carried, material.root);
        assert_eq!(profile, material.mobile_profile());
        assert!(profile.contains(&format!("posthouse.{}.root", material.fingerprint.short())));
    }

    #[test]
    fn what_is_no_certificate_is_no_trust_material() {
        assert!(TrustMaterial::of("nonsense".to_owned()).is_err());
    }
}
