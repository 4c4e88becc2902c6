//! The box's own label under `.local`, and what it becomes when another device has it already.

/// What names stand under on a network without a name server (RFC 6762, §3).
const DOMAIN: &str = "local.";

/// Longest label of the DNS, in bytes (RFC 1035, §2.3.4).
const LABEL_LEN_MAX: usize = 63;

/// A label, and how many others have been found taken before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    wanted: String,
    number: u32,
}

impl Candidate {
    /// The name that the owner wants.
    pub fn wanted(label: &str) -> Self {
        Self { wanted: label.to_owned(), number: 1 }
    }

    /// The same, when `number - 1` others before it were taken. 0 means the same as 1.
    pub fn numbered(label: &str, number: u32) -> Self {
        Self { wanted: label.to_owned(), number: number.max(1) }
    }

    /// What to try after this one.
    pub fn next(&self) -> Self {
        Self { wanted: self.wanted.clone(), number: self.number.saturating_add(1) }
    }

    /// Which one of the names tried it is, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// `posthouse`, `posthouse-2`, `posthouse-3`… A name that ends in a number gets another one behind it: `lab-7-2`, since
    /// `lab-8` is likely to be somebody's.
    pub fn label(&self) -> String {
        if self.number == 1 {
            return self.wanted.clone();
        }
        let suffix = format!("-{}", self.number);
        let mut stem = self.wanted.clone();
        while stem.len() + suffix.len() > LABEL_LEN_MAX {
            stem.pop();
        }
        stem + &suffix
    }

    /// The whole name, with its dot at the end.
    pub fn host(&self) -> String {
        format!("{}.{DOMAIN}", self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_that_is_taken_is_followed_by_the_next_number() {
        let first = Candidate::wanted("posthouse");
        let names: Vec<String> =
            [first.clone(), first.next(), first.next().next()].iter().map(Candidate::host).collect();
        assert_eq!(names, ["posthouse.local.", "posthouse-2.local.", "posthouse-3.local."]);
        assert_eq!(Candidate::numbered("lab-7", 2).label(), "lab-7-2");
        assert_eq!(Candidate::numbered("lab-7", 0).label(), "lab-7");
    }

    #[test]
    fn a_number_never_makes_a_label_too_long() {
        let longest = "a".repeat(LABEL_LEN_MAX);
        assert_eq!(Candidate::wanted(&longest).label(), longest);
        let label = Candidate::numbered(&longest, 10).label();
        assert_eq!(label.len(), LABEL_LEN_MAX);
        assert!(label.ends_with("a-10"));
    }
}
