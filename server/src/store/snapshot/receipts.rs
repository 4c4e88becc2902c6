//! How far members have come, and what they have not read.

use posthouse_protocol::{AccountId, ConversationId, Mark, ReadState, ReceiptCounts, Receipts, Seq, limits};

use super::Snapshot;
use super::messages::Records;
use crate::store::StoreError;
use crate::store::membership::MembershipRow;
use crate::store::rows::{MarkRow, RowKey, RowTable, number_key, pair_of};
use crate::store::tables::{ROWS, each_row, row};

impl Snapshot {
    /// What a member has not read; `None` where the account is none.
    pub fn read_state(
        &self,
        account_id: AccountId,
        conversation_id: ConversationId,
    ) -> Result<Option<ReadState>, StoreError> {
        let membership = self.membership(account_id, conversation_id)?.filter(MembershipRow::is_current);
        membership.map(|membership| self.unread(account_id, conversation_id, &membership)).transpose()
    }

    pub(super) fn unread(
        &self,
        account_id: AccountId,
        conversation_id: ConversationId,
        membership: &MembershipRow,
    ) -> Result<ReadState, StoreError> {
        let read = self.mark(account_id, conversation_id)?.read.0;
        let (last, _) = self.head(conversation_id)?;
        let nothing = ReadState { conversation_id, read: Seq(read), last_seq: Seq(last), unread: 0, mentions: 0 };
        if read >= last {
            return Ok(nothing);
        }
        let erased = self.erased(conversation_id)?;
        let unread = self.read(|txn| {
            let records = Records::open(txn, conversation_id)?;
            let first = records.first_with(read + 1)?;
            let counted = |gseq: u64| Ok::<_, redb::Error>(records.counted_up_to(gseq)?.unwrap_or(erased));
            // Of a damaged store nothing is sure, not even that these numbers never fall.
            membership.within(first, u64::MAX).try_fold(0_u64, |sum, (from, to)| {
                let within = counted(to)?.saturating_sub(counted(from.saturating_sub(1))?);
                Ok::<_, redb::Error>(sum.saturating_add(within))
            })
        })?;
        let mentions = self.mentions(account_id, conversation_id, read)?;
        Ok(ReadState { unread, mentions: mentions.min(unread), ..nothing })
    }

    /// How far the members have come, for one of them.
    pub fn receipts(&self, reader: AccountId, conversation_id: ConversationId) -> Result<Option<Receipts>, StoreError> {
        if !self.membership(reader, conversation_id)?.is_some_and(|membership| membership.is_current()) {
            return Ok(None);
        }
        let members = self.member_ids(conversation_id)?;
        self.receipts_of(conversation_id, &members, &members).map(Some)
    }

    /// How far `of` have come, or, in a large conversation, how many of its members have come to the newest message.
    pub fn receipts_of(
        &self,
        conversation_id: ConversationId,
        members: &[AccountId],
        of: &[AccountId],
    ) -> Result<Receipts, StoreError> {
        let mut receipts = Receipts { conversation_id, marks: Vec::new(), counts: None };
        if members.len() <= limits::RECEIPT_MEMBERS_MAX {
            for account_id in of {
                receipts.marks.push(self.mark(*account_id, conversation_id)?);
            }
            return Ok(receipts);
        }
        let (seq, _) = self.head(conversation_id)?;
        let mut counts = ReceiptCounts { seq: Seq(seq), read: 0, delivered: 0 };
        each_row(&self.txn, RowTable::Mark, &number_key(conversation_id.0), |key, value| {
            if members.binary_search(&AccountId(pair_of(key)?.1)).is_ok() {
                let mark = MarkRow::from_bytes(value)?;
                counts.read += u64::from(mark.read >= seq);
                counts.delivered += u64::from(mark.delivered >= seq);
            }
            Ok::<_, StoreError>(())
        })?;
        receipts.counts = Some(counts);
        Ok(receipts)
    }

    /// Who is in a conversation now, in ascending order.
    pub fn member_ids(&self, conversation_id: ConversationId) -> Result<Vec<AccountId>, StoreError> {
        let mut members = Vec::new();
        each_row(&self.txn, RowTable::Member, &number_key(conversation_id.0), |key, _| {
            members.push(AccountId(pair_of(key)?.1));
            Ok::<_, StoreError>(())
        })?;
        Ok(members)
    }

    /// How many messages that count as unread are no longer kept.
    fn erased(&self, conversation: ConversationId) -> Result<u64, StoreError> {
        let found = row(&self.txn, &RowKey::erased(conversation))?;
        Ok(found.map_or(Ok((0, 0)), |found| pair_of(&found))?.1)
    }

    fn mark(&self, account_id: AccountId, conversation: ConversationId) -> Result<Mark, StoreError> {
        let found = row(&self.txn, &RowKey::mark(conversation, account_id))?;
        let MarkRow { read, delivered } = found.map_or(Ok(MarkRow::default()), |found| MarkRow::from_bytes(&found))?;
        Ok(Mark { account_id, read: Seq(read), delivered: Seq(delivered) })
    }

    /// How many messages behind `read` mention the account, by itself or with all.
    fn mentions(&self, account: AccountId, conversation: ConversationId, read: u64) -> Result<u64, StoreError> {
        self.read(|txn| {
            let rows = txn.open_table(ROWS)?;
            // The `seq` ends a key: one that is in both is counted once.
            let mut seqs = std::collections::BTreeSet::new();
            for called in [account, AccountId(0)] {
                let [first, last] =
                    [read.saturating_add(1), u64::MAX].map(|seq| RowKey::mention(conversation, called, Seq(seq)).key);
                let table = RowTable::Mention as u8;
                for row in rows.range((table, &*first)..=(table, &*last))?.take(limits::MENTIONS_COUNTED_MAX) {
                    seqs.insert(row?.0.value().1[first.len() - size_of::<u64>()..].to_vec());
                }
            }
            Ok(seqs.len().min(limits::MENTIONS_COUNTED_MAX) as u64)
        })
    }
}
