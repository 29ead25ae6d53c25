//! Reports from the field: pages in places that they were not made for, words as people type them, answers after an edition.

use browser_tests::browser::{Gpu, Tab, with_browser};
use browser_tests::lab::specimen;
use browser_tests::server::Fault;
use serde_json::{Value, json};

/// The module of this name in the page's own address, imported as `it`, and what `body` makes of it.
async fn with_module(tab: &Tab, attribute: &str, body: &str) -> anyhow::Result<Value> {
    let script = format!(
        "const place = document.querySelector('[data-{attribute}]').dataset.{attribute};
         return import(new URL(place, document.baseURI)).then((it) => {{ {body} }})"
    );
    tab.script(&script, &[]).await
}

#[tokio::test]
async fn index_and_query_are_folded_alike() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.open("index.html").await?;
        let pairs = json!([
            ["Größe", "grosse"], ["naïve", "NAIVE"], ["Erdős", "erdos"], ["optimisation", "optimization"], ["analysed", "analyzed"],
            ["neighbours", "neighbors"], ["fibre", "fiber"], ["labelled", "labeled"], ["dialogue", "dialog"], ["µ", "mu"],
            ["𝜎", "σ"], ["Δ", "delta"], ["ﬁlter", "filter"], ["grey", "gray"], ["licence", "license"]
        ]);
        let body = format!("return {pairs}.filter(([a, b]) => it.tokens(a).join() !== it.tokens(b).join())");
        let different = with_module(tab, "module", &body).await?;
        anyhow::ensure!(different == json!([]), "folded apart: {different}");
        let body = "const index = new it.Index((word) => word);
            [['a', 'Größe der Gewichte'], ['b', '模型量化方法'], ['c', 'квантование'], ['d', 'the scale σ of much quantization']]
              .forEach(([ref, body]) => index.add(ref, { body }));
            return ['grosse', '量化', 'КВАНТ', 'sigma', 'quantisation', 'mu'].map((query) => index.search(query).join())
              .concat(index.nearest('quantisatoin'))";
        let found = with_module(tab, "module", body).await?;
        anyhow::ensure!(found == json!(["a", "b", "c", "d", "d", "", "quantization"]), "{found}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_search_offers_the_nearest_word_and_finds_it() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.open("index.html").await?;
        tab.script("document.querySelector('[data-search]').click()", &[]).await?;
        tab.wait("index", 20.0, "/Type one word/.test(document.querySelector('.search-state')?.textContent)").await?;
        let typed = "const field = document.querySelector('.search-field'); field.value = 'quantisatoin'; field.dispatchEvent(new Event('input'))";
        tab.script(typed, &[]).await?;
        tab.wait("offer", 5.0, "document.querySelector('.search-nearest')?.textContent === 'quantization'").await?;
        tab.script("document.querySelector('.search-nearest').click()", &[]).await?;
        tab.wait("results", 5.0, "document.querySelectorAll('.search-results a').length > 3").await
    })
    .await
}

#[tokio::test]
async fn numbers_are_read_as_people_write_them() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.open("index.html").await?;
        let body = "const words = (text, unit) => typeof it.readNumber(text, unit);
            return [it.readNumber('3e-14'), it.readNumber('3 × 10^−14'), it.readNumber('1,000'), it.readNumber('500 bytes', 'bytes'), it.readNumber('.5'),
              words('0,5'), words(''), words('1/2'), words('abc'), it.readNumber('0,5').includes('0.5'),
              it.isRight(0, 3e-14, 0), it.isRight(-9e-10, 3e-14, 0), it.isRight(3e-14, 3e-14, 0), it.isRight(0.1 + 0.2, 0.3, 0), it.isRight(9.6, 10, 0.5)]";
        let found = with_module(tab, "quiz", body).await?;
        let wanted = json!([3e-14, 3e-14, 1000, 500, 0.5, "string", "string", "string", "string", true, false, false, true, true, true]);
        anyhow::ensure!(found == wanted, "{found}");
        Ok(())
    })
    .await
}

