//! The rules of admission, with a clock of the tests' own where it matters.

use super::*;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 7));
const SCHOOL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 8));

fn admission(connections_max: usize) -> Admission {
    Admission::new(Allowance { connections_max, requests_per_s: 10, on_trial: false })
}

fn name(text: &str) -> Username {
    Username::new(text).expect("a user name")
}

fn enter(admission: &Admission, address: IpAddr) -> Result<Visitor, NoPlace> {
    admission.enter(address, Instant::now())
}

#[test]
fn one_address_can_wait_in_most_places_but_not_in_all() {
    let admission = admission(12);
    let waiting: Vec<_> = (0..10).map(|_| enter(&admission, HOME).expect("a place")).collect();
    assert_eq!(enter(&admission, HOME).err(), Some(NoPlace::Full));
    let others: Vec<_> = (0..2).map(|_| enter(&admission, SCHOOL).expect("a place is left for others")).collect();
    assert_eq!(enter(&admission, SCHOOL).err(), Some(NoPlace::Full));
    drop((waiting, others));
    let connected: Vec<_> = (0..12)
        .map(|_| {
            let visitor = enter(&admission, HOME).expect("who connects may fill the house");
            visitor.connected();
            visitor
        })
        .collect();
    assert_eq!(enter(&admission, SCHOOL).err(), Some(NoPlace::Full));
    drop(connected);
    assert!(admission.inner.waiting().is_empty(), "nothing is kept of who has left");
}

#[test]
fn a_school_that_comes_back_is_never_careless() {
    let admission = admission(20_000);
    for _ in 0..2 {
        let at_once: Vec<_> = (0..10_000).map(|_| enter(&admission, SCHOOL).expect("a place")).collect();
        for visitor in &at_once {
            visitor.opened_session();
            visitor.connected();
        }
    }
    let next = enter(&admission, SCHOOL).expect("a place");
    assert_eq!(next.patience(), Duration::from_secs(limits::CONNECT_TIMEOUT_S));
}

#[test]
fn an_address_that_wastes_connections_gets_less_time_and_fewer_places() {
    let admission = admission(10_000);
    assert_eq!(enter(&admission, HOME).expect("a place").patience().as_secs(), limits::CONNECT_TIMEOUT_S);
    for _ in 0..2 * limits::WASTED_CONNECTIONS_BURST {
        let visitor = enter(&admission, HOME).expect("a place");
        visitor.served();
        visitor.opened_session();
    }
    let lingering: Vec<_> =
        (0..limits::CARELESS_WAITING_MAX).map(|_| enter(&admission, HOME).expect("some places")).collect();
    assert!(lingering.iter().all(|visitor| visitor.patience().as_secs() == limits::CARELESS_CONNECT_TIMEOUT_S));
    assert_eq!(enter(&admission, HOME).err(), Some(NoPlace::Careless));
    assert!(enter(&admission, SCHOOL).is_ok(), "others don't suffer");
    for visitor in &lingering {
        visitor.connected();
    }
    assert!(enter(&admission, HOME).is_ok(), "who connects makes room");
}

#[test]
fn a_connection_that_was_of_use_is_no_waste() {
    let admission = admission(10);
    for _ in 0..3 * limits::WASTED_CONNECTIONS_BURST {
        enter(&admission, HOME).expect("a place").served();
    }
    assert_eq!(enter(&admission, HOME).expect("a place").patience().as_secs(), limits::CONNECT_TIMEOUT_S);
}

#[test]
fn requests_are_counted_by_account_and_before_that_by_address() {
    let (admission, now) = (admission(10), Instant::now());
    let [home, school] = [HOME, SCHOOL].map(|address| enter(&admission, address).expect("a place"));
    let ask =
        |visitor: &Visitor, account, count: u32| (0..count).filter(|_| visitor.request(account, now).is_ok()).count();
    let [anna, ben] = [1, 2].map(|number| Some(AccountId(number)));
    let burst = usize::try_from(limits::ACCOUNT_REQUESTS_BURST).expect("it is small");
    assert_eq!(ask(&home, anna, 1_500) + ask(&school, anna, 1_500), burst, "wherever its devices are");
    assert_eq!(ask(&home, ben, 5), 5);
    let refused = home.request(anna, now).expect_err("none is left");
    assert!(refused.code == ErrorCode::RateLimited && refused.retryable, "{refused:?}");
    let wait = Duration::from_millis(refused.retry_after_ms.expect("a time to wait"));
    assert!(wait <= Duration::from_millis(101), "ten in a second: {wait:?}");
    assert!(home.request(anna, now + wait).is_ok(), "it was long enough");
    let burst = usize::try_from(limits::ADDRESS_REQUESTS_BURST).expect("it is small");
    assert_eq!(ask(&home, None, 3_000), burst);
    assert_eq!(ask(&school, None, 5), 5);
}

