//! A full disk: what is deleted makes room again.

use std::rc::Rc;

use vaultaire::driver::{Deletion, Driver as _, DriverError, Target, WriteSpec};
use vaultaire::model::{ContainerName, UploadId, WriteCondition};
use vaultaire::runtime::simulated::Random;

use super::content::Body;
use super::model::Name;
use super::observe::{
    BOX_KEY, BOXES, CONTAINERS, KEYS, box_container, container, ctx, key, key_text,
};
use super::register::{Action, Answer, Condition};
use super::workload::{Bench, End, wait};

/// How often a request is made again that was refused, and how long to wait before it.
const TRIES: u32 = 60;
const PATIENCE_MS: u64 = 400;

/// Deletes everything, which a full disk may refuse only for a while; then writes must be taken again, and soon.
pub(crate) async fn make_room(bench: &Rc<Bench>, mut random: Random) {
    let uploads = bench.model.borrow().uploads();
    for (c, k, id, _) in uploads {
        abort(bench, c, k, id).await;
    }
    for number in 0..CONTAINERS {
        for k in 0..KEYS {
            delete(bench, Name::Key(number, k), container(number), &key_text(k)).await;
        }
    }
    for number in 0..BOXES {
        delete(bench, Name::Box(number), box_container(number), BOX_KEY).await;
    }
    for size in [900, 5000] {
        put(bench, random.below(bench.cores.len()), size).await;
    }
}

async fn abort(bench: &Rc<Bench>, c: u8, k: u8, id: UploadId) {
    let (container, text) = (container(c), key_text(k));
    let abort = async || {
        let target = Target { container: &container, key: key(&text) };
        bench.end(bench.cores[0].abort_upload(&ctx(), target, id).await)
    };
    remove(bench, Name::Upload(c, k, id.0), Action::Delete(Condition::Present), abort).await;
}

async fn delete(bench: &Rc<Bench>, name: Name, container: ContainerName, text: &str) {
    let action = match name {
        Name::Box(_) => Action::DeleteInside,
        _ => Action::Delete(Condition::None),
    };
    let delete = async || {
        let deletion = Deletion { key: key(text), condition: WriteCondition::None };
        let result = bench.cores[0].delete(&ctx(), &container, &[deletion]).await;
        bench.end(result.map(drop))
    };
    remove(bench, name, action, delete).await;
}

/// Tries to remove something until that is not refused.
async fn remove(bench: &Rc<Bench>, name: Name, action: Action, attempt: impl AsyncFn() -> End) {
    for _ in 0..TRIES {
        let operation = bench.invoke(&[(name, action)]);
        let end = attempt().await;
        let refused = matches!(end, End::Nothing);
        bench.finish(operation, &[name], end);
        if !refused {
            return;
        }
        wait(bench, PATIENCE_MS).await;
    }
    bench.complain(format!("{name:?} cannot be deleted, since the disk is full"));
}

async fn put(bench: &Rc<Bench>, core: usize, size: usize) {
    let (c, k) = (0, 0);
    let name = Name::Key(c, k);
    let (container, text) = (container(c), key_text(k));
    let mut last = None;
    for _ in 0..TRIES {
        let value = bench.contents.borrow_mut().add(name, size, false);
        let mut body = Body::new(value, bench.contents.borrow().bytes(value), true, 4096);
        let operation = bench.invoke(&[(name, Action::Put(value, Condition::None))]);
        let target = Target { container: &container, key: key(&text) };
        let result = bench.cores[core].put(&ctx(), target, WriteSpec::default(), &mut body).await;
        last = result.as_ref().err().map(DriverError::to_string);
        let end = bench.end(result.map(drop));
        let done = matches!(end, End::Answered(Answer::Done));
        bench.finish(operation, &[name], end);
        if done {
            return;
        }
        wait(bench, PATIENCE_MS).await;
    }
    let files = bench.disk.files();
    bench.complain(format!("nothing is left and {size} bytes find no room: {last:?}, {files:?}"));
}