/// Of numbers that are told and not read, the words that say what to do.
#[tokio::test]
async fn a_number_is_read_in_the_ways_of_many_places_or_told() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.open("index.html").await?;
        let inputs = json!([
            ["1 024", "", 1024], ["1’000’000", "", 1_000_000], ["1_000", "", 1000], ["+7", "", 7], ["2.5E6", "", 2_500_000], ["−2.5e−3", "", -0.0025],
            ["１２", "", 12], ["5.", "", 5], ["10⁶", "", 1_000_000], ["6 × 10⁻³", "", 0.006], ["10^6", "", 1_000_000], ["10**-2", "", 0.01],
            ["-10^3", "", -1000], ["3x10^8", "", 3e8], ["12 %", "%", 12], ["5 µs", "μs", 5], ["4 m²", "m²", 4], ["4 m2", "m²", 4], ["1,024.5 kB", "kB", 1024.5],
            ["10,24", "", "10.24"], ["1,5e3", "", "1.5e3"], ["1.000,5", "", "without commas"], ["12,34,567", "", "without commas"],
            ["2⁶⁰", "", "worked out"], ["1 / 3", "", "worked out"], ["2**10", "", "worked out"], ["=5", "", "worked out"], ["≈5", "", "digits"], ["5 kJ", "J", "digits"], ["5'000", "", 5000], ["1.234.567", "", "digits"], ["0x1F", "", "digits"], ["1e999", "", "digits"],
            ["3–4", "", "digits"], ["5 GB", "MB", "digits"], ["½", "", "digits"], ["  ", "J", "Enter a number."]
        ]);
        let body = format!(
            "return {inputs}.map(([text, unit, wanted]) => [text, it.readNumber(text, unit), wanted])
               .filter(([, found, wanted]) => typeof found !== typeof wanted || (typeof wanted === 'string' ? !found.includes(wanted) : found !== wanted))"
        );
        let wrong = with_module(tab, "quiz", &body).await?;
        anyhow::ensure!(wrong == json!([]), "text, found, wanted: {wrong}");
        let answers = json!([
            [0, 1.6e-19, 0, false], [1.6e-19, 1.6e-19, 0, true], [-1.6e-19, 1.6e-19, 0, false], [1e-12, 0, 0, false], [0, 0, 0, true],
            [1.152_921_505e18, 1.152_921_504_606_846_976e18, 0, true], [1.153e18, 1.152_921_504_606_846_976e18, 0, false],
            [1.1e-6, 1e-6, 2e-7, true], [1.3e-6, 1e-6, 2e-7, false], [99.5, 100, 0.5, true], [100.6, 100, 0.5, false], [-9.6, -10, 0.5, true], [10, -10, 0.5, false]
        ]);
        let body = format!("return {answers}.filter(([value, answer, tolerance, right]) => it.isRight(value, answer, tolerance) !== right)");
        let wrong = with_module(tab, "quiz", &body).await?;
        anyhow::ensure!(wrong == json!([]), "value, answer, tolerance, right: {wrong}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn words_of_many_spellings_and_scripts_meet_and_other_words_do_not() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.open("index.html").await?;
        let same = json!([
            ["Łukasz", "lukasz"], ["Ærø", "aero"], ["İstanbul", "istanbul"], ["naïveté", "naivete"], ["ｑｕａｎｔ", "quant"], ["ΣΊΣΥΦΟΣ", "σίσυφος"],
            ["quan\u{ad}ti\u{ad}zation", "quantization"], ["x²", "x2"], ["ϵ", "epsilon"], ["𝛼", "alpha"], ["Ω", "omega"], ["ά", "α"],
            ["summarising", "summarizing"], ["catalysed", "catalyzed"], ["favourite", "favorite"], ["theatre", "theater"], ["cancelled", "canceled"],
            ["centred", "centered"], ["catalogued", "cataloged"], ["signalling", "signaling"], ["fuelled", "fueled"], ["distil", "distill"], ["fulfilment", "fulfillment"],
            ["Ångström", "angstrom"], ["Й", "й"], ["ｶﾞ", "ガ"], ["H₂O", "H2O"], ["Dvořák", "dvorak"],
            ["defence", "defense"], ["catalogues", "catalogs"], ["judgement", "judgment"], ["practising", "practicing"], ["programmes", "programs"]
        ]);
        let apart = json!([
            ["σ", "ς2"], ["alpha", "beta"], ["four", "for"], ["while", "whale"], ["model", "mode"], ["ß", "s"], ["H2O", "HO"], ["模型", "量化"],
            ["квант", "вектор"], ["Δw", "w"], ["filling", "filing"], ["called", "caled"], ["rolled", "roled"], ["hundred", "hunderd"]
        ]);
        let body = format!(
            "const meet = ([a, b]) => it.tokens(a).join() === it.tokens(b).join() && it.tokens(a).length > 0;
             return [{same}.filter((pair) => !meet(pair)), {apart}.filter(meet)]"
        );
        let wrong = with_module(tab, "module", &body).await?;
        anyhow::ensure!(wrong == json!([[], []]), "folded apart, and folded together: {wrong}");
        // Whole queries, against a book of these sections.
        let body = "const index = new it.Index((word) => word);
            ['Łukasz measures at 2×10⁶ tokens', 'the learning rate η decays', 'потери при обучении', '剪枝与蒸馏', 'quan\u{ad}tized colours of the centre', 'naïve Bayes', 'η and λ together',
              'ガイド', 'مقياس', 'fp8-training', 'the layers were distilled, unrolled and called', 'warmup and fine-tuning']
              .forEach((body, i) => index.add(i, { body }));
            const wanted = { lukasz: [0], eta: [1, 6], 'λ eta': [6], 'ПОТЕРИ': [2], '蒸馏': [3], 'quantised color': [4], 'center': [4], NAIVE: [5], 'ｶﾞｲﾄﾞ': [7], 'مقياس': [8], 'FP8 training': [9], distill: [10], distil: [10], unroll: [10], call: [10], zzz: [] };
            return [Object.entries(wanted).map(([query, all]) => [query, index.search(query).sort(), all]).filter(([, found, all]) => found.join() !== all.join()),
              index.nearest('leraning'), index.nearest('bayse'), index.nearest('rate'), index.nearest('qqqqqqqq'), index.nearest('warm up'), index.nearest('finetuning'), index.nearest('goedel')]";
        let found = with_module(tab, "module", body).await?;
        anyhow::ensure!(found == json!([[], "learning", "bayes", null, null, "warmup", "fine tuning", null]), "{found}");
        Ok(())
    })
    .await
}

