#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| nolapse::fuzzing::environment(data));
