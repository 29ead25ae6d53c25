//! What labs stand on: the Lab trait, context, models, data, quantizers, measurement.