/// What browsers may have kept of a question, under this and earlier editions, and what is not ours.
#[tokio::test]
async fn an_answer_is_found_by_its_question_wherever_it_was_kept() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.open("index.html").await?;
        let cases = json!([
            ["its own", { "answer:sec-here#q": "[\"w1\"]" }, "single", ["w1"]],
            ["of a page that moved", { "answer:sec-before#q": "[\"w1\"]" }, "single", ["w1"]],
            ["its own before another", { "answer:sec-before#q": "[\"w1\"]", "answer:sec-here#q": "[\"w2\"]" }, "single", ["w2"]],
            ["a name in another script", { "answer:größe-模型#q": "[\"w3\"]" }, "multiple", ["w3"]],
            ["a page without a name", { "answer:#q": "[\"7\"]" }, "number", ["7"]],
            ["by address, options by place", { "quiz:/a/tactics/old.html#quiz-q": "[\"0\",\"2\"]" }, "multiple", [0, 2]],
            ["by address, a number as typed", { "quiz:/b/old#quiz-q": "[\"3e-14\"]" }, "number", ["3e-14"]],
            ["an address and a name", { "quiz:/a/old.html#quiz-q": "[\"1\"]", "answer:sec-before#q": "[\"w4\"]" }, "single", ["w4"]],
            ["damaged, and kept elsewhere", { "answer:sec-here#q": "[\"w", "answer:sec-before#q": "[\"w5\"]" }, "single", ["w5"]],
            ["by address, the first damaged", { "quiz:/a/old.html#quiz-q": "[\"0", "quiz:/b/old.html#quiz-q": "[\"1\"]" }, "single", [1]],
            ["a name that only ends alike", { "answer:sec-here#big-q": "[\"w1\"]", "quiz:/a.html#quiz-big-q": "[\"1\"]" }, "single", null],
            ["no list", { "answer:sec-here#q": "{\"w1\":true}" }, "single", null],
            ["of another question", { "answer:sec-here#p": "[\"w1\"]", "runs:q": "[\"w1\"]" }, "single", null],
            ["nothing", {}, "single", null]
        ]);
        let body = format!(
            "const main = document.querySelector('main');
             main.innerHTML = '<h1 id=\"sec-first\">A</h1><h1 id=\"sec-here\">B</h1><form data-quiz=\"q\"></form><h1 id=\"sec-after\">C</h1>';
             const form = main.querySelector('form');
             const shelf = (kept) => ({{ read: (key) => kept[key] ?? null, keys: () => Object.keys(kept) }});
             const found = {cases}.map(([name, kept, kind, wanted]) => {{ form.dataset.kind = kind; return [name, it.recall(form, shelf(kept)), wanted]; }});
             return [it.answerKey(form), found.filter(([, found, wanted]) => JSON.stringify(found) !== JSON.stringify(wanted))]"
        );
        let found = with_module(tab, "quiz", &body).await?;
        anyhow::ensure!(found == json!(["answer:sec-here#q", []]), "name, found, wanted: {found}");
        // A path through the book, by the ids of its pages and labs.
        let body = "const shelf = (kept) => ({ read: (key) => kept[key] ?? null });
            const steps = [{ page: 'sec-a', lab: 'one' }, { page: 'sec-b' }, { page: 'sec-c', lab: 'one' }, { page: '', lab: '' }];
            const state = (kept, ran = []) => {
              const { words, next } = it.stateOf(steps, it.pagesRead(shelf(kept)), (lab) => it.wasRun(lab, { storage: shelf(kept), ran: new Set(ran) }));
              return [words, next?.page ?? null];
            };
            return [state({}), state({ pages: '{\"sec-b\":\"moved/long-ago.md\"}' }), state({ pages: '{\"sec-gone\":\"x.md\"}' }), state({ pages: '{\"sec-a' }), state({ pages: 'null' }),
              state({ pages: '{\"sec-a\":\"\",\"sec-b\":\"\",\"sec-c\":\"\"}' }), state({ 'runs:one': '{\"rows\":[{}]}' }), state({ 'runs:one': '{\"rows\":[]}' }), state({ 'runs:one': '{\"rows\":3}' }), state({}, ['one'])]";
        let found = with_module(tab, "progress", body).await?;
        let none = json!(["0 of 4 read", "sec-a"]);
        let wanted = json!([
            none, ["1 of 4 read", "sec-a"], none, none, none, ["3 of 4 read, the rest is planned", null], ["0 of 4 read, 1 lab run", "sec-a"], none, none,
            ["0 of 4 read, 1 lab run", "sec-a"]
        ]);
        anyhow::ensure!(found == wanted, "{found}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn answers_and_read_pages_outlive_an_edition() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let page = specimen(&tab.site)?.page;
        tab.open(&page).await?;
        tab.wait("quiz", 10.0, "!document.querySelector('form.quiz [data-quiz-actions]').hidden").await?;
        let answer = "const form = document.querySelector('form.quiz'); const field = form.querySelector('input');
            if (field.type === 'text') field.value = '7'; else field.checked = true;
            form.requestSubmit(); return [Object.keys(localStorage).filter((key) => key.includes(':answer:')), form.dataset.quiz]";
        let kept: (Vec<String>, String) = serde_json::from_value(tab.script(answer, &[]).await?)?;
        anyhow::ensure!(kept.0.len() == 1 && kept.0[0].ends_with(&format!("#{}", kept.1)), "{kept:?}");
        anyhow::ensure!(!kept.0[0].contains(".html") && !kept.0[0].contains("/some/path"), "keyed by address: {kept:?}");
        // The page as another edition has it: another address of the title, options in another order.
        let moved = "const key = Object.keys(localStorage).find((key) => key.includes(':answer:'));
            localStorage.setItem(key.replace(/answer:[^#]*#/, 'answer:sec-elsewhere#'), localStorage.getItem(key)); localStorage.removeItem(key);
            localStorage.setItem('efficient-ai:pages', JSON.stringify({ [document.querySelector('main h1').id]: 'old/place.md' }))";
        tab.script(moved, &[]).await?;
        tab.open(&page).await?;
        tab.wait("the answer", 10.0, "document.querySelector('form.quiz [data-quiz-result]').textContent.length > 3").await?;
        tab.wait("the mark", 10.0, "document.querySelector('[aria-current] .toc-read') !== null").await
    })
    .await
}

#[tokio::test]
async fn a_page_whose_module_does_not_come_says_so_and_shows_no_dead_button() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.bypass_service_worker().await?;
        let lab = specimen(&tab.site)?;
        tab.server.break_files("js/book", Fault::Missing);
        tab.open(&lab.page).await?;
        tab.wait(
            "words",
            8.0,
            "/did not come/.test(document.querySelector('[data-lab-widget] .stalled')?.textContent)",
        )
        .await?;
        let dead =
            "return [...document.querySelectorAll('.needs-js')].filter((button) => button.checkVisibility()).length";
        anyhow::ensure!(tab.script(dead, &[]).await? == json!(0), "a dead button is shown");
        tab.server.heal();
        Ok(())
    })
    .await
}

