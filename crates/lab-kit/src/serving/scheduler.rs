//! Who is served next. The scheduler knows no clock and no model: one code decides for a real run and for a time line.

use lab_api::LabError;

use super::Pages;
use crate::order::Ordered as _;

/// What somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Request {
    /// When it comes, in milliseconds.
    pub arrival_ms: f64,
    /// Tokens to read.
    pub prompt: usize,
    /// Tokens to write, one at least.
    pub output: usize,
}

/// How requests come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// One after the other.
    One,
    /// A batch begins when it is full and ends with its longest member.
    Static,
    /// The same, but a batch also begins when somebody has waited long enough.
    Dynamic,
    /// Who has come joins at the next step, who is done leaves (Yu et al., Orca, OSDI 2022). A prompt is read whole, alone.
    Continuous,
    /// The same with a budget of tokens for each step: first one for each that writes, then pieces of prompts (Agrawal et al.,
    /// Sarathi-Serve, arXiv:2403.02310).
    Chunked,
}

/// Who of those who wait comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Who came first.
    Fifo,
    /// Who needs the fewest tokens, as if that were known.
    Shortest,
    /// The same, but each 10 ms of waiting count as a token less.
    Aged,
}

/// What the scheduler goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// How requests come together.
    pub policy: Policy,
    /// Sequences in a step at most.
    pub max_batch: usize,
    /// Longest wait for company, in milliseconds (dynamic).
    pub delay_ms: f64,
    /// Tokens in a step at most (chunked).
    pub budget: usize,
    /// Who comes first.
    pub order: Order,
    /// Pages in all.
    pub pages: usize,
    /// Tokens of a page.
    pub page: usize,
    /// Tokens that are set aside for each sequence when it begins. `None`: pages as it grows.
    pub reserve: Option<usize>,
}

/// A piece of a sequence that a step reads: tokens `from..to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The request.
    pub id: usize,
    /// First token.
    pub from: usize,
    /// One past the last.
    pub to: usize,
    /// Whether the next token is wanted: the piece ends with all that is known.
    pub last: bool,
    /// Pages of the sequence.
    pub table: Vec<usize>,
}

/// What the model computes at once: pieces of one token for those who write, longer ones for those who read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Those who write.
    pub decode: Vec<Chunk>,
    /// Those who read.
    pub prefill: Vec<Chunk>,
}

/// What is next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// A step.
    Step(Step),
    /// Nothing before this time.
    Wait(f64),
    /// Nothing at all: everybody is served.
    Done,
}

#[derive(Debug, Clone)]
struct Running {
    id: usize,
    /// Tokens whose keys and values lie in the pages.
    read: usize,
    /// Tokens to read before another is written.
    known: usize,
    written: usize,
    table: Vec<usize>,
}

/// The scheduler at work.
#[derive(Debug, Clone)]
pub struct Scheduler<'a> {
    requests: &'a [Request],
    rules: Rules,
    coming: usize,
    waiting: Vec<(usize, usize)>,
    running: Vec<Running>,
    pages: Pages,
    preemptions: usize,
}

impl<'a> Scheduler<'a> {
    /// For requests in the order of their arrival.
    ///
    /// # Errors
    /// [`LabError::Refused`] for what cannot work: a request that does not fit the pool even alone, no sequence in a step, a budget that those who write
    /// use up, a negative delay, a request without a token to read or to write.
    pub fn new(requests: &'a [Request], rules: Rules) -> Result<Self, LabError> {
        let refuse = |why: String| Err(LabError::Refused { why });
        if rules.max_batch == 0 || rules.delay_ms.is_nan() || rules.delay_ms < 0.0 {
            return refuse("a step needs a sequence, and a delay is 0 or more".into());
        }
        if rules.policy == Policy::Chunked && rules.budget < rules.max_batch {
            return refuse(format!(
                "{} sequences may write, so that a budget of {} tokens leaves none to read a prompt: take {} or more",
                rules.max_batch, rules.budget, rules.max_batch
            ));
        }
        let pages = Pages::new(rules.pages, rules.page);
        for request in requests {
            if request.prompt == 0 || request.output == 0 {
                return refuse("a request needs a token to read and a token to write".into());
            }
            let tokens = rules.reserve.unwrap_or(0).max(request.prompt + request.output);
            if pages.needed(tokens) > rules.pages {
                return refuse(format!(
                    "a request of {tokens} tokens takes {} pages of {} tokens, and there are {}",
                    pages.needed(tokens),
                    rules.page,
                    rules.pages
                ));
            }
        }
        let (coming, preemptions) = (0, 0);
        Ok(Self { requests, rules, coming, waiting: Vec::new(), running: Vec::new(), pages, preemptions })
    }

