//! What a person may write behind a `/`.

use std::time::Duration;

use posthouse_protocol::{Seq, Title, Username};

use crate::cli::span;

/// Keys, commands and signs, on a screen of 24 rows.
pub const HELP: &str = "\
Enter  send         Alt-Enter, Ctrl-J  new line      Tab    complete
PgUp, PgDn  scroll  Ctrl-N, Ctrl-P  conversations    Esc    to the newest
Up, Down  texts that you wrote before                Ctrl-C leave
Ctrl-R sends again what was not sent                 Ctrl-Home  the oldest

/open NAME           a person, a title, #7
/reply N TEXT        answer message N, or the last one: /reply last TEXT
/edit N [TEXT]       change your own; without TEXT it comes to be changed
/versions N          all that a message has said
/recall N            erase what you wrote
/react N EMOJI       put it under a message; /unreact takes it away
/mute [30m 8h 2d]    keep the conversation quiet; /unmute
/pin                 keep it at the top of the list; /unpin
/group create TITLE [NAME ...]   a title with spaces goes in \"quotes\"
/group add NAME ..., remove NAME, rename TITLE, members, leave
/resend  /help  /quit            //text sends \"/text\"

@name calls a member, @all everybody     @2  so many mention you
●  online    ◐  away    ▴  pinned    ø  muted
…  not yet safely stored    ✗  not sent    ✓  delivered    ✓✓  read";

/// All that can be written, for Tab.
pub const BEGINNINGS: [&str; 24] = [
    "/edit ",
    "/edit last ",
    "/group add ",
    "/group create ",
    "/group leave ",
    "/group members ",
    "/group remove ",
    "/group rename ",
    "/help ",
    "/mute ",
    "/open ",
    "/pin ",
    "/quit ",
    "/react ",
    "/react last ",
    "/recall ",
    "/reply ",
    "/reply last ",
    "/resend ",
    "/unmute ",
    "/unpin ",
    "/unreact ",
    "/versions ",
    "/versions last ",
];

/// Those that name a message: while they are written, messages show their numbers.
pub const WITH_NUMBER: [&str; 6] = ["/reply ", "/edit ", "/versions ", "/recall ", "/react ", "/unreact "];

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Open(String),
    Reply(Which, String),
    Edit(Which, Option<String>),
    Versions(Which),
    Recall(Which),
    /// The emoji, and whether it is to be there.
    React(Which, String, Added),
    Mute(Option<Duration>),
    Unmute,
    Pin(Pinned),
    Create(Title, Vec<Username>),
    Add(Vec<Username>),
    Remove(Username),
    Rename(Title),
    Members,
    Leave,
    Resend,
    Help,
    Quit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    Yes,
    No,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinned {
    Yes,
    No,
}

/// Which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The last one that is meant by the command: one's own to be changed, another's to be answered, one that was edited.
    Last,
    Number(Seq),
}

/// Reads a line behind its `/`; what is wrong with it is for the person.
pub fn parse(line: &str) -> Result<Command, String> {
    let (name, rest) = word(line);
    let command = match name {
        "open" | "o" if rest.is_empty() => return Err("Whom or what? /open NAME, or /open #7".to_owned()),
        "open" | "o" => Command::Open(rest.to_owned()),
        "reply" | "r" => message(rest)
            .and_then(|(which, text)| Some(Command::Reply(which, some(text)?)))
            .ok_or("Which message, and what? /reply 12 TEXT, or /reply last TEXT")?,
        "edit" | "e" => message(rest)
            .map(|(which, text)| Command::Edit(which, some(text)))
            .ok_or("Which message? /edit 12 TEXT, or /edit last")?,
        "versions" => message(rest)
            .filter(|(_, more)| more.is_empty())
            .map(|(which, _)| Command::Versions(which))
            .ok_or("Which message? /versions 12, or /versions last")?,
        "recall" => message(rest)
            .filter(|(_, more)| more.is_empty())
            .map(|(which, _)| Command::Recall(which))
            .ok_or("Which message? /recall 12, or /recall last")?,
        "react" | "unreact" => {
            let added = if name == "react" { Added::Yes } else { Added::No };
            let one = |text: &str| Some(emoji(text)).filter(|it| !it.is_empty() && !it.contains(char::is_whitespace));
            message(rest)
                .and_then(|(which, text)| Some(Command::React(which, one(text)?, added)))
                .ok_or_else(|| format!("Which message, and with what? /{name} 12 👍, or /{name} last +1"))?
        }
        "mute" if rest.is_empty() => Command::Mute(None),
        "mute" => match span(rest) {
            Ok(time) => Command::Mute(Some(time)),
            Err(_) => return Err("For how long, up to ten years? /mute 30m, /mute 8h, /mute 2d, or /mute".to_owned()),
        },
        "unmute" => Command::Unmute,
        "pin" => Command::Pin(Pinned::Yes),
        "unpin" => Command::Pin(Pinned::No),
        "group" => group(rest)?,
        "resend" => Command::Resend,
        "help" | "h" | "?" => Command::Help,
        "quit" | "q" | "exit" => Command::Quit,
        other => return Err(format!("There is no command /{other}: /help lists them, //{other} says it.")),
    };
    Ok(command)
}

