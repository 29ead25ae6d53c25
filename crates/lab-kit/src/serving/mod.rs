//! Many requests on one model: a step over sequences of different lengths, memory in pages, who is served next, and a time
//! line of it from measured costs.

mod costs;
mod engine;
mod pages;
mod queue;
mod scheduler;
mod timeline;
mod workload;

pub use costs::{Costs, Shape};
pub use engine::{Engine, Row};
pub use pages::{Pages, slot};
pub use queue::{lindley, pollaczek_khinchine, quantile, quantile_interval};
pub use scheduler::{Chunk, Next, Order, Policy, Request, Rules, Scheduler, Step};
pub use timeline::{Log, Trace, serve, time_line};
pub use workload::{Arrivals, Lengths, draw};
