//! Bodies: aws-chunked in all its forms, checksums, lengths.

use super::*;

const CHUNKS: [&str; 3] = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
];
const TRAILER_CHUNKS: [&str; 3] = [
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
];
const TRAILER: &str = "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n";

fn example(payload: &str) -> Request {
    let fields = [
        ("Host", "s3.amazonaws.com"),
        ("x-amz-date", "20130524T000000Z"),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ("x-amz-content-sha256", payload),
        ("Content-Encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "66560"),
        ("Content-Length", "66824"),
    ];
    Request::new("PUT", "/examplebucket/chunkObject.txt", "", &fields)
}

/// The published request with signed chunks.
fn chunked() -> Request {
    let headers = "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class";
    let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    example("STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
        .with("Authorization", &authorization(headers, seed))
}

/// The published request with signed chunks and a signed trailer.
fn with_trailer() -> Request {
    let headers = "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer";
    let seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
    example("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
        .with("x-amz-trailer", "x-amz-checksum-crc32c")
        .with("Authorization", &authorization(headers, seed))
}

fn example_body(signatures: [&str; 3], trailer: &str) -> Vec<u8> {
    let [first, second, last] = signatures;
    format!(
        "10000;chunk-signature={first}\r\n{}\r\n400;chunk-signature={second}\r\n{}\r\n0;chunk-signature={last}\r\n{trailer}",
        "a".repeat(65_536),
        "a".repeat(1024)
    )
    .into_bytes()
}

/// A request of our own, signed by the tests, with these further fields (sorted after `x-amz-d`).
fn own(payload: &str, length: Option<usize>, further: &[(&str, &str)]) -> Request {
    let mut request = Request::new(
        "PUT",
        "/b/k",
        "",
        &[("host", "h"), ("x-amz-content-sha256", payload), ("x-amz-date", "20130524T000000Z")],
    );
    if let Some(length) = length {
        request = request.with("x-amz-decoded-content-length", &length.to_string());
    }
    for (name, value) in further {
        request = request.with(name, value);
    }
    request.fields.sort();
    request.signed().with("Content-Length", "1")
}

const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
const CRC32_TRAILER: (&str, &str) = ("x-amz-trailer", "x-amz-checksum-crc32");

fn unsigned_trailer(body: &str, length: usize) -> Outcome {
    let request = own(UNSIGNED_TRAILER, Some(length), &[CRC32_TRAILER]);
    take(&request, body.as_bytes(), &[7], &[5])
}

fn malformed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(BodyError::Malformed(_)))
}

fn checksum_text(checksum: Option<Checksum>) -> Option<(ChecksumAlgorithm, String)> {
    checksum.map(|checksum| (checksum.algorithm, base64::encode(checksum.value())))
}

#[test]
fn published_chunks_pass_however_they_are_cut() {
    for cuts in [&[1][..], &[7, 100], &[65_536], &[usize::MAX]] {
        for reads in [&[1, 900][..], &[4096], &[100_000]] {
            let taken = take(&chunked(), &example_body(CHUNKS, "\r\n"), cuts, reads);
            let Outcome::Stored(data, digests) = taken else { panic!("{taken:?}") };
            assert!(data.len() == 66_560 && data.iter().all(|&byte| byte == b'a'));
            let algorithm = digests.checksum.map(|checksum| checksum.algorithm);
            assert_eq!(algorithm, Some(ChecksumAlgorithm::Crc64Nvme));
            let taken = take(&with_trailer(), &example_body(TRAILER_CHUNKS, TRAILER), cuts, reads);
            let Outcome::Stored(data, digests) = taken else { panic!("{taken:?}") };
            assert_eq!(data.len(), 66_560);
            let expected = (ChecksumAlgorithm::Crc32c, "sOO8/Q==".to_owned());
            assert_eq!(checksum_text(digests.checksum), Some(expected));
        }
    }
}

#[test]
fn memory_that_is_handed_over_is_hashed_alike() {
    let cases = [
        (chunked(), example_body(CHUNKS, "\r\n")),
        (with_trailer(), example_body(TRAILER_CHUNKS, TRAILER)),
    ];
    for (request, body) in cases {
        let read = take(&request, &body, &[usize::MAX], &[100_000]);
        assert!(matches!(read, Outcome::Stored(..)), "{read:?}");
        for (cuts, rooms) in [(7_000, [100_000, 1]), (65_536, [900, 5_000]), (999, [66_560, 10])] {
            assert_eq!(take_with(&request, &body, &[cuts], &rooms, true), read, "{rooms:?}");
        }
        let mut changed = body.clone();
        changed[40_000] ^= 1;
        let refused = take_with(&request, &changed, &[999], &[100_000], true);
        assert_eq!(refused, Outcome::Failed(BodyError::SignatureMismatch));
    }
}

#[test]
fn any_changed_byte_of_a_signed_body_is_refused() {
    let whole = example_body(TRAILER_CHUNKS, TRAILER);
    let places = [0, 3, 25, 85, 90, 40_000, 65_623, 65_640, 65_700, 66_700];
    // The last byte ends an empty line, which is not needed.
    for at in places.into_iter().chain(whole.len() - 230..whole.len() - 1) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        let outcome = take(&with_trailer(), &changed, &[usize::MAX], &[100_000]);
        assert!(matches!(outcome, Outcome::Failed(_)), "byte {at}");
    }
}

