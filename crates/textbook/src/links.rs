//! Where links and pictures lead: to chapters, anchors and files that exist.

use std::path::PathBuf;

use lab_api::Link;

use crate::{catalogue::is_label, html::escape, labels::normal, page::Page, problem::near, quiz::Quiz};

/// What is wrong, and the nearest valid name.
pub(crate) type Refused = (String, Option<String>);

impl Page<'_> {
    /// A local file of `src`, by the path a chapter names.
    pub(crate) fn file(&self, path: &str) -> Result<PathBuf, Refused> {
        if path.contains("://") || path.starts_with("//") {
            return Err(("a page loads nothing from elsewhere: put the file into src/".into(), None));
        }
        let inside = self.inside(path)?;
        let full = self.book.places.src.join(&inside);
        if full.is_file() {
            return Ok(full);
        }
        let beside = full.parent().and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        let names: Vec<String> = beside.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let wanted = inside.rsplit('/').next().unwrap_or(&inside);
        Err(("there is no such file".into(), near(wanted, names.iter().map(String::as_str))))
    }

    /// A path as this chapter names it, from `src` on.
    fn inside(&self, path: &str) -> Result<String, Refused> {
        let folder = self.book.register.chapters[self.chapter].path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let inside = normal(&format!("{folder}/{path}"));
        if path.starts_with('/') || inside.split('/').next() == Some("..") {
            let src = &self.book.places.src_name;
            return Err((format!("this path leaves {src}: name a file below it, seen from this chapter"), None));
        }
        Ok(inside)
    }

    /// Checks the address of a link that the author wrote.
    pub(crate) fn check_link(&self, to: &str) -> Result<(), Refused> {
        let has_scheme = to
            .split_once(':')
            .is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c)));
        if has_scheme || to.starts_with("//") {
            return Ok(());
        }
        let register = self.book.register;
        let own = &register.chapters[self.chapter];
        let (path, anchor) = to.split_once('#').unwrap_or((to, ""));
        let path = path.split('?').next().unwrap_or_default();
        let target = if path.is_empty() {
            own
        } else {
            let mut wanted = self.inside(path)?;
            if let Some(stem) = wanted.strip_suffix(".html") {
                wanted = format!("{stem}.md");
            }
            match register.chapters.iter().find(|chapter| chapter.path == wanted) {
                Some(chapter) => chapter,
                None if !wanted.ends_with(".md") && self.book.places.src.join(&wanted).exists() => return Ok(()),
                None => {
                    let near = near(&wanted, register.chapters.iter().map(|chapter| chapter.path.as_str()));
                    return Err(("this link leads to no chapter of the book".into(), near));
                }
            }
        };
        let term = anchor.strip_prefix("term-").is_some_and(|key| self.book.glossary.terms.contains_key(key));
        let work = anchor.strip_prefix("ref-").is_some_and(|key| self.book.works.contains_key(key));
        if anchor.is_empty() || target.anchors.contains(anchor) || term || work {
            return Ok(());
        }
        let near = near(anchor, target.anchors.iter().map(String::as_str)).map(|near| format!("#{near}"));
        Err((format!("{} has no such anchor", target.path), near))
    }

    /// The address of a setting, `?lab=quantization&bits=4`: on the page that holds the lab, wherever the link stands; and of
    /// `?binds=memory`, on the page that holds the decision guide. `None` for every other link; refused where the lab is in no
    /// page, or lab or guide would refuse the setting.
    pub(crate) fn setting(&self, to: &str) -> Option<Result<String, Refused>> {
        let query = to.strip_prefix('?')?;
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let Some((_, lab)) = pairs.clone().find(|(name, _)| *name == "lab") else {
            return self.guide_setting(to, query);
        };
        Some(self.allows(lab, pairs).and_then(|()| {
            let label = format!("lab-{lab}");
            let Some(target) = self.book.register.labels.get(&label) else {
                return Err((format!("no page holds the lab {lab}"), None));
            };
            // In full even to its own page: the book on one page (print.html) puts only the folder before a bare `?`.
            let page = self.book.register.page(self.chapter, target.chapter);
            Ok(format!("{page}{to}#{}-controls", target.anchor))
        }))
    }

    /// The address of a setting of the decision guide; `None` in a book without one.
    fn guide_setting(&self, to: &str, query: &str) -> Option<Result<String, Refused>> {
        let page = self.book.guide_page?;
        let address = format!("{}{to}#guide", self.book.register.page(self.chapter, page));
        Some(self.book.guide.setting(query).map(|_| address))
    }

    /// Whether the lab takes what a link asks of it.
    fn allows<'a>(&self, lab: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<(), Refused> {
        self.known_lab(lab)?;
        let reference = self.book.reference(lab).map_err(|message| (message, None))?;
        match Link::read(&reference.params, &pairs.collect::<Vec<_>>()).problems.first() {
            None => Ok(()),
            Some(refused) => {
                let near = near(&refused.name, reference.params.iter().map(|spec| spec.name.as_str()));
                Err((format!("the lab {lab} refuses {}: {}", refused.name, refused.why), near))
            }
        }
    }

    /// The unit of the number that a question asks of the reader's run, once lab, setting and metric are known to exist.
    ///
    /// # Errors
    /// What is unknown, with the nearest known name.
    pub(crate) fn unit_of_run(&self, quiz: &Quiz) -> Result<Option<String>, Refused> {
        let Some((lab, id)) = quiz.metric.as_deref().and_then(|metric| metric.split_once('.')) else { return Ok(None) };
        self.allows(lab, quiz.setting.split('&').filter_map(|pair| pair.split_once('=')))?;
        let reference = self.book.reference(lab).map_err(|message| (message, None))?;
        let metrics = &reference.default_run.report.metrics;
        match metrics.iter().find(|metric| metric.id == id) {
            Some(metric) => Ok(Some(metric.unit.clone())),
            None => {
                let near = near(id, metrics.iter().map(|metric| metric.id.as_str()));
                Err((format!("the lab {lab} reports no “{id}”"), near))
            }
        }
    }

    /// What the catalogue says exists must exist.
    pub(crate) fn check_catalogue(&self) -> Result<(), Refused> {
        if self.book.catalogue.methods.is_empty() {
            return Err((format!("{}/methods.toml is missing or holds no method", self.book.places.data_name), None));
        }
        for path in &self.book.catalogue.paths {
            for step in path.steps.iter().filter(|step| is_label(step)) {
                if !self.book.register.labels.contains_key(step) {
                    let near = self.book.register.nearest(step);
                    let words =
                        format!("book/data/methods.toml: the path “{}” names @{step}, which the book lacks", path.id);
                    return Err((words, near));
                }
            }
        }
        for method in &self.book.catalogue.methods {
            for label in method.chapter.iter().cloned().chain(method.lab_labels()) {
                if !self.book.register.labels.contains_key(&label) {
                    let near = self.book.register.nearest(&label);
                    return Err((
                        format!(
                            "book/data/methods.toml: the method “{}” names @{label}, which the book lacks",
                            method.id
                        ),
                        near,
                    ));
                }
            }
        }
        Ok(())
    }

    /// A link to a label, in the author's words.
    pub(crate) fn link_to(&self, label: &str, words: &str) -> Option<String> {
        let target = self.book.register.labels.get(label)?;
        let href = self.book.register.address(self.chapter, target.chapter, &target.anchor);
        let title = escape(&self.title_of(label, target));
        Some(format!("<a href=\"{href}\" title=\"{title}\">{}</a>", escape(words)))
    }

    /// `{{#glossary}}`.
    ///
    /// # Errors
    /// When there is no term to list.
    pub(crate) fn glossary_list(&self) -> Result<String, Refused> {
        if self.book.glossary.terms.is_empty() {
            return Err((format!("{}/glossary.toml is missing or holds no term", self.book.places.data_name), None));
        }
        let mut keys: Vec<(String, &String)> =
            self.book.glossary.terms.keys().map(|key| (self.book.glossary.title(key), key)).collect();
        keys.sort_by_key(|(title, _)| title.to_lowercase());
        let items: Vec<String> = keys
            .into_iter()
            .map(|(title, key)| {
                let definition =
                    self.book.glossary.terms.get(key).map(|term| term.definition.as_str()).unwrap_or_default();
                let definition = self.inline(definition, &format!("{}/glossary.toml", self.book.places.data_name), 1);
                format!("<div><dt id=\"term-{key}\">{}</dt><dd>{definition}</dd></div>", escape(&title))
            })
            .collect();
        Ok(format!("<dl class=\"glossary\">{}</dl>", items.concat()))
    }
}
