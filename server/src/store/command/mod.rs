//! The commands that change the store: each is decided against the state, in the writer's thread, and
//! comes to entries for the log, or is refused and changes nothing.
//!
//! One file for each family. A command is a type that implements [`Write`]; it checks first and changes the
//! [`Group`] last, because what it added can't be taken back.

mod accounts;
mod claim;
mod conversations;
mod devices;
mod edits;
mod groups;
mod import;
mod invites;
mod membership;
mod messages;
mod preferences;
mod probe;
mod receipts;
mod site;

use posthouse_protocol::{Event, TimestampMs};

use super::StoreError;
use super::device_index::SignedOut;
use super::overlay::Overlay;
use super::record::{Audience, Entry, Origin, Place, Published, Recipients, Record, Rewrite, SentName, encode_event};
use super::rows::{Row, RowKey};
use super::state::State;

pub use accounts::{
    AccountAdd, AccountDepart, AccountDisable, AccountEnable, AccountRename, AccountReset, AccountRoleSet, By,
    NewAccount, PasswordSet,
};
pub use claim::{OwnerClaim, OwnerRecover};
pub use conversations::DirectOpen;
pub use devices::{DeviceAdd, DevicesRevoke, DevicesUsed, Revoked};
pub use edits::{MessageEdit, MessageReact, MessageRecall};
#[cfg(test)]
pub use groups::GroupsLeave;
pub use groups::{
    EverybodyFill, EverybodyOpen, GroupCreate, GroupLeave, GroupRole, GroupUpdate, MemberRemove, MembersAdd,
};
pub use import::AccountImport;
pub(super) use invites::invite_id;
pub use invites::{InviteAccept, InviteAdd, InviteRevoke};
pub use messages::MessageAppend;
pub use preferences::PreferencesSet;
pub use probe::ProbeAdmit;
pub use receipts::{MarksMove, Moved, Step};
pub use site::RetentionSet;

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The user name is taken.
    #[error("the user name is taken")]
    UsernameTaken,
    /// No such account.
    #[error("there is no such account")]
    NoSuchAccount,
    /// The box has an owner.
    #[error("this box has an owner already")]
    AlreadyClaimed,
    /// The actor's role does not allow it.
    #[error("your role does not allow this")]
    Forbidden,
    /// It would leave the site without an owner.
    #[error("this is the only owner: make somebody else one first")]
    LastOwner,
    /// Nobody may log in.
    #[error("the account is disabled")]
    AccountDisabled,
    /// The person has left.
    #[error("the account's person has departed")]
    Departed,
    /// The password was changed while it was checked.
    #[error("user name and password don't match")]
    PasswordChanged,
    /// No such device.
    #[error("there is no such device")]
    NoSuchDevice,
    /// No such invite.
    #[error("there is no such invite")]
    NoSuchInvite,
    /// It is unknown, expired, used up or revoked.
    #[error("the invite is not valid: ask for another one")]
    InviteInvalid,
    /// As many as there may be.
    #[error("there are as many open invites as there may be: revoke some")]
    TooManyInvites,
    /// No such conversation, or not for this account to see.
    #[error("there is no such conversation")]
    NoSuchConversation,
    /// The `client_msg_id` stands for another message.
    #[error("this client_msg_id was used for another message")]
    ClientMsgIdUsed,
    /// The account's role does not allow it.
    #[error("your role in this group does not allow that")]
    NotAllowed,
    /// A direct conversation has neither members that come and go nor settings.
    #[error("this is a direct conversation, not a group")]
    NotAGroup,
    /// The group for everybody has who there is.
    #[error("everybody is in this group, and nobody can be added or leave")]
    EverybodyStays,
    /// No such member.
    #[error("there is no such member")]
    NoSuchMember,
    /// A method for others was used on the caller.
    #[error("that is for other members: leave the group, or make another member its owner")]
    Oneself,
    /// The group is full.
    #[error("a group has at most {} members", posthouse_protocol::limits::GROUP_MEMBERS_MAX)]
    GroupFull,
    /// No such message, or not for this account to see.
    #[error("there is no such message in this conversation")]
    NoSuchMessage,
    /// Only its author may do that, and only with what people write.
    #[error("this message is not yours to change")]
    NotTheAuthor,
    /// The time to recall it is over.
    #[error("this message was sent too long ago to be recalled")]
    RecallLate,
    /// It says nothing any more.
    #[error("this message was recalled")]
    Recalled,
    /// It has as many versions as there may be.
    #[error("a message can be edited {} times", posthouse_protocol::limits::EDITS_MAX)]
    EditedOften,
    /// It has as many different reactions as there may be.
    #[error("a message has at most {} different reactions", posthouse_protocol::limits::REACTIONS_MAX)]
    ManyReactions,
    /// Who is mentioned is no member.
    #[error("mentions: only members of the conversation can be mentioned")]
    MentionedStranger,
}

/// What deciding gives: the store's failure, which stops the server, or the command's own result.
pub type Decision<T> = Result<Result<T, Refusal>, StoreError>;

/// A command.
pub trait Write: Send + 'static {
    /// What the caller learns once it is durable.
    type Output: Send + 'static;

    /// Decides the command and, if it stands, adds what it comes to.
    ///
    /// # Errors
    /// The store's own. A refusal is no error of the store: it is the inner result.
    fn decide(self, group: &mut Group<'_>) -> Decision<Self::Output>;
}

/// What a group of commands decides by, and what it comes to.
pub struct Group<'a> {
    pub(super) state: &'a mut State,
    pub(super) overlay: &'a mut Overlay,
    pub(super) now: TimestampMs,
    pub(super) entries: Vec<Entry>,
    pub(super) published: Vec<Published>,
    pub(super) signed_out: Vec<SignedOut>,
}

/// A record before it has a number.
pub(super) struct NewRecord {
    pub audience: Audience,
    pub place: Place,
    pub ts: TimestampMs,
    pub sent: Option<SentName>,
    pub recipients: Recipients,
    pub origin: Option<Origin>,
}

impl Group<'_> {
    /// The number that the next record will get.
    pub(super) fn next_gseq(&self) -> u64 {
        self.state.last_gseq + 1
    }

    /// Adds a record, for the log and for those whom it concerns. `event` is made for its number, which is
    /// returned.
    pub(super) fn record(&mut self, new: NewRecord, event: impl FnOnce(u64) -> Event) -> u64 {
        let gseq = self.next_gseq();
        self.state.last_gseq = gseq;
        let frame = encode_event(gseq, event(gseq));
        let NewRecord { audience, place, ts, sent, recipients, origin } = new;
        self.published.push(Published { gseq, recipients, origin, frame: frame.clone() });
        self.add(Entry::Record(Record { gseq, audience, place, ts, sent, frame }));
        gseq
    }

    /// Changes what a record says to those who read it from now on.
    pub(super) fn rewrite(&mut self, gseq: u64, audience: Audience, event: Event) {
        self.rewrite_frame(gseq, audience, encode_event(gseq, event));
    }

    /// The same with the event's bytes.
    pub(super) fn rewrite_frame(&mut self, gseq: u64, audience: Audience, frame: bytes::Bytes) {
        self.add(Entry::Rewrite(Rewrite { gseq, audience, frame }));
    }

    /// Writes a row.
    pub(super) fn put(&mut self, row: Row) {
        self.add(Entry::Row(row));
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, key: RowKey) {
        self.add(Entry::RowRemoved(key));
    }

    fn add(&mut self, entry: Entry) {
        self.overlay.add(&entry);
        self.entries.push(entry);
    }
}