#[test]
fn wrong_signatures_are_called_that() {
    let wrong = Outcome::Failed(BodyError::SignatureMismatch);
    for index in 0..3 {
        let mut signatures = CHUNKS;
        signatures[index] = CHUNKS[(index + 1) % 3];
        let body = example_body(signatures, "\r\n");
        assert_eq!(take(&chunked(), &body, &[999], &[4096]), wrong, "{index}");
    }
    let trailer = TRAILER.replace("d81f", "d81e");
    let body = example_body(TRAILER_CHUNKS, &trailer);
    assert_eq!(take(&with_trailer(), &body, &[999], &[4096]), wrong);
    let unsigned = "x-amz-checksum-crc32c:sOO8/Q==\r\n\r\n";
    let body = example_body(TRAILER_CHUNKS, unsigned);
    assert_eq!(take(&with_trailer(), &body, &[999], &[4096]), wrong);
    let bare = b"10000\r\n";
    assert_eq!(take(&chunked(), bare, &[999], &[4096]), wrong);
    let body = example_body(CHUNKS, TRAILER);
    assert!(malformed(&take(&chunked(), &body, &[999], &[4096])));
}

#[test]
fn a_body_cut_short_anywhere_is_refused() {
    let whole = example_body(CHUNKS, "\r\n");
    for length in
        [0, 1, 50, 87, 88, 1000, 65_624, 65_626, 66_000, whole.len() - 90, whole.len() - 4]
    {
        let outcome = take(&chunked(), &whole[..length], &[999], &[4096]);
        assert!(matches!(outcome, Outcome::Failed(_)), "{length}: {outcome:?}");
    }
}

#[test]
fn unsigned_trailers_in_the_dialects_of_clients() {
    for trailer in [
        "x-amz-checksum-crc32:y/Q5Jg==\r\n\r\n",
        "x-amz-checksum-crc32:y/Q5Jg==\n\r\n\r\n",
        "X-Amz-Checksum-CRC32: y/Q5Jg== \r\n",
        "\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n",
        "x-amz-checksum-crc32:y/Q5Jg==",
    ] {
        let taken = unsigned_trailer(&format!("4\r\n1234\r\n5;x=y\r\n56789\r\n0\r\n{trailer}"), 9);
        let Outcome::Stored(data, digests) = taken else { panic!("{trailer:?} {taken:?}") };
        assert_eq!(data, b"123456789");
        let expected = (ChecksumAlgorithm::Crc32, "y/Q5Jg==".to_owned());
        assert_eq!(checksum_text(digests.checksum), Some(expected));
        assert_eq!(digests.etag.to_string(), "25f9e794323b453885f5181f1b624d0b");
    }
    let empty = unsigned_trailer("0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", 0);
    assert!(matches!(empty, Outcome::Stored(data, _) if data.is_empty()));
}

