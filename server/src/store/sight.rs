//! Since when each member sees a conversation, in memory: who is to learn of an edit of an old message has to be known
//! without reading a row for every member.

use std::collections::BTreeMap;

use posthouse_protocol::AccountId;

use super::membership::MembershipRow;

/// Since when the members of a conversation see it.
#[derive(Default)]
pub(super) struct Sight {
    /// For all members that are not among the others; none as long as nobody has come in.
    since: Option<u64>,
    /// Who came later, or earlier, or back: nobody in most conversations.
    others: BTreeMap<AccountId, Stay>,
}

/// A member's stay.
#[derive(Clone, Copy)]
struct Stay {
    since: u64,
    /// There were stays before it.
    came_back: bool,
}

/// Whether a member sees a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sees {
    Yes,
    No,
    /// If it did during one of its former stays: its row tells.
    IfItDidBefore,
}

impl Sight {
    /// An account is a member, with this row.
    pub fn enter(&mut self, account: AccountId, row: &MembershipRow) {
        let Some(since) = row.current_from() else { return };
        let stay = Stay { since, came_back: row.intervals.len() > 1 };
        if *self.since.get_or_insert(since) != since || stay.came_back {
            self.others.insert(account, stay);
        } else {
            self.others.remove(&account);
        }
    }

    /// The account is a member no longer.
    pub fn exit(&mut self, account: AccountId) {
        self.others.remove(&account);
    }

    /// Whether every member sees a record.
    pub fn is_open_to_all(&self, gseq: u64) -> bool {
        self.since.is_some_and(|since| since <= gseq) && self.others.values().all(|stay| stay.since <= gseq)
    }

    /// Whether a member sees a record.
    pub fn of(&self, member: AccountId, gseq: u64) -> Sees {
        let stay = self.others.get(&member).copied();
        let stay = stay.or(self.since.map(|since| Stay { since, came_back: false }));
        match stay {
            Some(stay) if stay.since <= gseq => Sees::Yes,
            Some(stay) if stay.came_back => Sees::IfItDidBefore,
            _ => Sees::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use posthouse_protocol::{HistoryAccess, TimestampMs};

    use super::*;

    const ANNA: AccountId = AccountId(1);
    const BEN: AccountId = AccountId(2);
    const CARL: AccountId = AccountId(3);

    fn since(gseq: u64) -> MembershipRow {
        let mut row = MembershipRow::never();
        row.enter(HistoryAccess::FromJoining, gseq, TimestampMs(0));
        row
    }

    #[test]
    fn members_see_from_their_own_beginning_on() {
        let mut sight = Sight::default();
        assert!(!sight.is_open_to_all(9), "nobody is there");
        for (member, gseq) in [(ANNA, 5), (BEN, 5), (CARL, 8)] {
            sight.enter(member, &since(gseq));
        }
        assert_eq!(sight.others.len(), 1, "most need no entry");
        assert_eq!([4, 5, 7].map(|gseq| sight.of(BEN, gseq)), [Sees::No, Sees::Yes, Sees::Yes]);
        assert_eq!([5, 7, 8].map(|gseq| sight.of(CARL, gseq)), [Sees::No, Sees::No, Sees::Yes]);
        assert!(!sight.is_open_to_all(7) && sight.is_open_to_all(8));
        sight.exit(CARL);
        assert!(!sight.is_open_to_all(4) && sight.is_open_to_all(5));
    }

    #[test]
    fn who_came_back_may_have_seen_it_before_and_who_is_gone_is_no_member() {
        let mut back = since(2);
        back.exit(3);
        let mut sight = Sight::default();
        sight.enter(ANNA, &back);
        assert_eq!(sight.of(ANNA, 2), Sees::No, "she is gone");
        sight.enter(BEN, &since(6));
        back.enter(HistoryAccess::FromJoining, 6, TimestampMs(0));
        sight.enter(ANNA, &back);
        assert_eq!([2, 6].map(|gseq| sight.of(ANNA, gseq)), [Sees::IfItDidBefore, Sees::Yes]);
        back.exit(7);
        back.enter(HistoryAccess::All, 9, TimestampMs(0));
        sight.enter(ANNA, &back);
        assert_eq!([1, 2].map(|gseq| sight.of(ANNA, gseq)), [Sees::Yes, Sees::Yes]);
        assert!(!sight.is_open_to_all(5), "Ben came later");
        sight.enter(ANNA, &since(6));
        assert_eq!((sight.of(ANNA, 2), sight.others.len()), (Sees::No, 0));
    }
}
