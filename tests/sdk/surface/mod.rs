//! What the clients offer and what they ask for, taken from the installed packages themselves, so that nothing is forgotten.

mod calls;
mod methods;
mod requests;
