//! What the writer decides by, in memory: who there is, who talks to whom, where each conversation stands.
//!
//! Owned by the writer's thread and by nobody else; loaded from the database at start, after the log was
//! replayed. A conversation costs some 200 bytes, so that 100,000 of them fit a Pi with 2 GB.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::HashMap as IdMap;
use posthouse_protocol::{
    Account, AccountId, AccountRole, AccountStatus, ConversationId, ConversationKind, GroupInfo, MemberRole,
};
use redb::{Database, ReadableDatabase, ReadableTable};
use tokio::sync::watch;

use super::StoreError;
use super::device_index::{DeviceIndex, ServingTime, TokenHash};
use super::member_index::MemberIndex;
use super::membership::MembershipRow;
use super::probe;
use super::record::decode_json;
use super::rows::{
    AccountRow, ConversationRow, DeviceRow, GroupRow, GroupSettings, InviteRow, RowTable, number_of, pair_of,
    token_hash_of,
};
use super::sight::Sight;
use super::tables::{HEADS, LOG, META, each_row};

/// Everything that decisions need.
#[derive(Default)]
pub(super) struct State {
    pub last_gseq: u64,
    pub last_account: u64,
    pub last_conversation: u64,
    pub accounts: IdMap<AccountId, Account>,
    /// Name → account.
    pub usernames: HashMap<String, AccountId>,
    /// What each account may do.
    pub standings: IdMap<AccountId, Standing>,
    /// Who owns the site, for those who follow it: the first of them where they are several. As with devices, it is told a moment
    /// before it is durable, which shows nobody anything.
    pub owner: watch::Sender<Option<Account>>,
    /// Shared with those who check tokens.
    pub devices: Arc<DeviceIndex>,
    /// SHA-256 of an invite's code → the invite.
    pub invites: HashMap<TokenHash, InviteRow>,
    pub serving: ServingTime,
    /// The last record that is no longer kept.
    pub floor: u64,
    pub conversations: IdMap<ConversationId, Conversation>,
    /// Who is in each of them, shared with those who ask.
    pub members: Arc<MemberIndex>,
    /// (lower, higher) → their direct conversation.
    pub direct: IdMap<(AccountId, AccountId), ConversationId>,
    /// The group that every account is in, if there is one.
    pub everybody: Option<ConversationId>,
}

/// An account, as far as authority goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub role: AccountRole,
    pub status: AccountStatus,
}

/// A conversation, as far as decisions need it at hand.
pub(super) struct Conversation {
    pub kind: ConversationKind,
    /// Of a group; most conversations are none.
    pub group: Option<Box<GroupState>>,
    /// Who is in it now, in ascending order; shared with what is on its way to them.
    pub members: Arc<[AccountId]>,
    /// Since when each of them sees it.
    pub sight: Sight,
    pub last_seq: u64,
    /// How many messages that count as unread it has had.
    pub last_counted: u64,
    /// Of the newest message, in milliseconds.
    pub last_ts: u64,
    /// Who sent the newest message, and so has read it; nobody where it is from before the start, and the database knows.
    pub last_sender: Option<AccountId>,
}

/// A group, as far as decisions need it at hand.
pub(super) struct GroupState {
    pub settings: GroupSettings,
    pub everybody: bool,
    /// Of the owner and the admins: few, in no order.
    pub roles: Vec<(AccountId, MemberRole)>,
}

impl GroupState {
    pub fn new(row: &GroupRow) -> Self {
        Self { settings: row.settings.clone(), everybody: row.everybody, roles: Vec::new() }
    }

    /// What a member may do.
    pub fn role(&self, account_id: AccountId) -> MemberRole {
        let found = self.roles.iter().find(|(account, _)| *account == account_id);
        found.map_or(MemberRole::Member, |(_, role)| *role)
    }

    pub fn set_role(&mut self, account_id: AccountId, role: MemberRole) {
        self.roles.retain(|(account, _)| *account != account_id);
        if role != MemberRole::Member {
            self.roles.push((account_id, role));
        }
    }

    /// The owner, while there are members.
    pub fn owner(&self) -> Option<AccountId> {
        self.roles.iter().find(|(_, role)| *role == MemberRole::Owner).map(|(account, _)| *account)
    }

    /// As a member sees it.
    pub fn info(&self, account_id: AccountId, member_count: usize) -> GroupInfo {
        let GroupSettings { title, announcement_only, history } = self.settings.clone();
        let (everybody, role, member_count) = (self.everybody, self.role(account_id), member_count as u64);
        GroupInfo { title, announcement_only, history, everybody, member_count, role }
    }
}

impl Conversation {
    /// Whether the account is in it now.
    pub fn has(&self, account_id: AccountId) -> bool {
        self.members.binary_search(&account_id).is_ok()
    }
}

