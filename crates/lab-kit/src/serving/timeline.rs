//! Serving all requests, step by step: on a time line where each step takes what a cost says, or for real.

use lab_api::LabError;

use super::{Next, Order, Policy, Request, Rules, Scheduler, Step};

/// What became of one request, in milliseconds of the same clock.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// When it came.
    pub arrival_ms: f64,
    /// When a step first worked for it.
    pub begin_ms: f64,
    /// When each token was there.
    pub tokens_ms: Vec<f64>,
}

impl Trace {
    /// From its arrival to its first token.
    #[must_use]
    pub fn first_token_ms(&self) -> f64 {
        self.tokens_ms.first().map_or(0.0, |first| first - self.arrival_ms)
    }

    /// From its arrival to its last token.
    #[must_use]
    pub fn whole_ms(&self) -> f64 {
        self.tokens_ms.last().map_or(0.0, |last| last - self.arrival_ms)
    }

    /// Mean time from a token to the next. `None` with one token alone.
    #[must_use]
    pub fn per_token_ms(&self) -> Option<f64> {
        let (first, last) = (self.tokens_ms.first()?, self.tokens_ms.last()?);
        (self.tokens_ms.len() > 1).then(|| (last - first) / (self.tokens_ms.len() - 1) as f64)
    }
}

/// What became of all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Log {
    /// Request by request.
    pub traces: Vec<Trace>,
    /// Time spent in steps.
    pub busy_ms: f64,
    /// When the last step ended.
    pub end_ms: f64,
    /// Steps.
    pub steps: usize,
    /// Rows of steps that wrote, whether or not somebody wanted the token.
    pub rows: usize,
    /// Steps that wrote.
    pub writing: usize,
    /// Tokens that somebody asked for.
    pub tokens: usize,
    /// Most pages held at once.
    pub most_pages: usize,
    /// Mean over time of pages held, and of tokens in them.
    pub mean_pages: f64,
    /// See there.
    pub mean_tokens: f64,
    /// Sequences that began again.
    pub preemptions: usize,
}

impl Log {
    /// From arrival to first token, of each.
    #[must_use]
    pub fn first_tokens(&self) -> Vec<f64> {
        self.traces.iter().map(Trace::first_token_ms).collect()
    }

    /// All waits from one token to the next, of all requests.
    #[must_use]
    pub fn gaps(&self) -> Vec<f64> {
        self.traces.iter().flat_map(|trace| trace.tokens_ms.windows(2).map(|two| two[1] - two[0])).collect()
    }

    /// Tokens in a second, from the first arrival to the end.
    #[must_use]
    pub fn tokens_per_second(&self) -> f64 {
        let begin = self.traces.first().map_or(0.0, |trace| trace.arrival_ms);
        1e3 * self.tokens as f64 / (self.end_ms - begin).max(f64::MIN_POSITIVE)
    }
}

// ANCHOR: serve
/// Serves all requests: asks who is next, has the step computed, and lets time pass by what it took. Time in which nobody
/// is there is skipped, not waited for.
///
/// # Errors
/// [`Scheduler::new`]'s, and what a step returns.
pub async fn serve(
    requests: &[Request],
    rules: Rules,
    mut compute: impl AsyncFnMut(&Step) -> Result<f64, LabError>,
) -> Result<Log, LabError> {
    let mut scheduler = Scheduler::new(requests, rules)?;
    let (mut now, mut log) = (0.0, Log::of(requests));
    loop {
        match scheduler.plan(now) {
            Next::Done => return Ok(log.end(now, &scheduler)),
            Next::Wait(until) => now = until,
            Next::Step(step) => {
                let took = compute(&step).await?;
                log.note(&step, (now, took), &scheduler);
                now += took;
                for (id, _) in scheduler.finish(&step) {
                    log.traces[id].tokens_ms.push(now);
                    log.tokens += 1;
                }
            }
        }
    }
}
// ANCHOR_END: serve

