//! What all workers do together. Each calls the same function with its own numbers.

use std::ops::Range;

use lab_api::LabError;

use super::Link;

/// The part of `length` numbers that belongs to a worker.
#[must_use]
pub fn part(length: usize, ranks: usize, rank: usize) -> Range<usize> {
    length * rank / ranks..length * (rank + 1) / ranks
}

/// A message of numbers.
#[must_use]
pub fn to_bytes(x: &[f32]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn numbers(message: &[u8]) -> impl Iterator<Item = f32> {
    message.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

/// Adds the numbers of a message.
pub fn take_in(to: &mut [f32], message: &[u8]) {
    to.iter_mut().zip(numbers(message)).for_each(|(x, y)| *x += y);
}

fn copy(to: &mut [f32], message: &[u8]) {
    to.iter_mut().zip(numbers(message)).for_each(|(x, y)| *x = y);
}

// ANCHOR: gather
/// Everybody's numbers summed at worker 0, and the sum sent to all.
///
/// # Errors
/// A lost peer.
pub async fn gather_sum(link: &dyn Link, x: &mut [f32]) -> Result<(), LabError> {
    if link.rank() > 0 {
        link.send(0, to_bytes(x));
        copy(x, &link.receive(0).await?);
        return Ok(());
    }
    for from in 1..link.ranks() {
        take_in(x, &link.receive(from).await?);
    }
    for to in 1..link.ranks() {
        link.send(to, to_bytes(x));
    }
    Ok(())
}
// ANCHOR_END: gather

// ANCHOR: ring
/// Around a ring: in each of `n - 1` turns everybody sends one part to the next worker, and adds the part that comes. A part has
/// then met all workers, the one it belongs to last. Gives that part; of the others, unfinished sums are left (Patarasuk and Yuan, 2009).
///
/// # Errors
/// A lost peer.
pub async fn reduce_scatter_ring(link: &dyn Link, x: &mut [f32]) -> Result<Range<usize>, LabError> {
    let (n, rank) = (link.ranks(), link.rank());
    let of = |turn: usize| part(x.len(), n, (rank + 2 * n - turn) % n);
    let parts: Vec<Range<usize>> = (1..=n).map(of).collect();
    for turn in 0..n - 1 {
        link.send((rank + 1) % n, to_bytes(&x[parts[turn].clone()]));
        let message = link.receive((rank + n - 1) % n).await?;
        take_in(&mut x[parts[turn + 1].clone()], &message);
    }
    Ok(part(x.len(), n, rank))
}
// ANCHOR_END: ring

// ANCHOR: all_gather
/// The other half: everybody's finished part goes once around the ring, and is copied where it comes by.
///
/// # Errors
/// A lost peer.
pub async fn all_gather_ring(link: &dyn Link, x: &mut [f32]) -> Result<(), LabError> {
    let (n, rank) = (link.ranks(), link.rank());
    for turn in 0..n - 1 {
        let [sent, got] = [turn, turn + 1].map(|turn| part(x.len(), n, (rank + n - turn) % n));
        link.send((rank + 1) % n, to_bytes(&x[sent]));
        let message = link.receive((rank + n - 1) % n).await?;
        copy(&mut x[got], &message);
    }
    Ok(())
}

/// Both halves: everybody has the sum, and everybody has the same bits, since each part was summed on one way.
///
/// # Errors
/// A lost peer.
pub async fn all_reduce_ring(link: &dyn Link, x: &mut [f32]) -> Result<(), LabError> {
    reduce_scatter_ring(link, x).await?;
    all_gather_ring(link, x).await
}
// ANCHOR_END: all_gather

// ANCHOR: arrival
/// Everybody sends all numbers to everybody, and adds what comes to its own, the next worker's first. Each sum is right, and each
/// worker has added in another order.
///
/// # Errors
/// A lost peer.
pub async fn sum_by_arrival(link: &dyn Link, x: &mut [f32]) -> Result<(), LabError> {
    let (n, rank) = (link.ranks(), link.rank());
    for to in (1..n).map(|i| (rank + i) % n) {
        link.send(to, to_bytes(x));
    }
    for from in (1..n).map(|i| (rank + i) % n) {
        take_in(x, &link.receive(from).await?);
    }
    Ok(())
}
// ANCHOR_END: arrival

/// A message of everybody, once around the ring; gives all of them in the order of ranks.
///
/// # Errors
/// A lost peer.
pub async fn ring_pass(link: &dyn Link, own: Vec<u8>) -> Result<Vec<Vec<u8>>, LabError> {
    let (n, rank) = (link.ranks(), link.rank());
    let mut all = vec![Vec::new(); n];
    all[rank] = own;
    for turn in 0..n - 1 {
        link.send((rank + 1) % n, all[(rank + n - turn) % n].clone());
        all[(rank + n - turn - 1) % n] = link.receive((rank + n - 1) % n).await?;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;
    use crate::{
        LocalBoxFuture,
        peers::{Mail, Port, Traffic, in_turn},
        testing::ready,
    };

    type Call = for<'a> fn(&'a Port, &'a mut Vec<f32>) -> LocalBoxFuture<'a, Result<(), LabError>>;

    /// What each worker has afterwards, and what each has sent.
    fn run(mut all: Vec<Vec<f32>>, call: Call) -> (Vec<Vec<f32>>, Vec<Traffic>) {
        let mail = Mail::new(all.len());
        let ports = mail.ports();
        let workers = ports.iter().zip(&mut all).map(|(port, x)| call(port, x)).collect();
        ready(in_turn(&mail, workers, async || Ok(()))).expect("runs");
        (all, mail.sent())
    }

    const RING: Call = |port, x| Box::pin(async move { all_reduce_ring(port, x).await });
    const SCATTER: Call = |port, x| Box::pin(async move { reduce_scatter_ring(port, x).await.map(|_| ()) });
    const GATHER: Call = |port, x| Box::pin(async move { gather_sum(port, x).await });
    const ARRIVAL: Call = |port, x| Box::pin(async move { sum_by_arrival(port, x).await });

    fn draw(n: usize, length: usize, whole: bool) -> Vec<Vec<f32>> {
        let mut rng = crate::rng(n as u64, "peers");
        let mut one = || {
            if whole { rng.random_range(-1000..1000) as f32 } else { rng.random_range(-1.0..1.0_f32) / 3.0 }
        };
        (0..n).map(|_| (0..length).map(|_| one()).collect()).collect()
    }

    #[test]
    fn every_way_gives_the_sum_at_every_length_and_number_of_workers() {
        for n in 1..=8 {
            for length in [0, 1, n - 1, n, n + 1, if n == 3 { 100_003 } else { 1003 }] {
                let all = draw(n, length, true);
                let right: Vec<f32> = (0..length).map(|i| all.iter().map(|x| x[i]).sum()).collect();
                for call in [RING, GATHER, ARRIVAL] {
                    let (found, _) = run(all.clone(), call);
                    assert!(found.iter().all(|x| *x == right), "{n} {length}");
                }
                let (found, sent) = run(all, SCATTER);
                for (rank, x) in found.iter().enumerate() {
                    let own = part(length, n, rank);
                    assert_eq!(x[own.clone()], right[own], "{n} {length}");
                }
                assert!(sent.iter().all(|sent| sent.messages == n - 1));
            }
        }
    }

    #[test]
    fn bytes_are_those_of_the_formulas() {
        let (n, length) = (4, 1000);
        let of = |call| run(draw(n, length, false), call).1;
        assert!(of(RING).iter().all(|sent| *sent == Traffic { messages: 6, bytes: 6000 }));
        assert!(of(SCATTER).iter().all(|sent| *sent == Traffic { messages: 3, bytes: 3000 }));
        let gather = of(GATHER);
        assert_eq!(gather[0], Traffic { messages: 3, bytes: 12_000 });
        assert_eq!(gather[3], Traffic { messages: 1, bytes: 4000 });
        assert!(of(ARRIVAL).iter().all(|sent| *sent == Traffic { messages: 3, bytes: 12_000 }));
        assert_eq!(run(draw(1, 10, false), RING).1, [Traffic::default()]);
    }

    #[test]
    fn a_ring_sums_each_part_on_one_way_and_arrival_does_not() {
        let (n, length) = (4, 4000);
        let all = draw(n, length, false);
        let (ring, _) = run(all.clone(), RING);
        assert!(ring.iter().all(|x| *x == ring[0]));
        // The part of worker c begins at worker c + 1 and ends at its owner.
        for c in 0..n {
            for i in part(length, n, c) {
                let on_its_way = (2..=n).fold(all[(c + 1) % n][i], |sum, turn| sum + all[(c + turn) % n][i]);
                assert_eq!(ring[0][i], on_its_way);
            }
        }
        let (arrival, _) = run(all, ARRIVAL);
        assert!(arrival[1..].iter().all(|x| *x != arrival[0]));
        assert!(arrival[0].iter().zip(&ring[0]).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn messages_of_all_come_in_the_order_of_ranks() {
        let mail = Mail::new(5);
        let ports = mail.ports();
        let mut found = vec![Vec::new(); 5];
        let workers = ports
            .iter()
            .zip(&mut found)
            .map(|(port, found)| -> LocalBoxFuture<'_, Result<(), LabError>> {
                Box::pin(async move {
                    *found = ring_pass(port, vec![port.rank() as u8; port.rank()]).await?;
                    Ok(())
                })
            })
            .collect();
        ready(in_turn(&mail, workers, async || Ok(()))).expect("runs");
        let right: Vec<Vec<u8>> = (0..5).map(|rank| vec![rank as u8; rank]).collect();
        assert!(found.iter().all(|all| *all == right));
    }

    #[test]
    fn a_lost_worker_is_named_and_nobody_waits_for_ever() {
        let mail = Mail::new(3);
        let ports = mail.ports();
        let mut x = vec![vec![1.0_f32; 9]; 3];
        let workers = ports
            .iter()
            .zip(&mut x)
            .map(|(port, x)| -> LocalBoxFuture<'_, Result<(), LabError>> {
                Box::pin(async move { if port.rank() == 2 { Ok(()) } else { all_reduce_ring(port, x).await } })
            })
            .collect();
        match ready(in_turn(&mail, workers, async || Ok(()))) {
            Err(LabError::Engine { why }) => assert!(why.contains("worker 0 waits for worker 2"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
}