impl State {
    /// Reads the state that is in the database.
    pub fn load(database: &Database) -> Result<Self, StoreError> {
        let txn = database.begin_read().map_err(StoreError::database)?;
        let mut state = Self::default();
        let meta = txn.open_table(META).map_err(StoreError::database)?;
        let number = |name| -> Result<u64, StoreError> {
            Ok(meta.get(name).map_err(StoreError::database)?.map_or(0, |found| found.value()))
        };
        state.serving = ServingTime::after(number("served_ms")?);
        state.floor = number("floor")?;
        state.devices = Arc::new(DeviceIndex::new(state.serving));
        let mut members: IdMap<ConversationId, (Vec<AccountId>, Sight)> = IdMap::default();
        let mut roles: Vec<(ConversationId, AccountId, MemberRole)> = Vec::new();
        each_row(&txn, RowTable::Account, b"", |_, value| state.load_account(value))?;
        each_row(&txn, RowTable::Device, b"", |key, value| state.load_device(key, value))?;
        each_row(&txn, RowTable::Invite, b"", |key, value| {
            state.invites.insert(token_hash_of(key)?, decode_json("an invite", value)?);
            Ok::<_, StoreError>(())
        })?;
        each_row(&txn, RowTable::Membership, b"", |key, value| {
            let (account, conversation) = pair_of(key)?;
            let row: MembershipRow = decode_json("a membership", value)?;
            if row.is_current() {
                let (members, sight) = members.entry(ConversationId(conversation)).or_default();
                // In the order of the accounts, as the keys are.
                members.push(AccountId(account));
                sight.enter(AccountId(account), &row);
                if row.role != MemberRole::Member {
                    roles.push((ConversationId(conversation), AccountId(account), row.role));
                }
            }
            Ok::<_, StoreError>(())
        })?;
        each_row(&txn, RowTable::Conversation, b"", |key, value| {
            let conversation_id = ConversationId(number_of(key)?);
            let row: ConversationRow = decode_json("a conversation", value)?;
            let (members, sight) = members.remove(&conversation_id).unwrap_or_default();
            state.add_conversation(conversation_id, &row, members.into(), sight);
            Ok::<_, StoreError>(())
        })?;
        if let Some((members, sight)) = members.remove(&probe::CONVERSATION) {
            state.open_probe_conversation(members.into(), sight);
        }
        for (conversation, account, role) in roles {
            let conversation = state.conversations.get_mut(&conversation);
            if let Some(group) = conversation.and_then(|conversation| conversation.group.as_mut()) {
                group.set_role(account, role);
            }
        }
        let heads = txn.open_table(HEADS).map_err(StoreError::database)?;
        for entry in heads.iter().map_err(StoreError::database)? {
            let (conversation, head) = entry.map_err(StoreError::database)?;
            if let Some(conversation) = state.conversations.get_mut(&ConversationId(conversation.value())) {
                let (seq, counted, ts, _) = head.value();
                (conversation.last_seq, conversation.last_counted, conversation.last_ts) = (seq, counted, ts);
            }
        }
        let log = txn.open_table(LOG).map_err(StoreError::database)?;
        let kept = log.last().map_err(StoreError::database)?.map_or(0, |(gseq, _)| gseq.value());
        // A number is never used twice, also where nothing is left of the newest records.
        state.last_gseq = kept.max(state.floor);
        Ok(state)
    }

    /// Adds an account, which is a member's.
    pub fn add_account(&mut self, account: Account) {
        self.standings.insert(account.account_id, Standing::default());
        self.last_account = self.last_account.max(account.account_id.0);
        self.usernames.insert(account.username.as_str().to_owned(), account.account_id);
        self.accounts.insert(account.account_id, account);
    }

    /// Notes what an account may do, and who owns the site from then on.
    pub fn set_standing(&mut self, account_id: AccountId, standing: Standing) {
        let before = self.standings.insert(account_id, standing);
        if standing.role == AccountRole::Owner || before.is_some_and(|before| before.role == AccountRole::Owner) {
            let owners = self.standings.iter().filter(|(_, standing)| standing.role == AccountRole::Owner);
            let first =
                owners.min_by_key(|(account_id, standing)| (standing.status != AccountStatus::Active, **account_id));
            let owner = first.and_then(|(account_id, _)| self.accounts.get(account_id)).cloned();
            self.owner.send_if_modified(|known| std::mem::replace(known, owner.clone()) != owner);
        }
    }

    /// Whether somebody owns the site.
    pub fn is_owned(&self) -> bool {
        self.owner.borrow().is_some()
    }

    /// Whether the account is one that can be let into a conversation.
    pub fn can_join(&self, account_id: AccountId) -> bool {
        self.standings.get(&account_id).is_some_and(|standing| standing.status != AccountStatus::Departed)
    }

    /// Adds a conversation without messages.
    pub fn add_conversation(
        &mut self,
        conversation_id: ConversationId,
        row: &ConversationRow,
        members: Arc<[AccountId]>,
        sight: Sight,
    ) {
        if let Some([low, high]) = row.direct {
            self.direct.insert((low, high), conversation_id);
        }
        self.last_conversation = self.last_conversation.max(conversation_id.0);
        let group = row.group.as_ref().map(|group| Box::new(GroupState::new(group)));
        if group.as_ref().is_some_and(|group| group.everybody) {
            self.everybody = Some(conversation_id);
        }
        let kind = row.kind.value();
        let (last_seq, last_counted, last_ts, last_sender) = (0, 0, 0, None);
        self.members.set(conversation_id, Arc::clone(&members));
        let conversation = Conversation { kind, group, members, sight, last_seq, last_counted, last_ts, last_sender };
        self.conversations.insert(conversation_id, conversation);
    }

    fn load_account(&mut self, value: &[u8]) -> Result<(), StoreError> {
        let row: AccountRow = decode_json("an account", value)?;
        let standing = row.standing();
        self.add_account(row.account.clone());
        self.set_standing(row.account.account_id, standing);
        Ok(())
    }

    fn load_device(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let row: DeviceRow = decode_json("a device", value)?;
        if let Some(account) = self.sender(row.account_id) {
            self.devices.insert(token_hash_of(key)?, &account, row.used_hour);
        }
        Ok(())
    }
}