/// The same on a time line: a step takes what `cost` says. With the policies of one after the other it is [`lindley`](super::lindley)'s
/// queue.
///
/// # Errors
/// [`Scheduler::new`]'s.
pub fn time_line(requests: &[Request], rules: Rules, cost: &dyn Fn(&Step) -> f64) -> Result<Log, LabError> {
    let mut serving = std::pin::pin!(serve(requests, rules, async |step: &Step| Ok(cost(step))));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match serving.as_mut().poll(&mut context) {
        std::task::Poll::Ready(log) => log,
        std::task::Poll::Pending => Err(LabError::Engine { why: "a cost waited for something".into() }),
    }
}

impl Log {
    fn of(requests: &[Request]) -> Self {
        let trace = |request: &Request| Trace {
            arrival_ms: request.arrival_ms,
            begin_ms: f64::INFINITY,
            tokens_ms: Vec::with_capacity(request.output),
        };
        Self { traces: requests.iter().map(trace).collect(), ..Self::default() }
    }

    fn note(&mut self, step: &Step, (now, took): (f64, f64), scheduler: &Scheduler) {
        for chunk in step.decode.iter().chain(&step.prefill) {
            let begin = &mut self.traces[chunk.id].begin_ms;
            *begin = begin.min(now);
        }
        self.steps += 1;
        self.rows += step.decode.len();
        self.writing += usize::from(!step.decode.is_empty());
        self.busy_ms += took;
        self.most_pages = self.most_pages.max(scheduler.held());
        self.mean_pages += took * scheduler.held() as f64;
        self.mean_tokens += took * scheduler.tokens_held() as f64;
    }

    fn end(mut self, now: f64, scheduler: &Scheduler) -> Self {
        self.end_ms = now;
        self.mean_pages /= self.busy_ms.max(f64::MIN_POSITIVE);
        self.mean_tokens /= self.busy_ms.max(f64::MIN_POSITIVE);
        self.preemptions = scheduler.preemptions();
        self
    }
}

