//! When a certificate is valid, and when it is time for another.

use x509_parser::certificate::X509Certificate;
use x509_parser::time::ASN1Time;

/// Seconds since 1970, both ends included (RFC 5280, §4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub not_before: i64,
    /// Its last one.
    pub not_after: i64,
}

impl Validity {
    /// What a certificate says.
    pub fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() }
    }

    /// Whether it has passed.
    pub fn is_over(self, now: i64) -> bool {
        now > self.not_after
    }

    /// Whether another certificate is due: a third of the life is left, or the clock says something that does not fit.
    pub fn is_due(self, now: i64) -> bool {
        let life = self.not_after - self.not_before;
        now < self.not_before || now > self.not_after - life / 3
    }
}

/// By the system's clock, in seconds since 1970.
pub fn now() -> i64 {
    let elapsed = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

/// For people.
pub fn shown(time: i64) -> String {
    ASN1Time::from_timestamp(time).map_or_else(|_| format!("{time} s"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_certificate_is_due_when_a_third_is_left_or_the_clock_has_jumped() {
        let validity = Validity { not_before: 1_000, not_after: 1_300 };
        for (now, due) in [(999, true), (1_000, false), (1_200, false), (1_201, true), (5_000, true)] {
            assert_eq!(validity.is_due(now), due, "{now}");
        }
        assert!(!validity.is_over(1_300) && validity.is_over(1_301));
    }
}
