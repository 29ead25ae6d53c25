//! Energy counters of the machine, where it has any and lets them be read: Intel's and AMD's RAPL under Linux. A browser has none.

use lab_api::LabError;

/// Shortest window, in seconds, that a counter which moves every millisecond and jumps by whole units can be trusted over.
pub const SHORTEST_WINDOW_S: f64 = 0.1;

/// One zone of the counters, as `/sys/class/powercap` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its path name: `intel-rapl:0` for a package, `intel-rapl:0:1` for a part of it.
    pub id: String,
    /// Its name: `psys`, `package-0`, `core`.
    pub name: String,
    /// The counter, in microjoules.
    pub microjoules: u64,
    /// Where it wraps around.
    pub range: u64,
}

// ANCHOR: unwrap
/// What was counted between two readings of a counter that begins anew beyond `range`.
#[must_use]
pub fn unwrap_counter(before: u64, after: u64, range: u64) -> u64 {
    if after >= before { after - before } else { (range - before).saturating_add(after) }
}
// ANCHOR_END: unwrap

/// The zones that may be added up. Zones lie in each other: a platform holds its packages, a package its cores. The outermost
/// are taken, so that nothing is counted twice.
pub fn outermost(zones: &[Zone]) -> Vec<&Zone> {
    if let Some(platform) = zones.iter().find(|zone| zone.name == "psys") {
        return vec![platform];
    }
    zones.iter().filter(|zone| zone.id.matches(':').count() == 1).collect()
}

/// Joules between two readings of all zones, `seconds` apart.
///
/// # Errors
/// [`LabError::Refused`] for a window too short to trust.
pub fn joules_between(before: &[Zone], after: &[Zone], seconds: f64) -> Result<f64, LabError> {
    if seconds < SHORTEST_WINDOW_S {
        let why = format!("a window of {seconds:.3} s is too short for the counter, which wants {SHORTEST_WINDOW_S} s");
        return Err(LabError::Refused { why });
    }
    let sum: u64 = outermost(before)
        .into_iter()
        .filter_map(|old| {
            let new = after.iter().find(|new| new.id == old.id)?;
            Some(unwrap_counter(old.microjoules, new.microjoules, old.range))
        })
        .sum();
    Ok(sum as f64 * 1e-6)
}

/// Reads all zones; empty where the machine has none, hides them from this user, or is a browser.
#[must_use]
pub fn read_zones() -> Vec<Zone> {
    #[cfg(not(target_family = "wasm"))]
    {
        let Ok(folder) = std::fs::read_dir("/sys/class/powercap") else { return Vec::new() };
        let zone = |entry: std::fs::DirEntry| {
            let text = |file: &str| std::fs::read_to_string(entry.path().join(file)).ok();
            Some(Zone {
                id: entry.file_name().into_string().ok()?,
                name: text("name")?.trim().to_owned(),
                microjoules: text("energy_uj")?.trim().parse().ok()?,
                range: text("max_energy_range_uj")?.trim().parse().ok()?,
            })
        };
        folder.filter_map(|entry| zone(entry.ok()?)).collect()
    }
    #[cfg(target_family = "wasm")]
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(id: &str, name: &str, microjoules: u64) -> Zone {
        Zone { id: id.into(), name: name.into(), microjoules, range: 262_143_328_850 }
    }

    #[test]
    fn a_counter_that_wraps_goes_on() {
        assert_eq!(unwrap_counter(10, 25, 100), 15);
        assert_eq!(unwrap_counter(90, 5, 100), 15);
        assert_eq!(unwrap_counter(7, 7, 100), 0);
    }

    #[test]
    fn what_lies_in_each_other_is_not_added_up() {
        // Watts of one second, as in CodeCarbon's documentation: the platform's 9.6 hold the package's 3.8, and those the rest.
        let zones = |seconds: u64| {
            [
                zone("intel-rapl:1", "psys", 9_600_000 * seconds),
                zone("intel-rapl:0", "package-0", 3_800_000 * seconds),
                zone("intel-rapl:0:0", "core", 800_000 * seconds),
                zone("intel-rapl:0:1", "uncore", 200_000 * seconds),
            ]
        };
        let (before, after) = (zones(1), zones(2));
        let joules = joules_between(&before, &after, 1.0).expect("long enough");
        assert!((joules - 9.6).abs() < 1e-9, "{joules}");
        // Without the platform: the packages, not their parts.
        let joules = joules_between(&before[1..], &after[1..], 1.0).expect("long enough");
        assert!((joules - 3.8).abs() < 1e-9, "{joules}");
        assert!(joules_between(&before, &after, 0.05).is_err());
        assert_eq!(joules_between(&[], &[], 1.0), Ok(0.0));
    }
}