/// A frame with a sandbox has no origin and starts no modules. Chromium gives it a process of its own, which the driver does not see into, so
/// the page is told that it is such a frame.
#[tokio::test]
async fn a_page_in_a_sandbox_says_why_and_links_to_itself() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.bypass_service_worker().await?;
        let page = specimen(&tab.site)?.page;
        tab.before_each_page("Object.defineProperty(self, 'origin', { value: 'null' })").await?;
        tab.server.break_files("js/book", Fault::Missing);
        tab.open(&page).await?;
        let told = "document.querySelector('[data-lab-widget] .stalled a')";
        tab.wait("words", 8.0, &format!("{told} !== null")).await?;
        let body = format!("return [{told}.href === location.href, {told}.target, {told}.closest('.stalled').textContent.includes('allow-same-origin')]");
        let found = tab.script(&body, &[]).await?;
        anyhow::ensure!(found == json!([true, "_blank", true]), "{found}");
        tab.server.heal();
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_search_after_a_deployment_speaks_of_a_new_edition() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        tab.bypass_service_worker().await?;
        tab.open("index.html").await?;
        // As if the page in the browser were of the edition before.
        let aged = "const button = document.querySelector('[data-search]'); button.dataset.index = button.dataset.index.replace(/-[0-9a-f]+/, '-00000000'); button.click()";
        tab.script(aged, &[]).await?;
        tab.wait("words", 10.0, "/new edition/i.test(document.querySelector('[data-page-message]')?.textContent)").await?;
        let said = tab.script("return document.querySelector('[data-page-message]').textContent", &[]).await?;
        anyhow::ensure!(!said.to_string().contains("offline"), "{said}");
        Ok(())
    })
    .await
}

