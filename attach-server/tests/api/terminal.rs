//! Terminals over WebSockets: the upgrade, tokens, logs and metrics around them.

use futures_util::{SinkExt as _, StreamExt as _};
use lap_platform::client::attach::{
    AttachClient, ChannelEvent, ChannelSpec, Command, Credentials, Endpoint, Event, new_channel,
};
use lap_wire::control::{Mode, Size};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::support::{AGENTS, Api, KEY, PATIENCE, SESSIONS};

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a WebSocket; where it is refused, the answer's status and body.
pub(crate) async fn open(
    api: &Api,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Socket, (u16, String)> {
    let mut request = format!("{}{path}", api.url.replace("http", "ws")).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    match timeout(PATIENCE, connect_async(request)).await.unwrap() {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            Err((response.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
        }
        Err(error) => panic!("{path}: {error}"),
    }
}

/// Reads output until it has this text.
pub(crate) async fn until(socket: &mut Socket, text: &str) -> String {
    let mut seen = String::new();
    let reading = async {
        while !seen.contains(text) {
            match socket.next().await {
                Some(Ok(Message::Binary(bytes))) => seen.push_str(&String::from_utf8_lossy(&bytes)),
                Some(Ok(_)) => {}
                other => panic!("{other:?} after {seen:?}"),
            }
        }
    };
    let done = timeout(PATIENCE, reading).await;
    assert!(done.is_ok(), "no {text:?} in {seen:?}");
    seen
}

#[tokio::test]
async fn a_terminal_is_typed_into_with_the_sessions_own_token_and_its_log_tells_of_it() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let id = api.ready_session(&agent).await;
    let session = api.get(&format!("{SESSIONS}/{id}")).await.json();
    let (url, token) = (session["tty_url"].as_str().unwrap(), session["tty_token"].as_str().unwrap());
    let mut socket = open(&api, &format!("{url}?token={token}"), &[]).await.unwrap();
    // At once: what is typed before the first screen is typed when there is one.
    socket.send(Message::text("echo mark-$((40+2))\r")).await.unwrap();
    until(&mut socket, "mark-42").await;

    // Recorded off the way to the viewers: it is there a moment later.
    let log = async {
        loop {
            let log = api.get(&format!("{SESSIONS}/{id}/log")).await;
            assert_eq!(log.status, StatusCode::OK);
            if log.text.contains("mark-42") {
                return log.text;
            }
            tokio::task::yield_now().await;
        }
    };
    let log = timeout(PATIENCE, log).await.unwrap();
    assert!(log.lines().any(|line| line.ends_with("mark-42")), "{log:?}");
    let cast = api.get(&format!("{SESSIONS}/{id}/recording")).await;
    let header: Value = serde_json::from_str(cast.text.lines().next().unwrap()).unwrap();
    assert_eq!(header["version"], 3);

    let diagnosis = api.get(&format!("{SESSIONS}/{id}/diagnose")).await.json();
    assert_eq!(diagnosis["harness"]["alive"], true, "{diagnosis:#}");
    assert_eq!(diagnosis["sandbox"]["present"], true);
    assert_eq!(diagnosis["detected_issues"], json!([]));
    let lines = diagnosis["harness"]["last_output"].as_array().unwrap();
    assert!(lines.iter().any(|line| line.as_str().unwrap().ends_with("mark-42")), "{diagnosis:#}");
    sandbox_logs(&api, &id).await;
    api.delete(&format!("{AGENTS}/{agent}")).await;
}

/// As if the keeper had said something just now, and as if two hours ago.
async fn sandbox_logs(api: &Api, session: &str) {
    let log = find(api.dir.path(), "keeper.log").expect("a sandbox has a log");
    std::fs::write(&log, "one\ntwo\n").unwrap();
    let get = async |query: &str| {
        let answer = api.get(&format!("{SESSIONS}/{session}/sandbox_logs?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.text
    };
    assert_eq!(get("tailLines=1&sinceSeconds=3600").await, "two\n");
    let ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    std::fs::File::options().write(true).open(&log).unwrap().set_modified(ago).unwrap();
    assert_eq!(get("sinceSeconds=3600").await, "");
    assert_eq!(get("sinceSeconds=9000").await, "one\ntwo\n");
    assert_eq!(get("tailLines=5").await, "one\ntwo\n");
}

/// A file of this name below a directory.
fn find(dir: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    std::fs::read_dir(dir).ok()?.flatten().find_map(|entry| match entry.file_type().ok()?.is_dir() {
        true => find(&entry.path(), name),
        false => (entry.file_name() == name).then(|| entry.path()),
    })
}

#[tokio::test]
async fn a_terminals_token_opens_that_terminal_and_no_other() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let (one, other) = (api.ready_session(&agent).await, api.ready_session(&agent).await);
    let session = api.get(&format!("{SESSIONS}/{one}")).await.json();
    let token = session["tty_token"].as_str().unwrap();
    let bearer = format!("Bearer {token}");
    let refused = open(&api, &format!("{SESSIONS}/{other}/tty?token={token}"), &[]).await;
    assert_eq!(refused.map(drop).unwrap_err().0, 403);
    assert!(open(&api, &format!("{SESSIONS}/{one}/tty"), &[("authorization", &bearer)]).await.is_ok());
    let twice = format!("{SESSIONS}/{one}/tty?token={token}&token={token}");
    assert!(open(&api, &twice, &[("authorization", &bearer)]).await.is_ok());
    let beside =
        open(&api, &format!("{SESSIONS}/{one}/tty?token=wrong"), &[("authorization", &bearer)]).await;
    assert_eq!(beside.map(drop).unwrap_err().0, 401, "a wrong token is wrong beside a right one");
    let again = api.get(&format!("{SESSIONS}/{one}")).await.json();
    assert_eq!(again["tty_token"], token, "who asks again and again keeps its token");
    for (path, status) in [
        (format!("{SESSIONS}/{one}/tty"), 401),
        (format!("{SESSIONS}/{one}/tty?token=wrong"), 401),
        (format!("{SESSIONS}/{one}/tty?token={token}x"), 401),
        (format!("{SESSIONS}/{one}/tty?token={token}&token=wrong"), 401),
        (format!("{SESSIONS}/not-an-id/tty?token=wrong"), 401),
        (format!("{SESSIONS}/0197c0de-0000-7000-8000-000000000000/tty?token={KEY}"), 404),
        ("/api/v1/managed_agents/attach".to_owned(), 401),
    ] {
        let refused = open(&api, &path, &[]).await.map(drop).unwrap_err();
        assert_eq!(refused.0, status, "{path}: {}", refused.1);
    }
    // One that was made a quarter of an hour and a minute ago has expired; made now by the same hand, it opens.
    let (secret, _) =
        lap_platform::secret::SecretKey::find_or_make(None, None, &api.dir.path().join("data")).unwrap();
    let tokens = lap_platform::secret::TtyTokens::new(&secret);
    let minted = |minutes: i64| {
        let then = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes);
        format!("{SESSIONS}/{one}/tty?token={}", tokens.mint(one.parse().unwrap(), then).unwrap())
    };
    assert_eq!(open(&api, &minted(16), &[]).await.map(drop).unwrap_err().0, 401);
    assert!(open(&api, &minted(9), &[]).await.is_ok());
    // A wrong header does not spoil a right token in the query: clients send both.
    let both =
        open(&api, &format!("{SESSIONS}/{one}/tty?token={token}"), &[("authorization", "Bearer wrong")])
            .await;
    assert!(both.is_ok());
    api.delete(&format!("{AGENTS}/{agent}")).await;
}

#[tokio::test]
async fn the_attach_socket_wants_its_subprotocol_and_its_own_pages() {
    let api = Api::start().await;
    let key = format!("Bearer {KEY}");
    let path = "/api/v1/managed_agents/attach";
    let subprotocol = ("sec-websocket-protocol", "lap.attach.v1");
    let refused = open(&api, path, &[("authorization", &key)]).await.map(drop).unwrap_err();
    assert_eq!(refused.0, 400);
    assert!(refused.1.contains("lap.attach.v1"), "{}", refused.1);
    let headers = [("authorization", key.as_str()), subprotocol, ("origin", "https://evil.example")];
    assert_eq!(open(&api, path, &headers).await.map(drop).unwrap_err().0, 403);
    assert!(open(&api, path, &[("authorization", &key), subprotocol]).await.is_ok());
}

#[tokio::test]
async fn plain_requests_to_a_socket_are_told_what_it_is() {
    let api = Api::start().await;
    let answer = api.get("/api/v1/managed_agents/attach").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.error().contains("WebSocket"), "{}", answer.text);
}

