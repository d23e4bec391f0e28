#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| redrive_fuzz::retry_expression::run(data));
