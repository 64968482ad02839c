use super::harness::{Answered, Request, Server, request};
use crate::event::{Operation, Outcome};
use crate::model::{ByteRange, ETagHash};
use crate::s3::name;

const TAG_OF_HELLO: &str = "\"5d41402abc4b2a76b9719d911017c592\"";

fn with_hello() -> Server {
    let server = Server::new();
    let put = request("PUT /bkt/a%20key")
        .with("Content-Type", "text/plain")
        .with("X-Amz-Meta-Who", "me")
        .with("Content-Encoding", "aws-chunked")
        .body("hello");
    assert_eq!(server.send(&put).status, 200);
    server
}

fn get() -> Request {
    request("GET /bkt/a%20key")
}

#[test]
fn what_is_put_is_got() {
    let server = with_hello();
    let got = server.send(&get());
    assert_eq!((got.status, got.text()), (200, "hello"));
    for (name, value) in [
        ("ETag", Some(TAG_OF_HELLO)),
        ("Content-Type", Some("text/plain")),
        ("x-amz-meta-who", Some("me")),
        ("Accept-Ranges", Some("bytes")),
        ("Last-Modified", Some("Wed, 01 Jan 2020 00:00:00 GMT")),
        ("Content-Encoding", None),
        ("Content-Range", None),
        ("x-amz-checksum-crc64nvme", None),
    ] {
        assert_eq!(got.header(name), value, "{name}");
    }
    let outline = got.outline;
    assert_eq!((outline.operation, outline.outcome), (Operation::Get, Outcome::Ok));
    assert_eq!(outline.container_hash, name::hash("bkt"));
    assert_eq!(outline.key_hash, name::hash("a key"));
    assert_eq!(outline.range, Some(ByteRange::whole(5)));

    let head = server.send(&request("HEAD /bkt/a%20key").with("x-amz-checksum-mode", "ENABLED"));
    assert_eq!((head.status, head.body.len(), head.length), (200, 0, 5));
    assert!(head.header("x-amz-checksum-crc64nvme").is_some());
    assert_eq!(head.header("x-amz-checksum-type"), Some("FULL_OBJECT"));

    let virtual_host = request("GET /a%20key").with("Host", "bkt.s3.test");
    assert_eq!(server.send(&virtual_host).text(), "hello");
    let missing = server.send(&request("GET /bkt/none"));
    assert_eq!(missing.error(), (404, "NoSuchKey"));
    assert_eq!(missing.element("Key"), Some("none"));
    assert_eq!(server.send(&request("HEAD /bkt/none")).body.len(), 0);
}

/// A tag that is no MD5 must not look like one: clients would check it.
#[test]
fn tags_of_crc64() {
    let server = Server::with_etag(ETagHash::Crc64);
    let put = |body: &str| request("PUT /bkt/a%20key").body(body);
    let answer = server.send(&put("hello"));
    let tag = answer.header("ETag").expect("a tag").to_owned();
    // "123456789" has the check value of the CRC catalogue.
    assert_eq!(
        server.send(&put("123456789")).header("ETag"),
        Some("\"ae8b14860a7998880000000000000009-1\"")
    );
    assert_eq!(server.send(&put("hello")).header("ETag"), Some(&tag[..]), "the same bytes");
    assert_eq!(server.send(&get()).header("ETag"), Some(&tag[..]));
    assert_eq!(server.send(&get().with("If-None-Match", &tag)).status, 304);
    let copy = request("PUT /bkt/copy").with("x-amz-copy-source", "/bkt/a%20key");
    assert_eq!(server.send(&copy).status, 200);
    assert_eq!(server.send(&request("HEAD /bkt/copy")).header("ETag"), Some(&tag[..]));
    // What a client promises is checked all the same.
    let right = put("hello").with("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg==");
    assert_eq!(server.send(&right).header("ETag"), Some(&tag[..]));
    let wrong = put("hallo").with("Content-MD5", "XUFAKrxLKna5cZ2REBfFkg==");
    assert_eq!(server.send(&wrong).error(), (400, "BadDigest"));
}

#[test]
fn a_named_checksum_is_computed() {
    let server = Server::new();
    let put = request("PUT /bkt/k").with("x-amz-checksum-algorithm", "CRC32").body("hello");
    let put = server.send(&put);
    assert_eq!((put.status, put.header("x-amz-checksum-crc32")), (200, Some("NhCmhg==")));
    let head = server.send(&request("HEAD /bkt/k").with("x-amz-checksum-mode", "ENABLED"));
    assert_eq!(head.header("x-amz-checksum-crc32"), Some("NhCmhg=="));
    let unheard = request("PUT /bkt/k").with("x-amz-checksum-algorithm", "CRC7");
    assert_eq!(server.send(&unheard).error(), (400, "InvalidRequest"));
}

