mod chain;
mod committees;
mod confirm;
mod fields;
mod joining;
mod once;
