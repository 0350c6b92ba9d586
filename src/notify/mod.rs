//! Telling people: the channels, and delivery.