#[test]
fn keys_are_kept_as_they_are() {
    let server = Server::new();
    for (path, key) in
        [("..", ".."), ("a//b", "a//b"), ("%2Fx", "/x"), ("%F0%9F%A6%80", "🦀"), ("a+b", "a+b")]
    {
        assert_eq!(server.send(&request(&format!("PUT /bkt/{path}")).body(key)).status, 200);
        assert_eq!(server.send(&request(&format!("GET /bkt/{path}"))).text(), key);
    }
    let long = "k".repeat(1024);
    assert_eq!(server.send(&request(&format!("PUT /bkt/{long}"))).status, 200);
    let longer = server.send(&request(&format!("PUT /bkt/{long}k")));
    assert_eq!(longer.error(), (400, "KeyTooLongError"));
    assert_eq!(server.send(&request("PUT /bkt/a%00b")).status, 400);
    assert_eq!(server.send(&request("PUT /bkt/%ff")).error(), (400, "InvalidURI"));
}

#[test]
fn ranges() {
    let server = with_hello();
    let ranged = |range: &str| server.send(&get().with("Range", range));
    for (range, text, content_range) in [
        ("bytes=1-3", "ell", "bytes 1-3/5"),
        ("bytes=3-", "lo", "bytes 3-4/5"),
        ("bytes=-2", "lo", "bytes 3-4/5"),
        ("bytes=0-99", "hello", "bytes 0-4/5"),
    ] {
        let got = ranged(range);
        assert_eq!((got.status, got.text()), (206, text));
        assert_eq!(got.header("Content-Range"), Some(content_range));
    }
    assert_eq!(ranged("bytes=1-3").outline.range, Some(ByteRange { offset: 1, length: 3 }));
    assert_eq!((ranged("chars=1-2").status, ranged("bytes=0-1,3-4").status), (200, 200));
    let outside = ranged("bytes=5-");
    assert_eq!(outside.error(), (416, "InvalidRange"));
    assert_eq!(outside.header("Content-Range"), Some("bytes */5"));
    let head = server.send(&request("HEAD /bkt/a%20key").with("Range", "bytes=1-2"));
    assert_eq!((head.status, head.length), (206, 2));
    let both = request("GET /bkt/a%20key?partNumber=1").with("Range", "bytes=1-2");
    assert_eq!(server.send(&both).error(), (400, "InvalidRequest"));
    let part = server.send(&request("GET /bkt/a%20key?partNumber=2"));
    assert_eq!(part.error(), (416, "InvalidPartNumber"));
    let partial = ranged("bytes=0-1");
    assert_eq!(partial.header("x-amz-checksum-crc64nvme"), None);
}

#[test]
fn conditions_of_reads() {
    let server = with_hello();
    let with = |name: &str, value: &str| server.send(&get().with(name, value));
    assert_eq!(with("If-Match", TAG_OF_HELLO).status, 200);
    assert_eq!(with("If-Match", "\"other\"").error(), (412, "PreconditionFailed"));
    let current = with("If-None-Match", TAG_OF_HELLO);
    assert_eq!((current.status, current.body.len()), (304, 0));
    assert_eq!(current.header("ETag"), Some(TAG_OF_HELLO));
    assert_eq!(current.outline.outcome, Outcome::Ok);
    assert_eq!(with("If-Modified-Since", "Wed, 01 Jan 2020 00:00:00 GMT").status, 304);
    assert_eq!(with("If-Unmodified-Since", "Tue, 31 Dec 2019 23:59:59 GMT").status, 412);
    // A tag that fits outweighs the date.
    let both = get()
        .with("If-Match", TAG_OF_HELLO)
        .with("If-Unmodified-Since", "Tue, 31 Dec 2019 23:59:59 GMT");
    assert_eq!(server.send(&both).status, 200);
}

#[test]
fn answers_can_be_overridden() {
    let server = with_hello();
    let got = server.send(&request(
        "GET /bkt/a%20key?response-content-type=a%2Fb&response-content-disposition=inline&versionId=null",
    ));
    assert_eq!(got.header("Content-Type"), Some("a/b"));
    assert_eq!(got.header("Content-Disposition"), Some("inline"));
    assert_eq!(got.header("x-amz-version-id"), Some("null"));
    let other = server.send(&request("GET /bkt/a%20key?versionId=abc"));
    assert_eq!(other.error(), (404, "NoSuchVersion"));
    assert_eq!(server.send(&request("PUT /bkt/k?versionId=null")).status, 400);
}

