//! One file for each resource: what a user does with the client, and what comes of it.

mod batch;
mod callbacks;
mod dead_letter_examples;
mod dead_letters;
mod dev_mode;
mod enqueue;
mod flow_control;
mod keys;
mod logs;
mod messages;
mod publish;
mod queues;
mod refusals;
mod retries;
mod schedules;
mod url_groups;