    /// Pages that somebody holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.pages.held()
    }

    /// Sequences that lost their pages, and begin again.
    #[must_use]
    pub fn preemptions(&self) -> usize {
        self.preemptions
    }

    /// Tokens whose keys and values lie in pages.
    #[must_use]
    pub fn tokens_held(&self) -> usize {
        self.running.iter().map(|one| one.read).sum()
    }

    fn in_batches(&self) -> bool {
        matches!(self.rules.policy, Policy::One | Policy::Static | Policy::Dynamic)
    }

    // ANCHOR: plan
    /// What to compute next, at this time.
    pub fn plan(&mut self, now: f64) -> Next {
        while self.coming < self.requests.len() && self.requests[self.coming].arrival_ms <= now {
            self.waiting.push((self.coming, 0));
            self.coming += 1;
        }
        self.sort(now);
        if self.in_batches() {
            if self.running.is_empty()
                && let Some(until) = self.begin_batch(now)
            {
                return until;
            }
            return Next::Step(self.whole_prompt_or_write());
        }
        self.join();
        if self.running.is_empty() {
            return self.rest();
        }
        match self.rules.policy {
            Policy::Chunked => Next::Step(self.share_the_budget()),
            _ => Next::Step(self.whole_prompt_or_write()),
        }
    }

    /// Lets in who fits, at every step.
    fn join(&mut self) {
        while self.running.len() < self.rules.max_batch && !self.waiting.is_empty() {
            let (id, written) = self.waiting[0];
            let known = self.requests[id].prompt + written;
            let (mut table, room) = (Vec::new(), self.room(known));
            // Where pages are given out as sequences grow, one stays free for each that runs, or who joins would soon be
            // sent away again.
            let spare = if self.rules.reserve.is_some() { 0 } else { self.running.len() };
            if self.pages.needed(room) + spare > self.pages.free() || !self.pages.grow(&mut table, room) {
                return;
            }
            self.waiting.remove(0);
            self.running.push(Running { id, read: 0, known, written, table });
        }
    }
    // ANCHOR_END: plan

    fn rest(&self) -> Next {
        self.requests.get(self.coming).map_or(Next::Done, |next| Next::Wait(next.arrival_ms))
    }

    fn sort(&mut self, now: f64) {
        let (requests, order) = (self.requests, self.rules.order);
        if order == Order::Fifo {
            self.waiting.sort_unstable();
            return;
        }
        let key = |id: usize| {
            let tokens = (requests[id].prompt + requests[id].output) as f64;
            if order == Order::Aged { tokens - 0.1 * (now - requests[id].arrival_ms) } else { tokens }
        };
        self.waiting.ordered_by(&|a, b| key(a.0).total_cmp(&key(b.0)).then(a.0.cmp(&b.0)));
    }

    // ANCHOR: begin_batch
    /// Begins a batch if it is time; otherwise says until when to wait.
    fn begin_batch(&mut self, now: f64) -> Option<Next> {
        let wanted = if self.rules.policy == Policy::One { 1 } else { self.rules.max_batch };
        let mut until = self.rest();
        let due = self.waiting.iter().map(|(id, _)| self.requests[*id].arrival_ms).fold(f64::INFINITY, f64::min)
            + self.rules.delay_ms;
        let late = self.rules.policy == Policy::Dynamic && due <= now;
        if self.waiting.is_empty() || (self.waiting.len() < wanted && !late && until != Next::Done) {
            if let (Policy::Dynamic, Next::Wait(time)) = (self.rules.policy, &mut until) {
                *time = time.min(due);
            }
            return Some(until);
        }
        // As many as find room until the longest of them has ended.
        let (mut longest, mut prompts, mut count) = (0, Vec::new(), 0);
        for (id, _) in self.waiting.iter().take(wanted) {
            longest = longest.max(self.requests[*id].output);
            prompts.push(self.requests[*id].prompt);
            let pages: usize = prompts.iter().map(|prompt| self.pages.needed(self.room(prompt + longest))).sum();
            if pages > self.pages.total() && count > 0 {
                longest = self.waiting[..count].iter().map(|(id, _)| self.requests[*id].output).max().unwrap_or(0);
                break;
            }
            count += 1;
        }
        for (id, written) in self.waiting.drain(..count).collect::<Vec<_>>() {
            let (known, mut table) = (self.requests[id].prompt, Vec::new());
            self.pages.grow(&mut table, self.room(known + longest));
            self.running.push(Running { id, read: 0, known, written, table });
        }
        None
    }
    // ANCHOR_END: begin_batch

    fn room(&self, tokens: usize) -> usize {
        self.rules.reserve.unwrap_or(0).max(tokens)
    }

    // ANCHOR: continuous
    /// A prompt, whole and alone, if there is one to read; otherwise a token for everybody.
    fn whole_prompt_or_write(&mut self) -> Step {
        if let Some(one) = self.running.iter().find(|one| one.read < one.known) {
            return Step { decode: vec![], prefill: vec![one.chunk(one.known)] };
        }
        self.make_room();
        Step { decode: self.running.iter().map(|one| one.chunk(one.read + 1)).collect(), prefill: vec![] }
    }

    /// A token for everybody who writes, and what is left of the budget for those who read.
    fn share_the_budget(&mut self) -> Step {
        self.make_room();
        let (writing, reading): (Vec<_>, Vec<_>) = self.running.iter().partition(|one| one.read >= one.known);
        let decode: Vec<Chunk> = writing.iter().map(|one| one.chunk(one.read + 1)).collect();
        let (mut left, mut prefill) = (self.rules.budget.saturating_sub(decode.len()), Vec::new());
        for one in reading {
            let piece = left.min(one.known - one.read);
            if piece > 0 {
                prefill.push(one.chunk(one.read + piece));
                left -= piece;
            }
        }
        Step { decode, prefill }
    }

    /// Finds a page for each new token. Where there is none, who joined last gives back what it holds and begins again.
    fn make_room(&mut self) {
        let mut i = 0;
        while i < self.running.len() {
            let one = &mut self.running[i];
            if one.read < one.known || self.pages.grow(&mut one.table, one.read + 1) {
                i += 1;
                continue;
            }
            let Some(mut last) = self.running.pop() else { return };
            self.pages.release(&mut last.table);
            self.waiting.push((last.id, last.written));
            self.preemptions += 1;
        }
    }
    // ANCHOR_END: continuous

    /// Takes note of a step that was computed. Gives the requests that got a token they asked for, and whether it was the last.
    pub fn finish(&mut self, step: &Step) -> Vec<(usize, bool)> {
        let mut told = Vec::new();
        for chunk in step.decode.iter().chain(&step.prefill) {
            let Some(one) = self.running.iter_mut().find(|one| one.id == chunk.id) else { continue };
            one.read = chunk.to;
            if chunk.last {
                one.written += 1;
                // The token that was just written is known, and read at the next step.
                let output = self.requests[one.id].output;
                if one.written <= output {
                    told.push((one.id, one.written == output));
                }
            }
        }
        let requests = self.requests;
        let done = |one: &Running| one.written >= requests[one.id].output;
        let (together, all) = (self.in_batches(), self.running.iter().all(done));
        for i in (0..self.running.len()).rev() {
            if if together { all } else { done(&self.running[i]) } {
                let mut one = self.running.remove(i);
                self.pages.release(&mut one.table);
            }
        }
        told
    }
}

