//! The certificates that clients are shown, and which of them a client gets. They can be replaced while connections come in.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A certificate for some DNS names only.
#[derive(Debug)]
pub struct Named {
    /// Which; in lower case. `*.` at the front stands for one label.
    pub names: Vec<String>,
    /// What is shown.
    pub certified: Arc<CertifiedKey>,
}

/// What there is to show, the most particular first.
#[derive(Debug, Default)]
pub struct Certificates {
    /// For some names each; the first that fits is shown.
    pub named: Vec<Named>,
    /// For whoever asks for none of those names, or for an address: a client names none then.
    pub general: Option<Arc<CertifiedKey>>,
}

/// A handle; clones share it. Empty at first: then every handshake fails with an alert.
#[derive(Clone, Debug, Default)]
pub struct Keyring(Arc<RwLock<Certificates>>);

impl Keyring {
    /// What is shown from now on.
    pub fn replace(&self, certificates: Certificates) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certificates;
    }

    /// What is shown to whoever names no server.
    #[cfg(test)]
    pub fn general(&self) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).of(None)
    }
}

impl ResolvesServerCert for Keyring {
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // What is behind the lock is replaced as a whole, so that a panic elsewhere does not matter.
        self.0.read().unwrap_or_else(PoisonError::into_inner).of(client.server_name())
    }
}

impl Certificates {
    fn of(&self, asked: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let asked = asked.map(str::to_ascii_lowercase);
        let fits = |named: &&Named| asked.as_ref().is_some_and(|asked| covers(&named.names, asked));
        let named = self.named.iter().find(fits).map(|named| &named.certified);
        named.or(self.general.as_ref()).cloned()
    }
}

/// Whether one of the names is this one, or stands for it (RFC 9525, §6.3).
pub fn covers(names: &[String], asked: &str) -> bool {
    let parent = asked.split_once('.').map(|(_, parent)| parent);
    names.iter().any(|name| name == asked || name.strip_prefix("*.").is_some_and(|rest| Some(rest) == parent))
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_name_is_covered_by_itself_and_by_a_star_for_its_first_label() {
        let names = ["chat.example.org".to_owned(), "*.example.net".to_owned()];
        for asked in ["chat.example.org", "a.example.net"] {
            assert!(covers(&names, asked), "{asked}");
        }
        for asked in ["example.org", "x.chat.example.org", "example.net", "a.b.example.net", ""] {
            assert!(!covers(&names, asked), "{asked}");
        }
    }
}
