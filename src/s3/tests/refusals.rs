use super::harness::{Server, request};
use crate::context::RequestId;
use crate::event::{Operation, Outcome};
use crate::http::ResponseBody;
use crate::s3::error::Code;
use crate::s3::refuse;

#[test]
fn nobody_gets_in_unsigned() {
    let server = Server::new();
    let unsigned = server.send_unsigned(&request("GET /bkt").with("Host", "localhost"));
    assert_eq!(unsigned.error(), (403, "AccessDenied"));
    assert_eq!(unsigned.outline.outcome, Outcome::Denied);
    assert_eq!(unsigned.outline.operation, Operation::List);
    let stranger = server.send_as("nobody", &request("GET /bkt"));
    assert_eq!(stranger.error(), (403, "InvalidAccessKeyId"));
    // What is wrong with the request is only told to those who may ask.
    let both = server.send_unsigned(&request("PUT /bkt/%ff").with("Host", "localhost"));
    assert_eq!(both.status, 403);
}

#[test]
fn what_is_not_implemented_changes_nothing() {
    let server = Server::new();
    for (name, value) in [
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-acl", "public-read"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-grant-read", "id=1"),
        ("x-amz-write-offset-bytes", "0"),
        ("If-Modified-Since", "Wed, 01 Jan 2020 00:00:00 GMT"),
        ("Content-Range", "bytes 0-1/9"),
        ("x-amz-copy-source-if-match", "x"),
    ] {
        let put = server.send(&request("PUT /bkt/k").with(name, value).body("x"));
        assert_eq!(put.error(), (501, "NotImplemented"), "{name}");
    }
    for line in ["PUT /bkt/k?tagging", "POST /bkt/k?select", "PUT /bkt/k?unheard", "POST /bkt"] {
        assert_eq!(
            server.send(&request(line).body("x")).error(),
            (501, "NotImplemented"),
            "{line}"
        );
    }
    assert_eq!(server.send(&request("GET /bkt/k")).status, 404);
    assert_eq!(server.send(&request("PATCH /bkt/k")).error(), (405, "MethodNotAllowed"));
    let class = server.send(&request("PUT /bkt/k").with("x-amz-storage-class", "COLD"));
    assert_eq!(class.error(), (400, "InvalidStorageClass"));
    let large = server.send(&request("PUT /bkt/k").with("x-amz-meta-a", &"v".repeat(2048)));
    assert_eq!(large.error(), (400, "MetadataTooLarge"));
}

#[test]
fn documents_are_paid_for_from_the_byte_budget() {
    let server = Server::with_memory(64 << 10);
    let key = "k".repeat(1000);
    let delete = |count: usize| {
        let objects = format!("<Object><Key>{key}</Key></Object>").repeat(count);
        let document = format!("<Delete>{objects}</Delete>");
        server.send(&request("POST /bkt?delete").body(document).md5())
    };
    assert_eq!(server.send(&request(&format!("PUT /bkt/{key}")).body("x")).status, 200);
    assert_eq!(delete(40).error(), (503, "SlowDown"));
    assert_eq!(server.send(&request(&format!("HEAD /bkt/{key}"))).status, 200);
    // What was reserved for it is free again.
    assert_eq!(server.send(&request("GET /bkt")).elements("Key"), [&*key]);
    assert_eq!(delete(10).status, 200);
    assert_eq!(server.send(&request(&format!("HEAD /bkt/{key}"))).status, 404);

    for number in 0..50 {
        let put = request(&format!("PUT /bkt/{number:02}{}", "%F0%9F%A6%80".repeat(200)));
        assert_eq!(server.send(&put).status, 200);
    }
    assert_eq!(server.send(&request("GET /bkt?encoding-type=url")).error(), (503, "SlowDown"));
    assert_eq!(server.send(&request("GET /bkt?encoding-type=url&max-keys=5")).status, 200);
}

#[test]
fn a_connection_ends_only_if_it_must() {
    let server = Server::new();
    let refused = |length| request("PUT /bkt/k?tagging").body("x".repeat(length));
    assert!(!server.send(&refused(1000)).close);
    assert!(server.send(&refused(100_000)).close);
    let waiting = refused(10).with("Expect", "100-continue");
    assert!(server.send(&waiting).close);
    let taken = request("PUT /bkt/k").body("x".repeat(100_000)).with("Expect", "100-continue");
    assert!(!server.send(&taken).close);
}

#[test]
fn the_connection_has_refusals_of_its_own() {
    let response = refuse(RequestId(1), Code::RequestHeaderSectionTooLarge, true);
    assert_eq!((response.status, response.close), (400, true));
    let ResponseBody::Bytes(body) = response.body else { panic!("a body") };
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains("<Code>RequestHeaderSectionTooLarge</Code>"), "{body}");
    assert!(body.contains("<RequestId>0000000000000001</RequestId>"), "{body}");
}