#[test]
fn bad_trailers() {
    let trailer = |text: &str| unsigned_trailer(&format!("9\r\n123456789\r\n0\r\n{text}"), 9);
    let wrong = Outcome::Failed(BodyError::ChecksumMismatch(ChecksumAlgorithm::Crc32));
    assert_eq!(trailer("x-amz-checksum-crc32:AAAAAA==\r\n\r\n"), wrong);
    for bad in [
        "",
        "\r\n",
        "nonsense\r\n\r\n",
        "x-amz-checksum-crc32:nonsense\r\n\r\n",
        "x-amz-checksum-crc32c:y/Q5Jg==\r\n\r\n",
        "x-amz-checksum-crc32:y/Q5Jg==\r\nx-amz-checksum-crc32:y/Q5Jg==\r\n\r\n",
        "x-amz-checksum-crc32:y/Q5Jg==\r\nx-amz-meta-a:1\r\n\r\n",
        "x-amz-checksum-crc32:y/Q5Jg==\r\nx-amz-trailer-signature:00\r\n\r\n",
        &"\r\n".repeat(20),
        &"a".repeat(5000),
    ] {
        assert!(malformed(&trailer(bad)), "{bad:?}");
    }
}

#[test]
fn bad_chunk_headers() {
    for bad in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "0x9\r\n123456789\r\n",
        "9\n123456789\r\n",
        "9 \r\n123456789\r\n",
        "11111111111111111\r\n",
        "ffffffffffffffff\r\n",
        "a\r\n1234567890\r\n",
        "9\r\n123456789x\r\n",
        "9\r\n123456789\n",
        &"9".repeat(3000),
    ] {
        let outcome = unsigned_trailer(bad, 9);
        assert!(matches!(outcome, Outcome::Failed(BodyError::Malformed(_))), "{bad:?} {outcome:?}");
    }
    for short in [
        "",
        "9",
        "9\r\n",
        "9\r\n1234",
        "9\r\n123456789",
        "9\r\n123456789\r\n",
        "8\r\n12345678\r\n0\r\n\r\n",
    ] {
        assert_eq!(unsigned_trailer(short, 9), Outcome::Failed(BodyError::Truncated), "{short:?}");
    }
}

#[test]
fn lengths_must_be_said() {
    let missing = own(UNSIGNED_TRAILER, None, &[CRC32_TRAILER]);
    assert_eq!(take(&missing, b"", &[1], &[1]), Outcome::Refused(Code::MissingContentLength));
    let nonsense = own(UNSIGNED_TRAILER, None, &[("x-amz-decoded-content-length", "+9")]);
    assert_eq!(take(&nonsense, b"", &[1], &[1]), Outcome::Refused(Code::InvalidArgument));
    let large = own(UNSIGNED_TRAILER, Some((1 << 20) + 1), &[]);
    assert_eq!(take(&large, b"", &[1], &[1]), Outcome::Refused(Code::EntityTooLarge));
    let unframed = own("UNSIGNED-PAYLOAD", None, &[]).without("Content-Length");
    assert_eq!(take(&unframed, b"", &[1], &[1]), Outcome::Refused(Code::MissingContentLength));
    let chunked = unframed.with("Transfer-Encoding", "chunked");
    assert!(matches!(take(&chunked, b"x", &[1], &[1]), Outcome::Stored(..)));
}

#[test]
fn promises_in_the_head_are_checked() {
    const BODY: &[u8] = b"123456789";
    let cases = [
        ("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==", BodyError::Md5Mismatch),
        ("x-amz-checksum-crc32", "y/Q5Jg==", BodyError::ChecksumMismatch(ChecksumAlgorithm::Crc32)),
        (
            "x-amz-checksum-crc32c",
            "4waSgw==",
            BodyError::ChecksumMismatch(ChecksumAlgorithm::Crc32c),
        ),
        (
            "x-amz-checksum-crc64nvme",
            "rosUhgp5mIg=",
            BodyError::ChecksumMismatch(ChecksumAlgorithm::Crc64Nvme),
        ),
        (
            "x-amz-checksum-sha1",
            "98O8HYCOBHMq32eZZczDTKeuNEE=",
            BodyError::ChecksumMismatch(ChecksumAlgorithm::Sha1),
        ),
        (
            "x-amz-checksum-sha256",
            "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
            BodyError::ChecksumMismatch(ChecksumAlgorithm::Sha256),
        ),
    ];
    for (name, value, error) in cases {
        let request = own("UNSIGNED-PAYLOAD", None, &[(name, value)]);
        assert!(matches!(take(&request, BODY, &[4], &[9]), Outcome::Stored(..)), "{name}");
        assert_eq!(take(&request, b"123456780", &[4], &[9]), Outcome::Failed(error), "{name}");
    }
    // The signed hash serves for the checksum of the same algorithm too.
    let hash = "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225";
    let request = own(
        hash,
        None,
        &[("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=")],
    );
    assert!(matches!(take(&request, BODY, &[4], &[9]), Outcome::Stored(..)));
    assert_eq!(take(&request, b"12345678", &[4], &[9]), Outcome::Failed(BodyError::Sha256Mismatch));
}

