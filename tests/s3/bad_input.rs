//! Bad input: each kind gets its clear answer, stores nothing, and the server serves on.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;

use crate::harness::{SECRET_ACCESS_KEY, Server, command, command_on};
use crate::sign::{Raw, exchange, hex, mac, read_answer, signing_key};

/// Asserts the status and, if not empty, the code in the body.
#[track_caller]
fn refused(answer: &str, status: u16, code: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "want {status} {code}: {answer}");
    assert!(
        code.is_empty() || answer.contains(&format!("<Code>{code}</Code>")),
        "{code}: {answer}"
    );
}

fn server_with_bucket() -> Server {
    let server = Server::start();
    refused(&Raw::new("PUT", "/box").header("content-length", "0").send(&server, b""), 200, "");
    server
}

fn put(target: &str, length: usize) -> Raw {
    Raw::new("PUT", target).header("content-length", length.to_string())
}

#[track_caller]
fn assert_empty(server: &Server) {
    let list = Raw::new("GET", "/box?list-type=2").send(server, b"");
    refused(&list, 200, "");
    assert!(list.contains("<KeyCount>0</KeyCount>"), "{list}");
}

#[tokio::test]
async fn who_asks_is_checked() {
    let server = server_with_bucket();
    let mut wrong = put("/box/k", 1);
    wrong.secret = "not-the-secret-access-key";
    refused(&wrong.send(&server, b"x"), 403, "SignatureDoesNotMatch");
    let mut stale = put("/box/k", 1);
    stale.age = Duration::from_secs(3600);
    refused(&stale.send(&server, b"x"), 403, "RequestTimeTooSkewed");
    let stranger = server.client_with("nobody", SECRET_ACCESS_KEY);
    let error = stranger.list_buckets().send().await.expect_err("unknown");
    assert_eq!(error.code(), Some("InvalidAccessKeyId"));
    let anonymous = exchange(&server, b"GET /box/k HTTP/1.1\r\nHost: localhost\r\n\r\n");
    refused(&anonymous, 403, "AccessDenied");
    assert_empty(&server);
}

#[test]
fn bodies_are_checked() {
    let server = server_with_bucket();
    for (header, value, code) in [
        ("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==", "BadDigest"),
        ("content-md5", "nonsense", "InvalidDigest"),
        ("x-amz-checksum-crc32", "AAAAAA==", "BadDigest"),
        ("x-amz-checksum-crc32c", "AAAAAA==", "BadDigest"),
        ("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=", "BadDigest"),
        ("x-amz-checksum-sha1", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "BadDigest"),
        ("x-amz-checksum-sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "BadDigest"),
    ] {
        let raw = put("/box/k", 3).header(header, value);
        refused(&raw.send(&server, b"abc"), 400, code);
    }
    let mut signed = put("/box/k", 3);
    signed.payload_hash = "0".repeat(64);
    refused(&signed.send(&server, b"abc"), 400, "XAmzContentSHA256Mismatch");
    assert_empty(&server);
}

#[test]
fn a_short_body_stores_nothing() {
    let server = server_with_bucket();
    for length in [100, 100_000, 10_000_000] {
        let (head, _) = put("/box/k", length).head(&server);
        let mut stream = TcpStream::connect(&server.address).expect("it listens");
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(&vec![7; length / 2]).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("half closed");
        let answer = read_answer(&mut stream);
        assert!(answer.is_empty() || answer.contains("IncompleteBody"), "{answer}");
    }
    assert_empty(&server);
}

#[test]
fn chunk_signatures_are_checked() {
    let server = server_with_bucket();
    let mut raw = Raw::new("PUT", "/box/k").header("x-amz-decoded-content-length", "5");
    raw.payload_hash = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".into();
    let send = |good: bool| {
        let stamp = crate::sign::timestamp(std::time::SystemTime::now());
        let scope = format!("{}/us-east-1/s3/aws4_request", &stamp[..8]);
        let key = signing_key(SECRET_ACCESS_KEY, &stamp[..8]);
        let empty = hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"").as_ref());
        let chunk = |previous: &str, data: &[u8]| {
            let hash = hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data).as_ref());
            let text =
                format!("AWS4-HMAC-SHA256-PAYLOAD\n{stamp}\n{scope}\n{previous}\n{empty}\n{hash}");
            hex(&mac(&key, text.as_bytes()))
        };
        // The chunks carry the date of the head, so sign again until no second passed between.
        let body_length = 5 + 1 + ";chunk-signature=".len() + 64 + 4 + 1 + 17 + 64 + 4;
        let mut request = Raw::new("PUT", "/box/k")
            .header("x-amz-decoded-content-length", "5")
            .header("content-length", body_length.to_string());
        request.payload_hash.clone_from(&raw.payload_hash);
        let (head, seed) = request.head(&server);
        if !head.contains(&stamp) {
            return None;
        }
        let first = chunk(&seed, b"hello");
        let last = chunk(&first, b"");
        let data = if good { "hello" } else { "hullo" };
        let body =
            format!("5;chunk-signature={first}\r\n{data}\r\n0;chunk-signature={last}\r\n\r\n");
        Some(exchange(&server, format!("{head}{body}").as_bytes()))
    };
    let bad =
        std::iter::repeat_with(|| send(false)).take(10).flatten().next().expect("in a second");
    refused(&bad, 403, "SignatureDoesNotMatch");
    assert_empty(&server);
    let good =
        std::iter::repeat_with(|| send(true)).take(10).flatten().next().expect("in a second");
    refused(&good, 200, "");
}

