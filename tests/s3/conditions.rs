//! Conditional writes: of many, exactly one wins.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;

use crate::harness::Server;

#[tokio::test(flavor = "multi_thread")]
async fn of_64_put_if_absent_one_wins() {
    let server = Server::start();
    let client = server.client();
    client.create_bucket().bucket("race").send().await.expect("created");
    for round in 0..4 {
        let writers: Vec<_> = (0..64)
            .map(|writer| {
                // A client each, so that the connections spread over all cores.
                let client = server.client();
                tokio::spawn(async move {
                    let put = client
                        .put_object()
                        .bucket("race")
                        .key(format!("round-{round}"))
                        .if_none_match("*")
                        .body(ByteStream::from(format!("writer {writer}").into_bytes()));
                    match put.send().await {
                        Ok(_) => Some(writer),
                        Err(error) => {
                            assert_eq!(error.code(), Some("PreconditionFailed"), "{error:?}");
                            // A loser is told only when the winner is durable, hence visible.
                            let seen =
                                client.get_object().bucket("race").key(format!("round-{round}"));
                            seen.send().await.expect("the winner is there");
                            None
                        }
                    }
                })
            })
            .collect();
        let mut winners = Vec::new();
        for writer in writers {
            winners.extend(writer.await.expect("no panic"));
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        let found = client.get_object().bucket("race").key(format!("round-{round}")).send();
        let bytes = found.await.expect("found").body.collect().await.expect("whole").to_vec();
        assert_eq!(bytes, format!("writer {}", winners[0]).into_bytes());
    }
}

#[tokio::test]
async fn compare_and_swap_takes_only_the_current_tag() {
    let server = Server::start();
    let client = server.client();
    client.create_bucket().bucket("swap").send().await.expect("created");
    let put = |body: &'static str| {
        client.put_object().bucket("swap").key("k").body(ByteStream::from_static(body.as_bytes()))
    };
    let missing = put("0").if_match("\"d41d8cd98f00b204e9800998ecf8427e\"").send().await;
    assert_eq!(missing.expect_err("no artifact").code(), Some("NoSuchKey"));
    let first = put("1").send().await.expect("stored").e_tag().expect("a tag").to_owned();
    put("2").if_match(&first).send().await.expect("swapped");
    let stale = put("3").if_match(&first).send().await.expect_err("stale");
    assert_eq!(stale.code(), Some("PreconditionFailed"));
    let fresh = client.get_object().bucket("swap").key("k").if_none_match(&first).send().await;
    let tag = fresh.expect("changed since").e_tag().expect("a tag").to_owned();
    let same = client.get_object().bucket("swap").key("k").if_none_match(&tag).send().await;
    let same = same.expect_err("not modified");
    assert_eq!(same.raw_response().map(|raw| raw.status().as_u16()), Some(304));
}
