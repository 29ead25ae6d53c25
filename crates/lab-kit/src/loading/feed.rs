//! Batches in their order, made ahead.

use std::collections::VecDeque;

use lab_api::LabError;

use super::{
    Answer, BatchSequence, LoaderPool, Made, Reorder, Wanted,
    pool::{silent, stopped},
};
use crate::Context;

/// Bits of a number that count batches; those above tell feeds of one pool apart.
const COUNT: u32 = 32;

/// Hands a trainer its batches by number: made by some of a pool's workers, or in line. A pool serves one feed at a time; what another
/// feed had asked for is thrown away.
pub struct Feed<'a> {
    pool: &'a LoaderPool,
    workers: usize,
    depth: usize,
    copied: bool,
    tag: u64,
    asked: u64,
    taken: u64,
    reorder: Reorder<Made>,
    items: VecDeque<Vec<u32>>,
    spare: Vec<Vec<f32>>,
    busy: Vec<usize>,
    most: usize,
    checked_ms: f64,
}

impl<'a> Feed<'a> {
    /// From batch `first` on, with so many of the pool's workers. At most `depth` batches are asked for and not yet taken. `copied`:
    /// workers hand over copies.
    #[must_use]
    pub fn new(pool: &'a LoaderPool, workers: usize, depth: usize, copied: bool, first: u64) -> Self {
        let workers = workers.min(pool.workers());
        // What another feed asked for and did not take is told by its tag.
        let tag = pool.feeds.get();
        pool.feeds.set(tag + 1);
        Self {
            pool,
            workers,
            depth: depth.max(1),
            copied,
            tag,
            asked: first,
            taken: first,
            reorder: Reorder::new(first),
            items: VecDeque::new(),
            spare: Vec::new(),
            busy: vec![0; workers],
            most: 0,
            checked_ms: f64::NEG_INFINITY,
        }
    }

    /// The most batches that were asked for and not taken.
    #[must_use]
    pub fn most_in_flight(&self) -> usize {
        self.most
    }

    /// An empty buffer, for a later batch.
    pub fn give_back(&mut self, buffer: Vec<f32>) {
        if self.spare.len() <= self.depth {
            self.spare.push(buffer);
        }
    }

    // ANCHOR: ask
    /// Asks for batches until `depth` are under way: the only brake that a loader needs.
    fn ask(&mut self, sequence: &mut BatchSequence) {
        while self.asked - self.taken < self.depth as u64 {
            // To who has least to do.
            let Some(worker) = (0..self.workers).min_by_key(|worker| self.busy[*worker]) else { return };
            let wanted = self.wanted(sequence, self.asked);
            self.busy[worker] += 1;
            if let Some(port) = &self.pool.port {
                port.send(worker, wanted);
            }
            self.asked += 1;
            self.most = self.most.max((self.asked - self.taken) as usize);
        }
    }
    // ANCHOR_END: ask

    fn wanted(&mut self, sequence: &mut BatchSequence, number: u64) -> Wanted {
        let (epoch, items) = sequence.batch(number);
        self.items.push_back(items.clone());
        let buffer = self.spare.pop().unwrap_or_default();
        Wanted { number: self.tag << COUNT | number, epoch, items, copied: self.copied, buffer, blank: 0 }
    }

    /// Waits until nothing is under way any more, and throws it away: a pool serves one feed at a time.
    ///
    /// # Errors
    /// As [`Feed::next`].
    pub async fn settle(mut self, cx: &Context) -> Result<(), LabError> {
        let Some(port) = &self.pool.port else { return Ok(()) };
        let began = port.now_ms();
        loop {
            self.hear()?;
            if self.busy.iter().all(|busy| *busy == 0) {
                return Ok(());
            }
            port.wait().await;
            silent(port.now_ms() - began)?;
            cx.checkpoint().await?;
        }
    }

    /// Takes in what has come.
    fn hear(&mut self) -> Result<(), LabError> {
        while let Some(answer) = self.pool.port.as_ref().and_then(|port| port.receive()) {
            match answer {
                Answer::Failed { worker, why } => return Err(stopped(worker, &why)),
                Answer::Made(made) if made.number >> COUNT == self.tag => {
                    self.busy[made.worker - 1] -= 1;
                    self.reorder.push(made.number & ((1 << COUNT) - 1), made)?;
                }
                Answer::Made(_) => {}
            }
        }
        Ok(())
    }

