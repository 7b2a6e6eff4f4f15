//! The endpoint in given time: one side is ours, the other is scripted or, with a seeded net between, ours too.

mod dialling;
mod garbage;
mod invite_client;
mod invite_server;
mod kit;
mod loss;
mod others;
mod stateless;