#[test]
fn changes_of_a_profile_are_counted_by_account_and_leave_its_other_requests_alone() {
    let (admission, now) = (admission(10), Instant::now());
    let [home, school] = [HOME, SCHOOL].map(|address| enter(&admission, address).expect("a place"));
    let [anna, ben] = [1, 2].map(AccountId);
    let change = |visitor: &Visitor, account, count: u32| {
        (0..count).filter(|_| visitor.profile_change(account, now).is_ok()).count()
    };
    let burst = usize::try_from(limits::PROFILE_CHANGES_BURST).expect("it is small");
    assert_eq!(change(&home, anna, 7) + change(&school, anna, 7), burst, "wherever its devices are");
    assert_eq!(change(&home, ben, 1), 1);
    let refused = home.profile_change(anna, now).expect_err("none is left");
    assert!(refused.code == ErrorCode::RateLimited && refused.retryable, "{refused:?}");
    assert!(home.request(Some(anna), now).is_ok());
    let later = now + Duration::from_secs(limits::PROFILE_CHANGE_INTERVAL_S);
    assert!(home.profile_change(anna, later).is_ok() && home.profile_change(anna, later).is_err());
}

#[test]
fn wrong_passwords_are_bounded_by_name_and_address_and_hurt_nobody_else() {
    let (admission, now) = (admission(10), Instant::now());
    let [home, school] = [HOME, SCHOOL].map(|address| enter(&admission, address).expect("a place"));
    let (anna, ben) = (name("anna"), name("ben"));
    for _ in 0..limits::LOGIN_FAILURES_BURST {
        assert!(home.may_log_in(&anna, now).is_ok());
        home.login_failed(&anna, now);
    }
    let refused = home.may_log_in(&anna, now).expect_err("enough was tried");
    assert_eq!(refused.code, ErrorCode::RateLimited);
    assert!(home.may_log_in(&ben, now).is_ok(), "others at the address");
    assert!(school.may_log_in(&anna, now).is_ok(), "the owner elsewhere");
    let later = now + Duration::from_secs(limits::LOGIN_FAILURE_INTERVAL_S);
    assert!(home.may_log_in(&anna, later).is_ok());
}

#[test]
fn many_addresses_together_can_try_one_name_no_more_often_and_one_address_not_all_names() {
    let (admission, now) = (admission(10), Instant::now());
    let anna = name("anna");
    let tried = (0..250).filter(|last| {
        let visitor = enter(&admission, IpAddr::from([10, 0, 0, *last])).expect("a place");
        let may = visitor.may_log_in(&anna, now).is_ok();
        visitor.login_failed(&anna, now);
        may
    });
    assert_eq!(tried.count(), usize::try_from(limits::ACCOUNT_LOGIN_FAILURES_BURST).expect("it is small"));
    let home = enter(&admission, HOME).expect("a place");
    let sprayed = (0..1_000).filter(|number| {
        let victim = name(&format!("user{number}"));
        let may = home.may_log_in(&victim, now).is_ok();
        if may {
            home.login_failed(&victim, now);
        }
        may
    });
    assert_eq!(sprayed.count(), usize::try_from(limits::ADDRESS_LOGIN_FAILURES_BURST).expect("it is small"));
}

#[test]
fn an_ipv6_network_counts_as_one_address_and_a_mapped_ipv4_as_itself() {
    let address = |text: &str| Address::of(text.parse().expect("an address"));
    assert_eq!(address("2001:db8:1:2:3:4:5:6"), address("2001:db8:1:2::1"));
    assert_ne!(address("2001:db8:1:2::1"), address("2001:db8:1:3::1"));
    assert_eq!(address("::ffff:192.168.1.7"), Address::of(HOME));
}
