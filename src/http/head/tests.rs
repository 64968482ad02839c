use proptest::prelude::*;

use super::*;

fn with<T>(bytes: &[u8], then: impl FnOnce(Message<'_>) -> T) -> Result<Option<T>, HeadError> {
    let mut space = FieldSpace::new();
    Ok(parse(bytes, &mut space, 64)?.map(then))
}

fn refused(bytes: &[u8]) -> HeadError {
    with(bytes, |_| ()).unwrap_err()
}

#[test]
fn a_good_head_is_taken_apart() {
    let bytes = b"PUT /box/a%20b?partNumber=1&x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\
                  Expect: 100-Continue\r\nX-Amz-Meta-A:  v \r\n\r\nhello";
    with(bytes, |message| {
        assert_eq!(message.head.method, "PUT");
        assert_eq!(message.head.path, "/box/a%20b");
        assert_eq!(message.head.query, "partNumber=1&x");
        assert_eq!(message.head.headers.get("x-amz-meta-a"), Some("v"));
        assert_eq!(message.framing, Framing::Length(5));
        assert!(message.expects_continue);
        assert!(!message.close);
        assert_eq!(&bytes[message.length..], b"hello");
    })
    .unwrap()
    .unwrap();
}

#[test]
fn targets_in_absolute_form_lose_scheme_and_authority() {
    for (target, path, query) in [
        ("/", "/", ""),
        ("/a?b?c", "/a", "b?c"),
        ("http://h:1/a/b?c", "/a/b", "c"),
        ("HTTP://h", "/", ""),
        ("https://h?list", "/", "list"),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        with(bytes.as_bytes(), |message| {
            assert_eq!((message.head.path, message.head.query), (path, query), "{target}");
        })
        .unwrap()
        .unwrap();
    }
    for target in ["*", "h:80", "ftp://h/a", "a/b"] {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(refused(bytes.as_bytes()), HeadError::Malformed("the request target"));
    }
}

#[test]
fn ambiguous_framing_is_refused() {
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3, 3",
        "Content-Length: +3",
        "Content-Length: -1",
        "Content-Length:",
        "Content-Length: 18446744073709551616",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ] {
        let bytes = format!("PUT / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n");
        assert!(matches!(refused(bytes.as_bytes()), HeadError::Malformed(_)), "{fields}");
    }
    for coding in ["gzip", "gzip, chunked", "chunked, gzip", "xchunked"] {
        let bytes = format!("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: {coding}\r\n\r\n");
        assert_eq!(refused(bytes.as_bytes()), HeadError::TransferCoding, "{coding}");
    }
}

#[test]
fn malformed_heads_are_refused() {
    for bytes in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7c",
    ] {
        assert!(matches!(refused(bytes.as_bytes()), HeadError::Malformed(_)), "{bytes:?}");
    }
    for bytes in ["GET / HTTP/2.0\r\nHost: a\r\n\r\n", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"] {
        assert_eq!(refused(bytes.as_bytes()), HeadError::Version, "{bytes:?}");
    }
}

#[test]
fn http_1_0_closes_and_needs_no_host() {
    with(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", |message| {
        assert!(message.close);
        assert!(!message.expects_continue);
    })
    .unwrap()
    .unwrap();
    assert!(matches!(
        refused(b"PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        HeadError::Malformed(_)
    ));
}

#[test]
fn connection_tokens_are_seen_among_others() {
    with(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: te, Close\r\n\r\n", |message| {
        assert!(message.close);
    })
    .unwrap()
    .unwrap();
}

#[test]
fn many_fields_go_to_the_heap_and_too_many_are_refused() {
    let head = |count: usize| {
        let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec();
        for index in 1..count {
            bytes.extend_from_slice(format!("X-{index}: {index}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    };
    for count in [FIELDS_INLINE, FIELDS_INLINE + 1, 64] {
        let last = with(&head(count), |message| {
            message.head.headers.get(&format!("x-{}", count - 1)).map(str::to_owned)
        });
        assert_eq!(last, Ok(Some(Some((count - 1).to_string()))));
    }
    assert_eq!(refused(&head(65)), HeadError::TooManyFields);
}

const WHOLE: &[u8] = b"POST /a?b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n";

#[test]
fn a_head_is_complete_only_at_its_end() {
    for cut in 0..WHOLE.len() {
        assert_eq!(with(&WHOLE[..cut], |_| ()), Ok(None), "cut at {cut}");
        assert!(!HeadEnd::default().found(&WHOLE[..cut]), "cut at {cut}");
    }
    assert_eq!(with(WHOLE, |message| message.framing), Ok(Some(Framing::Chunked)));
}

proptest! {
    #[test]
    fn the_end_is_found_whatever_the_pieces(cuts in proptest::collection::vec(0..WHOLE.len(), 0..6)) {
        let mut cuts = cuts;
        cuts.sort_unstable();
        let mut end = HeadEnd::default();
        for cut in cuts {
            prop_assert!(!end.found(&WHOLE[..cut]));
        }
        prop_assert!(end.found(WHOLE));
    }

    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = with(&bytes, |_| ());
    }

    #[test]
    fn nothing_near_a_head_makes_it_panic(at in 0..WHOLE.len(), with_byte in any::<u8>(), target in "\\PC{0,20}") {
        let mut bytes = WHOLE.to_vec();
        bytes[at] = with_byte;
        let _ = with(&bytes, |_| ());
        let _ = with(format!("GET {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes(), |_| ());
    }
}
