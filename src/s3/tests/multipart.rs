use super::harness::{Answered, Server, request};
use crate::event::Operation;

const PART: usize = 5 << 20;

fn create(server: &Server, fields: &[(&str, &str)]) -> String {
    let mut create = request("POST /bkt/big?uploads").with("x-amz-meta-a", "b");
    for (name, value) in fields {
        create = create.with(name, value);
    }
    let created = server.send(&create);
    assert_eq!(created.status, 200, "{}", created.text());
    created.element("UploadId").expect("an id").to_owned()
}

fn put_part(server: &Server, id: &str, number: u16, body: &[u8]) -> String {
    let line = format!("PUT /bkt/big?uploadId={id}&partNumber={number}");
    let put = server.send(&request(&line).body(body));
    assert_eq!((put.status, put.outline.operation), (200, Operation::PutPart));
    put.header("ETag").expect("a tag").trim_matches('"').to_owned()
}

fn complete(server: &Server, id: &str, parts: &[(u16, &str)], field: (&str, &str)) -> Answered {
    let parts: String = parts
        .iter()
        .map(|(n, tag)| format!("<Part><PartNumber>{n}</PartNumber><ETag>{tag}</ETag></Part>"))
        .collect();
    let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    server.send(
        &request(&format!("POST /bkt/big?uploadId={id}")).with(field.0, field.1).body(document),
    )
}

const NOTHING: (&str, &str) = ("x-nothing", "");

#[test]
fn an_upload_becomes_an_object() {
    let server = Server::new();
    let id = create(&server, &[]);
    let one = put_part(&server, &id, 1, &vec![b'1'; PART]);
    let two = put_part(&server, &id, 2, b"22");
    let listed = server.send(&request(&format!("GET /bkt/big?uploadId={id}&max-parts=1")));
    assert_eq!(listed.elements("PartNumber"), ["1"]);
    assert_eq!(listed.element("NextPartNumberMarker"), Some("1"));
    assert_eq!(listed.element("IsTruncated"), Some("true"));
    let uploads = server.send(&request("GET /bkt?uploads&prefix=bi"));
    assert_eq!((uploads.element("UploadId"), uploads.element("Key")), (Some(&*id), Some("big")));

    let parts = [(1, &*one), (2, &*two)];
    let size = ("x-amz-mp-object-size", "1");
    assert_eq!(complete(&server, &id, &parts, size).error(), (400, "InvalidRequest"));
    let swapped = [(2, &*two), (1, &*one)];
    assert_eq!(complete(&server, &id, &swapped, NOTHING).error(), (400, "InvalidPartOrder"));
    let wrong = [(1, &*two), (2, &*two)];
    assert_eq!(complete(&server, &id, &wrong, NOTHING).error(), (400, "InvalidPart"));
    assert_eq!(complete(&server, &id, &[], NOTHING).error(), (400, "MalformedXML"));

    let done = complete(&server, &id, &parts, ("If-None-Match", "*"));
    assert_eq!(done.status, 200, "{}", done.text());
    let tag = done.element("ETag").expect("a tag").replace("&quot;", "\"");
    assert!(tag.ends_with("-2\""), "{tag}");
    assert_eq!(done.element("Location"), Some("http://localhost:9000/bkt/big"));
    let again = complete(&server, &id, &parts, NOTHING);
    assert_eq!((again.status, again.element("ETag")), (200, done.element("ETag")));

    let part = server.send(&request("GET /bkt/big?partNumber=2"));
    assert_eq!((part.status, part.text()), (206, "22"));
    assert_eq!(part.header("x-amz-mp-parts-count"), Some("2"));
    assert_eq!(part.header("Content-Range"), Some("bytes 5242880-5242881/5242882"));
    let head = server.send(&request("HEAD /bkt/big"));
    assert_eq!((head.header("ETag"), head.header("x-amz-meta-a")), (Some(&*tag), Some("b")));
}

#[test]
fn parts_have_a_least_size() {
    let server = Server::new();
    let id = create(&server, &[]);
    let one = put_part(&server, &id, 1, b"1");
    let two = put_part(&server, &id, 2, b"2");
    let small = complete(&server, &id, &[(1, &one), (2, &two)], NOTHING);
    assert_eq!(small.error(), (400, "EntityTooSmall"));
    assert_eq!(small.element("MinSizeAllowed"), Some("5242880"));
    assert_eq!(complete(&server, &id, &[(1, &one)], NOTHING).status, 200);
}

#[test]
fn an_upload_is_given_up() {
    let server = Server::new();
    let id = create(&server, &[]);
    let line = format!("/bkt/big?uploadId={id}");
    assert_eq!(server.send(&request(&format!("DELETE {line}"))).status, 204);
    let part = server.send(&request(&format!("PUT {line}&partNumber=1")).body("x"));
    assert_eq!(part.error(), (404, "NoSuchUpload"));
    assert_eq!(server.send(&request(&format!("GET {line}"))).error(), (404, "NoSuchUpload"));
    let odd = server.send(&request("PUT /bkt/big?uploadId=x&partNumber=1"));
    assert_eq!(odd.error(), (404, "NoSuchUpload"));
    let number = server.send(&request(&format!("PUT {line}&partNumber=10001")));
    assert_eq!(number.error(), (400, "InvalidArgument"));
}

