//! The file in all its states: good, bad, garbage; and what is generated from it.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Every key, each in its section.
const WHOLE: &str = r#"
host_name = "Office"
site_name = "驿站 Office"
time_zone = "asia/shanghai"
language = "zh"
claim_code = "7KQM-2X4P-WHZD"
ntp_servers = ["192.168.1.1", "ntp.example.org"]
[network]
method = "static"
address = ["192.168.1.10/24", "fd00::10/64"]
gateway = "192.168.1.1"
dns = "192.168.1.1"
[wifi]
ssid = "驿站"
password = "a \"quoted\" one"
country = "cn"
hidden = true
method = "dhcp"
[tls]
plain_http = "refused"
names = ["Chat.Example.org"]
[updates]
url = "https://updates.example.org/posthouse"
channel = "beta"
automatic = false
window = "22:30-01:00"
authority = '''
-----BEGIN CERTIFICATE-----
AAAA
-----END CERTIFICATE-----
'''
"#;

fn problems(text: &str) -> Vec<String> {
    read(text.as_bytes()).problems.iter().map(ToString::to_string).collect()
}

/// The one problem of a file.
fn problem(text: &str) -> String {
    let found = problems(text);
    assert_eq!(found.len(), 1, "{text}: {found:?}");
    found[0].clone()
}

