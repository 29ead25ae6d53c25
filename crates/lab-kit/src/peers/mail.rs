//! Workers in one thread: boxes for messages between each two, and turns.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use lab_api::LabError;

use super::Link;
use crate::LocalBoxFuture;

/// What a worker has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Messages.
    pub messages: usize,
    /// Bytes in them.
    pub bytes: usize,
}

/// What a worker computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A unit of the network, forward.
    Forward(usize),
    /// The same, backward.
    Backward(usize),
    /// New weights, of so many.
    Update(usize),
}

/// Something that happened to a worker, in the order of its own doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A message left.
    Send {
        /// From this worker.
        from: usize,
        /// To this one.
        to: usize,
        /// So long.
        bytes: usize,
    },
    /// A message was taken.
    Receive {
        /// By this worker.
        at: usize,
        /// From this one.
        from: usize,
    },
    /// Something was computed.
    Work {
        /// By this worker.
        at: usize,
        /// What.
        work: Work,
        /// On so many tokens.
        tokens: usize,
    },
}

#[derive(Debug, Default)]
struct Inner {
    /// From worker `f` to worker `t`: `boxes[f * ranks + t]`.
    boxes: Vec<VecDeque<Vec<u8>>>,
    sent: Vec<Traffic>,
    waits: Vec<Option<usize>>,
    events: Vec<Event>,
    moves: usize,
}

/// The messages between some workers.
#[derive(Debug)]
pub struct Mail {
    ranks: usize,
    inner: RefCell<Inner>,
}

impl Mail {
    /// Between so many workers.
    #[must_use]
    pub fn new(ranks: usize) -> Rc<Self> {
        let inner = Inner {
            boxes: vec![VecDeque::new(); ranks * ranks],
            sent: vec![Traffic::default(); ranks],
            waits: vec![None; ranks],
            ..Inner::default()
        };
        Rc::new(Self { ranks, inner: RefCell::new(inner) })
    }

    /// The link of each worker.
    #[must_use]
    pub fn ports(self: &Rc<Self>) -> Vec<Port> {
        (0..self.ranks).map(|rank| Port { mail: Rc::clone(self), rank }).collect()
    }

    /// What each worker has sent so far.
    #[must_use]
    pub fn sent(&self) -> Vec<Traffic> {
        self.inner.borrow().sent.clone()
    }

    /// What has happened since this was last asked.
    #[must_use]
    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.inner.borrow_mut().events)
    }

    fn moves(&self) -> usize {
        self.inner.borrow().moves
    }

    /// Why nobody can go on.
    fn stuck(&self) -> LabError {
        let waits = self.inner.borrow();
        let each = waits.waits.iter().enumerate().filter_map(|(rank, from)| {
            let from = (*from)?;
            Some(format!("worker {rank} waits for worker {from}"))
        });
        let why = each.collect::<Vec<_>>().join(", ");
        LabError::Engine { why: format!("all workers stand still: {why}, and no message is under way") }
    }
}

/// The link of one worker of a [`Mail`].
#[derive(Debug)]
pub struct Port {
    mail: Rc<Mail>,
    rank: usize,
}

impl Port {
    /// The next message of another worker, if there is one.
    #[must_use]
    pub fn take(&self, from: usize) -> Option<Vec<u8>> {
        let mut inner = self.mail.inner.borrow_mut();
        let message = inner.boxes[from * self.mail.ranks + self.rank].pop_front();
        inner.waits[self.rank] = message.is_none().then_some(from);
        if message.is_some() {
            inner.moves += 1;
            inner.events.push(Event::Receive { at: self.rank, from });
        }
        message
    }
}

impl Link for Port {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.mail.ranks
    }

    fn send(&self, to: usize, message: Vec<u8>) {
        let mut inner = self.mail.inner.borrow_mut();
        let (from, bytes) = (self.rank, message.len());
        inner.sent[from].messages += 1;
        inner.sent[from].bytes += bytes;
        inner.moves += 1;
        inner.events.push(Event::Send { from, to, bytes });
        inner.boxes[from * self.mail.ranks + to].push_back(message);
    }

    fn receive(&self, from: usize) -> LocalBoxFuture<'_, Result<Vec<u8>, LabError>> {
        Box::pin(poll_fn(move |_| match self.take(from) {
            Some(message) => Poll::Ready(Ok(message)),
            None => Poll::Pending,
        }))
    }

    fn mark(&self, work: Work, tokens: usize) {
        self.mail.inner.borrow_mut().events.push(Event::Work { at: self.rank, work, tokens });
    }
}

// ANCHOR: turns
/// Runs what each worker does until all are done. A worker goes on until it waits for a message that is not there yet, then the
/// next one has its turn. `between` is asked after each turn.
///
/// # Errors
/// What a worker or `between` returns; and where all of them wait, whom each waits for.
pub async fn in_turn(
    mail: &Mail,
    mut workers: Vec<LocalBoxFuture<'_, Result<(), LabError>>>,
    mut between: impl AsyncFnMut() -> Result<(), LabError>,
) -> Result<(), LabError> {
    let mut done = vec![false; workers.len()];
    while done.contains(&false) {
        let before = (mail.moves(), done.clone());
        for (worker, done) in workers.iter_mut().zip(&mut done) {
            if !*done {
                match worker.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(result) => {
                        result?;
                        *done = true;
                    }
                    Poll::Pending => {}
                }
                between().await?;
            }
        }
        if before == (mail.moves(), done.clone()) {
            return Err(mail.stuck());
        }
    }
    Ok(())
}
// ANCHOR_END: turns