#[test]
fn writes_have_conditions() {
    let server = Server::new();
    let put = |name: &str, value: &str| {
        server.send(&request("PUT /bkt/k").with(name, value).body("hello"))
    };
    assert_eq!(put("If-Match", TAG_OF_HELLO).error(), (404, "NoSuchKey"));
    assert_eq!(put("If-None-Match", "*").status, 200);
    let second = put("If-None-Match", "*");
    assert_eq!(second.error(), (412, "PreconditionFailed"));
    assert_eq!(second.element("Condition"), Some("If-None-Match"));
    assert_eq!(put("If-Match", TAG_OF_HELLO).status, 200);
    assert_eq!(put("If-Match", "\"x\"").error(), (412, "PreconditionFailed"));
    assert_eq!(put("If-None-Match", TAG_OF_HELLO).error(), (501, "NotImplemented"));
    let delete =
        |value: &str| server.send(&request("DELETE /bkt/k").with("If-Match", value)).status;
    assert_eq!((delete("\"x\""), delete(TAG_OF_HELLO)), (412, 204));
    assert_eq!(delete("*"), 404);
    assert_eq!(server.send(&request("DELETE /bkt/k")).status, 204);
}

#[test]
fn damaged_bodies_leave_nothing() {
    let server = Server::new();
    let put = |request: Request| server.send(&request);
    let md5 = request("PUT /bkt/k").with("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==").body("hello");
    assert_eq!(put(md5).error(), (400, "BadDigest"));
    let crc = request("PUT /bkt/k").with("x-amz-checksum-crc32", "AAAAAA==").body("hello");
    assert_eq!(put(crc).error(), (400, "BadDigest"));
    let short = put(request("PUT /bkt/k").body("hello").length(6));
    assert_eq!(short.error(), (400, "IncompleteBody"));
    assert!(short.close);
    let large = put(request("PUT /bkt/k").length(33 << 20));
    assert_eq!((large.error(), large.close), ((400, "EntityTooLarge"), true));
    assert_eq!(server.send(&request("GET /bkt/k")).status, 404);
    let good = request("PUT /bkt/k").body("hello").md5().with("x-amz-checksum-crc32", "NhCmhg==");
    let good = put(good);
    assert_eq!((good.status, good.header("x-amz-checksum-crc32")), (200, Some("NhCmhg==")));
}

#[test]
fn copies() {
    let server = with_hello();
    let copy = |to: &str, fields: &[(&str, &str)]| -> Answered {
        let mut put =
            request(&format!("PUT {to}")).with("x-amz-copy-source", "/bkt/a%20key?versionId=null");
        for (name, value) in fields {
            put = put.with(name, value);
        }
        server.send(&put)
    };
    let made = copy("/bkt/copy", &[]);
    assert_eq!((made.status, made.outline.operation), (200, Operation::Copy));
    assert_eq!(made.element("ETag"), Some(&*TAG_OF_HELLO.replace('"', "&quot;")));
    let got = server.send(&request("GET /bkt/copy"));
    assert_eq!((got.text(), got.header("x-amz-meta-who")), ("hello", Some("me")));
    let replaced = [("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-new", "1")];
    assert_eq!(copy("/bkt/a%20key", &[]).error(), (400, "InvalidRequest"));
    assert_eq!(copy("/bkt/a%20key", &replaced).status, 200);
    let got = server.send(&get());
    assert_eq!((got.header("x-amz-meta-who"), got.header("x-amz-meta-new")), (None, Some("1")));
    let failed = [("x-amz-copy-source-if-match", "\"x\"")];
    assert_eq!(copy("/bkt/copy", &failed).error(), (412, "PreconditionFailed"));
    let same = [("x-amz-copy-source-if-none-match", TAG_OF_HELLO)];
    assert_eq!(copy("/bkt/copy", &same).error(), (412, "PreconditionFailed"));
    let absent = [("If-None-Match", "*")];
    assert_eq!(copy("/bkt/copy", &absent).error(), (412, "PreconditionFailed"));
    assert_eq!(copy("/bkt/new", &absent).status, 200);
    let missing = request("PUT /bkt/copy").with("x-amz-copy-source", "bkt/none");
    let missing = server.send(&missing);
    assert_eq!((missing.error(), missing.element("Key")), ((404, "NoSuchKey"), Some("none")));
    assert_eq!(copy("/none/copy", &[]).error(), (404, "NoSuchBucket"));
}

#[test]
fn attributes_tags_and_locks() {
    let server = with_hello();
    let asked = request("GET /bkt/a%20key?attributes")
        .with("x-amz-object-attributes", "ETag,ObjectSize")
        .with("x-amz-object-attributes", "Checksum");
    let told = server.send(&asked);
    assert_eq!((told.status, told.element("ObjectSize")), (200, Some("5")));
    assert_eq!(told.element("ETag"), Some(TAG_OF_HELLO.trim_matches('"')));
    assert!(told.element("ChecksumCRC64NVME").is_some() && told.element("StorageClass").is_none());
    assert_eq!(server.send(&request("GET /bkt/a%20key?attributes")).status, 400);
    assert_eq!(server.send(&request("GET /bkt/a%20key?tagging")).element("TagSet"), Some(""));
    assert_eq!(server.send(&request("GET /bkt/none?acl")).error(), (404, "NoSuchKey"));
    assert_eq!(server.send(&request("GET /bkt/a%20key?retention")).status, 400);
}