#[test]
fn names_are_checked() {
    let server = server_with_bucket();
    refused(&put(&format!("/box/{}", "k".repeat(1024)), 0).send(&server, b""), 200, "");
    let long = put(&format!("/box/{}", "k".repeat(1025)), 0);
    refused(&long.send(&server, b""), 400, "KeyTooLongError");
    for bad in ["/box/a%00b", "/box/%FF%FE"] {
        let answer = put(bad, 0).send(&server, b"");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{bad}: {answer}");
    }
    refused(&put("/Not_A_Bucket", 0).send(&server, b""), 400, "InvalidBucketName");
    let list = Raw::new("GET", "/box?list-type=2").send(&server, b"");
    assert!(list.contains("<KeyCount>1</KeyCount>"), "{list}");
}

#[test]
fn odd_names_stay_what_they_are() {
    let server = server_with_bucket();
    // A name is a string and no path: nothing is resolved, and nothing leads out of the data folder.
    let names = ["..", "../../escaped", "/", "//", "a/./b", "a//b", "dir/", "%F0%9F%A6%80"];
    for name in names {
        let target = format!("/box/{name}");
        refused(&put(&target, name.len()).send(&server, name.as_bytes()), 200, "");
    }
    for name in names {
        let answer = Raw::new("GET", format!("/box/{name}")).send(&server, b"");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(name), "{name}: {answer}");
    }
    let list = Raw::new("GET", "/box?list-type=2").send(&server, b"");
    assert!(list.contains(&format!("<KeyCount>{}</KeyCount>", names.len())), "{list}");
    for key in ["..", "../../escaped", "/", "//", "🦀"] {
        assert!(list.contains(&format!("<Key>{key}</Key>")), "{key}: {list}");
    }
    let around = server.folder.path().parent().expect("a parent").join("escaped");
    assert!(!around.exists() && !server.folder.path().join("escaped").exists());
    for bad in ["/..", "/../k", "/%2e%2e/k"] {
        let answer = put(bad, 0).send(&server, b"");
        assert!(answer.starts_with("HTTP/1.1 4"), "{bad}: {answer}");
    }
}

#[test]
fn documents_are_checked() {
    let server = server_with_bucket();
    // Nothing of one that is too large is read, nor asked for.
    let huge = Raw::new("POST", "/box?delete=")
        .header("content-length", (100 << 20).to_string())
        .header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==");
    let (head, _) = huge.header("expect", "100-continue").head(&server);
    refused(&exchange(&server, head.as_bytes()), 400, "EntityTooLarge");
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE d [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>\
                <Delete><Object><Key>&b;</Key></Object></Delete>";
    let md5 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bomb.as_bytes());
    let mut raw = Raw::new("POST", "/box?delete=").header("content-length", bomb.len().to_string());
    raw.payload_hash = hex(md5.as_ref());
    use base64_simd::STANDARD;
    let sum = STANDARD.encode_to_string(md5.as_ref());
    let raw = raw.header("x-amz-checksum-sha256", sum);
    refused(&raw.send(&server, bomb.as_bytes()), 400, "MalformedXML");
    refused(&Raw::new("GET", "/box?list-type=2").send(&server, b""), 200, "");
}

#[test]
fn what_is_not_implemented_changes_nothing() {
    let server = server_with_bucket();
    for header in [
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-acl", "public-read"),
        ("x-amz-write-offset-bytes", "0"),
    ] {
        let answer = put("/box/k", 1).header(header.0, header.1).send(&server, b"x");
        refused(&answer, 501, "NotImplemented");
    }
    refused(&put("/box?versioning=", 0).send(&server, b""), 501, "NotImplemented");
    refused(&put("/box/k?retention=", 0).send(&server, b""), 501, "NotImplemented");
    assert_empty(&server);
}

