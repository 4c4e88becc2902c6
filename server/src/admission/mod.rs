//! Who may come in, and how often they may ask.
//!
//! Owns the places for connections, the token buckets by account and by address, and the shed level. The
//! listener asks it for a place, the connection for each request, the router for each log-in. It decides with
//! what it counts itself, knows no socket and no message, and is bounded in memory by the number of
//! connections and of keys.
//!
//! A school behind one address may come back all at once: what an address is held to is wrong passwords and
//! connections that come to nothing, never a reconnect by token.

mod buckets;
mod load;
mod tries;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState as QuickState;
use posthouse_protocol::{AccountId, ErrorBody, ErrorCode, Username, limits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use buckets::{Buckets, Rate};
use load::Load;
use tries::Tries;

/// Connections at once, where memory and descriptors allow them: 500 people with several devices each, or 10,000
/// clients that come back while others come and go.
const CONNECTIONS_MAX: usize = 12_000;

/// What a connection costs at its worst without an attack, in bytes: buffers, two tasks, the kernel's part.
const CONNECTION_COST: u64 = 32 * 1024;

/// The part of the memory that connections may take.
const MEMORY_PARTS: u64 = 4;

/// Descriptors that are not for clients: the database, the log, listening sockets, the runtime's own.
const DESCRIPTORS_KEPT: u64 = 40;

/// Places that are kept for this machine's own programs while a release is on trial: the probe has three, one after the other
/// or at once, and the watchdog one.
const PLACES_KEPT: usize = 8;

/// Of the places, these parts of [`PLACE_PARTS`] are what one address can fill with connections that have not
/// connected: others still get in.
const PLACE_PARTS_OF_AN_ADDRESS: usize = 5;
const PLACE_PARTS: usize = 6;

/// What may be asked of the defaults.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Connections at once.
    pub connections_max: usize,
    /// Requests of an account in a second, in the long run.
    pub requests_per_s: u32,
    /// Whether places are kept for this machine's own programs: while a release is on trial, a crowd at the door is not to
    /// look like a release that does not serve.
    pub on_trial: bool,
}

impl Allowance {
    /// As many connections as this machine and this process can hold.
    pub fn for_this_machine() -> Self {
        let by_memory = load::memory_total().map_or(u64::MAX, |total| total / MEMORY_PARTS / CONNECTION_COST);
        let descriptors = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
        let by_descriptors = descriptors.map_or(u64::MAX, |(soft, _)| soft.saturating_sub(DESCRIPTORS_KEPT).max(1));
        let most = usize::try_from(by_memory.min(by_descriptors)).unwrap_or(usize::MAX);
        let connections_max = most.min(CONNECTIONS_MAX);
        Self { connections_max, requests_per_s: limits::ACCOUNT_REQUESTS_PER_S, on_trial: false }
    }
}

/// A handle; clones share it.
#[derive(Clone)]
pub struct Admission {
    inner: Arc<Inner>,
}

struct Inner {
    places: Arc<Semaphore>,
    /// Beside those, for this machine's own programs.
    kept: Arc<Semaphore>,
    waiting_max: usize,
    /// Connections that have not connected, by address.
    waiting: Mutex<HashMap<Address, usize>>,
    load: Load,
    wasted: Buckets<Address>,
    account_requests: Buckets<AccountId, QuickState>,
    profile_changes: Buckets<AccountId, QuickState>,
    address_requests: Buckets<Address>,
    failures: Buckets<(Address, Username)>,
    account_failures: Buckets<Username>,
    address_failures: Buckets<Address>,
    /// Of codes that stand on the box's console.
    tries: Mutex<Tries<Address>>,
}

/// Why there is no place for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// The house is full, or as full as this address can make it.
    Full,
    /// The box is too busy.
    Busy,
    /// This address has wasted too many.
    Careless,
}