#[test]
fn parts_are_copied() {
    let server = Server::new();
    server.send(&request("PUT /bkt/source").body("0123456789"));
    let id = create(&server, &[]);
    let line = format!("PUT /bkt/big?uploadId={id}&partNumber=1");
    let copy = |range: &str| {
        server.send(
            &request(&line)
                .with("x-amz-copy-source", "/bkt/source")
                .with("x-amz-copy-source-range", range),
        )
    };
    assert_eq!(copy("bytes=0-10").error(), (400, "InvalidArgument"));
    assert_eq!(copy("bytes=2-").error(), (400, "InvalidArgument"));
    let copied = copy("bytes=2-4");
    assert_eq!((copied.status, copied.outline.operation), (200, Operation::CopyPart));
    let tag = copied.element("ETag").expect("a tag").to_owned();
    assert_eq!(complete(&server, &id, &[(1, &tag)], NOTHING).status, 200);
    assert_eq!(server.send(&request("GET /bkt/big")).text(), "234");
}

#[test]
fn checksums_of_parts_make_one_of_the_whole() {
    let server = Server::new();
    let id = create(&server, &[("x-amz-checksum-algorithm", "CRC32")]);
    let line = format!("PUT /bkt/big?uploadId={id}&partNumber=1");
    let other = request(&line).with("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00=");
    assert_eq!(server.send(&other.body("hello")).error(), (400, "InvalidRequest"));
    let put = server.send(&request(&line).body("hello"));
    assert_eq!(put.header("x-amz-checksum-crc32"), Some("NhCmhg=="));
    let tag = put.header("ETag").expect("a tag").to_owned();
    let document = |crc: &str| {
        format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{tag}</ETag>\
             <ChecksumCRC32>{crc}</ChecksumCRC32></Part></CompleteMultipartUpload>"
        )
    };
    let complete = |crc: &str| {
        server.send(&request(&format!("POST /bkt/big?uploadId={id}")).body(document(crc)))
    };
    assert_eq!(complete("AAAAAA==").error(), (400, "InvalidPart"));
    // One that is made from those of the parts needs them all.
    let without = complete("");
    assert_eq!(without.error(), (400, "InvalidRequest"));
    assert!(without.text().contains("using a crc32 checksum"), "{}", without.text());
    assert!(without.text().contains("missing for part 1 "), "{}", without.text());
    let done = complete("NhCmhg==");
    assert_eq!(done.element("ChecksumType"), Some("COMPOSITE"));
    assert!(done.element("ChecksumCRC32").is_some_and(|text| text.ends_with("-1")));
    let bad = request("POST /bkt/x?uploads")
        .with("x-amz-checksum-algorithm", "SHA256")
        .with("x-amz-checksum-type", "FULL_OBJECT");
    assert_eq!(server.send(&bad).error(), (400, "InvalidRequest"));
}

#[test]
fn parts_keep_their_checksums() {
    let server = Server::new();
    let fields = [("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", "FULL_OBJECT")];
    let id = create(&server, &fields);
    let one = put_part(&server, &id, 1, &vec![b'1'; PART]);
    let two = put_part(&server, &id, 2, b"hello");
    let done = complete(&server, &id, &[(1, &one), (2, &two)], NOTHING);
    assert_eq!((done.status, done.element("ChecksumType")), (200, Some("FULL_OBJECT")));

    let whole = done.element("ChecksumCRC32").expect("a checksum");
    assert_ne!(whole, "NhCmhg==");
    let with_checksums = |line: &str| {
        let answer = server.send(&request(line).with("x-amz-checksum-mode", "ENABLED"));
        answer.header("x-amz-checksum-crc32").map(str::to_owned)
    };
    assert_eq!(with_checksums("GET /bkt/big").as_deref(), Some(whole));
    assert_eq!(with_checksums("GET /bkt/big?partNumber=2").as_deref(), Some("NhCmhg=="));
    assert_eq!(with_checksums("HEAD /bkt/big?partNumber=2").as_deref(), Some("NhCmhg=="));

    let attributes = |marker: &str| {
        let get = request("GET /bkt/big?attributes")
            .with("x-amz-object-attributes", "ObjectParts,Checksum")
            .with("x-amz-max-parts", "1")
            .with("x-amz-part-number-marker", marker);
        server.send(&get)
    };
    let first = attributes("0");
    assert_eq!(first.elements("PartsCount"), ["2"]);
    assert_eq!(first.elements("PartNumber"), ["1"]);
    assert_eq!(first.elements("Size"), ["5242880"]);
    assert_eq!(first.element("IsTruncated"), Some("true"));
    assert_eq!(first.element("NextPartNumberMarker"), Some("1"));
    assert_eq!(first.elements("ChecksumCRC32")[0], whole);
    let last = attributes("1");
    assert_eq!((last.elements("PartNumber"), last.elements("Size")), (vec!["2"], vec!["5"]));
    assert_eq!(last.elements("ChecksumCRC32"), [whole, "NhCmhg=="]);
    assert_eq!(last.element("IsTruncated"), Some("false"));
    assert_eq!(attributes("2").elements("PartNumber"), Vec::<&str>::new());
    assert_eq!(attributes("-1").error(), (400, "InvalidArgument"));
}

#[test]
fn a_completion_carries_the_checksum_of_the_whole() {
    let server = Server::new();
    let id = create(
        &server,
        &[("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", "FULL_OBJECT")],
    );
    let tag = put_part(&server, &id, 1, b"hello");
    let with = |value: &str| complete(&server, &id, &[(1, &tag)], ("x-amz-checksum-crc32", value));
    assert_eq!(with("AAAAAA==").error(), (400, "BadDigest"));
    let done = with("NhCmhg==");
    assert_eq!((done.status, done.element("ChecksumCRC32")), (200, Some("NhCmhg==")));
}
