use super::harness::{Server, request};
use crate::event::{Operation, Outcome};

#[test]
fn a_bucket_lives_and_dies() {
    let server = Server::new();
    let made = server.send(&request("PUT /another"));
    assert_eq!((made.status, made.header("location")), (200, Some("/another")));
    assert_eq!(made.outline.operation, Operation::CreateContainer);
    let again = server.send(&request("PUT /another"));
    assert_eq!(again.error(), (409, "BucketAlreadyOwnedByYou"));
    assert_eq!(again.element("BucketName"), Some("another"));
    let head = server.send(&request("HEAD /another"));
    assert_eq!((head.status, head.header("x-amz-bucket-region")), (200, Some("eu-test-1")));
    server.send(&request("PUT /another/k"));
    assert_eq!(server.send(&request("DELETE /another")).error(), (409, "BucketNotEmpty"));
    server.send(&request("DELETE /another/k"));
    assert_eq!(server.send(&request("DELETE /another")).status, 204);
    let gone = server.send(&request("HEAD /another"));
    assert_eq!((gone.status, gone.body.len()), (404, 0));
    assert_eq!(gone.outline.error_code, "NoSuchBucket");
    assert_eq!(server.send(&request("PUT /Bad_Name")).error(), (400, "InvalidBucketName"));
}

#[test]
fn a_bucket_is_made_in_our_region_without_locks() {
    let server = Server::new();
    let with = |location: &str| {
        let document = format!(
            "<CreateBucketConfiguration><LocationConstraint>{location}</LocationConstraint>\
             </CreateBucketConfiguration>"
        );
        server.send(&request(&format!("PUT /{location}")).body(document))
    };
    assert_eq!(with("eu-test-1").status, 200);
    assert_eq!(with("eu-test-2").error(), (400, "IllegalLocationConstraintException"));
    let locked = request("PUT /locked").with("x-amz-bucket-object-lock-enabled", "true");
    assert_eq!(server.send(&locked).error(), (501, "NotImplemented"));
    assert_eq!(server.send(&request("HEAD /locked")).status, 404);
    let bomb = request("PUT /bomb").body("<!DOCTYPE x [<!ENTITY a \"b\">]><a>&a;</a>");
    assert_eq!(server.send(&bomb).error(), (400, "MalformedXML"));
}

#[test]
fn buckets_are_listed_by_tenant_in_pages() {
    let server = Server::new();
    for name in ["aaa", "aab", "abc"] {
        assert_eq!(server.send(&request(&format!("PUT /{name}"))).status, 200);
    }
    let all = server.send(&request("GET /"));
    assert_eq!(all.elements("Name"), ["aaa", "aab", "abc", "bkt"]);
    assert_eq!(all.element("CreationDate"), Some("2020-01-01T00:00:00.000Z"));
    let page = server.send(&request("GET /?max-buckets=1&prefix=aa"));
    assert_eq!(page.elements("Name"), ["aaa"]);
    let token = page.element("ContinuationToken").expect("more");
    let next = server.send(&request(&format!("GET /?prefix=aa&continuation-token={token}")));
    assert_eq!(next.elements("Name"), ["aab"]);
    assert_eq!(next.element("ContinuationToken"), None);
    assert_eq!(server.send(&request("GET /?max-buckets=0")).error(), (400, "InvalidArgument"));
    assert_eq!(
        server.send(&request("GET /?continuation-token=x")).error(),
        (400, "InvalidArgument")
    );
    let other = server.send_as("two", &request("GET /"));
    assert_eq!((other.elements("Name").len(), other.tenant.0), (0, 7));
    assert_eq!(server.send_as("two", &request("GET /bkt")).error(), (404, "NoSuchBucket"));
}

#[test]
fn settings_say_that_they_are_not_set() {
    let server = Server::new();
    for (name, code) in [
        ("policy", "NoSuchBucketPolicy"),
        ("tagging", "NoSuchTagSet"),
        ("cors", "NoSuchCORSConfiguration"),
        ("lifecycle", "NoSuchLifecycleConfiguration"),
        ("encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("object-lock", "ObjectLockConfigurationNotFoundError"),
    ] {
        assert_eq!(server.send(&request(&format!("GET /bkt?{name}"))).error(), (404, code));
        let none = server.send(&request(&format!("GET /none?{name}")));
        assert_eq!(none.error(), (404, "NoSuchBucket"));
        let put = server.send(&request(&format!("PUT /bkt?{name}")).body("<x/>"));
        assert_eq!(put.error(), (501, "NotImplemented"));
        assert_eq!(put.outline.operation, Operation::Unsupported);
    }
    let location = server.send(&request("GET /bkt?location"));
    assert!(location.text().ends_with(">eu-test-1</LocationConstraint>"), "{}", location.text());
    let versioning = server.send(&request("GET /bkt?versioning"));
    assert!(versioning.text().contains("<VersioningConfiguration xmlns"));
    assert!(!versioning.text().contains("Status"));
    let acl = server.send(&request("GET /bkt?acl"));
    assert_eq!(acl.element("Permission"), Some("FULL_CONTROL"));
}

#[test]
fn the_expected_owner_is_checked() {
    let server = Server::new();
    let owner = server.send(&request("GET /")).element("ID").expect("an owner").to_owned();
    let head =
        |owner: &str| server.send(&request("GET /bkt").with("x-amz-expected-bucket-owner", owner));
    assert_eq!(head(&owner).status, 200);
    let refused = head("123456789012");
    assert_eq!(refused.error(), (403, "AccessDenied"));
    assert_eq!(refused.outline.outcome, Outcome::Denied);
}
