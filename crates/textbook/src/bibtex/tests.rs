use super::*;

const GOOD: &str = "@misc{good, author = {Doe, J.}, title = {T}, year = {2020}}\n";

/// One mistake is one problem, and the entries around it are there.
fn one(entry: &str) -> Mistake {
    let read = read(&format!("{GOOD}\n{entry}\n{}", GOOD.replace("good", "after")));
    assert_eq!(read.mistakes.len(), 1, "{entry}: {:?}", read.mistakes);
    let keys: Vec<&str> = read.entries.iter().map(Entry::key).collect();
    assert!(keys.contains(&"good") && keys.contains(&"after"), "{entry}: {keys:?}");
    read.mistakes[0].clone()
}

#[test]
fn one_odd_field_is_one_problem_with_its_remedy() {
    for (entry, field, text, remedy) in [
        (
            r"@book{v, author = {V}, title = {N}, year = {[2021] \copyright 2021}}",
            "year",
            "2021",
            "write year = {2021}",
        ),
        ("@book{v, title = {N}, year = {in press}}", "year", "in press", "leave it out"),
        ("@book{v, title = {N}, date = {2021-13-01}}", "date", "2021-13", "write date = {2021}"),
        ("@book{v, title = {N}, year = {'21}}", "year", "'21", "year = {2021}"),
        ("@book{v, title = {N}, year = {20215}}", "year", "20215", "year = {2021}"),
    ] {
        let mistake = one(entry);
        assert!(mistake.message.contains(&format!("the field “{field}” of “v”")), "{entry}: {mistake:?}");
        assert!(mistake.message.contains(remedy) && mistake.text.contains(text), "{entry}: {mistake:?}");
        assert_eq!(mistake.line, 3, "{entry}");
    }
}

#[test]
fn what_breaks_the_file_breaks_one_entry() {
    for entry in [
        "@misc{v, title = {N, year = {2020}}",
        "@misc{v, title = \"N, year = 2020}",
        "@misc{v title = {N}}",
        "@misc{v, title = nosuch, year = {2020}}",
        "@misc{v, title = {N}",
    ] {
        let mistake = one(entry);
        assert!(mistake.message.contains("“v"), "{entry}: {mistake:?}");
        assert!((3..=4).contains(&mistake.line), "{entry}: {mistake:?}");
    }
    let twice = one("@misc{good, title = {Again}}");
    assert!(twice.message.contains("“good” stands twice: first on line 1"), "{twice:?}");
}

#[test]
fn what_stands_in_a_book_of_no_name_is_told() {
    for kind in ["inproceedings", "conference", "incollection"] {
        let mistake = one(&format!("@{kind}{{v, author = {{Doe, J.}}, title = {{N}}, year = {{2020}}}}"));
        assert!(mistake.message.contains("“v” does not say what it stands in"), "{kind}: {mistake:?}");
        assert_eq!(mistake.line, 3, "{kind}");
    }
}

#[test]
fn abbreviations_hold_for_every_entry_of_a_broken_file() {
    let text =
        "@string{icml = {ICML}}\n@inproceedings{a, title = {T}, booktitle = icml, year = 2020}\n@misc{b, title = {\n";
    let read = read(text);
    assert_eq!(read.entries.iter().map(Entry::key).collect::<Vec<_>>(), ["a"]);
    assert!(read.mistakes.len() == 1 && read.broken.contains("b") && !read.is_whole, "{:?}", read.mistakes);
}

#[test]
fn tex_that_is_not_read_is_told_by_name() {
    for (entry, what) in [
        (r"@misc{v, title = {On \alpha things}, year = 2020}", r"\alpha"),
        (r"@misc{v, title = {On $\nosuch$ things}, year = 2020}", r"\nosuch"),
        (r"@misc{v, title = {Big \log n}, year = 2020}", r"\log"),
    ] {
        let mistake = one(entry);
        assert!(mistake.message.contains("“title” of “v”") && mistake.message.contains(what), "{mistake:?}");
    }
    for good in [r"{\'E}tude {\o}", r"A \textbf{b} {\em c}", "50\\% \\& more", r"\emph{a \textit{b}}"] {
        let read = read(&format!("@misc{{v, title = {{{good}}}, year = 2020}}"));
        if good.contains(r"\em ") {
            assert_eq!(read.mistakes.len(), 1);
            continue;
        }
        assert!(read.mistakes.is_empty(), "{good}: {:?}", read.mistakes);
    }
}
