//! Tenants do not see each other.

use crate::context::Context;
use crate::driver::{Driver, DriverError};
use crate::model::{ContainerQuery, ListQuery, TenantId, UploadQuery};

use super::{Bench, refused};

/// Tenants.
pub async fn tenants<D: Driver>(driver: &D) {
    let mine = Bench::of_tenant(driver, TenantId(801), "tenants-same").await;
    mine.put("key", b"mine").await;
    let upload = mine.begin("upload").await;
    let stranger = Context::internal(TenantId(802));
    let target = mine.target("key");
    refused!(driver.head_container(&stranger, &mine.container).await, DriverError::NoSuchContainer);
    refused!(driver.open(&stranger, target).await, DriverError::NoSuchContainer);
    refused!(
        driver.delete_container(&stranger, &mine.container).await,
        DriverError::NoSuchContainer
    );
    assert!(names(driver, &stranger).await.is_empty(), "another tenant's containers are listed");

    let theirs = Bench::of_tenant(driver, TenantId(802), "tenants-same").await;
    theirs.expect_none("key").await;
    theirs.expect_no_upload("upload", upload).await;
    let abort = driver.abort_upload(&theirs.ctx, theirs.target("upload"), upload).await;
    refused!(abort, DriverError::NoSuchUpload);
    let query = ListQuery { limit: 10, ..ListQuery::default() };
    let page = driver.list(&theirs.ctx, &theirs.container, &query).await.expect("list");
    assert!(page.entries.is_empty(), "another tenant's artifacts are listed");
    let query = UploadQuery { limit: 10, ..UploadQuery::default() };
    let page = driver.list_uploads(&theirs.ctx, &theirs.container, &query).await.expect("list");
    assert!(page.entries.is_empty(), "another tenant's uploads are listed");

    theirs.put("key", b"theirs").await;
    mine.expect("key", b"mine").await;
    theirs.expect("key", b"theirs").await;
    theirs.delete_if("key", crate::model::WriteCondition::None).await.expect("delete");
    driver.delete_container(&theirs.ctx, &theirs.container).await.expect("delete");
    mine.expect("key", b"mine").await;
    driver.head_upload(&mine.ctx, mine.target("upload"), upload).await.expect("still there");
    assert_eq!(names(driver, &mine.ctx).await, ["tenants-same"]);
    assert!(names(driver, &stranger).await.is_empty());
}

async fn names<D: Driver>(driver: &D, ctx: &Context) -> Vec<String> {
    let query = ContainerQuery { limit: 1000, ..ContainerQuery::default() };
    let page = driver.list_containers(ctx, &query).await.expect("list");
    page.containers.iter().map(|info| info.name.as_str().to_owned()).collect()
}
