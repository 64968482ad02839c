//! Multipart uploads.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use crate::harness::{Server, noise};

const PART: usize = 5 << 20;

async fn begin(client: &Client) -> String {
    client.create_bucket().bucket("parts").send().await.expect("created");
    let upload = client.create_multipart_upload().bucket("parts").key("big").send();
    upload.await.expect("begun").upload_id().expect("an id").to_owned()
}

async fn part(client: &Client, upload: &str, number: i32, body: Vec<u8>) -> CompletedPart {
    let sent = client
        .upload_part()
        .bucket("parts")
        .key("big")
        .upload_id(upload)
        .part_number(number)
        .body(ByteStream::from(body))
        .send()
        .await
        .expect("stored");
    CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag().map(str::to_owned)).build()
}

fn completed(parts: Vec<CompletedPart>) -> CompletedMultipartUpload {
    CompletedMultipartUpload::builder().set_parts(Some(parts)).build()
}

#[tokio::test]
async fn parts_become_one_artifact() {
    let server = Server::start();
    let client = server.client();
    let upload = begin(&client).await;
    let body = noise(5, 2 * PART + 1234);
    // Out of order, and one part twice.
    let third = part(&client, &upload, 9, body[2 * PART..].to_vec()).await;
    part(&client, &upload, 1, noise(6, PART)).await;
    let first = part(&client, &upload, 1, body[..PART].to_vec()).await;
    let second = part(&client, &upload, 4, body[PART..2 * PART].to_vec()).await;
    let listed = client.list_parts().bucket("parts").key("big").upload_id(&upload).send().await;
    assert_eq!(listed.expect("listed").parts().len(), 3);
    let uploads = client.list_multipart_uploads().bucket("parts").send().await.expect("listed");
    assert_eq!(uploads.uploads().len(), 1);
    let complete = || {
        client
            .complete_multipart_upload()
            .bucket("parts")
            .key("big")
            .upload_id(&upload)
            .multipart_upload(completed(vec![first.clone(), second.clone(), third.clone()]))
            .send()
    };
    let answer = complete().await.expect("completed");
    assert!(answer.e_tag().expect("a tag").ends_with("-3\""));
    let again = complete().await.expect("completed again");
    assert_eq!(again.e_tag(), answer.e_tag());

    let server = server.crash_and_restart();
    let client = server.client();
    let found = client.get_object().bucket("parts").key("big").send().await.expect("found");
    assert!(found.body.collect().await.expect("whole").to_vec() == body);
    let one = client.get_object().bucket("parts").key("big").part_number(2).send().await;
    let one = one.expect("found");
    assert_eq!(one.parts_count(), Some(3));
    assert!(one.body.collect().await.expect("whole").to_vec() == body[PART..2 * PART]);
    let uploads = client.list_multipart_uploads().bucket("parts").send().await.expect("listed");
    assert_eq!(uploads.uploads().len(), 0);
}

#[tokio::test]
async fn wrong_completions_are_refused_and_change_nothing() {
    let server = Server::start();
    let client = server.client();
    let upload = begin(&client).await;
    let first = part(&client, &upload, 1, noise(1, 1000)).await;
    let second = part(&client, &upload, 2, noise(2, 1000)).await;
    let absent =
        CompletedPart::builder().part_number(3).e_tag("\"00000000000000000000000000000000\"");
    for (parts, code) in [
        (vec![second.clone(), first.clone()], "InvalidPartOrder"),
        (vec![first.clone(), second.clone()], "EntityTooSmall"),
        (vec![first.clone(), absent.build()], "InvalidPart"),
    ] {
        let complete = client
            .complete_multipart_upload()
            .bucket("parts")
            .key("big")
            .upload_id(&upload)
            .multipart_upload(completed(parts));
        assert_eq!(complete.send().await.expect_err(code).code(), Some(code));
    }
    let head = client.head_object().bucket("parts").key("big").send().await;
    assert!(head.is_err(), "nothing was completed");
    let abort =
        || client.abort_multipart_upload().bucket("parts").key("big").upload_id(&upload).send();
    abort().await.expect("aborted");
    let late = client.list_parts().bucket("parts").key("big").upload_id(&upload).send().await;
    assert_eq!(late.expect_err("aborted").code(), Some("NoSuchUpload"));
}

#[tokio::test]
async fn a_part_can_be_copied_from_a_range() {
    let server = Server::start();
    let client = server.client();
    let upload = begin(&client).await;
    let body = noise(8, 6 << 20);
    let put = client.put_object().bucket("parts").key("src").body(ByteStream::from(body.clone()));
    put.send().await.expect("stored");
    let copied = client
        .upload_part_copy()
        .bucket("parts")
        .key("big")
        .upload_id(&upload)
        .part_number(1)
        .copy_source("parts/src")
        .copy_source_range("bytes=100-2000099")
        .send()
        .await
        .expect("copied");
    let tag = copied.copy_part_result().and_then(|part| part.e_tag()).expect("a tag").to_owned();
    let part = CompletedPart::builder().part_number(1).e_tag(tag).build();
    client
        .complete_multipart_upload()
        .bucket("parts")
        .key("big")
        .upload_id(&upload)
        .multipart_upload(completed(vec![part]))
        .send()
        .await
        .expect("completed");
    let found = client.get_object().bucket("parts").key("big").send().await.expect("found");
    assert!(found.body.collect().await.expect("whole").to_vec() == body[100..2_000_100]);
}
