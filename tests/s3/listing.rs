//! Listing: order, prefixes, delimiters, pages.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::EncodingType;

use crate::harness::Server;

#[tokio::test]
async fn pages_join_to_the_whole_in_order() {
    let server = Server::start();
    let client = server.client();
    client.create_bucket().bucket("list").send().await.expect("created");
    let mut keys: Vec<String> = (0..60).map(|n| format!("dir{}/file-{n:02}", n % 7)).collect();
    keys.extend(["dir1", "dir1.txt", "zebra", "äther", "a b+c"].map(String::from));
    for key in &keys {
        let put = client.put_object().bucket("list").key(key).body(ByteStream::from_static(b"x"));
        put.send().await.expect("stored");
    }
    keys.sort();
    let mut seen = Vec::new();
    let mut token = None;
    loop {
        let page = client
            .list_objects_v2()
            .bucket("list")
            .max_keys(7)
            .encoding_type(EncodingType::Url)
            .set_continuation_token(token)
            .send()
            .await
            .expect("listed");
        assert!(page.contents().len() <= 7);
        seen.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        token = page.next_continuation_token().map(str::to_owned);
        assert_eq!(page.is_truncated(), Some(token.is_some()));
        if token.is_none() {
            break;
        }
    }
    let encoded = |key: &String| key.replace('ä', "%C3%A4").replace('+', "%2B").replace(' ', "%20");
    assert_eq!(seen, keys.iter().map(encoded).collect::<Vec<_>>());

    let top = client.list_objects_v2().bucket("list").delimiter("/").send().await.expect("listed");
    let prefixes: Vec<_> = top.common_prefixes().iter().filter_map(|p| p.prefix()).collect();
    assert_eq!(prefixes, (0..7).map(|n| format!("dir{n}/")).collect::<Vec<_>>());
    let names: Vec<_> = top.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(names, ["a b+c", "dir1", "dir1.txt", "zebra", "äther"]);
    assert_eq!(top.key_count(), Some(12));

    let rolled = client.list_objects().bucket("list").delimiter("/").max_keys(3).marker("dir1/");
    let rolled = rolled.send().await.expect("listed");
    assert_eq!(rolled.common_prefixes().len(), 3, "nothing under the marker's prefix");
    assert_eq!(rolled.next_marker(), Some("dir4/"));
    let none = client.list_objects_v2().bucket("list").max_keys(0).send().await.expect("listed");
    assert_eq!((none.contents().len(), none.is_truncated()), (0, Some(false)));
}

#[tokio::test]
async fn containers_are_listed_in_order() {
    let server = Server::start();
    let client = server.client();
    for name in ["zulu", "alpha", "mike"] {
        client.create_bucket().bucket(name).send().await.expect("created");
    }
    let all = client.list_buckets().send().await.expect("listed");
    let names: Vec<_> = all.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert_eq!(names, ["alpha", "mike", "zulu"]);
}
