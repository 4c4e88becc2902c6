//! The code that is shown on the box's console, as pure code: time comes in.

use std::time::{Duration, Instant};

use posthouse_protocol::claim::ClaimCode;
use posthouse_protocol::limits;

/// How long a code is shown.
const LIFE: Duration = Duration::from_secs(limits::CODE_LIFE_S);

/// Characters of a code, 5 bits each.
const LEN: usize = 12;

/// What is shown, and what is taken.
#[derive(Clone)]
pub(super) struct Codes {
    current: ClaimCode,
    /// Shown before: whoever has just read it may still use it.
    previous: Option<ClaimCode>,
    /// `None` of a code that the owner has chosen: it stays.
    renewed: Option<Instant>,
}

impl Codes {
    /// A fresh code.
    pub fn fresh(now: Instant) -> Self {
        let mut random = [0; LEN];
        getrandom::fill(&mut random).expect("the kernel has random numbers once user space runs");
        Self { current: ClaimCode::from_random(&random), previous: None, renewed: Some(now) }
    }

    /// The code that the owner has chosen.
    pub fn chosen(code: &str) -> Self {
        Self { current: ClaimCode::typed(code), previous: None, renewed: None }
    }

    /// Those of an earlier run, as [`Codes::kept`] gave them: they begin anew, since somebody may have read them on the card while
    /// the box was off. `None` where that makes no sense.
    pub fn again(kept: &str, now: Instant) -> Option<Self> {
        let mut lines = kept.lines().map(ClaimCode::typed).filter(|code| code.chars() == LEN);
        Some(Self { current: lines.next()?, previous: lines.next(), renewed: Some(now) })
    }

    /// What is to be kept over a restart; nothing of a code that the owner has chosen.
    pub fn kept(&self) -> Option<String> {
        self.renewed?;
        let lines = std::iter::once(&self.current).chain(&self.previous);
        Some(lines.map(|code| format!("{code}\n")).collect())
    }

    /// Those that come next, if it is time.
    pub fn next(&self, now: Instant) -> Option<Self> {
        let age = now.saturating_duration_since(self.renewed?);
        (age >= LIFE).then(|| Self { previous: Some(self.current.clone()), ..Self::fresh(now) })
    }

    /// The one to show.
    pub fn current(&self) -> &ClaimCode {
        &self.current
    }

    /// The one of which that is true.
    pub fn find(&self, is_it: impl Fn(&ClaimCode) -> bool) -> Option<&ClaimCode> {
        std::iter::once(&self.current).chain(&self.previous).find(|code| is_it(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(codes: &Codes, code: &ClaimCode) -> bool {
        codes.find(|known| known.matches(code)).is_some()
    }

    #[test]
    fn a_code_is_good_while_it_is_shown_and_until_the_next_one_is_renewed() {
        let began = Instant::now();
        let first = Codes::fresh(began);
        assert_eq!(first.current().to_string().len(), 14);
        assert!(first.next(began + LIFE - Duration::from_millis(1)).is_none());
        let second = first.next(began + LIFE).expect("it is time");
        assert!(!second.current().matches(first.current()) && takes(&second, first.current()));
        let third = second.next(began + 2 * LIFE).expect("it is time");
        assert!(takes(&third, second.current()) && !takes(&third, first.current()));
    }

    #[test]
    fn what_stood_on_the_card_is_good_after_the_box_was_off() {
        let began = Instant::now();
        let codes = Codes::fresh(began).next(began + LIFE).expect("it is time");
        let kept = codes.kept().expect("they are kept");
        let again = Codes::again(&kept, began).expect("they are codes");
        assert!(again.current().matches(codes.current()) && again.kept() == Some(kept.clone()));
        assert!(again.next(began + LIFE).is_some_and(|next| takes(&next, codes.current())));
        for odd in ["", "\n\n", "AAAA-BBBB", "nonsense that nobody wrote"] {
            assert!(Codes::again(odd, began).is_none(), "{odd}");
        }
    }

    #[test]
    fn the_owners_own_code_stays() {
        let codes = Codes::chosen("my own code");
        assert!(codes.next(Instant::now() + 10 * LIFE).is_none() && codes.kept().is_none());
        assert!(takes(&codes, &ClaimCode::typed("MYOWNCODE")));
    }
}