#[tokio::test]
async fn sockets_beyond_the_limit_are_refused_in_http() {
    let api = Api::start_with(&[("LAP_ATTACH_SOCKETS", "1")]).await;
    let key = format!("Bearer {KEY}");
    let headers = [("authorization", key.as_str()), ("sec-websocket-protocol", "lap.attach.v1")];
    let path = "/api/v1/managed_agents/attach";
    let _first = open(&api, path, &headers).await.unwrap();
    let refused = open(&api, path, &headers).await.map(drop).unwrap_err();
    assert_eq!(refused.0, 429, "{}", refused.1);
}

#[tokio::test]
async fn metrics_tell_of_who_is_attached_and_how_long_a_key_takes() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let id = api.ready_session(&agent).await;
    let mut socket = open(&api, &format!("{SESSIONS}/{id}/tty?token={KEY}"), &[]).await.unwrap();
    // The prompt first: only then is what is typed answered at once.
    socket.send(Message::text("echo mark-$((40+2))\r")).await.unwrap();
    until(&mut socket, "mark-42").await;
    socket.send(Message::text("x")).await.unwrap();
    until(&mut socket, "x").await;
    let metrics = api.get("/api/v1/metrics").await.text;
    for line in [
        "attach_connections{kind=\"tty\"} 1",
        "attach_connections{kind=\"attach\"} 0",
        "attach_terminals 1",
        "attach_viewers 1",
        "attach_in_flight_bytes 0",
        "attach_opens_total{how=\"snapshot\"} 1",
        "attach_snapshots_total 1",
        "attach_skips_total 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let number = |name: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(number("attach_input_bytes_total"), 21.0, "{metrics}");
    // What was printed before the socket was open came with the snapshot.
    assert!(number("attach_output_bytes_total") >= 1.0, "{metrics}");
    for hop in ["keeper", "program", "server"] {
        let count = number(&format!("attach_echo_seconds_count{{hop=\"{hop}\"}}"));
        let sum = number(&format!("attach_echo_seconds_sum{{hop=\"{hop}\"}}"));
        assert!(count >= 1.0 && sum > 0.0, "{hop}: {metrics}");
    }
    drop(socket);
    let gone = async {
        while !api.get("/api/v1/metrics").await.text.contains("attach_viewers 0") {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    api.delete(&format!("{AGENTS}/{agent}")).await;
}

#[tokio::test]
async fn who_only_watches_does_not_keep_a_session_from_its_end() {
    let api = Api::start().await;
    let body = json!({ "name": "short", "model": "m", "harness_id": "shell", "idle_timeout_seconds": 1 });
    let agent = api.post(AGENTS, &body).await.json()["id"].as_str().unwrap().to_owned();
    let id = api.ready_session(&agent).await;
    let mut socket = attach(&api).await;
    say(&mut socket, 1, &json!({ "type": "open", "session": id, "stream": "output", "mode": "view" })).await;
    heard(&mut socket, |channel, message| channel == 1 && message["type"] == "opened").await;
    let dead = api.until(&id, |session| session["status"] == "dead").await;
    assert!(dead["failure_reason"].as_str().unwrap().contains("nobody used it"), "{dead:#}");
    heard(&mut socket, |channel, message| channel == 1 && message["type"] == "closed").await;
    api.delete(&format!("{AGENTS}/{agent}")).await;
}

/// A connection of `lap.attach.v1` that has said hello.
async fn attach(api: &Api) -> Socket {
    let key = format!("Bearer {KEY}");
    let headers = [("authorization", key.as_str()), ("sec-websocket-protocol", "lap.attach.v1")];
    let mut socket = open(api, "/api/v1/managed_agents/attach", &headers).await.unwrap();
    say(&mut socket, 0, &json!({ "type": "hello", "versions": ["lap.attach.v1"], "name": "test" })).await;
    heard(&mut socket, |channel, message| channel == 0 && message["type"] == "welcome").await;
    socket
}

/// Sends a control message as any client would: type 1, no flags, channel and offset as varints, JSON.
async fn say(socket: &mut Socket, channel: u8, message: &Value) {
    let mut frame = vec![1, 0, channel, 0];
    frame.extend_from_slice(message.to_string().as_bytes());
    socket.send(Message::binary(frame)).await.unwrap();
}

/// The first control message this is true of.
async fn heard(socket: &mut Socket, wanted: impl Fn(u32, &Value) -> bool) -> Value {
    let reading = async {
        loop {
            let Some(Ok(Message::Binary(bytes))) = socket.next().await else { panic!("the socket ended") };
            for frame in lap_wire::frame::frames(&bytes).map(Result::unwrap) {
                let message = serde_json::from_slice(frame.payload).unwrap_or_default();
                if frame.kind == lap_wire::frame::FrameType::Control && wanted(frame.channel.0, &message) {
                    return message;
                }
            }
        }
    };
    timeout(PATIENCE, reading).await.unwrap()
}

/// The acknowledgement of the last bytes is not sent with something else, for nothing else comes: it must go by itself.
#[tokio::test]
async fn the_last_bytes_are_acknowledged_though_nothing_follows() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let id = api.ready_session(&agent).await;
    // On the same machine no heartbeat comes for minutes.
    let endpoint = Endpoint {
        url: api.url.clone(),
        credentials: Credentials::Bearer(KEY.to_owned()),
        socket: None,
        same_machine: true,
    };
    let mut client = AttachClient::to("test", endpoint);
    let channel = new_channel();
    client.command(Command::Open { channel, spec: ChannelSpec::new(&id, Mode::Interact) }).unwrap();
    client.command(Command::Input { channel, bytes: "echo mark-$((40+2))\r".into(), reply: false }).unwrap();
    // In a task of its own: nothing but its own timer may wake it.
    let (printed, seen) = oneshot::channel();
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        let (mut text, mut printed) = (Vec::new(), Some(printed));
        loop {
            let Event::Channel(_, ChannelEvent::Output { offset, bytes }) = client.next().await else {
                continue;
            };
            text.extend_from_slice(&bytes);
            if text.windows(7).any(|window| window == b"mark-42")
                && let Some(printed) = printed.take()
            {
                printed.send(()).unwrap();
            }
            client.command(Command::Processed { channel, offset: offset + bytes.len() as u64 }).unwrap();
        }
    });
    timeout(PATIENCE, seen).await.unwrap().unwrap();
    let acknowledged = async {
        while !api.get("/api/v1/metrics").await.text.contains("attach_in_flight_bytes 0") {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, acknowledged).await.expect("what was processed is acknowledged");
    drop(reading);
    api.delete(&format!("{AGENTS}/{agent}")).await;
}

