//! The rules of the house, as tests: who may use whom, what pure crates must not touch, how files look, what licences
//! dependencies have.

mod flows;
mod layers;
mod licences;
mod object;
mod planted;
mod profile;
mod purity;
mod rfc;
mod security;
mod source;
mod tidy;
