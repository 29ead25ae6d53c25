//! What is assumed of the place, by name.

use lab_kit::measure::footprint::{Embodied, GRIDS, Site};
use serde::{Deserialize, Serialize};

use super::Params;

/// A country's grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Grid {
    /// Norway (30 g)
    Norway,
    /// Sweden (41 g)
    Sweden,
    /// France (56 g)
    France,
    /// United Kingdom (238 g)
    UnitedKingdom,
    /// United States (369 g)
    UnitedStates,
    /// Germany (381 g)
    Germany,
    /// China (582 g)
    China,
    /// Poland (662 g)
    Poland,
    /// South Africa (708 g)
    SouthAfrica,
    /// India (713 g)
    India,
    /// Own
    Own,
}

impl Grid {
    /// Its place in [`GRIDS`].
    fn index(self) -> Option<usize> {
        Some(match self {
            Self::Norway => 0,
            Self::Sweden => 1,
            Self::France => 2,
            Self::UnitedKingdom => 3,
            Self::UnitedStates => 4,
            Self::Germany => 5,
            Self::China => 6,
            Self::Poland => 7,
            Self::SouthAfrica => 8,
            Self::India => 9,
            Self::Own => return None,
        })
    }
}

impl Params {
    /// Grams for a kilowatt-hour.
    pub(super) fn grid_grams(&self) -> f64 {
        self.grid.index().map_or(self.grams_per_kwh, |i| GRIDS[i].1)
    }

    pub(super) fn site(&self) -> Site {
        Site {
            overhead: self.overhead,
            grams_per_kwh: self.grid_grams(),
            price_per_kwh: 0.0,
            litres_on_site: 0.0,
            litres_at_source: 0.0,
        }
    }

    pub(super) fn made(&self) -> Embodied {
        Embodied { kilograms: self.embodied_kg, years: self.years, busy_share: 0.01 * self.busy }
    }

    /// Watts at work of FP32 and packed.
    pub(super) fn watts(&self) -> [f64; 2] {
        [self.device_watts, if self.packed_watts > 0.0 { self.packed_watts } else { self.device_watts }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_grams_are_those_of_the_table() {
        let at = |grid| Params { grid, ..Params::default() }.grid_grams();
        assert_eq!(
            (at(Grid::Norway), at(Grid::UnitedStates), at(Grid::Poland), at(Grid::India)),
            (30.0, 369.0, 662.0, 713.0)
        );
        assert_eq!(at(Grid::Own), 400.0);
    }

    #[test]
    fn a_machine_that_gains_by_working_is_refused() {
        let params = Params { idle_watts: 16.0, ..Params::default() };
        let why = params.check().expect_err("refused").to_string();
        assert!(why.contains("gain by working"), "{why}");
        assert!(Params { packed_watts: 4.0, ..Params::default() }.check().is_err());
        assert!(Params::default().check().is_ok());
    }
}