/// Rules without a limit of memory, for whoever varies one of them.
impl Default for Rules {
    fn default() -> Self {
        Self {
            policy: Policy::Continuous,
            max_batch: 8,
            delay_ms: 20.0,
            budget: 32,
            order: Order::Fifo,
            pages: 1 << 20,
            page: 16,
            reserve: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Arrivals, Lengths, draw, lindley, pollaczek_khinchine};
    use super::*;

    const LENGTHS: Lengths = Lengths { prompt: (40.0, 8, 96), output: (40.0, 4, 96), spread: 0.7 };

    /// A fixed part, and something for each row.
    fn cost(step: &Step) -> f64 {
        let rows = step.decode.len() + step.prefill.iter().map(|chunk| chunk.to - chunk.from).sum::<usize>();
        0.4 + 0.2 * rows as f64
    }

    fn asked(rate: f64, count: usize) -> Vec<Request> {
        draw(count, rate, Arrivals::Poisson, &LENGTHS, &mut crate::rng(0, "requests"))
    }

    fn run(requests: &[Request], rules: Rules) -> Log {
        time_line(requests, rules, &cost).expect("works")
    }

    fn one() -> Rules {
        Rules { policy: Policy::One, ..Rules::default() }
    }

    #[test]
    fn one_after_the_other_is_lindleys_queue_and_its_mean_wait_is_that_of_theory() {
        let rate = 18.0;
        let requests = asked(rate, 20_000);
        let service: Vec<f64> =
            requests.iter().map(|r| 0.4 + 0.2 * r.prompt as f64 + 0.6 * (r.output - 1) as f64).collect();
        let arrivals: Vec<f64> = requests.iter().map(|request| request.arrival_ms).collect();
        let log = run(&requests, one());
        let waits = lindley(&arrivals, &service);
        for (trace, wait) in log.traces.iter().zip(&waits) {
            // The time line adds a step at a time: 20,000 requests of 50 steps at 1e6 ms.
            assert!((trace.begin_ms - trace.arrival_ms - wait).abs() < 1e-5, "{trace:?} {wait}");
        }
        let mean = waits.iter().sum::<f64>() / waits.len() as f64;
        let theory = pollaczek_khinchine(rate * 1e-3, &service).expect("stable");
        // At a load of about 0.65, waits are correlated over a few requests: 20,000 tell the mean to some 4 %.
        assert!((mean / theory - 1.0).abs() < 0.12, "{mean} {theory}");
    }

    #[test]
    fn what_cannot_batch_is_the_same_under_every_policy() {
        let requests = asked(15.0, 200);
        let alone = run(&requests, one());
        for policy in [Policy::Static, Policy::Dynamic, Policy::Continuous, Policy::Chunked] {
            // A budget larger than any prompt reads it whole.
            let rules = Rules { policy, max_batch: 1, delay_ms: 0.0, budget: 200, ..Rules::default() };
            let log = run(&requests, rules);
            assert_eq!(log.traces, alone.traces, "{policy:?}");
        }
    }

    #[test]
    fn each_token_once_and_littles_law() {
        let requests = asked(40.0, 300);
        let wanted: usize = requests.iter().map(|request| request.output).sum();
        for policy in [Policy::One, Policy::Static, Policy::Dynamic, Policy::Continuous, Policy::Chunked] {
            for (pages, reserve) in [(1 << 20, None), (24, None), (64, Some(192))] {
                let log = run(&requests, Rules { policy, pages, reserve, ..Rules::default() });
                assert_eq!(log.tokens, wanted, "{policy:?}");
                assert!(log.traces.iter().zip(&requests).all(|(trace, r)| trace.tokens_ms.len() == r.output));
                assert!(log.traces.iter().all(|trace| trace.tokens_ms.is_sorted()));
                assert!(log.most_pages <= pages && log.rows + requests.len() + log.preemptions >= wanted);
                // The mean number in the house, counted event by event, is the rate times the mean stay.
                let mut events: Vec<(f64, f64)> = Vec::new();
                for trace in &log.traces {
                    events.extend([(trace.arrival_ms, 1.0), (trace.arrival_ms + trace.whole_ms(), -1.0)]);
                }
                events.sort_by(|a, b| a.0.total_cmp(&b.0));
                let (mut inside, mut area) = (0.0, 0.0);
                for two in events.windows(2) {
                    inside += two[0].1;
                    area += inside * (two[1].0 - two[0].0);
                }
                let stays: f64 = log.traces.iter().map(Trace::whole_ms).sum();
                assert!((area / stays - 1.0).abs() < 1e-9, "{area} {stays}");
            }
        }
    }

    #[test]
    fn leaving_early_serves_more_than_waiting_for_the_longest() {
        // All at once: what is left is how fast the work gets done.
        let mut requests = asked(40.0, 200);
        requests.iter_mut().for_each(|request| request.arrival_ms = 0.0);
        let end = |policy| run(&requests, Rules { policy, ..Rules::default() }).end_ms;
        assert!(end(Policy::Continuous) < 0.8 * end(Policy::Static));
        assert!(end(Policy::Static) < end(Policy::One));
        let useful = |policy| {
            let log = run(&requests, Rules { policy, ..Rules::default() });
            log.rows + requests.len() - log.tokens
        };
        assert_eq!((useful(Policy::Continuous), useful(Policy::One)), (0, 0));
        assert!(useful(Policy::Static) > 1000, "padding");
    }

    #[test]
    fn pieces_of_prompts_shorten_the_longest_gap() {
        let requests = asked(30.0, 400);
        let longest =
            |policy| run(&requests, Rules { policy, ..Rules::default() }).gaps().into_iter().fold(0.0, f64::max);
        assert!(longest(Policy::Chunked) < 0.6 * longest(Policy::Continuous));
    }

    #[test]
    fn a_token_alone_has_no_time_for_each_and_nobody_takes_no_time() {
        let log = run(&[Request { arrival_ms: 3.0, prompt: 5, output: 1 }], one());
        assert_eq!((log.traces[0].per_token_ms(), log.traces[0].whole_ms()), (None, 1.4000000000000004));
        assert_eq!(run(&[], one()), Log::default());
    }
}
