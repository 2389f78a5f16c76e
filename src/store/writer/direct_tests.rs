//! The short way is taken by who is alone, and a disk that hangs stops nobody else.

use std::sync::Arc;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::*;
use crate::store::machine::Machine;
use crate::store::tests::{config, vault};
use crate::store::writer::Pending;
use crate::store::writer::thread::tests::{Gate, Gated, answer, publish, stored};
use crate::store::{Host, Reader, Store, Submit, Writer, open_on};
use crate::telemetry::Metrics;

fn open(host: Arc<dyn Host>) -> (Reader, Submit, Writer, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let opened = open_on(host, &config(dir.path()), Arc::new(Metrics::default()), vault());
    let Store { reader, submit, writer, .. } = opened.expect("opens");
    (reader, submit, writer, dir)
}

/// Opens the short way, as so many groups would.
fn open_way(core: &Core) {
    let opened = (0..LONE).any(|_| core.lone.count(1, Duration::ZERO));
    if opened {
        core.queue.call();
    }
}

fn message(id: &str) -> (Message, Pending) {
    let (sender, pending) = oneshot::channel();
    (Message::Command(publish(id), sender, 0), pending)
}

fn commit(core: &Core, message: Message) {
    let way = core.short_way().expect("nobody else is there");
    core.commit_here(way, message);
}

#[test]
fn only_quick_groups_of_one_command_in_a_row_open_the_short_way() {
    let lone = Lone::default();
    for (commands, took) in [(1, QUICK), (2, Duration::ZERO)] {
        assert!(!(1..LONE).any(|_| lone.count(1, Duration::ZERO)));
        assert!(!lone.count(commands, took), "begins anew");
    }
    assert!(!(1..LONE).any(|_| lone.count(1, Duration::ZERO)));
    assert!(lone.count(1, Duration::ZERO), "opens");
    assert!(!lone.count(1, Duration::ZERO), "is open");
    assert_eq!(lone.tick(), Some(TICK));
    assert!(!lone.is_open(), "no runtime");
    let one = Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    assert!(!one.block_on(async { lone.is_open() }), "no other thread");
    let two = Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    assert!(two.block_on(async { lone.is_open() }));
    lone.step();
    lone.look();
    assert_eq!(lone.tick(), Some(TICK), "somebody took it since");
    lone.step();
    lone.look();
    lone.look();
    assert_eq!(lone.tick(), None, "nobody does any more");
}

#[tokio::test]
async fn who_is_alone_commits_in_place_and_readers_learn_of_it() {
    let (reader, _submit, writer, _dir) = open(Arc::new(Machine));
    let core = &writer.core;
    let mut end = core.shared.tail.watch();
    let (first, mut pending) = message("a");
    commit(core, first);
    assert!(matches!(pending.try_recv(), Ok(Ok(_))), "answered before it returns");
    assert!(end.has_changed().expect("open"), "told at once: there is no teller");
    end.mark_unchanged();
    let mut telling = Box::pin(core.shared.tail.telling());
    assert!(futures_pending(&mut telling).await);
    let (second, _pending) = message("b");
    commit(core, second);
    assert!(!end.has_changed().expect("open"), "the teller was asked");
    assert!(futures_pending(&mut telling).await);
    assert!(end.has_changed().expect("open"), "and told");
    assert_eq!(reader.next_offset(), 2);
    // Asked, and gone before it could tell.
    end.mark_unchanged();
    commit(core, message("c").0);
    drop(telling);
    assert!(end.has_changed().expect("open"));
}

/// Polls once. True: it is not done.
async fn futures_pending(future: &mut (impl Future + Unpin)) -> bool {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
    })
    .await
}

#[tokio::test]
async fn the_short_way_is_left_to_whoever_was_there_before() {
    let (_reader, submit, mut writer, _dir) = open(Arc::new(Machine));
    {
        let core = &writer.core;
        let held = core.stage();
        assert!(core.short_way().is_none(), "somebody decides");
        drop(held);
        let held = core.commit();
        assert!(core.short_way().is_none(), "somebody has the disk");
        drop(held);
        core.put_into_slot(Group::default());
        assert!(core.short_way().is_none(), "somebody waits for the disk");
        core.take_from_slot();
        commit(core, message("a").0);
    }
    submit.close();
    assert!(writer.turn().expect("served"));
    assert!(writer.core.short_way().is_none(), "the writer has ended");
}

#[test]
fn a_disk_that_hangs_on_the_short_way_stops_nobody_else() {
    let gate = Arc::new(Gate::default());
    let (_reader, submit, writer, _dir) = open(Arc::new(Gated(gate.clone())));
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let core = &writer.core;
    std::thread::scope(|scope| {
        let threads = [(), ()].map(|()| scope.spawn(|| core.work()));
        for offset in 0..10 {
            // The sender wakes up by a timer: on the thread that waits for all timers.
            let timer = runtime.spawn(async { tokio::time::sleep(Duration::from_millis(9)).await });
            gate.shut();
            open_way(core);
            let submit = submit.clone();
            let sending = runtime.spawn(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let pending = submit.offer(publish(&offset.to_string()));
                [pending.expect("room")]
            });
            gate.until_somebody_waits();
            runtime.block_on(timer).expect("others go on");
            gate.release(false);
            let [pending] = runtime.block_on(sending).expect("sent");
            assert_eq!(answer(pending), stored(offset, false));
        }
        submit.close();
        for thread in threads {
            thread.join().expect("no panic").expect("a clean end");
        }
    });
}
