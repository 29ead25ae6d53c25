//! Halving without rounds, for workers that never wait for each other.

use lab_api::LabError;

use super::{Done, Log, Reached, by_score};

/// How a trial gets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decides {
    /// It waits, and is promoted when it is among the best of its rung, however late that is (Li et al., 2020, arXiv:1810.05934).
    Promotion,
    /// Once, when it arrives, against those that came before: it goes on at once or never (as Ray Tune has it).
    Arrival,
}

/// Asynchronous successive halving: asked what to do next, and told what came of it.
#[derive(Debug, Clone)]
pub struct Asha {
    eta: usize,
    decides: Decides,
    /// Trials and scores of each rung.
    rungs: Vec<Vec<(f64, usize)>>,
    promoted: Vec<Vec<usize>>,
    /// Trials that go on from this rung at once.
    going: Vec<(usize, usize)>,
    started: usize,
    most: usize,
}

impl Asha {
    /// Of so many rungs, and `most` trials.
    #[must_use]
    pub fn new(rungs: usize, eta: usize, most: usize, decides: Decides) -> Self {
        let empty = || vec![Vec::new(); rungs.max(1)];
        let promoted = vec![Vec::new(); rungs.max(1)];
        Self { eta: eta.max(1), decides, rungs: empty(), promoted, going: Vec::new(), started: 0, most }
    }

    // ANCHOR: asha
    /// What a free worker should do: a trial, and the rung to bring it to. The highest promotion that is possible comes first; a
    /// new trial only if there is none.
    pub fn ask(&mut self) -> Option<(usize, usize)> {
        if let Some(job) = self.going.pop() {
            return Some(job);
        }
        if self.decides == Decides::Promotion {
            for rung in (0..self.rungs.len() - 1).rev() {
                let top = self.rungs[rung].len() / self.eta;
                let free = self.rungs[rung][..top].iter().find(|(_, trial)| !self.promoted[rung].contains(trial));
                if let Some((score, trial)) = free.copied()
                    && score.is_finite()
                {
                    self.promoted[rung].push(trial);
                    return Some((trial, rung + 1));
                }
            }
        }
        let trial = self.started;
        (trial < self.most).then(|| {
            self.started += 1;
            (trial, 0)
        })
    }

    /// What a trial scored at a rung.
    pub fn tell(&mut self, trial: usize, rung: usize, score: f64) {
        let scores = &mut self.rungs[rung];
        let place = scores.partition_point(|other| by_score(*other, (score, trial)).is_lt());
        let passes = place <= scores.len() / self.eta && score.is_finite();
        scores.insert(place, (score, trial));
        if self.decides == Decides::Arrival && rung + 1 < self.rungs.len() && passes {
            self.going.push((trial, rung + 1));
        }
    }
    // ANCHOR_END: asha
}

/// Runs it on so many workers, whose clock is the cost of what they do, until the budget is spent: what was begun is finished.
///
/// # Errors
/// What `advance` returns.
pub async fn asynchronous(
    asha: &mut Asha,
    rungs: &[usize],
    (workers, budget): (usize, f64),
    mut advance: impl AsyncFnMut(usize, usize) -> Result<Done, LabError>,
) -> Result<Log, LabError> {
    let (mut log, mut running, mut now, mut begun) = (Log::default(), Vec::<Reached>::new(), 0.0, 0.0);
    loop {
        while running.len() < workers.max(1) && begun < budget - 1e-9 {
            let Some((trial, rung)) = asha.ask() else { break };
            let Done { score, cost } = advance(trial, rungs[rung]).await?;
            begun += cost;
            running.push(Reached { trial, rung, score, cost, until: now + cost });
        }
        let first = running.iter().map(|one| one.until).min_by(f64::total_cmp);
        let Some(first) = first else { return Ok(log) };
        now = first;
        // Whoever ends at the same time is heard before anyone is asked.
        while let Some(place) = running.iter().position(|one| one.until <= now + 1e-9) {
            let one = running.remove(place);
            asha.tell(one.trial, one.rung, one.score);
            log.reached.push(one);
        }
    }
}
