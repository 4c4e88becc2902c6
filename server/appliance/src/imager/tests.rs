//! Files as Raspberry Pi Imager writes them, and others.

use proptest::prelude::*;

use super::*;

/// As Raspberry Pi Imager 2 writes it, with everything on its page filled in.
const USER: &str = "#cloud-config\nhostname: Office\nmanage_etc_hosts: true\npackages:\n- avahi-daemon\napt:\n  conf: |\n    Acquire {\n      \
                    Check-Date \"false\";\n    };\ntimezone: Asia/Shanghai\nkeyboard:\n  model: pc105\n  layout: \"cn\"\n\
                    enable_ssh: true\nusers:\n- name: pi\n  lock_passwd: false\n  passwd: $5$abc$def\nssh_pwauth: true\n";
const NETWORK: &str = "network:\n  version: 2\n  wifis:\n    wlan0:\n      dhcp4: true\n      regulatory-domain: \"CN\"\n      \
                       access-points:\n        \"驿 \\\"站\\\"\":\n          hidden: true\n          password: \
                       \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"\n      optional: true\n";

fn lines(reading: &Reading) -> Vec<String> {
    reading.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn host_name_and_time_zone_are_taken_and_the_rest_is_named() {
    let reading = user_data(USER.as_bytes());
    assert_eq!(reading.wishes.host_name.as_deref(), Some("office"));
    assert_eq!(reading.wishes.time_zone.as_deref(), Some("Asia/Shanghai"));
    assert_eq!(
        lines(&reading),
        [
            "user-data: ignored, for the box has no log-in and installs nothing: packages, apt, keyboard, enable_ssh, users, ssh_pwauth"
        ]
    );
    assert!(reading.broken.is_empty());
}

#[test]
fn wifi_is_taken_and_its_key_can_be_overwritten() {
    for text in [NETWORK.to_owned(), NETWORK.replace('\n', "\r\n")] {
        let reading = network_config(text.as_bytes());
        assert_eq!(lines(&reading), Vec::<String>::new());
        let wifi = reading.wishes.wifi.expect("Wi-Fi");
        assert_eq!((wifi.ssid.as_str(), wifi.country.as_deref(), wifi.hidden), ("驿 \"站\"", Some("CN"), true));
        let password = wifi.password.expect("a password");
        let [Secret { place, .. }] = reading.secrets.as_slice() else { panic!("one secret") };
        assert_eq!(&text.as_bytes()[place.clone()], password.as_bytes());
        let mut overwritten = text.into_bytes();
        overwritten[place.clone()].fill(b'*');
        let again = network_config(&overwritten);
        assert_eq!(lines(&again), Vec::<String>::new());
        assert!(crate::is_overwritten(&again.wishes.wifi.and_then(|wifi| wifi.password).expect("a password")));
    }
}

#[test]
fn a_wired_address_or_a_second_network_is_named_as_ignored() {
    let text = "version: 2\nethernets:\n  eth0:\n    dhcp4: true\nwifis:\n  wlan0:\n    access-points:\n      \"a\":\n        \
                password: \"12345678\"\n        band: 5GHz\n      \"b\": {}\n";
    let reading = network_config(text.as_bytes());
    let line = lines(&reading).pop().expect("a line");
    assert!(line.ends_with("ethernets, wifis.wlan0.access-points.b, wifis.wlan0.access-points.a.band"), "{line}");
    assert_eq!(reading.wishes.wifi.map(|wifi| wifi.ssid).as_deref(), Some("a"));
}

#[test]
fn what_is_wrong_gets_a_line() {
    for (text, expected) in [
        ("hostname: [a", "line 1: this is not YAML"),
        ("hostname: -a-\n", "line 1: the host name"),
        ("#cloud-config\ntimezone: Mars/Base\n", "line 2: \"Mars/Base\" is no time zone"),
        ("hostname:\n  - a\n", "line 2: this has to be a text"),
        (
            "hostname: a\nhostname: b\n",
            "line 2: this is not YAML as Raspberry Pi Imager writes it: this key is there twice",
        ),
        ("a: &x [1]\nb: *x\n", "anchors"),
        ("just words\n", "it holds no settings"),
        ("- a list\n", "it holds no settings"),
        ("a: 1\n---\nb: 2\n", "second document"),
    ] {
        let reading = user_data(text.as_bytes());
        assert_eq!(reading.problems.len(), 1, "{text}: {:?}", lines(&reading));
        assert!(lines(&reading)[0].contains(expected), "{text}: {:?}", lines(&reading));
    }
    assert!(user_data(&"[".repeat(60_000).into_bytes()).is_unreadable);
    assert_eq!(lines(&user_data(&vec![b'#'; 1 << 20])), ["user-data: it has 1048576 bytes, and may have 65536"]);
}

#[test]
fn an_empty_file_wishes_nothing() {
    for text in ["", "#cloud-config\n", "network:\n", "network:\n  version: 2\n"] {
        for reading in [user_data(b""), network_config(text.as_bytes())] {
            assert_eq!((reading.problems, reading.wishes), (Vec::new(), Wishes::default()));
        }
    }
}

#[test]
fn a_password_without_quotation_marks_is_used_and_told() {
    let reading = network_config(NETWORK.replace("\"0123", "0123").replace("cdef\"", "cdef").as_bytes());
    assert!(lines(&reading)[0].contains("stays readable"));
    assert!(reading.secrets.is_empty() && reading.broken.is_empty());
}

proptest! {
    #[test]
    fn whatever_the_file_nothing_panics(
        lines in proptest::collection::vec(proptest::sample::select(USER.lines().chain(NETWORK.lines()).collect::<Vec<_>>()), 0..30),
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let text = lines.join("\n");
        for bytes in [text.as_bytes(), &bytes] {
            for reading in [user_data(bytes), network_config(bytes)] {
                for secret in reading.secrets {
                    prop_assert!(bytes.get(secret.place).is_some());
                }
            }
        }
    }
}
