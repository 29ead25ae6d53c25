//! Jobs of a study on two cores.

#![cfg(any(test, feature = "schema"))]

use std::sync::atomic::{AtomicUsize, Ordering};

use lab_api::LabError;

/// The results of jobs `0..count` in their order, two at a time: each takes one core.
///
/// # Errors
/// The first error that a worker met, or that one failed.
pub fn jobs_on_two_cores<T: Send>(
    count: usize,
    job: impl Fn(usize) -> Result<T, LabError> + Sync,
) -> Result<Vec<T>, LabError> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<Vec<(usize, T)>, LabError> {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= count {
                return Ok(done);
            }
            done.push((i, job(i)?));
        }
    };
    let both: Vec<_> = std::thread::scope(|scope| {
        let threads = [scope.spawn(worker), scope.spawn(worker)];
        threads.map(std::thread::ScopedJoinHandle::join).into_iter().collect()
    });
    let mut all = Vec::with_capacity(count);
    for found in both {
        all.extend(found.map_err(|_| LabError::Engine { why: "a thread of the study failed".into() })??);
    }
    all.sort_by_key(|one| one.0);
    Ok(all.into_iter().map(|one| one.1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_the_order_of_their_jobs_and_an_error_comes_out() {
        assert_eq!(jobs_on_two_cores(9, |i| Ok(i * i)).ok(), Some((0..9).map(|i| i * i).collect()));
        assert_eq!(jobs_on_two_cores(0, |_| Ok(())).ok(), Some(vec![]));
        let failed = jobs_on_two_cores(4, |i| if i == 2 { Err(LabError::Cancelled) } else { Ok(i) });
        assert!(matches!(failed, Err(LabError::Cancelled)));
    }
}
