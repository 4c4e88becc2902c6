//! `systemctl` for the units' own programs: a link to `unit-control`, and the socket beside it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{self, Sender};

use super::{Event, Options};

/// Answers, each question on a thread of its own, since some wait for a unit's end.
pub fn serve(options: &Options, events: Sender<Event>) {
    std::os::unix::fs::symlink(&options.control, options.folder.join("systemctl")).expect("a link");
    let socket = UnixListener::bind(options.folder.join("control.sock")).expect("a socket");
    std::thread::spawn(move || {
        for stream in socket.incoming().map_while(Result::ok) {
            let events = events.clone();
            std::thread::spawn(move || answer(&stream, &events));
        }
    });
}

/// Answers one question, as far as its asker is still there.
fn answer(stream: &UnixStream, events: &Sender<Event>) {
    let mut line = String::new();
    if BufReader::new(stream).read_line(&mut line).is_err() {
        return;
    }
    let words: Vec<String> = serde_json::from_str(&line).expect("unit-control writes JSON");
    let (sender, answered) = mpsc::channel();
    if events.send(Event::Asked { words, answer: sender }).is_err() {
        return;
    }
    if let Ok(answer) = answered.recv() {
        let mut stream = stream;
        let _ = writeln!(stream, "{}", serde_json::to_string(&answer).expect("an answer is JSON"));
    }
}
