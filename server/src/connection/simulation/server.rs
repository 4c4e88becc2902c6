//! The simulated server: from a start to a power cut; and the disk that every run begins with.

use std::sync::OnceLock;

use posthouse_protocol::{AccountId, ConversationId, HistoryAccess, Title, Username};
use tokio::task::JoinSet;

use super::super::*;
use super::link::{Link, SimulatedTransport};
use super::{ACCOUNTS, DEVICES, PAIRS};
use crate::admission::{Admission, Allowance};
use crate::shutdown::{self, ShutdownSender};
use crate::store::stepped::{self, Files, Random, Stepped};
use crate::store::{AccountAdd, DirectOpen, GroupCreate, GroupSettings, Store};

/// The accounts with their devices, their conversations, and behind those a group of the first three, which is anna's. Who comes to it
/// sees what is said from then on, so that live events and a later sync say the same.
pub fn founded() -> &'static (Files, Vec<ConversationId>) {
    static FOUNDED: OnceLock<(Files, Vec<ConversationId>)> = OnceLock::new();
    FOUNDED.get_or_init(|| {
        let mut conversations = Vec::new();
        let files = Stepped::files(async |store: Store| {
            for name in ACCOUNTS {
                let add = AccountAdd::by_machine(Username::new(name).expect("a name"), String::new());
                store.write(add).await.expect("stored").expect("not refused");
            }
            for (name, account) in DEVICES {
                stepped::add_device(&store, AccountId(account), name, name).await;
            }
            for (one, other) in PAIRS {
                let open = DirectOpen { account_id: AccountId(one), peer_id: AccountId(other) };
                conversations.push(store.write(open).await.expect("stored").expect("not refused").into_inner().0);
            }
            let title = Title::new("All").expect("a title");
            let settings = GroupSettings { title, announcement_only: false, history: HistoryAccess::FromJoining };
            let create = GroupCreate {
                owner: AccountId(1),
                settings,
                members: vec![AccountId(2), AccountId(3)],
                client_msg_id: None,
            };
            conversations.push(store.write(create).await.expect("stored").expect("not refused").into_inner());
        });
        (files, conversations)
    })
}

/// A run of the server: from a start to a power cut.
pub struct Server {
    pub stepped: Stepped,
    router: Router,
    admission: Admission,
    tasks: JoinSet<()>,
    _shutdown: ShutdownSender,
    stopping: Shutdown,
}

impl Server {
    pub fn start(files: Files) -> Self {
        let (stepped, (published, signed_out)) = Stepped::open(files).expect("what a power cut leaves can be opened");
        let router = Router::new(stepped.store.clone(), stepped.last_gseq);
        let admission = Admission::new(Allowance { connections_max: 10_000, requests_per_s: 1_000, on_trial: false });
        let mut tasks = JoinSet::new();
        tasks.spawn(router.clone().fan_out(published));
        tasks.spawn(router.clone().close_signed_out(signed_out));
        tasks.spawn(router.clone().flush_receipts());
        tasks.spawn(router.clone().tell_presence());
        let (shutdown, stopping) = shutdown::channel();
        Self { stepped, router, admission, tasks, _shutdown: shutdown, stopping }
    }

    pub fn accept(&mut self, link: Link) {
        let visitor = Arc::new(self.admission.enter([127, 0, 0, 1].into(), now()).expect("a place"));
        let (router, stopping) = (self.router.clone(), self.stopping.clone());
        self.tasks.spawn(serve(SimulatedTransport(link), Opening::default(), visitor, router, stopping));
    }
    /// What the disk may hold after a power cut now.
    pub async fn cut(self, random: &mut Random) -> Files {
        let Self { stepped, mut tasks, router, .. } = self;
        let files = stepped.cut(random);
        tasks.shutdown().await;
        drop(router);
        files
    }
}
