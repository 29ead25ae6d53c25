//! What the style sheets must say twice, they must say alike.

/// Declarations of the block that begins with this line, without their indentation.
fn block<'a>(css: &'a str, head: &str) -> Vec<&'a str> {
    let (_, rest) = css.split_once(head).expect("the block is there");
    let (inside, _) = rest.split_once('}').expect("and ends");
    inside.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// Dark is chosen by the reader, or by the system where there is no JavaScript to remember a choice. CSS can name the colours
/// once for both only with `light-dark()`, which browsers of 2023 do not know.
#[test]
fn dark_by_choice_and_dark_by_system_are_the_same_colours() {
    for css in [include_str!("../../../site/styles/tokens.css"), include_str!("../../../site/styles/code.css")] {
        let chosen = block(css, "html[data-theme=\"dark\"] {");
        assert!(chosen.len() > 5);
        assert_eq!(chosen, block(css, "html:not([data-theme]) {"));
    }
}
