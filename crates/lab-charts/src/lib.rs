//! Chart description to picture, generic over plotters drawing backends.

