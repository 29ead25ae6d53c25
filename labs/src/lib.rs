//! Every lab of the book, one folder each; no lab knows another.

