//! What the page and the report say, in both languages. Each text has one function, so that no language is forgotten.

use posthouse_protocol::appliance::{Language, Ownership};

use super::picture::{Condition, Note, Picture};
use super::senses::Wireless;

use Language::{Chinese, English};

/// Of two texts the one in the language.
pub fn either<'a>(language: Language, english: &'a str, chinese: &'a str) -> &'a str {
    match language {
        English => english,
        Chinese => chinese,
    }
}

/// How the box is.
pub fn condition(condition: Condition, language: Language) -> &'static str {
    match (condition, language) {
        (Condition::Starting, English) => "starting: please wait",
        (Condition::Starting, Chinese) => "正在启动，请稍候",
        (Condition::Ready, English) => "ready",
        (Condition::Ready, Chinese) => "已就绪",
        (Condition::NoNetwork, English) => "no network",
        (Condition::NoNetwork, Chinese) => "没有网络",
        (Condition::Fault, English) => "it needs your help, see below",
        (Condition::Fault, Chinese) => "需要您的帮助，见下文",
    }
}

/// What the light does then.
pub fn light(language: Language) -> &'static str {
    either(
        language,
        "The green light: two beats a second while starting, on when ready, a short flash every 2 s without network, rapid \
         flicker when something is wrong.",
        "绿灯：启动时每秒跳动两次；就绪时常亮；没有网络时每 2 秒短闪一次；有故障时快速闪烁。",
    )
}

/// Where to find the box.
pub fn open_in_browser(language: Language) -> &'static str {
    either(language, "In a browser on this network:", "在同一网络的浏览器中打开：")
}

/// Above the fingerprint.
pub fn fingerprint(language: Language) -> &'static str {
    either(language, "Fingerprint, the same on every device:", "指纹（在每台设备上都相同）：")
}

/// Who owns it, and above the code what the code is for.
pub fn ownership(ownership: &Ownership, language: Language) -> Option<String> {
    let text = match (ownership, language) {
        (Ownership::Unknown, _) => return None,
        (Ownership::Unclaimed { .. }, English) => "Nobody owns this box yet. Claim code:".to_owned(),
        (Ownership::Unclaimed { .. }, Chinese) => "本机尚无所有者。认领码：".to_owned(),
        (Ownership::Claimed { owner }, English) => format!("Owner: {owner}"),
        (Ownership::Claimed { owner }, Chinese) => format!("所有者：{owner}"),
        (Ownership::Recovering { owner, .. }, English) => format!("New password for {owner}. Code:"),
        (Ownership::Recovering { owner, .. }, Chinese) => format!("为 {owner} 设置新密码。恢复码："),
    };
    Some(text)
}

/// Clients, temperature, free space, radio: what is known of them.
pub fn state(picture: &Picture, language: Language) -> Vec<String> {
    let clients = picture.clients.map(|count| match language {
        English => format!("Clients: {count}"),
        Chinese => format!("在线客户端：{count}"),
    });
    let temperature = picture.temperature_c.map(|degrees| match language {
        English => format!("Temperature: {degrees} C"),
        Chinese => format!("温度：{degrees} ℃"),
    });
    let free = picture.free_bytes.map(|bytes| match language {
        English => format!("Free: {}", gigabytes(bytes)),
        Chinese => format!("可用空间：{}", gigabytes(bytes)),
    });
    [clients, temperature, free, wireless(&picture.wireless, language)].into_iter().flatten().collect()
}

/// How the radio is; nothing where nobody uses it.
pub fn wireless(wireless: &Wireless, language: Language) -> Option<String> {
    let (english, chinese) = match wireless {
        Wireless::Unused => return None,
        Wireless::Blocked => ("off", "已关闭"),
        Wireless::Searching(_) => ("not joined", "未连接"),
        Wireless::Joined => ("joined", "已连接"),
    };
    Some(format!("Wi-Fi{}{}", either(language, ": ", "："), either(language, english, chinese)))
}