    /// The next batch by number, and its items. Waits for it where it is not there, and never for ever.
    ///
    /// # Errors
    /// [`LabError::Cancelled`]; [`LabError::Engine`] for a worker that stopped, with what it was at, or that is silent.
    pub async fn next(&mut self, sequence: &mut BatchSequence, cx: &Context) -> Result<(Made, Vec<u32>), LabError> {
        let Some(port) = self.pool.port.as_ref().filter(|_| self.workers > 0) else {
            return self.in_line(sequence, cx);
        };
        self.ask(sequence);
        let began = port.now_ms();
        self.checked_ms = self.checked_ms.max(began);
        loop {
            self.hear()?;
            if let Some(made) = self.reorder.pop() {
                self.taken += 1;
                let items = self.items.pop_front().unwrap_or_default();
                self.ask(sequence);
                return Ok((made, items));
            }
            port.wait().await;
            let now = port.now_ms();
            silent(now - began)?;
            if now - self.checked_ms > 15.0 {
                self.checked_ms = now;
                cx.checkpoint().await?;
            }
        }
    }

    /// Made by the trainer itself.
    fn in_line(&mut self, sequence: &mut BatchSequence, cx: &Context) -> Result<(Made, Vec<u32>), LabError> {
        let mut wanted = self.wanted(sequence, self.taken);
        self.taken += 1;
        let items = self.items.pop_front().unwrap_or_default();
        let began = self.pool.now_ms(cx);
        let made = self.pool.maker.borrow_mut().make(&mut wanted);
        let (values, hits) = made.map_err(|why| LabError::Engine { why: format!("loading stopped: {why}") })?;
        let span = [began, self.pool.now_ms(cx)];
        Ok((Made { number: wanted.number, worker: 0, values, span, hits }, items))
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc, sync::Arc};

    use lab_kernels::augment::Dice;

    use super::*;
    use crate::{
        LocalBoxFuture,
        loading::{Alter, Arrange, ItemRows, KeptItems, Letter, LetterBox, LoadPlan, LoaderPort},
        testing::{FakeClock, context, ready},
    };

    fn plan(slow: bool) -> LoadPlan {
        let mut dice = Dice::new(1, 2, 3);
        let data = (0..100 * 128).map(|_| dice.word() as u8).collect();
        let (alter, kept) = (Alter::Affine, KeptItems::Nothing);
        LoadPlan { seed: 5, rows: ItemRows::Pictures(16), alter, kept, slow, data: Arc::new(data) }
    }

    fn sequence() -> BatchSequence {
        BatchSequence::new((0..100).collect(), Arrange::Full, 8, 3)
    }

    fn take(pool: &LoaderPool, workers: usize, depth: usize, batches: std::ops::Range<u64>) -> Vec<Vec<f32>> {
        let cx = context(Rc::new(FakeClock::real()));
        let (mut feed, mut sequence) = (Feed::new(pool, workers, depth, false, batches.start), sequence());
        let all = batches
            .map(|number| {
                let (mut made, items) = ready(feed.next(&mut sequence, &cx)).expect("a batch");
                assert_eq!((made.number & 0xffff_ffff, items.len()), (number, 8));
                let values = made.values.clone();
                made.values.fill(f32::NAN);
                feed.give_back(made.values);
                values
            })
            .collect();
        let flight = if workers == 0 { 0 } else { depth };
        assert_eq!(feed.most_in_flight(), flight, "{workers} workers, depth {depth}");
        all
    }

    #[test]
    fn batches_are_bitwise_equal_for_all_workers_and_depths_and_after_a_resume() {
        let cx = context(Rc::new(FakeClock::real()));
        let pool = ready(LoaderPool::start(&plan(true), 4, &cx));
        assert_eq!((pool.workers(), pool.why()), (4, None));
        let right = take(&pool, 0, 1, 0..40);
        for workers in 1..=4 {
            for depth in [1, 2, 3, 5, 8, 16] {
                assert!(take(&pool, workers, depth, 0..40) == right, "{workers} workers, depth {depth}");
            }
        }
        assert!(take(&pool, 2, 4, 37..40) == right[37..]);
        let (mut feed, mut order) = (Feed::new(&pool, 4, 16, false, 0), sequence());
        ready(feed.next(&mut order, &cx)).expect("a batch");
        ready(feed.settle(&cx)).expect("nothing is under way");
        assert!(pool.port.as_ref().is_some_and(|port| port.receive().is_none()));
        assert!(ready(pool.round_trip(1000, true, &cx)).expect("comes").expect("a worker") >= 0.0);
    }

    /// A port without threads: letters as they pass between workers of a page, answered in a random order.
    struct Fake {
        boxes: RefCell<Vec<LetterBox>>,
        letters: RefCell<Vec<(usize, Letter)>>,
        dice: RefCell<Dice>,
        dies_at: Option<u64>,
    }

