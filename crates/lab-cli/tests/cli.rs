//! One loop over every registered lab, and the command line as a person meets it.

#[path = "cli/command_line.rs"]
mod command_line;
#[path = "cli/every_lab.rs"]
mod every_lab;