/// A trouble, and what to do about it.
pub fn note(note: &Note, language: Language) -> String {
    let (english, chinese) = match note {
        Note::Rescue(line) | Note::Said(line) => return line.clone(),
        Note::File(line) => return format!("{}{line}", either(language, "Settings file: ", "设置文件：")),
        Note::NotJoined(names) => {
            let names = names.join(either(language, ", ", "、"));
            return match language {
                English => format!("Wi-Fi: cannot join {names}. Check name, password and country in posthouse.toml."),
                Chinese => format!("Wi-Fi：无法连接 {names}。请检查 posthouse.toml 中的名称、密码和国家代码。"),
            };
        }
        Note::Hot(degrees) => {
            return match language {
                English => format!("The processor has {degrees} C and slows down: give the box more air."),
                Chinese => format!("处理器温度 {degrees} ℃，已降速：请改善散热。"),
            };
        }
        Note::ServerSilent => (
            "There is no chat. A page at the address above says why; where none opens, switch the box off and on.",
            "聊天服务不可用。打开上面的地址可查看原因；如果打不开，请断电后重新通电。",
        ),
        Note::NoAddress => (
            "The network gives the box no address. Check cable and router, or Wi-Fi in posthouse.toml.",
            "没有从网络获得地址。请检查网线和路由器，或 posthouse.toml 中的 Wi-Fi 设置。",
        ),
        Note::RadioBlocked => (
            "Wi-Fi is switched off: set the country in posthouse.toml.",
            "Wi-Fi 已关闭：请在 posthouse.toml 中设置国家代码。",
        ),
        Note::UnderVoltage => (
            "The power supply is too weak: use one for a Raspberry Pi 4 (5 V, 3 A) and a short cable.",
            "供电不足：请使用树莓派 4 专用电源（5 V，3 A）和短线缆。",
        ),
        Note::CardFull => ("The card is almost full.", "存储卡几乎已满。"),
        Note::TimeUnknown => (
            "The time is not synchronised; dates may be wrong, nothing else is.",
            "时间尚未同步：日期可能不准，其他功能不受影响。",
        ),
    };
    either(language, english, chinese).to_owned()
}

/// So many notes have no room.
pub fn more(count: usize, language: Language) -> String {
    match language {
        English => format!("! {count} more: see POSTHOUSE.TXT on the card."),
        Chinese => format!("! 另有 {count} 条，见存储卡上的 POSTHOUSE.TXT。"),
    }
}

/// As disks are sold: by thousands.
fn gigabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000_000;
    format!("{}.{} GB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::{gigabytes, note, state};
    use crate::watch::picture::{Note, Picture, Server};
    use crate::watch::senses::Senses;
    use posthouse_protocol::appliance::Language;
    use std::time::Duration;

    #[test]
    fn room_is_told_in_tenths_of_a_gigabyte() {
        assert_eq!(gigabytes(27_149_000_000), "27.1 GB");
        assert_eq!(gigabytes(99_999_999), "0.0 GB");
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let picture = Picture::new(Server::Expected, &Senses::default(), Duration::ZERO);
        assert_eq!(state(&picture, Language::English), Vec::<String>::new());
        let senses = Senses { temperature_c: Some(48), free_bytes: Some(1_500_000_000), ..Senses::default() };
        let picture = Picture::new(Server::Expected, &senses, Duration::ZERO);
        assert_eq!(state(&picture, Language::Chinese), ["温度：48 ℃", "可用空间：1.5 GB"]);
    }

    #[test]
    fn each_note_differs_from_language_to_language_but_for_others_words() {
        let names = vec!["School".to_owned()];
        for own in [Note::NotJoined(names), Note::Hot(81), Note::ServerSilent, Note::CardFull, Note::TimeUnknown] {
            assert_ne!(note(&own, Language::English), note(&own, Language::Chinese));
            assert!(note(&own, Language::English).is_ascii(), "{own:?}");
        }
        assert_eq!(note(&Note::Said("慢".to_owned()), Language::English), "慢");
    }
}
