//! `unit-control`: `systemctl` for the supervisor of these tests.
//!
//! It speaks to the socket `control.sock` in the folder from which it was called (by a link), with its arguments as one JSON line,
//! prints what is answered and ends as `systemctl` would.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args();
    let called = words.next().unwrap_or_default();
    let socket = Path::new(&called).with_file_name("control.sock");
    match ask(&socket, &words.collect::<Vec<_>>()) {
        Ok((code, said)) => {
            if code == 0 {
                println!("{said}");
            } else {
                eprintln!("{said}");
            }
            ExitCode::from(code)
        }
        Err(error) => {
            eprintln!("unit-control: {}: {error}", socket.display());
            ExitCode::from(1)
        }
    }
}

fn ask(socket: &Path, words: &[String]) -> std::io::Result<(u8, String)> {
    let mut stream = UnixStream::connect(socket)?;
    writeln!(stream, "{}", serde_json::to_string(words)?)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}
