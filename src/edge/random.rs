//! Random bytes that cannot be guessed.

/// Sixteen random bytes in hex digits, from the generator that TLS uses; `None` where the system has none to give.
pub(crate) fn word() -> Option<String> {
    let mut bytes = [0; 16];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .ok()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
