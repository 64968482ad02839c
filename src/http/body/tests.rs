use proptest::prelude::*;

use super::*;

/// Decodes with the input cut at these places; data, and the bytes left after the end.
fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, usize), BodyError> {
    let mut decoder = ChunkDecoder::new();
    let mut data = Vec::new();
    let mut left_over = 0;
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() && !decoder.is_done() {
            let available = usize::try_from(decoder.data_left()).unwrap().min(rest.len());
            if available > 0 {
                data.extend_from_slice(&rest[..available]);
                decoder.took(available as u64);
                rest = &rest[available..];
            } else {
                let framing = decoder.frame(rest)?;
                rest = &rest[framing..];
            }
        }
        left_over += rest.len();
    }
    Ok((data, decoder.is_done(), left_over))
}

const BODY: &[u8] =
    b"5\r\nhello\r\n6;name=\"v\"\r\n world\r\n0\r\nX-Trailer: v\r\nY: w\r\n\r\nGET /";

#[test]
fn chunks_extensions_and_trailers() {
    assert_eq!(decode(&[BODY]), Ok((b"hello world".to_vec(), true, 5)));
    assert_eq!(decode(&[b"0\r\n\r\n"]), Ok((Vec::new(), true, 0)));
    assert_eq!(decode(&[b"00A \r\n0123456789\r\n0\r\n\r\n"]).unwrap().0.len(), 10);
}

#[test]
fn malformed_framing_is_refused() {
    for bytes in [
        &b"\r\n"[..],
        b"x\r\n",
        b"-1\r\n",
        b";a\r\n",
        b"5\n",
        b"5;a\n",
        b"5\rx",
        b"1\r\nab\r\n",
        b"1\r\na\rb",
        b"10000000000000000\r\n",
        b"0\r\n\rx",
    ] {
        assert!(matches!(decode(&[bytes]), Err(BodyError::Malformed(_))), "{bytes:?}");
    }
}

#[test]
fn lines_are_bounded() {
    let endless = [b"1;".as_slice(), &[b'a'; 400]].concat();
    assert!(decode(&[&endless]).is_err());
    assert!(decode(&[&[b'0'; 400]]).is_err());
    let trailers = [b"0\r\n".as_slice(), &b"a: b\r\n".repeat(2000)].concat();
    assert!(decode(&[&trailers]).is_err());
}

proptest! {
    #[test]
    fn the_pieces_do_not_matter(cuts in proptest::collection::vec(0..BODY.len(), 0..8)) {
        let mut cuts = cuts;
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&BODY[from..cut]);
            from = cut;
        }
        pieces.push(&BODY[from..]);
        prop_assert_eq!(decode(&pieces), decode(&[BODY]));
    }

    #[test]
    fn what_was_chunked_comes_back(data in proptest::collection::vec(any::<u8>(), 0..400), size in 1usize..50) {
        let mut encoded = Vec::new();
        for chunk in data.chunks(size) {
            encoded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            encoded.extend_from_slice(chunk);
            encoded.extend_from_slice(b"\r\n");
        }
        encoded.extend_from_slice(b"0\r\n\r\n");
        prop_assert_eq!(decode(&[&encoded]), Ok((data, true, 0)));
    }

    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&[&bytes]);
    }
}