fn group(line: &str) -> Result<Command, String> {
    let (what, rest) = word(line);
    let title = |text: &str| Title::new(text).map_err(|error| format!("{error}: /group {what} TITLE"));
    match what {
        "create" => {
            let (called, rest) = quoted(rest)?.unwrap_or_else(|| word(rest));
            Ok(Command::Create(title(called)?, names(rest)?))
        }
        "add" if !rest.is_empty() => Ok(Command::Add(names(rest)?)),
        "add" => Err("Whom? /group add NAME …".to_owned()),
        "remove" => match names(rest)?.as_slice() {
            [one] => Ok(Command::Remove(one.clone())),
            _ => Err("Whom? /group remove NAME".to_owned()),
        },
        "rename" => match quoted(rest)? {
            Some((called, "")) => Ok(Command::Rename(title(called)?)),
            Some(_) => Err("One title: /group rename TITLE".to_owned()),
            None => Ok(Command::Rename(title(rest)?)),
        },
        "members" => Ok(Command::Members),
        "leave" if rest.is_empty() => Ok(Command::Leave),
        "leave" => Err("/group leave leaves the open one: open it first.".to_owned()),
        _ => Err("/group create TITLE [NAME …], add NAME …, remove NAME, rename TITLE, members, leave".to_owned()),
    }
}

/// The first word, and what follows.
fn word(line: &str) -> (&str, &str) {
    let (first, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (first, rest.trim())
}

/// What stands in quotes at the beginning, and what follows; none where it begins with no quote.
fn quoted(text: &str) -> Result<Option<(&str, &str)>, String> {
    let Some(rest) = text.strip_prefix('"') else { return Ok(None) };
    match rest.split_once('"') {
        Some((inside, behind)) => Ok(Some((inside, behind.trim()))),
        None => Err("The second quote is missing: \"TITLE\"".to_owned()),
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn message(rest: &str) -> Option<(Which, &str)> {
    let (which, rest) = word(rest);
    let number = || which.trim_start_matches('#').parse().ok().filter(|number| *number > 0);
    let which = if which == "last" { Which::Last } else { Which::Number(Seq(number()?)) };
    Some((which, rest))
}

/// What can be typed everywhere.
fn emoji(text: &str) -> String {
    let known = [("+1", "👍"), ("-1", "👎"), ("<3", "❤️"), (":)", "🙂"), (":(", "🙁"), ("ok", "✅")];
    known.iter().find(|(typed, _)| *typed == text).map_or(text, |(_, emoji)| emoji).to_owned()
}

fn names(text: &str) -> Result<Vec<Username>, String> {
    let names = text.split([' ', ',']).map(|name| name.trim_start_matches('@')).filter(|name| !name.is_empty());
    names.map(|name| Username::new(name).map_err(|error| format!("{name}: {error}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_behind_a_stroke_is_understood() {
        let title = |title: &str| Title::new(title).unwrap();
        let name = |name: &str| Username::new(name).unwrap();
        for (line, command) in [
            ("open Board of 7", Command::Open("Board of 7".to_owned())),
            ("reply last  yes, at noon", Command::Reply(Which::Last, "yes, at noon".to_owned())),
            ("reply 12 a\nb", Command::Reply(Which::Number(Seq(12)), "a\nb".to_owned())),
            ("edit #3", Command::Edit(Which::Number(Seq(3)), None)),
            ("edit last better", Command::Edit(Which::Last, Some("better".to_owned()))),
            ("recall last", Command::Recall(Which::Last)),
            ("versions 12", Command::Versions(Which::Number(Seq(12)))),
            ("react 4 +1", Command::React(Which::Number(Seq(4)), "👍".to_owned(), Added::Yes)),
            ("unreact last 🎉", Command::React(Which::Last, "🎉".to_owned(), Added::No)),
            ("mute", Command::Mute(None)),
            ("mute 2h", Command::Mute(Some(Duration::from_secs(7_200)))),
            ("unpin", Command::Pin(Pinned::No)),
            (
                "group create \"Board of 7\" ben @carl",
                Command::Create(title("Board of 7"), vec![name("ben"), name("carl")]),
            ),
            ("group create Board", Command::Create(title("Board"), Vec::new())),
            ("group add ben, carl", Command::Add(vec![name("ben"), name("carl")])),
            ("group rename Board of 8", Command::Rename(title("Board of 8"))),
            ("group rename \"Board of 8\"", Command::Rename(title("Board of 8"))),
            ("group rename The \"Board\"", Command::Rename(title("The \"Board\""))),
            ("group leave", Command::Leave),
            ("q", Command::Quit),
        ] {
            assert_eq!(parse(line).as_ref(), Ok(&command), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_answered_with_what_would_be_right() {
        for (line, said) in [
            ("fly", "There is no command /fly"),
            ("open", "/open NAME"),
            ("reply", "/reply 12 TEXT"),
            ("reply 12", "/reply 12 TEXT"),
            ("reply yes", "/reply 12 TEXT"),
            ("edit 0 x", "/edit 12 TEXT"),
            ("recall 12 now", "/recall 12"),
            ("versions", "/versions 12"),
            ("versions 12 13", "/versions 12"),
            ("react 12", "/react 12 👍"),
            ("react 12 two words", "/react 12 👍"),
            ("mute 2 weeks", "/mute 30m"),
            ("mute é", "/mute 30m"),
            ("mute 49710269d", "up to ten years"),
            ("group", "/group create TITLE"),
            ("group create", "/group create TITLE"),
            ("group create \"Board of 7", "second quote is missing"),
            ("group rename \"A\" \"B\"", "/group rename TITLE"),
            ("group rename \"A", "second quote is missing"),
            ("group rename \"\"", "/group rename TITLE"),
            ("group add", "/group add NAME"),
            ("group add b?n", "b?n: "),
            ("group remove ben carl", "/group remove NAME"),
            ("group leave now", "open it first"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(said) && !error.contains('\n'), "{line}: {error}");
        }
    }
}
