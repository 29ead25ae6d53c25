//! `{{#chart LAB.CHART}}` and `{{#chart LAB.study.CHART}}`: a chart of a lab's reference as a figure of the page, with its numbers to unfold.

use crate::{
    charts,
    html::{escape, one_line},
    labels::Kind,
    outline::Block,
    page::{Page, id_attr},
    problem::near,
    source::Source,
};

type Refused = (String, Option<String>);

impl Page<'_> {
    /// The chart that `path` names; without words of the author its own title and caption stand under it.
    ///
    /// # Errors
    /// An unknown lab or chart, or a chart whose data do not fit each other.
    pub(crate) fn chart(
        &self,
        source: &Source,
        block: &Block,
        path: &str,
        words: Option<&str>,
        number: Option<&str>,
    ) -> Result<String, Refused> {
        let Some((lab, rest)) = path.split_once('.') else {
            return Err(("a chart is written lab.chart, or lab.study.chart".into(), None));
        };
        self.known_lab(lab)?;
        let reference = self.book.reference(lab).map_err(|message| (message, None))?;
        let (record, name, part) = match rest.strip_prefix("study.") {
            Some(name) => (reference.study.as_ref(), name, "study."),
            None => (Some(&reference.default_run), rest, ""),
        };
        let known = record.map_or(&[][..], |record| record.report.charts.as_slice());
        let Some(chart) = known.iter().find(|chart| chart.id == name) else {
            let nearest = near(name, known.iter().map(|chart| chart.id.as_str()));
            return Err((
                "the lab's reference has no such chart".into(),
                nearest.map(|id| format!("{lab}.{part}{id}")),
            ));
        };
        let scope = self.scope(block.label.as_deref());
        let picture = charts::svg(chart, &scope).map_err(|message| (message, None))?;
        let words = words.map_or_else(|| format!("{} {}", chart.title, chart.caption), str::to_owned);
        Ok(format!(
            "<figure class=\"figure chart-figure\"{id}>{picture}<details class=\"figure-data\"><summary>Data<span class=\"hidden\"> of {title}</span></summary>{data}</details>{caption}</figure>",
            id = id_attr(block.label.as_deref()),
            picture = one_line(&picture),
            title = escape(&chart.title),
            data = one_line(&charts::data_html(chart)),
            caption = self.caption(Kind::Figure, number, &words, source, block.range.start),
        ))
    }
}