impl Admission {
    /// Empty buckets and free places.
    pub fn new(allowance: Allowance) -> Self {
        let Allowance { connections_max, requests_per_s, on_trial } = allowance;
        let burst = limits::ACCOUNT_REQUESTS_BURST.max(requests_per_s);
        let inner = Inner {
            places: Arc::new(Semaphore::new(connections_max)),
            kept: Arc::new(Semaphore::new(if on_trial { PLACES_KEPT } else { 0 })),
            waiting_max: (connections_max * PLACE_PARTS_OF_AN_ADDRESS).div_ceil(PLACE_PARTS),
            waiting: Mutex::default(),
            load: Load::default(),
            wasted: Buckets::new(Rate::per_second(limits::WASTED_CONNECTIONS_PER_S, limits::WASTED_CONNECTIONS_BURST)),
            account_requests: Buckets::new(Rate::per_second(requests_per_s, burst)),
            profile_changes: Buckets::new(Rate::every(
                limits::PROFILE_CHANGE_INTERVAL_S,
                limits::PROFILE_CHANGES_BURST,
            )),
            address_requests: Buckets::new(Rate::per_second(
                limits::ADDRESS_REQUESTS_PER_S,
                limits::ADDRESS_REQUESTS_BURST,
            )),
            failures: Buckets::new(Rate::every(limits::LOGIN_FAILURE_INTERVAL_S, limits::LOGIN_FAILURES_BURST)),
            account_failures: Buckets::new(Rate::every(
                limits::ACCOUNT_LOGIN_FAILURE_INTERVAL_S,
                limits::ACCOUNT_LOGIN_FAILURES_BURST,
            )),
            address_failures: Buckets::new(Rate::per_second(
                limits::ADDRESS_LOGIN_FAILURES_PER_S,
                limits::ADDRESS_LOGIN_FAILURES_BURST,
            )),
            tries: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Watches how busy the box is. Runs until it is dropped.
    pub async fn watch(self) {
        self.inner.load.watch().await;
    }

    /// A place for a connection.
    ///
    /// # Errors
    /// Why there is none now.
    pub fn enter(&self, address: IpAddr, now: Instant) -> Result<Visitor, NoPlace> {
        let is_local = address.to_canonical().is_loopback();
        let address = Address::of(address);
        if let (true, Ok(place)) = (is_local, Arc::clone(&self.inner.kept).try_acquire_owned()) {
            *self.inner.waiting().entry(address).or_default() += 1;
            return Ok(self.visitor((address, is_local), limits::CONNECT_TIMEOUT_S, place));
        }
        if self.inner.load.is_shedding() {
            return Err(NoPlace::Busy);
        }
        let is_careless = self.inner.wasted.check(&address, now).is_err();
        let place = Arc::clone(&self.inner.places).try_acquire_owned().map_err(|_| NoPlace::Full)?;
        let mut waiting = self.inner.waiting();
        let of_address = waiting.entry(address).or_default();
        // An entry that is refused has others, so that nothing empty stays behind.
        if *of_address >= self.inner.waiting_max {
            return Err(NoPlace::Full);
        }
        if is_careless && *of_address >= limits::CARELESS_WAITING_MAX as usize {
            return Err(NoPlace::Careless);
        }
        *of_address += 1;
        drop(waiting);
        let seconds = if is_careless { limits::CARELESS_CONNECT_TIMEOUT_S } else { limits::CONNECT_TIMEOUT_S };
        Ok(self.visitor((address, is_local), seconds, place))
    }

    fn visitor(&self, (address, is_local): (Address, bool), patience_s: u64, place: OwnedSemaphorePermit) -> Visitor {
        let (patience, state) = (Duration::from_secs(patience_s), AtomicU8::new(State::Idle as u8));
        Visitor { admission: self.clone(), address, is_local, patience, state, _place: place }
    }
}

impl Inner {
    fn waiting(&self) -> MutexGuard<'_, HashMap<Address, usize>> {
        // Every change under the lock leaves the map whole, so that a panic elsewhere does not matter.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn no_longer_waiting(&self, address: Address) {
        let mut waiting = self.waiting();
        if let Some(count) = waiting.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&address);
            }
        }
    }
}

/// The refusal of what comes too soon, with the time to wait.
pub fn rate_limited(what: &str, wait: Duration) -> ErrorBody {
    // Rounded up: who waits as long as it was told finds a token.
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    ErrorBody::new(ErrorCode::RateLimited, format!("{what}: wait")).retry_after_ms(wait_ms)
}