/// Reads events of a channel until one is what is waited for.
async fn until_event<T>(client: &mut AttachClient, mut wanted: impl FnMut(ChannelEvent) -> Option<T>) -> T {
    let reading = async {
        loop {
            if let Event::Channel(channel, event) = client.next().await {
                if let ChannelEvent::Output { offset, bytes } = &event {
                    let offset = offset + bytes.len() as u64;
                    client.command(Command::Processed { channel, offset }).unwrap();
                }
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("what was waited for")
}

/// A wall of colours is a snapshot far larger than what may be in flight at first: it comes all the same, to somebody
/// who only looks.
#[tokio::test]
async fn a_screen_of_nine_thousand_colours_comes_whole_with_no_key_pressed() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let id = api.ready_session(&agent).await;
    let endpoint = || Endpoint {
        url: api.url.clone(),
        socket: None,
        credentials: Credentials::Bearer(KEY.into()),
        same_machine: false,
    };
    let size = Some(Size { cols: 180, rows: 50 });
    let mut painter = AttachClient::to("painter", endpoint());
    let channel = new_channel();
    let spec = ChannelSpec { size, ..ChannelSpec::new(&id, Mode::Interact) };
    painter.command(Command::Open { channel, spec }).unwrap();
    let paint = "awk 'BEGIN { for (i = 0; i < 8500; i++) printf \"\\033[38;2;%d;%d;%d;48;2;%d;%d;%dm#\", \
        i % 251, i % 241, i % 239, i % 233, i % 229, i % 227 }'; echo; echo painted-$((40+2)); sleep 1000\r";
    painter.command(Command::Input { channel, bytes: paint.into(), reply: false }).unwrap();
    let mut tail = Vec::new();
    until_event(&mut painter, |event| {
        if let ChannelEvent::Output { bytes, .. } = event {
            tail.extend_from_slice(&bytes);
            tail.drain(..tail.len().saturating_sub(8 * 1024));
        }
        tail.windows(10).any(|window| window == b"painted-42").then_some(())
    })
    .await;

    let mut watcher = AttachClient::to("watcher", endpoint());
    let spec = ChannelSpec::new(&id, Mode::View);
    watcher.command(Command::Open { channel: new_channel(), spec }).unwrap();
    let screen = until_event(&mut watcher, |event| match event {
        ChannelEvent::Snapshot { bytes, .. } => Some(bytes),
        _ => None,
    })
    .await;
    assert!(screen.len() > 150_000, "{} bytes", screen.len());
    until_event(&mut watcher, |event| matches!(event, ChannelEvent::Ready).then_some(())).await;
    api.delete(&format!("{AGENTS}/{agent}")).await;
}

/// A restarted session is the same session in another sandbox: whoever looked is told, and whoever comes finds the new
/// terminal.
#[tokio::test]
async fn a_restarted_sessions_terminal_is_the_new_one() {
    let api = Api::start().await;
    let agent = api.agent("worker").await;
    let id = api.ready_session(&agent).await;
    let tty = format!("{SESSIONS}/{id}/tty?token={KEY}");
    for round in 0..3 {
        let mut before = open(&api, &tty, &[]).await.unwrap();
        before.send(Message::text(format!("echo mark-$((round+{round}))\r"))).await.unwrap();
        until(&mut before, &format!("mark-{round}")).await;
        let restarted = api.send(api.request(Method::POST, &format!("{SESSIONS}/{id}/restart"))).await;
        assert_eq!(restarted.status, StatusCode::OK, "{}", restarted.text);
        let told = async {
            loop {
                match before.next().await {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                }
            }
        };
        timeout(PATIENCE, told).await.expect("who looked at the old terminal is told that it is gone");
        let ready =
            api.until(&id, |session| session["status"] == "ready" && session["recording"] == true).await;
        assert_ne!(ready["attention"], "exited", "{ready:#}");
    }
    let mut after = open(&api, &tty, &[]).await.unwrap();
    after.send(Message::text("echo after-$((40+2))\r")).await.unwrap();
    until(&mut after, "after-42").await;
    api.delete(&format!("{AGENTS}/{agent}")).await;
}
