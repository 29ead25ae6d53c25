//! Workers as threads, with bounded channels.

use std::{
    cell::RefCell,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{Answer, BatchMaker, LoaderPlace, LoaderPort, Made, Wanted};
use crate::LocalBoxFuture;

/// Letters that may lie in a worker's channel: more than any depth.
const ROOM: usize = 256;
const PATIENCE: Duration = Duration::from_millis(20);

/// Threads that make batches until they are dropped.
pub(super) struct Threads {
    to: Vec<SyncSender<Wanted>>,
    from: RefCell<Option<Receiver<Answer>>>,
    here: RefCell<VecDeque<Answer>>,
    threads: Vec<JoinHandle<()>>,
    start: Instant,
}

/// What a thread runs: a maker, or in tests what fails.
pub(super) trait LoaderWork: Send + 'static {
    /// See [`BatchMaker::make`].
    fn work(&mut self, wanted: &mut Wanted) -> Result<(Vec<f32>, u32), String>;
    /// See [`BatchMaker::place`].
    fn at(&self) -> LoaderPlace;
}

impl LoaderWork for BatchMaker {
    fn work(&mut self, wanted: &mut Wanted) -> Result<(Vec<f32>, u32), String> {
        self.make(wanted)
    }
    fn at(&self) -> LoaderPlace {
        self.place()
    }
}

impl Threads {
    /// Starts so many.
    pub(super) fn start<W: LoaderWork>(workers: usize, mut maker: impl FnMut() -> W) -> Result<Self, String> {
        let (answers, from) = sync_channel(ROOM);
        let start = Instant::now();
        let (mut to, mut threads) = (Vec::new(), Vec::new());
        for worker in 1..=workers {
            let (send, wishes) = sync_channel::<Wanted>(ROOM);
            let (answers, mut maker) = (answers.clone(), maker());
            let run = move || {
                // Ends when nobody can wish any more, or nobody listens.
                while let Ok(wanted) = wishes.recv() {
                    let answer = answer(worker, &mut maker, wanted, start);
                    let failed = matches!(answer, Answer::Failed { .. });
                    if answers.send(answer).is_err() || failed {
                        return;
                    }
                }
            };
            let thread = std::thread::Builder::new().name(format!("loader {worker}")).spawn(run);
            threads.push(thread.map_err(|error| format!("a thread could not be started ({error})"))?);
            to.push(send);
        }
        Ok(Self { to, from: RefCell::new(Some(from)), here: RefCell::default(), threads, start })
    }
}

/// Makes a batch; a panic becomes an answer with the item that it was at.
fn answer(worker: usize, maker: &mut impl LoaderWork, mut wanted: Wanted, start: Instant) -> Answer {
    let now = || start.elapsed().as_secs_f64() * 1e3;
    let began = now();
    match catch_unwind(AssertUnwindSafe(|| maker.work(&mut wanted))) {
        Ok(Ok((values, hits))) => {
            let span = [began, now()];
            let values = if wanted.copied { values.clone() } else { values };
            Answer::Made(Made { number: wanted.number, worker, values, span, hits })
        }
        Ok(Err(why)) => Answer::Failed { worker, why },
        Err(panic) => {
            let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
            let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Answer::Failed { worker, why: format!("{}: {words}", maker.at()) }
        }
    }
}

impl LoaderPort for Threads {
    fn workers(&self) -> usize {
        self.to.len()
    }

    fn send(&self, worker: usize, wanted: Wanted) {
        let why = match self.to[worker].try_send(wanted) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => "too much was asked of it",
            Err(TrySendError::Disconnected(_)) => "it is gone",
        };
        self.here.borrow_mut().push_back(Answer::Failed { worker: worker + 1, why: why.into() });
    }

    fn receive(&self) -> Option<Answer> {
        // What a worker said last outranks that it is gone.
        let came = self.from.borrow().as_ref().and_then(|from| from.try_recv().ok());
        came.or_else(|| self.here.borrow_mut().pop_front())
    }

    fn wait(&self) -> LocalBoxFuture<'_, ()> {
        // Blocks: natively nothing else waits for this thread.
        if self.here.borrow().is_empty()
            && let Some(answer) = self.from.borrow().as_ref().and_then(|from| from.recv_timeout(PATIENCE).ok())
        {
            self.here.borrow_mut().push_back(answer);
        }
        Box::pin(std::future::ready(()))
    }

    fn now_ms(&self) -> f64 {
        self.start.elapsed().as_secs_f64() * 1e3
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.to.clear();
        // A worker that waits to be heard hears that nobody listens.
        self.from.take();
        for thread in self.threads.drain(..) {
            // It panics in no way that is not an answer already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::testing::ready;

    /// Fails at one item: by a panic, or by words; counts who is alive.
    struct Fails(Arc<AtomicUsize>, LoaderPlace);

    impl LoaderWork for Fails {
        fn work(&mut self, wanted: &mut Wanted) -> Result<(Vec<f32>, u32), String> {
            self.1.set(wanted.epoch, wanted.items[0]);
            assert_ne!(wanted.items[0], 13, "thirteen");
            Ok((vec![wanted.items[0] as f32], 0))
        }
        fn at(&self) -> LoaderPlace {
            self.1.clone()
        }
    }

    impl Drop for Fails {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn next(threads: &Threads) -> Answer {
        loop {
            if let Some(answer) = threads.receive() {
                return answer;
            }
            ready(threads.wait());
        }
    }

    fn wish(item: u32) -> Wanted {
        Wanted { epoch: 4, items: vec![item], ..Wanted::default() }
    }

    #[test]
    fn a_panic_names_epoch_and_item_its_worker_is_gone_and_children_end() {
        let alive = Arc::new(AtomicUsize::new(0));
        let threads = Threads::start(2, || {
            alive.fetch_add(1, Ordering::SeqCst);
            Fails(Arc::clone(&alive), LoaderPlace::default())
        })
        .expect("threads");
        threads.send(1, wish(7));
        assert!(matches!(next(&threads), Answer::Made(made) if made.worker == 2 && made.values == [7.0]));
        threads.send(0, wish(13));
        let Answer::Failed { worker: 1, why } = next(&threads) else { panic!("it failed") };
        assert!(why.starts_with("epoch 4, item 13: ") && why.contains("thirteen"), "{why}");
        // The other one still works, and who asks the dead one is told.
        threads.send(1, wish(8));
        assert!(matches!(next(&threads), Answer::Made(_)));
        while alive.load(Ordering::SeqCst) > 1 {
            std::thread::yield_now();
        }
        threads.send(0, wish(9));
        assert_eq!(next(&threads), Answer::Failed { worker: 1, why: "it is gone".into() });
        // Dropped with work under way.
        (0..20).for_each(|item| threads.send(1, wish(item + 20)));
        drop(threads);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }
}
