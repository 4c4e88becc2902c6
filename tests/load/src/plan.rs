//! How much of everything, for the benchmark and for its smoke test.

use std::time::Duration;

use posthouse_protocol::limits;

/// The sizes of all loads.
pub struct Plan {
    /// Rounds of each load, each with relay and server where there is a relay to compare with.
    pub rounds: usize,
    /// Accounts, each with one device.
    pub people: u64,
    /// Pairs that write to each other in the closed loop.
    pub pairs: u64,
    /// Members of the groups that one of them writes to.
    pub group_sizes: [usize; 2],
    /// Length of a closed loop, after [`Plan::warm_up`].
    pub closed_loop: Duration,
    /// What is not counted at the beginning of a load.
    pub warm_up: Duration,
    /// Connections that reconnect at once in the loop of reconnects.
    pub reconnect_lanes: usize,
    /// Connections that are idle, and that are dropped at once.
    pub crowd: usize,
    /// Messages per second in the open loop, its length and its pairs.
    pub open_loop_rate: f64,
    /// Length of the open loop.
    pub open_loop: Duration,
    /// Pairs in the open loop.
    pub open_loop_pairs: u64,
    /// Conversations that the messages of a filled store are spread over.
    pub conversations: u64,
    /// Messages in the store whose writes are counted.
    pub stored_for_writes: u64,
    /// How long its writes are counted, at 20 messages a second.
    pub writes: Duration,
    /// Messages in the store that is started after a kill.
    pub stored_for_start: u64,
    /// Users of the article's load, at 19.1 messages a second.
    pub article_users: u64,
    /// Length of the article's load: as its users are asked all at once whether they are there, whole intervals of that.
    pub article: Duration,
}

impl Plan {
    /// What the figures of README.md are measured with.
    pub fn full() -> Self {
        Self {
            rounds: 3,
            people: 4_000,
            pairs: 500,
            group_sizes: [100, 1_000],
            closed_loop: Duration::from_secs(8),
            warm_up: Duration::from_secs(2),
            reconnect_lanes: 32,
            crowd: 10_000,
            open_loop_rate: 1_000.0,
            open_loop: Duration::from_secs(20),
            open_loop_pairs: 500,
            conversations: 1_000,
            stored_for_writes: 1_000_000,
            writes: Duration::from_secs(300),
            stored_for_start: 5_000_000,
            article_users: 4_000,
            article: 2 * Duration::from_secs(limits::PING_INTERVAL_S),
        }
    }

    /// Everything once and small, so that a test can run it.
    pub fn quick() -> Self {
        let moment = Duration::from_millis(500);
        Self {
            rounds: 1,
            people: 16,
            pairs: 4,
            group_sizes: [4, 16],
            closed_loop: moment,
            warm_up: moment / 5,
            reconnect_lanes: 4,
            crowd: 50,
            open_loop_rate: 100.0,
            open_loop: moment,
            open_loop_pairs: 4,
            conversations: 8,
            stored_for_writes: 400,
            writes: moment,
            stored_for_start: 800,
            article_users: 16,
            article: moment,
        }
    }
}