#[test]
fn malformed_http_is_answered_and_closed() {
    let server = server_with_bucket();
    for bytes in [
        "NONSENSE\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
            .into(),
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".into(),
        "GET / HTTP/1.1\r\n\r\n".into(),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(1 << 20)),
    ] {
        let answer = exchange(&server, bytes.as_bytes());
        let start = &bytes[..bytes.len().min(60)];
        assert!(answer.starts_with("HTTP/1.1 400 "), "{start}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{start}: {answer}");
    }
    refused(&Raw::new("GET", "/box?list-type=2").send(&server, b""), 200, "");
}

#[test]
fn continue_is_sent_before_the_body_is_read_and_not_before_a_refusal() {
    let server = server_with_bucket();
    let (head, _) = put("/box/k", 3).header("expect", "100-continue").head(&server);
    let mut stream = TcpStream::connect(&server.address).expect("it listens");
    stream.write_all(head.as_bytes()).expect("sent");
    refused(&read_answer(&mut stream), 100, "");
    stream.write_all(b"abc").expect("sent");
    refused(&read_answer(&mut stream), 200, "");
    let (head, _) = put("/no-such-box/k", 3).header("expect", "100-continue").head(&server);
    let answer = exchange(&server, head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 404 ") || answer.starts_with("HTTP/1.1 100 "), "{answer}");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = server_with_bucket();
    let (first, _) = put("/box/one", 3).head(&server);
    let (second, _) = Raw::new("GET", "/box/one").head(&server);
    let (third, _) = Raw::new("HEAD", "/box/none").head(&server);
    let mut stream = TcpStream::connect(&server.address).expect("it listens");
    stream.write_all(format!("{first}abc{second}{third}").as_bytes()).expect("sent");
    refused(&read_answer(&mut stream), 200, "");
    let got = read_answer(&mut stream);
    assert!(got.starts_with("HTTP/1.1 200 ") && got.ends_with("\r\n\r\nabc"), "{got}");
}

#[test]
fn slow_clients_do_not_stop_the_others() {
    let server = server_with_bucket();
    let slow: Vec<_> = (0..200)
        .map(|n| {
            let (head, _) = put(&format!("/box/slow-{n}"), 10 << 20).head(&server);
            let mut stream = TcpStream::connect(&server.address).expect("it listens");
            stream.write_all(head.as_bytes()).expect("sent");
            stream.write_all(b"x").expect("sent");
            stream
        })
        .collect();
    let body = vec![1; 1 << 20];
    refused(&put("/box/quick", body.len()).send(&server, &body), 200, "");
    drop(slow);
}

fn fails_to_start(mut command: Command) -> String {
    let output = command.output().expect("it ran");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let server = Server::start();
    let folder = server.folder.path().join("data");
    let second = fails_to_start(command(&folder));
    assert!(second.contains("another server") && second.contains("data"), "{second}");

    let other = tempfile::tempdir().expect("a temporary folder");
    let same_port = fails_to_start(command_on(&other.path().join("data"), &server.address));
    assert!(same_port.contains(&server.address) && same_port.contains("in use"), "{same_port}");

    let mut bad_flag = command(&other.path().join("data"));
    bad_flag.arg("--no-such-flag");
    assert!(fails_to_start(bad_flag).contains("--no-such-flag"));

    let config = other.path().join("bad.toml");
    std::fs::write(&config, "region = \"here\"\nlisten_on = 1\n").expect("written");
    let mut bad_key = command(&other.path().join("data"));
    bad_key.arg("--config").arg(&config);
    let bad_key = fails_to_start(bad_key);
    assert!(bad_key.contains("listen_on") && bad_key.contains("bad.toml:2:"), "{bad_key}");

    let file = other.path().join("a-file");
    std::fs::write(&file, "").expect("written");
    let not_a_folder = fails_to_start(command(&file));
    assert!(not_a_folder.contains("a-file"), "{not_a_folder}");
}

#[test]
fn it_stops_in_order_and_keeps_its_generated_key() {
    let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
    let mut server = Server::start_on(folder.clone(), &[]);
    assert_eq!(server.terminate(), Some(0), "{}", server.log());
    let mut server = Server::start_on(folder, &[]);
    assert_eq!(server.terminate(), Some(0), "{}", server.log());
}
