//! Energy, carbon and cost, estimated from stated assumptions: no browser and few systems measure them.

use super::Work;

/// Energy of one operation and of one byte.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnergyAssumptions {
    /// Picojoules of a floating-point operation, half a multiply-accumulate.
    pub pj_per_flop: f64,
    /// Picojoules of moving a byte.
    pub pj_per_byte: f64,
    /// Where the numbers come from, in words for the reader.
    pub source: &'static str,
}

impl EnergyAssumptions {
    /// FP32 and DRAM at 45 nm: a multiplication 3.7 pJ, an addition 0.9 pJ, so 2.3 pJ an operation; a 32-bit word from
    /// DRAM 640 pJ, so 160 pJ a byte. Today's chips take less of both, and the gap between them has grown.
    pub const FP32_DRAM: Self = Self {
        pj_per_flop: f64::midpoint(3.7, 0.9),
        pj_per_byte: 640.0 / 4.0,
        source: "45 nm, 0.9 V: FP32 multiplication 3.7 pJ, addition 0.9 pJ, 32 bits from DRAM 640 pJ (Horowitz, ISSCC 2014)",
    };
    /// INT8 products added up in 32 bits, from DRAM, at 45 nm: 0.2 pJ and 0.1 pJ, so 0.15 pJ an operation.
    pub const INT8_DRAM: Self = Self {
        pj_per_flop: f64::midpoint(0.2, 0.1),
        source: "45 nm, 0.9 V: INT8 multiplication 0.2 pJ, 32-bit addition 0.1 pJ, 32 bits from DRAM 640 pJ (Horowitz, ISSCC 2014)",
        ..Self::FP32_DRAM
    };
    /// FP32 where all data lie in an 8 KB cache: 64 bits 10 pJ, so 1.25 pJ a byte.
    pub const FP32_CACHE: Self = Self {
        pj_per_byte: 10.0 / 8.0,
        source: "45 nm, 0.9 V: FP32 multiplication 3.7 pJ, addition 0.9 pJ, 64 bits from an 8 KB cache 10 pJ (Horowitz, ISSCC 2014)",
        ..Self::FP32_DRAM
    };

    /// What this work takes.
    #[must_use]
    pub fn energy(&self, work: Work) -> Energy {
        Energy {
            compute_joules: work.flops as f64 * self.pj_per_flop * 1e-12,
            memory_joules: work.bytes as f64 * self.pj_per_byte * 1e-12,
        }
    }
}

/// Energy of a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Energy {
    /// Of the arithmetic.
    pub compute_joules: f64,
    /// Of moving bytes.
    pub memory_joules: f64,
}

impl Energy {
    /// Both.
    #[must_use]
    pub fn joules(self) -> f64 {
        self.compute_joules + self.memory_joules
    }
}

/// Energy of `seconds` at a constant power.
#[must_use]
pub fn joules_at(watts: f64, seconds: f64) -> f64 {
    watts * seconds
}

/// What a kilowatt-hour at the plug means.
#[derive(Debug, Clone, PartialEq)]
pub struct UseAssumptions {
    /// Energy at the plug over energy of the chip: supply, cooling, whatever else runs. 1 or more.
    pub overhead: f64,
    /// Grams of CO2 equivalent emitted for a kilowatt-hour.
    pub grams_co2_per_kwh: f64,
    /// Price of a kilowatt-hour.
    pub price_per_kwh: f64,
    /// Its currency, for example `EUR`.
    pub currency: String,
    /// Where the numbers come from, in words for the reader.
    pub source: String,
}

/// Joules of a kilowatt-hour.
const JOULES_PER_KWH: f64 = 3.6e6;

impl UseAssumptions {
    /// Grams of CO2 equivalent for this much energy of the chip.
    #[must_use]
    pub fn grams_co2(&self, joules: f64) -> f64 {
        self.kwh(joules) * self.grams_co2_per_kwh
    }

    /// Price of this much energy of the chip.
    #[must_use]
    pub fn cost(&self, joules: f64) -> f64 {
        self.kwh(joules) * self.price_per_kwh
    }

    /// Kilowatt-hours at the plug.
    fn kwh(&self, joules: f64) -> f64 {
        joules * self.overhead / JOULES_PER_KWH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-12, "{found}, not {expected}");
    }

    #[test]
    fn a_calculation_by_hand() {
        // 10⁹ operations at 2.3 pJ and 10⁸ bytes at 160 pJ: 2.3 mJ and 16 mJ.
        let energy = EnergyAssumptions::FP32_DRAM.energy(Work { flops: 1_000_000_000, bytes: 100_000_000 });
        near(energy.compute_joules, 2.3e-3);
        near(energy.memory_joules, 16e-3);
        near(energy.joules(), 18.3e-3);
        let int8 = EnergyAssumptions::INT8_DRAM.energy(Work { flops: 1_000_000_000, bytes: 25_000_000 });
        near(int8.joules(), 0.15e-3 + 4e-3);
        near(EnergyAssumptions::FP32_CACHE.energy(Work { flops: 0, bytes: 8 }).joules(), 10e-12);
        // 50 W for an hour and 12 minutes are 60 Wh; at the plug 72; at 400 g/kWh 28.8 g, at 0.30 EUR/kWh 2.16 cents.
        let joules = joules_at(50.0, 72.0 * 60.0);
        near(joules, 216_000.0);
        let here = UseAssumptions {
            overhead: 1.2,
            grams_co2_per_kwh: 400.0,
            price_per_kwh: 0.30,
            currency: "EUR".into(),
            source: "made up for this test".into(),
        };
        near(here.grams_co2(joules), 28.8);
        near(here.cost(joules), 0.0216);
    }

    #[test]
    fn assumptions_name_their_source() {
        for assumed in [EnergyAssumptions::FP32_DRAM, EnergyAssumptions::INT8_DRAM, EnergyAssumptions::FP32_CACHE] {
            assert!(assumed.source.contains("Horowitz, ISSCC 2014") && assumed.pj_per_byte > 0.0);
        }
    }
}
