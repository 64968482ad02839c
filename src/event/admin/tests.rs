use super::*;
use crate::event::aggregate::{self, AggregatorHandle};
use crate::event::{AdminState, rings};

fn started() -> (Arc<AdminState>, AggregatorHandle) {
    let (_, collector) = rings(1, 8);
    let state = Arc::new(AdminState::new(1));
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let handle = aggregate::start(collector, listener, state.clone(), false).unwrap();
    (state, handle)
}

fn exchange(handle: &AggregatorHandle, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(handle.admin_address()).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn get(handle: &AggregatorHandle, path: &str) -> (u16, String) {
    let answer = exchange(handle, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head["HTTP/1.1 ".len()..][..3].parse().unwrap(), body.to_owned())
}

#[test]
fn readiness_follows_the_state() {
    let (state, handle) = started();
    assert_eq!(get(&handle, "/readyz"), (503, "starting\n".to_owned()));
    assert_eq!(get(&handle, "/healthz"), (200, "ok\n".to_owned()));
    state.set_ready();
    assert_eq!(get(&handle, "/readyz?verbose"), (200, "ready\n".to_owned()));
    state.set_read_only(0, true);
    assert_eq!(get(&handle, "/readyz").0, 503);
    assert_eq!(get(&handle, "/healthz").0, 200);
    state.set_read_only(0, false);
    state.set_draining();
    assert_eq!(get(&handle, "/readyz"), (503, "draining\n".to_owned()));
    assert_eq!(get(&handle, "/healthz").0, 200);
    handle.shutdown();
}

#[test]
fn other_requests_get_their_answer() {
    let (_state, handle) = started();
    assert_eq!(get(&handle, "/").0, 404);
    assert_eq!(get(&handle, "/metrics/x").0, 404);
    let status = |request: &[u8]| exchange(&handle, request)["HTTP/1.1 ".len()..][..3].to_owned();
    assert_eq!(status(b"POST /metrics HTTP/1.1\r\n\r\n"), "405");
    assert_eq!(status(b"hello\r\n\r\n"), "400");
    assert_eq!(status(b"GET /metrics SPDY/1\r\n\r\n"), "400");
    assert_eq!(status(b"GET /\xff HTTP/1.1\r\n\r\n"), "400");
    let mut long = b"GET /metrics HTTP/1.1\r\nX: ".to_vec();
    long.resize(HEAD_BYTES_MAX + 1, b'x');
    assert_eq!(status(&long), "431");
    let head = exchange(&handle, b"HEAD /healthz HTTP/1.0\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Length: 3\r\n"), "{head}");
    handle.shutdown();
}

#[test]
fn silent_clients_do_not_keep_others_waiting() {
    let (_state, handle) = started();
    let silent: Vec<TcpStream> =
        (0..WORKERS - 1).map(|_| TcpStream::connect(handle.admin_address()).unwrap()).collect();
    let began = now();
    assert_eq!(get(&handle, "/healthz").0, 200);
    assert!(began.elapsed() < PATIENCE, "it waited for the silent ones");
    drop(silent);
    handle.shutdown();
}

#[test]
fn a_port_in_use_is_said_so() {
    let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = first.local_addr().unwrap();
    assert_eq!(
        bind(address).unwrap_err().to_string(),
        format!(
            "the administration port {address} is in use by another process; choose another with --admin"
        )
    );
}

#[test]
fn after_the_shutdown_nobody_listens() {
    let (_state, handle) = started();
    let address = handle.admin_address();
    handle.shutdown();
    assert!(TcpStream::connect(address).is_err());
    assert!(bind(address).is_ok());
}