impl Running {
    fn chunk(&self, to: usize) -> Chunk {
        Chunk { id: self.id, from: self.read, to, last: to >= self.known, table: self.table.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(policy: Policy) -> Rules {
        Rules { policy, max_batch: 2, delay_ms: 5.0, budget: 4, order: Order::Fifo, pages: 100, page: 4, reserve: None }
    }

    fn asked(all: &[(f64, usize, usize)]) -> Vec<Request> {
        all.iter().map(|&(arrival_ms, prompt, output)| Request { arrival_ms, prompt, output }).collect()
    }

    /// Steps in words: `w` for each that writes, `r3` for three tokens read, each with its request.
    fn steps(requests: &[Request], rules: Rules) -> Vec<String> {
        let mut scheduler = Scheduler::new(requests, rules).expect("works");
        let (mut now, mut words) = (0.0, Vec::new());
        loop {
            match scheduler.plan(now) {
                Next::Done => return words,
                Next::Wait(until) => {
                    assert!(until > now, "waits for what is past");
                    now = until;
                }
                Next::Step(step) => {
                    let write = step.decode.iter().map(|chunk| format!("w{}", chunk.id));
                    let read = step.prefill.iter().map(|chunk| format!("r{}:{}", chunk.id, chunk.to - chunk.from));
                    words.push(write.chain(read).collect::<Vec<_>>().join(" "));
                    now += 1.0;
                    scheduler.finish(&step);
                }
            }
        }
    }

    #[test]
    fn the_order_of_steps_by_hand() {
        let requests = asked(&[(0.0, 3, 3), (0.0, 6, 1), (0.0, 2, 2)]);
        // The first token comes from reading the prompt, so that an output of 3 takes two more steps.
        assert_eq!(steps(&requests, rules(Policy::One)), ["r0:3", "w0", "w0", "r1:6", "r2:2", "w2"]);
        // Two begin. The one whose output is shorter is computed until the other is done.
        assert_eq!(steps(&requests, rules(Policy::Static)), ["r0:3", "r1:6", "w0 w1", "w0 w1", "r2:2", "w2"]);
        // The second leaves when it is done, and the third takes its place.
        assert_eq!(steps(&requests, rules(Policy::Continuous)), ["r0:3", "r1:6", "r2:2", "w0 w2", "w0"]);
        // Four tokens a step: the second prompt is read in pieces, beside the tokens of the first.
        assert_eq!(steps(&requests, rules(Policy::Chunked)), ["r0:3 r1:1", "w0 r1:3", "w0 r1:2", "r2:2", "w2"]);
    }

    #[test]
    fn a_batch_waits_for_company_and_no_longer_than_it_may() {
        let late = asked(&[(0.0, 1, 1), (3.0, 1, 1), (50.0, 1, 1)]);
        let start = |policy, delay_ms| {
            let mut scheduler = Scheduler::new(&late, Rules { delay_ms, ..rules(policy) }).expect("works");
            scheduler.plan(0.0)
        };
        assert_eq!(start(Policy::Static, 0.0), Next::Wait(3.0));
        assert_eq!(start(Policy::Dynamic, 2.0), Next::Wait(2.0));
        assert!(matches!(start(Policy::Dynamic, 0.0), Next::Step(_)));
        // The last of all waits for nobody who does not come.
        assert_eq!(steps(&late, rules(Policy::Static)).len(), 3);
    }

    #[test]
    fn without_pages_the_last_gives_way_and_everything_is_still_written_once() {
        let requests = asked(&[(0.0, 4, 9), (0.0, 4, 9), (0.0, 4, 2)]);
        for policy in [Policy::Continuous, Policy::Chunked] {
            let tight = Rules { pages: 4, ..rules(policy) };
            let mut scheduler = Scheduler::new(&requests, tight).expect("works");
            let (mut told, mut guard) = (vec![0; 3], 0);
            while let Next::Step(step) = scheduler.plan(0.0) {
                for chunk in step.decode.iter().chain(&step.prefill) {
                    assert!(chunk.to <= chunk.table.len() * 4, "a token without a place");
                }
                let mut owned: Vec<usize> =
                    step.decode.iter().chain(&step.prefill).flat_map(|chunk| chunk.table.clone()).collect();
                owned.sort_unstable();
                assert!(owned.windows(2).all(|two| two[0] < two[1]), "a page has two owners");
                scheduler.finish(&step).iter().for_each(|(id, _)| told[*id] += 1);
                guard += 1;
                assert!(guard < 200, "it goes on for ever");
            }
            assert_eq!((told, scheduler.held()), (vec![9, 9, 2], 0));
            assert!(scheduler.preemptions() > 0);
        }
        let why = Scheduler::new(&requests, Rules { pages: 3, ..rules(Policy::Continuous) })
            .expect_err("too small")
            .to_string();
        assert!(why.contains("13 tokens takes 4 pages"), "{why}");
        let why =
            Scheduler::new(&requests, Rules { budget: 1, ..rules(Policy::Chunked) }).expect_err("starves").to_string();
        assert!(why.contains("take 2 or more"), "{why}");
    }

    #[test]
    fn the_shortest_first_lets_the_long_one_starve_and_age_cures_it() {
        // A long one, and a short one every millisecond: more than is served.
        let mut all = vec![(0.0, 1, 1), (0.0, 40, 1)];
        all.extend((0..2000).map(|i| (0.5 * f64::from(i), 1, 1)));
        let mut requests = asked(&all);
        requests.sort_by(|a, b| a.arrival_ms.total_cmp(&b.arrival_ms));
        let long = requests.iter().position(|request| request.prompt == 40).expect("there");
        let when = |order| {
            let words = steps(&requests, Rules { order, ..rules(Policy::One) });
            words.iter().position(|word| *word == format!("r{long}:40")).expect("served")
        };
        assert_eq!(when(Order::Shortest), 2001);
        // Its 39 more tokens are made up for after 390 ms more of waiting, when short ones have waited half as long as it has.
        assert!(when(Order::Fifo) < 3 && when(Order::Aged) < 1000);
    }
}
