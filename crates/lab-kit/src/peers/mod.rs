//! Workers that talk to each other in messages: the [`Link`] that each of them has, collective operations written against it, and
//! workers that take turns in one thread, so that numbers, bytes, messages and their order are real wherever a lab runs.
//!
//! Nothing above [`Link`] knows where the others are: a link to workers with threads of their own can take the place of [`Mail`].

mod collectives;
mod mail;
mod replay;

pub use collectives::{
    all_gather_ring, all_reduce_ring, gather_sum, part, reduce_scatter_ring, ring_pass, sum_by_arrival, take_in,
    to_bytes,
};
pub use mail::{Event, Mail, Port, Traffic, Work, in_turn};
pub use replay::{Span, Timeline, Wire, fit_wire, replay};

use lab_api::LabError;

use crate::LocalBoxFuture;

/// What one worker has of the others.
pub trait Link {
    /// Which worker this is, from 0.
    fn rank(&self) -> usize;
    /// How many there are.
    fn ranks(&self) -> usize;
    /// Sends a message, and goes on.
    fn send(&self, to: usize, message: Vec<u8>);
    /// The next message of another worker; waits until there is one.
    fn receive(&self, from: usize) -> LocalBoxFuture<'_, Result<Vec<u8>, LabError>>;
    /// Notes that something was computed here, on so many tokens: for who draws the order of events.
    fn mark(&self, work: Work, tokens: usize);
}

/// The link of a worker that has no others.
#[derive(Debug, Clone, Copy)]
pub struct Solo;

impl Link for Solo {
    fn rank(&self) -> usize {
        0
    }
    fn ranks(&self) -> usize {
        1
    }
    fn send(&self, _: usize, _: Vec<u8>) {}
    fn receive(&self, from: usize) -> LocalBoxFuture<'_, Result<Vec<u8>, LabError>> {
        let why = format!("a worker without others waits for worker {from}");
        Box::pin(std::future::ready(Err(LabError::Engine { why })))
    }
    fn mark(&self, _: Work, _: usize) {}
}
