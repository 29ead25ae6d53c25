//! The built site in Chromium (and, where it is installed, in Firefox), under a sub-path, with the policy it is meant to be served with. Each test gets a browser
//! with a fresh profile; they run one after the other.

mod failures;
mod field;
mod firefox;
mod front;
mod guide;
mod hand_in;
mod inputs;
mod kept;
mod labs;
mod links;
mod pages;
mod predict;
mod reading;
mod runs;
mod webgpu;
