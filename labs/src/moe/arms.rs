//! The layers that are compared, and the networks around them.

use lab_kit::experts::{Gate, Network, Router, Rules};

use rand::Rng;

use super::{
    Balance, Learned, Params, Routing, Times,
    task::{self, Task},
};

/// A layer by name.
#[derive(Debug, Clone)]
pub(crate) struct Arm {
    /// In ids.
    pub(super) id: &'static str,
    pub(super) name: String,
    /// With how it routes, where it does.
    pub(super) params: Params,
    /// A dense layer of so many hidden units instead.
    pub(super) dense: Option<usize>,
}

impl Arm {
    pub(super) fn new(id: &'static str, name: &str, params: Params) -> Self {
        Self { id, name: name.into(), params, dense: None }
    }

    /// Dense layers of the reader's: as much arithmetic as one token's experts, or as many weights as all of them.
    pub(super) fn dense(params: &Params, wide: bool) -> Self {
        let (id, name, times) = if wide {
            ("wide", "Dense, as many weights", params.experts)
        } else {
            ("small", "Dense, as much arithmetic", params.k)
        };
        Self { dense: Some((times * params.hidden) as usize), ..Self::new(id, name, params.clone()) }
    }

    /// The reader's own.
    pub(super) fn yours(params: &Params) -> Self {
        let words = match (params.router, params.balance) {
            (Routing::Random, _) => "Experts, random router",
            (Routing::Hash, _) => "Experts, hash",
            (Routing::Experts, _) => "Experts that choose",
            (Routing::Learned, Balance::None) => "Experts, learned, no balancing",
            (Routing::Learned, Balance::Auxiliary) => "Experts, learned, auxiliary loss",
            (Routing::Learned, Balance::Bias) => "Experts, learned, bias",
        };
        Self::new("yours", words, params.clone())
    }

    /// Another balancing than the reader's: none, or where there is none the auxiliary loss.
    fn other(params: &Params) -> Self {
        let learned = Params { router: Routing::Learned, ..params.clone() };
        if params.router == Routing::Learned && params.balance == Balance::None {
            let params = Params { balance: Balance::Auxiliary, ..learned };
            return Self::new("other", "Experts, learned, auxiliary loss", params);
        }
        Self::new("other", "Experts, learned, no balancing", Params { balance: Balance::None, ..learned })
    }

    /// Weights of the layer, and multiplications with additions for a token.
    pub(super) fn sizes(&self) -> [usize; 2] {
        let network = self.network(&Task::default(), 0);
        [network.layer_weights(), network.layer_products(self.rules().k)]
    }

    pub(super) fn hash(params: &Params) -> Self {
        Self::new("hash", "Experts, hash", Params { router: Routing::Hash, ..params.clone() })
    }

    /// Experts that are chosen from, of how many units, how many of them for a token, and units that are always on.
    fn shape(&self) -> [usize; 4] {
        if let Some(hidden) = self.dense {
            return [1, hidden, 1, 0];
        }
        let p = &self.params;
        let unit = p.hidden / p.grain;
        [p.experts * p.grain - p.shared, unit, p.k * p.grain - p.shared, p.shared * unit].map(|x| x as usize)
    }

    pub(super) fn router(&self) -> Router {
        match (self.dense, self.params.router) {
            (Some(_), _) => Router::Dense,
            (_, Routing::Learned) => Router::Learned,
            (_, Routing::Random) => Router::Frozen,
            (_, Routing::Hash) => Router::Hash { both: self.params.task == Learned::Facts },
            (_, Routing::Experts) => Router::ExpertChoice,
        }
    }

    /// Whether tokens are sent anywhere.
    pub(super) fn routes(&self) -> bool {
        self.dense.is_none()
    }

    pub(super) fn network(&self, task: &Task, seed: u64) -> Network {
        let [experts, hidden, _, shared] = self.shape();
        let router = self.router();
        let mut network = Network {
            vocabulary: task.vocabulary,
            embedding: task::EMBEDDING,
            outputs: task.outputs,
            hidden,
            experts,
            shared,
            router,
            frozen: task.names.clone(),
            drawn: Vec::new(),
        };
        if router == Router::Frozen {
            let mut rng = lab_kit::rng(seed, "random router");
            network.drawn = (0..experts * network.channels()).map(|_| rng.random_range(-1.0..1.0)).collect();
        }
        network
    }

    pub(super) fn rules(&self) -> Rules {
        let p = &self.params;
        let [_, _, k, _] = self.shape();
        let learned = self.router() == Router::Learned;
        let gate = match p.gate {
            _ if self.router() == Router::ExpertChoice => Gate::Probability,
            _ if !learned => Gate::Even,
            Times::Probability => Gate::Probability,
            Times::Straight => Gate::Straight,
            Times::Renormalized => Gate::Renormalized,
            Times::Sigmoid => Gate::Sigmoid,
        };
        let when = |yes: bool, value: f64| if learned && yes { value as f32 } else { 0.0 };
        Rules {
            k,
            gate,
            capacity: (self.routes() && p.capacity > 0.0).then_some(p.capacity),
            auxiliary: when(p.balance == Balance::Auxiliary, p.aux_weight),
            z: when(true, p.z_weight),
            bias_rate: when(p.balance == Balance::Bias, p.bias_rate),
        }
    }
}

/// What a run compares; the reader's own comes third.
pub(super) fn of_run(params: &Params) -> Vec<Arm> {
    let mut arms = vec![Arm::dense(params, false), Arm::other(params), Arm::yours(params)];
    if params.router != Routing::Hash {
        arms.push(Arm::hash(params));
    }
    arms.push(Arm::dense(params, true));
    arms
}
