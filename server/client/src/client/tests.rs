//! A connection whose server says what the test has it say, on a virtual clock.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;

/// Far behind the time at which a silent server is given up.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Room for all that a test says.
const PIPE_LEN: usize = 64 * 1024;

/// A client by WebSocket, and the server's end.
async fn by_websocket() -> (Client, Events, DuplexStream) {
    let (here, there) = tokio::io::duplex(PIPE_LEN);
    let heard = Heard::new();
    let (client, events) = Client::on(Socket::over(here, heard.clone()).await, heard);
    (client, events, there)
}

/// How a call ends, and after how long.
async fn end_of_a_call(client: &Client) -> (Result<Empty, ClientError>, Duration) {
    let began = Instant::now();
    let ended = timeout(PATIENCE, client.call::<Ping>(&Empty {})).await.expect("it does not hang");
    (ended, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_call_to_a_server_that_went_silent_fails_soon() {
    let (client, mut events, _server) = by_websocket().await;
    // However long nobody asked before.
    sleep(PING_INTERVAL * 9 / 10).await;
    let (ended, after) = end_of_a_call(&client).await;
    assert!(matches!(&ended, Err(ClientError::Disconnected(why)) if why.contains("nothing was heard")), "{ended:?}");
    assert_eq!(after.as_secs(), 15);
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_that_nobody_asked_is_asked_once_and_given_up_within_a_minute() {
    let (client, mut events, server) = by_websocket().await;
    let began = Instant::now();
    assert!(timeout(PATIENCE, events.next()).await.expect("it does not hang").is_none());
    assert_eq!(began.elapsed().as_secs(), 55);
    let mut server = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
    let asked = server.next().await.expect("a frame").expect("a whole one");
    assert_eq!(asked.to_text().expect("a text"), r#"{"id":0,"method":"ping","params":{}}"#);
    assert!(!matches!(server.next().await, Some(Ok(Message::Text(_)))), "it was asked once");
    assert!(matches!(client.reason(), ClientError::Disconnected(_)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_pings_has_all_the_time_for_the_rest() {
    let (client, _events, server) = by_websocket().await;
    let mut server = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
    let answers = async {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(300) {
            let text = server.next().await.expect("a frame").expect("a whole one").into_text().expect("a text");
            if text.contains(r#""id":0"#) {
                server.send(Message::text(r#"{"id":0,"result":{}}"#)).await.expect("taken");
            }
        }
        server.send(Message::text(r#"{"id":1,"result":{}}"#)).await.expect("taken");
        std::future::pending::<()>().await;
    };
    let (ended, after) = tokio::select! {
        ended = end_of_a_call(&client) => ended,
        () = answers => unreachable!("it does not end"),
    };
    assert!(ended.is_ok() && after >= Duration::from_secs(300), "{ended:?} after {after:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_byte_by_byte_is_heard() {
    let (client, _events, mut server) = by_websocket().await;
    let answer = br#"{"id":1,"result":{}}"#;
    let mut frame = vec![0x81, u8::try_from(answer.len()).expect("a short one")];
    frame.extend_from_slice(answer);
    let trickle = async {
        for byte in frame {
            sleep(Duration::from_secs(9)).await;
            server.write_all(&[byte]).await.expect("taken");
        }
        std::future::pending::<()>().await;
    };
    let (ended, _) = tokio::select! {
        ended = end_of_a_call(&client) => ended,
        () = trickle => unreachable!("it does not end"),
    };
    assert!(ended.is_ok(), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_program_that_is_long_about_its_events_does_not_make_the_server_silent() {
    let (client, mut events, mut server) = by_websocket().await;
    // Text frames of an event that needs no program: one more than may wait, and the one that the driver has in hand.
    let event = br#"{"event":"news"}"#;
    let frame = [&[0x81, u8::try_from(event.len()).expect("a short one")], &event[..]].concat();
    server.write_all(&frame.repeat(EVENTS_LEN_MAX + 2)).await.expect("room");
    sleep(3 * PING_INTERVAL).await;
    for _ in 0..EVENTS_LEN_MAX + 2 {
        events.next_of_any_kind().await.expect("all that came");
    }
    assert!(timeout(PING_INTERVAL, events.next()).await.is_err(), "the connection lasts: {}", client.reason());
}

/// What a server of event streams does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It says nothing once the stream is open.
    Silent,
    /// The stream has comments, pings are answered, and all else is not.
    Lively,
}

/// A client by event stream. Each ping is told of.
async fn by_event_stream(manner: Manner) -> (Client, Events, mpsc::UnboundedReceiver<Instant>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address")).parse().expect("an address");
    let (told, pings) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(serve(stream, manner, told.clone()));
        }
    });
    let (client, events) = Client::open_by(&url, Transport::EventStream).await.expect("it opens");
    (client, events, pings)
}

async fn serve(mut stream: TcpStream, manner: Manner, pings: mpsc::UnboundedSender<Instant>) {
    loop {
        let mut request = Vec::new();
        while !(request.ends_with(b"}") || request.starts_with(b"GET") && request.ends_with(b"\r\n\r\n")) {
            if stream.read_buf(&mut request).await.is_ok_and(|len| len == 0) {
                return;
            }
        }
        let request = String::from_utf8(request).expect("a text");
        if request.starts_with("GET") {
            let open = "HTTP/1.1 200 OK\r\n\r\nevent: open\ndata: {\"session\":\"5be1\"}\n\n";
            stream.write_all(open.as_bytes()).await.expect("taken");
            if manner == Manner::Silent {
                return std::future::pending().await;
            }
            loop {
                sleep(Duration::from_secs(4)).await;
                if stream.write_all(b": alive\n\n").await.is_err() {
                    return;
                }
            }
        } else if request.contains(r#""id":0,"#) {
            // Who does not count them has its test behind it.
            let _ = pings.send(Instant::now());
            if manner == Manner::Lively {
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{\"id\":0,\"result\":{}}";
                stream.write_all(answer.as_bytes()).await.expect("taken");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn by_event_stream_a_silent_server_is_given_up_as_well() {
    let (client, _events, _pings) = by_event_stream(Manner::Silent).await;
    let (ended, after) = end_of_a_call(&client).await;
    assert!(matches!(ended, Err(ClientError::Disconnected(_))), "{ended:?}");
    assert_eq!(after.as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_post_that_is_not_answered_while_the_stream_lives_fails() {
    let (client, _events, _pings) = by_event_stream(Manner::Lively).await;
    let (ended, after) = end_of_a_call(&client).await;
    assert!(matches!(&ended, Err(ClientError::Disconnected(why)) if why.contains("no answer within")), "{ended:?}");
    assert!(after <= Duration::from_secs(65), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn by_event_stream_the_server_hears_of_an_idle_client_however_lively_it_is() {
    let (_client, _events, mut pings) = by_event_stream(Manner::Lively).await;
    let mut heard = Instant::now();
    for _ in 0..4 {
        let ping = timeout(PATIENCE, pings.recv()).await.expect("a ping").expect("the server lasts");
        assert!(ping - heard < 2 * PING_INTERVAL, "it would have been thrown out after {:?}", ping - heard);
        heard = ping;
    }
}
