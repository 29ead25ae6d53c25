//! The decision guide in the page: every row once, in order, so that it reads without JavaScript; `site/js/guide.js` leaves out what does not
//! fit the reader's answers.

use std::fmt::Write as _;

use crate::{
    guide::{Conditions, FIRST, Gain, Ranked, Setting, Technique, effort_words},
    html::escape,
    page::Page,
    problem::near,
};

type Refused = (String, Option<String>);

impl Page<'_> {
    /// `{{#guide}}`, `{{#guide pairs}}` and `{{#guide scenarios}}`.
    ///
    /// # Errors
    /// An unknown word, or a book without `guide.toml`.
    pub(crate) fn guide(&self, args: &str) -> Result<String, Refused> {
        self.check_catalogue()?;
        if self.book.guide.axes.is_empty() {
            return Err((format!("{}/guide.toml is missing or asks no question", self.book.places.data_name), None));
        }
        match args {
            "" => Ok(self.guide_form()),
            "pairs" => Ok(self.guide_pairs()),
            "scenarios" => self.guide_scenarios(),
            _ => Err(("the guide has these parts: pairs, scenarios".into(), near(args, ["pairs", "scenarios"]))),
        }
    }

    /// Markdown of the guide as HTML; problems are told at its line.
    fn guide_words(&self, text: &str) -> String {
        let all = &self.book.guide_text;
        let line = all.find(text).map_or(1, |at| 1 + all[..at].matches('\n').count());
        self.inline(text, &format!("{}/guide.toml", self.book.places.data_name), line)
    }

    /// A method's name, as a link where its chapter exists.
    fn method(&self, id: &str) -> String {
        let Some(method) = self.book.catalogue.methods.iter().find(|method| method.id == id) else {
            return escape(id);
        };
        let chapter = method.chapter.as_deref().and_then(|chapter| self.link_to(chapter, &method.name));
        chapter.unwrap_or_else(|| format!("{} <span class=\"planned\">planned</span>", escape(&method.name)))
    }

    fn guide_form(&self) -> String {
        let guide = &self.book.guide;
        let mut out = String::from(
            "<section class=\"guide\" id=\"guide\" data-guide aria-label=\"Decision guide\"><form class=\"guide-form needs-js\"><fieldset><legend>Your situation</legend>",
        );
        for axis in &guide.axes {
            let id = escape(&axis.id);
            let _ = write!(
                out,
                "<label><span>{}</span> <select name=\"{id}\" autocomplete=\"off\"><option value=\"\">any</option>",
                escape(&axis.question)
            );
            for value in &axis.values {
                let _ = write!(out, "<option value=\"{}\">{}</option>", escape(&value.id), escape(&value.words));
            }
            out.push_str("</select></label>");
        }
        out.push_str(
            "</fieldset><p class=\"guide-actions\"><button class=\"button\" type=\"reset\">Start again</button> <span role=\"status\" data-guide-says></span></p></form>",
        );
        let Some(first) = guide.axes.first() else { return out };
        for value in &first.values {
            let setting = Setting::from([(first.id.as_str(), value.id.as_str())]);
            let rows: String = guide.rank(&setting).into_iter().map(|ranked| self.guide_row(ranked)).collect();
            let _ = write!(
                out,
                "<details class=\"guide-group\" id=\"guide-{id}\" data-binds=\"{id}\"><summary>{words}</summary><div class=\"table-wrapper\" tabindex=\"0\" role=\"region\" aria-label=\"Techniques: {words}\"><table class=\"guide-table\"><thead><tr><th scope=\"col\">Technique</th><th scope=\"col\">What to expect, and why</th><th scope=\"col\">Where this holds</th></tr></thead><tbody>{rows}</tbody></table></div></details>",
                id = escape(&value.id),
                words = escape(&capital(&value.words)),
            );
        }
        out.push_str("<details class=\"guide-avoid\" data-guide-avoid><summary>What to leave alone, and why</summary><div class=\"table-wrapper\" tabindex=\"0\" role=\"region\" aria-label=\"What to leave alone\"><table class=\"guide-table\"><thead><tr><th scope=\"col\">Technique</th><th scope=\"col\">Why not</th><th scope=\"col\">Where</th></tr></thead><tbody>");
        for technique in &guide.techniques {
            for note in &technique.avoid {
                let _ = write!(
                    out,
                    "<tr data-row{}><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
                    self.attributes(&note.conditions, ""),
                    self.method(&technique.id),
                    self.guide_words(&note.why),
                    self.where_words(&note.conditions, ""),
                );
            }
        }
        out.push_str("</tbody></table></div></details><details class=\"guide-notes\" data-guide-notes><summary>Where the guide has little or nothing to offer</summary><ul>");
        for note in &guide.notes {
            let _ = write!(
                out,
                "<li data-row{}>{} <span class=\"guide-where\">{}</span></li>",
                self.attributes(&note.conditions, ""),
                self.guide_words(&note.why),
                self.where_words(&note.conditions, ""),
            );
        }
        out.push_str("</ul></details><ul class=\"guide-together\" data-guide-together hidden>");
        for pair in &guide.pairs {
            let [a, b] = &pair.of;
            let _ = write!(
                out,
                "<li data-pair=\"{} {}\">{} and {} {}.</li>",
                escape(a),
                escape(b),
                self.name(a),
                self.name(b),
                if pair.kind.word() == "in this order" { "go together in this order" } else { pair.kind.word() },
            );
        }
        out.push_str("</ul></section>");
        out
    }

    fn guide_row(&self, ranked: Ranked<'_>) -> String {
        let Ranked { technique, gain } = ranked;
        let Technique { id, .. } = technique;
        let Gain { conditions, size, effort, expect, why } = gain;
        let first = self.book.guide.axes.first().map_or("", |axis| axis.id.as_str());
        let points = ranked.points();
        format!(
            "<tr data-row data-technique=\"{id}\" data-points=\"{points}\"{attributes}><th scope=\"row\">{name}<span class=\"guide-points\"><strong>{points}</strong> = 2 × {size} − {effort} <span>({effort_is})</span></span></th><td><p>{expect}</p><p class=\"guide-why\">{why}</p></td><td>{place}</td></tr>",
            id = escape(id),
            points = points.to_string().replace('-', "−"),
            attributes = self.attributes(conditions, first),
            name = self.method(id),
            effort_is = effort_words(*effort),
            expect = self.guide_words(expect),
            why = self.guide_words(why),
            place = self.where_words(conditions, first),
        )
    }

    fn name(&self, id: &str) -> String {
        let method = self.book.catalogue.methods.iter().find(|method| method.id == id);
        escape(method.map_or(id, |method| method.name.as_str()))
    }

    /// Conditions as attributes that the script reads.
    fn attributes(&self, conditions: &Conditions, but: &str) -> String {
        let mut out = String::new();
        for (axis, values) in conditions.iter().filter(|(axis, _)| *axis != but) {
            let _ = write!(out, " data-{}=\"{}\"", escape(axis), escape(&values.join(" ")));
        }
        out
    }

    /// Conditions as words, in the order of the questions.
    fn where_words(&self, conditions: &Conditions, but: &str) -> String {
        let mut parts = Vec::new();
        for axis in self.book.guide.axes.iter().filter(|axis| axis.id != but) {
            let Some(allowed) = conditions.get(&axis.id).filter(|allowed| allowed.len() < axis.values.len()) else {
                continue;
            };
            let words: Vec<String> = axis
                .values
                .iter()
                .filter(|value| allowed.contains(&value.id))
                .map(|value| escape(&value.short))
                .collect();
            parts.push(words.join(", "));
        }
        if parts.is_empty() { "everywhere".to_owned() } else { parts.join("; ") }
    }

    fn guide_pairs(&self) -> String {
        let mut out = String::from(
            "<figure class=\"methods\"><div class=\"table-wrapper\" tabindex=\"0\" role=\"region\" aria-label=\"Pairs of techniques\"><table class=\"guide-table\"><thead><tr><th scope=\"col\">Two techniques</th><th scope=\"col\">Together they</th><th scope=\"col\">Because</th></tr></thead><tbody>",
        );
        for pair in &self.book.guide.pairs {
            let [a, b] = &pair.of;
            let arrow = if pair.kind == crate::guide::PairKind::Order { "then" } else { "and" };
            let kind = if pair.kind == crate::guide::PairKind::Order { "go in this order" } else { pair.kind.word() };
            let _ = write!(
                out,
                "<tr><th scope=\"row\">{} <em>{arrow}</em> {}</th><td>{kind}</td><td>{}</td></tr>",
                self.name(a),
                self.name(b),
                self.guide_words(&pair.why)
            );
        }
        out.push_str("</tbody></table></div></figure>");
        out
    }

    fn guide_scenarios(&self) -> Result<String, Refused> {
        let guide = &self.book.guide;
        let page = self.book.guide_page.ok_or_else(|| ("no page of the book holds {{#guide}}".to_owned(), None))?;
        if self.book.scenarios.is_empty() {
            return Err((format!("{}/guide-scenarios.toml holds no scenario", self.book.places.data_name), None));
        }
        let file = format!("{}/guide-scenarios.toml", self.book.places.data_name);
        let page = self.book.register.page(self.chapter, page);
        let mut rows = String::new();
        let mut among = 0;
        for scenario in &self.book.scenarios {
            let place = scenario.place(guide);
            among += usize::from(place.is_some_and(|place| place <= FIRST));
            let place = place.map_or_else(|| "not listed".to_owned(), |place| place.to_string());
            let words = self.inline(&format!("{} [@{}]", scenario.words, scenario.source), &file, 1);
            let setting = guide.setting(&scenario.setting).unwrap_or_default();
            let answers: Vec<String> = guide
                .axes
                .iter()
                .filter_map(|axis| {
                    axis.values.iter().find(|value| setting.get(axis.id.as_str()) == Some(&value.id.as_str()))
                })
                .map(|value| escape(&value.short))
                .collect();
            let _ = write!(
                rows,
                "<tr><td>{words}</td><td><a href=\"{page}?{setting}#guide\">{answers}</a></td><td>{chosen}</td><td>{place}</td></tr>",
                setting = escape(&scenario.setting),
                answers = answers.join(", "),
                chosen = self.name(&scenario.expected),
            );
        }
        Ok(format!(
            "<figure class=\"methods\"><div class=\"table-wrapper\" tabindex=\"0\" role=\"region\" aria-label=\"Deployments and the guide's answer\"><table class=\"guide-table\"><thead><tr><th scope=\"col\">Deployment</th><th scope=\"col\">Asked of the guide</th><th scope=\"col\">Chosen there</th><th scope=\"col\">Place in the guide</th></tr></thead><tbody>{rows}</tbody></table></div><figcaption>Among the first three in {among} of {all} deployments.</figcaption></figure>",
            all = self.book.scenarios.len()
        ))
    }
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
