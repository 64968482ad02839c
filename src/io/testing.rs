//! Runs one future on an executor like a core's, for unit tests.

/// Runs `future` to its end on a ring of its own, with timers and a small blocking pool.
pub fn run<F: Future>(future: F) -> F::Output {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(256)
        .enable_timer()
        .attach_thread_pool(Box::new(monoio::blocking::DefaultThreadPool::new(2)))
        .build()
        .expect("a ring");
    runtime.block_on(future)
}
