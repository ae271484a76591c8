//! Settings that protect a broker and are not built: to start without them would open it.

/// Checks one given setting, its value in plain form.
///
/// # Errors
/// What would be left open, and what to do.
pub fn secured(name: &str, value: &str) -> Result<(), String> {
    let harmless = match name {
        "authorizer.class.name"
        | "create.topic.policy.class.name"
        | "alter.config.policy.class.name"
        | "sasl.enabled.mechanisms" => value.is_empty(),
        "ssl.client.auth" => value == "none",
        "security.inter.broker.protocol" => value == "PLAINTEXT",
        _ => !(name.starts_with("listener.name.") && is_security(name)),
    };
    if harmless {
        return Ok(());
    }
    Err(format!(
        "{name}={value} protects the broker, and this version cannot honour it yet: without it \
         everyone who reaches a listener could read and write. Remove the setting only if the \
         listeners are reached by trusted clients alone"
    ))
}

/// Whether a setting with a listener's prefix is about its security.
fn is_security(name: &str) -> bool {
    [".ssl.", ".sasl.", ".principal.", ".connections.max.reauth."]
        .iter()
        .any(|part| name.contains(part))
}
