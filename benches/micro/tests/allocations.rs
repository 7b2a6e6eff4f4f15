//! Parsing a message and reading it allocates nothing; building one allocates its buffer.

use benches_micro::{b_leg, invite, typed_access};
use sip::Message;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = dhat::HeapStats::get().total_blocks;
    work();
    dhat::HeapStats::get().total_blocks - before
}

/// One test, because the counters belong to the process.
#[test]
fn reading_allocates_nothing() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let bytes = invite();
    let message = Message::parse(bytes.clone()).unwrap();
    let mut sum = 0;

    let reading = allocations(|| {
        let message = Message::parse(bytes.clone()).unwrap();
        sum = typed_access(&message);
    });
    let checking = allocations(|| message.check().unwrap());
    let peeking = allocations(|| assert!(sip::peek(&bytes).is_some()));
    let building = allocations(|| drop(b_leg(&message)));

    assert!(sum > 0);
    assert_eq!((reading, checking, peeking), (0, 0, 0));
    assert!(building <= 3, "building took {building} allocations");
}
