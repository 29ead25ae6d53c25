//! Whether the guide holds together: names, contradictions, settings without an answer.

use std::collections::BTreeSet;

use super::{Conditions, EFFORTS, FIRST, Guide, PairKind, SIZES, Setting, address, holds};
use crate::{catalogue::Catalogue, problem::near};

impl Guide {
    /// What is wrong, and the id of the row at fault.
    pub(super) fn check(&self, catalogue: &Catalogue) -> Result<(), (String, String)> {
        self.check_names(catalogue)?;
        for setting in self.settings() {
            self.check_setting(&setting)?;
        }
        Ok(())
    }

    fn check_names(&self, catalogue: &Catalogue) -> Result<(), (String, String)> {
        let mut seen = BTreeSet::new();
        for technique in &self.techniques {
            let id = technique.id.as_str();
            let fail = |message: String| Err((id.to_owned(), message));
            if !catalogue.methods.iter().any(|method| method.id == id) {
                let near = near(id, catalogue.methods.iter().map(|method| method.id.as_str()));
                let hint = near.map_or_else(String::new, |near| format!("; did you mean “{near}”?"));
                return fail(format!("the catalogue has no method “{id}”{hint}"));
            }
            if !seen.insert(id) {
                return fail(format!("the technique “{id}” stands twice"));
            }
            for gain in &technique.gains {
                if !SIZES.contains(&gain.size) {
                    return fail(format!("a gain of “{id}” has a size of 1, 2 or 3"));
                }
                if usize::from(gain.effort) >= EFFORTS.len() {
                    return fail(format!("an effort of “{id}” is one of 0 to {}", EFFORTS.len() - 1));
                }
                if gain.expect.trim().is_empty() || gain.why.trim().is_empty() {
                    return fail(format!("a gain of “{id}” lacks what to expect, or why"));
                }
            }
            let conditions = technique.gains.iter().map(|gain| &gain.conditions);
            for conditions in conditions.chain(technique.avoid.iter().map(|note| &note.conditions)) {
                self.check_conditions(conditions).map_err(|message| (id.to_owned(), format!("“{id}”: {message}")))?;
            }
        }
        for note in &self.notes {
            self.check_conditions(&note.conditions).map_err(|message| (String::new(), format!("a note: {message}")))?;
        }
        let mut pairs = BTreeSet::new();
        for pair in &self.pairs {
            let [a, b] = &pair.of;
            let fail = |message: String| Err((a.clone(), message));
            if let Some(unknown) = pair.of.iter().find(|id| !seen.contains(id.as_str())) {
                return fail(format!("a pair names “{unknown}”, which is no technique of the guide"));
            }
            if a == b || !pairs.insert((a.min(b), a.max(b))) {
                return fail(format!("the pair of “{a}” and “{b}” stands twice"));
            }
        }
        Ok(())
    }

    fn check_conditions(&self, conditions: &Conditions) -> Result<(), String> {
        for (id, values) in conditions {
            let Some(axis) = self.axes.iter().find(|axis| axis.id == *id) else {
                return Err(format!("there is no question “{id}”"));
            };
            for value in values {
                if !axis.values.iter().any(|known| known.id == *value) {
                    return Err(format!("“{value}” is no answer to “{id}”"));
                }
            }
            if values.is_empty() {
                return Err(format!("“{id}” allows no answer"));
            }
        }
        Ok(())
    }

    fn check_setting(&self, setting: &Setting<'_>) -> Result<(), (String, String)> {
        let address = address(setting);
        for technique in &self.techniques {
            let id = &technique.id;
            let gains = technique.gains.iter().filter(|gain| holds(&gain.conditions, setting)).count();
            let avoided = technique.avoid.iter().any(|note| holds(&note.conditions, setting));
            if gains > 1 {
                return Err((id.clone(), format!("“{id}” gains twice at {address}")));
            }
            if gains > 0 && avoided {
                return Err((id.clone(), format!("“{id}” is both recommended and avoided at {address}")));
            }
        }
        let ranked = self.rank(setting);
        if ranked.is_empty() && !self.notes.iter().any(|note| holds(&note.conditions, setting)) {
            return Err((String::new(), format!("the guide has no answer at {address}")));
        }
        let first: Vec<&str> = ranked.iter().take(FIRST).map(|ranked| ranked.technique.id.as_str()).collect();
        for pair in self.pairs.iter().filter(|pair| pair.kind == PairKind::Compete) {
            let [a, b] = &pair.of;
            if first.contains(&a.as_str()) && first.contains(&b.as_str()) {
                return Err((a.clone(), format!("“{a}” and “{b}” compete, and both are recommended at {address}")));
            }
        }
        Ok(())
    }
}