#[test]
fn parts_follow_their_upload() {
    let request = own("UNSIGNED-PAYLOAD", None, &[("x-amz-checksum-crc32", "y/Q5Jg==")]);
    let identity = request.authenticate().unwrap();
    let mut body = Pieces::new(b"123456789", &[9]);
    request.with_head(|head| {
        let mut plan = |required| {
            BodySource::new(
                head,
                &identity,
                &mut body,
                9,
                ChecksumPlan { required, ..ChecksumPlan::default() },
            )
            .err()
        };
        assert!(plan(Some(ChecksumAlgorithm::Crc32)).is_none());
        let other = plan(Some(ChecksumAlgorithm::Sha1)).map(|error| error.code);
        assert_eq!(other, Some(Code::InvalidRequest));
    });
}

#[test]
fn documents_are_bounded_and_verified() {
    let ctx = Context::internal(TenantId(7));
    let request = own("UNSIGNED-PAYLOAD", None, &[("content-md5", "JfnnlDI7RTiF9RgfG2JNCw==")]);
    let identity = request.authenticate().unwrap();
    let read = |bytes: &[u8], length, limit| {
        let mut body = Pieces { length, ..Pieces::new(bytes, &[2]) };
        request.with_head(|head| {
            let mut source = BodySource::document(head, &identity, &mut body, 1 << 20).unwrap();
            let mut granted = 0;
            let grow = async |bytes| {
                granted = bytes;
                Ok(())
            };
            let reading = read_document(&ctx, &mut source, limit, grow);
            let result = reading.now_or_never().unwrap().map_err(|error| error.code);
            assert!(granted <= limit + 1, "no more is taken than a document may have");
            result
        })
    };
    assert_eq!(read(b"123456789", Some(9), 9), Ok(b"123456789".to_vec()));
    assert_eq!(read(b"123456789", None, 9), Ok(b"123456789".to_vec()));
    assert_eq!(read(b"123456789", Some(9), 8), Err(Code::MaxMessageLengthExceeded));
    assert_eq!(read(b"123456789", None, 8), Err(Code::MaxMessageLengthExceeded));
    assert_eq!(read(b"123456780", Some(9), 9), Err(Code::BadDigest));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_cut_gives_the_same(
        cuts in proptest::collection::vec(1usize..3000, 1..8),
        reads in proptest::collection::vec(1usize..9000, 1..8),
    ) {
        let body = example_body(TRAILER_CHUNKS, TRAILER);
        let whole = take(&with_trailer(), &body, &[usize::MAX], &[100_000]);
        prop_assert!(matches!(whole, Outcome::Stored(..)));
        prop_assert_eq!(take(&with_trailer(), &body, &cuts, &reads), whole);
    }

    #[test]
    fn nonsense_never_panics(
        body in "([0-9a-f]{1,3}(;chunk-signature=)?|\r\n|\n|:|x-amz-checksum-crc32|[a-zé]){0,40}",
        length in 0usize..20,
        cut in 1usize..9,
    ) {
        let request = own(UNSIGNED_TRAILER, Some(length), &[CRC32_TRAILER]);
        take(&request, body.as_bytes(), &[cut], &[3]);
        take(&chunked(), body.as_bytes(), &[cut], &[3]);
    }
}