/// The page says that it is hidden as soon as the run has begun, and stays so: what is timed is dropped, taken again, and told in the result.
#[tokio::test]
async fn samples_of_a_hidden_page_are_told_in_the_result() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = specimen(&tab.site)?;
        tab.open(&lab.brief("cpu")).await?;
        lab.wake(tab).await?;
        let hide = "window.turn = (hidden) => {
                Object.defineProperty(document, 'hidden', { configurable: true, value: hidden });
                document.dispatchEvent(new Event('visibilitychange'));
            };
            const section = document.querySelector(arguments[0]);
            new MutationObserver((changes, watcher) => {
                if (section.dataset.state === 'running') { watcher.disconnect(); window.turn(true); }
            }).observe(section, { attributeFilter: ['data-state'] });";
        tab.script(hide, &[json!(lab.selector())]).await?;
        lab.run(tab).await?;
        let told = "const section = document.querySelector(arguments[0]);
            return [section.querySelector('.lab-results-body .lab-notes')?.textContent ?? '', section.querySelector('.lab-message.lab-note')?.textContent ?? '']";
        let (notes, beside): (String, String) =
            serde_json::from_value(tab.script(told, &[json!(lab.selector())]).await?)?;
        let words = ["samples were dropped and taken again", "the page was hidden", "stayed hidden"];
        anyhow::ensure!(words.iter().all(|word| notes.contains(word)), "the result only says “{notes}”");
        anyhow::ensure!(beside.is_empty(), "it is told twice: “{beside}”");
        // The same engine, in view again.
        tab.script("window.turn(false)", &[]).await?;
        lab.run(tab).await?;
        let (notes, beside): (String, String) =
            serde_json::from_value(tab.script(told, &[json!(lab.selector())]).await?)?;
        anyhow::ensure!(![notes, beside].concat().contains("hidden"), "a page in view is told to be hidden");
        Ok(())
    })
    .await
}

