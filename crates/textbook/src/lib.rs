//! The mdBook preprocessor of this book: numbers, references, maths, citations, labs.