#[test]
fn every_setting_is_read() {
    for text in [WHOLE.to_owned(), WHOLE.replace('\n', "\r\n"), format!("\u{feff}{WHOLE}")] {
        let reading = read(text.as_bytes());
        assert_eq!(reading.problems, []);
        let wishes = reading.wishes;
        assert_eq!(wishes.host_name.as_deref(), Some("office"));
        assert_eq!(wishes.site_name.as_deref(), Some("驿站 Office"));
        assert_eq!(wishes.time_zone.as_deref(), Some("Asia/Shanghai"));
        assert_eq!(wishes.claim_code.as_deref(), Some("7KQM-2X4P-WHZD"));
        assert_eq!(wishes.ntp_servers, ["192.168.1.1", "ntp.example.org"]);
        let network = wishes.network.expect("a network");
        assert_eq!(network.method, Method::Static);
        assert_eq!(network.addresses.len(), 2);
        let wifi = wishes.wifi.expect("Wi-Fi");
        assert_eq!((wifi.ssid.as_str(), wifi.country.as_deref(), wifi.hidden), ("驿站", Some("CN"), true));
        assert_eq!(wifi.password.as_deref(), Some("a \"quoted\" one"));
        assert_eq!(wishes.tls.expect("TLS").names, ["chat.example.org"]);
        let updates = wishes.updates.expect("updates");
        assert_eq!(updates.url.as_deref(), Some("https://updates.example.org/posthouse"));
        assert_eq!((updates.channel.as_deref(), updates.automatic), (Some("beta"), Some(false)));
        assert_eq!(updates.window, "22:30-01:00".parse().ok());
        assert!(updates.authority.is_some_and(|pem| pem.starts_with("-----BEGIN") && pem.ends_with("-----")));
        let secrets: Vec<&[u8]> = reading.secrets.iter().map(|secret| &text.as_bytes()[secret.place.clone()]).collect();
        assert_eq!(secrets, [b"7KQM-2X4P-WHZD".as_slice(), br#"a \"quoted\" one"#]);
    }
}

#[test]
fn a_file_without_settings_wishes_nothing() {
    for text in ["", "\r\n", "# host_name = \"x\"\n", "host_name = \"\"\nsite_name = '  '\n[network]\n"] {
        let reading = read(text.as_bytes());
        assert_eq!(reading.problems, []);
        assert_eq!(reading.wishes.host_name, None);
    }
}

#[test]
fn every_mistake_is_told_with_its_line_and_hides_no_other() {
    let text = "hostname = \"a\"\nsite_name = 7\ntime_zone = \"Asia/Shangai\"\nlanguage = \"fr\"\n\
                [wifi]\nssid = \"net\"\ncountry = \"XX\"\npassword = \"short\"\n[tls]\nnames = [\"ok.example\", \"-bad-\", 3]\n";
    assert_eq!(
        problems(text),
        [
            "posthouse.toml, line 1: there is no setting \"hostname\" (did you mean host_name?)",
            "posthouse.toml, line 2: site_name has to be a text in \"quotation marks\"; this is of the type integer",
            "posthouse.toml, line 3: \"Asia/Shangai\" is no time zone, such as Asia/Shanghai or Europe/Berlin (did you mean Asia/Shanghai?)",
            "posthouse.toml, line 4: the language is \"en\" or \"zh\", not \"fr\"",
            "posthouse.toml, line 7: \"XX\" is no country with rules for Wi-Fi: give its two letters, such as CN, DE or US",
            "posthouse.toml, line 8: a Wi-Fi password has 8 to 63 letters, digits and signs of ASCII",
            "posthouse.toml, line 10: \"-bad-\" is no DNS name, such as chat.example.org",
            "posthouse.toml, line 10: names has to be a text in \"quotation marks\", or a list of them: [\"one\", \"two\"]; \
             this is of the type integer",
        ]
    );
    let broken: Vec<String> = read(text.as_bytes()).broken.into_iter().collect();
    assert_eq!(broken, ["language", "site_name", "time_zone", "tls", "wifi"]);
}

#[test]
fn what_updates_can_not_be_is_told_in_a_line() {
    for (text, expected) in [
        (
            "url = \"http://updates.example.org\"",
            "the update URL \"http://updates.example.org\" has to be an address that begins with https://",
        ),
        ("url = \"https://\"", "the update URL \"https://\" has to be an address that begins with https://"),
        ("url = \"https://a b\"", "the update URL \"https://a b\" has to be an address that begins with https://"),
        (
            "url = \"https://u@a.example\"",
            "the update URL \"https://u@a.example\" has to be an address that begins with https://",
        ),
        (
            "channel = \"../beta\"",
            "the channel \"../beta\" may have letters a to z, digits, hyphens and dots, such as \"stable\"",
        ),
        (
            "automatic = \"yes\"",
            "automatic has to be true or false, without quotation marks; this is of the type string",
        ),
        ("window = \"3-5\"", "the window is two times of a day, such as \"03:00-05:00\", not \"3-5\""),
        (
            "authority = \"ca.pem\"",
            "the authority is a certificate as PEM: the text from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE----- between ''' and '''",
        ),
        ("interval = 5", "there is no setting \"interval\" in [updates]"),
    ] {
        let text = format!("[updates]\n{text}\n");
        assert_eq!(problem(&text), format!("posthouse.toml, line 2: {expected}"));
        assert_eq!(read(text.as_bytes()).usable().updates, None);
    }
}

#[test]
fn what_is_not_toml_is_not_used_at_all() {
    for (text, expected) in [
        ("host_name = \"a\"\nhost_name = \"b\"\n", "posthouse.toml, line 2: this is not TOML: duplicate key"),
        (
            "site_name = \"x\"\nhost_name = office\n",
            "posthouse.toml, line 2: this is not TOML: string values must be quoted, expected literal string",
        ),
        ("[network\n", "posthouse.toml, line 1: this is not TOML: unclosed table, expected `]`"),
    ] {
        assert_eq!(problem(text), expected);
        let reading = read(text.as_bytes());
        assert!(reading.is_unreadable);
        assert_eq!(reading.wishes, Wishes::default());
    }
}

#[test]
fn what_is_no_text_or_too_large_gets_one_line() {
    let one = |bytes: &[u8]| {
        let reading = read(bytes);
        assert!(reading.is_unreadable);
        assert_eq!(reading.problems.len(), 1, "{:?}", reading.problems);
        reading.problems[0].to_string()
    };
    assert_eq!(one(&vec![b'#'; 1 << 20]), "posthouse.toml: it has 1048576 bytes, and may have 65536");
    assert_eq!(
        one(b"host_name = \"\xb0\xec\"\n"),
        "posthouse.toml: line 1 is not text in UTF-8: save the file with this encoding"
    );
    assert_eq!(one(&[0; 4096]), "posthouse.toml: it is not a text file");
    let garbage: String = (0..3000).map(|n| format!("{n} )( = = [\n")).collect();
    assert_eq!(problems(&garbage).len(), PROBLEMS_MAX + 1);
}

#[test]
fn a_wrong_value_gets_a_line_that_names_it() {
    for (bad, word) in [
        ("host_name = \"-a\"", "hyphen"),
        ("host_name = \"办公室\"", "letters"),
        ("host_name = \"localhost\"", "another"),
        ("host_name = \"a.b\"", "host name"),
        ("site_name = \"a\\nb\"", "cannot be shown"),
        ("claim_code = \"123456789012\"", "easy to guess"),
        ("claim_code = \"AAAAAAAAAAAA\"", "easy to guess"),
        ("claim_code = \"short\"", "easy to guess"),
        ("claim_code = \"with blank and more\"", "letters"),
        ("ntp_servers = \"300.1.1.1\"", "time server"),
        ("[network]\nmethod = \"static\"", "needs an address"),
        ("[network]\naddress = \"192.168.1.10/24\"", "method = \"static\""),
        ("[network]\nmethod = \"static\"\naddress = \"192.168.1.10\"", "length"),
        ("[network]\nmethod = \"static\"\naddress = \"192.168.1.255/24\"", "of a network"),
        ("[network]\nmethod = \"static\"\naddress = \"192.168.1.10/33\"", "length"),
        (
            "[network]\nmethod = \"static\"\naddress = \"192.168.1.10/24\"\ngateway = \"192.168.2.1\"",
            "not in the network",
        ),
        ("[network]\nmethod = \"static\"\naddress = \"127.0.0.1/8\"", "machine"),
        ("[network]\nmethod = \"manual\"", "dhcp"),
        ("[network]\nadress = \"192.168.1.10/24\"", "did you mean address?"),
        ("network = \"dhcp\"", "section"),
        ("[wifi]\ncountry = \"CN\"", "ssid"),
        ("[wifi]\nssid = \"net\"", "country"),
        ("[wifi]\nssid = \"net\"\ncountry = \"CN\"\nhidden = \"yes\"", "true or false"),
        ("[wifi]\nssid = \"驿站驿站驿站驿站驿站驿\"\ncountry = \"CN\"", "33 bytes"),
        ("[tls]\nplain_http = true", "type boolean"),
        ("[tls]\nplain_http = \"maybe\"", "refused"),
    ] {
        let line = problem(bad);
        assert!(line.contains(word) && line.starts_with("posthouse.toml, line "), "{bad}: {line}");
        assert_eq!(read(bad.as_bytes()).broken.len(), 1, "{bad}");
    }
}

#[test]
fn codes_of_forty_bits_are_taken() {
    for good in ["7KQM-2X4P-WHZD", "k7qm2x4pwh", "1234567890123"] {
        assert_eq!(problems(&format!("claim_code = \"{good}\"")), Vec::<String>::new());
    }
}

#[test]
fn what_overwrote_a_secret_is_no_mistake() {
    let text = "claim_code = \"****\"\n[wifi]\nssid = \"n\"\ncountry = \"CN\"\npassword = '*********'\n";
    let reading = read(text.as_bytes());
    assert_eq!(reading.problems, []);
    assert!(crate::is_overwritten(&reading.wishes.claim_code.expect("a code")));
}

fn schema() -> Value {
    let mut schema = schemars::schema_for!(Wishes);
    schema.insert("title".to_owned(), "posthouse.toml".into());
    schema.to_value()
}

#[test]
fn the_schema_is_that_of_the_types() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/posthouse.toml.json");
    let expected = serde_json::to_string_pretty(&schema()).expect("JSON") + "\n";
    if std::env::var_os("POSTHOUSE_WRITE_SCHEMA").is_some() {
        std::fs::write(&path, &expected).expect("the schema can be written");
    }
    let found = std::fs::read_to_string(&path).expect("the schema");
    assert!(found == expected, "schema/posthouse.toml.json is of yesterday: see src/wishes/schema.rs");
}

/// The keys of a schema's object and of the objects in it, as `section.key`.
fn keys_of(schema: &Value, root: &Value, prefix: &str) -> BTreeSet<String> {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|path| root.pointer(path.trim_start_matches('#')));
    let schema = target.unwrap_or(schema);
    let mut keys = BTreeSet::new();
    let inner = schema["anyOf"].as_array().cloned().unwrap_or_default();
    for alternative in &inner {
        keys.extend(keys_of(alternative, root, prefix));
    }
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        keys.insert(format!("{prefix}{key}"));
        keys.extend(keys_of(value, root, &format!("{prefix}{key}.")));
    }
    keys
}

