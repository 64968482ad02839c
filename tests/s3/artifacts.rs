//! Put, get, head, delete, copy.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, Delete, MetadataDirective, ObjectIdentifier,
};

use crate::harness::{Server, noise};

async fn bucket(server: &Server) -> Client {
    let client = server.client();
    client.create_bucket().bucket("box").send().await.expect("created");
    client
}

async fn get(client: &Client, key: &str) -> Vec<u8> {
    let found = client.get_object().bucket("box").key(key).send().await.expect("found");
    found.body.collect().await.expect("the whole body").to_vec()
}

#[tokio::test]
async fn every_size_class_comes_back_as_it_was() {
    let server = Server::start();
    let client = bucket(&server).await;
    for size in [0, 1, 4096, 32 << 10, (32 << 10) + 1, 1 << 20, (8 << 20) + 1, 20 << 20] {
        let body = noise(size as u64, size);
        let key = format!("size/{size}");
        client
            .put_object()
            .bucket("box")
            .key(&key)
            .body(ByteStream::from(body.clone()))
            .send()
            .await
            .expect("stored");
        assert!(get(&client, &key).await == body, "{size} bytes differ");
        let head = client.head_object().bucket("box").key(&key).send().await.expect("found");
        assert_eq!(head.content_length(), Some(i64::try_from(size).unwrap()));
    }
}

#[tokio::test]
async fn ranges_are_exact() {
    let server = Server::start();
    let client = bucket(&server).await;
    let body = noise(7, 300_000);
    let put = client.put_object().bucket("box").key("r").body(ByteStream::from(body.clone()));
    put.send().await.expect("stored");
    for (range, want) in [
        ("bytes=0-0", &body[..1]),
        ("bytes=65535-65536", &body[65535..65537]),
        ("bytes=131072-", &body[131_072..]),
        ("bytes=-5", &body[299_995..]),
        ("bytes=299999-400000", &body[299_999..]),
    ] {
        let found =
            client.get_object().bucket("box").key("r").range(range).send().await.expect("found");
        let length = found.content_length();
        assert!(found.content_range().is_some(), "{range}");
        let bytes = found.body.collect().await.expect("the whole body").to_vec();
        assert!(bytes == want, "{range}");
        assert_eq!(length, Some(i64::try_from(want.len()).unwrap()), "{range}");
    }
    let beyond = client.get_object().bucket("box").key("r").range("bytes=300000-").send().await;
    assert_eq!(beyond.expect_err("beyond the end").code(), Some("InvalidRange"));
}

#[tokio::test]
async fn metadata_and_checksums_come_back() {
    let server = Server::start();
    let client = bucket(&server).await;
    for algorithm in [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32C,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ] {
        let body = noise(3, 100_000);
        let put = client
            .put_object()
            .bucket("box")
            .key("meta")
            .body(ByteStream::from(body))
            .checksum_algorithm(algorithm.clone())
            .content_type("text/x-noise")
            .cache_control("no-store")
            .metadata("colour", "green")
            .send()
            .await
            .expect("stored");
        let head = client
            .head_object()
            .bucket("box")
            .key("meta")
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .expect("found");
        assert_eq!(head.content_type(), Some("text/x-noise"));
        assert_eq!(head.cache_control(), Some("no-store"));
        assert_eq!(head.metadata().and_then(|all| all.get("colour")).unwrap(), "green");
        assert_eq!(head.e_tag(), put.e_tag());
        let values = |c32: Option<&str>,
                      c32c: Option<&str>,
                      c64: Option<&str>,
                      s1: Option<&str>,
                      s2: Option<&str>| {
            [c32, c32c, c64, s1, s2].map(|value| value.map(str::to_owned))
        };
        let stored = values(
            head.checksum_crc32(),
            head.checksum_crc32_c(),
            head.checksum_crc64_nvme(),
            head.checksum_sha1(),
            head.checksum_sha256(),
        );
        let told = values(
            put.checksum_crc32(),
            put.checksum_crc32_c(),
            put.checksum_crc64_nvme(),
            put.checksum_sha1(),
            put.checksum_sha256(),
        );
        assert_eq!(stored, told, "{algorithm:?}");
        assert_eq!(stored.iter().flatten().count(), 1, "{algorithm:?}");
    }
}

#[tokio::test]
async fn deleted_is_gone_and_deleting_again_is_fine() {
    let server = Server::start();
    let client = bucket(&server).await;
    for key in ["a", "b", "c"] {
        let put = client.put_object().bucket("box").key(key).body(ByteStream::from_static(b"x"));
        put.send().await.expect("stored");
    }
    let full = client.delete_bucket().bucket("box").send().await.expect_err("not empty");
    assert_eq!(full.code(), Some("BucketNotEmpty"));
    for _ in 0..2 {
        client.delete_object().bucket("box").key("a").send().await.expect("deleted");
    }
    let gone = client.get_object().bucket("box").key("a").send().await.expect_err("gone");
    assert_eq!(gone.code(), Some("NoSuchKey"));
    let batch = ["b", "c", "never-was"]
        .into_iter()
        .map(|key| ObjectIdentifier::builder().key(key).build().expect("complete"));
    let batch = Delete::builder().set_objects(Some(batch.collect())).build().expect("complete");
    let answer = client.delete_objects().bucket("box").delete(batch).send().await.expect("deleted");
    assert_eq!(answer.deleted().len(), 3);
    client.delete_bucket().bucket("box").send().await.expect("empty now");
    let none = client.list_objects_v2().bucket("box").send().await.expect_err("gone");
    assert_eq!(none.code(), Some("NoSuchBucket"));
}

#[tokio::test]
async fn a_copy_has_the_bytes_and_the_chosen_metadata() {
    let server = Server::start();
    let client = bucket(&server).await;
    let body = noise(9, 9 << 20);
    let put = client.put_object().bucket("box").key("from").content_type("text/plain");
    put.body(ByteStream::from(body.clone())).send().await.expect("stored");
    let copy = client.copy_object().bucket("box").key("kept").copy_source("box/from");
    copy.send().await.expect("copied");
    assert!(get(&client, "kept").await == body);
    client
        .copy_object()
        .bucket("box")
        .key("from")
        .copy_source("box/from")
        .metadata_directive(MetadataDirective::Replace)
        .content_type("text/html")
        .send()
        .await
        .expect("replaced in place");
    let head = client.head_object().bucket("box").key("from").send().await.expect("found");
    assert_eq!(head.content_type(), Some("text/html"));
    assert!(get(&client, "from").await == body);
    let same = client.copy_object().bucket("box").key("from").copy_source("box/from").send().await;
    assert_eq!(same.expect_err("nothing would change").code(), Some("InvalidRequest"));
}

#[tokio::test]
async fn odd_keys_are_opaque() {
    let server = Server::start();
    let client = bucket(&server).await;
    let keys =
        ["../up", "a/../b", "a//b", "/lead", "sp ace", "plus+and%25", "🦀/ü", "a?b&c=d", "."];
    for key in keys {
        let body = ByteStream::from(key.as_bytes().to_vec());
        client.put_object().bucket("box").key(key).body(body).send().await.expect(key);
    }
    for key in keys {
        assert_eq!(get(&client, key).await, key.as_bytes(), "{key}");
    }
    let page = client.list_objects_v2().bucket("box").send().await.expect("listed");
    assert_eq!(page.contents().len(), keys.len());
}