/// Whatever is asked for, a login page answers: the search and a lab say so, and nothing of it is kept for later.
#[tokio::test]
async fn a_login_that_answers_for_every_address_is_told_and_not_kept() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = specimen(&tab.site)?;
        tab.open(&lab.page).await?;
        tab.script("return navigator.serviceWorker?.ready.then(() => true)", &[]).await?;
        tab.server.break_files("", Fault::Portal);
        tab.script("document.querySelector('[data-search]').click()", &[]).await?;
        let told = "document.querySelector('[data-page-message]')?.textContent";
        tab.wait("words of the search", 10.0, &format!("/sign in/i.test({told})")).await?;
        let scroll = "document.querySelector(arguments[0]).querySelector('.lab-widget').scrollIntoView({ block: 'center', behavior: 'instant' })";
        tab.script(scroll, &[json!(lab.selector())]).await?;
        let failed = format!("document.querySelector(\"{} .lab-loading-failed\")?.textContent", lab.selector());
        tab.wait("words of the lab", 10.0, &format!("/sign in|login/i.test({failed})")).await?;
        let kept = "return caches.keys().then(async (names) => { const found = [];
            for (const name of names) for (const request of await (await caches.open(name)).keys()) {
                const response = await caches.match(request); if (/Sign in to go on/.test(await response.text())) found.push(request.url); }
            return found; })";
        let kept = tab.script(kept, &[]).await?;
        anyhow::ensure!(kept == json!([]), "kept for offline reading: {kept}");
        tab.server.heal();
        // Signed in, the lab starts.
        tab.script("document.querySelector('[data-action=retry]').click()", &[]).await?;
        lab.reach(tab, &["ready"], 20.0).await
    })
    .await
}

#[tokio::test]
async fn a_run_that_the_browser_ended_is_told_when_the_page_is_back() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let lab = specimen(&tab.site)?;
        // As a run leaves it that nobody ended: another page of the book sets the mark.
        tab.open("index.html").await?;
        let mark = "sessionStorage.setItem(document.documentElement.dataset.shelf + 'running', `${new URL(arguments[1], location).pathname}#${arguments[0]}`)";
        tab.script(mark, &[json!(lab.id), json!(lab.page)]).await?;
        tab.open(&lab.page).await?;
        let told = format!("document.querySelector(\"{} .lab-message.lab-note\")?.textContent", lab.selector());
        tab.wait("a word", 10.0, &format!("/closed this page while the lab was running/.test({told})")).await?;
        // Once: the next visit is a new one.
        tab.open(&lab.page).await?;
        tab.wait("the page", 10.0, "'ready' in document.documentElement.dataset").await?;
        let again = tab.script(&format!("return {told} ?? ''"), &[]).await?;
        anyhow::ensure!(again == json!(""), "it is told twice: {again}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_page_opened_from_the_disk_says_so_and_shows_no_dead_button() -> anyhow::Result<()> {
    with_browser(Gpu::None, async |tab| {
        let page = tab.site.root.canonicalize()?.join(specimen(&tab.site)?.page);
        tab.driver.goto(format!("file://{}", page.display())).await?;
        tab.wait(
            "words",
            8.0,
            "/opened from the disk/.test(document.querySelector('[data-lab-widget] .stalled')?.textContent)",
        )
        .await?;
        let dead =
            "return [...document.querySelectorAll('.needs-js')].filter((button) => button.checkVisibility()).length";
        anyhow::ensure!(tab.script(dead, &[]).await? == json!(0), "a dead button is shown");
        Ok(())
    })
    .await
}