/// Each key that the reader asks for, and no other.
fn keys_read() -> BTreeSet<String> {
    let (table, _) = DeTable::parse_recoverable("[network]\n[wifi]\n[tls]\n[updates]\n");
    let mut findings = Findings {
        file: NAME,
        text: "",
        problems: Vec::new(),
        broken: BTreeSet::new(),
        secrets: Vec::new(),
        known: BTreeSet::new(),
    };
    read_wishes(&mut Section::top(table.get_ref(), &mut findings));
    findings.known
}

#[test]
fn the_schema_has_the_keys_that_are_read() {
    let schema = schema();
    assert_eq!(keys_of(&schema, &schema, ""), keys_read());
}

#[test]
fn the_schema_takes_what_is_taken_and_refuses_wrong_types() {
    let schema = jsonschema::validator_for(&schema()).expect("a schema");
    let value = |text: &str| -> Value { toml::from_str(text).expect("TOML") };
    assert!(schema.is_valid(&value(WHOLE)), "{:?}", schema.iter_errors(&value(WHOLE)).next().map(|e| e.to_string()));
    for bad in [
        "unknown = 1",
        "host_name = \"-a\"",
        "site_name = 7",
        "language = \"fr\"",
        "claim_code = \"short\"",
        "network = \"dhcp\"",
        "[network]\nadress = \"x\"",
        "[wifi]\nssid = \"x\"",
        "[wifi]\nssid = \"n\"\ncountry = \"CHN\"",
        "[wifi]\nssid = \"n\"\ncountry = \"CN\"\npassword = \"short\"",
        "[tls]\nplain_http = \"maybe\"",
    ] {
        assert!(!schema.is_valid(&value(bad)), "the schema takes {bad}");
        assert_ne!(problems(bad), Vec::<String>::new(), "{bad}");
    }
}