/// A connection's place. Dropping it frees the place.
pub struct Visitor {
    admission: Admission,
    address: Address,
    is_local: bool,
    patience: Duration,
    state: AtomicU8,
    _place: OwnedSemaphorePermit,
}

/// What has come of a connection so far.
#[repr(u8)]
enum State {
    /// Nothing: a waste, if it ends now.
    Idle,
    /// It was of use to somebody, but is nobody's yet.
    Served,
    /// An account's.
    Connected,
}

impl Visitor {
    /// Whether it comes from this machine.
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// How long it may take to connect.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Counts a request, of an account or of somebody at this address.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub fn request(&self, account: Option<AccountId>, now: Instant) -> Result<(), ErrorBody> {
        let Inner { account_requests, address_requests, .. } = &*self.admission.inner;
        let taken = match account {
            Some(account) => account_requests.take(&account, now),
            None => address_requests.take(&self.address, now),
        };
        taken.map_err(|wait| rate_limited("too many requests", wait))
    }

    /// Counts a change of an account's profile, which everybody is told of.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub fn profile_change(&self, account: AccountId, now: Instant) -> Result<(), ErrorBody> {
        let taken = self.admission.inner.profile_changes.take(&account, now);
        taken.map_err(|wait| rate_limited("too many changes of a profile", wait))
    }

    /// Whether a password of this name may be tried from this address.
    ///
    /// # Errors
    /// `rate_limited`, with the time to wait.
    pub fn may_log_in(&self, username: &Username, now: Instant) -> Result<(), ErrorBody> {
        let Inner { failures, account_failures, address_failures, .. } = &*self.admission.inner;
        let of_both = failures.check(&(self.address, username.clone()), now);
        let of_either = account_failures.check(username, now).and(address_failures.check(&self.address, now));
        of_both.and(of_either).map_err(|wait| rate_limited("too many wrong passwords", wait))
    }

    /// A password of this name was wrong.
    pub fn login_failed(&self, username: &Username, now: Instant) {
        let Inner { failures, account_failures, address_failures, .. } = &*self.admission.inner;
        failures.charge(&(self.address, username.clone()), now);
        account_failures.charge(username, now);
        address_failures.charge(&self.address, now);
    }

    /// Looks whether a code that stands on the box's console is right, unless too many were wrong. Nobody gets two tries for one
    /// by asking at once.
    ///
    /// # Errors
    /// How long nobody, or nobody at this address, may try another one: right or wrong.
    pub fn try_code(&self, is_right: impl FnOnce() -> bool, now: Instant) -> Result<bool, Duration> {
        // Every change under the lock leaves it whole, so that a panic elsewhere does not matter.
        let mut tries = self.admission.inner.tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries.check(&self.address, now)?;
        let is_right = is_right();
        if !is_right {
            tries.wrong(self.address, now);
        }
        Ok(is_right)
    }

    /// It got an answer that somebody wanted.
    pub fn served(&self) {
        self.state.fetch_max(State::Served as u8, Ordering::Relaxed);
    }

    /// It opened a session: only what that comes to counts.
    pub fn opened_session(&self) {
        self.state.store(State::Idle as u8, Ordering::Relaxed);
    }

    /// It is an account's.
    pub fn connected(&self) {
        let connected = State::Connected as u8;
        if self.state.load(Ordering::Relaxed) != connected && self.state.swap(connected, Ordering::Relaxed) != connected
        {
            self.admission.inner.no_longer_waiting(self.address);
        }
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let state = *self.state.get_mut();
        if state != State::Connected as u8 {
            self.admission.inner.no_longer_waiting(self.address);
        }
        if state == State::Idle as u8 {
            self.admission.inner.wasted.charge(&self.address, Instant::now());
        }
    }
}

/// Whom an address stands for: of IPv6 the network, since each device can choose the rest as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Address(IpAddr);

impl Address {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.into()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
        }
    }
}

#[cfg(test)]
mod tests;