    impl Fake {
        fn pool(seed: u64, dies_at: Option<u64>) -> LoaderPool {
            let plan = plan(false);
            let first = plan.letter();
            let read = |_| LetterBox::open(&first, plan.data.to_vec()).expect("a plan");
            let boxes = RefCell::new((0..3).map(read).collect());
            let dice = RefCell::new(Dice::new(seed, 0, 0));
            LoaderPool::on(Box::new(Self { boxes, letters: RefCell::default(), dice, dies_at }), &plan)
        }
    }

    impl LoaderPort for Fake {
        fn workers(&self) -> usize {
            3
        }
        fn send(&self, worker: usize, wanted: Wanted) {
            self.letters.borrow_mut().push((worker, wanted.letter()));
        }
        fn receive(&self) -> Option<Answer> {
            // Half of the time nothing has come.
            let mut letters = self.letters.borrow_mut();
            if letters.is_empty() || self.dice.borrow_mut().below(2) == 0 {
                return None;
            }
            let (worker, letter) = {
                let which = self.dice.borrow_mut().below(letters.len());
                letters.remove(which)
            };
            let clock = || 1.5;
            let mut answer = self.boxes.borrow_mut()[worker].answer(&letter, Vec::new(), &clock);
            if self.dies_at == Some(letter.head[0] as u64) {
                answer = Letter::failed("epoch 0, item 9: it fell over");
            }
            Some(Answer::of(worker + 1, answer))
        }
        fn wait(&self) -> LocalBoxFuture<'_, ()> {
            Box::pin(std::future::ready(()))
        }
        fn now_ms(&self) -> f64 {
            0.0
        }
    }

    #[test]
    fn letters_that_come_in_any_order_give_the_same_batches() {
        let right = take(&Fake::pool(0, None), 0, 1, 0..30);
        for seed in 0..20 {
            let pool = Fake::pool(seed, None);
            for (workers, depth) in [(3, 7), (2, 2), (1, 4)] {
                assert!(take(&pool, workers, depth, 0..30) == right, "{seed}");
            }
        }
    }

    #[test]
    fn a_worker_that_dies_is_named_with_epoch_and_item() {
        let cx = context(Rc::new(FakeClock::real()));
        let pool = Fake::pool(3, Some(6));
        let (mut feed, mut sequence) = (Feed::new(&pool, 3, 4, false, 0), sequence());
        let failed = (0..30).find_map(|_| ready(feed.next(&mut sequence, &cx)).err());
        let Some(LabError::Engine { why }) = failed else { panic!("{failed:?}") };
        assert!(why.starts_with("worker ") && why.ends_with("epoch 0, item 9: it fell over"), "{why}");
    }

    /// A port that never answers.
    struct Mute(std::cell::Cell<f64>);

    impl LoaderPort for Mute {
        fn workers(&self) -> usize {
            1
        }
        fn send(&self, _worker: usize, _wanted: Wanted) {}
        fn receive(&self) -> Option<Answer> {
            None
        }
        fn wait(&self) -> LocalBoxFuture<'_, ()> {
            self.0.set(self.0.get() + 20.0);
            Box::pin(std::future::ready(()))
        }
        fn now_ms(&self) -> f64 {
            self.0.get()
        }
    }

    #[test]
    fn waiting_ends_by_cancel_or_by_patience() {
        let clock = Rc::new(FakeClock::real());
        let cx = context(clock.clone());
        let pool = LoaderPool::on(Box::new(Mute(Default::default())), &plan(false));
        let failed = ready(Feed::new(&pool, 1, 2, false, 0).next(&mut sequence(), &cx)).map(|one| one.1);
        let Err(LabError::Engine { why }) = failed else { panic!("{failed:?}") };
        assert!(why.contains("20 seconds"), "{why}");
        clock.cancel();
        let stopped = ready(Feed::new(&pool, 1, 2, false, 0).next(&mut sequence(), &cx)).map(|one| one.1);
        assert_eq!(stopped, Err(LabError::Cancelled));
        assert_eq!(ready(pool.round_trip(10, false, &cx)), Err(LabError::Cancelled));
    }

    #[test]
    fn refused_workers_are_told_and_batches_are_made_in_line() {
        let cx = context(Rc::new(FakeClock::real()));
        super::super::install(Some(|_, _| Box::pin(std::future::ready(Err("the page forbids it".to_owned())))));
        let pool = ready(LoaderPool::start(&plan(false), 2, &cx));
        super::super::install(None);
        assert_eq!((pool.workers(), pool.why()), (0, Some("the page forbids it")));
        let mut feed = Feed::new(&pool, 2, 4, false, 0);
        let (made, _) = ready(feed.next(&mut sequence(), &cx)).expect("in line");
        assert_eq!((made.worker, feed.most_in_flight()), (0, 0));
        assert_eq!(ready(pool.round_trip(10, false, &cx)), Ok(None));
    }
}