proptest! {
    #[test]
    fn whatever_the_bytes_nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let reading = read(&bytes);
        prop_assert!(reading.problems.len() <= PROBLEMS_MAX + 1);
    }

    /// Pieces of a sound file in any order.
    #[test]
    fn whatever_the_lines_places_of_secrets_are_in_the_file(
        lines in proptest::collection::vec(proptest::sample::select(WHOLE.lines().collect::<Vec<_>>()), 0..30),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut text = lines.join("\r\n");
        let cut = (0..=cut.index(text.len() + 1)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
        let reading = read(text.as_bytes());
        prop_assert_eq!(reading.is_unreadable && reading.problems.is_empty(), false);
        for secret in reading.secrets {
            prop_assert!(text.get(secret.place).is_some());
        }
    }
}

/// The file that the image brings, in which every line is a comment.
const SHIPPED: &str = include_str!("../../../../image/boot/card/posthouse.toml");

#[test]
fn the_shipped_file_sets_nothing_and_each_of_its_lines_can_be_used() {
    let reading = read(SHIPPED.replace('\n', "\r\n").as_bytes());
    assert_eq!((reading.problems, reading.wishes.over(Wishes::default()).summary()), (Vec::new(), Vec::new()));
    let is_setting = |line: &str| {
        line.starts_with('[') || line.split(" = ").next().is_some_and(|key| !key.contains(' ') && line.contains(" = "))
    };
    let used: Vec<&str> =
        SHIPPED.lines().map(|line| line.strip_prefix("# ").filter(|line| is_setting(line)).unwrap_or(line)).collect();
    let used = used.join("\n");
    assert_eq!(problems(&used), Vec::<String>::new());
    let (table, _) = DeTable::parse_recoverable(&used);
    let mut keys = BTreeSet::new();
    for (key, value) in table.get_ref() {
        keys.insert(key.get_ref().to_string());
        for (inner, _) in value.get_ref().as_table().into_iter().flatten() {
            keys.insert(format!("{}.{}", key.get_ref(), inner.get_ref()));
        }
    }
    // What [wifi] has of [network] is told in words.
    let mut known = keys_read();
    for key in ["wifi.address", "wifi.gateway", "wifi.dns"] {
        known.remove(key);
    }
    assert_eq!(keys, known);
}
