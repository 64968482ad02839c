//! Containers: creation, deletion, pages.

use crate::context::Context;
use crate::driver::{Driver, DriverError};
use crate::model::{ContainerInfo, ContainerQuery, TenantId, WriteCondition};

use super::{Bench, container_name, refused};

/// Containers.
pub async fn containers<D: Driver>(driver: &D) {
    life_of_a_container(driver).await;
    missing_container(driver).await;
    pages(driver).await;
}

async fn life_of_a_container<D: Driver>(driver: &D) {
    let bench = Bench::new(driver, "containers-life").await;
    let (ctx, name) = (&bench.ctx, &bench.container);
    let info = driver.head_container(ctx, name).await.expect("it was created");
    assert_eq!(info.name, *name);
    assert!(info.created_ms > 0, "created after 1970");
    refused!(driver.create_container(ctx, name).await, DriverError::ContainerExists);

    bench.put("key", b"value").await;
    refused!(driver.delete_container(ctx, name).await, DriverError::ContainerNotEmpty);
    bench.expect("key", b"value").await;
    bench.delete_if("key", WriteCondition::None).await.expect("delete");
    let upload = bench.begin("unfinished").await;
    driver.delete_container(ctx, name).await.expect("an upload does not keep a container");
    refused!(driver.head_container(ctx, name).await, DriverError::NoSuchContainer);
    refused!(driver.delete_container(ctx, name).await, DriverError::NoSuchContainer);

    driver.create_container(ctx, name).await.expect("its name is free again");
    bench.expect_none("key").await;
    let target = bench.target("unfinished");
    refused!(driver.head_upload(ctx, target, upload).await, DriverError::NoSuchUpload);
}

/// Whatever is asked of a container that is not there says just that.
async fn missing_container<D: Driver>(driver: &D) {
    let missing = Bench {
        driver,
        ctx: Context::internal(TenantId::DEFAULT),
        container: container_name("containers-missing"),
    };
    let (ctx, name, target) = (&missing.ctx, &missing.container, missing.target("key"));
    refused!(driver.head_container(ctx, name).await, DriverError::NoSuchContainer);
    refused!(missing.put_if("key", WriteCondition::None, b"x").await, DriverError::NoSuchContainer);
    refused!(driver.open(ctx, target).await, DriverError::NoSuchContainer);
    let deletions = [crate::driver::Deletion { key: target.key, condition: WriteCondition::None }];
    refused!(driver.delete(ctx, name, &deletions).await, DriverError::NoSuchContainer);
    let query = crate::model::ListQuery { limit: 1, ..Default::default() };
    refused!(driver.list(ctx, name, &query).await, DriverError::NoSuchContainer);
    let begun = driver.create_upload(ctx, target, Default::default()).await;
    refused!(begun, DriverError::NoSuchContainer);
    let query = crate::model::UploadQuery { limit: 1, ..Default::default() };
    refused!(driver.list_uploads(ctx, name, &query).await, DriverError::NoSuchContainer);
}

async fn pages<D: Driver>(driver: &D) {
    let tenant = TenantId(700);
    let mut names = ["page-b", "page-a", "page", "pagf", "other.one", "page-a.1", "0-first"];
    let mut created = Vec::new();
    for name in names {
        let bench = Bench::of_tenant(driver, tenant, name).await;
        created.push(driver.head_container(&bench.ctx, &bench.container).await.expect("head"));
    }
    names.sort_unstable();
    created.sort_unstable_by_key(|info| info.name);
    let ctx = Context::internal(tenant);
    for limit in [1, 2, 6, 7, 1000] {
        for (prefix, after) in
            [("", None), ("page-", None), ("", Some("page")), ("page", Some("page-a")), ("z", None)]
        {
            let mut query = ContainerQuery {
                prefix: prefix.to_owned(),
                after: after.map(str::to_owned),
                limit,
            };
            let fits = |info: &&ContainerInfo| {
                let name = info.name.as_str();
                name.starts_with(prefix) && after.is_none_or(|after| name > after)
            };
            let expected: Vec<_> = created.iter().filter(fits).cloned().collect();
            let mut listed = Vec::new();
            loop {
                let page = driver.list_containers(&ctx, &query).await.expect("list");
                assert!(page.containers.len() <= limit, "a page keeps to its limit");
                listed.extend(page.containers);
                if !page.truncated {
                    break;
                }
                let last = listed.last().expect("a page that is cut off has entries");
                query.after = Some(last.name.as_str().to_owned());
            }
            assert_eq!(listed, expected, "prefix {prefix:?}, after {after:?}, limit {limit}");
        }
    }
}
