//! A command line of few words: flags, options with a value, and the rest.

use std::fmt;

/// The command was called wrongly; printed with its usage, exit code 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Words after the command's name. What a command does not take is refused by [`Args::finish`].
pub(crate) struct Args(Vec<String>);

impl Args {
    pub(crate) fn new(words: impl IntoIterator<Item = String>) -> Self {
        Self(words.into_iter().collect())
    }

    pub(crate) fn wants_help(&self) -> bool {
        self.0.iter().any(|word| word == "--help" || word == "-h")
    }

    /// Takes `--name` out; true if it was there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        self.0.len() != before
    }

    /// Takes `--name VALUE` or `--name=VALUE` out.
    pub(crate) fn option(&mut self, name: &str) -> Result<Option<String>, Usage> {
        let Some(at) = self.0.iter().position(|word| word.split('=').next() == Some(name)) else { return Ok(None) };
        let word = self.0.remove(at);
        if let Some((_, value)) = word.split_once('=') {
            return Ok(Some(value.to_owned()));
        }
        if at < self.0.len() { Ok(Some(self.0.remove(at))) } else { Err(Usage(format!("{name} wants a value"))) }
    }

    /// Takes the next word that is not an option.
    pub(crate) fn word(&mut self) -> Option<String> {
        let at = self.0.iter().position(|word| !word.starts_with('-'))?;
        Some(self.0.remove(at))
    }

    /// Everything left, for a program that parses it itself.
    pub(crate) fn rest(self) -> Vec<String> {
        self.0
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<(), Usage> {
        match self.0.first() {
            None => Ok(()),
            Some(word) => Err(Usage(format!("“{word}” is not understood here"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Args;

    fn args(line: &str) -> Args {
        Args::new(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_options_and_words_in_any_order() {
        let mut args = args("name --port 4001 --gpu --out=d");
        assert!(args.flag("--gpu"));
        assert_eq!(args.option("--port").expect("has a value").as_deref(), Some("4001"));
        assert_eq!(args.option("--out").expect("has a value").as_deref(), Some("d"));
        assert_eq!(args.word().as_deref(), Some("name"));
        assert!(args.finish().is_ok());
    }

    #[test]
    fn what_is_left_over_or_incomplete_is_refused() {
        assert!(args("--gppu").finish().expect_err("refused").to_string().contains("--gppu"));
        assert!(args("--port").option("--port").is_err());
    }
}
