use super::harness::{Server, request};

fn with(keys: &[&str]) -> Server {
    let server = Server::new();
    for key in keys {
        assert_eq!(server.send(&request(&format!("PUT /bkt/{key}")).body(key)).status, 200);
    }
    server
}

#[test]
fn version_two_pages_through_everything() {
    let server = with(&["a/1", "a/2", "b", "c/1", "d%20e", "z"]);
    let mut seen: Vec<String> = Vec::new();
    let mut token = String::new();
    loop {
        let page = server.send(&request(&format!(
            "GET /bkt?list-type=2&delimiter=%2F&max-keys=2&encoding-type=url{token}"
        )));
        assert_eq!(page.status, 200);
        assert_eq!(page.element("MaxKeys"), Some("2"));
        let names = page.elements("Key").into_iter().chain(
            page.elements("CommonPrefixes")
                .into_iter()
                .map(|text| text.trim_start_matches("<Prefix>").trim_end_matches("</Prefix>")),
        );
        let names: Vec<_> = names.map(str::to_owned).collect();
        assert_eq!(page.element("KeyCount"), Some(&*names.len().to_string()));
        seen.extend(names);
        let Some(next) = page.element("NextContinuationToken") else {
            assert_eq!(page.element("IsTruncated"), Some("false"));
            break;
        };
        assert_eq!(page.element("IsTruncated"), Some("true"));
        token = format!("&continuation-token={next}");
    }
    seen.sort();
    assert_eq!(seen, ["a/", "b", "c/", "d%20e", "z"]);
}

#[test]
fn version_two_has_its_parameters() {
    let server = with(&["a", "b", "c"]);
    let list = |query: &str| server.send(&request(&format!("GET /bkt?list-type=2{query}")));
    let all = list("");
    assert_eq!(all.elements("Key"), ["a", "b", "c"]);
    assert_eq!(all.element("Owner"), None);
    assert_eq!(all.element("StorageClass"), Some("STANDARD"));
    assert_eq!(all.element("ChecksumAlgorithm"), Some("CRC64NVME"));
    assert!(list("&fetch-owner=true").element("Owner").is_some());
    assert_eq!(list("&start-after=a").elements("Key"), ["b", "c"]);
    let none = list("&max-keys=0");
    assert_eq!((none.element("KeyCount"), none.element("IsTruncated")), (Some("0"), Some("false")));
    assert_eq!(list("&max-keys=-1").error(), (400, "InvalidArgument"));
    assert_eq!(list("&max-keys=9999").element("MaxKeys"), Some("1000"));
    assert_eq!(list("&continuation-token=zzz").error(), (400, "InvalidArgument"));
    assert_eq!(list("&encoding-type=base64").error(), (400, "InvalidArgument"));
    assert_eq!(
        server.send(&request("GET /none?list-type=2&max-keys=0")).error(),
        (404, "NoSuchBucket")
    );
}

#[test]
fn version_one_goes_on_from_a_marker() {
    let server = with(&["a/1", "a/2", "b", "c"]);
    let rolled = server.send(&request("GET /bkt?delimiter=/&max-keys=1"));
    assert_eq!(rolled.element("NextMarker"), Some("a/"));
    let next = server.send(&request("GET /bkt?delimiter=/&marker=a/"));
    assert_eq!(next.elements("Key"), ["b", "c"]);
    let plain = server.send(&request("GET /bkt?max-keys=1"));
    assert_eq!((plain.element("IsTruncated"), plain.element("NextMarker")), (Some("true"), None));
    assert!(plain.element("Owner").is_some());
}

#[test]
fn versions_of_what_was_never_versioned() {
    let server = with(&["a", "b"]);
    let page = server.send(&request("GET /bkt?versions&max-keys=1"));
    assert_eq!(page.elements("VersionId"), ["null"]);
    assert_eq!(page.element("IsLatest"), Some("true"));
    assert_eq!(page.element("NextKeyMarker"), Some("a"));
    assert_eq!(page.element("NextVersionIdMarker"), Some("null"));
    let next = server.send(&request("GET /bkt?versions&key-marker=a&version-id-marker=null"));
    assert_eq!(next.elements("Key"), ["b"]);
    let alone = server.send(&request("GET /bkt?versions&version-id-marker=null"));
    assert_eq!(alone.error(), (400, "InvalidArgument"));
}

#[test]
fn many_are_deleted() {
    let server = with(&["a", "b", "c&d"]);
    let document = "<Delete><Object><Key>a</Key></Object><Object><Key>none</Key></Object>\
        <Object><Key>c&amp;d</Key></Object><Object><Key>b</Key><VersionId>x</VersionId></Object>\
        </Delete>";
    let unprotected = server.send(&request("POST /bkt?delete").body(document));
    assert_eq!(unprotected.error(), (400, "InvalidRequest"));
    let done = server.send(&request("POST /bkt?delete").body(document).md5());
    assert_eq!(done.status, 200);
    assert_eq!(done.elements("Key"), ["a", "none", "c&amp;d", "b"]);
    assert_eq!(done.elements("Code"), ["NoSuchVersion"]);
    assert_eq!(server.send(&request("GET /bkt")).elements("Key"), ["b"]);
    let quiet = "<Delete><Quiet>true</Quiet><Object><Key>b</Key></Object></Delete>";
    let done = server.send(&request("POST /bkt?delete").body(quiet).md5());
    assert_eq!((done.status, done.elements("Key").len()), (200, 0));
    let bad = server.send(&request("POST /bkt?delete").body("<Delete>").md5());
    assert_eq!(bad.error(), (400, "MalformedXML"));
}
